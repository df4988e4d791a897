"""A resource's properties as a table: what is required, what a change means, what must not be shown.

Does: check (unknown, missing, wrong type, forbidden change), detailed diff, foretelling of outputs in preview, schema. Does not: talk
to anything. A resource adds its own rules and the verbs that do.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from rowhouse.wire.contract import CheckFailure, Context, Diff, Kind
from rowhouse.wire.values import UNKNOWN, Secret, has_unknown

if TYPE_CHECKING:
    from rowhouse.wire.contract import Found

__all__ = ["Computed", "Declared", "Field", "Props", "compare"]

Props = dict[str, Any]
Change = Literal["update", "replace", "never", "ignore"]
Type = Literal["string", "integer", "boolean", "object", "array"]

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_PLAIN_KEY: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class Field:
    """One input property."""

    type: Type
    required: bool = False
    default: Any = None
    """Filled in by check when the program gives nothing; None means absent."""
    change: Change = "update"
    """What a new value means: update in place, replace the resource, refuse (`never`), or nothing at all."""
    advice: str = ""
    """For `never`: what to do instead, one sentence."""
    source: str = ""
    """What the value usually comes from; named when it is missing because that failed."""
    rule: Callable[[Any], str | None] | None = None
    """Says what is wrong with a known value of the right type, or None."""


@dataclass(frozen=True)
class Computed:
    """One output property that the vendor makes."""

    type: Type = "string"
    stable: bool = True
    """Whether an update in place leaves it as it is; an unstable one is foretold as unknown."""
    secret: bool = False


class Declared(ABC):
    """A resource that is mostly a table; subclasses say `make`, `find`, `change` and `remove`."""

    kind: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    computed: ClassVar[Mapping[str, Computed]] = {}
    delete_before_replace: ClassVar[bool] = False
    """Whether the old one must go first, because its name can exist only once."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Old property names to new ones; a program or a state that still has the old name shows no difference."""

    # -- verbs of a subclass -----------------------------------------------------------------------

    @abstractmethod
    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Create or adopt; answer the id and the computed outputs."""

    @abstractmethod
    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Update in place; answer the computed outputs."""

    @abstractmethod
    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """Find by id alone; None when gone."""

    @abstractmethod
    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Remove; gone already is a success."""

    def rules(self, olds: Props, news: Props) -> list[CheckFailure]:
        """Rules over several inputs; values may be UNKNOWN. `olds` is empty for a new resource."""
        del olds, news
        return []

    def present(self, inputs: Props) -> Props:
        """The inputs as they are repeated in the outputs."""
        return dict(inputs)

    # -- protocol ----------------------------------------------------------------------------------

    def schema(self) -> Props:
        """Pulumi's schema of this type."""
        inputs = {name: _schema_of(item.type) for name, item in self.fields.items()}
        outputs = {name: {**_schema_of(item.type), **({"secret": True} if item.secret else {})} for name, item in self.computed.items()}
        required = sorted(name for name, item in self.fields.items() if item.required)
        return {
            "description": (type(self).__doc__ or "").strip().split("\n", 1)[0],
            "inputProperties": inputs,
            "requiredInputs": required,
            "properties": {**inputs, **outputs},
            "required": sorted({*required, *outputs}),
        }

    async def check(self, ctx: Context, olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """Defaults filled in, and every bad property named at once."""
        del ctx
        olds, news = self._current(olds), self._current(news)
        failures: list[CheckFailure] = []
        for name in sorted(news):
            if name not in self.fields:
                close = difflib.get_close_matches(name, self.fields, 1)
                hint = f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(sorted(self.fields))}."
                failures.append(CheckFailure(name, f"{self.kind} has no property '{name}'.{hint}"))
        inputs: Props = {}
        for name, item in self.fields.items():
            value = news.get(name)
            if value is None:
                if item.required:
                    failures.append(CheckFailure(name, self._missing(name, item, known_before=olds.get(name) is not None)))
                    continue
                if item.default is None:
                    if item.change == "never" and olds.get(name) is not None:
                        failures.append(CheckFailure(name, f"'{name}' cannot be removed. {item.advice}"))
                    continue
                value = item.default
            inputs[name] = value
            problem = self._problem(name, item, olds, value)
            if problem:
                failures.append(CheckFailure(name, problem))
        if not failures:
            failures = self.rules(olds, inputs)
        return inputs, failures

    async def diff(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Diff:  # noqa: A002
        """Old inputs against new ones, property by property, to the deepest path."""
        del ctx, id, old_outputs
        old_inputs, news = self._current(old_inputs), self._current(news)
        paths: dict[str, Kind] = {}
        for name, item in self.fields.items():
            if item.change == "ignore":
                continue
            for path, kind in compare(name, old_inputs.get(name, item.default), news.get(name, item.default)):
                paths[path] = Kind(kind + 1) if item.change == "replace" else kind
        return Diff(paths, self.delete_before_replace)

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Make it, or foretell it."""
        if ctx.preview:
            return "", {**self.present(inputs), **dict.fromkeys(self.computed, UNKNOWN)}
        new_id, computed = await self.make(ctx, inputs)
        return new_id, self.outputs(inputs, computed)

    async def update(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Change it in place, or foretell the change."""
        if ctx.preview:
            kept = {name: old_outputs.get(name, UNKNOWN) if item.stable else UNKNOWN for name, item in self.computed.items()}
            return self.outputs(news, kept)
        computed = await self.change(ctx, id, self._current(old_inputs), old_outputs, news)
        kept = {name: old_outputs[name] for name, item in self.computed.items() if item.stable and name in old_outputs}
        return self.outputs(news, {**kept, **computed})

    def outputs(self, inputs: Props, computed: Props) -> Props:
        """Inputs and computed values together, secrets marked."""
        marked = {
            name: Secret(value) if self.computed[name].secret and not isinstance(value, Secret) else value
            for name, value in computed.items()
            if value is not None and name in self.computed
        }
        return {**self.present(inputs), **marked}

    # -- parts -------------------------------------------------------------------------------------

    def _current(self, props: Props) -> Props:
        return {self.renamed.get(name, name): value for name, value in props.items()}

    def _missing(self, name: str, item: Field, *, known_before: bool) -> str:
        if item.source:
            return (
                f"'{name}' has no value. It comes from {item.source}, which failed in this run or is not set in the program: "
                "mend that one, this one follows by itself."
            )
        if known_before:
            return (
                f"'{name}' had a value before and has none now: it comes from a resource that failed in this run, or was taken out of the "
                "program. It is required."
            )
        return f"'{name}' is required. If the program takes it from another resource, that one failed in this run: mend that one first."

    def _problem(self, name: str, item: Field, olds: Props, value: Any) -> str | None:
        old = olds.get(name)
        if value is UNKNOWN:
            if item.change == "never" and old is not None:
                return f"'{name}' would change, because what it comes from is about to be replaced. {item.advice}"
            return None
        expected = _TYPES[item.type]
        if not isinstance(value, expected) or (item.type == "integer" and isinstance(value, bool)):
            return f"'{name}' must be {_article(item.type)}, and is {_article(_json_type(value))}."
        if item.rule is not None and not has_unknown(value):
            problem = item.rule(value)
            if problem:
                return problem
        if item.change == "never" and old is not None and old is not UNKNOWN and old != value:
            return f"'{name}' cannot change from {old!r} to {value!r}. {item.advice}"
        return None


def compare(path: str, old: Any, new: Any) -> list[tuple[str, Kind]]:
    """Every place where two values differ, at the deepest path that both sides share."""
    if old is None and new is None:
        return []
    if old is None:
        return [(path, Kind.ADD)]
    if new is None:
        return [(path, Kind.DELETE)]
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[tuple[str, Kind]] = []
        for key in sorted({*old, *new}):
            found += compare(f"{path}.{key}" if _PLAIN_KEY.match(key) else f'{path}["{key}"]', old.get(key), new.get(key))
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = []
        for index in range(max(len(old), len(new))):
            found += compare(f"{path}[{index}]", old[index] if index < len(old) else None, new[index] if index < len(new) else None)
        return found
    return [] if old == new and isinstance(old, bool) == isinstance(new, bool) else [(path, Kind.UPDATE)]


def _schema_of(kind: str) -> Props:
    if kind == "object":
        return {"type": "object", "additionalProperties": {"$ref": "pulumi.json#/Any"}}
    if kind == "array":
        return {"type": "array", "items": {"$ref": "pulumi.json#/Any"}}
    return {"type": kind}


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return next((name for name, types in _TYPES.items() if isinstance(value, types)), "number")


def _article(kind: str) -> str:
    words = {"object": "a map", "array": "a list", "integer": "a whole number"}
    return words.get(kind, f"a {kind}")
