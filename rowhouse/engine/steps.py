"""The steps that a plan is made of: each asks a provider, records before and after, and reports.

Does: create, update, same, import, read, and the deletion of one object. Does not: decide which; see `planner` and `removal`.
Transitions in the state: create puts the resource under its URN; a replacement moves the old one aside (`delete`) in the same entry; a
deletion before a replacement leaves the old one marked `pending_replacement` until the new one is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowhouse.engine.errors import EngineError, InitFailed, ProviderError
from rowhouse.engine.properties import Properties
from rowhouse.engine.state import now
from rowhouse.wire.values import Secret

if TYPE_CHECKING:
    from rowhouse.engine.client import Diff, ProviderClient
    from rowhouse.engine.report import Op
    from rowhouse.engine.run import Run
    from rowhouse.engine.state import State


@dataclass(frozen=True)
class Outcome:
    """What became of a registration; `state` is None when it failed."""

    urn: str
    state: State | None


def mark_secrets(state: State) -> None:
    """Mark as secret the outputs that the program lists, or whose input of the same name is one; replaces the map, which may be shared."""
    outputs = state.outputs
    named = [key for key in state.additional_secret_outputs if key in outputs]
    alike = [key for key, value in state.inputs.items() if isinstance(value, Secret) and key in outputs]
    wanted = [key for key in (*named, *alike) if not isinstance(outputs[key], Secret)]
    if wanted:
        state.outputs = {**outputs, **{key: Secret(outputs[key]) for key in wanted}}


class Steps:
    """Executes steps of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def create(
        self, new: State, client: ProviderClient, *, replaced: State | None = None, op: Op = "create", diff: Diff | None = None
    ) -> Outcome:
        """Create an object. `replaced` is the one that it stands in for and that is deleted at the end, unless it is deleted already."""
        run = self._run
        error: EngineError | None = None
        async with run.turn(op, new.urn):
            await run.begin("creating", new)
            try:
                new.id, new.outputs = await client.create(new, preview=run.dry_run)
            except InitFailed as failed:
                error = failed
                new.id, new.outputs, new.init_errors = failed.object_id, failed.outputs, failed.reasons
            except EngineError as failed:
                keep = not isinstance(failed, ProviderError) or failed.uncertain
                await run.commit(end=[new.urn], keep=keep)
                run.report(op, new, old=replaced, error=str(failed))
                run.fail(new.urn, str(failed))
                return Outcome(new.urn, None)
            mark_secrets(new)
            new.created = new.modified = now()
            put = [(new.urn, new)]
            if replaced is not None and not replaced.pending_replacement and not run.dry_run:
                put.append((run.store.spare_key(replaced.urn), replaced.copy(delete=True)))
            await run.commit(put=put, end=[new.urn])
        run.news[new.urn] = new
        if error is not None:
            run.report(op, new, old=replaced, new=new, error=str(error))
            run.fail(new.urn, _unready(error))
            return Outcome(new.urn, None)
        run.report(op, new, old=replaced, new=new, diff=diff, reasons=_reasons(diff))
        return Outcome(new.urn, new)

    async def update(self, old: State, new: State, client: ProviderClient, diff: Diff, reason: str = "") -> Outcome:
        """Change an object in place."""
        run = self._run
        error: InitFailed | None = None
        new.id, new.created = old.id, old.created
        async with run.turn("update", new.urn):
            await run.begin("updating", new)
            try:
                new.outputs = await client.update(old, new, preview=run.dry_run)
            except InitFailed as failed:
                error = failed
                # The old inputs stay, so that the difference is seen again and Update repeated.
                new.inputs, new.outputs, new.init_errors = old.inputs, failed.outputs, failed.reasons
            except EngineError as failed:
                keep = not isinstance(failed, ProviderError) or failed.uncertain
                await run.commit(end=[new.urn], keep=keep)
                run.report("update", new, old=old, error=str(failed))
                run.fail(new.urn, str(failed))
                return Outcome(new.urn, None)
            mark_secrets(new)
            new.modified = now()
            await run.commit(put=[(new.urn, new)], end=[new.urn])
        run.news[new.urn] = new
        if error is not None:
            run.report("update", new, old=old, new=new, error=str(error))
            run.fail(new.urn, _unready(error))
            return Outcome(new.urn, None)
        run.report("update", new, old=old, new=new, diff=diff, reasons=_reasons(diff, reason))
        return Outcome(new.urn, new)

    async def same(self, old: State, new: State) -> Outcome:
        """Nothing differs; what the program says around the object (its options, dependencies) is recorded when that changed."""
        run = self._run
        new.id, new.outputs, new.created, new.modified = old.id, old.outputs, old.created, old.modified
        new.source_position = old.source_position  # a shifted line is not a change worth a write
        mark_secrets(new)
        if new != old or new.urn in run.store.pending:
            await run.commit(put=[(new.urn, new)], end=[new.urn])
        run.news[new.urn] = new
        run.report("same", new, old=old, new=new)
        return Outcome(new.urn, new)

    async def settle(self, new: State, *, op: Op, old: State | None = None) -> Outcome:
        """Record a resource that no provider is asked about: a component, the stack, a provider."""
        run = self._run
        new.created = old.created if old else now()
        new.modified = now()
        await run.commit(put=[(new.urn, new)], end=[new.urn])
        run.news[new.urn] = new
        run.report(op, new, old=old, new=new)
        return Outcome(new.urn, new)

    async def import_(self, new: State, client: ProviderClient, replaced: State | None) -> State | None:
        """Take over an object by its id; None when that failed. The caller then compares it with what the program wants."""
        run = self._run
        op: Op = "import-replacement" if replaced is not None else "import"
        async with run.turn(op, new.urn):
            await run.begin("importing", new)
            problem = ""
            try:
                found = await client.read(new, new.import_id, {}, {})
                if found is None:
                    problem = f"resource '{new.import_id}' does not exist"
                elif found.inputs is None:
                    problem = f"the provider cannot import resources of the type {new.type}; please file the import with its maker"
            except EngineError as failed:
                found, problem = None, str(failed)
            if found is None or found.inputs is None:
                await run.commit(end=[new.urn])
                run.report(op, new, error=problem)
                run.fail(new.urn, problem)
                return None
            imported = new.copy(id=found.id, inputs=found.inputs, outputs=found.outputs, init_errors=found.init_errors, created=now())
            imported.modified = imported.created
            mark_secrets(imported)
            put = [(new.urn, imported)]
            if replaced is not None and not run.dry_run:
                put.append((run.store.spare_key(new.urn), replaced.copy(delete=True)))
            await run.commit(put=put, end=[new.urn])
        run.report(op, imported, old=replaced, new=imported)
        return imported

    async def read(self, new: State, object_id: str, client: ProviderClient, old: State | None) -> Outcome:
        """Look at an object that somebody else owns."""
        run = self._run
        replaces = old is not None and not old.external and old.id != object_id
        op: Op = "read-replacement" if replaces else "read"
        async with run.turn(op, new.urn):
            try:
                found = await client.read(new, object_id, new.inputs, new.inputs)
            except EngineError as failed:
                run.report(op, new, error=str(failed))
                run.fail(new.urn, str(failed))
                return Outcome(new.urn, None)
            if found is None:
                problem = f"resource '{object_id}' does not exist"
                run.report(op, new, error=problem)
                run.fail(new.urn, problem)
                return Outcome(new.urn, None)
            new.id, new.outputs, new.init_errors = found.id, found.outputs, found.init_errors
            mark_secrets(new)
            if old is not None:
                new.created, new.modified = old.created, old.modified
            if new != old:
                new.modified = now()
                put = [(new.urn, new)]
                if replaces and old is not None and not run.dry_run:
                    put.append((run.store.spare_key(new.urn), old.copy(delete=True)))
                await run.commit(put=put, end=[new.urn])
        run.news[new.urn] = new
        run.report(op, new, old=old, new=new)
        return Outcome(new.urn, new)

    async def set_outputs(self, state: State, outputs: Properties) -> None:
        """Record what a component or the stack says it offers."""
        state.outputs = outputs
        await self._run.commit(put=[(state.urn, state)])


def _reasons(diff: Diff | None, reason: str = "") -> tuple[str, ...]:
    keys = [] if diff is None else diff.keys or sorted({path.split(".", 1)[0].split("[", 1)[0] for path in diff.detailed})
    return (*keys, reason) if reason else tuple(keys)


def _unready(error: EngineError) -> str:
    reasons = error.reasons if isinstance(error, InitFailed) else [str(error)]
    return f"{len(reasons)} error occurred: {'; '.join(reasons)} (the object exists and is kept; the next run goes on from there)"
