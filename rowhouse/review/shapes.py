"""Tenants that change alike: one of them is rendered and speaks for the others.

Does: find tenants whose change differs in nothing but who they are. Does not: render. A component makes names from a tenant's id, owner,
members and hostnames and from nothing else, so two tenants with the same shape differ in those names alone; a test renders all to prove it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from rowhouse.review.affected import Affected, Affection
from rowhouse.spec.model import Instance, Tenant

__all__ = ["ALONE", "Shape", "shapes_of"]

ALONE: Final = 40
"""So many tenants whose own files differ are rendered each by itself; beyond that they, too, are taken together by shape."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Tenants that change in the same way."""

    example: Affection
    """The one that is rendered: the first by id."""
    tenants: tuple[str, ...]
    """All of them, by id."""


def shapes_of(affected: Affected) -> list[Shape]:
    """Every affected tenant in exactly one shape; the largest shapes last, single tenants first."""
    own = [one for one in affected.tenants.values() if one.own]
    alone = own if len(own) <= ALONE else []
    named = {one.tenant for one in alone}
    groups: dict[Any, list[Affection]] = {}
    for one in affected.tenants.values():
        if one.tenant not in named:
            groups.setdefault(_key(one, affected.stacks), []).append(one)
    shapes = [Shape(one, (one.tenant,)) for one in alone]
    shapes += [Shape(members[0], tuple(one.tenant for one in members)) for members in groups.values()]
    return sorted(shapes, key=lambda shape: (len(shape.tenants), shape.example.tenant))


def _key(one: Affection, stacks: Iterable[str]) -> Any:
    """What two tenants must share to change in the same way."""
    cells = tuple(sorted({tenant.cell for tenant in (one.before, one.after) if tenant is not None and tenant.cell in stacks}))
    same_owner = one.before is None or one.after is None or one.before.owner == one.after.owner
    same_members = one.before is None or one.after is None or set(one.before.members) == set(one.after.members)
    hostnames = _hostnames(one.before) == _hostnames(one.after)
    return one.kind, cells, same_owner, same_members, hostnames, _anonymous(one.before), _anonymous(one.after)


def _hostnames(tenant: Tenant | None) -> dict[str, str]:
    return {} if tenant is None else {instance.name: instance.hostname for instance in tenant.instances}


def _anonymous(tenant: Tenant | None) -> Any:
    """A tenant without what makes it this one; plans and apps count as the objects they are, of which a fleet has one each."""
    if tenant is None:
        return None
    instances = tuple(sorted((_unnamed(instance) for instance in tenant.instances), key=lambda instance: instance.name))
    env = tuple(sorted((name, _generic(value, tenant)) for name, value in tenant.env.items()))
    secrets = tuple(sorted(tenant.secrets.items()))
    return id(tenant.plan), id(tenant.app), tenant.state, instances, env, secrets


def _unnamed(instance: Instance) -> Instance:
    return replace(instance, hostname="")


def _generic(value: str, tenant: Tenant) -> str:
    """A variable's value with the tenant's own words as placeholders again; the longest first, so that none is cut by another."""
    # One placeholder for name and address: who has no name is called by the address.
    words = {tenant.id: "{tenant}", tenant.owner.name: "{owner}", tenant.owner.email: "{owner}"}
    for word in sorted(words, key=len, reverse=True):
        if word:
            value = value.replace(word, words[word])
    return value
