"""What an export of one month holds, as tables of DuckDB: all that a stranger needs to compute every invoice again.

Does: cut the meter's spans and steps at plan segments and hours, and put plans, credits and bills beside them. Does not: write files
(export.py). docs/export.md has the columns.

Only closed hours are exported: those that end not after the time up to which every source vouches for what it said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rowhouse.spec.terms import billed_id, terms_of, terms_text
from rowhouse.usage.bills import Context, entries_in, month_of
from rowhouse.usage.close_log import CLOSED
from rowhouse.usage.entries import canonical
from rowhouse.usage.lots import lot_data
from rowhouse.usage.model import HOUR_MS, Bill

if TYPE_CHECKING:
    import duckdb

__all__ = ["TABLES", "Table", "closed_until", "is_closed", "make_tables"]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of an export."""

    name: str
    columns: Mapping[str, str]
    """Name to DuckDB type, in order."""
    order: tuple[str, ...]
    """Columns that together name a row: the order of rows in a file."""
    daily: bool = False
    """One file for each UTC day of `hour`, instead of one for the month."""


_OWN: Final = {"tenant": "VARCHAR", "segment": "BIGINT"}
_HOURLY: Final = ("running", "inferred", "stopped", "unknown")
_GIGABYTES: Final = ("volume_gb_ms", "storage_gb_ms", "storage_known_ms")
_EXACT: Final = "DECIMAL(38, 9)"

TABLES: Final = (
    Table(
        "plans",
        {**_OWN, "plan": "VARCHAR", "start_ms": "BIGINT", "end_ms": "BIGINT", "terms_id": "VARCHAR", "terms": "VARCHAR"},
        ("tenant", "segment"),
    ),
    Table(
        "usage_hours",
        {
            **_OWN,
            "instance": "VARCHAR",
            "hour": "BIGINT",
            **{f"{name}_ms": "BIGINT" for name in _HOURLY},
            **dict.fromkeys(_GIGABYTES, "BIGINT"),
        },
        ("tenant", "instance", "hour", "segment"),
        daily=True,
    ),
    Table("active_hours", {**_OWN, "hour": "BIGINT"}, ("tenant", "hour"), daily=True),
    Table(
        "counter_hours", {**_OWN, "meter": "VARCHAR", "hour": "BIGINT", "n": "BIGINT"}, ("tenant", "meter", "hour", "segment"), daily=True
    ),
    Table(
        "credits",
        {
            **dict.fromkeys(("tenant", "payment", "pack", "meter"), "VARCHAR"),
            "size": "BIGINT",
            "left": "BIGINT",
            "price": "VARCHAR",
            "currency": "VARCHAR",
            "at": "BIGINT",
            "expires_at": "BIGINT",
        },
        ("tenant", "payment"),
    ),
    Table(
        "bill_lines",
        {
            "tenant": "VARCHAR",
            "line": "BIGINT",
            "segment": "BIGINT",
            "meter": "VARCHAR",
            "plan": "VARCHAR",
            "start_ms": "BIGINT",
            "end_ms": "BIGINT",
            "quantity": _EXACT,
            "unit": "VARCHAR",
            "included": _EXACT,
            "credits_used": _EXACT,
            "billed": _EXACT,
            "refused": _EXACT,
            "unit_price": "VARCHAR",
            "currency": "VARCHAR",
            "exact": "VARCHAR",
            "amount": "DECIMAL(38, 2)",
            "stripe_quantity": "BIGINT",
            "stripe_unit": "VARCHAR",
        },
        ("tenant", "line"),
    ),
    Table(
        "billing",
        {
            "kind": "VARCHAR",
            "tenant": "VARCHAR",
            "at": "BIGINT",
            "state": "VARCHAR",
            "id": "VARCHAR",
            "value": "VARCHAR",
            "data": "VARCHAR",
        },
        ("at", "kind", "tenant", "id"),
    ),
)
"""In the order in which they are written; a table without rows has no file."""

_BATCH: Final = 50_000


def closed_until(context: Context) -> int:
    """The end of the period's last closed hour; the period's start where none is closed yet."""
    watermark = context.fresh.watermark
    if watermark is None:
        return context.period.start
    reached = min(watermark - watermark % HOUR_MS, context.period.end)
    return max(reached, context.period.start)


def make_tables(bills: Sequence[Bill], context: Context, progress: Callable[[str], None] = lambda _what: None) -> int:
    """Make `export_<name>` of each table in the context's connection. Returns: up to when hours are closed (ms)."""
    connection, until = context.connection, closed_until(context)
    progress("hours")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE export_usage_hours AS {_usage_hours(until)}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE export_active_hours AS {_ACTIVE_HOURS.format(until=until - HOUR_MS)}")
    _fill(connection, "counter_hours", _counter_rows(context, until))
    progress("plans and credits")
    _fill(connection, "plans", _plan_rows(context))
    _fill(connection, "credits", _credit_rows(context))
    # A period that is not over has no bill yet: base and allowance are the whole month's.
    _fill(connection, "bill_lines", _line_rows(bills) if until == context.period.end else ())
    _fill(connection, "billing", _billing_rows(context))
    return until


def is_closed(context: Context) -> bool:
    """Whether the month was closed: its invoices went out."""
    month = month_of(context.period.start)
    return any(entry.state in CLOSED for entry in entries_in(context.connection, "kind = 'close' AND subject = ?", month))


def is_done(context: Context) -> bool:
    """Whether its close is over: one that left somebody's invoice behind is run again, and may adjust the month before."""
    month = month_of(context.period.start)
    return any(entry.state == "done" for entry in entries_in(context.connection, "kind = 'close' AND subject = ?", month))


def _usage_hours(until: int) -> str:
    """Spans and steps cut at segments, then at hours: an hour in which the plan changed has a row for each segment's part."""
    by_class = ", ".join(f"CASE WHEN class = '{name}' THEN ms ELSE 0 END AS {name}_ms" for name in _HOURLY)
    columns = [f"{name}_ms" for name in _HOURLY] + list(_GIGABYTES)
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in columns)
    zeros = ", ".join(["0"] * len(_HOURLY))

    def parts(table: str, columns: str) -> str:
        return f"""
        SELECT tenant, segment, instance, hour, {columns}, least(b, hour + {HOUR_MS}) - greatest(a, hour) AS ms FROM (
            SELECT *, unnest(range(a - a % {HOUR_MS}, b, {HOUR_MS})) AS hour FROM (
                SELECT s.*, g.segment, greatest(s.start_ms, g.start_ms) AS a, least(s.end_ms, g.end_ms, {until}) AS b
                FROM {table} AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms
            ) AS cut WHERE a < b
        ) AS hourly"""

    return f"""
    SELECT tenant, segment, instance, hour, {sums} FROM (
        SELECT tenant, segment, instance, hour, {by_class}, 0 AS volume_gb_ms, 0 AS storage_gb_ms, 0 AS storage_known_ms
        FROM ({parts("instance_spans", "class")}) AS spans
        UNION ALL SELECT tenant, segment, instance, hour, {zeros}, micro_gb * ms, 0, 0 FROM ({parts("volume_steps", "micro_gb")}) AS volumes
        UNION ALL SELECT tenant, segment, instance, hour, {zeros}, 0, micro_gb * ms, ms
        FROM ({parts("storage_steps", "micro_gb")}) AS storage
    ) AS together GROUP BY tenant, segment, instance, hour
    """


_ACTIVE_HOURS: Final = """
SELECT a.tenant, g.segment, a.hour FROM active AS a
JOIN segments AS g ON a.tenant = g.tenant AND a.first_ms >= g.start_ms AND a.first_ms < g.end_ms WHERE a.hour <= {until}
"""


def _fill(connection: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Sequence[Any]]) -> None:
    """Make a table of these rows, so many at a time, each batch one JSON text: a list as a parameter takes DuckDB far longer."""
    columns = next(table.columns for table in TABLES if table.name == name)
    named = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE export_{name} ({named})")
    chosen = ", ".join(f"CAST(row[{place}] AS {kind})" for place, kind in enumerate(columns.values(), 1))
    batch: list[Sequence[Any]] = []

    def put() -> None:
        unnested = """(SELECT unnest(from_json(CAST(? AS VARCHAR), '[["VARCHAR"]]')) AS row)"""
        connection.execute(f"INSERT INTO export_{name} SELECT {chosen} FROM {unnested}", [json.dumps(batch)])
        batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            put()
    if batch:
        put()


def _plan_rows(context: Context) -> Iterable[Sequence[Any]]:
    for tenant, segments in context.usage.items():
        for segment in segments:
            terms = terms_of(segment.plan)
            yield tenant, segment.segment, segment.plan.ref, segment.start, segment.end, billed_id(terms), terms_text(terms)


def _counter_rows(context: Context, until: int) -> Iterable[Sequence[Any]]:
    for tenant, segments in context.usage.items():
        for segment in segments:
            for meter, hours in segment.counters.items():
                for hour, count in hours.items():
                    if hour + HOUR_MS <= until:
                        yield tenant, segment.segment, meter, hour, count


def _credit_rows(context: Context) -> Iterable[Sequence[Any]]:
    names = tuple(next(table.columns for table in TABLES if table.name == "credits"))[1:]
    for tenant in context.usage:
        seen: set[str] = set()
        for lot in context.lots.get(tenant, ()):
            if lot.payment not in seen:
                seen.add(lot.payment)
                data = lot_data(lot)
                yield tenant, *(data[name] for name in names)


def _line_rows(bills: Iterable[Bill]) -> Iterable[Sequence[Any]]:
    for bill in bills:
        for number, line in enumerate(bill.lines):
            yield (
                *(bill.tenant, number, line.segment, line.meter, line.plan, line.start, line.end),
                *(f"{line.quantity:f}", line.unit, None if line.included is None else f"{line.included:f}"),
                *(f"{line.credits_used:f}", f"{line.billed:f}", f"{line.refused:f}"),
                *(None if line.unit_price is None else f"{line.unit_price:f}", line.currency, str(line.exact), f"{line.amount:f}"),
                *(line.stripe_quantity, line.stripe_unit),
            )


def _billing_rows(context: Context) -> Iterable[Sequence[Any]]:
    """What went out for this month: invoices, corrections, steps of the close."""
    month = month_of(context.period.start)
    for entry in entries_in(context.connection, "kind IN ('close', 'invoice', 'correction') AND subject = ?", month):
        data = None if entry.data is None else canonical(dict(entry.data))
        yield entry.kind, entry.tenant, entry.at, entry.state, entry.id, entry.value, data
