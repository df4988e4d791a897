"""The verbs: preview, up, refresh, destroy, import, and the state's export and import.

Does: load, lock, start what a run needs, end all of it however the run ends. Does not: decide; see `planner`, `removal`, `refresh`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rowhouse.engine import config, launcher, policies, recovery, urns
from rowhouse.engine.errors import ProviderError
from rowhouse.engine.goals import Goal
from rowhouse.engine.locks import StackLock
from rowhouse.engine.monitor import Monitor, listen
from rowhouse.engine.options import Options
from rowhouse.engine.planner import Planner
from rowhouse.engine.properties import settled
from rowhouse.engine.providers import Providers, Where
from rowhouse.engine.refresh import Refresh
from rowhouse.engine.removal import Removal
from rowhouse.engine.report import Progress
from rowhouse.engine.run import Run
from rowhouse.engine.state import State
from rowhouse.engine.steps import Steps
from rowhouse.engine.store import StackStore, folder_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import grpc

    from rowhouse.engine.project import Project
    from rowhouse.engine.report import Event, OnEvent, Result

FORESEEN = "[known when applied]"
"""Stands in a foreseen resource for an input that only an object could tell."""
_GRACE_S = 10.0
"""How long running calls may take to stop after an interruption."""


def silent(_event: Event) -> None:
    """Ignore all events."""


class Session:
    """A run with everything it needs started."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps = Steps(run)
        self.planner = Planner(run, self.steps)
        self.monitor = Monitor(run, self.planner, self.steps)
        self.address = ""
        self._server: grpc.aio.Server | None = None
        where = Where(run.project, run.stack, run.config, run.options.env)
        run.providers = Providers(where, self._register_provider, lambda urn: run.olds.get(urn) or run.store.live(urn))

    async def _register_provider(self, goal: Goal) -> State:
        outcome = await self.planner.register(goal)
        if outcome.state is None:
            raise ProviderError(self.run.failed.get(outcome.urn, f"the provider {outcome.urn} failed"))
        return outcome.state

    async def open(self) -> None:
        """Listen for programs and plugins."""
        run = self.run
        self._server, self.address = await listen(self.monitor)
        run.providers.engine_address = self.address
        used = [
            (urns.package_of(state.type), str(state.inputs.get("version", "")))
            for state in run.olds.values()
            if urns.is_provider(state.type)
        ]
        for package, version in used or [(name, "") for name in run.project.plugins]:
            run.providers.warm(package, version)

    async def close(self) -> None:
        """Wait for what was begun, then end plugins and the server."""
        await self.run.providers.stop()
        if self._server is not None:
            await self._server.stop(0.2)

    async def program(self) -> bool:
        """Run the program to its end; whether it ended well."""
        run = self.run
        program = await launcher.start(run, self.address)
        try:
            code = await program.wait()
        except BaseException:
            program.kill()
            await run.providers.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE_S):
                    await self.monitor.quiet()
            raise
        await self.monitor.quiet()
        if code:
            why = self.monitor.last_error.strip().splitlines()
            run.fail("", f"the program ended with exit code {code}" + (f": {why[-1]}" if why else ""))
        return code == 0


async def _session(
    project: Project, stack: str, options: Options, on_event: OnEvent, work: Callable[[Session], Awaitable[None]], *, dry_run: bool
) -> Result:
    """Load, lock, work, save. The state is saved however the work ends."""
    folder = folder_of(project, stack)
    with nullcontext() if dry_run else StackLock(folder / "lock", options.command):
        stack_file = config.read_stack_file(project, stack)
        store = await asyncio.to_thread(StackStore.load, project, stack, options.env, stack_file.salt)
        # A stack file has a salt of its own, which need not be the state's.
        keys = store.secrets if stack_file.salt in {None, store.known_salt} else StackStore.manager(project, options.env, stack_file.salt)
        values = await asyncio.to_thread(config.resolve, project, stack_file, keys)
        if values.secret_keys or store.pending:
            store.secrets.prepare()
        return await _carried(Run(project, stack, options, store, values, on_event, dry_run=dry_run), work)


async def _carried(run: Run, work: Callable[[Session], Awaitable[None]]) -> Result:
    """Start what a run needs, work, end all of it."""
    started, cpu = time.monotonic(), time.process_time()
    if not run.dry_run:
        run.store.open_journal()
    session = Session(run)
    async with AsyncExitStack() as ends:
        if not run.dry_run:
            ends.push_async_callback(run.store.close)
        ends.push_async_callback(session.close)
        await session.open()
        recovery.announce(run)
        await work(session)
    run.result.journal_bytes = run.store.journal_bytes
    run.result.duration_s = time.monotonic() - started
    run.result.engine_cpu_s = time.process_time() - cpu
    return run.result


async def _program_work(session: Session) -> None:
    run = session.run
    if run.options.refresh:
        await Refresh(run).everything()
    if await session.program():
        await recovery.adopt_orphans(run, session.steps, session.planner.seen)
        await Removal(run).after_program(session.planner)
        policies.judge_stack(run)
    await session.monitor.finish_stack()
    _follow_renames(session)


def _follow_renames(session: Session) -> None:
    """Resources that were not registered may still name others by an old URN."""
    taken = session.planner.taken
    if taken and not session.run.dry_run:
        for state in session.run.store.resources.values():
            if taken.keys() & set(state.needs()):
                state.rename(taken)


async def preview(project: Project, stack: str, options: Options | None = None, on_event: OnEvent = silent) -> Result:
    """What `up` would do. Writes nothing and takes no lock. Raises: EngineError."""
    return await _session(project, stack, options or Options(), on_event, _program_work, dry_run=True)


async def foresee(
    project: Project, stack: str, options: Options, before: Iterable[State] = (), on_event: OnEvent = silent
) -> tuple[Result, list[State]]:
    """What `up` would do to a stack that is as `before` says, asking nobody; and the stack as it would be then.

    What only an object could tell (its id, an address) is unknown in the states; they serve as `before` of another call. Neither the
    stack's own state nor a vendor is read. Raises: EngineError.
    """
    options = replace(options, offline=True)
    values = config.resolve(project, config.read_stack_file(project, stack), None)
    store = StackStore.in_memory(folder_of(project, stack), before)
    run = Run(project, stack, options, store, values, on_event, dry_run=True)
    result = await _carried(run, _program_work)
    return result, [_foreseen(state) for state in run.news.values()]


def _foreseen(state: State) -> State:
    """A resource as if it had been made: inputs that were not known are something, the same whenever it is asked; outputs stay unknown."""
    return state.copy(inputs=settled(state.inputs, FORESEEN))


async def up(project: Project, stack: str, options: Options | None = None, on_event: OnEvent = silent) -> Result:
    """Make the stack as the program says. With `options.review` a preview comes first, and nothing is destroyed that it did not show.

    With `options.policies` a preview comes first too, and nothing is applied when a mandatory one is broken or not all could be judged.

    Failures of single resources are in the result; only what keeps the whole run from working is raised. Raises: EngineError, Locked.
    """
    options = options or Options()
    if options.policies is not None and options.review is None:
        plan = await preview(project, stack, options, lambda event: on_event(event) if isinstance(event, Progress) else None)
        if not policies.stands(plan):
            plan.declined = True
            return plan
    reviewed, declined = await _reviewed(options, lambda: preview(project, stack, options, on_event))
    if declined is not None:
        return declined

    async def work(session: Session) -> None:
        session.run.reviewed = reviewed
        await _program_work(session)

    return await _session(project, stack, options, on_event, work, dry_run=False)


async def destroy(
    project: Project, stack: str, options: Options | None = None, on_event: OnEvent = silent, *, dry_run: bool = False
) -> Result:
    """Delete everything in the stack, dependents first; the program does not run. Protected resources keep all of it from being deleted,
    unless `options.ignore_protect`. Raises: EngineError, Locked.
    """
    options = options or Options()

    async def work(session: Session) -> None:
        run = session.run
        if run.options.refresh:
            await Refresh(run).everything()
        await recovery.adopt_orphans(run, session.steps, ())
        await Removal(run).everything()

    if not dry_run:
        _, declined = await _reviewed(options, lambda: _session(project, stack, options, on_event, work, dry_run=True))
        if declined is not None:
            return declined
    return await _session(project, stack, options, on_event, work, dry_run=dry_run)


async def _reviewed(options: Options, foresee: Callable[[], Awaitable[Result]]) -> tuple[frozenset[str] | None, Result | None]:
    """The destructions that a reviewer accepted, or the preview when he declined."""
    if options.review is None:
        return None, None
    plan = await foresee()
    if options.policies is not None and not policies.stands(plan):
        plan.declined = True
        return None, plan
    answer = options.review(plan)
    if inspect.isawaitable(answer):
        answer = await answer
    if not answer:
        plan.declined = True
        return None, plan
    return frozenset(step.urn for step in plan.steps if step.op in {"delete", "replace", "delete-replaced"}), None


async def refresh(
    project: Project, stack: str, options: Options | None = None, on_event: OnEvent = silent, *, dry_run: bool = False
) -> Result:
    """Look at every object and record what is there. A step without `new` is gone, one with the reason `drifted` differs.

    Raises: EngineError, Locked.
    """

    async def work(session: Session) -> None:
        await Refresh(session.run).everything()

    return await _session(project, stack, options or Options(), on_event, work, dry_run=dry_run)


async def import_(
    project: Project,
    stack: str,
    type: str,  # noqa: A002  # the contract's name
    name: str,
    id: str,  # noqa: A002
    options: Options | None = None,
    on_event: OnEvent = silent,
    *,
    parent: str = "",
    provider: str = "",
    version: str = "",
    protect: bool = True,
) -> Result:
    """Take over one existing object into the state; the program does not run. Protected unless said otherwise, as Pulumi does.

    Args: parent: URN; the stack when empty. provider: reference `<urn>::<id>` of a provider in the state; the package's default when empty.
    """

    async def work(session: Session) -> None:
        run = session.run
        if run.stack_urn not in run.olds:
            await session.planner.register(Goal(urns.STACK_TYPE, urns.name_of(run.stack_urn), custom=False, parent="", inputs={}))
        ref = provider or await run.providers.default(urns.package_of(type), version)
        above = parent or run.stack_urn
        urn = urns.make(stack, project.name, above, type, name)
        if urn in run.store.resources:
            run.fail(urn, f"'{name}' ({type}) is in the state already; remove it there first or choose another name")
            return
        new = State(urn, type, custom=True, parent=above, provider=ref, protect=protect, import_id=id)
        imported = await session.steps.import_(new, await run.providers.client(ref), None)
        if imported is not None:
            # The import id is a wish of the program, which says nothing here.
            await run.commit(put=[(urn, replace(imported, import_id=""))])

    return await _session(project, stack, options or Options(), on_event, work, dry_run=False)


def export_stack(project: Project, stack: str, options: Options | None = None) -> dict[str, Any]:
    """The document of `pulumi stack export`; secrets stay encrypted. Raises: StateError."""
    options = options or Options()
    return StackStore.load(project, stack, options.env).export()


def import_stack(project: Project, stack: str, document: dict[str, Any], options: Options | None = None) -> None:
    """Replace the stack's state by a document of `pulumi stack export`, made with the same passphrase. Raises: StateError, Locked."""
    options = options or Options()
    with StackLock(folder_of(project, stack) / "lock", options.command):
        StackStore.load(project, stack, options.env).replace_with(document)


def stack_outputs(project: Project, stack: str, options: Options | None = None) -> dict[str, Any]:
    """The outputs of the last run; secrets as `Secret`. Raises: StateError."""
    options = options or Options()
    state = StackStore.load(project, stack, options.env).live(urns.stack_urn(stack, project.name))
    return dict(state.outputs) if state else {}
