"""A range of commits, judged: who changes and how, what speaks against it, what it costs.

Does: put the other modules of this room together. Does not: print (comment.py), apply, or ask a vendor; a clone is enough for all but what
was used, which is in the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rowhouse.errors import SpecError
from rowhouse.review import objections as objecting
from rowhouse.review.affected import CATALOG_CELL, Affected
from rowhouse.review.changes import Change, Outcome, Step, tenant_of
from rowhouse.review.commits import Changed, Commits
from rowhouse.review.digests import digest_of, digests_by_tenant
from rowhouse.review.objections import Objection
from rowhouse.review.render import CellWork, Rendered, render, warm_parent
from rowhouse.review.resources import resources_of
from rowhouse.review.shapes import Shape, shapes_of
from rowhouse.review.sides import Sides
from rowhouse.spec.guardrails import FILE as LIMITS_FILE
from rowhouse.spec.guardrails import Guardrails, guardrails_in
from rowhouse.spec.model import Fleet
from rowhouse.spec.policy import Facts, Rule, Violation, violations_of
from rowhouse.spec.problem import Problem, only_errors

__all__ = ["Review", "Told", "review_range"]


@dataclass(frozen=True, slots=True)
class Told:
    """What happens to the tenants of one shape."""

    shape: Shape
    changes: tuple[Change, ...]
    """Of the example; of each other tenant the same, with its own names."""
    interruption: str
    """Why its members would notice; empty when they would not."""
    digest: str
    """Of the example's steps."""


@dataclass(slots=True)
class Review:
    """Everything that a review found."""

    base: str
    head: str
    affected: Affected
    limits: Guardrails
    labels: frozenset[str]
    problems: list[Problem] = field(default_factory=list)
    """Of the files after the change; those that were there before it too are left out unless they are errors."""
    objections: list[Objection] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    """New with this change."""
    old_violations: list[Violation] = field(default_factory=list)
    """There before it, too: they block nothing."""
    told: list[Told] = field(default_factory=list)
    shared: dict[str, list[Change]] = field(default_factory=dict)
    """Cell to what changes of what its tenants share."""
    outcome: Outcome = field(default_factory=Outcome, repr=False)
    """Of all cells together; knows every resource's parent."""
    digests: dict[str, str] = field(default_factory=dict)
    """Tenant to the digest of its steps, of those that were rendered; `cell/<name>` of shared things."""
    money: Any = None
    rules: Mapping[str, Rule] = field(default_factory=dict, repr=False)
    seconds: float = 0.0

    @property
    def tenants(self) -> tuple[str, ...]:
        """Who can change, by id."""
        return tuple(self.affected.tenants)

    @property
    def cells(self) -> tuple[str, ...]:
        """Where something can change, by name."""
        return self.affected.cells

    @property
    def interrupted(self) -> list[str]:
        """Who would notice, by id."""
        return sorted(tenant for told in self.told if told.interruption for tenant in told.shape.tenants)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Every reason for which this must not be merged; none when it may."""
        reasons = [str(problem) for problem in self.problems if problem.severity == "error"]
        reasons += [f"{one.rule}: {one.message}" for one in self.objections if one.is_mandatory]
        reasons += [f"{one.rule}: {one.urn.rsplit('::', 1)[-1]}: {one.message}" for one in self.violations if one.level == "mandatory"]
        return (*reasons, *(self.money.blocks if self.money is not None else ()))

    @property
    def digest(self) -> str:
        """What is done to whom, as sixteen hexadecimal digits: the same change has the same, whichever commits it lies between."""
        said = {
            "tenants": {told.shape.example.tenant: [told.digest, *told.shape.tenants] for told in self.told},
            "shared": {key: value for key, value in self.digests.items() if key.startswith("cell/")},
            "not shown": [self.head] if self.affected.program else [],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def markdown(self) -> str:
        """The comment, at most 60,000 characters."""
        from rowhouse.review.comment import markdown

        return markdown(self)

    def document(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "base": self.base,
            "head": self.head,
            "digest": self.digest,
            "blocked": list(self.blocked),
            "cells": list(self.cells),
            "tenants": [{"tenant": one.tenant, "kind": one.kind, "reasons": list(one.reasons)} for one in self.affected.tenants.values()],
            "interrupted": self.interrupted,
            "changes": [
                {
                    "example": told.shape.example.tenant,
                    "tenants": list(told.shape.tenants),
                    "interruption": told.interruption,
                    "digest": told.digest,
                    "steps": [_step(change) for change in told.changes],
                }
                for told in self.told
            ],
            "shared": {cell: [_step(change) for change in changes] for cell, changes in self.shared.items()},
            "problems": [
                {"file": p.file, "line": p.line, "column": p.column, "rule": p.rule, "severity": p.severity, "message": p.message}
                for p in self.problems
            ],
            "objections": [
                {"rule": one.rule, "tenant": one.tenant, "message": one.message, "mandatory": one.is_mandatory} for one in self.objections
            ],
            "policies": [
                {"rule": one.rule, "urn": one.urn, "message": one.message, "level": one.level, "new": new}
                for new, found in ((True, self.violations), (False, self.old_violations))
                for one in found
            ],
            "money": None if self.money is None else self.money.document(),
            "seconds": round(self.seconds, 3),
        }


Pricing = Callable[[Fleet, Fleet, Affected, Guardrails, frozenset[str]], Any]
"""From the fleets before and after to money, or None where there is nothing to price."""


def review_range(
    root: Path,
    base: str,
    head: str,
    *,
    labels: frozenset[str] = frozenset(),
    rules: Sequence[Rule] = (),
    pricing: Pricing | None = None,
    progress: Callable[[str], None] = lambda _what: None,
) -> Review:
    """Judge what lies between two commits of the clone at `root`. Nothing of `head` is run, only read.

    Args:
        root: a clone that has both commits. Its work tree is not looked at.
        base: commit or name of one.
        head: likewise.
        labels: of the pull request: what somebody who may set them has agreed to.
        rules: the project's policies, as they were before the change.
        pricing: what knows vendors' prices and what was used; None: no money in the review.
        progress: told what is being done now.
    Raises: CommitsError, RenderError; SpecError where the limits before the change cannot be read.
    """
    return asyncio.run(_review(Commits(root), base, head, labels, {rule.id: rule for rule in rules}, pricing, progress))


async def _review(
    commits: Commits,
    base: str,
    head: str,
    labels: frozenset[str],
    rules: Mapping[str, Rule],
    pricing: Pricing | None,
    progress: Callable[[str], None],
) -> Review:
    started = time.monotonic()
    base, head = commits.commit(base), commits.commit(head)
    limits = _limits(commits, base)
    async with warm_parent() as nursery:  # what the program imports is imported while the files are read
        progress("reading files")
        sides = await asyncio.to_thread(Sides, commits, base, head)
        found = sides.affected()
        review = Review(base, head, found, limits, labels, rules=rules)
        review.problems = sides.problems
        review.objections = [
            *objecting.leaving(found),
            *objecting.lost_data(sides.after, found),
            *objecting.of_other_paths(found, _links(sides.changed)),
            *objecting.lost_stacks(sides.after, sides.stacks_after),
        ]
        if not only_errors(sides.problems):
            shapes = [shape for shape in shapes_of(found) if shape.example.kind not in {"removed", "moved"}]
            work = _work(found, shapes)
            progress(f"rendering {len(work)} of {len(found.cells)} cells")
            rendered = await render(commits, base, sides.side(0), sides.side(1), work, nursery) if work else []
            _tell(review, shapes, rendered)
            _judge(review, rendered, sides)
    if pricing is not None and not only_errors(sides.problems):
        progress("replaying bills")
        review.money = pricing(sides.before, sides.after, found, limits, labels)
    review.objections = sorted(set(review.objections))
    review.seconds = time.monotonic() - started
    return review


def _limits(commits: Commits, base: str) -> Guardrails:
    kept = [one for one in commits.kept(base, LIMITS_FILE) if one.mode in {"100644", "100755"}]
    if not kept:
        return Guardrails()
    content = commits.blobs([kept[0].blob]).get(kept[0].blob)
    if content is None:
        raise SpecError([Problem(LIMITS_FILE, 1, 1, "file.size", "the limits are larger than anything that is read. Shorten them.")])
    return guardrails_in(content.decode("utf-8", "replace"))


def _links(changed: Iterable[Changed]) -> list[str]:
    return [one.path for one in changed if one.is_link]


def _work(found: Affected, shapes: Sequence[Shape]) -> list[CellWork]:
    """Which tenants are rendered in which cell; what all share is rendered with them, or alone where it differs."""
    cells: dict[str, set[str]] = {cell: set() for cell in (*found.stacks, *([CATALOG_CELL] if found.catalogs else []))}
    for shape in shapes:
        one = shape.example.after or shape.example.before
        assert one is not None
        cells.setdefault(one.cell, set()).add(one.id)
    return [CellWork(cell, frozenset(tenants)) for cell, tenants in sorted(cells.items())]


def _tell(review: Review, shapes: Sequence[Shape], rendered: Sequence[Rendered]) -> None:
    """Take what was rendered apart, by tenant and by cell."""
    changes: dict[str, list[Change]] = {}
    steps: dict[str, list[Step]] = {}
    for cell in rendered:
        outcome = cell.outcome
        review.outcome.parents |= outcome.parents
        review.outcome.failures += outcome.failures
        groups = outcome.by_tenant()
        if shared := groups.pop("", []):
            review.shared[cell.cell] = shared
        changes |= groups
        for step in outcome.steps.values():
            steps.setdefault(tenant_of(step.urn, outcome.parents), []).append(step)
        of_cell = digests_by_tenant(outcome.steps.values(), outcome.parents)
        if "" in of_cell:
            review.digests[f"cell/{cell.cell}"] = of_cell.pop("")
        review.digests |= of_cell
    for shape in shapes:
        one = shape.example
        own = changes.get(one.tenant, [])
        if own:
            reason = objecting.interruption(one.before, own)
            review.told.append(Told(shape, tuple(own), reason, digest_of(steps.get(one.tenant, ()))))
        review.objections += objecting.gone_volumes(one.tenant, own)
    review.objections += objecting.interruptions_over(review.interrupted, review.limits, review.labels)
    objected = {one.tenant for one in review.objections}
    for failure in review.outcome.failures:
        tenant = tenant_of(failure.urn, review.outcome.parents) if failure.urn else ""
        if not failure.skipped and (not tenant or tenant not in objected):
            review.objections.append(Objection("review.can-be-made", tenant, failure.message))


def _judge(review: Review, rendered: Sequence[Rendered], sides: Sides) -> None:
    """Hold what would be against the project's policies, and tell what is new from what was so before."""
    for cell in rendered:
        found: list[list[Violation]] = []
        for number, (states, fleet) in enumerate(((cell.before, sides.before), (cell.after, sides.after))):
            project = next((state.urn.split("::")[1] for state in states), "")
            facts = Facts(fleet, review.limits, project, cell.cell, sides.zone(cell.cell, number))
            found.append(violations_of(review.rules.values(), resources_of(states), facts))
        before = set(found[0])
        review.violations += [one for one in found[1] if one not in before]
        review.old_violations += [one for one in found[1] if one in before]


def _step(change: Change) -> dict[str, Any]:
    return {
        "op": change.op,
        "type": change.type,
        "name": change.name,
        "diff": [{"path": path, "kind": kind, "before": before, "after": after} for path, kind, before, after in change.diff],
    }
