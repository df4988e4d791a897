"""check and new: the files, without any vendor. edits.py changes what is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.file_change import DryRunOption, carry_out, checked
from rowhouse.cli.guards import settings_problems
from rowhouse.cli.output import EXIT_NOTHING_DONE, JsonOption, data, emit, handled, prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.spec import Fleet, Problem
from rowhouse.spec.accounts import TOKENS
from rowhouse.spec.assignments import assigned, assignments_in
from rowhouse.spec.load import read_fleet
from rowhouse.spec.problem import only_errors
from rowhouse.spec.slug import is_slug, show
from rowhouse.spec.source import Source, read_folder
from rowhouse.spec.written import Value, block

__all__ = ["check", "new"]


@handled
def check(
    stack: Annotated[
        str,
        typer.Option(
            "--stack",
            "-s",
            help="Also the settings of this stack; without it those of main, where credentials are set.",
            envvar="ROWHOUSE_STACK",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Check all tenant, plan and app files, and a stack's settings, and say everything that is wrong."""
    root = find_root(Path.cwd())
    fleet, problems = read_fleet(root)
    errors = only_errors(problems)
    asked = stack or ("main" if any(os.environ.get(name, "").strip() for name in TOKENS) else "")
    settings = settings_problems(root, fleet, asked, os.environ) if asked else []
    if as_json:
        emit(
            {
                "ok": not errors and not settings,
                "tenants": len(fleet.tenants),
                "problems": [
                    {"file": p.file, "line": p.line, "column": p.column, "rule": p.rule, "severity": p.severity, "message": p.message}
                    for p in problems
                ],
                "settings": settings,
            }
        )
    else:
        for problem in problems:
            prose.print(str(problem), style="red" if problem.severity == "error" else "yellow", markup=False, soft_wrap=True)
        for text in settings:
            prose.print(text, style="red", markup=False, soft_wrap=True)
        count = len(errors) + len(settings)
        told = f"{count} error{'' if count == 1 else 's'}" if count else "all well"
        data.print(f"{_counted(root, fleet, errors)}: {told}", markup=False, soft_wrap=True)
    if errors or settings:
        raise typer.Exit(EXIT_NOTHING_DONE)


def _counted(root: Path, fleet: Fleet, errors: Sequence[Problem]) -> str:
    """How many files there are of each kind, wrong ones among them and named as such."""
    instances = sum(len(tenant.instances) for tenant in fleet.tenants)
    bad_files = {problem.file for problem in errors}
    wrong = Counter(file.partition("/")[0] for file in bad_files)
    told = []
    for folder, word in (("tenants", "tenant"), ("plans", "catalog"), ("apps", "app")):
        count = len(
            {source.file for source in read_folder(root, folder)[0]} | {file for file in bad_files if file.startswith(f"{folder}/")}
        )
        more = f" with {instances} instance{'' if instances == 1 else 's'}" if folder == "tenants" and not wrong[folder] else ""
        bad = f" ({wrong[folder]} with errors)" if wrong[folder] else ""
        told.append(f"{count} {word}{'' if count == 1 else 's'}{more}{bad}")
    return ", ".join(told)


@handled
def new(
    tenant: Annotated[str, typer.Argument(help="The tenant's id, for ever: it is in hostnames, volumes and invoices.")],
    plan: Annotated[str, typer.Option("--plan", help="`<catalog>/<plan>` in plans/.")],
    email: Annotated[str, typer.Option("--email", help="The owner's, for invoices and the first login.")],
    name: Annotated[str, typer.Option("--name", help="The owner's name on invoices; default: the e-mail address.")] = "",
    more: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A further key, as `rowhouse set` takes it; may be repeated.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the file of a new tenant, checked; nothing is applied."""
    root = find_root(Path.cwd())
    file = f"tenants/{tenant}.yaml"
    path = root / "tenants" / f"{tenant}.yaml"
    if is_slug(tenant) and (path.exists() or path.is_symlink()):
        raise EnvironmentProblemError(f"{file} exists already. Change it with `rowhouse set {tenant}`, or choose another id.")
    wishes = assignments_in(more or ())
    owner: Value = {"name": name, "email": email} if name else {"email": email}
    text = block("owner", owner, "", "\n") + block("plan", plan, "", "\n")
    text = assigned(Source(tenant, show(file)[1:-1], text), wishes)
    change = checked(root, tenant, None, text)
    carry_out(change, dry_run=dry_run, as_json=as_json, says=f"{file} written. `rowhouse preview` shows what it will make.")
