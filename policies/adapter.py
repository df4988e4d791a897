"""From what pulumi-policy hands to a policy to the resources that the rules are asked about.

Does: take its proxies apart, which raise at the first unknown value, so that the rest stays known. Does not: load files or report.
Secrets: pulumi-policy gives their plain values and does not say which they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from pulumi_policy.proxy import UnknownValueError

from rowhouse.spec.policy import UNKNOWN, Resource

__all__ = ["StackMember", "Validated", "plain", "resource_of", "resources_of"]

_INTERNAL: Final = "__"
"""How keys begin that engines add for themselves."""


class Options(Protocol):
    """Of a resource; the part that rules know."""

    protect: bool
    parent: str | None


class Validated(Protocol):
    """What pulumi-policy says of one resource: its ResourceValidationArgs or PolicyResource."""

    resource_type: str
    props: Mapping[str, Any]
    urn: str
    name: str
    opts: Any


class StackMember(Validated, Protocol):
    """What it says of one resource of a whole stack."""

    parent: Any
    property_dependencies: Mapping[str, Iterable[Any]]


def plain(value: Any) -> Any:
    """A value without proxies: UNKNOWN where it is known only later, whole numbers as such, nulls left out of maps."""
    if isinstance(value, Mapping):
        found = {key: _at(value, key) for key in value if not key.startswith(_INTERNAL)}
        return {key: item for key, item in found.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_at(value, number) for number in range(len(value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _at(holder: Any, key: Any) -> Any:
    try:
        return plain(holder[key])
    except UnknownValueError:
        return UNKNOWN


def resource_of(args: Validated) -> Resource:
    """One resource before it is made. Of where its values come from pulumi-policy says nothing here."""
    return Resource(
        urn=args.urn,
        type=args.resource_type,
        name=args.name,
        props=plain(args.props),
        parent=args.opts.parent or "",
        protect=bool(args.opts.protect),
    )


def resources_of(members: Iterable[StackMember]) -> list[Resource]:
    """All resources of a stack, with where their values come from."""
    return [
        Resource(
            urn=one.urn,
            type=one.resource_type,
            name=one.name,
            props=plain(one.props),
            parent=one.parent.urn if one.parent is not None else "",
            protect=bool(one.opts.protect),
            comes_from={key: tuple(need.urn for need in needs) for key, needs in one.property_dependencies.items() if needs},
        )
        for one in members
    ]
