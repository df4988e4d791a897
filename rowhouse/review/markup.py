"""Text of files in Markdown that GitHub shows: nothing of it may become markup, a mention, a link or another line.

Does: quote a value as code, escape words, lay out a table. Does not: know what is quoted.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["code", "table", "words"]

_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]#!|~<>&@$]|:(?=//)|(?<=www)\.|^[-+=](?=\s)|^(\d+)[.)](?=\s)", re.IGNORECASE)
_LONGEST: Final = 80


def code(value: object, limit: int = _LONGEST) -> str:
    """A value as inline code, in which nothing is markup and nobody is mentioned; fit for a table's cell."""
    text = _line(str(value), limit).replace("`", "'")
    text = text.replace("|", "\\|")  # a table is cut into cells before code is seen
    return f"`{text}`" if text.strip() else "` `"


def words(text: str, limit: int = 2000) -> str:
    """Prose that may hold a file's own words, shown as it is whatever it holds; what stands between backticks is code."""
    pieces = _line(text, limit).split("`")
    if len(pieces) % 2 == 0:  # a backtick without its other half is a backtick
        pieces[-2:] = ["`".join(pieces[-2:])]
    return "".join(code(piece, limit) if number % 2 else _SPECIAL.sub(_entities, piece) for number, piece in enumerate(pieces))


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table; cells are Markdown already."""
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _line(text: str, limit: int) -> str:
    """On one line, printable, and short: control and reordering characters are shown as what they are, a hole."""
    clean = "".join(char if char.isprintable() else " " if char in "\n\r\t" else "\N{REPLACEMENT CHARACTER}" for char in text[: limit + 1])
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def _entities(found: re.Match[str]) -> str:
    """Character references: they are these characters when shown, and never markup."""
    return "".join(f"&#{ord(char)};" for char in found[0])
