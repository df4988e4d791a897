"""From what the ledger remembers to what each tenant used: a pure function of the table `entries`.

Does: put the steps in order and hand the sums over. Does not: read a clock, a file or the network, or know a price.
The same entries in any order, once or twice, give the same rows; what each rule proves and why stands in meter_spans.py (machines),
meter_plans.py, meter_disks.py, meter_counters.py and meter_hours.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rowhouse.spec.model import Plan
from rowhouse.usage.engines import DuckEngine, Engine
from rowhouse.usage.meter_counters import Counted, booked, make_counters
from rowhouse.usage.meter_disks import make_disks
from rowhouse.usage.meter_hours import make_hours
from rowhouse.usage.meter_plans import make_segments
from rowhouse.usage.meter_spans import make_instance_spans, make_spans
from rowhouse.usage.model import DAY_MS, HOUR_MS, SegmentUsage, Window

if TYPE_CHECKING:
    import duckdb

__all__ = ["gathered", "measured", "usage"]

_GRANT_MS = {"day": DAY_MS, "hour": HOUR_MS}

_Key = tuple[str, int]


def usage(connection: duckdb.DuckDBPyConnection, period: Window) -> list[SegmentUsage]:
    """What every tenant that had a plan used in a period, by tenant and segment.

    Args: connection: has a table `entries` with the ledger's columns: at least all of the period, what the period before carries over,
        and the first pass after it (only that proves the period's last minutes).
    Leaves these tables of the session behind: `spans` (tenant, instance, machine, start_ms, end_ms, class), `instance_spans`, `segments`,
    and the views `usage_hours` and `counter_hours`.
    """
    return measured(DuckEngine(connection), period)


def measured(engine: Engine, period: Window) -> list[SegmentUsage]:
    """The same on any engine, from all entries."""
    make_spans(engine, period)
    make_instance_spans(engine)
    plans = make_segments(engine, period)
    make_disks(engine)
    make_counters(engine, period)
    make_hours(engine, period)
    return gathered(engine, plans)


def gathered(engine: Engine, plans: Mapping[str, Plan]) -> list[SegmentUsage]:
    """The sums, from the tables that the steps leave behind (`segments`, `instance_spans`, `storage_steps`, `volume_steps`, `counted` and
    the view `active`), whoever made them. Args: plans: by `terms` of `segments`.
    """
    running = _by_segment(engine.rows(_RUNNING))
    active = _by_segment(engine.rows(_ACTIVE))
    storage = _by_segment(engine.rows(_gigabytes("storage_steps")))
    volume = _by_segment(engine.rows(_gigabytes("volume_steps")))
    counters = _counters(engine, plans)
    found = []
    for tenant, segment, terms, start, end in engine.rows(
        "SELECT tenant, segment, terms, start_ms, end_ms FROM segments ORDER BY tenant, segment"
    ):
        key = (tenant, segment)
        running_ms, inferred_ms = running.get(key, (0, 0))
        storage_gb_ms, storage_ms = storage.get(key, (0, 0))
        found.append(
            SegmentUsage(
                tenant=tenant,
                segment=segment,
                start=start,
                end=end,
                plan=plans[terms],
                running_ms=int(running_ms),
                inferred_ms=int(inferred_ms),
                active_hours=int(active.get(key, (0,))[0]),
                counters=counters.get(key, {}),
                storage_gb_ms=int(storage_gb_ms),
                storage_ms=int(storage_ms),
                volume_gb_ms=int(volume.get(key, (0, 0))[0]),
            )
        )
    return found


def _by_segment(rows: Sequence[tuple[Any, ...]]) -> dict[_Key, tuple[Any, ...]]:
    return {(row[0], row[1]): row[2:] for row in rows}


_RUNNING = """
SELECT g.tenant, g.segment,
       sum(CASE WHEN s.class = 'running' THEN least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms) ELSE 0 END),
       sum(CASE WHEN s.class = 'inferred' THEN least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms) ELSE 0 END)
FROM instance_spans AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms
WHERE s.class IN ('running', 'inferred') GROUP BY g.tenant, g.segment
"""

_ACTIVE = """
SELECT g.tenant, g.segment, count(*) FROM active AS a
JOIN segments AS g ON a.tenant = g.tenant AND a.first_ms >= g.start_ms AND a.first_ms < g.end_ms
GROUP BY g.tenant, g.segment
"""


def _gigabytes(table: str) -> str:
    """Micro-GB times milliseconds of all volumes, and for how long the best known of them is known."""
    return f"""
    SELECT tenant, segment, sum(gb_ms), max(ms) FROM (
        SELECT g.tenant, g.segment, s.instance, s.volume,
               sum(CAST(s.micro_gb AS DECIMAL(38, 0)) * (least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms))) AS gb_ms,
               sum(least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms)) AS ms
        FROM {table} AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms
        GROUP BY g.tenant, g.segment, s.instance, s.volume
    ) AS volumes GROUP BY tenant, segment
    """


def _counters(engine: Engine, plans: Mapping[str, Plan]) -> dict[_Key, dict[str, dict[int, int]]]:
    """Each segment's completions by the plan's meter, by hour. A reading belongs to the segment in which it was made."""
    found: dict[_Key, dict[str, dict[int, int]]] = {}
    rows = engine.rows(
        "SELECT g.tenant, g.segment, g.terms, g.start_ms, c.counter, c.since_ms, c.at_ms, CAST(sum(c.n) AS BIGINT) FROM counted AS c"
        " JOIN segments AS g ON c.tenant = g.tenant AND c.at_ms >= g.start_ms AND c.at_ms < g.end_ms"
        " GROUP BY g.tenant, g.segment, g.terms, g.start_ms, c.counter, c.since_ms, c.at_ms"
    )
    by_counter: dict[tuple[str, int, str, int, str], list[Counted]] = {}
    for tenant, segment, terms, start, counter, since, at, n in rows:
        by_counter.setdefault((tenant, segment, terms, start, counter), []).append(Counted(since, at, n))
    for (tenant, segment, terms, start, counter), counted in sorted(by_counter.items()):
        for meter in plans[terms].meters:
            if meter.kind == "counter" and counter == (meter.counter or meter.name):
                granted = meter.included is not None and meter.per != "period"
                included = int(meter.included or 0) if granted else 0
                hours = booked(counted, start, included, _GRANT_MS.get(meter.per, HOUR_MS) if granted else 1 << 62)
                found.setdefault((tenant, segment), {})[meter.name] = hours
    return found
