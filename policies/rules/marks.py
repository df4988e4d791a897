"""Everything says whose it is: by labels where the vendor takes them, by a comment or by fields where it does not.

What carries its mark in its name (Access applications and policies) is judged by the rules of names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.rules import kinds
from policies.rules.places import Place, place_of
from policies.rules.reading import LATER, differs, is_unknown, said
from rowhouse.spec import names
from rowhouse.spec.marks import EDGE, labels_for
from rowhouse.spec.policy import Facts, Resource, ResourceRule
from rowhouse.spec.slug import show

__all__ = ["RULES"]

_LABELLED: Final = frozenset({kinds.FLY_MACHINE, kinds.CUSTOMER, kinds.SUBSCRIPTION, kinds.PRODUCT, kinds.PRICE})
_CATALOG: Final = "catalog"


def _mark(resource: Resource, facts: Facts) -> Iterator[str]:
    place = place_of(resource, facts)
    if place is None:
        return  # name.place says so
    if resource.type in _LABELLED:
        yield from _labels(said(resource, "metadata"), _wanted(place, facts))
    elif place.tenant is None or place.instance is None:
        return
    elif resource.type == kinds.DNS_RECORD:
        if why := differs(resource, "comment", names.dns_comment(facts.project, facts.stack, place.tenant.id, place.instance.name)):
            yield f"{why}."
    else:
        for key, wanted in (("tenant", place.tenant.id), ("instance", place.instance.name)):
            if why := differs(resource, key, wanted):
                yield f"{why}."


def _wanted(place: Place, facts: Facts) -> dict[str, str]:
    owner = place.tenant.id if place.tenant else EDGE if place.of == "edge" else _CATALOG
    return labels_for(facts.project, facts.stack, owner, place.instance.name if place.instance else None)


def _labels(metadata: Any, wanted: Mapping[str, str]) -> Iterator[str]:
    if is_unknown(metadata):
        yield f"metadata {LATER}."
    elif not isinstance(metadata, Mapping):
        yield f"metadata is missing; it must hold the labels {', '.join(wanted)}."
    else:
        for key, value in wanted.items():
            found = metadata.get(key)
            if found != value:
                yield f"the label {key} is {'missing' if found is None else show(found)}; it must be {show(value)}."


RULES: Final = (
    ResourceRule(
        id="mark.present",
        level="mandatory",
        wants="Machines, customers, subscriptions, products, prices, records and routes say of which project, stack and tenant they are.",
        why="Passes and sweeps touch only what carries our mark: without it a thing is billed by the vendor, and nobody here knows it.",
        mend="Give the component's `marks(...)` to the resource as its metadata, and leave the labels as they are.",
        types=_LABELLED | {kinds.DNS_RECORD, kinds.ROUTE},
        check=_mark,
    ),
)
