"""A tenant file's text with one value changed, and every other byte as it was.

Does: put, drop, add to and remove from a list, by splicing the text at the marks of YAML's own scanner; then the result is read again, and
only a text that means exactly what was asked is given back. Does not: know which keys there are (assignments.py) or touch a disk.
Why no round trip through a YAML writer: it evens out spaces, indentation, line ends and comments in brackets, so that a reviewer sees
more changed than what was asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rowhouse.errors import RowhouseError, SpecError
from rowhouse.spec.document import parse
from rowhouse.spec.layout import Lines, Spot, layout_of
from rowhouse.spec.problem import only_errors
from rowhouse.spec.slug import show
from rowhouse.spec.source import Source, bad_character
from rowhouse.spec.splice import Splices, appended, dropped, replaced
from rowhouse.spec.written import Value

__all__ = ["Add", "Drop", "Edit", "EditError", "Put", "Remove", "edited"]

KeyPath = tuple[str, ...]
"""Keys from the top of a file to a value."""


class EditError(RowhouseError):
    """An edit that a file's text does not allow."""


@dataclass(frozen=True, slots=True)
class Put:
    """Let a key have a value; mappings above it that are not there are made."""

    path: KeyPath
    value: Value


@dataclass(frozen=True, slots=True)
class Drop:
    """Let a key not be there."""

    path: KeyPath


@dataclass(frozen=True, slots=True)
class Add:
    """Let a list end with an item; a list that is not there is made."""

    path: KeyPath
    item: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Let an item not be in a list, however often it stands there."""

    path: KeyPath
    item: str


Edit = Put | Drop | Add | Remove


def edited(source: Source, edits: Iterable[Edit]) -> str:
    """The file's text after all edits, one after the other; the same text where they change nothing.

    Raises: SpecError when the file is not plain YAML, before or after; EditError when an edit does not fit what stands there.
    """
    text = source.text
    for edit in edits:
        _refuse_characters(source.file, edit)
        for step in _steps(source, text, edit):
            text = _once(Source(source.slug, source.file, text), step)
    return text


def _steps(source: Source, text: str, edit: Edit) -> list[Edit]:
    """A list that takes the place of another keeps what both have, so that comments beside those items stay."""
    if not isinstance(edit, Put) or not isinstance(edit.value, list):
        return [edit]
    old = _at(_read(Source(source.slug, source.file, text)), edit.path)
    new = [item for item in edit.value if isinstance(item, str)]
    if not isinstance(old, list) or len(new) != len(edit.value) or len(set(map(repr, old))) != len(old) or len(set(new)) != len(new):
        return [edit]
    kept = [item for item in old if item in new]
    added = [item for item in new if item not in old]
    if kept + added != new or not kept:
        return [edit]
    gone = [Remove(edit.path, item) for item in old if item not in new]
    return [*gone, *(Add(edit.path, item) for item in added)]


def _once(source: Source, edit: Edit) -> str:
    """The text after one edit: the first way to splice it that means what was asked."""
    before = _read(source)
    wanted = _applied(source.file, before, edit)
    if repr(wanted) == repr(before):
        return source.text
    refused = []
    for splices in _ways(source, edit, before):
        text = _spliced(source.text, splices)
        document, problems = parse(Source(source.slug, source.file, text))
        # repr tells 1, True and Decimal(1) apart, and the order of keys.
        if document is not None and not problems and repr(document.data) == repr(wanted):
            return text
        refused = problems
    if only_errors(refused):
        raise SpecError(refused)
    name = ".".join(edit.path)
    raise EditError(
        f"{source.file}: {show(name)[1:-1]} cannot be changed without touching the lines around it. "
        "Allowed here: values on lines of their own. Change it by hand."
    )


def _read(source: Source) -> dict[str, Any]:
    document, problems = parse(source)
    if document is None or problems:
        raise SpecError(problems)
    return document.data


def _at(data: Any, path: KeyPath) -> Any:
    """The value at a path; None where there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _applied(file: str, data: dict[str, Any], edit: Edit) -> dict[str, Any]:
    """The document that is asked for."""
    wanted = copy.deepcopy(data)
    above = wanted
    for depth, key in enumerate(edit.path[:-1]):
        if above.get(key) is None:
            if not isinstance(edit, Put | Add):
                return wanted
            above[key] = {}
        if not isinstance(above[key], dict):
            name = show(".".join(edit.path[: depth + 1]))[1:-1]
            raise EditError(f"{file}: {name} is no mapping, so that nothing can stand below it. Name that key itself, or a mapping.")
        above = above[key]
    key = edit.path[-1]
    if isinstance(edit, Put):
        above[key] = copy.deepcopy(edit.value)
    elif isinstance(edit, Drop):
        above.pop(key, None)
    else:
        held = above.get(key)
        if held is not None and not isinstance(held, list):
            raise EditError(f"{file}: {show('.'.join(edit.path))[1:-1]} is no list. Items go into lists. Give it a new value as a whole.")
        if isinstance(edit, Add):
            above[key] = [*(held or []), edit.item]
        elif held is not None:
            above[key] = [item for item in held if item != edit.item]
    return wanted


def _ways(source: Source, edit: Edit, data: dict[str, Any]) -> list[Splices]:
    """Ways to splice an edit, the best first."""
    top = layout_of(source.text)
    lines = Lines(source.text)
    spots, rest = _down(top, edit.path)
    if isinstance(edit, Remove):
        items = _at(data, edit.path)
        gone = [at for at, item in enumerate(items) if item == edit.item]
        return _without(lines, spots, gone)
    if isinstance(edit, Drop):
        parent = spots[-2]
        return _without(lines, spots[:-1], [_index(parent, edit.path[-1])])
    if isinstance(edit, Add):
        if not rest and spots[-1].kind == "list":
            return appended(lines, spots[-1], None, edit.item)
        return _put(lines, spots, edit.path, rest, [edit.item])
    return _put(lines, spots, edit.path, rest, edit.value)


def _put(lines: Lines, spots: list[Spot], path: KeyPath, rest: KeyPath, value: Value) -> list[Splices]:
    """A value in the place of another one, or as a new entry with all mappings that it needs."""
    if spots[-1].kind == "mapping" and rest:
        for key in reversed(rest[1:]):
            value = {key: value}
        return appended(lines, spots[-1], rest[0], value)
    for key in reversed(rest):  # below a key that has nothing yet
        value = {key: value}
    depth = len(path) - len(rest)
    return replaced(lines, spots[-2], spots[-2].entries[_index(spots[-2], path[depth - 1])], value)


def _without(lines: Lines, spots: list[Spot], gone: Sequence[int]) -> list[Splices]:
    """The last of these places without some entries; with brackets that hold nothing once all are gone."""
    spot = spots[-1]
    if len(gone) == len(spot.entries) and len(spots) > 1:
        parent = spots[-2]
        entry = next(each for each in parent.entries if each.spot is spot)
        ways = replaced(lines, parent, entry, [] if spot.kind == "list" else {})
        if spot.flow and "#" in lines.text[spot.start : spot.end]:
            return dropped(lines, spot, gone)
        return ways
    return dropped(lines, spot, gone)


def _down(top: Spot, path: KeyPath) -> tuple[list[Spot], KeyPath]:
    """The places along a path as far as there are any, and the keys that remain."""
    spots = [top]
    for depth, key in enumerate(path):
        here = spots[-1]
        found = [entry for entry in here.entries if entry.key == key] if here.kind == "mapping" else []
        if not found:
            return spots, path[depth:]
        spots.append(found[0].spot)
    return spots, ()


def _index(spot: Spot, key: str) -> int:
    return next(at for at, entry in enumerate(spot.entries) if entry.key == key)


def _spliced(text: str, splices: Splices) -> str:
    """The text with each of the ranges, which do not overlap, replaced; of two at one place the first stays in front."""
    parts, at = [], 0
    for start, end, new in sorted(splices, key=lambda splice: splice[:2]):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def _refuse_characters(file: str, edit: Edit) -> None:
    """No file is made that the reader would refuse for what cannot be seen in it."""
    texts = [*edit.path, *([] if isinstance(edit, Drop) else _texts(edit.value if isinstance(edit, Put) else edit.item))]
    for text in texts:
        found = bad_character(text)
        if found is not None:
            name = show(".".join(edit.path))[1:-1]
            raise EditError(
                f"{file}: {name} would hold U+{ord(text[found]):04X}, a control character or one that reorders or hides text. "
                "Allowed: printable text, tabs and line feeds. Leave it out."
            )


def _texts(value: Value) -> list[str]:
    """Every text in a value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, held in value.items() for text in (key, *_texts(held))]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
