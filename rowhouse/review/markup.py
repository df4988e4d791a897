"""Text of files in Markdown that GitHub shows: nothing of it may become markup, a mention, a link or another line.

Does: quote a value as code, escape words, lay out a table. Does not: know what is quoted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["code", "printable", "table", "words"]

_ODD: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPECIAL: Final = re.compile(r"([\\`*_\[\]#~!$])|^([-+=])(?=\s)|(?<=\d)([.)])(?=\s)")
_LINKED: Final = re.compile(r"(?i)(@|#|://|www(?=\.)|gh(?=-\d))")
"""What a comment's host makes a mention, a reference or a link of."""
_LONGEST: Final = 80
_BAR: Final = "\\|"


def code(value: object, limit: int = _LONGEST) -> str:
    """A value as inline code, in which nothing is markup and nobody is mentioned."""
    text = printable(str(value), limit).replace("`", "'")
    return f"`{text}`" if text.strip() else "` `"


def words(text: str, limit: int = 2000) -> str:
    """Prose that may hold a file's own words, shown as it is whatever it holds; what stands between backticks is code."""
    pieces = printable(text, limit).split("`")
    if len(pieces) % 2 == 0:  # a backtick without its other half is a backtick
        pieces[-2:] = ["`".join(pieces[-2:])]
    return "".join(code(piece, limit) if number % 2 else _escaped(piece) for number, piece in enumerate(pieces))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool] = ()) -> list[str]:
    """The lines of a table; cells are Markdown already. Args: numbers: which columns stand to the right."""
    marks = ["---:" if number else "---" for number in numbers] or ["---"] * len(head)
    return [_row(head), _row(marks), *map(_row, rows)]


def printable(text: str, limit: int = 2000) -> str:
    """A text on one line, without control, direction or invisible characters: their numbers stand in their place."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return "".join(f"\\u{ord(char):04x}" if unicodedata.category(char) in _ODD else char for char in cut)


def _escaped(text: str) -> str:
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # The host looks for mentions and links after it has read escapes; an empty comment between their letters is what stops it.
    return _LINKED.sub(lambda found: f"{found[0][0]}<!-- -->{found[0][1:]}", _SPECIAL.sub(lambda found: f"\\{found[0]}", plain))


def _row(cells: Sequence[str]) -> str:
    # A table is cut into cells before anything else in it is seen, code too.
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"
