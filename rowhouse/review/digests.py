"""A tenant's change as one number: equal when the same is done to the same resources with the same values, whoever foresees it.

Does: write each step canonically (operation, resource, changed properties with their values before and after) and hash a tenant's steps.
Does not: keep a digest anywhere. What is an output of another resource is written as where it comes from, because a review without vendors
cannot know it; a secret is written as being one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rowhouse.review.changes import Step, tenant_of
from rowhouse.spec.policy import UNKNOWN

__all__ = ["canonical", "digest_of", "digests_by_tenant", "plain"]

_DIGITS: Final = 16


def canonical(step: Step) -> list[Any]:
    """A step as plain JSON values that depend on nothing but what is done."""
    before, after = step.before or {}, step.after or {}
    rows: dict[str, Any] = {}
    for key in sorted(before.keys() | after.keys()):
        if key.startswith("__"):  # what bridged plugins note for themselves
            continue
        old, new = before.get(key), after.get(key)
        if step.op in {"update", "replace"} and old == new:
            continue
        sources = sorted(_name(urn) for urn in step.comes_from.get(key, ()))
        rows[key] = [plain(old), plain(new), *sources]
    return [step.op, step.type, _name(step.urn), rows]


def digests_by_tenant(steps: Iterable[Step], parents: Mapping[str, str]) -> dict[str, str]:
    """Tenant to the digest of its steps; what all tenants share stands under the empty name."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(tenant_of(step.urn, parents), []).append(step)
    return {tenant: digest_of(group) for tenant, group in sorted(groups.items())}


def digest_of(steps: Iterable[Step]) -> str:
    """One tenant's steps as sixteen hexadecimal digits; their order does not matter."""
    text = "\n".join(sorted(json.dumps(canonical(step), sort_keys=True, separators=(",", ":")) for step in steps))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def plain(value: Any) -> Any:
    """The value with numbers in one form: 1 and 1.0 are the same wish."""
    if value is UNKNOWN:
        return "[unknown]"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
