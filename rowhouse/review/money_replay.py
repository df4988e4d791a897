"""The same use under other files: the segments, credits, machines and volumes of a closed month as one side's files would have them.

Does: put one side's plans, packs and sizes in the place of those that the ledger recorded. Does not: rate or price (money.py), or guess
(money_guess.py).

Every function takes `mine` and `other`, the tenant on the two sides, and is called once for each side: exchanged sides give exchanged
answers. What the change does not touch stays as it was recorded, so that an untouched tenant's figures are those of its invoice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rowhouse.review.money_concern import is_leaving, packs_of, plans_of
from rowhouse.review.money_month import Month, SegmentDisk
from rowhouse.spec.model import Fleet, Instance, Pack, Plan, Tenant
from rowhouse.usage.model import DAY_MS, GB_MICROS, Lot, SegmentUsage, Window
from rowhouse.usage.vendor_use import DiskTime, MachineTime

__all__ = ["ENDS", "Shelf", "Use", "by_name", "replayed"]

ENDS: Final = "its plan ends: no bill, and what is kept of it still costs"


@dataclass(frozen=True, slots=True)
class Shelf:
    """The plans and packs of one fleet."""

    plans: Mapping[str, Plan]
    packs: Mapping[tuple[str, str], Pack]

    @classmethod
    def of(cls, fleet: Fleet) -> Shelf:
        """Of a fleet's catalogs."""
        return cls(plans_of(fleet), packs_of(fleet))


@dataclass(slots=True)
class Use:
    """What one tenant uses on one side."""

    period: Window
    segments: list[SegmentUsage]
    """Empty where its plan has ended: then it has no bill."""
    lots: list[Lot] = field(default_factory=list)
    machines: list[MachineTime] = field(default_factory=list)
    disks: list[DiskTime] = field(default_factory=list)
    guessed: set[str] = field(default_factory=set)
    """Instances whose time is an estimate."""
    notes: list[str] = field(default_factory=list)


def replayed(mine: Tenant, other: Tenant | None, month: Month, own: Shelf, others: Shelf) -> Use:
    """What a tenant used in a closed month, as the files of one side would have it. The month must have segments of it."""
    recorded = month.used[mine.id]
    use = Use(month.period, [])
    if is_leaving(mine):
        use.notes.append(ENDS)
    else:
        disks = month.disks.get(mine.id, ())
        for segment, plan in zip(recorded, _plans(mine, other, recorded, own, others, use.notes, month.name), strict=True):
            use.segments.append(_on_plan(segment, plan, _volume(mine, other, segment, disks), use.notes, month.name))
        use.lots = [_sold(lot, mine, other, month.period, own, others) for lot in month.lots.get(mine.id, ())]
    use.machines = list(_machines(mine, other, month))
    use.disks = list(_disks(mine, other, month))
    return use


def by_name(tenant: Tenant | None) -> dict[str, Instance]:
    """A tenant's instances."""
    return {} if tenant is None else {instance.name: instance for instance in tenant.instances}


def _plans(
    mine: Tenant, other: Tenant | None, recorded: Sequence[SegmentUsage], own: Shelf, others: Shelf, notes: list[str], month: str
) -> Iterator[Plan]:
    """The plan that each segment is rated with.

    The latest segments on a plan that the tenant has before or after are rated with the plan that it has on this side; where it had
    neither in the month, its last ones are. Earlier segments of other plans are rated with this side's plan of that name.
    """
    present = {tenant.plan.ref for tenant in (mine, other) if tenant is not None}
    refs = [segment.plan.ref for segment in recorded]
    latest = next((ref for ref in reversed(refs) if ref in present), refs[-1])
    if latest not in present:
        notes.append(f"it was on {latest} in {month}: its use is rated on its present plan")
    for segment, ref in zip(recorded, refs, strict=True):
        if ref == latest:
            yield mine.plan
            continue
        found = own.plans.get(ref) or others.plans.get(ref)
        if found is None:
            notes.append(f"{ref}, on which it was for a part of {month}, is in no file any more: rated as recorded")
        yield found or segment.plan


def _on_plan(segment: SegmentUsage, plan: Plan, volume_gb_ms: int, notes: list[str], month: str) -> SegmentUsage:
    """A segment's use on another plan; what nobody counted or measured for one of its meters is said."""
    words = {meter.counter or meter.name: meter.name for meter in segment.plan.meters if meter.kind == "counter"}
    counters: dict[str, Mapping[int, int]] = {}
    for meter in plan.meters:
        matters = meter.is_billed or meter.beyond == "refuse" or meter.unit_cost
        if meter.kind == "counter":
            word = meter.counter or meter.name
            counters[meter.name] = segment.counters.get(words.get(word, ""), {})
            if word not in words and matters:
                notes.append(f"nothing was counted for {meter.name} in {month}, so that its part of the bill is not known")
        elif meter.kind == "storage_gb" and matters and not segment.storage_ms:
            notes.append(f"GB used were not measured in {month}, so that {meter.name} is not known")
        elif meter.rounding == "hour_any" and segment.inferred_ms and plan.bill_inferred != segment.plan.bill_inferred:
            notes.append("active hours are those counted while the recorded plan said whether inferred time is billed")
    return replace(segment, plan=plan, counters=counters, volume_gb_ms=volume_gb_ms)


def _volume(mine: Tenant, other: Tenant | None, segment: SegmentUsage, disks: Sequence[SegmentDisk]) -> int:
    """GB provisioned in a segment: as recorded, but for instances whose volume is another size on the two sides."""
    if other is None or mine.instances == other.instances:
        return segment.volume_gb_ms
    here, there = by_name(mine), by_name(other)
    if {name: one.volume_gb for name, one in here.items()} == {name: one.volume_gb for name, one in there.items()}:
        return segment.volume_gb_ms
    own = (disk for disk in disks if disk.segment == segment.segment)
    return sum(_held(disk.gb_ms, disk.ms, here.get(disk.instance), there.get(disk.instance)) for disk in own)


def _held(gb_ms: int, ms: int, here: Instance | None, there: Instance | None) -> int:
    """What a volume held ready on this side: of an instance that is only on the other side, nothing."""
    if here is None:
        return 0 if there is not None else gb_ms
    if there is None or here.volume_gb == there.volume_gb:
        return gb_ms
    return here.volume_gb * GB_MICROS * ms


def _sold(lot: Lot, mine: Tenant, other: Tenant | None, period: Window, own: Shelf, others: Shelf) -> Lot:
    """A purchase of the month on this side's terms, where the two sides sell the pack on different ones; older ones stay as they are."""
    catalog = mine.plan.catalog
    if lot.at < period.start or (other is not None and other.plan.catalog != catalog):
        return lot
    here, there = own.packs.get((catalog, lot.pack)), others.packs.get((catalog, lot.pack))
    currency = mine.plan.currency
    if here is None or there is None or (here == there and currency == (other or mine).plan.currency):
        return lot
    expires = None if here.expires_days is None else lot.at + here.expires_days * DAY_MS
    return replace(lot, meter=here.meter, size=here.size, left=here.size, price=here.price, currency=currency, expires_at=expires)


def _machines(mine: Tenant, other: Tenant | None, month: Month) -> Iterator[MachineTime]:
    """Each instance's running time, at the size that this side's files give it where the two sides differ."""
    here, there = by_name(mine), by_name(other or mine)
    if _is_purged(mine, other):
        return
    ends = is_leaving(mine) and other is not None and not is_leaving(other)
    for machine in month.machines.get(mine.id, ()):
        one, same = here.get(machine.instance), there.get(machine.instance)
        if one is None and same is not None:
            continue
        if one is not None and same is not None and _shape(one) != _shape(same):
            machine = _resized(machine, one)
        yield replace(machine, ran_ms=0, stopped_ms=machine.ran_ms + machine.stopped_ms) if ends else machine


def _disks(mine: Tenant, other: Tenant | None, month: Month) -> Iterator[DiskTime]:
    here, there = by_name(mine), by_name(other or mine)
    if _is_purged(mine, other):
        return
    for disk in month.volumes.get(mine.id, ()):
        one, same = here.get(disk.instance), there.get(disk.instance)
        host = one.host if one is not None and same is not None and one.host != same.host else disk.host
        yield replace(disk, gb_ms=_held(disk.gb_ms, disk.ms, one, same), host=host)


def _is_purged(mine: Tenant, other: Tenant | None) -> bool:
    """Whether nothing is left of it on this side alone."""
    return mine.state == "purge" and other is not None and other.state != "purge"


def _shape(instance: Instance) -> tuple[object, ...]:
    return (instance.host, instance.region, instance.cpu_kind, instance.cpus, instance.memory_mb)


def _resized(machine: MachineTime, instance: Instance) -> MachineTime:
    return replace(
        machine,
        host=instance.host,
        region=instance.region,
        cpu_kind=instance.cpu_kind,
        cpus=instance.cpus,
        memory_mb=instance.memory_mb,
    )
