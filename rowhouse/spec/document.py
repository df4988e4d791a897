"""YAML as a small, plain language: mappings, lists, text, numbers, true, false, null, each with its place in the file.

Does: parse with libyaml's events, so that an anchor or the ten-thousandth bracket is refused before anything is built from it.
Does not: offer anchors, aliases, merge keys, tags, several documents, or the words that YAML 1.1 and 1.2 read differently.
Why: whoever may propose a tenant file may be hostile, and a reviewer must be able to believe what the file seems to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from rowhouse.spec.problem import Problem
from rowhouse.spec.slug import show
from rowhouse.spec.source import Source, bad_character

__all__ = ["LOADER", "MAX_DEPTH", "MAX_VALUES", "Document", "Path", "is_plain_text", "parse"]

MAX_DEPTH = 12
MAX_VALUES = 20_000
_MAX_NOTED = 50  # a person mends a few at a time; a hostile file does not fill a log

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of a document to a value."""

_INT = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}", re.ASCII)
# Words and shapes that YAML 1.1 readers, YAML 1.2 readers and people take for different things.
_AMBIGUOUS = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null)|~|[-+]?[0-9][0-9_,]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?"
    r"|[-+]?0[xob][0-9a-fA-F_]+|[-+]?\.(?i:inf|nan)|[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?|=|<<",
    re.ASCII,
)
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "": None}

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it."""


@dataclass(slots=True)
class Document:
    """One parsed file: plain data and the place of every key and value in it."""

    source: Source
    data: dict[str, Any]
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the key that leads to a path."""
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def at(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column of a value (or of its key), or of the nearest thing above it that is in the file."""
        while path:
            for marks in (self.keys, self.values) if key else (self.values, self.keys):
                if path in marks:
                    return marks[path]
            path, key = path[:-1], True
        return (1, 1)


def is_plain_text(word: str) -> bool:
    """Whether a word without quotes is text to every reader of YAML: no number, date, constant or merge key."""
    return word not in _CONSTANTS and _AMBIGUOUS.fullmatch(word) is None


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """The document breaks a rule at a mark, and nothing after it can be believed."""

    def __init__(self, mark: Any, rule: str, message: str) -> None:
        super().__init__(message)
        self.line, self.column, self.rule, self.message = mark.line + 1, mark.column + 1, rule, message


def parse(source: Source, *, strict: bool = True) -> tuple[Document | None, list[Problem]]:
    """One file's document, and what is wrong with its YAML. There is no document where the rest of the file cannot be believed.

    Where there is one beside problems, the values at their places are stand-ins, and complaints about those values say nothing new.

    Args: strict: False lets pass what YAML readers read differently, which is text here, and an empty file.
    """
    document = Document(source, {})
    loader = LOADER(source.text)
    builder = _Builder(loader, document, strict=strict)
    try:
        builder.build()
    except _Refused as refused:
        return None, [*builder.problems, Problem(source.file, refused.line, refused.column, refused.rule, refused.message)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = getattr(error, "problem", None) or "this cannot be read"
        tab = source.text.splitlines()[line - 1 : line]
        hint = "Indent with spaces, not tabs." if tab and "\t" in tab[0] else "Check indentation, colons, quotes and brackets near here."
        return None, [*builder.problems, Problem(source.file, line, column, "yaml.syntax", f"this is not YAML: {show(what)[1:-1]}. {hint}")]
    finally:
        loader.dispose()
    return document, builder.problems


class _Builder:
    """Builds plain data from parser events; holds the counters that bound the work."""

    def __init__(self, loader: Any, document: Document, *, strict: bool) -> None:
        self._next = loader.get_event
        self._document = document
        self._strict = strict
        self._count = 0
        self.problems: list[Problem] = []

    def _note(self, mark: Any, rule: str, message: str) -> None:
        """Record a broken rule after which the rest of the file still makes sense."""
        if len(self.problems) >= _MAX_NOTED:
            raise _Refused(mark, rule, message)
        self.problems.append(Problem(self._document.source.file, mark.line + 1, mark.column + 1, rule, message))

    def build(self) -> None:
        """Take exactly one document whose top is a mapping."""
        event = self._next()
        assert isinstance(event, StreamStartEvent)
        event = self._next()
        if isinstance(event, StreamEndEvent):
            if not self._strict:
                return
            raise _Refused(
                event.start_mark, "yaml.empty", "this file is empty. It must be a mapping of keys to values. Write `key: value` lines."
            )
        assert isinstance(event, DocumentStartEvent)
        if event.version is not None or event.tags:
            raise _Refused(event.start_mark, "yaml.documents", "this file has a % directive. Files are plain YAML. Delete the directive.")
        top = self._next()
        is_nothing = isinstance(top, ScalarEvent) and not top.style and not top.value and not self._strict
        if not isinstance(top, MappingStartEvent) and not is_nothing:
            self._refuse_feature(top)
            raise _Refused(
                top.start_mark, "yaml.empty", "the top of this file is not a mapping. It must be `key: value` lines. Rewrite it so."
            )
        self._refuse_feature(top)
        if not is_nothing:
            self._document.data = self._mapping((), 1)
        event = self._next()
        assert isinstance(event, DocumentEndEvent)
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            raise _Refused(
                event.start_mark, "yaml.documents", "a second document starts here. A file holds one. Put the other in its own file."
            )

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        """The value that starts with an event."""
        mark = event.start_mark
        self._document.values[path] = (mark.line + 1, mark.column + 1)
        self._count += 1
        if self._count > MAX_VALUES:
            raise _Refused(mark, "yaml.depth", f"this file holds more than {MAX_VALUES:,} values. Shorten it.")
        self._refuse_feature(event)
        if isinstance(event, AliasEvent):
            return None
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if depth >= MAX_DEPTH:
            raise _Refused(mark, "yaml.depth", f"this is nested more than {MAX_DEPTH} deep. No key needs that. Flatten it.")
        if isinstance(event, MappingStartEvent):
            return self._mapping(path, depth + 1)
        assert isinstance(event, SequenceStartEvent)
        items: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        """A mapping's pairs up to its end; a key stands once and is text."""
        data: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event)
            mark = event.start_mark
            if key in data:
                line, _ = self._document.keys[(*path, key)]
                self._note(
                    mark, "yaml.duplicate-key", f"key {show(key)} stands twice, first on line {line}. A key stands once. Delete one."
                )
            here = (*path, key)
            self._document.keys[here] = (mark.line + 1, mark.column + 1)
            data[key] = self._value(self._next(), here, depth)
        return data

    def _key(self, event: Any) -> str:
        """A mapping's key as text."""
        self._refuse_feature(event)
        mark = event.start_mark
        if isinstance(event, AliasEvent):
            return f"*{event.anchor}"
        if not isinstance(event, ScalarEvent):
            raise _Refused(mark, "yaml.key", "a list or mapping stands where a key is wanted. Keys are text. Write `key: value`.")
        text = str(event.value)
        if not event.style:
            if text == "<<":
                self._note(mark, "yaml.alias", "`<<` merges another mapping. Merge keys are refused. Write the keys out.")
            elif self._strict and not is_plain_text(text):
                self._note(mark, "yaml.key", f"key {show(text)} is not plain text to every YAML reader. Put it in quotes.")
        self._refuse_characters(event, text)
        return text

    def _scalar(self, event: Any) -> Any:
        """A scalar as text, whole number, Decimal, true, false or null; what readers disagree about is refused."""
        text = str(event.value)
        self._refuse_characters(event, text)
        if event.style:  # plain scalars have none (libyaml: an empty one)
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
        if self._strict and _AMBIGUOUS.fullmatch(text):
            self._note(
                event.start_mark,
                "yaml.ambiguous",
                f"{show(text)} is a word or number that YAML readers read differently. "
                f'For text write "{text}" in quotes; for a number write plain decimal digits; otherwise true, false or null.',
            )
        return text

    def _refuse_feature(self, event: Any) -> None:
        """No anchors, aliases, tags."""
        mark = event.start_mark
        if isinstance(event, AliasEvent):
            name = show(event.anchor)[1:-1]
            why = "Aliases are refused, because they can explode and hide. Write the value out."
            self._note(mark, "yaml.alias", f"`*{name}` repeats another value. {why}")
            return
        if event.anchor is not None:
            self._note(mark, "yaml.alias", f"`&{show(event.anchor)[1:-1]}` names a value. Anchors are refused. Delete it.")
        if event.tag is not None:
            why = "Tags are refused, because they can make values into anything. Delete it; put text in quotes."
            self._note(mark, "yaml.tag", f"{show(event.tag)} is a tag. {why}")

    def _refuse_characters(self, event: Any, text: str) -> None:
        """No control or deceptive character that came in through a backslash escape."""
        found = bad_character(text)
        if found is not None:
            self._note(
                event.start_mark,
                "file.characters",
                f"this text holds U+{ord(text[found]):04X}, a control character or one that reorders or "
                "hides text. Use printable text only. Delete the escape.",
            )
