"""What Stripe's objects have in common: whose they are, idempotency keys, creation that survives a kill.

Does: marks in metadata, keys of the form `<project>:<stack>:<name>:<kind>:v<hash>`, look-then-create. Does not: know any one object.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from rowhouse.vendors.http import VendorError
from rowhouse.vendors.stripe import Stripe
from rowhouse.wire.contract import Context
from rowhouse.wire.fields import Props

__all__ = ["IDENTITY", "create", "idempotency_key", "is_ours", "metadata_change", "metadata_rule", "seen_metadata"]

IDENTITY: Final = ("managed-by", "project", "stack", "tenant")
"""Metadata keys that say whose an object is; the others describe it."""


def is_ours(found: Props, metadata: Props | None) -> bool:
    """Whether an object carries every mark of these inputs; inputs without marks recognise nothing."""
    marks = {name: (metadata or {})[name] for name in IDENTITY if name in (metadata or {})}
    theirs = found.get("metadata") or {}
    return bool(marks) and all(theirs.get(name) == value for name, value in marks.items())


def idempotency_key(ctx: Context, kind: str, params: Props, *extra: object) -> str:
    """The key of one creation: the same after a crash, another one when the wish is another. At most 255 characters."""
    parts = ctx.urn.split("::")
    stack = parts[0].removeprefix("urn:pulumi:")
    project = parts[1] if len(parts) > 3 else ""
    digest = hashlib.sha256(json.dumps([params, *extra], sort_keys=True, default=str).encode()).hexdigest()[:24]
    return f"{project[:60]}:{stack[:60]}:{ctx.name[:80]}:{kind}:v{digest}"


async def create(
    ctx: Context,
    stripe: Stripe,
    path: str,
    params: Props,
    *,
    key: str,
    look: Callable[[], Awaitable[Props | None]],
    alive: Callable[[Props], bool],
    look_first: bool = True,
) -> tuple[Props, bool]:
    """The object, an earlier attempt's or a new one; and whether this very request made it.

    Stripe replays a stored answer for a key for a day, a 500 and an object that was deleted since included. So after a 5xx we look and
    take another key, and an answer that is not fresh is checked against the object itself.
    """
    attempt_key, pause_s, looks = key, 0.25, look_first
    for attempt in range(4):
        if looks:
            found = await look()
            if found is not None:
                return found, False
        looks = True
        try:
            made, replayed = await stripe.post_once(path, params, key=attempt_key)
        except VendorError as error:
            if attempt == 3 or not (error.ambiguous or error.code == "idempotency_error"):
                raise
            await ctx.sleep(pause_s)
            pause_s *= 2
        else:
            if not replayed:
                return made, True
            now = await stripe.get(f"{path}/{made['id']}")
            if now is not None and alive(now):
                return now, False
            looks = False
        attempt_key = f"{key}:{secrets.token_hex(6)}"
    raise AssertionError


def metadata_rule(value: Props) -> str | None:
    """What Stripe would refuse about metadata: 50 keys of 40 characters without brackets, values of 500 (2026-10)."""
    if len(value) > 50:
        return f"metadata has {len(value)} keys; Stripe takes 50."
    for key, text in value.items():
        if not isinstance(text, str) or len(text) > 500:
            return f"metadata '{key}' must be text of at most 500 characters."
        if not key or len(key) > 40 or "[" in key or "]" in key:
            return f"metadata key '{key}' must have 1 to 40 characters and no brackets."
    return None


def metadata_change(olds: Props, news: Props) -> Props:
    """Metadata to send: all wanted keys, and those no longer wanted as empty text, which unsets them."""
    old, new = olds.get("metadata") or {}, news.get("metadata") or {}
    return {**dict.fromkeys(sorted(set(old) - set(new)), ""), **new}


def seen_metadata(found: Props, known: Props | None) -> dict[str, Any]:
    """Metadata as inputs: keys that others added are not ours to report, unless nothing is known yet (import)."""
    theirs = dict(found.get("metadata") or {})
    if known is None:
        return theirs
    return {key: value for key, value in theirs.items() if key in known}
