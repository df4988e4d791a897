"""What a policy is: a rule over the resources that a change would register, told apart from whoever runs it.

Does: the shapes that the policy pack (`policies/`), the Pulumi CLI's analyzer, the embedded engine and the review share. Does not: hold a
rule (`policies/` does), or know operations and old states: a pack sees what will be, not what was (the review checks that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.model import Fleet

__all__ = ["UNKNOWN", "Facts", "Level", "Resource", "ResourceRule", "Rule", "StackRule", "Violation", "violations_of"]

Level = Literal["mandatory", "advisory"]


class _Unknown:
    """A value that is known only after something else was made."""

    def __repr__(self) -> str:
        return "[unknown]"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it would be registered."""

    urn: str
    type: str
    """`rowhouse:fly:Machine`, `cloudflare:index/dnsRecord:DnsRecord`, ..."""
    name: str
    """In the program: `acme-main-machine`."""
    props: Mapping[str, Any]
    """Inputs, plain values; `[secret]` for secrets and UNKNOWN for what is known only later."""
    parent: str = ""
    """URN."""
    protect: bool = False
    retain_on_delete: bool = False
    comes_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Property to the URNs of the resources that its value is an output of."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a rule may hold resources against. Compared by identity, so that what is derived from it can be kept."""

    fleet: Fleet
    """The files from which the resources were made."""
    guardrails: Guardrails
    project: str
    stack: str
    zone: str


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    """Stable for ever: `gate.one-application`."""
    level: Level
    wants: str
    """One sentence: what the rule wants."""
    why: str
    """One or two sentences: what happens where it is broken."""
    mend: str
    """What to do, in words for whoever wrote the tenant's file or the component."""


@dataclass(frozen=True, slots=True)
class ResourceRule(_Rule):
    """A rule about single resources."""

    types: frozenset[str]
    """It is asked about these alone; empty: about all."""
    check: Callable[[Resource, Facts], Iterable[str]]
    """What is wrong with one resource, in sentences; nothing when all is well."""


@dataclass(frozen=True, slots=True)
class StackRule(_Rule):
    """A rule about all resources of a stack together."""

    check: Callable[[Sequence[Resource], Facts], Iterable[tuple[str, str]]]
    """URN (or the empty text) and what is wrong."""


Rule = ResourceRule | StackRule


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """A broken rule. Order: mandatory before advisory is the caller's business; rule, resource, message."""

    rule: str
    urn: str
    message: str
    level: Level = "mandatory"
    mend: str = ""
    """What to do."""


def violations_of(rules: Iterable[Rule], resources: Sequence[Resource], facts: Facts) -> list[Violation]:
    """Everything that is wrong, by rule and resource."""
    found: list[Violation] = []
    for rule in rules:
        if isinstance(rule, StackRule):
            found.extend(Violation(rule.id, urn, message, rule.level, rule.mend) for urn, message in rule.check(resources, facts))
        else:
            concerned = (resource for resource in resources if not rule.types or resource.type in rule.types)
            found.extend(
                Violation(rule.id, resource.urn, message, rule.level, rule.mend)
                for resource in concerned
                for message in rule.check(resource, facts)
            )
    return sorted(found)
