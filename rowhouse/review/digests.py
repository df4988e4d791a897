"""A tenant's change as one number: equal when the same is done to the same resources with the same values, whoever foresees it.

Does: write each step canonically (operation, resource, changed properties with their values before and after) and hash a tenant's steps.
Does not: keep a digest anywhere. A value that is an output of another resource is written as where it comes from, because a review without
vendors cannot know it, and an apply does; a secret is written as being one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rowhouse import engine
from rowhouse.review.changes import CHANGING, tenant_of
from rowhouse.spec.policy import UNKNOWN

__all__ = ["Step", "digest_of", "digests_by_tenant", "steps_of"]

_COMPONENTS: Final = ("rowhouse:index:", "pulumi:")
_SAME_STEP: Final = {"create-replacement": "replace", "delete-replaced": "replace", "discard": "delete"}
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Step:
    """One resource's step as an engine foresees it."""

    op: str
    urn: str
    type: str
    before: Mapping[str, Any] | None
    """Inputs; secrets as `[secret]`."""
    after: Mapping[str, Any] | None
    comes_from: Mapping[str, Iterable[str]] = field(default_factory=dict)
    """Property to the URNs of the resources that its value is an output of, after the step."""

    def canonical(self) -> list[Any]:
        """The step as plain JSON values that depend on nothing but what is done."""
        before, after = self.before or {}, self.after or {}
        rows: dict[str, Any] = {}
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key), after.get(key)
            if self.op in {"update", "replace"} and old == new:
                continue
            sources = sorted(_name(urn) for urn in self.comes_from.get(key, ()))
            rows[key] = {"from": sources} if sources else [_plain(old), _plain(new)]
        return [self.op, self.type, _name(self.urn), rows]


def steps_of(result: engine.Result) -> list[Step]:
    """The steps of the embedded engine's preview that change something, one a resource."""
    found: dict[str, Step] = {}
    for report in result.steps:
        if report.op not in CHANGING or report.type.startswith(_COMPONENTS):
            continue
        op = _SAME_STEP.get(report.op, report.op)
        if op == "delete" and report.urn in found:
            continue  # the second half of a replacement
        old, new = report.old or {}, report.new or {}
        sources = report.new_state.property_dependencies if report.new_state is not None else {}
        found[report.urn] = Step(op, report.urn, report.type, old.get("inputs"), new.get("inputs"), sources)
    return list(found.values())


def digests_by_tenant(steps: Iterable[Step], parents: Mapping[str, str]) -> dict[str, str]:
    """Tenant to the digest of its steps; what all tenants share stands under the empty name."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(tenant_of(step.urn, parents), []).append(step)
    return {tenant: digest_of(group) for tenant, group in sorted(groups.items())}


def digest_of(steps: Iterable[Step]) -> str:
    """One tenant's steps as sixteen hexadecimal digits; their order does not matter."""
    texts = sorted(json.dumps(step.canonical(), sort_keys=True, separators=(",", ":")) for step in steps)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_DIGITS]


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def _plain(value: Any) -> Any:
    """The value with numbers in one form: 1 and 1.0 are the same wish."""
    if value is UNKNOWN:
        return "[unknown]"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
