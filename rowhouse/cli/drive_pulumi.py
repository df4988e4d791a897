"""The Pulumi CLI behind the command's verbs: the same questions, its own engine and its own state.

It is told to keep off the network where it would only look for updates; where its state lives is Pulumi's own
configuration (`pulumi login`, PULUMI_BACKEND_URL).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from rowhouse.cli.changes import CHANGING, Change, Failed, Outcome, difference
from rowhouse.cli.progress import Teller
from rowhouse.cli.surroundings import EnvironmentProblemError

__all__ = ["PulumiDriver"]

Review = Callable[[Outcome], bool]
_LINE_LIMIT = 64 * 1024 * 1024  # one event may carry a whole resource
_KINDS = {"add", "delete", "update"}


class PulumiDriver:
    """Runs `pulumi` for one project and stack."""

    name = "pulumi"

    def __init__(self, root: Path, stack: str, env: dict[str, str]) -> None:
        """Drive `stack` of the project at `root`."""
        self.root, self.stack = root, stack
        self.env = {"PULUMI_SKIP_UPDATE_CHECK": "true", **env}
        self._selected = False

    async def preview(self, teller: Teller, *, refresh: bool = False) -> Outcome:
        """What `up` would do."""
        began = time.monotonic()
        document, errors = await self._document("preview", "--json", *(["--refresh"] if refresh else []))
        outcome = Outcome(seconds=time.monotonic() - began)
        for step in document.get("steps") or []:
            _add(outcome, step["op"], step["urn"], step.get("oldState"), step.get("newState"), step.get("detailedDiff"))
        for diagnostic in document.get("diagnostics") or []:
            _diagnose(outcome, teller, diagnostic)
        if errors and not outcome.failures:
            outcome.failures.append(Failed("", errors))
        return outcome

    async def up(self, teller: Teller, review: Review | None = None, *, refresh: bool = False) -> Outcome:
        """Apply; `review` is shown the preview first and may decline."""
        if review is not None:
            planned = await self.preview(teller, refresh=refresh)
            if planned.failures or not review(planned):
                planned.declined = not planned.failures
                return planned
        return await self._events(teller, "up", "--continue-on-error", *(["--refresh"] if refresh else []))

    async def refresh(self, teller: Teller) -> Outcome:
        """Read every object again and correct the state."""
        return await self._events(teller, "refresh")

    async def destroy(self, teller: Teller, review: Review | None = None, *, delete_data: bool = False) -> Outcome:
        """Delete everything; `delete_data` lifts the protection."""
        if review is not None:
            document, errors = await self._document("destroy", "--preview-only", "--json")
            planned = Outcome()
            for step in document.get("steps") or []:
                _add(planned, step["op"], step["urn"], step.get("oldState"), step.get("newState"), None)
            if errors and not planned.changes:
                planned.failures.append(Failed("", errors))
            if planned.failures or not review(planned):
                planned.declined = not planned.failures
                return planned
        if delete_data:
            await self._document("state", "unprotect", "--all", "--yes")
        return await self._events(teller, "destroy", "--continue-on-error")

    async def export(self) -> dict[str, Any]:
        """The state as `stack export` prints it."""
        document, errors = await self._document("stack", "export")
        if errors:
            raise EnvironmentProblemError(f"pulumi stack export: {errors}")
        return document

    async def _select(self) -> None:
        if not self._selected:
            self._selected = True
            _, errors = await self._document("stack", "select", self.stack, "--create", stack=False)
            if errors:
                raise EnvironmentProblemError(f"pulumi stack select {self.stack}: {errors}")

    async def _document(self, *args: str, stack: bool = True) -> tuple[dict[str, Any], str]:
        """Run a command that prints one document; the error is empty when it ended well."""
        if stack:
            await self._select()
        process = await asyncio.create_subprocess_exec(
            "pulumi",
            *args,
            *(["--stack", self.stack] if stack else []),
            "--non-interactive",
            cwd=self.root,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        document: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            parsed = json.loads(out)
            document = parsed if isinstance(parsed, dict) else {}
        return document, "" if process.returncode == 0 else (
            err.decode().strip() or out.decode().strip() or f"exit code {process.returncode}"
        )

    async def _events(self, teller: Teller, *args: str) -> Outcome:
        """Run a command that tells events as JSON lines."""
        await self._select()
        began = time.monotonic()
        outcome = Outcome()
        async for event in self._lines(outcome, *args):
            if "resOutputsEvent" in event:
                step = event["resOutputsEvent"]["metadata"]
                _add(outcome, step["op"], step["urn"], step.get("old"), step.get("new"), step.get("detailedDiff"))
                teller.progress(len(outcome.parents), len(outcome.parents), 0)
            elif "resOpFailedEvent" in event:
                outcome.failures.append(Failed(event["resOpFailedEvent"]["metadata"]["urn"], "failed"))
            elif "diagnosticEvent" in event:
                _diagnose(outcome, teller, event["diagnosticEvent"])
        outcome.seconds = time.monotonic() - began
        outcome.failures = _worded(outcome.failures)
        return outcome

    async def _lines(self, outcome: Outcome, *args: str) -> AsyncIterator[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            "pulumi",
            *args,
            "--stack",
            self.stack,
            "--yes",
            "--skip-preview",
            "--json",
            "--non-interactive",
            cwd=self.root,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        stderr = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event
        code, errors = await process.wait(), (await stderr).decode().strip()
        if code != 0 and not outcome.failures:
            outcome.failures.append(Failed("", errors or f"pulumi {args[0]} ended with exit code {code}"))


def _add(
    outcome: Outcome, op: str, urn: str, old: dict[str, Any] | None, new: dict[str, Any] | None, detailed: dict[str, Any] | None
) -> None:
    old, new = old or {}, new or {}
    type_ = str((new or old).get("type") or urn.split("::")[2].rsplit("$", 1)[-1])
    outcome.parents[urn] = str((new or old).get("parent") or "")
    if op not in CHANGING:
        outcome.unchanged += op == "same"
        return
    kinds = {}
    for path, entry in (detailed or {}).items():
        kind = str(entry.get("kind", entry.get("diffKind", "update"))).removesuffix("-replace")
        kinds[path] = kind if kind in _KINDS else "update"
    diff = difference(kinds, kinds, old.get("inputs") or {}, new.get("inputs") or {}) if old and new else ()
    outcome.changes.append(Change(op, urn, type_, outcome.parents[urn], diff))


def _diagnose(outcome: Outcome, teller: Teller, diagnostic: dict[str, Any]) -> None:
    severity, message = diagnostic.get("severity", "info"), str(diagnostic.get("message", ""))
    if severity == "error":
        outcome.failures.append(Failed(str(diagnostic.get("urn") or ""), message.strip()))
    elif severity == "warning":
        teller.said(severity, message)


def _worded(failures: list[Failed]) -> list[Failed]:
    """One failure a resource, the one with words; the run's own `update failed` only when nothing else is said."""
    by_urn: dict[str, Failed] = {}
    for failure in failures:
        known = by_urn.get(failure.urn)
        if known is None or known.message in {"failed", "update failed"}:
            by_urn[failure.urn] = failure
    named = [failure for urn, failure in by_urn.items() if urn and "pulumi:pulumi:Stack" not in urn]
    return named or list(by_urn.values())
