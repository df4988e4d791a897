"""Deletes what is no longer wanted, dependents first, in parallel.

Does: what the program no longer registers, what was replaced, or everything (destroy). Does not: touch protected resources, anything that
something remaining stands on, or, after a failure, anything whose absence may be a consequence of that failure.

A resource that vanishes with another (`deleted_with`) gets no call of its own, and leaves the state only when that other one is really
gone: a deletion that is refused or fails loses nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rowhouse.engine import urns
from rowhouse.engine.errors import EngineError, ProviderError
from rowhouse.engine.report import Op

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowhouse.engine.planner import Planner
    from rowhouse.engine.run import Run
    from rowhouse.engine.state import State


class Removal:
    """The deletions of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._doomed: dict[str, State] = {}
        """By key of the store."""
        self._followers: dict[str, list[str]] = {}
        """Keys that vanish with a key."""
        self._awaits: dict[str, set[str]] = {}
        """Keys that must be gone before a key may go."""
        self._frees: dict[str, set[str]] = {}

    async def after_program(self, planner: Planner) -> None:
        """Delete what the program did not register, and what it replaced."""
        run = self._run
        for key, state in run.store.resources.items():
            known = state.urn in planner.seen or state.urn in planner.taken
            foreseen = run.dry_run and state.urn in planner.removed_early  # reported already
            if state.delete or not (known or foreseen):
                self._doomed[key] = state
        self._spare_protected()
        for key, state in list(self._doomed.items()):
            if not state.delete and not run.was_reviewed(state.urn):
                del self._doomed[key]
        if run.failed:
            self._spare_consequences()
        self._spare_needed()
        await self._work()

    async def everything(self) -> None:
        """Delete the whole stack. Nothing is deleted when something is protected."""
        run = self._run
        self._doomed = dict(run.store.resources)
        self._spare_protected()
        if run.failed:
            return
        await self._work()

    # -- sparing ------------------------------------------------------------------------------------------------------------------------

    def _spare_protected(self) -> None:
        run = self._run
        if run.options.ignore_protect:
            return
        for key, state in list(self._doomed.items()):
            if state.protect and not state.delete:
                del self._doomed[key]
                run.fail(
                    state.urn,
                    f"'{urns.name_of(state.urn)}' ({state.type}) is protected and cannot be deleted; "
                    "take away its `protect` option in a change of its own first if this is meant",
                )

    def _spare_needed(self) -> None:
        """Keep everything that something remaining stands on, however indirectly."""
        run = self._run
        doomed_urns: dict[str, list[str]] = {}
        for key, state in self._doomed.items():
            doomed_urns.setdefault(state.urn, []).append(key)
        queue = [state for key, state in run.store.resources.items() if key not in self._doomed and self._counts(state)]
        while queue:
            state = queue.pop()
            # What was registered in this run stands on the successor of what was replaced.
            current = state.urn in run.news and not state.delete and state.urn not in run.failed
            for urn in state.needs():
                for key in doomed_urns.get(urn, ()):
                    if key not in self._doomed or (current and self._doomed[key].delete):
                        continue
                    kept = self._doomed.pop(key)
                    run.say("info", f"kept: {urns.name_of(state.urn)} stands on it and remains", kept.urn)
                    queue.append(kept)

    def _counts(self, state: State) -> bool:
        # In a preview the store still holds the resources as they were; what the program registered anew stands on new things.
        return not self._run.dry_run or state.urn not in self._run.news

    def _spare_consequences(self) -> None:
        run = self._run
        broken = {self._top(urn) for urn in run.failed}
        for key, state in list(self._doomed.items()):
            top = self._top(state.urn)
            whole = run.news.get(top) or run.olds.get(top)
            is_component = whole is not None and not whole.custom and top != run.stack_urn
            if state.delete and top not in broken:
                continue
            if not is_component or top in broken:
                del self._doomed[key]
                run.say("warning", "kept for now: something failed in this run, and its absence may come from that", state.urn)

    def _top(self, urn: str) -> str:
        """The outermost resource below the stack that a resource belongs to."""
        run = self._run
        while True:
            state = run.news.get(urn) or run.olds.get(urn)
            if state is None or not state.parent or state.parent == run.stack_urn:
                return urn
            urn = state.parent

    # -- working ------------------------------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        by_urn: dict[str, list[str]] = {}
        for key, state in self._doomed.items():
            by_urn.setdefault(state.urn, []).append(key)
        for key in self._doomed:
            self._awaits[key], self._frees[key] = set(), set()
        for key, state in self._doomed.items():
            for urn in state.needs():
                for below in by_urn.get(urn, ()):
                    if self._doomed[below].urn != state.urn:
                        self._awaits[below].add(key)
                        self._frees[key].add(below)
            if state.deleted_with:
                for target in by_urn.get(state.deleted_with, ()):
                    with_it = self._doomed[target]
                    if with_it.delete == state.delete and not with_it.retain_on_delete and not with_it.external:
                        self._followers.setdefault(target, []).append(key)
                        break

    async def _work(self) -> None:
        self._plan()
        following = {key for keys in self._followers.values() for key in keys}
        open_keys = dict.fromkeys(self._doomed)
        # Whoever ends says so here: waiting on a set of thousands of tasks would cost as much at each end as all of them.
        ended: asyncio.Queue[tuple[str, bool | Exception]] = asyncio.Queue()

        async def one(key: str) -> None:
            try:
                ended.put_nowait((key, await self._one(key, follows=key in following)))
            except Exception as error:  # noqa: BLE001  # raised again below, where it ends the run
                ended.put_nowait((key, error))

        ready = [key for key in open_keys if not self._awaits[key]]
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            while open_keys or tasks:
                if not ready and not tasks:
                    ready = [next(iter(open_keys))]  # a circle over a replaced resource and its successor: any order is right
                for key in ready:
                    if key in open_keys:
                        del open_keys[key]
                        tasks[key] = asyncio.create_task(one(key))
                if not tasks:
                    ready = []
                    continue
                key, worked = await ended.get()
                del tasks[key]
                if isinstance(worked, Exception):
                    raise worked
                ready = self._free(key) if worked else []
                if not worked:
                    self._give_up(key, open_keys)
        finally:
            for task in tasks.values():
                task.cancel()

    def _free(self, key: str) -> list[str]:
        freed = []
        for below in self._frees[key]:
            self._awaits[below].discard(key)
            if not self._awaits[below]:
                freed.append(below)
        return freed

    def _give_up(self, key: str, open_keys: dict[str, None]) -> None:
        """Leave alone what a resource that could not be deleted stands on."""
        run = self._run
        queue = [key]
        while queue:
            key = queue.pop()
            above = self._doomed[key]
            for below in sorted(self._frees[key]):
                if below in open_keys:
                    del open_keys[below]
                    state = self._doomed[below]
                    why = f"kept: {urns.name_of(above.urn)} stands on it and could not be deleted"
                    if state.custom and not urns.is_provider(state.type):
                        run.fail(state.urn, why, skipped=True)
                    queue.append(below)

    async def _one(self, key: str, *, follows: bool) -> bool:
        """Delete one resource; whether it worked."""
        run, state = self._run, self._doomed[key]
        op: Op = "delete-replaced" if state.delete else "delete"
        if state.pending_replacement:
            op = "remove-pending-replace"
        reason = "retained" if state.retain_on_delete else f"goes with {urns.name_of(state.deleted_with)}" if follows else ""
        call = (
            state.custom
            and not (state.external or state.retain_on_delete or follows or state.pending_replacement)
            and not urns.is_provider(state.type)
        )
        error = ""
        if call and not run.dry_run:
            async with run.turn(op, state.urn):
                await run.begin("deleting", state)
                try:
                    client = await run.providers.client(state.provider)
                    await client.delete(state)
                except EngineError as failed:
                    error = str(failed)
                    await run.commit(end=[state.urn], keep=isinstance(failed, ProviderError) and failed.uncertain)
                else:
                    await self._gone(key, begun=True)
        elif not follows:
            await self._gone(key, begun=False)
        run.report(op, state, old=state, reasons=(reason,) if reason else (), error=error or None)
        if error:
            run.fail(state.urn, error)
        return not error

    async def _gone(self, key: str, *, begun: bool) -> None:
        """Take a resource, and all that vanished with it, out of the state; `begun`: its own deletion was recorded as begun."""
        keys = list(self._with_followers(key))
        # A replaced resource shares its URN with its successor: what is pending there ends only if it was this deletion.
        ends = [self._doomed[each].urn for each in keys if not self._doomed[each].delete or (begun and each == key)]
        await self._run.commit(drop=keys, end=ends)

    def _with_followers(self, key: str) -> Iterable[str]:
        yield key
        for follower in self._followers.get(key, ()):
            yield from self._with_followers(follower)
