"""Made-up use in the meter's own tables, so that a quote and a real bill are metered by the same queries.

Does: write what observing would have proven (runs, gigabytes, counts) and remembered (plan, logins, activity). Does not: sum anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import duckdb

from rowhouse.spec.model import Plan
from rowhouse.spec.terms import billed_id, terms_of, terms_text
from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.meter import gathered
from rowhouse.usage.meter_hours import make_hours
from rowhouse.usage.meter_plans import make_segments
from rowhouse.usage.model import HOUR_MS, SegmentUsage, Window
from rowhouse.usage.quote_file import WrittenUse
from rowhouse.usage.tables import TYPES

__all__ = ["metered"]

_MINUTE_MS = 60_000
_ROWS = """(SELECT unnest(from_json(CAST(? AS VARCHAR), '[["BIGINT"]]')) AS row)"""
"""Rows of whole numbers from one JSON text: a list as a parameter takes DuckDB a thousand times as long."""


def metered(tenant: str, plan: Plan, period: Window, use: WrittenUse) -> SegmentUsage:
    """The file's use as the meter sums it up: what observing would have proven goes into the meter's own tables, and it does the rest."""
    with duckdb.connect() as connection:
        engine = DuckEngine(connection)
        _remember(connection, tenant, plan, period, use)
        plans = make_segments(engine, period)
        _prove(connection, tenant, use, period)
        make_hours(engine, period)
        [used] = gathered(engine, plans)
    return used


def _remember(connection: duckdb.DuckDBPyConnection, tenant: str, plan: Plan, period: Window, use: WrittenUse) -> None:
    """The table `entries` with the plan, the logins and the activity."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
    connection.execute(f"CREATE TEMP TABLE entries ({columns})")
    terms = terms_of(plan)
    connection.execute(
        """INSERT INTO entries (kind, tenant, subject, "at", state, id, data) VALUES ('plan', ?, ?, ?, 'active', ?, ?)""",
        [tenant, plan.ref, period.start, billed_id(terms), terms_text(terms)],
    )
    connection.execute(
        f"""INSERT INTO entries (kind, tenant, instance, "at", id)
        SELECT DISTINCT 'login', ?, 'main', row[1], 'login-' || row[1] FROM {_ROWS}""",
        [tenant, _rows((at,) for at in use.logins)],
    )
    connection.execute(
        f"""INSERT INTO entries (kind, tenant, instance, "at", value, id, data)
        SELECT DISTINCT 'activity', ?, 'main', row[1] - row[1] % {HOUR_MS}, '1', 'activity-' || row[1],
               json_object('minutes', json_object(lpad(CAST(row[1] % {HOUR_MS} // {_MINUTE_MS} AS VARCHAR), 2, '0'), 1))
        FROM {_ROWS}""",
        [tenant, _rows((at,) for at in use.activity)],
    )


def _prove(connection: duckdb.DuckDBPyConnection, tenant: str, use: WrittenUse, period: Window) -> None:
    """The meter's tables of proven things: runs (each an instance's own, so that those beside each other add up), gigabytes, counts."""
    connection.execute(
        f"""CREATE TEMP TABLE instance_spans AS
        SELECT ? AS tenant, 'run-' || row[3] AS instance, row[1] AS start_ms, row[2] AS end_ms, 'running' AS class FROM {_ROWS}
        WHERE row[1] < row[2] AND row[1] < {period.end} AND row[2] > {period.start}""",
        [tenant, _rows((start, end, number) for number, (start, end) in enumerate(use.running))],
    )
    for table, levels in (("storage_steps", use.storage), ("volume_steps", use.volume)):
        ends = [at for at, _ in levels[1:]] + [period.end]
        connection.execute(
            f"""CREATE TEMP TABLE {table} AS
            SELECT ? AS tenant, 'main' AS instance, 'volume' AS volume, row[1] AS start_ms, row[2] AS end_ms, row[3] AS micro_gb
            FROM {_ROWS} WHERE row[1] < row[2]""",
            [tenant, _rows((at, end, amount) for (at, amount), end in zip(levels, ends, strict=False))],
        )
    names = sorted(use.counters)
    connection.execute(
        f"""CREATE TEMP TABLE counted AS
        SELECT ? AS tenant, 'main' AS instance, CAST(? AS VARCHAR[])[row[1] + 1] AS counter,
               row[2] AS since_ms, row[2] AS at_ms, row[3] AS n
        FROM {_ROWS} WHERE row[3] > 0""",
        [tenant, names, _rows((number, at, n) for number, name in enumerate(names) for at, n in use.counters[name])],
    )


def _rows(rows: Iterable[Sequence[int]]) -> str:
    return json.dumps(list(rows))
