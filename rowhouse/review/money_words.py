"""The money of a change as Markdown for a comment, and as tables for a terminal.

Does: escape. Every text that comes from a file is data: it is never markup, a mention, a link or a control character. Does not: choose what
is shown (money_layout.py), or bound the comment as a whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import rich.table
import rich.text

from rowhouse.review.money_layout import Id, Sentence, Table, layout
from rowhouse.review.money_model import Money

__all__ = ["code", "escaped", "markdown", "printable", "renderables"]

_LONGEST: Final = 200
"""Characters of one text of a file; what is longer is cut off."""
_ODD: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPECIAL: Final = re.compile(r"([\\`*_\[\]#~|])")
_LINKED: Final = re.compile(r"(?i)(@|#|://|www(?=\.)|gh(?=-\d))")
"""What a comment's host makes a mention, a reference or a link of."""
_MARKS: Final = {"block": "**Blocks the merge:** ", "warning": "**Look at:** "}


def markdown(money: Money, rows: int = 20) -> list[str]:
    """Lines of GitHub's Markdown. Args: rows: of each table; of notes as many."""
    lines: list[str] = []
    small: list[str] = []
    for block in layout(money, rows):
        if isinstance(block, Table):
            lines += [*_table(block), ""]
        elif block.weight == "small":
            small.append(f"- {escaped(block.text)}")
        else:
            lines += [f"{_MARKS.get(block.weight, '')}{escaped(block.text, longest=2000)}", ""]
    if small:
        lines += ["<details><summary>How these figures were made</summary>", "", *small, "", "</details>", ""]
    return lines


def renderables(money: Money, rows: int = 20) -> list[rich.table.Table | rich.text.Text]:
    """The same for a terminal; nothing of it is read as markup."""
    styles = {"block": "red", "warning": "yellow", "small": "dim"}
    found: list[rich.table.Table | rich.text.Text] = []
    for block in layout(money, rows):
        if isinstance(block, Sentence):
            found.append(rich.text.Text(printable(block.text, longest=2000), style=styles.get(block.weight, "")))
            continue
        table = rich.table.Table(
            title=rich.text.Text(printable(block.title)), title_justify="left", caption=_caption(block), caption_justify="left"
        )
        for name, is_number in zip(block.columns, _numbers(block), strict=True):
            table.add_column(rich.text.Text(name), justify="right" if is_number else "left")
        for row in block.rows:
            table.add_row(*(rich.text.Text(printable(cell)) for cell in row))
        found.append(table)
    return found


def escaped(text: str, *, longest: int = _LONGEST) -> str:
    """A text as Markdown that shows exactly it, on one line."""
    plain = printable(text, longest=longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # The host looks for mentions and links after it has read escapes; an empty comment between their letters is what stops it.
    return _LINKED.sub(lambda found: f"{found[0][0]}<!-- -->{found[0][1:]}", _SPECIAL.sub(r"\\\1", plain))


def code(text: str) -> str:
    """A name as Markdown code, in which nothing is markup, a mention or a link; also within a table."""
    # In a table a backslash before a bar may or may not hide it, so there is none.
    plain = printable(text).replace("`", "'").replace("|", "\\u007c")
    return f"`{plain.strip() or ' '}`"


def printable(text: str, *, longest: int = _LONGEST) -> str:
    """A text on one line, without control, direction or invisible characters: their numbers stand in their place."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(f"\\u{ord(char):04x}" if unicodedata.category(char) in _ODD else char for char in cut)


def _table(block: Table) -> list[str]:
    numbers = _numbers(block)
    lines = [f"**{escaped(block.title)}**", "", _row(block.columns), _row(["---:" if number else "---" for number in numbers], raw=True)]
    lines += [_row(row) for row in block.rows]
    return [*lines, "", escaped(block.rest)] if block.rest else lines


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cell if raw else code(cell) if isinstance(cell, Id) else escaped(cell) for cell in cells)} |"


def _numbers(block: Table) -> list[bool]:
    """Which columns hold amounts: those whose first cell begins with a digit or a sign."""
    first = block.rows[0] if block.rows else ("",) * len(block.columns)
    return [re.match(r"[-+]?\d", cell) is not None and not isinstance(cell, Id) for cell in first]


def _caption(block: Table) -> rich.text.Text | None:
    return rich.text.Text(printable(block.rest)) if block.rest else None
