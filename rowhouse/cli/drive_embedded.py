"""The embedded engine behind the command's verbs."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rowhouse import engine
from rowhouse.cli.policy_pack import pack_for
from rowhouse.cli.progress import Teller
from rowhouse.cli.surroundings import EnvironmentProblemError, StackBusyError
from rowhouse.engine.locks import StackLock
from rowhouse.engine.plugins import find
from rowhouse.engine.store import folder_of
from rowhouse.review.changes import Outcome
from rowhouse.review.outcomes import outcome_of

__all__ = ["EmbeddedDriver"]

Review = Callable[[Outcome], bool | Awaitable[bool]]


class EmbeddedDriver:
    """Runs the program of one project and stack."""

    name = "embedded"

    def __init__(self, root: Path, stack: str, env: dict[str, str], nursery: engine.Nursery | None = None) -> None:
        """Drive `stack` of the project at `root` with the given environment for program and plugins."""
        self.project = engine.load_project(root)
        self.stack, self.env, self.nursery = stack, env, nursery

    def _options(self, **more: Any) -> engine.Options:
        return engine.Options(env=self.env, nursery=self.nursery, **more)

    def _judged(self, **more: Any) -> engine.Options:
        """Options of a run that the project's policies judge."""
        return self._options(policies=pack_for(self.project.root, self.stack, self.project.name), **more)

    async def preview(self, teller: Teller, *, refresh: bool = False) -> Outcome:
        """What `up` would do."""
        with _worded():
            return outcome_of(await engine.preview(self.project, self.stack, self._judged(refresh=refresh), teller.on_engine_event))

    async def up(
        self, teller: Teller, review: Review | None = None, *, refresh: bool = False, held: Mapping[str, str] | None = None
    ) -> Outcome:
        """Apply; `review` is shown the preview first and may decline. `held`: URNs that stay as they are, with their children, to why."""
        asked = (lambda plan: review(outcome_of(plan))) if review else None
        options = self._judged(review=asked, refresh=refresh, held=dict(held or {}))
        with _worded():
            return outcome_of(await engine.up(self.project, self.stack, options, teller.on_engine_event))

    async def refresh(self, teller: Teller) -> Outcome:
        """Read every object again and correct the state."""
        with _worded():
            return outcome_of(await engine.refresh(self.project, self.stack, self._options(), teller.on_engine_event))

    async def destroy(self, teller: Teller, review: Review | None = None, *, delete_data: bool = False) -> Outcome:
        """Delete everything; `delete_data` lifts the protection."""
        asked = (lambda plan: review(outcome_of(plan))) if review else None
        options = self._options(review=asked, ignore_protect=delete_data)
        with _worded():
            return outcome_of(await engine.destroy(self.project, self.stack, options, teller.on_engine_event))

    async def export(self) -> dict[str, Any]:
        """The state as Pulumi's `stack export` prints it."""
        with _worded():
            return engine.export_stack(self.project, self.stack)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other run from changing the stack meanwhile. Raises: StackBusyError, naming who changes it."""
        with contextlib.ExitStack() as stack:
            try:
                with _worded():
                    stack.enter_context(StackLock(folder_of(self.project, self.stack) / "lock"))
            except EnvironmentProblemError as error:
                if isinstance(error.__cause__, engine.Locked):
                    raise StackBusyError(str(error)) from error
                raise
            yield

    async def settled(self, _teller: Teller) -> dict[str, Any]:
        """The state of now; whoever holds the lock knows that nobody changes it."""
        return await self.export()

    @property
    def adopts(self) -> bool:
        """Whether its own Cloudflare provider takes over what an interrupted run left; a published plugin wins over it and does not."""
        return find("cloudflare", "", self.project, self.env) is None


@contextlib.contextmanager
def _worded() -> Iterator[None]:
    """The engine's refusals (locked, wrong passphrase, broken state) are sentences for a person: shown as such, not as a traceback."""
    try:
        yield
    except engine.EngineError as error:
        raise EnvironmentProblemError(str(error)) from error
