"""From an app's running totals to completions: how many between one reading and the next.

Does: difference totals, and book what was counted. Does not: price it.

A total lower than the one before is that of a fresh volume: it counts from 0. One that is not lower goes on, also under another volume's
id: a host's migration renames a volume, and counting its total again would bill all of it twice.
A first total counts from 0 when the instance was made on this tenant's plan (up to a day before it was recorded); else it is only where
counting begins, because what came before was never ours to bill.

When within two readings something was completed is not known. It is booked to the hour of the later one, so that a closed period stays as
it is. Where an allowance is granted anew each day or hour, and the readings lie on both sides of a midnight (or hour), it is booked to
those of the days between them that have allowance left, the earliest first, and only the rest to the later one's: nothing is billed or
refused that could have been within an allowance, and nothing is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rowhouse.usage.engines import Engine
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window

__all__ = ["Counted", "booked", "make_counters"]


class Counted(NamedTuple):
    """Completions between two readings."""

    since: int
    at: int
    """When the later reading was made, in milliseconds."""
    n: int


def make_counters(engine: Engine, period: Window) -> None:
    """From `entries` (and `machines`, `volumes`) make `counted` (tenant, instance, counter, since_ms, at_ms, n), later reading in the
    period, and the view `counter_hours` (tenant, instance, counter, hour, n) of it.
    """
    engine.table("counted", _counted(period))
    engine.view(
        "counter_hours",
        f"SELECT tenant, instance, counter, at_ms - at_ms % {HOUR_MS} AS hour, CAST(sum(n) AS BIGINT) AS n FROM counted"
        f" GROUP BY tenant, instance, counter, at_ms - at_ms % {HOUR_MS}",
    )


def _counted(period: Window) -> str:
    return f"""
    WITH readings AS (
        SELECT tenant, instance, subject AS counter, "at" AS at_ms, max(CAST(floor(CAST(value AS DECIMAL(28, 9))) AS BIGINT)) AS total
        FROM entries WHERE kind = 'counter' AND tenant IS NOT NULL AND subject IS NOT NULL AND value IS NOT NULL
        GROUP BY tenant, instance, subject, "at"
    ),
    ordered AS (
        SELECT tenant, instance, counter, at_ms, total,
               lag(at_ms) OVER (PARTITION BY tenant, instance, counter ORDER BY at_ms) AS since_ms,
               lag(total) OVER (PARTITION BY tenant, instance, counter ORDER BY at_ms) AS before
        FROM readings
    ),
    made AS (
        SELECT tenant, instance, min(made) AS made
        FROM (SELECT tenant, instance, made FROM volumes UNION ALL SELECT tenant, instance, born FROM machines) AS known
        GROUP BY tenant, instance
    ),
    begun AS (SELECT tenant, min("at") AS begun FROM entries WHERE kind = 'plan' AND tenant IS NOT NULL GROUP BY tenant),
    differences AS (
        SELECT o.tenant, o.instance, o.counter, coalesce(o.since_ms, m.made, o.at_ms) AS since_ms, o.at_ms,
               CASE WHEN o.before IS NULL THEN CASE WHEN m.made >= b.begun - {DAY_MS} THEN o.total ELSE 0 END
                    WHEN o.total < o.before THEN o.total ELSE o.total - o.before END AS n
        FROM ordered AS o
        LEFT JOIN made AS m ON o.tenant = m.tenant AND o.instance IS NOT DISTINCT FROM m.instance
        LEFT JOIN begun AS b ON o.tenant = b.tenant
        WHERE o.at_ms >= {period.start} AND o.at_ms < {period.end}
    )
    SELECT tenant, instance, counter, since_ms, at_ms, n FROM differences WHERE n > 0
    """


def booked(counted: Iterable[Counted], start: int, included: int, grant_ms: int) -> dict[int, int]:
    """Completions of one tenant by the hour to which each is booked, where `included` of them are granted anew every `grant_ms`.

    Args: start: of the segment; nothing is booked before it. Those between two grants go where allowance is left, soonest ending first,
    which is the order in which most of them find a place.
    """
    hours: dict[int, int] = {}
    left: dict[int, int] = {}
    wide: list[Counted] = []

    def book(hour: int, n: int) -> None:
        if n:
            hours[hour] = hours.get(hour, 0) + n
            grant = hour - hour % grant_ms
            left[grant] = max(0, left.get(grant, included) - n)

    for one in counted:
        if max(one.since, start) // grant_ms == one.at // grant_ms:
            book(one.at - one.at % HOUR_MS, one.n)
        else:
            wide.append(one)
    for one in sorted(wide, key=lambda one: (one.at, one.since)):
        rest = one.n
        since = max(one.since, start)
        for grant in range(since - since % grant_ms, one.at - one.at % grant_ms, grant_ms):
            fits = min(rest, left.get(grant, included))
            book(grant + grant_ms - HOUR_MS, fits)
            rest -= fits
            if not rest:
                break
        book(one.at - one.at % HOUR_MS, rest)
    return hours
