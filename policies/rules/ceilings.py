"""How much one cell can hold: the vendors' ceilings, with a warning from four fifths on, and the size at which an apply is still quick.

The figures are those of `rowhouse/spec/checks/cells.py`, which counts files. Here resources are counted: also those that no file names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from policies.rules import kinds
from rowhouse.spec.checks.cells import CEILINGS, SOFT_RESOURCES, Ceiling
from rowhouse.spec.policy import Facts, Resource, StackRule

__all__ = ["RULES"]

_COUNTED: Final = {
    "Access applications": kinds.ACCESS_APPLICATION,
    "reusable Access policies": kinds.ACCESS_POLICY,
    "DNS records": kinds.DNS_RECORD,
}


def _counts(resources: Sequence[Resource]) -> Iterator[tuple[Ceiling, int]]:
    found = Counter(resource.type for resource in resources)
    return ((ceiling, found[_COUNTED[ceiling.what]]) for ceiling in CEILINGS)


def _passed(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    for ceiling, count in _counts(resources):
        if ceiling.is_passed_by(count):
            told = (
                f"cell {facts.stack} needs {count:,} {ceiling.what}. Allowed by Cloudflare: {ceiling.most:,}. "
                f"Write `cell: {_other_cell(facts)}` in the files of tenants that have no resources yet, with an account of its own."
            )
            yield "", told


def _near(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    for ceiling, count in _counts(resources):
        if ceiling.is_near(count):
            told = (
                f"cell {facts.stack} needs {count:,} {ceiling.what}, more than four fifths of the {ceiling.most:,} that Cloudflare allows. "
                f"Write `cell: {_other_cell(facts)}` in the files of new tenants."
            )
            yield "", told


def _quick(resources: Sequence[Resource], facts: Facts) -> Iterator[tuple[str, str]]:
    if len(resources) > SOFT_RESOURCES:
        told = (
            f"cell {facts.stack} has {len(resources):,} resources. Applies stay quick up to about {SOFT_RESOURCES}. "
            f"Write `cell: {_other_cell(facts)}` in the files of new tenants."
        )
        yield "", told


def _other_cell(facts: Facts) -> str:
    """A cell for further tenants: one that tenants name already and that is the emptiest, else the first free name."""
    others = Counter({cell: len(facts.fleet.in_cell(cell)) for cell in facts.fleet.cells() if cell != facts.stack})
    most = min(ceiling.most for ceiling in CEILINGS)
    roomy = [cell for cell, tenants in sorted(others.items(), key=lambda item: (item[1], item[0])) if tenants * 5 <= most * 4]
    if roomy:
        return roomy[0]
    number = 2
    while f"{facts.stack}-{number}" in others:
        number += 1
    return f"{facts.stack}-{number}"


RULES: Final = (
    StackRule(
        id="ceiling.passed",
        level="mandatory",
        wants="A cell needs no more of anything than the vendor's account or zone can hold.",
        why="At the ceiling the vendor refuses, in the middle of an apply, and tenants are left without a gate or a name.",
        mend="Give tenants that are not applied yet another `cell:`, with a stack and an account of its own.",
        check=_passed,
    ),
    StackRule(
        id="ceiling.near",
        level="advisory",
        wants="A cell stays below four fifths of each ceiling.",
        why="A second cell takes a new account and a day; begin before there is no room.",
        mend="Make a second cell now, and give new tenants its `cell:`.",
        check=_near,
    ),
    StackRule(
        id="ceiling.resources",
        level="advisory",
        wants=f"A cell has about {SOFT_RESOURCES} resources at most.",
        why="Engines write the whole state of a stack again and again: applies of a larger one take minutes.",
        mend="Give new tenants another `cell:`.",
        check=_quick,
    ),
)
