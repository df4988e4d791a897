"""A change of one tenant's file: checked with the whole fleet, then shown, then written.

Does: what `new`, `set` and `archive` have in common. Does not: know what is changed (spec/assignments.py) or how a file is replaced
(tenant_files.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.output import data, emit, prose
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.cli.tenant_files import write_tenant_file
from rowhouse.spec.load import read_fleet
from rowhouse.spec.losses import losses
from rowhouse.spec.model import Fleet, Tenant
from rowhouse.spec.problem import Problem, only_errors
from rowhouse.spec.slug import show

__all__ = ["DryRunOption", "FileChange", "carry_out", "checked"]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and show the change; write nothing.")]


@dataclass(frozen=True)
class FileChange:
    """A change that the checks have nothing against."""

    root: Path
    tenant: Tenant
    """As it will be."""
    before: str | None
    """The file's text; None where there is no file yet."""
    after: str
    notes: tuple[str, ...]
    """What is lost, and what the checks warn of."""

    @property
    def file(self) -> str:
        """Relative to the root."""
        return f"tenants/{self.tenant.id}.yaml"

    @property
    def is_change(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The unified diff, its lines ended by line feeds whatever the file has."""
        old = (self.before or "").splitlines(keepends=True)
        label = f"a/{self.file}" if self.before is not None else "/dev/null"
        found = list(difflib.unified_diff(old, self.after.splitlines(keepends=True), label, f"b/{self.file}"))
        return "".join(_diff_line(line) for line in found)


def _diff_line(line: str) -> str:
    text = line.rstrip("\r\n")
    return f"{text}\n" if text != line else f"{text}\n\\ No newline at end of file\n"


def checked(root: Path, tenant: str, before: str | None, after: str) -> FileChange:
    """The change, once the whole fleet was checked with it.

    Raises: EnvironmentProblemError with every error of this file, and with those of others that were not there before.
    """
    file = f"tenants/{tenant}.yaml"
    then, problems = read_fleet(root, {tenant: after})
    now: Fleet | None = None
    known: set[tuple[str, int, int, str]] = set()
    errors = only_errors(problems)
    if before is not None or any(problem.file != file for problem in errors):
        now, held = read_fleet(root)
        known = {_key(problem) for problem in held if problem.file != file}
    ours = [problem for problem in errors if problem.file == file or _key(problem) not in known]
    if ours:
        told = [f"{show(file)[1:-1]} was not written:", *(str(problem) for problem in ours)]
        raise EnvironmentProblemError("\n".join(told))
    made = then.tenant(tenant)
    old = next((each for each in now.tenants if each.id == tenant), None) if now is not None and before is not None else None
    warned = [problem.message for problem in problems if problem.severity == "warning" and problem.file == file]
    notes = [*(losses(then, old, made) if old is not None else ()), *(warned if before != after else ())]
    return FileChange(root, made, before, after, tuple(notes))


def _key(problem: Problem) -> tuple[str, int, int, str]:
    return (problem.file, problem.line, problem.column, problem.rule)


def carry_out(change: FileChange, *, dry_run: bool, as_json: bool, means: Iterable[str] = (), says: str = "") -> None:
    """Tell what would hurt, write, and show what was written.

    Args: means: what the change does once it is applied, in sentences; says: on standard output in place of the diff.
    """
    writes = change.is_change and not dry_run
    if change.is_change and not as_json:
        for note in change.notes:
            prose.print(note, style="yellow", markup=False, emoji=False, soft_wrap=True)
    if writes:
        write_tenant_file(change.root, change.tenant.id, change.before, change.after)
    meaning = list(means) if change.is_change else []
    if as_json:
        emit(
            {
                "file": change.file,
                "changed": change.is_change,
                "written": writes,
                "before": change.before,
                "after": change.after,
                "diff": change.diff,
                "notes": list(change.notes),
                "means": meaning,
            }
        )
        return
    if not change.is_change:
        prose.print(f"{change.file} says this already: nothing to write.", markup=False, soft_wrap=True)
    elif says and writes:
        data.print(says, markup=False, emoji=False)
    else:
        _show(change.diff)
    for sentence in [*meaning, *([f"{change.file} was not written: this is a dry run."] if dry_run and change.is_change else [])]:
        prose.print(sentence, markup=False, emoji=False, soft_wrap=True)


def _show(diff: str) -> None:
    """Print a diff, in colour on a terminal; byte for byte elsewhere."""
    for line in diff.splitlines(keepends=True):
        colour = {"+": typer.colors.GREEN, "-": typer.colors.RED, "@": typer.colors.CYAN}.get(line[:1])
        typer.secho(line, fg=colour, nl=False)
