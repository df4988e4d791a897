"""The embedded engine behind the command's verbs."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from rowhouse import engine
from rowhouse.cli.policy_pack import pack_for, violation_of
from rowhouse.cli.progress import Teller
from rowhouse.cli.surroundings import EnvironmentProblemError, StackBusyError
from rowhouse.engine.locks import StackLock
from rowhouse.engine.plugins import find
from rowhouse.engine.store import folder_of
from rowhouse.review.changes import CHANGING, Change, Failed, Outcome, difference

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

    async def up(self, teller: Teller, review: Review | None = None, *, refresh: bool = False) -> Outcome:
        """Apply; `review` is shown the preview first and may decline."""
        asked = (lambda plan: review(outcome_of(plan))) if review else None
        options = self._judged(review=asked, refresh=refresh)
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


def outcome_of(result: engine.Result) -> Outcome:
    """The engine's result in the command's own shape."""
    outcome = Outcome(outputs=dict(result.outputs), seconds=result.duration_s, declined=result.declined)
    outcome.violations = [violation_of(told) for told in result.violations]
    for step in result.steps:
        old, new = step.old or {}, step.new or {}
        outcome.parents[step.urn] = str((new or old).get("parent") or "")
        if step.op not in CHANGING:
            outcome.unchanged += step.op == "same"
            continue
        kinds = {path: str(entry.get("kind", "update")) for path, entry in step.detailed_diff.items()}
        diff = difference(step.detailed_diff or step.reasons, kinds, old.get("inputs", {}), new.get("inputs", {})) if old and new else ()
        outcome.changes.append(Change(step.op, step.urn, step.type, outcome.parents[step.urn], diff))
    for failure in result.failures:
        if failure.urn:
            outcome.parents.setdefault(failure.urn, failure.parent)
        outcome.failures.append(Failed(failure.urn, failure.message, failure.skipped))
    return outcome
