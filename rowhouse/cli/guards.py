"""What must never happen by accident, checked with the project's files and configuration at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rowhouse.cli.surroundings import (
    EngineName,
    EnvironmentProblemError,
    MissingTokensError,
    Surroundings,
    find_root,
    surroundings,
    vendors_named,
)
from rowhouse.errors import SpecError
from rowhouse.review.changes import Change, Outcome, tenant_of
from rowhouse.spec import Fleet
from rowhouse.spec.accounts import TOKENS, account_problems, missing_tokens
from rowhouse.spec.kept import KeptVolume, unfollowed
from rowhouse.spec.load import read_fleet
from rowhouse.spec.problem import only_errors
from rowhouse.spec.settings import setting_problems
from rowhouse.spec.source import MAX_FILE_BYTES
from rowhouse.spec.stack_file import read_stack

__all__ = [
    "checked",
    "checked_settings",
    "in_the_files_words",
    "refuse_protected",
    "refuse_vanished",
    "settings_problems",
    "stack_settings",
]

_NAMED = 3
_VOLUME = "rowhouse:fly:Volume"


def stack_settings(root: Path, stack: str) -> dict[str, Any]:
    """The `account:` settings of a stack, without the prefix.

    Raises: EnvironmentProblemError when the stack has no file, or one that is refused.
    """
    path = root / "stacks" / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        known = sorted(file.name[len("Pulumi.") : -len(".yaml")] for file in path.parent.glob("Pulumi.*.yaml"))
        raise EnvironmentProblemError(
            f"{path.relative_to(root)}: there is no such stack. Stacks: {', '.join(known) or 'none'}. Copy one and change its account."
        )
    with path.open("rb") as file:
        values, problems = read_stack(file.read(MAX_FILE_BYTES + 1), path.name)
    if problems:
        told = "\n".join(map(str, problems))
        raise EnvironmentProblemError(f"{path.relative_to(root)}: cannot be read as a stack's settings.\n{told}")
    config = values.get("config") or {}
    return {key.removeprefix("account:"): value for key, value in config.items() if key.startswith("account:")}


def checked_settings(root: Path, stack: str) -> dict[str, Any]:
    """The `account:` settings of a stack, each known and well-formed.

    Raises: EnvironmentProblemError naming all that are not.
    """
    settings = stack_settings(root, stack)
    if problems := setting_problems(_file(stack), settings):
        raise EnvironmentProblemError("\n".join(problems))
    return settings


def checked(start: Path, env: Mapping[str, str], *, engine: EngineName = "auto", stack: str = "main") -> tuple[Surroundings, Fleet]:
    """What a command that applies runs against, once environment, files and settings are all right.

    Whoever has no credential at all is only told so: settings are for those who have accounts.

    Raises: EnvironmentProblemError or SpecError with every problem, before anything is started.
    """
    root = find_root(start)
    vendors_named(env)
    said, where = [], None
    try:
        where = surroundings(start, env, engine=engine)
    except MissingTokensError as error:
        if len(missing_tokens(env)) == len(TOKENS):
            raise
        said = [str(error)]
    except EnvironmentProblemError as error:
        said = [str(error)]
    fleet, problems = read_fleet(root)
    errors = only_errors(problems)
    said += account_problems(_file(stack), stack_settings(root, stack), fleet.in_cell(stack), fleet.catalogs, env)
    if where is None or said:
        raise EnvironmentProblemError("\n".join([*said, *map(str, errors)]))
    if errors:
        raise SpecError(errors)
    return where, fleet


def settings_problems(root: Path, fleet: Fleet, stack: str, env: Mapping[str, str]) -> list[str]:
    """What is wrong with a stack's settings; with credentials in the environment also what does not go together with these."""
    try:
        settings = stack_settings(root, stack)
        if any(env.get(name, "").strip() for name in TOKENS):
            vendors_named(env)
            return account_problems(_file(stack), settings, fleet.in_cell(stack), fleet.catalogs, env)
    except EnvironmentProblemError as error:
        return [str(error)]
    return setting_problems(_file(stack), settings)


def _file(stack: str) -> str:
    return f"stacks/Pulumi.{stack}.yaml"


def refuse_vanished(fleet: Fleet, stack: str, state: Mapping[str, Any]) -> None:
    """Refuse to go on when a tenant or an instance that still has data is in no file any more (or moved to another cell).

    Raises: EnvironmentProblemError naming what to restore.
    """
    resources = _resources(state)
    parents = _parents(resources)
    kept = {(tenant_of(r["urn"], parents), r["urn"].rsplit("::", 1)[-1]) for r in resources if r.get("type") == _VOLUME}
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


def refuse_protected(stack: str, state: Mapping[str, Any]) -> None:
    """Refuse to destroy a stack that still holds what is protected, before anything of it is touched.

    Raises: EnvironmentProblemError with how many there are of each kind, and the first names.
    """
    protected = [resource for resource in _resources(state) if resource.get("protect") and not resource.get("delete")]
    if not protected:
        return
    kinds = Counter(Change("", r["urn"], r["type"], "").kind for r in protected)
    counts = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(kinds.items()))
    names = sorted(r["urn"].rsplit("::", 1)[-1] for r in sorted(protected, key=lambda r: r["type"] != _VOLUME)[:_NAMED])
    more = f" and {len(protected) - len(names)} more" if len(protected) > len(names) else ""
    raise EnvironmentProblemError(
        f"stack {stack}: {len(protected)} objects hold data or money and are protected, so nothing was deleted: {counts} "
        f"({', '.join(names)}{more}).\n"
        "Customers leave by `state: offboarding` in their files. On a local cloud, and nowhere else, `--delete-data` deletes these too."
    )


def in_the_files_words(outcome: Outcome, fleet: Fleet, stack: str, state: Mapping[str, Any]) -> Outcome:
    """The outcome with each volume that cannot follow its tenant's file said as a problem of that file, with its place.

    `state` is the one before the run. The engine's own words name a property of a resource, which is in no file.
    """
    resources = _resources(state)
    parents = _parents(resources)
    tenants = {tenant.id: tenant for tenant in fleet.in_cell(stack)}
    urns: dict[tuple[str, str], str] = {}
    volumes: dict[str, dict[str, KeptVolume]] = {}
    for resource in resources:
        slug = tenant_of(resource["urn"], parents)
        if resource.get("type") == _VOLUME and slug in tenants:
            instance = resource["urn"].rsplit("::", 1)[-1].removeprefix(f"{slug}-").removesuffix("-volume")
            inputs = resource.get("inputs") or {}
            volumes.setdefault(slug, {})[instance] = KeptVolume(str(inputs["region"]), int(inputs["sizeGb"]))
            urns[slug, instance] = resource["urn"]
    words = {
        urns[slug, instance]: "\n".join(map(str, problems))
        for slug, kept in volumes.items()
        for instance, problems in unfollowed(fleet, tenants[slug], kept).items()
    }
    outcome.failures = [replace(f, message=words[f.urn], in_files=True) if f.urn in words else f for f in outcome.failures]
    return outcome


def _resources(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((state.get("deployment") or {}).get("resources") or [])


def _parents(resources: list[dict[str, Any]]) -> dict[str, str]:
    return {resource["urn"]: str(resource.get("parent") or "") for resource in resources}
