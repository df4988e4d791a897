"""What is merged but not applied yet, kept as GitHub deployments: a place where a fork's pull request cannot write.

Does: write two kinds of deployments. One of environment `rowhouse` for each merge says of the cells that it touches up to which commit they
are applied; a cell that it does not name is as far as the merge itself. One of environment `rowhouse/CELL` for each attempt on a cell names
the tenants that failed; an attempt without an end counts as failed for all.
Does not: believe a deployment of another author.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Deployment

__all__ = ["Attempt", "Between", "Plan", "Record", "Standing", "cells_to_apply", "pending_tenants"]

_ENVIRONMENT: Final = "rowhouse"
_FAILED_MAX: Final = 500
"""More than these are not named; then all tenants of the change count as not applied."""

P = TypeVar("P", bound="_Payload")
Commit = Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")]


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Plan(_Payload):
    """What a merge still has to bring to cells."""

    pending: dict[Commit, list[str]]
    """Commit up to which they are applied (empty: nothing is known) to cells."""


class Attempt(_Payload):
    """One run of `up` on a cell."""

    applied: Commit
    """Up to where the cell was applied before it."""
    failed: list[str] | None = None
    """Tenants that are not as the files say; None: not known which."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a cell is."""

    cell: str
    applied: str
    """The last commit that is applied whole; empty when none is known."""
    attempted: str = ""
    """The commit of a later attempt that did not bring everything; empty when there is none."""
    failed: frozenset[str] | None = None
    """Its tenants that failed; None: not known which."""


@dataclass(frozen=True, slots=True)
class Between:
    """What lies between two commits."""

    cells: frozenset[str]
    tenants: frozenset[str]


class Record:
    """The record of one repository, as one author keeps it."""

    def __init__(self, github: GitHub, viewer: str) -> None:
        self._github = github
        self._viewer = viewer

    async def standings(self, cells: Iterable[str]) -> dict[str, Standing] | None:
        """How far each cell is; None when no merge was ever planned here."""
        plan = await self._newest(_ENVIRONMENT, Plan)
        if plan is None:
            return None
        made, held = plan
        pending = {cell: commit for commit, names in held.pending.items() for cell in names}
        found = {}
        for cell in cells:
            if cell not in pending:
                found[cell] = Standing(cell, made.sha)
            else:
                found[cell] = await self._standing(cell, pending[cell])
        return found

    async def _standing(self, cell: str, applied: str) -> Standing:
        attempt = await self._newest(f"{_ENVIRONMENT}/{cell}", Attempt)
        if attempt is None:
            return Standing(cell, applied)
        made, held = attempt
        status = await self._github.deployment_status(made.id)
        if status is not None and status.state == "success":
            return Standing(cell, made.sha)
        failed = frozenset(held.failed) if held.failed is not None else None
        return Standing(cell, held.applied, made.sha, failed)

    async def plan(self, tip: str, pending: Mapping[str, str], url: str) -> None:
        """Note what a merge has to bring to which cell. Args: pending: cell to the commit up to which it is applied."""
        by_commit: dict[str, list[str]] = {}
        for cell, commit in sorted(pending.items()):
            by_commit.setdefault(commit, []).append(cell)
        count = len(pending)
        said = f"{count} cell{'' if count == 1 else 's'} to apply" if pending else "nothing to apply"
        made = await self._github.create_deployment(tip, _ENVIRONMENT, {"pending": by_commit}, said)
        await self._github.set_deployment_status(made.id, "success", said, url)

    async def begin(self, cell: str, commit: str, applied: str, url: str) -> int:
        """Note that a cell's `up` begins; from here on it counts as half done until `end` says otherwise."""
        made = await self._github.create_deployment(commit, f"{_ENVIRONMENT}/{cell}", {"applied": applied, "failed": None}, "applying")
        await self._github.set_deployment_status(made.id, "in_progress", "applying", url)
        return made.id

    async def end(self, begun: int, cell: str, commit: str, applied: str, failed: Iterable[str] | None, url: str) -> None:
        """Note how it ended. Args: failed: empty when all is applied, None when it is not known who is not."""
        names = None if failed is None else sorted(set(failed))
        if names == []:
            await self._github.set_deployment_status(begun, "success", "applied", url)
            return
        said = "failed" if names is None else f"{len(names)} tenants not applied"
        if names is not None and len(names) <= _FAILED_MAX:
            # What a deployment says of itself cannot be changed, so who failed stands in one more.
            made = await self._github.create_deployment(commit, f"{_ENVIRONMENT}/{cell}", {"applied": applied, "failed": names}, said)
            await self._github.set_deployment_status(made.id, "failure", said, url)
        await self._github.set_deployment_status(begun, "failure", said, url)

    async def _newest(self, environment: str, model: type[P]) -> tuple[Deployment, P] | None:
        """The latest deployment of an environment that is ours and says what ours say."""
        for made in await self._github.deployments(environment):
            if made.environment != environment or made.creator is None or not made.creator.is_viewer(self._viewer):
                continue
            try:
                return made, model.model_validate(_object(made.payload))
            except ValidationError:
                continue
        return None


def cells_to_apply(
    cells: Iterable[str], standings: Mapping[str, Standing] | None, tip: str, between: Callable[[str, str], Between]
) -> dict[str, str]:
    """The cells that `up` has to run on, each with the commit up to which it is applied.

    Pure but for `between`. Every cell where nothing is known; a cell with an attempt that did not bring everything, even when what was
    attempted is taken back by now: half of it may be there.
    """
    found = {}
    for cell in sorted(cells):
        standing = standings.get(cell) if standings is not None else None
        if standing is None or not standing.applied:
            found[cell] = ""
        elif standing.attempted or (standing.applied != tip and cell in between(standing.applied, tip).cells):
            found[cell] = standing.applied
    return found


def pending_tenants(
    standings: Mapping[str, Standing] | None, tip: str, cell_of: Mapping[str, str], between: Callable[[str, str], Between]
) -> frozenset[str]:
    """The tenants that are in a merged change which is not applied whole.

    Args: cell_of: each tenant's cell in the files of `tip`; a tenant that is in no file any more counts for every cell.
    Nothing waits in a project whose merges were never planned here: it applies by other means.
    """
    found: set[str] = set()
    for cell, standing in (standings or {}).items():
        spans = []
        if standing.attempted and standing.failed is not None:
            found |= standing.failed
            spans.append((standing.attempted, tip))
        elif standing.attempted:
            spans += [(standing.applied, standing.attempted), (standing.applied, tip)]
        else:
            spans.append((standing.applied, tip))
        for start, end in spans:
            if not start:
                found |= {tenant for tenant, its in cell_of.items() if its == cell}
            elif start != end:
                found |= {tenant for tenant in between(start, end).tenants if cell_of.get(tenant, cell) == cell}
    return frozenset(found)


def _object(payload: Any) -> Any:
    """A payload as it was given: an object, or the text of one."""
    if isinstance(payload, str):
        try:
            return json.loads(payload)
        except ValueError:
            return None
    return payload
