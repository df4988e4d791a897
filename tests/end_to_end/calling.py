"""How many calls one more tenant costs, and how many of them wait for each other, from the vendors' own log.

Shapes: entries of one run in order of arrival, with the moments at which each arrived and was answered.
Once a run, whatever the number of tenants: lists of Cloudflare's objects (tunnels, policies, applications, records of the stack) and the
tunnel's token. They are counted apart, and stand outside of chains. Source: the local cloud's journal; no other instance exists.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rowhouse.localcloud.kernel import Entry

__all__ = ["Calls", "calls_of", "chain_of", "is_once_a_run"]

_LISTS = re.compile(r"/(cfd_tunnel|access/policies|access/apps|dns_records)$")
_TOKEN = re.compile(r"/cfd_tunnel/[0-9a-f-]+/token$")


@dataclass(frozen=True)
class Calls:
    """What one run asked of the vendors."""

    own: tuple[Entry, ...]
    """For the tenant."""
    shared: tuple[Entry, ...]
    """Once a run."""
    chain: tuple[Entry, ...]
    """The longest path of the tenant's calls of which each began when the one before it had been answered."""

    def document(self) -> dict[str, Any]:
        """For a report."""
        return {
            "calls": len(self.own),
            "once_a_run": len(self.shared),
            "chain": len(self.chain),
            "by_vendor": {vendor: sum(entry.vendor == vendor for entry in self.own) for vendor in ("fly", "cloudflare", "stripe")},
            "asked": [f"{entry.vendor} {entry.method} {entry.path}" for entry in self.own],
        }


def is_once_a_run(entry: Entry) -> bool:
    """Whether a call is made once for all tenants of a run."""
    return entry.vendor == "cloudflare" and entry.method == "GET" and bool(_LISTS.search(entry.path) or _TOKEN.search(entry.path))


def calls_of(entries: Sequence[Entry]) -> Calls:
    """Counts and chain of a run that made one tenant."""
    own = tuple(entry for entry in entries if not is_once_a_run(entry))
    return Calls(own, tuple(entry for entry in entries if is_once_a_run(entry)), chain_of(own))


def chain_of(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The longest path where the next began no earlier than the previous ended.

    An upper bound of what waits for what: two calls that only happen to follow each other count as a chain too.
    """
    best: dict[int, tuple[Entry, ...]] = {}
    ordered = sorted(entries, key=lambda entry: entry.began_s)
    for entry in ordered:
        before = [best[id(other)] for other in ordered if 0 < other.ended_s <= entry.began_s]
        best[id(entry)] = (*max(before, key=len, default=()), entry)
    return max(best.values(), key=len, default=())
