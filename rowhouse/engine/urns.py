"""Names of resources: `urn:pulumi:<stack>::<project>::<parent types>$<type>::<name>`.

Does: making and reading URNs and the aliases a resource may have had. Does not: decide which alias is meant (see `planner`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STACK_TYPE: Final = "pulumi:pulumi:Stack"
PROVIDER_PREFIX: Final = "pulumi:providers:"


def make(stack: str, project: str, parent: str, kind: str, name: str) -> str:
    """The URN of a resource; `parent` is the parent's URN, empty for none."""
    chain = qualified_type(parent) if parent else ""
    if chain and chain != STACK_TYPE:
        kind = f"{chain}${kind}"
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def qualified_type(urn: str) -> str:
    """The types of all component ancestors and of the resource itself, joined by `$`."""
    return urn.split("::", 3)[2]


def type_of(urn: str) -> str:
    """The type token of the resource itself."""
    return qualified_type(urn).rpartition("$")[2]


def name_of(urn: str) -> str:
    """The name the program gave."""
    return urn.split("::", 3)[3]


def package_of(kind: str) -> str:
    """The package that serves a type or function token; of a provider resource, the package it configures."""
    return kind.removeprefix(PROVIDER_PREFIX) if kind.startswith(PROVIDER_PREFIX) else kind.partition(":")[0]


def is_provider(kind: str) -> bool:
    """Whether a type is that of a provider resource."""
    return kind.startswith(PROVIDER_PREFIX)


def stack_urn(stack: str, project: str) -> str:
    """The URN of the stack itself, which is the root of all resources."""
    return make(stack, project, "", STACK_TYPE, f"{project}-{stack}")


@dataclass(frozen=True)
class Alias:
    """An earlier identity of a resource: a whole URN, or the parts that differ."""

    urn: str = ""
    name: str = ""
    kind: str = ""
    stack: str = ""
    project: str = ""
    parent: str = ""
    no_parent: bool = False


def alias_urns(stack: str, project: str, parent: str, kind: str, name: str, aliases: list[Alias], parent_was: dict[str, str]) -> list[str]:
    """All URNs a resource may be known by in the state, its own excluded, in order of preference.

    `parent_was` maps the URN of a registered resource to the alias under which it was found: children follow their parent's old name.
    """

    def whole(alias: Alias) -> str:
        if alias.urn:
            return alias.urn
        above = parent if not alias.parent else parent_was.get(alias.parent, alias.parent)
        if alias.no_parent or (above and qualified_type(above) == STACK_TYPE):
            above = ""
        return make(alias.stack or stack, alias.project or project, above, alias.kind or kind, alias.name or name)

    found = [whole(alias) for alias in aliases]
    if parent in parent_was:
        old_parent, parent_name = parent_was[parent], name_of(parent)

        def inherited(child_kind: str, child_name: str) -> str:
            # A child named after its parent (`web-volume` of `web`) was named after the parent's old name.
            if child_name.startswith(parent_name):
                child_name = name_of(old_parent) + child_name[len(parent_name) :]
            return make(stack, project, old_parent, child_kind, child_name)

        found.append(inherited(kind, name))
        found += [inherited(type_of(urn), name_of(urn)) for urn in list(found[: len(aliases)])]
    own = make(stack, project, parent, kind, name)
    return [urn for urn in dict.fromkeys(found) if urn != own]
