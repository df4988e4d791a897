"""How large, how many and where: within what the plan grants and the host sells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from policies.rules import kinds
from policies.rules.places import place_of
from policies.rules.reading import LATER, is_unknown, of_type, said
from rowhouse.spec.hosts import why_not_region, why_not_size, why_not_volume
from rowhouse.spec.policy import Facts, Resource, ResourceRule, StackRule
from rowhouse.spec.slug import show

__all__ = ["RULES"]

_HOST: Final = "fly"
"""The host of all types that are judged here."""
_KINDS: Final = ("shared", "performance")


def _number(resource: Resource, name: str) -> tuple[int, str]:
    """A property that is a whole number of at least 1, and the empty text; or 0 and what is wrong."""
    value: Any = said(resource, name)
    if isinstance(value, float) and value.is_integer():  # an engine may carry every number as a float
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value, ""
    if is_unknown(value):
        return 0, f"{name} {LATER}."
    return 0, f"{name} is missing." if value is None else f"{name} is {show(value)}; it must be a whole number of at least 1."


def _machine(resource: Resource, facts: Facts) -> Iterator[str]:
    kind = said(resource, "cpuKind") or _KINDS[0]  # as the provider does
    cpus, wrong_cpus = _number(resource, "cpus")
    memory, wrong_memory = _number(resource, "memoryMb")
    wrong_kind = "" if kind in _KINDS else f"cpuKind is {show(kind)}; it must be shared or performance."
    wrong = [text for text in (wrong_cpus, wrong_memory, wrong_kind) if text]
    yield from wrong
    if wrong:
        return
    if why := why_not_size(_HOST, kind, cpus, memory):
        yield why
    place = place_of(resource, facts)
    if place is None or place.tenant is None:
        return
    plan = place.tenant.plan
    if memory > plan.limits.memory_mb:
        yield f"{memory} MB of memory is more than plan {plan.ref} allows. Allowed: {plan.limits.memory_mb} MB."
    if cpus > plan.limits.cpus:
        yield f"{cpus} processors are more than plan {plan.ref} allows. Allowed: {plan.limits.cpus}."
    if kind != plan.size.cpu_kind and kind == _KINDS[1]:
        yield f"performance processors are not part of plan {plan.ref}. Allowed: {plan.size.cpu_kind}."


def _volume(resource: Resource, facts: Facts) -> Iterator[str]:
    size, wrong = _number(resource, "sizeGb")
    if wrong:
        yield wrong
        return
    if why := why_not_volume(_HOST, size):
        yield why
    place = place_of(resource, facts)
    if place is not None and place.tenant is not None and size > place.tenant.plan.limits.volume_gb:
        plan = place.tenant.plan
        yield f"{size} GB is a larger volume than plan {plan.ref} allows. Allowed: 1 to {plan.limits.volume_gb} GB."


def _region(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    region = said(resource, "region")
    if is_unknown(region):
        yield f"region {LATER}."
    elif not isinstance(region, str):
        yield "region is missing." if region is None else f"region is {show(region)}; it must be text."
    elif why := why_not_region(_HOST, region):
        yield why


def _instances(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    tenants = {tenant.id: tenant for tenant in facts.fleet.in_cell(facts.stack)}
    machines: dict[str, list[Resource]] = {}
    for machine in of_type(resources, kinds.FLY_MACHINE):
        machines.setdefault(_tenant_of(machine, facts), []).append(machine)
    for slug, own in machines.items():
        plan = tenants[slug].plan if slug in tenants else None
        if plan is not None and plan.limits.instances is not None and len(own) > plan.limits.instances:
            last = max(own, key=lambda machine: machine.name)
            yield last.urn, f"tenant {slug} has {len(own)} machines; plan {plan.ref} allows {plan.limits.instances}."


def _tenant_of(machine: Resource, facts: Facts) -> str:
    """The tenant for whose plan a machine counts: by its place, or, where it has none, by its mark. Empty for the edge's."""
    place = place_of(machine, facts)
    if place is not None:
        return place.tenant.id if place.tenant is not None else ""
    metadata = said(machine, "metadata")
    return str(metadata.get("tenant", "")) if isinstance(metadata, Mapping) else ""


RULES: Final = (
    ResourceRule(
        id="size.machine",
        level="mandatory",
        wants="A machine's processors and memory are a size that its host sells and its tenant's plan grants.",
        why="What is larger than the plan costs more than the customer pays; what the host does not sell fails in the middle of an apply.",
        mend="Change `cpus` or `memory_mb` of the instance, or the tenant's plan.",
        types=frozenset({kinds.FLY_MACHINE}),
        check=_machine,
    ),
    ResourceRule(
        id="size.volume",
        level="mandatory",
        wants="A volume is no larger than its host sells and its tenant's plan grants.",
        why="A volume only grows: one that was made too large is paid for until the tenant leaves.",
        mend="Change `volume_gb` of the instance, or the tenant's plan.",
        types=frozenset({kinds.FLY_VOLUME}),
        check=_volume,
    ),
    ResourceRule(
        id="size.region",
        level="mandatory",
        wants="A machine or volume is in a region of its host.",
        why="An unknown region fails in the middle of an apply, after other things were changed.",
        mend="Choose a region of the host in the tenant's file, or in `account:edgeRegion` of the stack for the edge.",
        types=frozenset({kinds.FLY_MACHINE, kinds.FLY_VOLUME}),
        check=_region,
    ),
    StackRule(
        id="size.instances",
        level="mandatory",
        wants="A tenant has no more machines than its plan grants instances.",
        why="Each further machine costs as much as the first and is in no price.",
        mend="Delete instances in the tenant's file, or choose a larger plan.",
        check=_instances,
    ),
)
