"""What a month costs us at the vendors, tenant by tenant, from a price book: for margins, never for a bill.

Does: price machines by how long they ran at which size and where, volumes, seats of the gate, Stripe's share, and the plans' own cost of a
unit. Pure: what was used is read by vendor_use.py. Does not: know what nobody tells (egress, snapshots, certificates, the cost of a card
unless the book has it); `NOT_COUNTED` says so. Time that is not known is not counted as cost; the report shows how much that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from rowhouse.spec.money import rounded
from rowhouse.usage.bills import Context
from rowhouse.usage.model import DAY_MS, GB_MICROS, Bill, SegmentUsage
from rowhouse.usage.vendor_prices import Book
from rowhouse.usage.vendor_use import DiskTime, MachineTime, VendorUse, vendor_use

__all__ = ["NOT_COUNTED", "PARTS", "Costs", "TenantCost", "costs_of", "disk_cost", "machine_cost", "priced"]

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
    return priced(vendor_use(context.connection, context.period, len(context.fresh.sources)), bills, context.usage, book)


def priced(use: VendorUse, bills: Iterable[Bill], usage: Mapping[str, Sequence[SegmentUsage]], book: Book) -> Costs:
    """The cost of what was used. Pure.

    Args: usage: tenant to the segments that its bill was rated from; whoever is in it counts as a tenant, all else is shared.
    """
    found: dict[str, TenantCost] = {tenant: TenantCost() for tenant in usage}
    for machine in use.machines:
        found.setdefault(machine.tenant, TenantCost()).machines += machine_cost(machine, book)
    for disk in use.disks:
        found.setdefault(disk.tenant, TenantCost()).volumes += disk_cost(disk, book)
    for bill in bills:
        found[bill.tenant].own += _own(bill, usage[bill.tenant])
        if bill.currency == book.currency:
            found[bill.tenant].billing += book.stripe.fee(bill.total)
    _seats(use.people, book, found)
    shared = {tenant: cost for tenant, cost in found.items() if tenant not in usage}
    return Costs(
        {tenant: found[tenant] for tenant in usage},
        shared,
        Decimal(use.writes) / 1_000_000 * book.object_storage.million_writes,
        len(use.people),
        _assumed(use.machines, book),
    )


def machine_cost(machine: MachineTime, book: Book) -> Decimal:
    """Of one machine's time, unrounded. A Docker host has no vendor's price: it is the machine that you have."""
    if machine.host == "docker":
        return _ZERO
    if machine.host == "railway":
        return (
            (book.railway.cpu_month * machine.cpus + book.railway.memory_gb_month * machine.memory_mb / 1024) * machine.ran_ms / _MONTH_MS
        )
    fly = book.fly
    cpu = fly.performance_cpu_month if machine.cpu_kind == "performance" else fly.shared_cpu_month
    month = (cpu * machine.cpus + fly.memory_gb_month * machine.memory_mb / 1024) * fly.markup(machine.region)
    kept = fly.stopped_root_gb_month * fly.assumed_root_gb
    return (month * machine.ran_ms + kept * machine.stopped_ms) / _MONTH_MS


def disk_cost(disk: DiskTime, book: Book) -> Decimal:
    """Of one instance's volumes, unrounded."""
    if disk.host == "docker":
        return _ZERO
    month = book.railway.volume_gb_month if disk.host == "railway" else book.fly.volume_gb_month
    return Decimal(disk.gb_ms) / GB_MICROS / _MONTH_MS * month


def _assumed(machines: Iterable[MachineTime], book: Book) -> list[str]:
    """What was taken for granted, in sentences."""
    assumed = [f"a root file system of {book.fly.assumed_root_gb} GB where a machine is stopped"]
    regions = {machine.region for machine in machines if machine.host == "fly"}
    unread = sorted(regions - set(book.fly.region_markup))
    if unread:
        assumed.append(
            f"{', '.join(unread)}: no price was read there, so the highest markup that was is taken ({book.fly.other_region_markup})"
        )
    return assumed


def _own(bill: Bill, segments: Sequence[SegmentUsage]) -> Decimal:
    """What the plans say that a unit costs us: calls to an AI vendor, for most the largest cost."""
    plans = {segment.segment: segment.plan for segment in segments}
    lines = [line for line in bill.lines if line.segment is not None and line.is_meter]
    return sum((line.quantity * plans[line.segment or 0].meter(line.meter).unit_cost for line in lines), _ZERO)


def _seats(people: Mapping[str, Sequence[str]], book: Book, found: dict[str, TenantCost]) -> None:
    """Everybody holds a seat; who passes the gates of several tenants is shared between them."""
    price = book.cloudflare.seats_cost(len(people)) / len(people) if people else _ZERO
    for tenants in people.values():
        for tenant in tenants:
            found.setdefault(tenant, TenantCost()).gate += price / len(tenants)
