"""How much a tenant or an instance will use that has no closed month yet; every guess is a sentence.

Does: take the first that is known of: it never stops, what tenants of the same plan ran, the hours included, a stated share. Counts and
GB used are taken as none. Does not: replay (money_replay.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rowhouse.review.money_concern import is_leaving
from rowhouse.review.money_month import Month
from rowhouse.review.money_replay import ENDS, Use, by_name
from rowhouse.spec.model import Instance, Plan, Tenant
from rowhouse.usage.limits import plain
from rowhouse.usage.model import DAY_MS, GB_MICROS, HOUR_MS, SegmentUsage, Window
from rowhouse.usage.vendor_use import DiskTime, MachineTime

__all__ = ["Mean", "guess_missing", "guessed", "means_of"]

_MONTH: Final = Window(0, 30 * DAY_MS)
"""Where there is no closed month: one of 30 days."""
_SHARE: Final = 4
"""Where nothing is known an instance is taken to run one part in so many."""


@dataclass(frozen=True, slots=True)
class Mean:
    """How long an instance of a plan ran in a closed month."""

    ran_ms: int
    """Of all its instances together."""
    instances: int
    tenants: int
    month: str


def means_of(months: Iterable[Month]) -> dict[str, Mean]:
    """Plan to what its instances ran, of the tenants that were on it when their month ended."""
    found: dict[str, Mean] = {}
    for month in months:
        for tenant, segments in month.used.items():
            machines = month.machines.get(tenant, ())
            if machines:
                ref = segments[-1].plan.ref
                so_far = found.get(ref, Mean(0, 0, 0, month.name))
                ran = so_far.ran_ms + sum(machine.ran_ms for machine in machines)
                instances = so_far.instances + len({machine.instance for machine in machines})
                found[ref] = Mean(ran, instances, so_far.tenants + 1, max(so_far.month, month.name))
    return found


def guessed(mine: Tenant, other: Tenant | None, month: Month | None, means: Mapping[str, Mean]) -> Use:
    """What a tenant without a closed month will use in one, as one side's files have it."""
    period = _MONTH if month is None else month.period
    use = Use(period, [])
    for instance in () if mine.state == "purge" else mine.instances:
        _add(use, mine, other, instance, means)
    if is_leaving(mine):
        use.notes = [ENDS]
        return use
    use.notes.append("assumed: nothing is counted and no GB are used")
    running = sum(machine.ran_ms for machine in use.machines)
    longest = max((machine.ran_ms for machine in use.machines), default=0)
    segment = SegmentUsage(
        mine.id,
        0,
        period.start,
        period.end,
        mine.plan,
        running_ms=running,
        active_hours=-(-longest // HOUR_MS),
        volume_gb_ms=sum(disk.gb_ms for disk in use.disks),
    )
    use.segments.append(segment)
    return use


def guess_missing(use: Use, mine: Tenant, other: Tenant | None, month: Month, means: Mapping[str, Mean]) -> None:
    """Add to a replayed use the instances of the files that had no machine in the month."""
    seen = {machine.instance for machine in month.machines.get(mine.id, ())}
    seen |= {disk.instance for disk in month.volumes.get(mine.id, ())}
    for instance in mine.instances:
        if instance.name not in seen and not is_leaving(mine):
            _add(use, mine, other, instance, means)
            use.notes.append(f"{instance.name} did not exist in {month.name}: its cost is estimated, and the bill is of what was used then")


def _add(use: Use, mine: Tenant, other: Tenant | None, instance: Instance, means: Mapping[str, Mean]) -> None:
    """One instance with its guessed time and its volume through the whole period."""
    length = use.period.length
    ran, words = _ran(mine, other, length, means)
    ran = min(ran, length)
    use.guessed.add(instance.name)
    use.notes.append(words)
    use.machines.append(
        MachineTime(
            mine.id,
            instance.name,
            instance.host,
            instance.region,
            instance.cpu_kind,
            instance.cpus,
            instance.memory_mb,
            ran_ms=ran,
            stopped_ms=length - ran,
        )
    )
    use.disks.append(DiskTime(mine.id, instance.name, instance.host, instance.volume_gb * GB_MICROS * length, length))


def _ran(mine: Tenant, other: Tenant | None, length: int, means: Mapping[str, Mean]) -> tuple[int, str]:
    """How long one instance runs and why that is taken. The same on both sides, unless the lifecycle or the state is another."""
    if not mine.is_active:
        return 0, "assumed: stopped all the time, because it is not active"
    if mine.plan.lifecycle.autostop == "off":
        return length, "assumed: each instance runs all the time, because nothing stops it when idle"
    plans = sorted({tenant.plan.ref: tenant.plan for tenant in (mine, other) if tenant is not None}.items())
    known = [(ref, means[ref]) for ref, _ in plans if ref in means]
    if known:
        instances = sum(mean.instances for _, mean in known)
        ran = sum(mean.ran_ms for _, mean in known) // instances
        tenants = sum(mean.tenants for _, mean in known)
        refs = " and ".join(ref for ref, _ in known)
        who = f"{tenants} tenant{'' if tenants == 1 else 's'} of {refs} in {known[0][1].month}"
        return ran, f"assumed: each instance runs {_hours(ran)} hours, the mean of {who}"
    included = [hours for _, plan in plans if (hours := _included(plan)) is not None]
    if included:
        count = max(len(by_name(mine)), len(by_name(other)), 1)
        ran = int(min(included) * HOUR_MS) // count
        return ran, f"assumed: each instance runs {_hours(min(ran, length))} hours, what the plan includes by instance"
    return (
        length // _SHARE,
        f"assumed: each instance runs {_hours(length // _SHARE)} hours, a quarter of the time, because nothing better is known",
    )


def _included(plan: Plan) -> Decimal | None:
    """The running hours that a plan includes; None where it includes none, or does not limit them."""
    return next((meter.included for meter in plan.meters if meter.kind == "running_hours" and meter.included), None)


def _hours(ms: int) -> str:
    return plain((Decimal(ms) / HOUR_MS).quantize(Decimal("0.1")))
