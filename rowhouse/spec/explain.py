"""From what pydantic found in a file to problems: place, what is wrong, what is allowed, what to do next.

Does: translate. Does not: decide what is allowed (files.py and fields.py do).
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rowhouse.spec.document import Document
from rowhouse.spec.problem import Problem, did_you_mean, listed, nearest
from rowhouse.spec.rules import RULES
from rowhouse.spec.slug import show

__all__ = ["dotted", "plain_annotation", "unknown_key", "validated"]

M = TypeVar("M", bound=BaseModel)

_MAX_EXPLAINED = 100  # a hostile file neither fills a log nor takes minutes to compare with what it might have meant

# A value under these keys may be a credential in the wrong place: messages do not repeat it.
_QUIET = frozenset({"env", "secrets"})


def validated(model: type[M], document: Document) -> tuple[M | None, list[Problem]]:
    """A file's content as a model, or every problem that its own keys and values have."""
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        found = _without_echoes(model, error.errors(include_url=False))
        problems = [_problem(model, document, details) for details in found[:_MAX_EXPLAINED]]
        if len(found) > _MAX_EXPLAINED:
            last = problems[-1]
            more = f"{last.message} This file has {len(found) - _MAX_EXPLAINED:,} more mistakes, which are shown once these are mended."
            problems[-1] = replace(last, message=more)
        return None, problems


def _without_echoes(model: type[BaseModel], found: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The findings without a missing key that an unknown one was meant to be: a misspelt key is one mistake."""
    unknown = [details["loc"] for details in found if details["type"] == "extra_forbidden"][:_MAX_EXPLAINED]
    meant = {(*loc[:-1], nearest(str(loc[-1]), _keys_at(model, loc[:-1]))) for loc in unknown}
    return [details for details in found if details["type"] != "missing" or details["loc"] not in meant]


def _problem(model: type[BaseModel], document: Document, details: ErrorDetails) -> Problem:
    """One finding of pydantic as a problem at its place."""
    kind = details["type"]
    on_key = details["loc"][-1:] == ("[key]",)
    path = tuple(part for part in details["loc"] if part != "[key]")
    name = dotted(path)
    if kind == "extra_forbidden":
        return _at(document, document.at(path, key=True), "spec.unknown-key", unknown_key(model, path))
    if kind == "missing":
        place = document.at(path[:-1], key=True)
        hint = _description(model, path)
        return _at(document, place, "spec.missing-key", f"key {show(name)} is missing. {hint}Add it.")
    place = document.at(path, key=on_key)
    prefix = f"{name}: " if name else ""
    if kind in RULES:
        return _at(document, place, kind, prefix + details["msg"])
    return _at(document, place, "spec.value", prefix + _value_message(details, path))


def unknown_key(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """What to say of a key that the mapping above it does not have."""
    key, allowed = str(path[-1]), _keys_at(model, path[:-1])
    inside = f" in {dotted(path[:-1])}" if path[:-1] else ""
    return f"unknown key {show(key)}{inside}. {did_you_mean(key, allowed)}Keys: {listed(allowed)}. Rename or delete it."


def _value_message(details: ErrorDetails, path: Sequence[str | int]) -> str:
    """What is wrong with a value, what is allowed, what to do."""
    kind, context, given = details["type"], details.get("ctx", {}), details["input"]
    shown = "this value" if _QUIET & set(map(str, path)) else _given(given)
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        guess = did_you_mean(given, allowed) if isinstance(given, str) else ""
        return f"{shown} is not allowed. {guess}Allowed: {', '.join(allowed)}. Pick one."
    wanted = {
        "string_type": "text; put numbers and words such as true in quotes",
        "int_type": "a whole number, without quotes",
        "bool_type": "true or false",
        "list_type": "a list, one `- item` a line",
        "dict_type": "a mapping of `name: value` lines",
        "model_type": "a mapping of `key: value` lines",
        "greater_than_equal": f"{context.get('ge')} or more",
        "less_than_equal": f"{context.get('le')} or less",
        "too_short": f"at least {context.get('min_length')} entry",
    }.get(kind)
    if wanted is None:
        return f"{shown} does not fit: {details['msg']}. Correct it."
    return f"{shown} does not fit. Wanted: {wanted}. Correct it."


def _given(value: object) -> str:
    """A given value for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return show(value)


def _at(document: Document, place: tuple[int, int], rule: str, message: str) -> Problem:
    return Problem(document.source.file, place[0], place[1], rule, message)


def dotted(path: Sequence[str | int]) -> str:
    """A path as people write it: `instances.main.cpus`, `members[2]`; odd letters are escaped."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if len(part) <= 60 and part.isascii() and part.isprintable() else show(part)
            text += f".{shown}" if text else shown
    return text


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that the mapping at a path may have, in the order in which the documentation lists them."""
    found = _model_at(model, path)
    return list(found.model_fields) if found is not None else []


def _description(model: type[BaseModel], path: Sequence[str | int]) -> str:
    """The first sentence of a missing key's documentation."""
    parent = _model_at(model, path[:-1])
    field = parent.model_fields.get(str(path[-1])) if parent is not None else None
    return f"{field.description} " if field is not None and field.description else ""


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the mapping at a path."""
    annotation: Any = model
    for part in path:
        annotation = plain_annotation(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            if field is None:
                return None
            annotation = field.annotation
        else:
            arguments = typing.get_args(annotation)
            if not arguments:
                return None
            annotation = arguments[-1]
    annotation = plain_annotation(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def plain_annotation(annotation: Any) -> Any:
    """An annotation without its metadata and its `| None`."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {typing.Union, types.UnionType}:
            rest = [part for part in typing.get_args(annotation) if part is not type(None)]
            annotation = rest[0]
        elif origin is Literal:
            return str
        else:
            return annotation
