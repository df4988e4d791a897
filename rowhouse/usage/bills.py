"""The one way from the ledger to bills: entries into DuckDB, metered, rated with the credits that earlier months left.

Does: load, meter, find the credits left, rate each tenant alone, say up to when everything is vouched for. Does not: decide what is proven
(meter.py) or what it costs (rate.py). Report, explanation, export, push and close all ask here, so that no two of them can disagree.

What a month must know of the months before it stands in `opening` entries: one a tenant with its credits (data: lots), and one without a
tenant once all that is carried over is written. Where a month has none, all months are read and the credits are computed anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from rowhouse.spec.model import Fleet
from rowhouse.usage.credits import CreditError
from rowhouse.usage.entries import COLUMNS, Entry, LedgerError
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.lots import UNDONE, lot_data, lot_from, lots_of
from rowhouse.usage.meter import usage
from rowhouse.usage.model import Bill, Lot, SegmentUsage, Window, month_before
from rowhouse.usage.rate import RatingError, rate
from rowhouse.vendors.store import Store

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Context",
    "Freshness",
    "NoLedgerError",
    "bills_from",
    "bills_in",
    "bills_of",
    "connect",
    "entries_in",
    "freshness_in",
    "is_opened",
    "load",
    "month_of",
    "openings",
    "reopenings",
    "used_from",
]

Progress = Callable[[str], None]
"""Told what is being done now, in a word or two."""
Meter = Callable[["duckdb.DuckDBPyConnection", Window], Sequence[SegmentUsage]]
"""From the table `entries` to what every tenant used in a period."""
_OPENING: Final = "opening"


class NoLedgerError(LedgerError):
    """Nothing was ever observed."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the passes say of themselves. Instants are milliseconds UTC, by the vendors' clocks."""

    watermark: int | None
    """Up to when every source vouches for what it said; None before the first complete look of each."""
    last: int | None
    """When the last pass was."""
    last_complete: int | None
    incomplete: Mapping[str, str]
    """Source to the reason, of the last pass."""
    sources: Mapping[str, int | None]
    """Source to up to when it is vouched for, of those that the last pass asked."""
    machine_clock_off_s: float | None
    """By how much the clock of the machine of the last pass was ahead of the vendors'."""


@dataclass(frozen=True, slots=True)
class Context:
    """What bills were made of, for whoever explains them."""

    period: Window
    connection: duckdb.DuckDBPyConnection
    """Has `entries` and the meter's tables of this period."""
    usage: Mapping[str, Sequence[SegmentUsage]]
    lots: Mapping[str, Sequence[Lot]]
    """Tenant to its credits: what was left when the period began, and what was bought in it, whole."""
    fresh: Freshness
    failed: Mapping[str, str] = field(default_factory=dict)
    """Tenant to why it has no bill: a mistake in one tenant's entries stops nobody else's."""
    unplanned: Sequence[str] = ()
    """Tenants in the files whose plan the ledger does not have yet."""
    ledger: Ledger | None = None

    def close(self) -> None:
        """Give the connection back; the rest stays as it is. Whoever was handed a context closes it, or uses it in a `with`."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory."""
    import duckdb  # only who asks for a bill waits for it to load

    return duckdb.connect()


def month_of(at: int) -> str:
    """The UTC calendar month of an instant, `2026-11`."""
    return datetime.fromtimestamp(at / 1000, tz=UTC).strftime("%Y-%m")


def bills_of(
    store: Store,
    cell: str,
    fleet: Fleet | None,
    period: Window,
    *,
    cache: Path | None = None,
    progress: Progress = lambda _what: None,
) -> tuple[list[Bill], Context]:
    """Every tenant's bill of one month, by tenant, and what it was made of.

    Args: fleet: today's files, only to say whose plan was never recorded. cache: a folder of this machine for the ledger's tables.
    Raises: NoLedgerError before the first pass; LedgerError naming the segment that cannot be read: then there is no bill at all.
    """
    return bills_in(Ledger(store, cell, cache=cache), period, fleet, progress=progress)


def bills_in(
    ledger: Ledger, period: Window, fleet: Fleet | None = None, *, progress: Progress = lambda _what: None
) -> tuple[list[Bill], Context]:
    """The same of a ledger that is open."""
    progress("reading the ledger")
    if not ledger.heads():
        raise NoLedgerError(
            f"cell {ledger.cell} has no ledger in this store yet: nothing was ever observed. Run `rowhouse reconcile` first."
        )
    connection = connect()
    load(ledger, connection, period)
    return bills_from(connection, period, fleet, ledger=ledger, progress=progress)


def load(ledger: Ledger, connection: duckdb.DuckDBPyConnection, period: Window) -> str | None:
    """Make the table `entries` with all that a period's bills need; since which month that is, None for all.

    A month is opened when the one before it is closed. Until then that one is read with it, and all only where it was never opened itself.
    """
    month = month_of(period.start)
    for since in (month, month_before(month)):
        ledger.table(connection, since=since)
        opened = opened_at(connection, period.start)
        if opened is not None and opened >= Window.month(since).start:  # one that was written down late may be of a month before these
            return since
        if ledger.begins_in(since):
            return None
    ledger.table(connection)
    return None


def bills_from(
    connection: duckdb.DuckDBPyConnection,
    period: Window,
    fleet: Fleet | None = None,
    *,
    ledger: Ledger | None = None,
    progress: Progress = lambda _what: None,
    meter: Meter = usage,
) -> tuple[list[Bill], Context]:
    """The same from a connection that has the table `entries`."""
    by_tenant, lots, failed = used_from(connection, period, progress=progress, meter=meter)
    progress("rating")
    bills = []
    for tenant, segments in by_tenant.items():
        if tenant in failed:
            continue
        try:
            bills.append(rate(period, segments, lots.get(tenant, ())))
        except (RatingError, CreditError) as error:
            failed[tenant] = str(error)
    unplanned = () if fleet is None else tuple(sorted({tenant.id for tenant in fleet.tenants if tenant.is_active} - set(by_tenant)))
    return bills, Context(period, connection, by_tenant, lots, freshness_in(connection), failed, unplanned, ledger)


def used_from(
    connection: duckdb.DuckDBPyConnection, period: Window, *, progress: Progress = lambda _what: None, meter: Meter = usage
) -> tuple[dict[str, list[SegmentUsage]], dict[str, list[Lot]], dict[str, str]]:
    """What bills are rated from, by tenant: use by segment, credits, and why those of some cannot be read."""
    lots, failed = _lots(connection, period, progress)
    progress(f"metering {month_of(period.start)}")
    return _by_tenant(meter(connection, period)), lots, failed


def openings(bills: Iterable[Bill], context: Context, at: int) -> list[Entry]:
    """What the month after needs of the credits of this one, and the entry that says that nothing else need be read.

    Args: at: up to when this month was known (ms); of two openings of a month the later one counts. Write them in one segment, after
        (or with) the entries of machines and plans that go on.
    """
    found = []
    for bill in bills:
        left = {lot.payment: lot.left for lot in bill.lots}
        kept = []
        for lot in context.lots.get(bill.tenant, ()):
            over = lot.expires_at is not None and lot.expires_at <= bill.period.end
            # What was bought and used up in this month stays known for one more, so that it is not taken for a late purchase.
            if lot.at < bill.period.end and not over and (left.get(lot.payment) or lot.at >= bill.period.start):
                kept.append(lot_data(replace(lot, left=left.get(lot.payment, 0))))
        if bill.tenant in context.lots:  # none left is said too: an earlier opening may have told of some
            found.append(Entry(_OPENING, bill.period.end, bill.tenant, subject="credits", asof=at, data={"lots": kept}))
    month = month_of(context.period.end)
    return [*found, Entry(_OPENING, context.period.end, subject=month, asof=at, state="complete")]


def reopenings(bills: Iterable[Bill], context: Context, at: int) -> list[Entry]:
    """Of `openings` those of tenants whose credits are others than the month after was told, because of what became known since."""
    told = _opened(context.connection, context.period.end, {})
    return [
        entry
        for entry in openings(bills, context, at)
        if entry.tenant is not None and [lot_from(lot) for lot in (entry.data or {})["lots"]] != told.get(entry.tenant, [])
    ]


def entries_in(connection: duckdb.DuckDBPyConnection, where: str, *values: Any) -> list[Entry]:
    """Entries of the table that meet a condition, each once, in the order of time. Raises LedgerError for a row that is none."""
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    rows = connection.execute(f"SELECT DISTINCT {columns} FROM entries WHERE {where} ORDER BY ALL", list(values)).fetchall()
    found = []
    for row in rows:
        named = dict(zip(COLUMNS, row, strict=True))
        named["data"] = json.loads(named["data"]) if named["data"] else None
        found.append(Entry(**named))
    return sorted(found, key=lambda entry: entry.at)


def _by_tenant(segments: Iterable[SegmentUsage]) -> dict[str, list[SegmentUsage]]:
    found: dict[str, list[SegmentUsage]] = {}
    for segment in segments:
        found.setdefault(segment.tenant, []).append(segment)
    return found


def is_opened(connection: duckdb.DuckDBPyConnection, period: Window) -> bool:
    """Whether the month's own segments say all that earlier months decided."""
    return opened_at(connection, period.start) == period.start


def opened_at(connection: duckdb.DuckDBPyConnection, start: int) -> int | None:
    """The start of the last month, not later than `start`, whose own segments say all that earlier months decided."""
    query = "SELECT max(\"at\") FROM entries WHERE kind = 'opening' AND tenant IS NULL AND state = 'complete' AND \"at\" <= ?"
    found = connection.execute(query, [start]).fetchall()[0][0]
    return None if found is None else int(found)


def _lots(connection: duckdb.DuckDBPyConnection, period: Window, progress: Progress) -> tuple[dict[str, list[Lot]], dict[str, str]]:
    """Tenant to its credits, and to why they cannot be read."""
    bought: dict[str, list[Lot]] = {}
    failed: dict[str, str] = {}
    undone = {(entry.tenant, entry.id) for entry in entries_in(connection, "kind = 'purchase' AND state = ?", UNDONE)}
    for entry in entries_in(connection, "kind = 'purchase' AND tenant IS NOT NULL AND state IS NULL AND \"at\" < ?", period.end):
        if (entry.tenant, entry.id) in undone:
            continue
        try:
            for tenant, lots in lots_of([entry]).items():
                bought.setdefault(tenant, []).extend(lots)
        except CreditError as error:
            failed[entry.tenant or ""] = str(error)
    opened = opened_at(connection, period.start)
    carried = {} if opened is None else _opened(connection, opened, failed)
    carried = {tenant: [lot for lot in lots if (tenant, lot.payment) not in undone] for tenant, lots in carried.items()}
    if opened != period.start:
        carried = _left_before(connection, period, bought, carried, opened, progress)
    found = {}
    for tenant in sorted(set(bought) | set(carried)):
        known = {lot.payment: lot for lot in carried.get(tenant, ())}
        found[tenant] = [*known.values(), *(lot for lot in bought.get(tenant, ()) if lot.payment not in known)]
    return found, failed


def _is_alive(lot: Lot, period: Window) -> bool:
    """Whether something bought before a period may still count in it."""
    return lot.at < period.start and (lot.expires_at is None or lot.expires_at > period.start)


def _opened(connection: duckdb.DuckDBPyConnection, start: int, failed: dict[str, str]) -> dict[str, list[Lot]]:
    """What the openings of the month that starts then say; the one that was known up to latest counts."""
    latest: dict[str, Entry] = {}
    for entry in entries_in(connection, "kind = 'opening' AND tenant IS NOT NULL AND subject = 'credits' AND \"at\" = ?", start):
        tenant = entry.tenant or ""
        if tenant not in latest or (entry.asof or 0) >= (latest[tenant].asof or 0):
            latest[tenant] = entry
    found: dict[str, list[Lot]] = {}
    for tenant, entry in latest.items():
        try:
            found[tenant] = [lot_from(lot) for lot in (entry.data or {}).get("lots", ())]
        except CreditError as error:
            failed[tenant] = str(error)
    return found


def _left_before(
    connection: duckdb.DuckDBPyConnection,
    period: Window,
    bought: Mapping[str, Sequence[Lot]],
    carried: Mapping[str, Sequence[Lot]],
    opened: int | None,
    progress: Progress,
) -> dict[str, list[Lot]]:
    """Rate the months since the last opening (or the first purchase), for what each left of the credits.

    One used up stays known, with nothing left. Where nothing that was bought before can still count, nothing is rated.
    """
    known = [*(lot for lots in carried.values() for lot in lots), *(lot for lots in bought.values() for lot in lots)]
    if not any(_is_alive(lot, period) for lot in known):
        return {}
    at = min(lot.at for lot in known) if opened is None else opened
    held = {tenant: list(lots) for tenant, lots in carried.items()}
    while (month := Window.month(month_of(at))).start < period.start:
        progress(f"credits of {month_of(at)}")
        for tenant, lots in bought.items():
            there = {lot.payment for lot in held.get(tenant, ())}
            held.setdefault(tenant, []).extend(lot for lot in lots if lot.at < month.end and lot.payment not in there)
        for tenant, segments in _by_tenant(usage(connection, month)).items():
            if held.get(tenant):
                try:
                    left = {lot.payment: lot.left for lot in rate(month, segments, held[tenant]).lots}
                except (RatingError, CreditError):
                    continue  # that month's own bill says so
                kept = [lot for lot in held[tenant] if lot.expires_at is None or lot.expires_at > month.end]
                held[tenant] = [replace(lot, left=left.get(lot.payment, 0)) for lot in kept]
        at = month.end
    return held


_PASSES: Final = """
SELECT DISTINCT "at", state, CAST(data AS VARCHAR) FROM entries WHERE kind = 'pass' ORDER BY ALL
"""


def freshness_in(connection: duckdb.DuckDBPyConnection) -> Freshness:
    """Of each source the latest time that a complete look of it vouches for; of all together the earliest of those."""
    vouched: dict[str, int] = {}
    last: tuple[int, Mapping[str, Any]] | None = None
    last_complete: int | None = None
    for at, state, text in connection.execute(_PASSES).fetchall():
        data = json.loads(text) if text else {}
        last = (at, data)
        if state == "complete":
            last_complete = at
        for source, said in (data.get("sources") or {}).items():
            if said.get("complete") and said.get("asof") is not None:
                vouched[source] = max(int(said["asof"]), vouched.get(source, 0))
    if last is None:
        return Freshness(None, None, None, {}, {}, None)
    asked: Mapping[str, Any] = last[1].get("sources") or {}
    sources = {source: vouched.get(source) for source in sorted(asked)}
    known = [asof for asof in sources.values() if asof is not None]
    off = last[1].get("machine_clock_off_s")
    return Freshness(
        watermark=min(known) if known and len(known) == len(sources) else None,
        last=last[0],
        last_complete=last_complete,
        incomplete={
            source: str(said.get("reason") or "no reason was told") for source, said in sorted(asked.items()) if not said.get("complete")
        },
        sources=sources,
        machine_clock_off_s=None if off is None else float(off),
    )
