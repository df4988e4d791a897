"""Checks of catalogs: meters that can be measured, terms that can be billed, packs that somebody can use, sizes that exist."""

from __future__ import annotations

import itertools
from decimal import Decimal

from rowhouse.spec.hosts import MAX_SUSPEND_MEMORY_MB, why_not_region, why_not_size, why_not_volume
from rowhouse.spec.model import Catalog, Fleet, Meter, Plan, Tier
from rowhouse.spec.prices import BASE, MINIMUM
from rowhouse.spec.problem import Problem, did_you_mean, listed
from rowhouse.spec.slug import show

__all__ = ["check_counters", "check_meters", "check_packs", "check_plan_sizes", "why_not_terms"]


def _at(fleet: Fleet, catalog: str, path: tuple[str | int, ...], rule: str, message: str) -> Problem:
    return Problem(*fleet.locate("plans", catalog, path), rule, message)


def check_meters(fleet: Fleet) -> list[Problem]:
    """Each meter can be measured and each plan's terms for it can be billed or enforced."""
    problems: list[Problem] = []
    for catalog in fleet.catalogs:
        for meter in catalog.plans[0].meters if catalog.plans else ():
            why = _why_not_meter(meter)
            if why:
                problems.append(_at(fleet, catalog.id, ("meters", meter.name), "plan.meter", f"meter {meter.name}: {why}"))
        for plan in catalog.plans:
            for meter in plan.meters:
                why = why_not_terms(meter)
                if why:
                    problems.append(
                        _at(
                            fleet,
                            catalog.id,
                            ("plans", plan.name, "meters", meter.name),
                            "plan.meter",
                            f"plan {plan.name}, meter {meter.name}: {why}",
                        )
                    )
    return problems


def _why_not_meter(meter: Meter) -> str:
    """What is wrong with a meter's definition."""
    if meter.name in {BASE, MINIMUM}:
        return f"`{meter.name}` is the name of another line of the bill. Choose another name."
    if meter.kind == "running_hours" and meter.rounding is None:
        return "running_hours needs `rounding`. Allowed: second, minute, hour_up, hour_any. Add it: a customer must be able to know it."
    if meter.kind != "running_hours" and meter.rounding is not None:
        return f"`rounding` is for running_hours only, and this is {meter.kind}. Delete it."
    return ""


def why_not_terms(meter: Meter) -> str:
    """What is wrong with a plan's terms for a meter; the empty text when they can be billed or enforced."""
    if meter.price is not None and meter.tiers:
        return "`price` and `tiers` both say what a further unit costs. Delete one."
    if meter.beyond == "bill" and meter.price is None and not meter.tiers:
        return "`beyond: bill` needs a `price` or `tiers`. Add one, or write `beyond: refuse`."
    if meter.beyond != "bill" and (meter.price is not None or meter.tiers):
        name = "tiers" if meter.tiers else "price"
        return f"`{name}` needs `beyond: bill`. Add that, or delete `{name}`."
    if meter.tiers:
        why = _why_not_tiers(meter.tiers)
        if why:
            return why
    if meter.per != "period" and meter.kind != "counter":
        return f"`per: {meter.per}` is for counters, and this is {meter.kind}. Delete it."
    if meter.credits and meter.kind != "counter":
        return f"`credits` is for counters, and this is {meter.kind}. Delete it."
    if meter.credits and meter.beyond == "unlimited":
        return "`credits` would never be used up where `unlimited` is included. Delete one."
    if any(not 1 <= percent <= 1000 for percent in meter.warn_at):
        return "`warn_at` holds percentages from 1 to 1000. Correct it."
    if meter.warn_at and meter.included in {None, Decimal(0)}:
        return "`warn_at` is a share of the included units, and there are none. Delete it, or include some."
    return ""


def _why_not_tiers(tiers: tuple[Tier, ...]) -> str:
    """What is wrong with a graduated price."""
    *steps, last = (tier.up_to for tier in tiers)
    if last is not None or None in steps:
        return "every tier but the last needs `up_to`, and the last has none: nothing may be without a price. Correct `tiers`."
    ends = [Decimal(0), *(end for end in steps if end is not None)]
    if not steps or any(end <= start for start, end in itertools.pairwise(ends)):
        return "`tiers` are two or more with ascending `up_to`, above 0. Correct them, or write one `price`."
    return ""


def check_packs(fleet: Fleet) -> list[Problem]:
    """Each pack pays for a counter of its catalog, and a plan that draws on credits has a pack to buy."""
    problems: list[Problem] = []
    for catalog in fleet.catalogs:
        kinds = {meter.name: meter.kind for plan in catalog.plans for meter in plan.meters}
        counters = sorted(name for name, kind in kinds.items() if kind == "counter")
        problems.extend(
            _at(
                fleet,
                catalog.id,
                ("packs", pack.name, "meter"),
                "plan.pack",
                f"pack {pack.name} is for {show(pack.meter)}, which is no counter meter of this catalog. "
                f"{did_you_mean(pack.meter, counters)}Counters: {listed(counters) or 'none'}. Correct it.",
            )
            for pack in catalog.packs
            if pack.meter not in counters
        )
        sold = {pack.meter for pack in catalog.packs}
        problems.extend(
            _at(
                fleet,
                catalog.id,
                ("plans", plan.name, "meters", meter.name, "credits"),
                "plan.pack",
                f"plan {plan.name} draws on credits for {meter.name}, and no pack of them is on sale. Add one under `packs:`, or "
                f"delete `credits`.",
            )
            for plan in catalog.plans
            for meter in plan.meters
            if meter.credits and meter.name not in sold
        )
    return problems


def check_counters(fleet: Fleet) -> list[Problem]:
    """Each counter meter counts something that the catalog's app declares."""
    apps = {app.id: sorted(counter.name for counter in app.counters) for app in fleet.apps}
    problems: list[Problem] = []
    for catalog in fleet.catalogs:
        if catalog.app not in apps or not catalog.plans:
            continue
        declared = apps[catalog.app]
        problems.extend(
            _at(
                fleet,
                catalog.id,
                ("meters", meter.name),
                "plan.counter",
                f"meter {meter.name} counts {show(meter.counter)}, which app {catalog.app} does not declare. "
                f"{did_you_mean(meter.counter, declared)}Counters of {catalog.app}: {listed(declared) or 'none'}. Add it to "
                f"apps/{catalog.app}.yaml or pick one.",
            )
            for meter in catalog.plans[0].meters
            if meter.counter is not None and meter.counter not in declared
        )
    return problems


def check_plan_sizes(fleet: Fleet) -> list[Problem]:
    """A plan's own size exists on its host and does not exceed its own limits."""
    return [
        _at(fleet, catalog.id, ("plans", plan.name, "size"), "plan.size", f"plan {plan.name}: {why}")
        for catalog in fleet.catalogs
        for plan in catalog.plans
        for why in _size_faults(catalog, plan)
    ]


def _size_faults(catalog: Catalog, plan: Plan) -> list[str]:
    """What is wrong with a plan's size, region and limits."""
    size, limits = plan.size, plan.limits
    faults = [
        why_not_region(plan.host, plan.region),
        why_not_size(plan.host, size.cpu_kind, size.cpus, size.memory_mb),
        why_not_volume(plan.host, size.volume_gb),
    ]
    faults.extend(
        f"its size ({name}: {have}) is larger than its own limit ({most}). Allowed: at most the limit. Correct plans/{catalog.id}.yaml."
        for name, have, most in (
            ("cpus", size.cpus, limits.cpus),
            ("memory_mb", size.memory_mb, limits.memory_mb),
            ("volume_gb", size.volume_gb, limits.volume_gb),
        )
        if have > most
    )
    if plan.host == "fly" and plan.lifecycle.autostop == "suspend" and size.memory_mb > MAX_SUSPEND_MEMORY_MB:
        faults.append(
            f"`autostop: suspend` needs at most {MAX_SUSPEND_MEMORY_MB} MB of memory on Fly, and its size has {size.memory_mb}. "
            f"Use `stop` or less memory."
        )
    return [fault for fault in faults if fault]
