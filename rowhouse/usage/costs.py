"""What a month costs us at the vendors, tenant by tenant, from a price book: for margins, never for a bill.

Does: price machines by how long they ran at which size and where, volumes, seats of the gate, Stripe's share, and the plans' own cost of a
unit. Does not: know what nobody tells (egress, snapshots, certificates, the cost of a card unless the book has it); `NOT_COUNTED` says so.
Time that is not known is not counted as cost; the report shows how much that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rowhouse.spec.money import rounded
from rowhouse.usage.bills import Context
from rowhouse.usage.model import DAY_MS, GB_MICROS, Bill
from rowhouse.usage.vendor_prices import Book

if TYPE_CHECKING:
    import duckdb

__all__ = ["NOT_COUNTED", "PARTS", "Costs", "TenantCost", "costs_of"]

PARTS: Final = ("machines", "volumes", "own", "gate", "billing")
"""Of a tenant's cost: machines running or stopped, volumes, its units' own cost, seats of the gate, Stripe."""
NOT_COUNTED: Final = "egress, snapshots, certificates, addresses and registry storage; card fees unless the price book has them"

_ZERO: Final = Decimal(0)
_MONTH_MS: Final = Decimal(30 * DAY_MS)


@dataclass(slots=True)
class TenantCost:
    """One tenant's month in the book's currency, unrounded."""

    machines: Decimal = _ZERO
    volumes: Decimal = _ZERO
    own: Decimal = _ZERO
    """Units of meters at the plan's `unit_cost`."""
    gate: Decimal = _ZERO
    """Its share of the seats, by its people who logged in."""
    billing: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """Rounded to the cent, once."""
        return rounded(sum((getattr(self, part) for part in PARTS), _ZERO))

    def document(self) -> dict[str, str]:
        """Each part to the cent, and the total, which may differ from their sum by a cent or two."""
        return {**{part: str(rounded(getattr(self, part))) for part in PARTS}, "total": str(self.total)}


@dataclass(slots=True)
class Costs:
    """A month's cost."""

    tenants: dict[str, TenantCost]
    """Of everybody who has a plan."""
    shared: dict[str, TenantCost]
    """Of what has no plan: the edge, or a tenant that left and whose volume is kept."""
    ledger: Decimal
    """Of writing down what is seen."""
    seats: int
    assumed: list[str] = field(default_factory=list)
    """What was assumed because nobody tells, in sentences."""

    @property
    def total(self) -> Decimal:
        """All of it, to the cent."""
        return rounded(sum((cost.total for cost in (*self.tenants.values(), *self.shared.values())), _ZERO) + self.ledger)


def costs_of(bills: Sequence[Bill], context: Context, book: Book) -> Costs:
    """The cost of a period up to now. One tenant's use decides its own cost; seats are shared by people."""
    found: dict[str, TenantCost] = {tenant: TenantCost() for tenant in context.usage}
    regions = _machines(context.connection, book, found)
    _volumes(context.connection, book, found)
    _own(bills, context, found)
    seats = _seats(context, book, found)
    for bill in bills:
        if bill.currency == book.currency:
            found[bill.tenant].billing += book.stripe.fee(bill.total)
    passes = context.connection.execute(
        'SELECT count(DISTINCT "at") FROM entries WHERE kind = \'pass\' AND "at" >= ? AND "at" < ?', list(context.period)
    ).fetchall()[0][0]
    writes = Decimal(2 * passes * (len(context.fresh.sources) + 1))
    shared = {tenant: cost for tenant, cost in found.items() if tenant not in context.usage}
    assumed = [f"a root file system of {book.fly.assumed_root_gb} GB where a machine is stopped"]
    unread = sorted(regions - set(book.fly.region_markup))
    if unread:
        assumed.append(
            f"{', '.join(unread)}: no price was read there, so the highest markup that was is taken ({book.fly.other_region_markup})"
        )
    return Costs(
        {tenant: found[tenant] for tenant in context.usage},
        shared,
        writes / 1_000_000 * book.object_storage.million_writes,
        seats,
        assumed,
    )


_SIZES: Final = """
WITH sizes AS (
    SELECT tenant, subject AS machine, coalesce(TRY_CAST(data->>'updated_at' AS BIGINT), "at") AS since,
           max(coalesce(data->>'region', '')) AS region, max(coalesce(data->>'cpu_kind', 'shared')) AS cpu_kind,
           max(coalesce(TRY_CAST(data->>'cpus' AS BIGINT), 1)) AS cpus, max(TRY_CAST(data->>'memory_mb' AS BIGINT)) AS memory_mb
    FROM entries WHERE kind = 'machine' AND tenant IS NOT NULL AND subject IS NOT NULL GROUP BY 1, 2, 3
),
known AS (SELECT * FROM sizes WHERE memory_mb IS NOT NULL),
first AS (SELECT tenant, machine, min(since) AS since FROM known GROUP BY tenant, machine),
spans AS (SELECT s.*, greatest(s.start_ms, f.since) AS asked FROM spans AS s JOIN first AS f USING (tenant, machine))
SELECT s.tenant, k.region, k.cpu_kind, k.cpus, k.memory_mb,
       sum(CASE WHEN s.class IN ('running', 'inferred') THEN s.end_ms - s.start_ms ELSE 0 END),
       sum(CASE WHEN s.class = 'stopped' THEN s.end_ms - s.start_ms ELSE 0 END)
FROM spans AS s ASOF JOIN known AS k ON s.tenant = k.tenant AND s.machine = k.machine AND s.asked >= k.since
GROUP BY ALL ORDER BY ALL
"""
"""Each span at the size that the machine had when it began; before the first word of it, at that first size."""


def _machines(connection: duckdb.DuckDBPyConnection, book: Book, found: dict[str, TenantCost]) -> set[str]:
    """Machines' cost by tenant; the regions in which any was."""
    regions = set()
    for tenant, region, kind, cpus, memory_mb, ran, stopped in connection.execute(_SIZES).fetchall():
        fly = book.fly
        regions.add(region)
        cpu = fly.performance_cpu_month if kind == "performance" else fly.shared_cpu_month
        month = (cpu * cpus + fly.memory_gb_month * memory_mb / 1024) * fly.markup(region)
        kept = fly.stopped_root_gb_month * fly.assumed_root_gb
        found.setdefault(tenant, TenantCost()).machines += (month * int(ran) + kept * int(stopped)) / _MONTH_MS
    return regions


def _volumes(connection: duckdb.DuckDBPyConnection, book: Book, found: dict[str, TenantCost]) -> None:
    rows = connection.execute("SELECT tenant, sum(volume_gb_ms) FROM usage_hours WHERE volume_gb_ms > 0 GROUP BY tenant").fetchall()
    for tenant, gb_ms in rows:
        cost = Decimal(int(gb_ms)) / GB_MICROS / _MONTH_MS * book.fly.volume_gb_month
        found.setdefault(tenant, TenantCost()).volumes += cost


def _own(bills: Iterable[Bill], context: Context, found: Mapping[str, TenantCost]) -> None:
    """What the plans say that a unit costs us: calls to an AI vendor, for most the largest cost."""
    for bill in bills:
        plans = {segment.segment: segment.plan for segment in context.usage[bill.tenant]}
        for line in bill.lines:
            if line.segment is not None and line.is_meter:
                found[bill.tenant].own += line.quantity * plans[line.segment].meter(line.meter).unit_cost


def _seats(context: Context, book: Book, found: dict[str, TenantCost]) -> int:
    """Everybody who logged in this month holds a seat; who did at several tenants is shared between them."""
    rows = context.connection.execute(
        "SELECT DISTINCT data->>'who' AS who, tenant FROM entries WHERE kind = 'login' AND tenant IS NOT NULL"
        ' AND json_extract_string(data, \'$.who\') IS NOT NULL AND "at" >= ? AND "at" < ?',
        list(context.period),
    ).fetchall()
    people: dict[str, list[str]] = {}
    for who, tenant in rows:
        people.setdefault(who, []).append(tenant)
    price = book.cloudflare.seats_cost(len(people)) / len(people) if people else _ZERO
    for tenants in people.values():
        for tenant in tenants:
            found.setdefault(tenant, TenantCost()).gate += price / len(tenants)
    return len(people)
