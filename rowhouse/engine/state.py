"""One resource as the state remembers it, in Pulumi's checkpoint form.

Does: the fields, JSON both ways, what a resource depends on. Does not: decide anything. Keys of newer Pulumi versions that this engine
does not know are carried through unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rowhouse.engine.properties import Properties, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def now() -> str:
    """The present moment as Pulumi writes it: RFC 3339, UTC, with fractions."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class State:
    """A resource in the state."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    outputs: Properties = field(default_factory=dict)
    parent: str = ""
    provider: str = ""
    """Reference `<urn>::<id>` of the provider resource; empty for components and providers."""
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    protect: bool = False
    external: bool = False
    """Read, not owned: never updated or deleted."""
    delete: bool = False
    """Replaced already; to be deleted."""
    pending_replacement: bool = False
    """Deleted already; to be created again."""
    init_errors: list[str] = field(default_factory=list)
    additional_secret_outputs: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    """Seconds under `create`, `update`, `delete`, `read`."""
    import_id: str = ""
    retain_on_delete: bool = False
    deleted_with: str = ""
    created: str = ""
    modified: str = ""
    source_position: str = ""
    ignore_changes: list[str] = field(default_factory=list)
    hide_diff: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    other: dict[str, Any] = field(default_factory=dict)
    """Keys of the document that have no field here."""

    def copy(self, **changes: Any) -> State:
        """A copy with some fields changed; the property maps are shared until replaced."""
        return replace(self, **changes)

    def needs(self) -> Iterator[str]:
        """URNs of everything this resource stands on: parent, provider, dependencies, deletedWith; may repeat."""
        if self.parent:
            yield self.parent
        if self.provider:
            yield self.provider.rpartition("::")[0]
        yield from self.dependencies
        for urns in self.property_dependencies.values():
            yield from urns
        if self.deleted_with:
            yield self.deleted_with

    def rename(self, names: dict[str, str]) -> None:
        """Replace URNs that this resource refers to, in place."""
        self.parent = names.get(self.parent, self.parent)
        if self.provider:
            urn, _, provider_id = self.provider.rpartition("::")
            self.provider = f"{names.get(urn, urn)}::{provider_id}"
        self.dependencies = [names.get(urn, urn) for urn in self.dependencies]
        self.property_dependencies = {key: [names.get(urn, urn) for urn in urns] for key, urns in self.property_dependencies.items()}
        self.deleted_with = names.get(self.deleted_with, self.deleted_with)

    def forget(self, gone: set[str]) -> None:
        """Drop in place every reference to a resource that is no longer there."""
        self.dependencies = [urn for urn in self.dependencies if urn not in gone]
        self.property_dependencies = {key: [urn for urn in urns if urn not in gone] for key, urns in self.property_dependencies.items()}
        if self.deleted_with in gone:
            self.deleted_with = ""
        if self.parent in gone:
            self.parent = ""


_FIELDS: tuple[tuple[str, str], ...] = (
    ("delete", "delete"),
    ("parent", "parent"),
    ("protect", "protect"),
    ("external", "external"),
    ("dependencies", "dependencies"),
    ("initErrors", "init_errors"),
    ("provider", "provider"),
    ("propertyDependencies", "property_dependencies"),
    ("pendingReplacement", "pending_replacement"),
    ("additionalSecretOutputs", "additional_secret_outputs"),
    ("aliases", "aliases"),
    ("customTimeouts", "custom_timeouts"),
    ("importID", "import_id"),
    ("retainOnDelete", "retain_on_delete"),
    ("deletedWith", "deleted_with"),
    ("created", "created"),
    ("modified", "modified"),
    ("sourcePosition", "source_position"),
    ("ignoreChanges", "ignore_changes"),
    ("hideDiff", "hide_diff"),
    ("replaceOnChanges", "replace_on_changes"),
)
_KNOWN = frozenset({"urn", "type", "custom", "id", "inputs", "outputs", *(key for key, _ in _FIELDS)})


def to_document(state: State, seal: Callable[[str], str]) -> dict[str, Any]:
    """The resource as an entry of a deployment's `resources`; empty fields are left out, as Pulumi does."""
    document: dict[str, Any] = {"urn": state.urn, "custom": state.custom}
    if state.id:
        document["id"] = state.id
    document["type"] = state.type
    if state.inputs:
        document["inputs"] = to_json(state.inputs, seal)
    if state.outputs:
        document["outputs"] = to_json(state.outputs, seal)
    for key, name in _FIELDS:
        value = getattr(state, name)
        if value:
            document[key] = value
    document.update(state.other)
    return document


def from_document(document: dict[str, Any], unseal: Callable[[str], str]) -> State:
    """The reverse of `to_document`."""
    state = State(
        urn=document["urn"],
        type=document["type"],
        custom=document.get("custom", False),
        id=document.get("id", ""),
        inputs=from_json(document.get("inputs") or {}, unseal),
        outputs=from_json(document.get("outputs") or {}, unseal),
    )
    for key, name in _FIELDS:
        value = document.get(key)
        if value:
            setattr(state, name, value)
    # Pulumi writes a list of no urns as null or [], never as absent.
    state.property_dependencies = {key: urns or [] for key, urns in state.property_dependencies.items()}
    state.other = {key: value for key, value in document.items() if key not in _KNOWN}
    return state
