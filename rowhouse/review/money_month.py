"""What was used in the month that a cell closed last: what a review replays.

Does: find that month in the ledger, meter it, hand over plain values. Does not: price anything (money_replay.py), or write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rowhouse.review.money_concern import Wanted
from rowhouse.usage.bills import connect, freshness_in, load, opened_at, used_from
from rowhouse.usage.close_log import CLOSED, CloseLog
from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import Lot, SegmentUsage, Window, month_before
from rowhouse.usage.segments import month_of
from rowhouse.usage.vendor_use import DiskTime, MachineTime, people_in, vendor_use, writes_in
from rowhouse.vendors.store import Store

if TYPE_CHECKING:
    import duckdb

__all__ = ["Month", "SegmentDisk", "last_closed", "months_closed"]

_MEMORY: Final = "400MB"
"""Of DuckDB; what does not fit goes to a temporary folder. A month of 10,000 tenants takes no longer with it than with all memory."""
_AT_ONCE: Final = 2_000_000
"""So many entries of small cells are metered together."""


class SegmentDisk(NamedTuple):
    """One instance's volumes within one plan segment."""

    segment: int
    instance: str
    gb_ms: int
    """Micro-GB times milliseconds."""
    ms: int
    """For how long there was any."""


@dataclass(frozen=True, slots=True)
class Month:
    """One cell's closed month."""

    name: str
    """`2026-10`."""
    period: Window
    used: Mapping[str, Sequence[SegmentUsage]]
    """Tenant to its use, in the order of time, on the plans that the ledger recorded."""
    lots: Mapping[str, Sequence[Lot]] = field(default_factory=dict)
    machines: Mapping[str, Sequence[MachineTime]] = field(default_factory=dict)
    """Tenant to its machines' time; also of those without a plan, and of the edge."""
    volumes: Mapping[str, Sequence[DiskTime]] = field(default_factory=dict)
    disks: Mapping[str, Sequence[SegmentDisk]] = field(default_factory=dict)
    """Tenant to its volumes by plan segment."""
    people: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Who passed a gate (a mark, not a name) to the tenants at which."""
    writes: int = 0
    """Into the object store."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Tenant to why its credits cannot be read."""
    covers: frozenset[str] | None = None
    """The tenants that were looked for; None is all of the cell."""

    def covers_tenant(self, tenant: str) -> bool:
        """Whether a tenant that has no use here truly had none."""
        return self.covers is None or tenant in self.covers or tenant in self.used


def last_closed(
    store: Store,
    cell: str,
    wanted: Wanted | None = None,
    *,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _what: None,
) -> Month | None:
    """The month that a cell closed last; None where it has no ledger or closed none.

    Args: wanted: only these tenants; all where it is None. cache: a folder of this machine for the ledger's tables.
    Raises: LedgerError naming the segment that cannot be read; StoreError.
    """
    return months_closed([Ledger(store, cell, cache=cache)], wanted, progress=progress).get(cell)


def months_closed(
    ledgers: Iterable[Ledger], wanted: Wanted | None = None, *, progress: Callable[[str], None] = lambda _what: None
) -> dict[str, Month]:
    """Cell to the month that it closed last, of those that have closed one. Metering looks at each tenant by itself, so many small cells
    of one month are metered together: one query over a hundred cells takes little longer than over one.

    Raises: LedgerError naming the segment that cannot be read; StoreError.
    """
    found: dict[str, Month] = {}
    ledgers = list(ledgers)
    with TemporaryDirectory(prefix="rowhouse-") as spilled, closing(connect()) as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'; SET preserve_insertion_order = false")
        connection.execute("SET temp_directory = ?", [spilled])
        groups: dict[tuple[str, int | None], _Together] = {}
        for number, ledger in enumerate(ledgers, 1):
            progress(f"reading the ledger of {ledger.cell}, {number} of {len(ledgers)}")
            name = _closed_month(ledger, connection)
            if name is None:
                continue
            period = Window.month(name)
            load(ledger, connection, period)
            if len(ledgers) == 1:
                return {ledger.cell: _alone(connection, name, wanted, progress)}
            key = (name, opened_at(connection, period.start))
            if key not in groups:
                groups[key] = _Together(connection, f"together_{len(groups)}", name, wanted, progress)
            groups[key].add(ledger.cell)
            if groups[key].rows > _AT_ONCE:
                found |= groups[key].metered()
        for group in groups.values():
            found |= group.metered()
    return {cell: found[cell] for cell in sorted(found)}


def _alone(connection: duckdb.DuckDBPyConnection, name: str, wanted: Wanted | None, progress: Callable[[str], None]) -> Month:
    """The month of the one cell whose entries are loaded."""
    period = Window.month(name)
    covers = None if wanted is None else _narrowed(connection, wanted)
    used, lots, failed = used_from(connection, period, progress=progress)
    sources = len(freshness_in(connection).sources)
    vendors = vendor_use(connection, period, sources, logins=_whole_table(connection))
    machines, volumes = _by_tenant(vendors.machines), _by_tenant(vendors.disks)
    return Month(name, period, used, lots, machines, volumes, _disks(connection), vendors.people, vendors.writes, failed, covers)


class _Together:
    """Cells that are metered with one query: until then each of their tenants is called `cell/tenant`."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: str, name: str, wanted: Wanted | None, progress: Callable[[str], None]
    ) -> None:
        self._connection, self._table, self._name, self._wanted, self._progress = connection, table, name, wanted, progress
        self._period = Window.month(name)
        self._cells: dict[str, tuple[frozenset[str] | None, int, Mapping[str, Sequence[str]]]] = {}
        self.rows = 0

    def add(self, cell: str) -> None:
        """Take in the cell whose entries are loaded."""
        connection = self._connection
        covers = None if self._wanted is None else _narrowed(connection, self._wanted)
        whole = _whole_table(connection)
        sources = len(freshness_in(connection).sources)
        self._cells[cell] = covers, writes_in(connection, self._period, sources), people_in(connection, self._period, whole)
        if not self.rows:
            connection.execute(f"CREATE OR REPLACE TABLE {self._table} AS SELECT * FROM {whole} LIMIT 0")  # noqa: S608 - names of our own
        named = "SELECT * REPLACE (CASE WHEN tenant IS NULL THEN NULL ELSE ? || tenant END AS tenant) FROM entries"
        [(count,)] = connection.execute(f"INSERT INTO {self._table} {named}", [f"{cell}/"]).fetchall()
        self.rows += count
        connection.execute("DROP TABLE IF EXISTS temp.entries")

    def metered(self) -> dict[str, Month]:
        """Cell to its month of all that were taken in, of whom nothing is kept."""
        if not self._cells:
            return {}
        connection, period, cells = self._connection, self._period, self._cells
        connection.execute(f"CREATE TEMP VIEW entries AS SELECT * FROM {self._table}")  # noqa: S608 - likewise
        used, lots, failed = used_from(connection, period, progress=self._progress)
        vendors = vendor_use(connection, period, 0, logins=f"(SELECT * FROM {self._table} LIMIT 0)")  # noqa: S608 - a name of our own
        machines, volumes, disks = _by_tenant(vendors.machines), _by_tenant(vendors.disks), _disks(connection)
        parts = [_split(part) for part in (used, lots, machines, volumes, disks, failed)]
        connection.execute(f"DROP VIEW temp.entries; DROP TABLE {self._table}")
        self._cells, self.rows = {}, 0
        found = {}
        for cell, (covers, writes, people) in cells.items():
            own_used, own_lots, own_machines, own_volumes, own_disks, own_failed = (part.get(cell, {}) for part in parts)
            found[cell] = Month(
                self._name, period, own_used, own_lots, own_machines, own_volumes, own_disks, people, writes, own_failed, covers
            )
        return found


def _split(whole: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """From `cell/tenant` to what is said of it, to cell to tenant to that; a tenant that is named inside has its own name again."""
    found: dict[str, dict[str, Any]] = {}
    for both, said in whole.items():
        cell, _, tenant = both.partition("/")
        own = [replace(one, tenant=tenant) if hasattr(one, "tenant") else one for one in said] if isinstance(said, list) else said
        found.setdefault(cell, {})[tenant] = own.replace(both, tenant) if isinstance(own, str) else own
    return found


T = TypeVar("T", MachineTime, DiskTime)


def _by_tenant(rows: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for row in rows:
        found.setdefault(row.tenant, []).append(row)
    return found


def _closed_month(ledger: Ledger, connection: duckdb.DuckDBPyConnection) -> str | None:
    """The latest month whose close came to an end. Mostly it is one of the last two; all are asked only where it is not."""
    last = ledger.last_window("billing")
    if last is None:
        return None
    month = month_of(last)
    for since in (month, month_before(month), None):
        ledger.table(connection, "closes", since=since, sources=("billing",))
        rows = connection.execute("SELECT DISTINCT subject, state, \"at\" FROM closes WHERE kind = 'close'").fetchall()
        log = CloseLog.of(Entry("close", at, subject=subject, state=state) for subject, state, at in rows)
        closed = [name for name, state in log.states.items() if state in CLOSED]
        if closed:
            return max(closed)
    return None


def _whole_table(connection: duckdb.DuckDBPyConnection) -> str:
    """The name of the table with everybody's entries, which a narrowed one of the same name hides."""
    [(name,)] = connection.execute("SELECT current_database()").fetchall()
    return f'"{name}".main.entries'


def _narrowed(connection: duckdb.DuckDBPyConnection, wanted: Wanted) -> frozenset[str]:
    """Leave in `entries` the wanted tenants alone and what belongs to none; who they are."""
    whole = _whole_table(connection)
    listed = "SELECT unnest(from_json(CAST(? AS VARCHAR), '[\"VARCHAR\"]'))"
    rows = connection.execute(
        f"SELECT DISTINCT tenant FROM {whole} WHERE tenant IS NOT NULL AND (tenant IN ({listed})"  # noqa: S608 - names of our own
        f" OR (kind = 'plan' AND subject IN ({listed})))",
        [json.dumps(sorted(wanted.tenants)), json.dumps(sorted(wanted.plans))],
    ).fetchall()
    names = sorted(row[0] for row in rows)
    connection.execute(
        f"CREATE TEMP TABLE entries AS SELECT * FROM {whole} WHERE tenant IS NULL OR tenant IN ({listed})",  # noqa: S608 - likewise
        [json.dumps(names)],
    )
    return frozenset(names) | wanted.tenants


def _disks(connection: duckdb.DuckDBPyConnection) -> dict[str, list[SegmentDisk]]:
    """Tenant to its volumes by segment and instance."""
    found: dict[str, list[SegmentDisk]] = {}
    for tenant, segment, instance, gb_ms, ms, length in connection.execute(_DISKS).fetchall():
        found.setdefault(tenant, []).append(SegmentDisk(segment, instance or "", int(gb_ms), min(int(ms), length)))
    return found


_DISKS: Final = """
SELECT tenant, segment, instance, sum(CAST(micro_gb AS DECIMAL(38, 0)) * ms), sum(ms), any_value(length) FROM (
    SELECT g.tenant, g.segment, s.instance, s.micro_gb, g.end_ms - g.start_ms AS length,
           least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms) AS ms
    FROM volume_steps AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms
) AS cut GROUP BY tenant, segment, instance ORDER BY tenant, segment, instance
"""
