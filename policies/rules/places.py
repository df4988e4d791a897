"""Where a resource belongs: to which tenant and instance of the files, to the edge, or to the catalog.

Does: tell it from type and name in the program, which the components derive from the files. Does not: believe a mark or a vendor's name,
because rules hold these against the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from policies.rules import kinds
from rowhouse.spec.model import Instance, Tenant
from rowhouse.spec.policy import Facts, Resource
from rowhouse.spec.prices import meter_specs, price_specs, product_spec

__all__ = ["Place", "place_of", "places"]


@dataclass(frozen=True, slots=True)
class Place:
    """What a resource is a part of."""

    of: Literal["tenant", "edge", "catalog"]
    tenant: Tenant | None = None
    """Of a tenant's parts alone."""
    instance: Instance | None = None
    """Of an instance's parts alone."""
    number: int = 0
    """Of the edge's machines and volumes, from 1."""


_OF_INSTANCE: Final = {
    kinds.FLY_APP: "app",
    kinds.FLY_IP: "address",
    kinds.FLY_VOLUME: "volume",
    kinds.FLY_SECRETS: "secrets",
    kinds.FLY_MACHINE: "machine",
    kinds.ACCESS_APPLICATION: "gate-application",
    kinds.ROUTE: "gate-route",
    kinds.DNS_RECORD: "gate-dns",
}
_OF_TENANT: Final = {kinds.CUSTOMER: "billing-customer", kinds.SUBSCRIPTION: "billing-subscription", kinds.ACCESS_POLICY: "members"}
_OF_EDGE: Final = {
    kinds.TUNNEL: re.compile(r"edge-tunnel"),
    kinds.TUNNEL_CONFIG: re.compile(r"edge-tunnel-config"),
    kinds.FLY_APP: re.compile(r"edge-app"),
    kinds.FLY_SECRETS: re.compile(r"edge-secrets"),
    kinds.FLY_VOLUME: re.compile(r"edge-volume-([1-9][0-9]{0,2})", re.ASCII),
    kinds.FLY_MACHINE: re.compile(r"edge-machine-([1-9][0-9]{0,2})", re.ASCII),
}


def place_of(resource: Resource, facts: Facts) -> Place | None:
    """The place of a resource; None when it belongs to nothing that the files of this cell name."""
    found = places(facts).get((resource.type, resource.name))
    pattern = _OF_EDGE.get(resource.type)
    if found is None and pattern is not None and (match := pattern.fullmatch(resource.name)):
        return Place("edge", number=int(match[1]) if match.groups() else 0)
    return found


@lru_cache(maxsize=4)
def places(facts: Facts) -> Mapping[tuple[str, str], Place]:
    """Type and name of every part that tenants of this cell and the catalog can have, to its place."""
    return dict([*_of_tenants(facts), *_of_catalog(facts)])


def _of_tenants(facts: Facts) -> Iterator[tuple[tuple[str, str], Place]]:
    for tenant in facts.fleet.in_cell(facts.stack):
        for type_, role in _OF_TENANT.items():
            yield (type_, f"{tenant.id}-{role}"), Place("tenant", tenant)
        for instance in tenant.instances:
            for type_, role in _OF_INSTANCE.items():
                yield (type_, f"{tenant.id}-{instance.name}-{role}"), Place("tenant", tenant, instance)


def _of_catalog(facts: Facts) -> Iterator[tuple[tuple[str, str], Place]]:
    place = Place("catalog")
    for catalog in facts.fleet.catalogs:
        for meter in meter_specs(facts.project, catalog):
            yield (kinds.METER, meter.event_name), place
        for plan in catalog.plans:
            if product := product_spec(facts.project, plan):
                yield (kinds.PRODUCT, product.product_id), place
            for price in price_specs(facts.project, plan):
                yield (kinds.PRICE, price.lookup_key), place
