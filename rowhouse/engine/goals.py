"""What the program wants: one registration, read from its request.

Does: turn requests into goals and refuse options that this engine does not have, each by name. Does not: compare with the state.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rowhouse.engine.errors import EngineError, Unsupported
from rowhouse.engine.properties import Properties, decode
from rowhouse.engine.urns import STACK_TYPE, Alias

if TYPE_CHECKING:
    from pathlib import Path

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Goal:
    """A resource as the program wants it."""

    type: str
    name: str
    custom: bool
    parent: str
    inputs: Properties
    provider: str = ""
    version: str = ""
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    protect: bool = False
    delete_before_replace: bool | None = None
    """None: as the provider says."""
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    additional_secret_outputs: list[str] = field(default_factory=list)
    hide_diff: list[str] = field(default_factory=list)
    aliases: list[Alias] = field(default_factory=list)
    import_id: str = ""
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    retain_on_delete: bool = False
    deleted_with: str = ""
    source_position: str = ""

    def needs(self) -> set[str]:
        """URNs of everything this resource stands on."""
        found = {self.parent, self.deleted_with, *self.dependencies, self.provider.rpartition("::")[0]}
        for urns in self.property_dependencies.values():
            found.update(urns)
        found.discard("")
        return found


def goal_from(request: Any, root: Path) -> Goal:
    """The goal of a RegisterResource request; source positions are told relative to `root`. Raises: Unsupported."""
    what = f"of {request.type} '{request.name}'"
    _refuse_own(request)
    refused = [
        (request.remote, "remote components"),
        (request.transforms, "transforms"),
        (request.replace_with, "the option replace_with"),
        (request.HasField("replacement_trigger"), "the option replacement_trigger"),
        (request.envVarMappings, "the option env_var_mappings"),
        (request.packageRef, "parameterized packages"),
        (request.state_migrations, "the option state_migrations"),
        (request.snippetId, "snippets"),
        (_hooks(request), "resource hooks"),
    ]
    for present, option in refused:
        if present:
            raise Unsupported(f"{option} {what}")
    return Goal(
        type=request.type,
        name=request.name,
        custom=request.custom,
        parent=request.parent,
        inputs=decode(request.object),
        provider=request.provider,
        version=request.version,
        dependencies=list(request.dependencies),
        property_dependencies={key: list(item.urns) for key, item in request.propertyDependencies.items()},
        protect=request.protect,
        delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined or request.deleteBeforeReplace else None,
        ignore_changes=list(request.ignoreChanges),
        replace_on_changes=list(request.replaceOnChanges),
        additional_secret_outputs=list(request.additionalSecretOutputs),
        hide_diff=list(request.hideDiffs),
        aliases=_aliases(request),
        import_id=request.importId,
        custom_timeouts=_timeouts(request),
        retain_on_delete=request.retainOnDelete,
        deleted_with=request.deletedWith,
        source_position=_position(request, root),
    )


def read_goal_from(request: Any, root: Path) -> Goal:
    """The goal of a ReadResource request; `import_id` is the id to read."""
    _refuse_own(request)
    if request.packageRef:
        raise Unsupported(f"parameterized packages of {request.type} '{request.name}'")
    return Goal(
        type=request.type,
        name=request.name,
        custom=True,
        parent=request.parent,
        inputs=decode(request.properties),
        provider=request.provider,
        version=request.version,
        dependencies=list(request.dependencies),
        additional_secret_outputs=list(request.additionalSecretOutputs),
        import_id=request.id,
        source_position=_position(request, root),
    )


def _refuse_own(request: Any) -> None:
    """Pulumi's own resources, such as references to other stacks, are served by the CLI itself."""
    if request.type.startswith("pulumi:pulumi:") and request.type != STACK_TYPE:
        raise Unsupported(f"{request.type} ('{request.name}')")


def seconds(text: str) -> float:
    """A Go duration such as `1h30m` in seconds. Raises: EngineError."""
    total, position = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    if not text or position != len(text):
        raise EngineError(f"the timeout '{text}' is not a duration; write it like 90s, 5m or 1h30m")
    return total


def _timeouts(request: Any) -> dict[str, float]:
    given = request.customTimeouts
    return {key: seconds(text) for key in ("create", "update", "delete", "read") if (text := getattr(given, key, ""))}


def _hooks(request: Any) -> bool:
    return request.HasField("hooks") and any(bool(value) for _, value in request.hooks.ListFields())


def _aliases(request: Any) -> list[Alias]:
    found = [Alias(urn=urn) for urn in request.aliasURNs]
    for alias in request.aliases:
        if alias.WhichOneof("alias") == "urn":
            found.append(Alias(urn=alias.urn))
        else:
            spec = alias.spec
            found.append(Alias("", spec.name, spec.type, spec.stack, spec.project, spec.parentUrn, spec.noParent))
    return found


def _position(request: Any, root: Path) -> str:
    position = request.sourcePosition
    if not position.uri:
        return ""
    path = unquote(urlsplit(position.uri).path)
    relative = os.path.relpath(path, root) if path.startswith("/") else path
    return f"project:///{relative}#{position.line}"
