"""Which tenants wait, computed from the record with the base's code, and told to every open pull request.

Does: join the record of what is applied with the files and the clone's history. Does not: keep anything of its own.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from rowhouse.cli.ci_cells import known_cells
from rowhouse.cli.ci_comment import MENDS, REVIEW, WAIT, set_status, wait_status
from rowhouse.cli.ci_event import Run
from rowhouse.cli.ci_git import Clone, MovedError
from rowhouse.cli.ci_record import Between, Record, Standing, cells_to_apply, pending_tenants
from rowhouse.cli.ci_review import Selector, fetched, without_tokens
from rowhouse.errors import RowhouseError
from rowhouse.spec.load import load_fleet, read_fleet
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Pull

__all__ = ["Merges", "hold_open_pulls"]

_NOTHING: Final = Between(frozenset(), frozenset())


class Merges:
    """What is merged at the commit that is checked out, and how far it is applied."""

    def __init__(self, clone: Clone, record: Record, selector: Selector) -> None:
        self._clone = clone
        self._record = record
        self.selector = selector
        self.tip = clone.head()
        self.between = cache(self._between)

    def _between(self, start: str, end: str) -> Between:
        """What lies between two merged commits. A start that is not in the end's history (it was rewritten) leaves everything open."""
        if start == end:
            return _NOTHING
        if not self._clone.contains(end, start):
            return self._everything()
        with without_tokens():
            found = self.selector(self._clone.root, start, end)
        return Between(frozenset(found.cells), frozenset(found.tenants))

    def _everything(self) -> Between:
        fleet, _ = read_fleet(self._clone.root)
        return Between(frozenset(known_cells(self._clone.root, fleet)), frozenset(tenant.id for tenant in fleet.tenants))

    def cells(self) -> tuple[str, ...]:
        """All cells. Raises: SpecError when the merged files are wrong: nothing of them can be applied."""
        return known_cells(self._clone.root, load_fleet(self._clone.root))

    async def to_apply(self, run: Run) -> dict[str, str]:
        """The cells that `up` has to run on, noted in the record."""
        cells = self.cells()
        found = cells_to_apply(cells, await self._record.standings(cells), self.tip, self.between)
        await self._record.plan(self.tip, found, run.url)
        return found

    async def pending(self) -> frozenset[str]:
        """The tenants that are in a merged change which is not applied whole."""
        fleet, _ = read_fleet(self._clone.root)
        standings = await self._record.standings(known_cells(self._clone.root, fleet))
        return pending_tenants(standings, self.tip, {tenant.id: tenant.cell for tenant in fleet.tenants}, self.between)

    async def standing(self, cell: str) -> Standing:
        """How far one cell is; nowhere when nothing is known."""
        standings = await self._record.standings([cell])
        return Standing(cell, "") if standings is None else standings[cell]


async def hold_open_pulls(github: GitHub, clone: Clone, run: Run, merges: Merges, base: str, token: str) -> dict[int, str]:
    """Set `rowhouse/wait` at the head of every open pull request that was reviewed. Returns: number to state.

    One that was never reviewed gets its status with its review. One whose review fails keeps waiting: its own run says why.
    """
    pending = await merges.pending()
    found = {}
    for pull in await github.open_pulls(base):
        if not any(status.context == REVIEW for status in await github.statuses(pull.head.sha)):
            continue
        said = await _said(clone, run, merges, pull, pending, token)
        if said is not None:
            await set_status(github, pull.head.sha, WAIT, said, run.url)
            found[pull.number] = said[0]
    return found


async def _said(clone: Clone, run: Run, merges: Merges, pull: Pull, pending: frozenset[str], token: str) -> tuple[str, str] | None:
    """What a pull request's `rowhouse/wait` is to say; None when its branch moved, whose push has a run of its own."""
    if not pending or MENDS in pull.label_names:
        return wait_status(frozenset(), pending, pull.label_names)
    try:
        base = clone.head()
        merged = fetched(clone, run, pull.number, base, pull.head.sha, token)
        if not merged.commit:
            return wait_status(None, pending)
        with without_tokens():
            return wait_status(frozenset(merges.selector(clone.root, base, merged.commit).tenants), pending)
    except MovedError:
        return None
    except RowhouseError:
        return wait_status(None, pending)
