"""Decides what a registration means: same, create, update, replace, import, read.

Does: find the resource in the state (by URN or alias), have its inputs checked, compare, choose. A resource that stands on one that failed
is skipped, never made with a value that does not exist. Does not: delete what the program no longer registers (see `removal`).
The rules are Pulumi's (3.260, 2026-11), with one stricter: nothing is created from unknown values outside a preview.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rowhouse.engine import policies, urns
from rowhouse.engine.client import Diff
from rowhouse.engine.errors import EngineError, ProviderError
from rowhouse.engine.paths import fill_unknown, force_replacement, keep_old
from rowhouse.engine.properties import UNKNOWN_TEXT, bare, same
from rowhouse.engine.providers import new_provider_id, reference
from rowhouse.engine.replacement import Replacements
from rowhouse.engine.state import State
from rowhouse.engine.steps import Outcome, Steps
from rowhouse.wire.values import has_unknown

if TYPE_CHECKING:
    from rowhouse.engine.client import ProviderClient
    from rowhouse.engine.goals import Goal
    from rowhouse.engine.run import Run


class Planner:
    """Takes the registrations of one program run."""

    def __init__(self, run: Run, steps: Steps) -> None:
        self._run = run
        self._steps = steps
        self._replacements = Replacements(run, self)
        self.seen: set[str] = set()
        """URNs the program registered."""
        self.taken: dict[str, str] = {}
        """URNs of the state that are now called something else, to their new name."""
        self._was: dict[str, str] = {}
        self.removed_early: set[str] = set()
        """URNs deleted because something they stand on is deleted before it is replaced."""
        self.replaced: set[str] = set()

    # -- entrances ----------------------------------------------------------------------------------------------------------------------

    async def register(self, goal: Goal) -> Outcome:
        """Take one resource from wish to state."""
        run = self._run
        parent = self._parent(goal)
        urn = urns.make(run.stack, run.project.name, parent, goal.type, goal.name)
        if urn in self.seen:
            run.fail("", f"Duplicate resource URN '{urn}'; try giving it a unique name")
            return Outcome(urn, None)
        self.seen.add(urn)
        run.parents[urn] = parent
        if urn in run.options.held:
            run.fail(urn, run.options.held[urn])
            return Outcome(urn, None)
        old = self._old(urn, goal, parent)
        if urn in self._was and old is not None:
            await run.commit(put=[(urn, old)], drop=[self._was[urn]])
        new = run.wanted[urn] = self._wanted(urn, goal, parent, old)
        if self._blocked(urn, goal):
            return Outcome(urn, None)
        try:
            if urns.is_provider(goal.type):
                return await self._provider(goal, old, new)
            if goal.custom:
                return await self._custom(goal, old, new)
        except EngineError as error:
            run.fail(urn, str(error))
            return Outcome(urn, None)
        return await self._component(old, new)

    async def read(self, goal: Goal) -> Outcome:
        """Take one `.get()` from wish to state."""
        run = self._run
        parent = self._parent(goal)
        urn = urns.make(run.stack, run.project.name, parent, goal.type, goal.name)
        if urn in self.seen:
            run.fail("", f"Duplicate resource URN '{urn}'; try giving it a unique name")
            return Outcome(urn, None)
        self.seen.add(urn)
        run.parents[urn] = parent
        old = self._old(urn, goal, parent)
        if self._blocked(urn, goal):
            return Outcome(urn, None)
        new = self._wanted(urn, goal, parent, old).copy(external=True, import_id="")
        object_id = goal.import_id
        try:
            if object_id == UNKNOWN_TEXT:  # only in a preview: the object is not there yet
                new.id = ""
                run.news[urn] = new
                run.report("read", new, old=old, new=new)
                return Outcome(urn, new)
            new.provider, client = await self._client(goal)
            return await self._steps.read(new, object_id, client, old)
        except EngineError as error:
            run.fail(urn, str(error))
            return Outcome(urn, None)

    # -- finding ------------------------------------------------------------------------------------------------------------------------

    def _parent(self, goal: Goal) -> str:
        if goal.parent or goal.type == urns.STACK_TYPE or (urns.is_provider(goal.type) and goal.name.startswith("default")):
            return goal.parent
        return self._run.stack_urn

    def _old(self, urn: str, goal: Goal, parent: str) -> State | None:
        run = self._run
        known = urns.alias_urns(run.stack, run.project.name, parent, goal.type, goal.name, goal.aliases, self._was)
        for candidate in (urn, *known):
            old = run.olds.get(candidate)
            if old is None or candidate in self.taken:
                continue
            if candidate != urn:
                if candidate in self.seen:
                    continue
                self.taken[candidate] = urn
                self._was[urn] = candidate
                return old.copy(urn=urn)
            return old
        return None

    def _blocked(self, urn: str, goal: Goal) -> bool:
        run = self._run
        cause = next((need for need in sorted(goal.needs()) if need in run.failed), None)
        if cause is not None:
            run.fail(urn, f"skipped: it depends on {urns.name_of(cause)} ({urns.type_of(cause)}), which failed in this run", skipped=True)
            return True
        if run.failed and not run.options.continue_on_error:
            run.fail(urn, "skipped: another resource failed before it", skipped=True)
            return True
        lost = sorted(key for key, value in goal.inputs.items() if not run.dry_run and has_unknown(value))
        if lost:
            names = ", ".join(f"'{key}'" for key in lost)
            run.fail(urn, f"skipped: {names} has no value, because what it comes from failed in this run", skipped=True)
            return True
        return False

    def _wanted(self, urn: str, goal: Goal, parent: str, old: State | None) -> State:
        other = {key: value for key, value in old.other.items() if key not in {"stackTrace", "resourceHooks"}} if old else {}
        return State(
            urn=urn,
            type=goal.type,
            custom=goal.custom,
            inputs=goal.inputs,
            parent=parent,
            provider=goal.provider,
            dependencies=goal.dependencies,
            property_dependencies=goal.property_dependencies,
            protect=goal.protect,
            additional_secret_outputs=goal.additional_secret_outputs,
            custom_timeouts=goal.custom_timeouts,
            import_id=goal.import_id,
            retain_on_delete=goal.retain_on_delete,
            deleted_with=goal.deleted_with,
            source_position=goal.source_position,
            ignore_changes=goal.ignore_changes,
            hide_diff=goal.hide_diff,
            replace_on_changes=goal.replace_on_changes,
            other=other,
        )

    async def _client(self, goal: Goal) -> tuple[str, ProviderClient]:
        providers = self._run.providers
        ref = goal.provider or await providers.default(urns.package_of(goal.type), goal.version)
        return ref, await providers.client(ref)

    # -- components and providers -------------------------------------------------------------------------------------------------------

    async def _component(self, old: State | None, new: State) -> Outcome:
        if old is None:
            return await self._steps.settle(new, op="create")
        new.outputs = old.outputs
        if same(old.inputs, new.inputs):
            return await self._steps.same(old, new)
        return await self._steps.settle(new, op="update", old=old)

    async def _provider(self, goal: Goal, old: State | None, new: State) -> Outcome:
        run = self._run
        package = urns.package_of(goal.type)
        version = goal.version or str(bare(goal.inputs.get("version", "")))
        plugin = await run.providers.start(package, version)
        client = plugin.client
        new.inputs = await client.check_config(new.urn, old.inputs if old else {}, goal.inputs)
        new.outputs = {key: value for key, value in new.inputs.items() if key != "__internal"}
        diff = Diff(changed=False)
        if old is not None and not same(old.inputs, new.inputs):
            diff = await client.diff_config(new.urn, old, new.inputs)
            if diff.changed is None:
                diff.changed = True
        if old is None or diff.replaces:
            new.id = new_provider_id(dry_run=run.dry_run)
            await client.configure(new.urn, new.id, new.inputs)
            run.providers.ready(reference(new), plugin)
            if old is None:
                return await self._steps.settle(new, op="create")
            await run.commit(put=[(run.store.spare_key(old.urn), old.copy(delete=True))])
            self.replaced.add(new.urn)
            return await self._steps.settle(new, op="replace", old=old)
        new.id = old.id
        await client.configure(new.urn, new.id, new.inputs if diff.changed else old.inputs)
        run.providers.ready(reference(new), plugin)
        if diff.changed:
            return await self._steps.settle(new, op="update", old=old)
        new.inputs = old.inputs
        return await self._steps.same(old, new)

    # -- custom resources ---------------------------------------------------------------------------------------------------------------

    async def _custom(self, goal: Goal, old: State | None, new: State) -> Outcome:
        run, urn = self._run, new.urn
        new.provider, client = await self._client(goal)
        pending = run.store.pending.get(urn)
        if old is not None and pending is not None and pending.kind == "deleting" and await self._is_gone(old, client):
            old = None
        external = old is not None and old.external
        if goal.import_id and (old is None or external or goal.import_id != (old.import_id or old.id)):
            imported = await self._steps.import_(new, client, None if external else old)
            if imported is None:
                return Outcome(urn, None)
            old, external = imported, False
            new = new.copy()
        recreating = urn in self.removed_early
        wanted = keep_old(goal.inputs, old.inputs, goal.ignore_changes) if old is not None else goal.inputs
        known = {} if old is None or recreating or external else old.inputs
        if not await self._checked(new, client, known, wanted) or not policies.permits(run, new):
            return Outcome(urn, None)
        if old is None:
            return await self._steps.create(new, client)
        if recreating or external:
            return await self._replacement(old, new, client, Diff(changed=True, replaces=[]))
        if run.options.offline:
            new.inputs = _as_it_was(new, old, self.replaced)
        diff = await self._diff(goal, old, new, client)
        forced = "an interrupted update is repeated" if pending is not None and pending.kind == "updating" else ""
        if (diff.replaces and diff.changed is not False) or old.pending_replacement:
            return await self._replace(goal, old, new, client, diff)
        if diff.changed or old.init_errors or forced:
            reason = forced or ("initialization is taken up again" if old.init_errors and not diff.changed else "")
            return await self._steps.update(old, new, client, diff, reason)
        return await self._steps.same(old, new)

    async def _is_gone(self, old: State, client: ProviderClient) -> bool:
        """Whether an interrupted deletion had its effect; if so, the resource leaves the state."""
        run = self._run
        if run.dry_run or await client.read(old, old.id, old.inputs, old.outputs) is not None:
            return False
        run.say("info", "its interrupted deletion had taken effect; it is created again", old.urn)
        await run.commit(drop=[old.urn], end=[old.urn])
        return True

    async def _checked(self, new: State, client: ProviderClient, olds: dict[str, Any], news: dict[str, Any]) -> bool:
        new.inputs, failures = await client.check(new.urn, new.type, urns.name_of(new.urn), olds, news, os.urandom(32))
        if failures:
            texts = [f"{name}: {reason}" if name else reason for name, reason in failures]
            self._run.fail(new.urn, f"{new.type} '{urns.name_of(new.urn)}' has a problem: " + "; ".join(texts))
        return not failures

    async def _diff(self, goal: Goal, old: State, new: State, client: ProviderClient) -> Diff:
        if goal.deleted_with in self.replaced:
            return Diff(changed=True, replaces=["deletedWith"])
        if await self._provider_changed(old, new, client):
            return Diff(changed=True, replaces=["provider"])
        diff = await client.diff(old, new.inputs, goal.ignore_changes)
        if diff.changed is None:
            before, after = bare(old.inputs), bare(keep_old(new.inputs, old.inputs, goal.ignore_changes))
            diff.keys = sorted(key for key in {*before, *after} if not same(before.get(key), after.get(key)))
            diff.changed = bool(diff.keys)
            diff.detailed = {key: {"kind": _kind(key, before, after), "inputDiff": True} for key in diff.keys}
        return force_replacement(diff, goal.replace_on_changes, init_errors=bool(old.init_errors))

    async def _provider_changed(self, old: State, new: State, client: ProviderClient) -> bool:
        if old.provider == new.provider:
            return False
        if not old.provider or not new.provider:
            return True
        old_urn, new_urn = old.provider.rpartition("::")[0], new.provider.rpartition("::")[0]
        if self.taken.get(old_urn) == new_urn:
            return False
        before, after = self._run.olds.get(old_urn), self._run.news.get(new_urn)
        if before is None or after is None or same(before.inputs, after.inputs):
            return False
        return bool((await client.diff_config(new_urn, before, after.inputs)).replaces)

    # -- replacement --------------------------------------------------------------------------------------------------------------------

    async def _replace(self, goal: Goal, old: State, new: State, client: ProviderClient, diff: Diff) -> Outcome:
        run, urn = self._run, new.urn
        if new.protect and old.protect and not run.options.ignore_protect:
            run.fail(
                urn,
                f"'{urns.name_of(urn)}' ({new.type}) is protected and cannot be replaced because of {', '.join(diff.replaces)}; "
                "take away its `protect` option first if this is meant",
            )
            return Outcome(urn, None)
        if not run.was_reviewed(urn):
            return Outcome(urn, None)
        if goal.import_id and not run.dry_run:
            raise ProviderError("a resource that still has an import id may not be replaced; remove `import_` from the program first")
        # A new object gets fresh defaults: none are carried over from the old one.
        if not await self._checked(new, client, {}, goal.inputs):
            return Outcome(urn, None)
        first = goal.delete_before_replace if goal.delete_before_replace is not None else diff.delete_before_replace
        if first:
            if not await self._replacements.delete_first(old, diff):
                return Outcome(urn, None)
            self.removed_early.add(urn)
        return await self._replacement(old, new, client, diff)

    async def _replacement(self, old: State, new: State, client: ProviderClient, diff: Diff) -> Outcome:
        run = self._run
        gone = old.pending_replacement or new.urn in self.removed_early
        self.removed_early.discard(new.urn)
        self.replaced.add(new.urn)
        replaced = old.copy(pending_replacement=True) if gone or old.external else old
        outcome = await self._steps.create(new, client, replaced=replaced, op="create-replacement", diff=diff)
        if outcome.state is not None:
            run.report("replace", new, old=old, new=new, diff=diff, reasons=diff.keys)
            if run.dry_run and not gone and not old.external:
                run.report("delete-replaced", old, old=old)
        return outcome


def _as_it_was(new: State, old: State, replaced: set[str]) -> dict[str, Any]:
    """The inputs, where what is not known yet and comes from where it came from before, from an object that stays, is what it was."""
    before, after = old.property_dependencies, new.property_dependencies
    alike = {key for key in new.inputs if after.get(key, []) == before.get(key, []) and replaced.isdisjoint(after.get(key, []))}
    return {key: fill_unknown(value, old.inputs[key]) if key in alike & old.inputs.keys() else value for key, value in new.inputs.items()}


def _kind(key: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    return "add" if key not in before else "delete" if key not in after else "update"
