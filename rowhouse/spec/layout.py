"""Where everything stands in a file that `document.parse` found nothing wrong with: each entry's key, colon, value, comma, as indexes.

Does: put PyYAML's nodes (what belongs to what) and tokens (where dashes, colons and commas are) together. Does not: read values
(document.py does) or change anything (edit.py does).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from rowhouse.spec.document import LOADER

__all__ = ["Entry", "Lines", "Spot", "layout_of"]

_BREAK: Final = re.compile(r"\r\n|\n|\r")
_SPACE: Final = " \t\r\n"


@dataclass(slots=True)
class Spot:
    """A value's place."""

    kind: Literal["text", "mapping", "list", "nothing"]
    """`text` is any scalar that is written out; `nothing` one that is not."""
    start: int
    end: int
    """Behind its last character that is no white space; of `nothing` the same as start, behind what it belongs to."""
    flow: bool = False
    """Of a mapping or list: in brackets."""
    style: str = ""
    """Of a text: `'`, `"`, `|`, `>` or none."""
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """A mapping's key with its value, or a list's item."""

    key: str | None
    start: int
    """Of its key, of the `?` before it, or of its dash; of an item in brackets the value's."""
    head: int
    """Behind the key, or behind the dash."""
    colon: int | None
    """Behind the colon; None in lists, and for a key without one."""
    spot: Spot
    comma: int | None
    """Behind the comma that follows, in brackets."""

    @property
    def end(self) -> int:
        """Behind its last character."""
        return max(self.head, self.colon or 0, self.spot.end)


class Lines:
    """Lines of a text, by the breaks that YAML knows."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]
        first = _BREAK.search(text)
        self.eol: str = first.group() if first else "\n"
        """How the first line ends; a line feed where none does."""

    def start(self, index: int) -> int:
        """Where the line that holds an index starts."""
        at = bisect_left(self._starts, index + 1) - 1
        return self._starts[at]

    def stop(self, index: int) -> int:
        """Behind the break of that line, or the end of the text."""
        at = bisect_left(self._starts, index + 1)
        return self._starts[at] if at < len(self._starts) else len(self.text)

    def body_end(self, index: int) -> int:
        """The end of that line before its break."""
        found = _BREAK.search(self.text, index)
        return found.start() if found else len(self.text)

    def indent(self, index: int) -> str | None:
        """What stands before an index on its line, when it is nothing but white space."""
        before = self.text[self.start(index) : index]
        return None if before.strip(" \t") else before

    def is_last(self, index: int) -> bool:
        """Whether nothing but white space or a comment follows an index on its line."""
        rest = self.text[index : self.body_end(index)]
        return re.fullmatch(r"[ \t]*([ \t]#.*)?", rest) is not None


def layout_of(text: str) -> Spot:
    """The place of the top mapping and of all below it. The text is one that `parse` took without a problem."""
    tokens = _Tokens(text)
    return _spot(yaml.compose(text, Loader=LOADER), 0, text, tokens)


class _Tokens:
    """Where the marks between values are, by kind."""

    def __init__(self, text: str) -> None:
        self.keys: list[int] = []
        self.colons: list[int] = []
        self.dashes: list[int] = []
        self.commas: list[int] = []
        kinds = {
            yaml.KeyToken: self.keys,
            yaml.ValueToken: self.colons,
            yaml.BlockEntryToken: self.dashes,
            yaml.FlowEntryToken: self.commas,
        }
        for token in yaml.scan(text, Loader=LOADER):
            places = kinds.get(type(token))
            if places is not None:
                places.append(token.start_mark.index)


def _first(places: list[int], low: int, high: int) -> int | None:
    """The first place in [low, high]."""
    at = bisect_left(places, low)
    return places[at] if at < len(places) and places[at] <= high else None


def _spot(node: Any, nothing_at: int, text: str, tokens: _Tokens) -> Spot:
    """Args: nothing_at: where the value stands if it is not written out."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode):
        if not node.value and not node.style:
            return Spot("nothing", nothing_at, nothing_at)
        written = text[start:end].rstrip(_SPACE) if node.style in {"|", ">"} else text[start:end]
        return Spot("text", start, start + len(written), style=node.style or "")
    flow = bool(node.flow_style)
    spot = Spot("mapping" if isinstance(node, yaml.MappingNode) else "list", start, end, flow=flow)
    low = start
    for child in node.value:
        entry = _entry(child, low, text, tokens) if isinstance(child, tuple) else _item(child, low, flow, text, tokens)
        spot.entries.append(entry)
        low = entry.end
    if not flow:
        spot.end = low
    else:
        _note_commas(spot, tokens)
    return spot


def _note_commas(spot: Spot, tokens: _Tokens) -> None:
    """Give each entry in brackets the comma between it and the next one or the bracket."""
    for at, entry in enumerate(spot.entries):
        following = spot.entries[at + 1].start if at + 1 < len(spot.entries) else spot.end
        comma = _first(tokens.commas, entry.end, following - 1)
        entry.comma = None if comma is None else comma + 1


def _entry(pair: tuple[Any, Any], low: int, text: str, tokens: _Tokens) -> Entry:
    key, value = pair
    start, head = key.start_mark.index, key.end_mark.index
    question = _first(tokens.keys, low, start)
    colon = _first(tokens.colons, head, max(head, value.start_mark.index))
    behind = None if colon is None else colon + 1
    spot = _spot(value, behind or head, text, tokens)
    return Entry(str(key.value), start if question is None else question, head, behind, spot, None)


def _item(value: Any, low: int, flow: bool, text: str, tokens: _Tokens) -> Entry:
    dash = None if flow else _first(tokens.dashes, low, value.start_mark.index)
    start = value.start_mark.index if dash is None else dash
    head = start if dash is None else dash + 1
    return Entry(None, start, head, None, _spot(value, head, text, tokens), None)
