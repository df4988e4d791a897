"""What a month must know of the months before it, so that a pass reads one month and not the whole ledger.

Does: pick the entries that still matter when a month begins, to be written once more, verbatim: the same fact twice is one. Does not:
decide how many credits are left (bills.py does, and both go into one segment), or invent an entry that is not in the ledger: from the
whole ledger, the month comes out the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from rowhouse.usage.entries import COLUMNS, Entry

if TYPE_CHECKING:
    import duckdb

__all__ = ["carried"]

_DAY_MS: Final = 86_400_000
_WEEK_MS: Final = 7 * _DAY_MS
"""How long a reading of storage holds, and how long what is gone is still told: late lists may speak of it."""
_GONE: Final = "('gone', 'destroyed', 'replaced', 'migrated')"
_RUNS: Final = 3
_LISTED: Final = 50
"""Fly: a machine's list has its last 50 events (2026-10)."""
_WHOSE: Final = "tenant, coalesce(instance, '') AS instance, coalesce(subject, '') AS subject"
_SAME: Final = "e.tenant = k.tenant AND coalesce(e.instance, '') = k.instance AND coalesce(e.subject, '') = k.subject"


def carried(connection: duckdb.DuckDBPyConnection, start: int) -> list[Entry]:
    """The entries from before `start` (ms) that a month beginning there needs, in the order of time; each once.

    The connection has the table `entries` with all of the month before, its own carried ones included.
    """
    found: list[Entry] = []
    for query in _selects(start):
        for row in connection.execute(query).fetchall():
            named = dict(zip(COLUMNS, row, strict=True))
            named["data"] = json.loads(named["data"]) if named["data"] else None
            found.append(Entry(**named))
    return sorted(
        found, key=lambda entry: (entry.at, entry.kind, entry.tenant or "", entry.instance or "", entry.subject or "", entry.id or "")
    )


def _selects(start: int) -> list[str]:
    """The queries whose rows `carried` gives, with the columns of an entry."""
    listed = ", ".join(f'e."{name}"' for name in COLUMNS)
    queries = (_PLANS, _folded("machine"), _folded("volume"), _LISTS, _EVENTS, _READINGS, _NOTES, _PASSES)
    words = {"$columns": listed, "$start": str(start), "$week": str(start - _WEEK_MS), "$events": str(_LISTED)}
    return [re.sub(r"\$[a-z]+", lambda match: words[match[0]], query) for query in queries]


_PLANS: Final = """
SELECT DISTINCT $columns FROM entries AS e
JOIN (SELECT tenant, min("at") AS first, max("at") AS last FROM entries WHERE kind = 'plan' AND "at" < $start GROUP BY tenant) AS k
  ON e.tenant = k.tenant AND (e."at" = k.first OR e."at" = k.last)
WHERE e.kind = 'plan'
"""
"""The first says since when the tenant is ours, the last what it is on."""


def _folded(kind: str) -> str:
    """Of the last runs of a list's words about a thing without a change, the first and the last: they say as much as all of them."""
    return f"""
SELECT DISTINCT $columns FROM entries AS e
JOIN (
    SELECT * FROM (
        SELECT {_WHOSE}, coalesce(id, '') AS id, coalesce(state, '') AS state, coalesce(value, '') AS value,
               coalesce(CAST(data AS VARCHAR), '') AS data, min(coalesce("asof", "at")) AS lo, max(coalesce("asof", "at")) AS hi
        FROM entries WHERE kind = '{kind}' AND tenant IS NOT NULL AND coalesce("asof", "at") < $start
        GROUP BY ALL
    )
    QUALIFY row_number() OVER (PARTITION BY tenant, instance, subject ORDER BY hi DESC, lo DESC, data DESC, id DESC) <= {_RUNS}
) AS k ON {_SAME} AND coalesce(e.id, '') = k.id AND coalesce(e.state, '') = k.state AND coalesce(e.value, '') = k.value
      AND coalesce(CAST(e.data AS VARCHAR), '') = k.data AND coalesce(e."asof", e."at") IN (k.lo, k.hi)
WHERE e.kind = '{kind}' AND NOT (k.state IN {_GONE} AND k.hi < $week)
"""


_SPANS: Final = f"""
    SELECT l.tenant, l.instance, l.subject, min(l.lo) AS lo FROM (
        SELECT {_WHOSE}, "at" AS lo, "asof" AS hi, max("asof") OVER (PARTITION BY tenant, instance, subject) AS last
        FROM entries WHERE kind = 'events' AND "at" < $start
    ) AS l
    LEFT JOIN (
        SELECT {_WHOSE}, max("at") AS latest FROM entries WHERE kind = 'event' AND "at" < $start GROUP BY ALL
    ) AS h ON l.tenant = h.tenant AND l.instance = h.instance AND l.subject = h.subject
    WHERE l.hi = l.last OR l.hi >= h.latest
    GROUP BY ALL
"""
"""From when on the lists and events of a machine are needed: from the beginning of the last list, and of all that reach its last event."""

_LISTS: Final = f"""
SELECT DISTINCT $columns FROM entries AS e JOIN ({_SPANS}) AS k ON {_SAME}
WHERE e.kind = 'events' AND e."asof" >= k.lo AND e."at" < $start
"""

_EVENTS: Final = f"""
SELECT DISTINCT $columns FROM entries AS e
LEFT JOIN ({_SPANS}) AS k ON {_SAME}
JOIN (
    SELECT tenant, instance, subject, min("at") AS lo FROM (
        SELECT *, row_number() OVER (PARTITION BY tenant, instance, subject ORDER BY "at" DESC, id DESC) AS number
        FROM (SELECT DISTINCT {_WHOSE}, "at", id FROM entries WHERE kind = 'event' AND "at" < $start)
    )
    WHERE number <= $events GROUP BY ALL
) AS n ON e.tenant = n.tenant AND coalesce(e.instance, '') = n.instance AND coalesce(e.subject, '') = n.subject
WHERE e.kind = 'event' AND e."at" < $start AND (e."at" >= k.lo OR e."at" >= n.lo)
"""
"""The events of those lists, because a list counts only while all of its events are at hand, and those that a list of the month itself
may begin with.
"""

_READINGS: Final = f"""
SELECT DISTINCT $columns FROM entries AS e
JOIN (
    SELECT kind, {_WHOSE}, max("at") AS last FROM entries
    WHERE kind IN ('storage', 'counter') AND "at" < $start AND (kind = 'counter' OR "at" >= $week) GROUP BY ALL
) AS k ON e.kind = k.kind AND {_SAME} AND e."at" = k.last
"""
"""The last reading of each counter, from which the next one counts, and of each volume's use, while it holds."""

_NOTES: Final = """
SELECT DISTINCT $columns FROM entries AS e
WHERE e.kind IN ('activity', 'counter') AND e."at" >= $week AND e."at" < $start AND (e.data->>'etag') IS NOT NULL
"""
"""Which notes were read, so that they are not read again."""

_PASSES: Final = """
SELECT DISTINCT $columns FROM entries AS e
JOIN (SELECT state, max("at") AS last FROM entries WHERE kind = 'pass' AND "at" < $start GROUP BY state) AS k
  ON e.state IS NOT DISTINCT FROM k.state AND e."at" = k.last
WHERE e.kind = 'pass'
"""
