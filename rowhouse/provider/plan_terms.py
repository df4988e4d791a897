"""What a tenant's plan said when it was applied, as one small object that the ledger takes in: bills follow it, never today's files.

Does: write `intake/plans/<tenant>/<ms>-<hash>.json` after the vendor accepted. Does not: read one, or know what terms mean.
Killed before, the next run writes it, with a later time; written twice, the same terms say nothing new.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Final

from rowhouse.provider.clients import Clients
from rowhouse.wire.contract import Refused
from rowhouse.wire.fields import Props

__all__ = ["GONE", "note_terms", "terms_rule"]

GONE: Final = "gone"
"""The state of a tenant whose subscription is no longer in the program: its file was removed."""
_KEYS: Final = {"cell", "plan", "state", "tenant"}


def terms_rule(value: str) -> str | None:
    """What is wrong with the input `terms`, or None."""
    terms = _parsed(value)
    if terms is None or set(terms) != _KEYS or not isinstance(terms["plan"], dict):
        return "it must be a JSON object with cell, tenant, state and plan."
    odd = [name for name in ("cell", "tenant", "state") if not isinstance(terms[name], str) or not terms[name]]
    return f"its '{odd[0]}' must be text." if odd else None


async def note_terms(clients: Clients, inputs: Props, *, created: int | None = None, gone: bool = False) -> None:
    """Remember the terms of these inputs as applied at the time of Stripe's last answer; nothing where there are none.

    Args: created: when the object was made, by Stripe, in seconds; used where its answers carry no time. gone: the tenant leaves.
    Raises: Refused where Stripe told no time at all; StoreError.
    """
    terms = _parsed(inputs.get("terms") or "")
    if terms is None:
        return
    at = clients.stripe.http.heard_ms
    if at is None:
        if created is None:
            raise Refused("Stripe's answers carry no time, so it cannot be said since when the plan is in force. Look what stands between.")
        at = created * 1000
    noted = {"v": 1, "at": at, **terms, **({"state": GONE} if gone else {})}
    data = (json.dumps(noted, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()
    key = f"intake/plans/{terms['tenant']}/{at}-{hashlib.sha256(data).hexdigest()[:12]}.json"
    await asyncio.to_thread(clients.store(inputs.get("store")).put, key, data)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        terms = json.loads(text)
    except ValueError:
        return None
    return terms if isinstance(terms, dict) else None
