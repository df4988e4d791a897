"""Deleting before replacing: the object itself, and first everything that cannot survive without it.

Does: find the dependents that the change would replace too (their provider is asked with the changed inputs unknown), delete them in
reverse order, then the object. Does not: create anything again; the program's own registrations do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowhouse.engine import checkpoint, urns
from rowhouse.engine.errors import EngineError, ProviderError
from rowhouse.engine.paths import force_replacement
from rowhouse.wire.values import UNKNOWN

if TYPE_CHECKING:
    from rowhouse.engine.client import Diff
    from rowhouse.engine.planner import Planner
    from rowhouse.engine.run import Run
    from rowhouse.engine.state import State


class Replacements:
    """Deletions that a replacement needs beforehand."""

    def __init__(self, run: Run, planner: Planner) -> None:
        self._run = run
        self._planner = planner
        self._dependents: dict[str, list[str]] | None = None

    async def delete_first(self, old: State, diff: Diff) -> bool:
        """Delete `old`, and before it what is replaced with it. False when something is protected or a deletion failed."""
        run, planner = self._run, self._planner
        affected = await self._affected(old)
        protected = [state for state in affected if state.protect and not run.options.ignore_protect]
        for state in protected:
            run.fail(
                old.urn,
                f"'{urns.name_of(state.urn)}' is protected and would have to be deleted to replace '{urns.name_of(old.urn)}' "
                f"because of {', '.join(diff.replaces)}; take away its `protect` option first if this is meant",
            )
        if protected:
            return False
        doomed = [*reversed(affected), *([] if old.pending_replacement else [old])]
        going = {state.urn for state in doomed}
        for state in doomed:
            if state.urn != old.urn and state.urn in planner.removed_early:
                continue
            if not await self._delete(state, going):
                return False
            if state.urn != old.urn:
                planner.removed_early.add(state.urn)
        return True

    async def _delete(self, state: State, going: set[str]) -> bool:
        run = self._run
        error = ""
        async with run.turn("delete-replaced", state.urn):
            call = state.custom and not state.external and not state.retain_on_delete and state.deleted_with not in going
            if call and not run.dry_run and not urns.is_provider(state.type):
                await run.begin("deleting", state)
                try:
                    client = await run.providers.client(state.provider)
                    await client.delete(state)
                except EngineError as failed:
                    error = str(failed)
                    await run.commit(end=[state.urn], keep=isinstance(failed, ProviderError) and failed.uncertain)
            if not error:
                state.pending_replacement = not run.dry_run
                await run.commit(put=[(state.urn, state)], end=[state.urn])
        run.report("delete-replaced", state, old=state, error=error or None)
        if error:
            run.fail(state.urn, error)
        return not error

    async def _affected(self, root: State) -> list[State]:
        """Dependents of `root` that are replaced with it, in dependency order."""
        run, planner = self._run, self._planner
        reach, queue = {root.urn}, [root.urn]
        dependents = self._dependents_of()
        while queue:
            for urn in dependents.get(queue.pop(), ()):
                # What was registered in this run before the root cannot stand on it any more.
                if urn not in reach and urn not in planner.seen:
                    reach.add(urn)
                    queue.append(urn)
        affected: list[State] = []
        gone = {root.urn}
        for state in checkpoint.ordered(run.olds[urn] for urn in reach if urn in run.olds):
            if state.urn != root.urn and await self._is_replaced(state, gone):
                affected.append(state)
                gone.add(state.urn)
        return affected

    def _dependents_of(self) -> dict[str, list[str]]:
        if self._dependents is None:
            self._dependents = {}
            for state in self._run.olds.values():
                for urn in set(state.needs()):
                    self._dependents.setdefault(urn, []).append(state.urn)
        return self._dependents

    async def _is_replaced(self, state: State, gone: set[str]) -> bool:
        if not state.custom or state.external or urns.is_provider(state.type):
            return False
        if state.provider.rpartition("::")[0] in gone or state.deleted_with in gone:
            return True
        touched = {key for key, needs in state.property_dependencies.items() if gone.intersection(needs)} & state.inputs.keys()
        if not touched:
            return False
        client = await self._run.providers.client(state.provider)
        news = {key: UNKNOWN if key in touched else value for key, value in state.inputs.items()}
        diff = await client.diff(state, news, state.ignore_changes)
        return bool(force_replacement(diff, state.replace_on_changes, init_errors=False).replaces)
