"""What must never happen by accident, checked with the project's files and configuration at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rowhouse.cli.changes import tenant_of
from rowhouse.cli.surroundings import EnvironmentProblemError, Surroundings
from rowhouse.spec import Fleet
from rowhouse.spec.accounts import account_problems

__all__ = ["check_accounts", "refuse_vanished", "stack_settings"]


def stack_settings(root: Path, stack: str) -> dict[str, Any]:
    """The `account:` settings of a stack, without the prefix.

    Raises: EnvironmentProblemError when the stack has no file.
    """
    path = root / "stacks" / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        known = sorted(file.name[len("Pulumi.") : -len(".yaml")] for file in path.parent.glob("Pulumi.*.yaml"))
        raise EnvironmentProblemError(
            f"{path.relative_to(root)}: there is no such stack. Stacks: {', '.join(known) or 'none'}. Copy one and change its account."
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = (document or {}).get("config") or {}
        items = config.items()
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise EnvironmentProblemError(f"{path.relative_to(root)}: cannot be read as a stack's settings: {error}. Correct it.") from error
    return {key.removeprefix("account:"): value for key, value in items if key.startswith("account:")}


def check_accounts(fleet: Fleet, where: Surroundings, stack: str) -> None:
    """Refuse what must not reach real vendors: see `rowhouse.spec.accounts`.

    Raises: EnvironmentProblemError with every problem.
    """
    settings = stack_settings(where.root, stack)
    problems = account_problems(f"stacks/Pulumi.{stack}.yaml", settings, fleet.in_cell(stack), fleet.catalogs, where.env)
    if problems:
        raise EnvironmentProblemError("\n".join(problems))


def refuse_vanished(fleet: Fleet, stack: str, state: Mapping[str, Any]) -> None:
    """Refuse to go on when a tenant or an instance that still has data is in no file any more (or moved to another cell).

    Raises: EnvironmentProblemError naming what to restore.
    """
    resources = (state.get("deployment") or {}).get("resources") or []
    parents = {resource["urn"]: str(resource.get("parent") or "") for resource in resources}
    kept = {(tenant_of(r["urn"], parents), r["urn"].rsplit("::", 1)[-1]) for r in resources if r.get("type") == "rowhouse:fly:Volume"}
    tenants = {tenant.id: tenant for tenant in fleet.in_cell(stack)}
    gone = sorted({tenant for tenant, _ in kept} - set(tenants) - {""})
    if gone:
        lines = "\n".join(f"  tenants/{tenant}.yaml" for tenant in gone)
        files = "tenant files are" if len(gone) > 1 else "tenant file is"
        raise EnvironmentProblemError(
            f"{len(gone)} {files} gone while the tenant's data is still there; nothing was changed.\n{lines}\n"
            "A tenant leaves in two changes: set `state: offboarding` first. Restore the file (git restore) and say so there."
        )
    named = {f"{tenant.id}-{instance.name}-volume" for tenant in tenants.values() for instance in tenant.instances}
    dropped = sorted((tenant, volume) for tenant, volume in kept if tenant in tenants and volume not in named)
    if dropped:
        lines = "\n".join(
            f"  tenants/{tenant}.yaml: {volume.removeprefix(tenant + '-').removesuffix('-volume')}" for tenant, volume in dropped
        )
        raise EnvironmentProblemError(
            f"instances are gone from their tenants' files while their data is still there; nothing was changed.\n{lines}\n"
            "An instance keeps its volume as long as its tenant stays. Put it back under `instances:`; it may sleep."
        )
