"""One run over one stack: what all its parts share.

Does: the state, the providers, what was registered and what failed, the bound on parallel work, and reports. Does not: decide; see
`planner` (registrations), `removal` (deletions), `refresh`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rowhouse.engine import urns
from rowhouse.engine.report import Diagnostic, Failure, Op, Progress, Result, StepEnded, StepReport, StepStarted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from rowhouse.engine.client import Diff
    from rowhouse.engine.config import Config
    from rowhouse.engine.options import Options
    from rowhouse.engine.project import Project
    from rowhouse.engine.providers import Providers
    from rowhouse.engine.report import OnEvent, Severity
    from rowhouse.engine.state import State
    from rowhouse.engine.store import StackStore


class Run:
    """A preview, an update, a refresh or a destruction."""

    providers: Providers

    def __init__(
        self, project: Project, stack: str, options: Options, store: StackStore, config: Config, on_event: OnEvent, *, dry_run: bool
    ) -> None:
        self.project = project
        self.stack = stack
        self.options = options
        self.store = store
        self.config = config
        self.dry_run = dry_run
        self.result = Result(dry_run=dry_run)
        self.olds: dict[str, State] = {urn: state for urn, state in store.resources.items() if not state.delete}
        """The state as it was, by URN."""
        self.news: dict[str, State] = {}
        """What the program registered and what became of it."""
        self.wanted: dict[str, State] = {}
        """What the program registered, whatever became of it."""
        self.failed: dict[str, str] = {}
        """URNs that failed or were skipped, with the reason."""
        self.parents: dict[str, str] = {}
        """URN to the URN of its parent, of all that the program registered."""
        self.stack_urn = urns.stack_urn(stack, project.name)
        self.started = time.monotonic()
        self.reviewed: frozenset[str] | None = None
        """URNs whose deletion or replacement a reviewer saw; None: there was no review."""
        self._emit = on_event
        self._turns = asyncio.Semaphore(max(1, options.parallel))
        self._done = 0
        self._working = 0
        self._told = 0.0

    # -- telling ------------------------------------------------------------------------------------------------------------------------

    def say(self, severity: Severity, message: str, urn: str = "") -> None:
        """Tell the user something."""
        self._emit(Diagnostic(severity, message, urn))

    def fail(self, urn: str, message: str, *, skipped: bool = False) -> None:
        """Note that a resource, or with an empty URN the run, failed."""
        if urn:
            self.failed[urn] = message
        old = self.olds.get(urn)
        self.result.failures.append(Failure(urn, message, skipped, self.parents.get(urn) or (old.parent if old else "")))
        self.say("info" if skipped else "error", message, urn)

    def report(
        self,
        op: Op,
        state: State,
        *,
        old: State | None = None,
        new: State | None = None,
        diff: Diff | None = None,
        reasons: Iterable[str] = (),
        error: str | None = None,
    ) -> None:
        """Report one step as over."""
        detailed, replaces = (diff.detailed, diff.replaces) if diff is not None else ({}, [])
        step = StepReport(op, state.urn, state.type, detailed, tuple(replaces), tuple(reasons), old, new)
        if error is None and not (urns.is_provider(state.type) and urns.name_of(state.urn).startswith("default")):
            self.result.steps.append(step)
        self._done += 1
        self._emit(StepEnded(step, error))
        self._progress()

    def _progress(self) -> None:
        moment = time.monotonic()
        if moment - self._told >= 0.05:  # a terminal shows no more
            self._told = moment
            self._emit(Progress(self._done, self._working, max(len(self.olds), len(self.news))))

    @asynccontextmanager
    async def turn(self, op: Op, urn: str) -> AsyncIterator[None]:
        """One of the parallel places in which a provider works."""
        async with self._turns:
            self._working += 1
            self._emit(StepStarted(op, urn))
            self._progress()
            try:
                yield
            finally:
                self._working -= 1

    def was_reviewed(self, urn: str) -> bool:
        """Whether destroying this object was shown to the reviewer, if there was one; fails the resource if not."""
        if self.reviewed is None or self.dry_run or urn in self.reviewed:
            return True
        self.fail(urn, "left alone: deleting or replacing it was not in the reviewed preview; preview again")
        return False

    # -- recording ----------------------------------------------------------------------------------------------------------------------

    async def begin(self, kind: str, state: State) -> None:
        """Record that an operation begins; nothing in a preview."""
        if not self.dry_run:
            await self.store.begin(kind, state)

    async def commit(
        self, *, put: Iterable[tuple[str, State]] = (), drop: Iterable[str] = (), end: Iterable[str] = (), keep: bool = False
    ) -> None:
        """Record an outcome; nothing in a preview."""
        if not self.dry_run:
            await self.store.commit(put=put, drop=drop, end=end, keep=keep)
