"""check and new: the files, without any vendor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.output import EXIT_NOTHING_DONE, JsonOption, data, emit, handled, prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.spec import check_fleet
from rowhouse.spec.load import read_fleet

__all__ = ["check", "new"]


@handled
def check(as_json: JsonOption = False) -> None:
    """Check all tenant, plan and app files and say everything that is wrong."""
    root = find_root(Path.cwd())
    fleet, problems = read_fleet(root)
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        emit(
            {
                "ok": not errors,
                "tenants": len(fleet.tenants),
                "problems": [
                    {"file": p.file, "line": p.line, "column": p.column, "rule": p.rule, "severity": p.severity, "message": p.message}
                    for p in problems
                ],
            }
        )
    else:
        for problem in problems:
            prose.print(str(problem), style="red" if problem.severity == "error" else "yellow", markup=False, soft_wrap=True)
        instances = sum(len(tenant.instances) for tenant in fleet.tenants)
        data.print(
            f"{len(fleet.tenants)} tenants with {instances} instances, {len(fleet.catalogs)} catalogs, {len(fleet.apps)} apps: ",
            end="",
            markup=False,
        )
        data.print(f"{len(errors)} error{'' if len(errors) == 1 else 's'}" if errors else "all well", markup=False)
    if errors:
        raise typer.Exit(EXIT_NOTHING_DONE)


@handled
def new(
    tenant: Annotated[str, typer.Argument(help="The tenant's id, for ever: it is in hostnames, volumes and invoices.")],
    plan: Annotated[str, typer.Option("--plan", help="`<catalog>/<plan>` in plans/.")],
    email: Annotated[str, typer.Option("--email", help="The owner's, for invoices and the first login.")],
    name: Annotated[str, typer.Option("--name", help="The owner's name on invoices; default: the e-mail address.")] = "",
) -> None:
    """Write the file of a new tenant, checked; nothing is applied."""
    root = find_root(Path.cwd())
    path = root / "tenants" / f"{tenant}.yaml"
    if os.sep in tenant or path.parent != root / "tenants":
        raise EnvironmentProblemError(f"{tenant!r} is no tenant id. Letters a-z, digits and single dashes, a letter first.")
    if path.exists():
        raise EnvironmentProblemError(f"tenants/{tenant}.yaml exists already. Edit it, or choose another id.")
    owner = f"{{name: {_quoted(name)}, email: {_quoted(email)}}}" if name else f"{{email: {_quoted(email)}}}"
    path.write_text(f"owner: {owner}\nplan: {_quoted(plan)}\n", encoding="utf-8")
    mine = [problem for problem in check_fleet(root) if problem.file == f"tenants/{tenant}.yaml" and problem.severity == "error"]
    if mine:
        path.unlink()
        raise EnvironmentProblemError("\n".join([f"tenants/{tenant}.yaml was not written:", *(str(problem) for problem in mine)]))
    data.print(f"tenants/{tenant}.yaml written. `rowhouse preview` shows what it will make.", markup=False)


def _quoted(text: str) -> str:
    """A YAML scalar that every reader takes for this text."""
    import json

    return text if text and all(c.isalnum() or c in "-/." for c in text) and text[0].isalpha() else json.dumps(text, ensure_ascii=False)
