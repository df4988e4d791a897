"""Whether what is about to be done is what was reviewed: step by step, tenant by tenant.

Does: foresee reviewed ranges of commits again, exactly and for one cell, and compare an engine's preview against the real state with them.
Does not: keep anything. Commits cannot be changed, so a range that the record names (and nobody who may open a pull request can write the
record) says at any time what was reviewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rowhouse.review.affected import CATALOG_CELL
from rowhouse.review.changes import Outcome, Step, tenant_of
from rowhouse.review.commits import Commits
from rowhouse.review.digests import text_of
from rowhouse.review.render import CellWork, render, warm_parent
from rowhouse.review.sides import Sides

__all__ = ["Approved", "approved_in", "held_urns", "unapproved"]

_TENANT = "rowhouse:index:Tenant"
_ALWAYS = frozenset({"update"})


@dataclass(slots=True)
class Approved:
    """What may be done to one cell."""

    steps: set[str] = field(default_factory=set)
    """Canonical lines."""
    touched: set[str] = field(default_factory=set)
    """URNs of resources that a reviewed step makes or changes."""
    ranges: int = 0

    def covers(self, step: Step) -> bool:
        """Whether a step was reviewed. Finishing what an earlier attempt of a reviewed step left half done counts as that step."""
        if text_of(step) in self.steps:
            return True
        unfinished = step.op in _ALWAYS and step.before == step.after
        return unfinished and step.urn in self.touched


async def approved_in(root: Path, ranges: Sequence[tuple[str, str]], cell: str) -> Approved:
    """What reviewed ranges do to one cell, one after the other. Raises: CommitsError, RenderError."""
    commits = Commits(root)
    found = Approved(ranges=len(ranges))
    async with warm_parent() as nursery:
        for base, head in ranges:
            sides = await asyncio.to_thread(Sides, commits, base, head)
            affected = sides.affected()
            tenants = frozenset(affected.in_cell(cell))
            if not tenants and cell not in affected.stacks and not (cell == CATALOG_CELL and affected.catalogs) and not affected.program:
                continue
            # The range is merged: its program is what applies it, so each side is rendered by its own.
            code = head if affected.program else base
            (made,) = await render(commits, base, sides.side(0), sides.side(1), [CellWork(cell, tenants)], nursery, code_after=code)
            found.steps |= {text_of(step) for step in made.outcome.steps.values()}
            found.touched |= set(made.outcome.steps)
    return found


def unapproved(preview: Outcome, approved: Approved) -> dict[str, str]:
    """Tenant to the first reason for which its change is not the one that was reviewed; the empty name for what all tenants share.

    Who has nothing to do is not among them: a change that is applied already needs no approval.
    """
    found: dict[str, list[Step]] = {}
    for step in preview.steps.values():
        if not approved.covers(step):
            found.setdefault(tenant_of(step.urn, preview.parents), []).append(step)
    return {tenant: _why(steps) for tenant, steps in sorted(found.items())}


def held_urns(preview: Outcome, reasons: Mapping[str, str]) -> dict[str, str]:
    """URN of each tenant's component to why the tenant is held."""
    seen = {*preview.parents, *preview.parents.values()}
    return {urn: reasons[name] for urn in sorted(seen) if _is_tenant(urn) and (name := urn.rsplit("::", 1)[-1]) in reasons}


def _is_tenant(urn: str) -> bool:
    return bool(urn) and urn.split("::")[2].rsplit("$", 1)[-1] == _TENANT


def _why(steps: Sequence[Step]) -> str:
    first = min(steps, key=lambda step: step.urn)
    name = first.urn.rsplit("::", 1)[-1]
    more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
    what = ", ".join(_differing(first)) if first.op == "update" else ""
    return f"{first.op} of {name}{f' ({what})' if what else ''}{more} was not in what was reviewed"


def _differing(step: Step) -> list[str]:
    before, after = step.before or {}, step.after or {}
    return [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)][:5]
