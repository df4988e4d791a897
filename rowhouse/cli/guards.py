"""What must never happen by accident, checked with the project's files and configuration at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rowhouse.cli.changes import tenant_of
from rowhouse.cli.surroundings import EnvironmentProblemError, Surroundings
from rowhouse.spec import Fleet

__all__ = ["check_accounts", "check_live_key", "refuse_vanished", "stack_settings"]


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
    config = (yaml.safe_load(path.read_text()) or {}).get("config") or {}
    return {key.removeprefix("account:"): value for key, value in config.items() if key.startswith("account:")}


def check_accounts(where: Surroundings, stack: str) -> None:
    """Refuse real vendors with the local cloud's settings, and a store that edge machines cannot reach.

    Raises: EnvironmentProblemError.
    """
    if where.vendors == "loopback":
        return
    settings = stack_settings(where.root, stack)
    file = f"stacks/Pulumi.{stack}.yaml"
    marks = {"zone": "localhost", "flyOrg": "local", "accessTeam": "local"}
    local = [f"account:{key} is {value!r}" for key, value in marks.items() if settings.get(key) == value]
    zeros = [key for key in ("cloudflareAccountId", "cloudflareZoneId") if str(settings.get(key, "")).startswith("0" * 24)]
    local += [f"account:{key} is the local cloud's" for key in zeros]
    if str(settings.get("edgeImage", "")).startswith("registry.localhost/"):
        local.append("account:edgeImage is the local cloud's")
    if local:
        lines = "\n".join(f"  {line}" for line in local)
        raise EnvironmentProblemError(
            f"{file}: still points at the local cloud, and the environment at real vendors.\n{lines}\n"
            "Put your own values there (README.md, 'With real vendors')."
        )
    store = where.env.get("ROWHOUSE_STORE_URL") or str(settings.get("store") or "file:")
    if store.startswith("file:"):
        raise EnvironmentProblemError(
            f"{file}: account:store is a local folder, which no edge machine can read. Set it to an S3 or R2 bucket: "
            "`account:store: s3://bucket/prefix?endpoint=https://...`."
        )


def check_live_key(fleet: Fleet, env: Mapping[str, str]) -> None:
    """Refuse to bill real cards for example catalogs.

    Raises: EnvironmentProblemError.
    """
    demo = [f"plans/{catalog.id}.yaml" for catalog in fleet.catalogs if catalog.demo]
    if demo and env.get("STRIPE_API_KEY", "").startswith(("sk_live_", "rk_live_")):
        raise EnvironmentProblemError(
            f"STRIPE_API_KEY is a live key, and {', '.join(demo)} {'is an example' if len(demo) == 1 else 'are examples'} (`demo: true`). "
            "Use a test key, or write your own catalogs and remove the examples."
        )


def refuse_vanished(fleet: Fleet, stack: str, state: Mapping[str, Any]) -> None:
    """Refuse to go on when the file of a tenant that still has data is gone (or moved to another cell).

    Raises: EnvironmentProblemError naming the files to restore.
    """
    resources = (state.get("deployment") or {}).get("resources") or []
    parents = {resource["urn"]: str(resource.get("parent") or "") for resource in resources}
    kept = {tenant_of(resource["urn"], parents) for resource in resources if resource.get("type") == "rowhouse:fly:Volume"}
    gone = sorted(kept - {tenant.id for tenant in fleet.in_cell(stack)} - {""})
    if gone:
        lines = "\n".join(f"  tenants/{tenant}.yaml" for tenant in gone)
        files = "tenant files are" if len(gone) > 1 else "tenant file is"
        raise EnvironmentProblemError(
            f"{len(gone)} {files} gone while the tenant's data is still there; nothing was changed.\n{lines}\n"
            "A tenant leaves in two changes: set `state: offboarding` first. Restore the file (git restore) and say so there."
        )
