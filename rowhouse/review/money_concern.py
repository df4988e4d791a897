"""Which tenants a change of the files can cost or save anything, and whose use must be read to say how much.

Does: compare two fleets. Does not: price. What decides money of a tenant is its plan, its instances, its members and whether it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rowhouse.spec.model import Fleet, Pack, Plan, Tenant

__all__ = ["Wanted", "changed_plans", "concerned", "is_leaving", "packs_of", "plans_of", "tenants_of", "wanted"]

_SAMPLE: Final = 50
"""So many tenants of a plan tell how much one of it runs; those with the first ids, so that the same change reads the same."""
_LEAVING: Final = frozenset({"offboarding", "purge"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose month to read."""

    tenants: frozenset[str]
    plans: frozenset[str]
    """Plans whose terms change: whoever was on one of them in the month is wanted too, also if it has left it since."""


def tenants_of(fleet: Fleet) -> dict[str, Tenant]:
    """By id."""
    return {tenant.id: tenant for tenant in fleet.tenants}


def plans_of(fleet: Fleet) -> dict[str, Plan]:
    """By `<catalog>/<plan>`."""
    return {plan.ref: plan for catalog in fleet.catalogs for plan in catalog.plans}


def packs_of(fleet: Fleet) -> dict[tuple[str, str], Pack]:
    """By catalog and name."""
    return {(catalog.id, pack.name): pack for catalog in fleet.catalogs for pack in catalog.packs}


def is_leaving(tenant: Tenant) -> bool:
    """Whether its plan has ended: a suspended tenant stays on its plan, one that leaves does not."""
    return tenant.state in _LEAVING


def changed_plans(before: Fleet, after: Fleet) -> frozenset[str]:
    """Plans that are in one fleet alone or are others in the two; 5 and 5.00 are the same price."""
    old, new = plans_of(before), plans_of(after)
    packs = _changed(packs_of(before), packs_of(after))
    sold_otherwise = {catalog for catalog, _ in packs}
    return frozenset(ref for ref in {*old, *new} if old.get(ref) != new.get(ref) or ref.partition("/")[0] in sold_otherwise)


def _changed(old: Mapping[tuple[str, str], Pack], new: Mapping[tuple[str, str], Pack]) -> set[tuple[str, str]]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def concerned(before: Fleet, after: Fleet) -> frozenset[str]:
    """Tenants whose money the files decide otherwise, new and gone ones included."""
    old, new, plans = tenants_of(before), tenants_of(after), changed_plans(before, after)
    return frozenset(slug for slug in {*old, *new} if _differs(old.get(slug), new.get(slug), plans))


def _differs(old: Tenant | None, new: Tenant | None, plans: frozenset[str]) -> bool:
    if old is None or new is None:
        return True
    if old.plan.ref != new.plan.ref or old.plan.ref in plans:
        return True
    return (old.instances, old.members, old.state, old.cell) != (new.instances, new.members, new.state, new.cell)


def wanted(before: Fleet, after: Fleet) -> Wanted:
    """Whose month to read for a review of what changes: those concerned, and some neighbours of each plan that they are on or go to."""
    slugs = set(concerned(before, after))
    fleets = (before, after)
    refs = {tenant.plan.ref for fleet in fleets for tenant in fleet.tenants if tenant.id in slugs}
    for fleet in fleets:
        seen = dict.fromkeys(refs, 0)
        for tenant in fleet.tenants:
            ref = tenant.plan.ref
            if ref in seen and seen[ref] < _SAMPLE:
                seen[ref] += 1
                slugs.add(tenant.id)
    return Wanted(frozenset(slugs), changed_plans(before, after))
