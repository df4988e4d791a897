"""What a run changes, in one shape whichever engine told it, and grouped by tenant for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rowhouse.spec.policy import Violation

__all__ = ["CHANGING", "Change", "Failed", "Outcome", "Row", "Step", "difference", "inside", "is_component", "tenant_of"]

CHANGING = frozenset({"create", "update", "delete", "replace", "create-replacement", "delete-replaced", "import", "discard"})
_ORDER = {"delete": 0, "discard": 0, "replace": 1, "create-replacement": 1, "delete-replaced": 1, "update": 2, "import": 3, "create": 4}
_ONE_STEP = {"create-replacement": "replace", "delete-replaced": "replace", "discard": "delete"}
_COMPONENTS = ("rowhouse:index:", "pulumi:")
_TENANT_TYPE = "rowhouse:index:Tenant"
_MISSING = object()

Row = tuple[str, str, Any, Any]
"""Property path, kind (`add`, `delete`, `update`), value before, value after."""


@dataclass(frozen=True)
class Change:
    """One resource's step, secrets already hidden."""

    op: str
    """As Pulumi names it: `create`, `update`, `delete`, `replace`, ..."""
    urn: str
    type: str
    parent: str
    diff: tuple[Row, ...] = ()
    told: tuple[Row, ...] | None = None
    """The same for people, where ids would tell them nothing; its kind `same` is a change that alters no value of theirs."""

    @property
    def name(self) -> str:
        """The name in the program."""
        return self.urn.rsplit("::", 1)[-1]

    @property
    def kind(self) -> str:
        """The type for people: `fly machine`, `dns record`."""
        module, _, cls = self.type.removeprefix("cloudflare:index/").removeprefix("rowhouse:").rpartition(":")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls).lower()
        words = " ".join(word for word in words.replace("zero trust ", "").replace("cloudflared", "").split())
        return f"{module} {words}" if module in {"fly", "stripe", "edge"} else words

    @property
    def rank(self) -> tuple[int, str, str]:
        """Destructive first, then by type and name."""
        return (_ORDER.get(self.op, 9), self.type, self.name)


@dataclass(frozen=True, slots=True)
class Step:
    """One resource's change with all its inputs, for whoever compares what was foreseen with what is about to be done."""

    op: str
    """`create`, `update`, `replace`, `delete`, `import`; the parts of a replacement are one."""
    urn: str
    type: str
    before: Mapping[str, Any] | None
    """Inputs; secrets as `[secret]`."""
    after: Mapping[str, Any] | None
    comes_from: Mapping[str, Iterable[str]] = field(default_factory=dict)
    """Property to the URNs of the resources that something in its value is an output of, before the step or after it."""


@dataclass(frozen=True)
class Failed:
    """A resource, or with an empty URN the run, that did not work."""

    urn: str
    message: str
    skipped: bool = False
    """Left alone because one that it depends on failed."""
    in_files: bool = False
    """The message names a file, a line and a rule: the tenant's file asks for what cannot be."""


@dataclass
class Outcome:
    """What a run did or would do."""

    changes: list[Change] = field(default_factory=list)
    """Steps that change something."""
    steps: dict[str, Step] = field(default_factory=dict, repr=False)
    """URN to the same with all inputs, of a preview; components are left out."""
    parents: dict[str, str] = field(default_factory=dict)
    """URN to the URN of its parent, of every resource seen."""
    failures: list[Failed] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    unchanged: int = 0
    declined: bool = False
    violations: list[Violation] = field(default_factory=list)
    """What the policies say, mandatory or advisory."""

    @property
    def ok(self) -> bool:
        """Whether everything worked and no mandatory policy is broken."""
        return not self.failures and not self.refused

    @property
    def refused(self) -> bool:
        """Whether a mandatory policy is broken."""
        return any(violation.level == "mandatory" for violation in self.violations)

    def by_weight(self) -> list[Violation]:
        """Violations without repetition, the mandatory ones first, then by rule and resource."""
        return sorted(set(self.violations), key=lambda violation: (violation.level != "mandatory", violation))

    def foresee(self, op: str, urn: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
        """Keep one step of a preview, from the resource as it is and as it would be, in Pulumi's own keys."""
        kind = str((new or old or {}).get("type") or "")
        name = _ONE_STEP.get(op, op)
        if kind.startswith(_COMPONENTS) or (op.startswith("delete") and urn in self.steps):  # the second: the last part of a replacement
            return
        before, after = (None if side is None else dict(side.get("inputs") or {}) for side in (old, new))
        sources: dict[str, list[str]] = {}
        for side in (old, new):
            for key, urns in ((side or {}).get("propertyDependencies") or {}).items():
                sources[key] = sorted({*sources.get(key, ()), *urns})
        sources = {key: urns for key, urns in sources.items() if urns}
        self.steps[urn] = Step(name, urn, kind, before, None if name == "delete" else after, sources)

    def by_tenant(self) -> dict[str, list[Change]]:
        """Changes grouped by tenant; what all tenants share stands under the empty name."""
        groups: dict[str, list[Change]] = {}
        for change in sorted(self.changes, key=lambda change: change.rank):
            groups.setdefault(tenant_of(change.urn, self.parents), []).append(change)
        return dict(sorted(groups.items()))

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "changes": [
                {
                    "op": change.op,
                    "tenant": tenant_of(change.urn, self.parents) or None,
                    "type": change.type,
                    "name": change.name,
                    "urn": change.urn,
                    "diff": [{"path": p, "kind": k, "before": b, "after": a} for p, k, b, a in change.diff],
                }
                for change in sorted(self.changes, key=lambda change: change.rank)
            ],
            "failures": [
                {
                    "tenant": (tenant_of(f.urn, self.parents) or None) if f.urn else None,
                    "urn": f.urn,
                    "message": f.message,
                    "skipped": f.skipped,
                }
                for f in self.failures
            ],
            "policies": [
                {
                    "rule": v.rule,
                    "level": v.level,
                    "tenant": (tenant_of(v.urn, self.parents) or None) if v.urn else None,
                    "urn": v.urn or None,
                    "message": v.message,
                    "mend": v.mend,
                }
                for v in self.by_weight()
            ],
            "unchanged": self.unchanged,
            "declined": self.declined,
            "seconds": round(self.seconds, 3),
        }


def is_component(urn: str) -> bool:
    """Whether a resource only groups others, which tell more."""
    return bool(urn) and urn.split("::")[2].rsplit("$", 1)[-1].startswith(("rowhouse:index:", "pulumi:"))


def tenant_of(urn: str, parents: Mapping[str, str]) -> str:
    """The tenant that a resource belongs to; empty for what all share."""
    seen = set()
    while urn and urn not in seen:
        seen.add(urn)
        if urn.split("::")[2].rsplit("$", 1)[-1] == _TENANT_TYPE:
            return urn.rsplit("::", 1)[-1]
        urn = parents.get(urn, "")
    return ""


def difference(paths: Iterable[str], kinds: Mapping[str, str], old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Row, ...]:
    """The changed properties with their values, from a detailed diff's paths."""
    rows = []
    for path in sorted(paths):
        before, after = _at(old, path), _at(new, path)
        kind = kinds.get(path, "update").removesuffix("-replace")
        rows.append((path, kind, None if before is _MISSING else before, None if after is _MISSING else after))
    return tuple(rows)


def inside(row: Row) -> tuple[Row, ...]:
    """What differs within a property that is a JSON object as text, before and after; any other row as it is."""
    path, _, before, after = row
    old, new = _object(before), _object(after)
    return (row,) if old is None or new is None else tuple(_differences(path, old, new)) or (row,)


def _object(text: Any) -> Mapping[str, Any] | None:
    if not isinstance(text, str) or not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _differences(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[Row]:
    for key in sorted({*old, *new}):
        here = f"{path}.{key}"
        before, after = _by_name(old.get(key)), _by_name(new.get(key))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(here, before, after)
        elif key not in old or key not in new or before != after:
            yield here, "add" if key not in old else "delete" if key not in new else "update", old.get(key), new.get(key)


def _by_name(value: Any) -> Any:
    """A list of named things by their names, so that one more of them changes no other; everything else as it is."""
    named = isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value)
    return {item["name"]: item for item in value} if named else value


def _at(value: Any, path: str) -> Any:
    """The value at a path such as `env.PORT`, `items[0].price`, `env["a-b"]`; a marker when there is none."""
    for quoted, index, plain in re.findall(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)', path):
        if index:
            if not isinstance(value, list) or int(index) >= len(value):
                return _MISSING
            value = value[int(index)]
        else:
            if not isinstance(value, Mapping) or (quoted or plain) not in value:
                return _MISSING
            value = value[quoted or plain]
    return value
