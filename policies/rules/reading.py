"""How rules read a resource: what is missing and what is known only later are told apart from what is wrong.

An engine leaves out what was not given, or sends a null; both are missing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rowhouse.spec.policy import UNKNOWN, Resource
from rowhouse.spec.slug import show

__all__ = ["LATER", "differs", "entries", "is_unknown", "known_text", "of_type", "said", "texts"]

LATER: Final = "is known only after the apply, so nobody can review it"


def is_unknown(value: Any) -> bool:
    """Whether a value is known only after something else was made."""
    return value is UNKNOWN


def said(resource: Resource, name: str) -> Any:
    """A property's value; None where it is missing."""
    return resource.props.get(name)


def known_text(resource: Resource, name: str) -> str | None:
    """A property that is text and known; None for everything else."""
    value = said(resource, name)
    return value if isinstance(value, str) else None


def differs(resource: Resource, name: str, wanted: str, *, later: bool = False) -> str:
    """Why a property is not the text that it must be; the empty text when it is.

    Args: later: the value comes from another resource, so that it may be unknown until that one is made.
    """
    value = said(resource, name)
    if value == wanted or (later and is_unknown(value)):
        return ""
    if value is None:
        return f"{name} is missing; it must be {show(wanted)}"
    return f"{name} {LATER}; it must be {show(wanted)}" if is_unknown(value) else f"{name} is {show(value)}; it must be {show(wanted)}"


def entries(value: Any) -> list[Any]:
    """The items of a list, in order; none of anything else."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text inside a value, with the path to it: `env.USER_NAME`, `services[0].protocol`."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, f"{name}.{key}" if name else str(key))
    else:
        for number, item in enumerate(entries(value)):
            yield from texts(item, f"{name}[{number}]")


def of_type(resources: Sequence[Resource], type_: str) -> list[Resource]:
    """Those of one type, in their order."""
    return [resource for resource in resources if resource.type == type_]
