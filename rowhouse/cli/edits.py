"""set and archive: a tenant's file changed by command, so that a form or a bot can propose what a person would write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.file_change import DryRunOption, FileChange, carry_out, checked
from rowhouse.cli.output import JsonOption, handled
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.cli.tenant_files import tenant_file
from rowhouse.spec.assignments import assigned, assignments_in
from rowhouse.spec.edit import Put, edited
from rowhouse.spec.load import read_fleet
from rowhouse.spec.model import Tenant
from rowhouse.spec.source import Source

__all__ = ["archive", "set_keys"]

_TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="A tenant in tenants/.")]
_NEXT = "Nothing is applied yet: `rowhouse preview` shows what it will change, the merge or `rowhouse up` does it."


@handled
def set_keys(
    tenant: _TenantArgument,
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help="plan=aether/pro, owner.email=ops@acme.example, instances.main.memory_mb=2048, env.NAME=text, secrets.NAME=env:X; "
            "lists: members+=bo@acme.example, members-=bo@acme.example, members=ana@acme.example,bo@acme.example; "
            "an instance on its plan's terms: instances.lab={}.",
        ),
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="KEY", help="Take a key out, such as env.NAME; may be repeated.")
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Change keys of a tenant's file, all of them or none, and nothing else in it; nothing is applied."""
    wishes = assignments_in(changes or (), unset or ())
    if not wishes:
        raise EnvironmentProblemError("there is nothing to change. Allowed: KEY=VALUE, LIST+=ITEM, LIST-=ITEM, `--unset KEY`. Name one.")
    root = find_root(Path.cwd())
    source = tenant_file(root, tenant)
    change = checked(root, tenant, source.text, assigned(source, wishes))
    carry_out(change, dry_run=dry_run, as_json=as_json, means=[_NEXT])


@handled
def archive(
    tenant: _TenantArgument,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take it back: `state: active` for a tenant that is offboarding or suspended.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a tenant leave: `state: offboarding` in its file, everything else in it as it was; nothing is applied."""
    root = find_root(Path.cwd())
    source = tenant_file(root, tenant)
    now = _now(root, source)
    if now is not None:
        _refuse_state(now, undo=undo)
    after = edited(source, [Put(("state",), "active" if undo else "offboarding")])
    change = checked(root, tenant, source.text, after)
    carry_out(change, dry_run=dry_run, as_json=as_json, means=[*(_back(change) if undo else _leaving(change)), _NEXT])


def _now(root: Path, source: Source) -> Tenant | None:
    """The tenant as its file stands; None for a file with errors, which the check of the change will name."""
    return next((each for each in read_fleet(root)[0].tenants if each.id == source.slug), None)


def _refuse_state(tenant: Tenant, *, undo: bool) -> None:
    """Say what comes next to a tenant that is there already."""
    file = f"tenants/{tenant.id}.yaml"
    if undo and tenant.state == "active":
        raise EnvironmentProblemError(f"{file}: {tenant.id} is active. Only what is offboarding or suspended is taken back. Nothing to do.")
    if undo and tenant.state == "purge":
        raise EnvironmentProblemError(
            f"{file}: `state: purge` asks for the end of {tenant.id}'s data. Only offboarding and suspended are taken back by command. "
            f"Write `rowhouse set {tenant.id} state=offboarding` first."
        )
    if not undo and tenant.state in {"offboarding", "purge"}:
        days = tenant.plan.lifecycle.grace_days
        raise EnvironmentProblemError(
            f"{file}: {tenant.id} is leaving already (`state: {tenant.state}`). A tenant leaves once. Next, when a backup is verified "
            f"and the {days} days of its plan are over: `state: purge` in a second change, which is refused until backups exist. "
            f"`rowhouse archive {tenant.id} --undo` takes it back."
        )


def _leaving(change: FileChange) -> list[str]:
    """What archiving means, as docs/file-to-tenant.md has it."""
    tenant = change.tenant
    count = len(tenant.instances)
    machines = "its machine is stopped" if count == 1 else f"its {count} machines are stopped"
    bill = "" if tenant.plan.is_free else ", its subscription ends with a last invoice"
    kept = f"{tenant.plan.lifecycle.grace_days} days, as plan {tenant.plan.ref} promises, and longer until a backup is verified"
    return [
        f"Once applied, {tenant.id} leaves: its gate is closed, {machines}{bill}, and its data is kept for {kept}.",
        f"`rowhouse archive {tenant.id} --undo` takes it back.",
    ]


def _back(change: FileChange) -> list[str]:
    return [f"Once applied, {change.tenant.id} is back: its gate is open and its machines may run. Its data was not touched."]
