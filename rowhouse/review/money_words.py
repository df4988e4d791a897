"""The money of a change as Markdown for a comment, and as tables for a terminal.

Does: lay what is shown out in either. Every text that comes from a file is quoted (markup.py). Does not: choose what is shown
(money_layout.py), or bound the comment as a whole.
"""

from __future__ import annotations

import re
from typing import Final

import rich.table
import rich.text

from rowhouse.review.markup import code, printable, table, words
from rowhouse.review.money_layout import Id, Sentence, Table, layout
from rowhouse.review.money_model import Money

__all__ = ["markdown", "renderables"]

_MARKS: Final = {"block": "**Blocks the merge:** ", "warning": "**Look at:** "}


def markdown(money: Money, rows: int = 20) -> list[str]:
    """Lines of GitHub's Markdown. Args: rows: of each table; of notes as many."""
    lines: list[str] = []
    small: list[str] = []
    for block in layout(money, rows):
        if isinstance(block, Table):
            lines += [*_table(block), ""]
        elif block.weight == "small":
            small.append(f"- {words(block.text)}")
        else:
            lines += [f"{_MARKS.get(block.weight, '')}{words(block.text)}", ""]
    if small:
        lines += ["<details><summary>How these figures were made</summary>", "", *small, "", "</details>", ""]
    return lines


def renderables(money: Money, rows: int = 20) -> list[rich.table.Table | rich.text.Text]:
    """The same for a terminal; nothing of it is read as markup."""
    styles = {"block": "red", "warning": "yellow", "small": "dim"}
    found: list[rich.table.Table | rich.text.Text] = []
    for block in layout(money, rows):
        if isinstance(block, Sentence):
            found.append(rich.text.Text(printable(block.text), style=styles.get(block.weight, "")))
            continue
        made = rich.table.Table(
            title=rich.text.Text(printable(block.title)), title_justify="left", caption=_caption(block), caption_justify="left"
        )
        for name, is_number in zip(block.columns, _numbers(block), strict=True):
            made.add_column(rich.text.Text(name), justify="right" if is_number else "left")
        for row in block.rows:
            made.add_row(*(rich.text.Text(printable(cell)) for cell in row))
        found.append(made)
    return found


def _table(block: Table) -> list[str]:
    rows = [[code(cell) if isinstance(cell, Id) else words(cell) for cell in row] for row in block.rows]
    lines = [f"**{words(block.title)}**", "", *table([words(name) for name in block.columns], rows, _numbers(block))]
    return [*lines, "", words(block.rest)] if block.rest else lines


def _numbers(block: Table) -> list[bool]:
    """Which columns hold amounts: those whose first cell begins with a digit or a sign."""
    first = block.rows[0] if block.rows else ("",) * len(block.columns)
    return [re.match(r"[-+]?\d", cell) is not None and not isinstance(cell, Id) for cell in first]


def _caption(block: Table) -> rich.text.Text | None:
    return rich.text.Text(printable(block.rest)) if block.rest else None
