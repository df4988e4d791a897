"""Looks at every object in the state and records what is really there.

Does: Read all in parallel, drop what is gone, take over what drifted, report the difference; in a preview all that in memory alone, so that
what follows foretells the right things. Does not: change an object.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from rowhouse.engine import urns
from rowhouse.engine.client import Diff
from rowhouse.engine.errors import EngineError
from rowhouse.engine.properties import bare, same
from rowhouse.engine.state import now
from rowhouse.engine.steps import mark_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowhouse.engine.run import Run
    from rowhouse.engine.state import State

_INVERSE = {"add": "delete", "delete": "add", "update": "update"}


class Refresh:
    """The refresh of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._gone: set[str] = set()

    async def everything(self) -> None:
        """Refresh all resources of the state."""
        run = self._run
        await asyncio.gather(*(self._one(key, state) for key, state in list(run.store.resources.items())))
        if self._gone:
            await self._forget()
        for state in [state for key, state in run.store.resources.items() if not state.delete]:
            run.olds[state.urn] = state
        for urn in self._gone:
            run.olds.pop(urn, None)

    async def _one(self, key: str, state: State) -> None:
        run = self._run
        if not state.custom or urns.is_provider(state.type) or state.pending_replacement:
            return
        try:
            async with run.turn("refresh", state.urn):
                client = await run.providers.client(state.provider)
                found = await client.read(state, state.id, state.inputs, state.outputs)
                if found is None:
                    await self._record(drop=[key], end=[] if state.delete else [state.urn])
                    if not state.delete:
                        self._gone.add(state.urn)
                    run.report("refresh", state, old=state, reasons=("gone",))
                    return
                fresh = state.copy(id=found.id, outputs=found.outputs, init_errors=found.init_errors)
                fresh.inputs = state.inputs if found.inputs is None else found.inputs
                mark_secrets(fresh)
                if found.init_errors:
                    run.say("warning", "in an unhealthy state: " + "; ".join(found.init_errors), state.urn)
                drifted = not same(fresh.inputs, state.inputs) or not same(fresh.outputs, state.outputs)
                detailed: dict[str, dict[str, Any]] = {}
                if drifted and not state.external:
                    detailed = _inverted(await client.diff(fresh, state.inputs, state.ignore_changes), fresh, state)
                if drifted or fresh.init_errors != state.init_errors or fresh.id != state.id:
                    fresh.modified = now()
                    await self._record(put=[(key, fresh)])
        except EngineError as error:
            run.report("refresh", state, error=str(error))
            run.fail(state.urn, str(error))
            return
        reasons = ("drifted", *sorted(detailed)) if drifted else ()
        run.report("refresh", state, old=state, new=fresh, diff=Diff(changed=drifted, detailed=detailed), reasons=reasons)

    async def _forget(self) -> None:
        """Nothing may refer to what is no longer there."""
        run = self._run
        changed = []
        for key, state in run.store.resources.items():
            if self._gone.intersection(state.needs()):
                fresh = state.copy()
                fresh.forget(self._gone)
                fresh.parent = fresh.parent or run.stack_urn
                changed.append((key, fresh))
        await self._record(put=changed)

    async def _record(self, *, put: Iterable[tuple[str, State]] = (), drop: Iterable[str] = (), end: Iterable[str] = ()) -> None:
        run = self._run
        if not run.dry_run:
            await run.commit(put=put, drop=drop, end=end)
            return
        # A preview's store is a copy that nobody saves.
        for key in drop:
            run.store.resources.pop(key, None)
        run.store.resources.update(put)


def _inverted(diff: Diff, fresh: State, state: State) -> dict[str, dict[str, Any]]:
    """What happened outside, from a diff that says what would put it right."""
    detailed: dict[str, dict[str, Any]] = {}
    if diff.changed is None or (diff.changed and not diff.detailed):
        before, after = bare(state.inputs), bare(fresh.inputs)
        for key in sorted({*before, *after}):
            if not same(before.get(key), after.get(key)):
                kind = "add" if key not in before else "delete" if key not in after else "update"
                detailed[key] = {"kind": kind, "inputDiff": True}
        return detailed
    for path, item in diff.detailed.items():
        base, dash, rest = str(item["kind"]).partition("-")
        detailed[path] = {"kind": _INVERSE[base] + dash + rest, "inputDiff": item["inputDiff"]}
    return detailed
