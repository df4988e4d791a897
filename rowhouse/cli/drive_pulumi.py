"""The Pulumi CLI behind the command's verbs: the same questions, its own engine and its own state.

It is told to keep off the network where it would only look for updates; where its state lives is Pulumi's own
configuration (`pulumi login`, PULUMI_BACKEND_URL). What a killed run left is put right before the next one applies: a
lock whose holder is certainly gone is released (`pulumi_locks`), files that it left half written are removed
(`pulumi_sidecars`), and creations that never ended are taken out of the state, because ours look for their own earlier
attempt and Cloudflare's are swept (`sweep`). A stack that does not exist is an empty state to all that only looks; it
is made when something is applied.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any

import yaml

from rowhouse.cli.policy_pack import FOLDER, has_pack, rules_of, violation_from, violations_in
from rowhouse.cli.progress import Teller
from rowhouse.cli.pulumi_blank import blank_stack
from rowhouse.cli.pulumi_command import Ended, run_pulumi
from rowhouse.cli.pulumi_locks import lock_problem
from rowhouse.cli.pulumi_sidecars import folder_of, mend_sidecars
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.review.changes import CHANGING, Change, Failed, Outcome, difference

__all__ = ["PulumiDriver"]

Review = Callable[[Outcome], bool | Awaitable[bool]]
_KINDS = {"add", "delete", "update"}
_STACK_TYPE = "pulumi:pulumi:Stack"
# Pulumi's wire signature of a special value, and of a secret among them (reference: sdk/go/common/resource/sig).
_SIGNATURE, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
_CONSEQUENCE = "failed in this run"  # as our plugin words an input that never came to be
_ABSENT = "no stack named"  # CLI 3.260, whatever the backend
_TORN = "EOF"  # what it says of a file that ends too early; such a run has not begun
_SUMS = frozenset({"error: preview failed", "preview failed", "failed", "update failed", "error: update failed"})
"""What the CLI says of a whole run that did not work."""
_COLOUR = re.compile(r"<\{%.*?%\}>")


class PulumiDriver:
    """Runs `pulumi` for one project and stack."""

    name = "pulumi"
    adopts = False
    """The published Cloudflare plugin does not look for what an interrupted run left."""

    def __init__(self, root: Path, stack: str, env: dict[str, str]) -> None:
        """Drive `stack` of the project at `root`."""
        self.root, self.stack = root, stack
        self.env = {"PULUMI_SKIP_UPDATE_CHECK": "true", **env}
        self._exists: bool | None = None
        """Whether the stack does; None before the first look."""
        self._parents: dict[str, str] = {}
        """Of the resources in the state: a preview tells only of what would change."""
        self._cut_short = False
        """Whether the last run ended before it had come to all resources."""

    async def preview(self, teller: Teller, *, refresh: bool = False) -> Outcome:
        """What `up` would do."""
        if await self._is_there():
            return await self._planned_around_failures(teller, "preview", "--json", *self._pack(), *(["--refresh"] if refresh else []))
        project = str(yaml.safe_load((self.root / "Pulumi.yaml").read_text(encoding="utf-8"))["name"])
        async with blank_stack(self.root, project, self.stack, self.env) as (env, arguments):
            return await self._planned_around_failures(teller, "preview", "--json", *self._pack(), *arguments, env=env)

    async def up(
        self, teller: Teller, review: Review | None = None, *, refresh: bool = False, held: Mapping[str, str] | None = None
    ) -> Outcome:
        """Apply; `review` is shown the preview first and may decline. What breaks a mandatory policy of the project is never applied.

        Therefore a project with policies is previewed without a review too: the CLI judges a whole stack only after it has applied it.
        `held`: URNs that stay as they are, with their children, to why.
        """
        if review is not None or has_pack(self.root):
            planned = await self.preview(teller, refresh=refresh)
            # What is refused of one tenant keeps nobody from asking about the others.
            unfit = any(_is_of_run(failure) for failure in planned.failures)
            if unfit or planned.refused or not (review is None or await _agreed(review, planned)):
                planned.declined = planned.refused or not unfit
                return planned
        if (await self.export())["deployment"].get("pending_operations"):
            await self.settled(teller)
        await self._make_stack()
        refreshing = ["--refresh"] if refresh else []
        outcome = await self._up_around_failures(teller, "up", "--continue-on-error", *self._pack(), *refreshing, *self._around(held))
        outcome.failures += [Failed(urn, why) for urn, why in (held or {}).items()]
        return outcome

    def _pack(self) -> list[str]:
        """The CLI's words for being judged by the project's policies, where it has some."""
        return ["--policy-pack", FOLDER] if has_pack(self.root) else []

    def _around(self, held: Mapping[str, str] | None) -> list[str]:
        """The CLI's words for leaving held resources as they are, and all that was made under them."""
        if not held:
            return []
        kept = set(held)
        for urn in self._parents:
            above = urn
            while above and above not in held:
                above = self._parents.get(above, "")
            if above:
                kept.add(urn)
        return _without(kept)

    async def _up_around_failures(self, teller: Teller, *args: str) -> Outcome:
        """Apply; where the CLI stops for one bad resource, go on without it and what depends on it.

        `--continue-on-error` covers failing operations alone: a refused property ends the whole run, and what depends on a failed resource
        has such properties, because its inputs never came to be (CLI 3.260). One tenant's failure must not stop another's change.
        """
        outcome = await self._events(teller, *args)
        excluded: set[str] = set()
        while self._cut_short and (bad := {failure.urn for failure in outcome.failures if failure.urn} - excluded):
            excluded |= bad
            rest = await self._events(teller, *args, *_without(excluded))
            outcome.changes += rest.changes
            outcome.parents |= rest.parents
            outcome.seconds += rest.seconds
            outcome.violations += rest.violations
            outcome.failures = _worded([*outcome.failures, *rest.failures])
        return outcome

    async def _planned_around_failures(self, teller: Teller, *args: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Preview; where the CLI stops for one refused property, look again without it and what depends on it."""
        outcome = await self._planned(teller, *args, env=env)
        excluded: set[str] = set()
        while bad := {failure.urn for failure in outcome.failures if not _is_of_run(failure)} - excluded:
            excluded |= bad
            rest = await self._planned(teller, *args, *_without(excluded), env=env)
            rest.failures = _worded([*outcome.failures, *rest.failures])
            rest.seconds += outcome.seconds
            rest.violations += outcome.violations
            outcome = rest
        return outcome

    async def refresh(self, teller: Teller) -> Outcome:
        """Read every object again and correct the state."""
        return await self._events(teller, "refresh") if await self._is_there() else Outcome()

    async def destroy(self, teller: Teller, review: Review | None = None, *, delete_data: bool = False) -> Outcome:
        """Delete everything; `delete_data` lifts the protection.

        For a stack with nothing protected in it (`guards.refuse_protected`), or with `delete_data`: the CLI, told to continue on errors,
        takes the rest away around what is protected.
        """
        state = await self.export()
        if not self._exists:
            return Outcome()
        self._refuse_unfinished(state)
        protection = ["--ignore-protect"] if delete_data else []
        if review is not None:
            planned = await self._planned(teller, "destroy", "--preview-only", "--json", *protection)
            if planned.failures or not await _agreed(review, planned):
                planned.declined = not planned.failures
                return planned
        return await self._events(teller, "destroy", "--continue-on-error", *protection)

    async def export(self) -> dict[str, Any]:
        """The state as `stack export` prints it, secrets encrypted; empty where there is no stack.

        Raises: EnvironmentProblemError.
        """
        ended = await self._run("stack", "export")
        self._exists = ended.code == 0 or _ABSENT not in ended.error
        if not self._exists:
            return {"version": 3, "deployment": {}}
        try:
            document: dict[str, Any] = json.loads(ended.out)
        except ValueError:
            raise EnvironmentProblemError(f"pulumi stack export: {ended.error or 'printed no state'}") from None
        resources = document["deployment"].get("resources") or []
        self._parents = {str(found["urn"]): str(found.get("parent") or "") for found in resources}
        return document

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: the CLI takes its lock in each command and lends it to nobody. `settled` proves that no other run is under way."""
        return contextlib.nullcontext()

    async def settled(self, teller: Teller) -> dict[str, Any]:
        """The state while nobody changes it, without the unfinished creations of a killed run.

        Refreshing the stack itself reads no object; it takes the lock, which proves that no other run is under way.
        Raises: EnvironmentProblemError when the stack is locked.
        """
        state = await self.export()
        if not self._exists:
            return state
        resources = state["deployment"].get("resources") or []
        target = next((["--target", str(found["urn"])] for found in resources if found["type"] == _STACK_TYPE), [])
        outcome = await self._events(teller, "refresh", "--clear-pending-creates", *target)
        if outcome.failures:
            raise EnvironmentProblemError("; ".join(failure.message for failure in outcome.failures))
        return await self.export()

    def _refuse_unfinished(self, state: dict[str, Any]) -> None:
        pending = state["deployment"].get("pending_operations") or []
        ours = [item["resource"] for item in pending if item["type"] == "creating" and item["resource"]["type"].startswith("rowhouse:")]
        if ours:
            names = ", ".join(sorted(str(resource["urn"]).rsplit("::", 1)[-1] for resource in ours))
            raise EnvironmentProblemError(
                f"stack {self.stack}: an earlier run was killed while creating {names}, so what exists of them is not in the state "
                "and would be left over. Run `rowhouse up` first: it finds them again. Then destroy."
            )

    async def _is_there(self) -> bool:
        if self._exists is None:
            await self.export()
        return bool(self._exists)

    async def _make_stack(self) -> None:
        if not await self._is_there():
            ended = await run_pulumi(self.root, self.env, "stack", "select", self.stack, "--create")
            if ended.code:
                raise EnvironmentProblemError(f"pulumi stack select {self.stack}: {ended.error}")
            self._exists = True

    async def _run(self, *args: str, on_line: Callable[[bytes], None] | None = None, env: Mapping[str, str] | None = None) -> Ended:
        own = self.env if env is None else env
        ended = await run_pulumi(self.root, own, *args, "--stack", self.stack, on_line=on_line)
        if ended.code and _TORN in ended.error and await self._mended(own):
            ended = await run_pulumi(self.root, own, *args, "--stack", self.stack, on_line=on_line)
        return ended

    async def _mended(self, env: Mapping[str, str]) -> bool:
        """Whether a state in a local folder had something half written beside it, which is now away."""
        told = await run_pulumi(self.root, env, "whoami", "--json")
        try:
            folder = folder_of(str(json.loads(told.out)["url"]))
        except (ValueError, KeyError, TypeError):
            return False
        return folder is not None and mend_sidecars(folder) > 0

    async def _released(self, ended: Ended, teller: Teller) -> bool:
        """Whether the run failed for a stale lock that is now released."""
        problem = lock_problem(self.stack, ended.error)
        if problem is None or not problem.stale:
            return False
        released = await self._run("cancel", "--yes")
        if released.code == 0:
            for holder in problem.holders:
                teller.said("warning", f"released the lock that {holder} left on the stack {self.stack}: that process no longer exists")
        return released.code == 0

    async def _planned(self, teller: Teller, *args: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Run a preview, which prints one document."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rowhouse-events-") as name:
            # The document of a preview leaves out what policies say; the log of events, an option for debugging, has it (CLI 3.260).
            log = Path(name) / "events.jsonl"
            listening = {**(self.env if env is None else env), "PULUMI_DEBUG_COMMANDS": "true"}
            ended = await self._run(*args, "--event-log", str(log), env=listening)
            violations = violations_in(log, self.root)
        document: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            parsed = json.loads(ended.out)
            document = parsed if isinstance(parsed, dict) else {}
        outcome = Outcome(parents=dict(self._parents), seconds=time.monotonic() - began, violations=violations)
        for step in document.get("steps") or []:
            _add(outcome, step["op"], step["urn"], step.get("oldState"), step.get("newState"), step.get("detailedDiff"))
        outcome.unchanged = int((document.get("changeSummary") or {}).get("same", 0))
        for diagnostic in document.get("diagnostics") or []:
            _diagnose(outcome, teller, diagnostic)
        if outcome.refused:  # then that the preview failed says no more
            outcome.failures = [failure for failure in outcome.failures if failure.message not in _SUMS]
        elif ended.code and not outcome.failures:
            outcome.failures.append(Failed("", ended.err.strip().removeprefix("error: ") if document else ended.error))
        outcome.failures = _worded(outcome.failures)
        return outcome

    async def _events(self, teller: Teller, *args: str) -> Outcome:
        """Run a command that changes something and tells events as JSON lines; once more when it stumbled over a stale lock."""
        began = time.monotonic()
        outcome, ended = await self._told(teller, *args)
        if ended.code and await self._released(ended, teller):
            outcome, ended = await self._told(teller, *args)
        if ended.interrupted:
            outcome.failures.append(Failed("", "interrupted; the steps under way were ended and recorded. Run it again to go on."))
        elif ended.code and not outcome.failures:
            problem = lock_problem(self.stack, ended.error)
            outcome.failures.append(Failed("", str(problem) if problem else f"pulumi {args[0]}: {ended.error}"))
        outcome.failures = _worded(outcome.failures)
        outcome.seconds = time.monotonic() - began
        return outcome

    async def _told(self, teller: Teller, *args: str) -> tuple[Outcome, Ended]:
        outcome = Outcome(parents=dict(self._parents))
        operated: set[str] = set()
        rules = {rule.id: rule for rule in rules_of(self.root)} if FOLDER in args else {}

        def hear(line: bytes) -> None:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    _hear(outcome, teller, event)
                    if "policyEvent" in event:
                        outcome.violations.append(violation_from(event["policyEvent"], rules))
                    if "resOpFailedEvent" in event:
                        operated.add(event["resOpFailedEvent"]["metadata"]["urn"])

        ended = await self._run(*args, "--yes", "--skip-preview", "--json", on_line=hear)
        # A failure without an operation is a refused property.
        self._cut_short = (
            any(f.urn and _STACK_TYPE not in f.urn and f.urn not in operated for f in outcome.failures) and not ended.interrupted
        )
        return outcome, ended


async def _agreed(review: Review, planned: Outcome) -> bool:
    answer = review(planned)
    return await answer if isawaitable(answer) else bool(answer)


def _without(excluded: set[str]) -> list[str]:
    """The CLI's words for leaving these resources and what depends on them as they are."""
    return [*(word for urn in sorted(excluded) for word in ("--exclude", urn)), "--exclude-dependents"]


def _is_of_run(failure: Failed) -> bool:
    """Whether a failure is of the run as a whole, not of one resource."""
    return not failure.urn or _STACK_TYPE in failure.urn


def _hear(outcome: Outcome, teller: Teller, event: dict[str, Any]) -> None:
    if "resOutputsEvent" in event:
        step = event["resOutputsEvent"]["metadata"]
        _add(outcome, step["op"], step["urn"], step.get("old"), step.get("new"), step.get("detailedDiff"))
        done = outcome.unchanged + len(outcome.changes)
        teller.progress(done, done, 0)
    elif "resOpFailedEvent" in event:
        outcome.failures.append(Failed(event["resOpFailedEvent"]["metadata"]["urn"], "failed"))
    elif "diagnosticEvent" in event:
        _diagnose(outcome, teller, event["diagnosticEvent"])


def _add(
    outcome: Outcome, op: str, urn: str, old: dict[str, Any] | None, new: dict[str, Any] | None, detailed: dict[str, Any] | None
) -> None:
    old, new = old or {}, new or {}
    type_ = str((new or old).get("type") or urn.split("::")[2].rsplit("$", 1)[-1])
    outcome.parents[urn] = str((new or old).get("parent") or "")
    if op not in CHANGING:
        outcome.unchanged += op == "same"
        return
    outcome.foresee(op, urn, _with_hidden_inputs(old), _with_hidden_inputs(new))
    kinds = {}
    for path, entry in (detailed or {}).items():
        kind = str(entry.get("kind", entry.get("diffKind", "update"))).removesuffix("-replace")
        kinds[path] = kind if kind in _KINDS else "update"
    diff = difference(kinds, kinds, _hidden(old.get("inputs") or {}), _hidden(new.get("inputs") or {})) if old and new else ()
    outcome.changes.append(Change(op, urn, type_, outcome.parents[urn], diff))


def _with_hidden_inputs(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "inputs": _hidden(state.get("inputs") or {})} if state else {}


def _hidden(value: Any) -> Any:
    """The value with each secret as `[secret]`, whatever the CLI put in its place."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return "[secret]"
        return {key: _hidden(item) for key, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


def _diagnose(outcome: Outcome, teller: Teller, diagnostic: dict[str, Any]) -> None:
    severity, message = diagnostic.get("severity", "info"), _COLOUR.sub("", str(diagnostic.get("message", ""))).strip()
    if severity == "error":
        outcome.failures.append(Failed(str(diagnostic.get("urn") or ""), message, skipped=_CONSEQUENCE in message))
    elif severity == "warning":
        teller.said(severity, message)


def _worded(failures: list[Failed]) -> list[Failed]:
    """One failure a resource, the one with words; the run's own `update failed` only when nothing else is said."""
    by_urn: dict[str, Failed] = {}
    for failure in failures:
        known = by_urn.get(failure.urn)
        if known is None or known.message in {"failed", "update failed"}:
            by_urn[failure.urn] = failure
    named = [failure for urn, failure in by_urn.items() if urn and _STACK_TYPE not in urn]
    return named or list(by_urn.values())
