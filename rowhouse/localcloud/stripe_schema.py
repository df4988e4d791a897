"""What a parameter may be: small types that parse a form's strings or refuse them in Stripe's words.

A table of an endpoint is a plain dict of names to these; see `stripe_params`. Nothing here knows an endpoint.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from rowhouse.localcloud.stripe_errors import invalid, missing
from rowhouse.localcloud.stripe_form import param_name

__all__ = [
    "UNSET",
    "Amount",
    "Arr",
    "Bool",
    "Enum",
    "Int",
    "Kind",
    "Map",
    "Metadata",
    "Obj",
    "Range",
    "Str",
    "Unsupported",
    "check_count",
    "parse_params",
]

Path = tuple[str, ...]
UNSET = None  # what an empty string asks for: the value is taken away
_DECIMAL = re.compile(r"^-?\d{1,15}(\.\d{1,12})?$")


class Kind(Protocol):
    """Parses one value."""

    @property
    def required(self) -> bool:
        """Whether it must be there."""

    def parse(self, value: Any, path: Path) -> Any:
        """The typed value.

        Raises: StripeError (400) naming the parameter.
        """


def _text(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {value}", param_name(path))
    return value


def _refuse_empty(path: Path) -> Exception:
    name = param_name(path)
    return invalid(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; however '{name}' "
        f"cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        name,
        "parameter_invalid_empty",
    )


@dataclass(frozen=True)
class Str:
    """Text of at most `most` characters; `unset` lets an empty string take the value away."""

    most: int = 5000
    required: bool = False
    unset: bool = False
    pattern: str = ""

    def parse(self, value: Any, path: Path) -> str | None:
        """See `Kind`."""
        text = _text(value, path)
        if not text:
            if self.unset:
                return UNSET
            raise _refuse_empty(path)
        if len(text) > self.most:
            shown = text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"
            raise invalid(f"Invalid string: {shown}; must be at most {self.most} characters", param_name(path))
        if self.pattern and re.fullmatch(self.pattern, text) is None:
            raise invalid(f"Invalid {path[-1]}: {text}", param_name(path))
        return text


@dataclass(frozen=True)
class Int:
    """A whole number within bounds."""

    least: int | None = None
    most: int | None = None
    required: bool = False
    words: tuple[str, ...] = ()

    def parse(self, value: Any, path: Path) -> int | str:
        """See `Kind`; `words` are let through as they are (`inf`, `now`)."""
        text = _text(value, path)
        if text in self.words:
            return text
        if not re.fullmatch(r"-?\d{1,18}", text):
            if not text:
                raise _refuse_empty(path)
            raise invalid(f"Invalid integer: {text}", param_name(path), "parameter_invalid_integer")
        number = int(text)
        if self.least is not None and number < self.least:
            raise invalid(f"This value must be greater than or equal to {self.least}.", param_name(path), "parameter_invalid_integer")
        if self.most is not None and number > self.most:
            raise invalid(f"This value must be less than or equal to {self.most}.", param_name(path), "parameter_invalid_integer")
        return number


@dataclass(frozen=True)
class Amount:
    """A decimal of the currency's minor unit with at most 12 decimals, kept as its exact text."""

    required: bool = False

    def parse(self, value: Any, path: Path) -> Decimal:
        """See `Kind`."""
        text = _text(value, path)
        if not _DECIMAL.fullmatch(text):
            raise invalid(
                f"Invalid decimal: {text}; must contain at maximum 12 decimal places.", param_name(path), "parameter_invalid_decimal"
            )
        try:
            return Decimal(text)
        except InvalidOperation as error:
            raise invalid(f"Invalid decimal: {text}", param_name(path)) from error


@dataclass(frozen=True)
class Bool:
    """`true` or `false`."""

    required: bool = False

    def parse(self, value: Any, path: Path) -> bool:
        """See `Kind`."""
        text = _text(value, path)
        if text not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {text}", param_name(path))
        return text == "true"


@dataclass(frozen=True)
class Enum:
    """One of a few words."""

    words: tuple[str, ...]
    required: bool = False
    unset: bool = False

    def parse(self, value: Any, path: Path) -> str | None:
        """See `Kind`."""
        text = _text(value, path)
        if self.unset and not text:
            return UNSET
        if text not in self.words:
            allowed = self.words[0] if len(self.words) == 1 else ", ".join(self.words[:-1]) + f", or {self.words[-1]}"
            if len(self.words) == 2:
                allowed = " or ".join(self.words)
            raise invalid(f"Invalid {param_name(path)}: must be one of {allowed}", param_name(path))
        return text


@dataclass(frozen=True)
class Obj:
    """A nested object with its own table."""

    table: Mapping[str, Kind]
    required: bool = False
    unset: bool = False

    def parse(self, value: Any, path: Path) -> dict[str, Any] | None:
        """See `Kind`."""
        if value == "" and self.unset:
            return UNSET
        if not isinstance(value, dict):
            raise invalid("Invalid object", param_name(path))
        return parse_params(value, self.table, path)


@dataclass(frozen=True)
class Arr:
    """A list of one kind, with at most `most` entries."""

    item: Kind
    most: int = 100
    required: bool = False
    unset: bool = False

    def parse(self, value: Any, path: Path) -> list[Any] | None:
        """See `Kind`."""
        if value == "":
            if self.unset:
                return UNSET
            raise _refuse_empty(path)
        if not isinstance(value, list):
            raise invalid("Invalid array", param_name(path))
        if len(value) > self.most:
            raise invalid(f"Array {param_name(path)} exceeded maximum {self.most} allowed elements.", param_name(path))
        return [self.item.parse(item, (*path, str(index))) for index, item in enumerate(value)]


@dataclass(frozen=True)
class Map:
    """Free keys to texts, as a meter event's payload."""

    most: int = 500
    required: bool = False

    def parse(self, value: Any, path: Path) -> dict[str, str]:
        """See `Kind`."""
        pairs = _pairs(value, path)
        for key, text in pairs.items():
            if not isinstance(text, str) or len(text) > self.most:
                raise invalid(f"Invalid string: {text!s:.40}", param_name((*path, key)))
        return pairs


@dataclass(frozen=True)
class Metadata:
    """Up to 50 keys of 40 characters with values of 500; an empty value takes its key away, an empty string all of them."""

    required: bool = False

    def parse(self, value: Any, path: Path) -> dict[str, str] | None:
        """See `Kind`."""
        if value == "":
            return UNSET
        pairs = _pairs(value, path)
        for key, text in pairs.items():
            if not isinstance(text, str):
                raise invalid("Invalid string: metadata values must be strings", param_name((*path, key)))
            if "[" in key or "]" in key:
                raise invalid(f"Metadata keys may not contain square brackets. Invalid key: {key}", param_name(path))
            if len(key) > 40:
                raise invalid(
                    f"Metadata keys can have up to 40 characters, but you passed in a key that is {len(key)} characters. "
                    f"Invalid key: {key}",
                    param_name(path),
                )
            if len(text) > 500:
                raise invalid(
                    f"Metadata values can have up to 500 characters, but you passed in a value that is {len(text)} characters. "
                    f"Invalid value: {text}",
                    param_name(path),
                )
        check_count({key: text for key, text in pairs.items() if text}, path)
        return pairs


def check_count(pairs: Mapping[str, str], path: Path = ("metadata",)) -> None:
    """Refuse more than 50 metadata keys."""
    if len(pairs) > 50:
        raise invalid(f"You can only have up to 50 metadata keys, but you passed in {len(pairs)}.", param_name(path))


def _pairs(value: Any, path: Path) -> dict[str, Any]:
    if isinstance(value, list):  # `metadata[0]=x`: the keys are numbers, and still keys
        return {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        raise invalid("Invalid object", param_name(path))
    return value


@dataclass(frozen=True)
class Range:
    """A time, or an object of gt, gte, lt and lte."""

    required: bool = False

    def parse(self, value: Any, path: Path) -> dict[str, Any]:
        """See `Kind`; a single time means gte and lte of it."""
        bound = Int(least=0)
        if isinstance(value, dict):
            return parse_params(value, {"gt": bound, "gte": bound, "lt": bound, "lte": bound}, path)
        moment = bound.parse(value, path)
        return {"gte": moment, "lte": moment}


@dataclass(frozen=True)
class Unsupported:
    """A parameter that Stripe has and this stand-in refuses, so that nobody relies on its being ignored."""

    required: bool = False

    def parse(self, value: Any, path: Path) -> Any:
        """See `Kind`."""
        del value
        raise invalid(
            f"The local stand-in does not support the parameter {param_name(path)}.", param_name(path), "parameter_unsupported_locally"
        )


_EXPAND: Mapping[str, Kind] = {"expand": Arr(Str(), most=20)}


def parse_params(values: Mapping[str, Any], table: Mapping[str, Kind], path: Path = ()) -> dict[str, Any]:
    """Typed parameters by a table; at the top `expand` is always known.

    Raises: StripeError (400) for an unknown name, a missing one, or a value that its kind refuses.
    """
    known = table if path else {**_EXPAND, **table}
    unknown = [name for name in values if name not in known]
    if unknown:
        names = [param_name((*path, name)) for name in unknown]
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.6)
        hint = f". Did you mean {near[0]}?" if near and len(unknown) == 1 else ""
        raise invalid(f"Received unknown parameter{'s' if len(names) > 1 else ''}: {', '.join(names)}{hint}", names[0], "parameter_unknown")
    for name, kind in known.items():
        if kind.required and name not in values:
            raise missing(param_name((*path, name)))
    return {name: known[name].parse(value, (*path, name)) for name, value in values.items()}
