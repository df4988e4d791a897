"""Values as they are written into a tenant file, so that every YAML reader takes them for the same thing.

Does: quote what must be quoted, and choose between one line and one line a key as the shipped files do. Does not: read or place anything
(layout.py and edit.py do).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from rowhouse.spec.document import is_plain_text

__all__ = ["Value", "block", "inline"]

Value = str | int | None | list["Value"] | dict[str, "Value"]
"""What an edit may write. Money and quantities are text: the files hold them in quotes."""

# Few enough characters that the text ends nowhere early, also inside braces: no comma, bracket or hash, a colon only within a word.
_PLAIN: Final = re.compile(r"(?:[^\W\d]|/)(?:[\w./@+&'-]|:(?=[\w/])| (?=[\w.(/&+-]))*")
_ONE_LINE: Final = frozenset({"owner"})
_STEP: Final = 2


def inline(value: Value, quote: str = "") -> str:
    """A value on one line.

    Args: quote: the kind of quotes that stood there before; text keeps it where it can.
    """
    if isinstance(value, str):
        return _text(value, quote)
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inline(key)}: {inline(held)}" for key, held in value.items()) + "}"
    return "[" + ", ".join(inline(item) for item in value) + "]"


def block(key: str, value: Value, indent: str, eol: str) -> str:
    """The lines of one key with its value, each with its end; `indent` stands before each.

    At the top a mapping is written one line a key, but an owner, and everything deeper, on one line.
    """
    if isinstance(value, Mapping) and value and not indent and key not in _ONE_LINE:
        inner = " " * _STEP
        return f"{inline(key)}:{eol}" + "".join(f"{inner}{inline(name)}: {inline(held)}{eol}" for name, held in value.items())
    return f"{indent}{inline(key)}: {inline(value)}{eol}"


def _text(text: str, quote: str) -> str:
    if quote == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    if not quote and _PLAIN.fullmatch(text) and is_plain_text(text):
        return text
    return json.dumps(text, ensure_ascii=False)
