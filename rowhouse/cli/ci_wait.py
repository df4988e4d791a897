"""Which tenants wait, computed from the record with the base's code, and told to every open pull request.

Does: join the record of what is applied with the files and the clone's history. Does not: keep anything of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Final

from rowhouse.cli.ci_cells import known_cells
from rowhouse.cli.ci_comment import MENDS, REVIEW, UNKNOWN, WAIT, set_status, wait_status
from rowhouse.cli.ci_event import Run
from rowhouse.cli.ci_git import Clone, MovedError
from rowhouse.cli.ci_record import Between, Record, Standing, cells_to_apply, pending_tenants
from rowhouse.cli.ci_review import Selector, fetched, without_tokens
from rowhouse.cli.ci_select import BrokenOffError
from rowhouse.cli.ci_told import say
from rowhouse.errors import RowhouseError
from rowhouse.spec.load import load_fleet, read_fleet
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import CommitStatus, Pull
from rowhouse.vendors.http import VendorError

__all__ = ["LEFT", "LOOKING_S", "Held", "Merges", "hold_open_pulls"]

LOOKING_S: Final = 600.0
"""The job has thirty minutes. One look is bounded by itself (git's time, the selection's), and begins before these are over."""
LEFT: Final = ("pending", "there was no time yet to look whether a tenant of this change waits; the next run looks at it first")

_LAST: Final = 2
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


@dataclass(slots=True)
class Held:
    """What was said at open pull requests."""

    states: dict[int, str] = field(default_factory=dict)
    """Number to the state that `rowhouse/wait` has now."""
    broken: dict[int, str] = field(default_factory=dict)
    """Number to how looking at it failed; no text of a change is in it."""
    left: list[int] = field(default_factory=list)
    """Those for which there was no time; the next run looks at them first."""


async def hold_open_pulls(
    github: GitHub,
    clone: Clone,
    run: Run,
    merges: Merges,
    base: str,
    token: str,
    *,
    seconds: float = LOOKING_S,
    clock: Callable[[], float] = time.monotonic,
) -> Held:
    """Set `rowhouse/wait` at the head of every open pull request that was reviewed.

    One that was never reviewed gets its status with its review. One whose review fails keeps waiting: its own run says why. Whatever one
    does, the others are looked at; for those that are left when the time is over it cannot be said, so they wait.

    Args: seconds: after which no further one is looked at. clock: any that only goes forward.
    """
    pending = await merges.pending()
    until = clock() + seconds
    held = Held()
    said: tuple[str, str] | None
    turns = []
    for pull in await github.open_pulls(base):
        statuses = await github.statuses(pull.head.sha)
        if any(status.context == REVIEW for status in statuses):
            turns.append((_turn(run, pull, statuses), pull))
    for (turn, _), pull in sorted(turns, key=itemgetter(0)):
        try:
            if pending and clock() >= until:
                held.left.append(pull.number)
                said = None if turn == _LAST else LEFT  # it waits as it is, and stays behind the others
            else:
                said = _said(clone, run, merges, pull, pending, token)
            if said is not None:
                await set_status(github, pull.head.sha, WAIT, said, run.url)
                held.states[pull.number] = said[0]
        except Exception as error:  # noqa: BLE001 - it is told, here and by the command
            held.broken[pull.number] = error.kind if isinstance(error, BrokenOffError) else type(error).__name__
            if isinstance(error, RowhouseError):
                say(f"pull request {pull.number}: {error}")
            held.states[pull.number] = "error"
            with suppress(VendorError):
                await set_status(github, pull.head.sha, WAIT, _broken(held.broken[pull.number]), run.url)
    return held


def _turn(run: Run, pull: Pull, statuses: Sequence[CommitStatus]) -> tuple[int, bytes]:
    """When a pull request is looked at: first those for which there was no time the last time, last those that could not be looked at.

    Between equals it is another order in each run, which nobody who opens pull requests can choose.
    """
    last = next((status for status in statuses if status.context == WAIT), None)
    told = "" if last is None else last.description or ""
    turn = 0 if told == LEFT[1] else _LAST if last is not None and (last.state == "error" or told == UNKNOWN) else 1
    return turn, hashlib.sha256(f"{run.run_id}/{pull.number}".encode()).digest()


def _broken(kind: str) -> tuple[str, str]:
    return "error", f"whether a tenant of this change waits could not be computed ({kind}); the run's log names it"


def _said(clone: Clone, run: Run, merges: Merges, pull: Pull, pending: frozenset[str], token: str) -> tuple[str, str] | None:
    """What a pull request's `rowhouse/wait` is to say; None when its branch moved, whose push has a run of its own.

    Raises: BrokenOffError, and whatever nobody thought of.
    """
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
    except BrokenOffError:
        raise
    except RowhouseError:
        return wait_status(None, pending)
