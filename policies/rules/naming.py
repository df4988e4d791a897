"""Names at vendors are those of `rowhouse/spec/names.py`, and everything belongs to something that the files name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.rules import kinds
from policies.rules.places import Place, place_of
from policies.rules.reading import differs
from rowhouse.spec import names
from rowhouse.spec.model import Instance, Tenant
from rowhouse.spec.policy import Facts, Resource, ResourceRule

__all__ = ["RULES"]

_LATER: Final = frozenset({"app", "product"})
"""Properties that are outputs of other resources, so that a first preview does not know them."""


def _place(resource: Resource, facts: Facts) -> Iterator[str]:
    if kinds.is_at_a_vendor(resource.type) and place_of(resource, facts) is None:
        yield f"it belongs to no tenant of cell {facts.stack}, to no plan and not to the edge."


def _name(resource: Resource, facts: Facts) -> Iterator[str]:
    place = place_of(resource, facts)
    for key, wanted in _wanted(resource, place, facts).items() if place is not None else ():
        if why := differs(resource, key, wanted, later=key in _LATER):
            yield f"{why}."


def _wanted(resource: Resource, place: Place, facts: Facts) -> dict[str, str]:
    """Property to the name that it must hold."""
    if place.tenant is not None and place.instance is not None:
        return _of_instance(resource.type, place.tenant, place.instance, facts)
    if place.tenant is not None:
        return {"name": names.access_policy_name(facts.project, facts.stack, place.tenant.id)}
    if place.of == "edge":
        return _of_edge(resource.type, place.number, facts)
    return {{kinds.PRODUCT: "productId", kinds.PRICE: "lookupKey"}.get(resource.type, "eventName"): resource.name}


def _of_instance(type_: str, tenant: Tenant, instance: Instance, facts: Facts) -> dict[str, str]:
    project, stack, zone = facts.project, facts.stack, facts.zone
    app = names.fly_app_name(project, stack, tenant.id, instance.name, zone=zone)
    hostname = names.hostname_for(instance, zone)
    shown = names.access_app_name(project, stack, tenant.id, instance.name, owner=tenant.owner.name, hostname=hostname)
    return {
        kinds.FLY_APP: {"name": app, "network": names.fly_network_name(project, stack, tenant.id, instance.name, zone=zone)},
        kinds.FLY_VOLUME: {"app": app, "name": names.volume_name()},
        kinds.FLY_MACHINE: {"app": app, "name": names.machine_name(instance.name)},
        kinds.ACCESS_APPLICATION: {"name": shown, "domain": hostname},
        kinds.ROUTE: {"hostname": hostname},
        kinds.DNS_RECORD: {"name": hostname},
    }.get(type_, {"app": app})


def _of_edge(type_: str, number: int, facts: Facts) -> dict[str, str]:
    app = names.edge_app_name(facts.project, facts.stack, zone=facts.zone)
    return {
        kinds.TUNNEL: {"name": names.tunnel_name(facts.project, facts.stack)},
        kinds.TUNNEL_CONFIG: {},
        kinds.FLY_APP: {"name": app, "network": names.edge_network_name(facts.project, facts.stack, zone=facts.zone)},
        kinds.FLY_MACHINE: {"app": app, "name": names.edge_machine_name(number)},
    }.get(type_, {"app": app})


_NAMED: Final = frozenset(
    {
        kinds.FLY_APP,
        kinds.FLY_IP,
        kinds.FLY_VOLUME,
        kinds.FLY_SECRETS,
        kinds.FLY_MACHINE,
        kinds.ROUTE,
        kinds.DNS_RECORD,
        kinds.ACCESS_APPLICATION,
        kinds.ACCESS_POLICY,
        kinds.TUNNEL,
        kinds.PRODUCT,
        kinds.PRICE,
        kinds.METER,
    }
)

RULES: Final = (
    ResourceRule(
        id="name.place",
        level="mandatory",
        wants="Every object at a vendor belongs to an instance or a tenant of this cell, to the edge, or to the catalog.",
        why="What belongs to nothing is held against no plan, no member list and no mark; every other rule would pass it by.",
        mend="Register it in a component under a name of its tenant and instance, and add the kind to policies/rules/places.py.",
        types=frozenset(),
        check=_place,
    ),
    ResourceRule(
        id="name.vendor",
        level="mandatory",
        wants="Names at vendors, and the app that a part of an instance lies in, are those of the naming module.",
        why="Another name can be taken, can be another tenant's, and is not found by passes, sweeps and a second attempt after a crash.",
        mend="Take the name from rowhouse/spec/names.py. Changing a function there needs aliases and a decision record.",
        types=_NAMED,
        check=_name,
    ),
)
