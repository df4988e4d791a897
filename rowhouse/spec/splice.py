"""Where a text is cut to change one entry: for each change the ways to do it, the one that reads best first.

Does: keep comments, brackets, indentation and line ends of everything beside the entry. Does not: prove that a way means what was asked;
edit.py reads each result again and takes the first that does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rowhouse.spec.layout import Entry, Lines, Spot
from rowhouse.spec.written import Value, block, inline

__all__ = ["Splices", "appended", "dropped", "replaced"]

Splice = tuple[int, int, str]
Splices = list[Splice]
"""Ranges of the text, none within another, each with what takes its place."""

_HEADER = re.compile(r"[|>][-+0-9]*([ \t]+#[^\r\n]*)?")


def replaced(lines: Lines, parent: Spot, entry: Entry, value: Value) -> list[Splices]:
    """Another value for an entry of a mapping."""
    spot = entry.spot
    new = inline(value, spot.style if spot.style in {"'", '"'} else "")
    if spot.kind == "nothing":
        return _filled(lines, parent, entry, value, new)
    if spot.kind == "text":
        header = _HEADER.match(lines.text, spot.start) if spot.style in {"|", ">"} else None
        new += (header.group(1) or "") if header else ""
        return [[(spot.start, spot.end, new)], [(spot.start, spot.end, f" {new}")]]
    if spot.flow:
        return [[(spot.start, spot.end, new)], [(spot.start, spot.end, f" {new}")]]
    behind = entry.head if entry.colon is None else entry.colon
    return [[(behind, behind, f" {new}"), (lines.start(spot.start), lines.stop(spot.end), "")]]


def _filled(lines: Lines, parent: Spot, entry: Entry, value: Value, new: str) -> list[Splices]:
    """A value for a key that has none."""
    if entry.colon is None:
        # `{a, b: c}`, or a line `? a`
        indent = lines.indent(entry.start) or ""
        end = lines.body_end(entry.head)
        return [[(entry.head, entry.head, f": {new}")]] if parent.flow else [[(end, end, f"{lines.eol}{indent}: {new}")]]
    one_line: Splices = [(entry.colon, entry.colon, f" {new}")]
    if isinstance(value, dict) and not parent.flow and lines.indent(entry.start) == "":
        end = lines.body_end(entry.colon)
        below = block(entry.key or "", value, "", lines.eol).removesuffix(lines.eol).split(lines.eol)[1:]
        if below:
            return [[(end, end, "".join(f"{lines.eol}{line}" for line in below))], one_line]
    return [one_line]


def appended(lines: Lines, spot: Spot, key: str | None, value: Value) -> list[Splices]:
    """One more entry at the end of a mapping, or of a list where the key is None."""
    if spot.flow:
        return _appended_in_brackets(lines, spot, inline(value) if key is None else f"{inline(key)}: {inline(value)}")
    first, last = spot.entries[0], spot.entries[-1]
    indent = lines.indent(first.start)
    if indent is None:  # it begins on another one's line
        indent = " " * (first.start - lines.start(first.start))
    if key is None:
        gap = lines.text[last.head : last.spot.start]
        new = f"{indent}-{gap if gap and not gap.strip(' ') else ' '}{inline(value)}{lines.eol}"
    else:
        new = block(key, value, indent, lines.eol)
    return [_line_after(lines, at, new) for at in _ends(lines, last, len(indent))]


def _ends(lines: Lines, last: Entry, indent: int) -> list[int]:
    """Indexes behind whose lines a new entry may stand: behind the last one, with the deeper comments below it or without."""
    end = lines.stop(last.end)
    below = end
    seen = end
    while seen < len(lines.text):
        line = lines.text[seen : lines.body_end(seen)]
        words = line.lstrip(" \t")
        if words and (not words.startswith("#") or len(line) - len(words) <= indent):
            break
        seen = lines.stop(seen)
        if words:
            below = seen
    blank = end
    while blank < len(lines.text) and not lines.text[blank : lines.body_end(blank)].strip(" \t"):
        blank = lines.stop(blank)
    return [below, end, blank]


def _line_after(lines: Lines, at: int, new: str) -> Splices:
    """New lines at the start of a line; a file without a line end at its end stays without one."""
    if at == len(lines.text) and lines.text and lines.text[-1] not in "\r\n":
        return [(at, at, lines.eol + new.removesuffix(lines.eol))]
    return [(at, at, new)]


def _appended_in_brackets(lines: Lines, spot: Spot, new: str) -> list[Splices]:
    if not spot.entries:
        inside = lines.text[spot.start + 1 : spot.end - 1]
        # A comment inside keeps its line, and needs a space before it.
        return [[(spot.start + 1, spot.end - 1, new)]] if not inside.strip(" \t\r\n") else [[(spot.start + 1, spot.start + 1, new)]]
    last = spot.entries[-1]
    indent = lines.indent(last.start)
    behind = last.end if last.comma is None else last.comma
    own_lines = indent is not None and lines.start(last.start) != lines.start(spot.start)
    if own_lines and lines.is_last(behind):
        end = lines.body_end(behind)
        if last.comma is not None:
            return [[(end, end, f"{lines.eol}{indent}{new},")]]
        return [[(last.end, last.end, ","), (end, end, f"{lines.eol}{indent}{new}")]]
    if last.comma is not None:
        return [[(behind, behind, f" {new},")]]
    gap = f",{lines.eol}{indent}" if own_lines else ", "
    return [[(behind, behind, f"{gap}{new}")], [(behind, behind, f" {gap}{new}")]]


def dropped(lines: Lines, spot: Spot, gone: Sequence[int]) -> list[Splices]:
    """A mapping or list without some of its entries, not all of them."""
    if spot.flow:
        return [[cut for at in gone for cut in _cut_in_brackets(lines, spot, at)], [_cut_to_neighbour(spot, at) for at in gone]]
    cuts = [(lines.start(spot.entries[at].start), lines.stop(spot.entries[at].end)) for at in gone]
    # Blank lines below an entry would become part of a text with `|+` above it.
    wider = [(start, _past_blank(lines, end)) for start, end in cuts]
    return [[(start, end, "") for start, end in cuts], [(start, end, "") for start, end in wider]]


def _past_blank(lines: Lines, at: int) -> int:
    while at < len(lines.text) and not lines.text[at : lines.body_end(at)].strip(" \t"):
        at = lines.stop(at)
    return at


def _cut_in_brackets(lines: Lines, spot: Spot, at: int) -> Splices:
    """One entry with one comma: its lines where it has lines of its own, else the characters."""
    entry = spot.entries[at]
    behind = entry.end if entry.comma is None else entry.comma
    on_first_line = lines.start(entry.start) == lines.start(spot.start)
    if not on_first_line and lines.indent(entry.start) is not None and lines.is_last(behind):
        return [(lines.start(entry.start), lines.stop(behind), "")]
    if entry.comma is not None:
        while behind < len(lines.text) and lines.text[behind] in " \t":
            behind += 1
        if lines.text[behind : behind + 1] == "#":
            behind = entry.comma
        return [(entry.start, behind, "")]
    return [_cut_to_neighbour(spot, at)]


def _cut_to_neighbour(spot: Spot, at: int) -> Splice:
    """One entry of several on one line, with the comma before it, or the one behind it where it is the first."""
    entry = spot.entries[at]
    if at + 1 < len(spot.entries):
        return (entry.start, spot.entries[at + 1].start, "")
    if at:
        return (spot.entries[at - 1].end, entry.end if entry.comma is None else entry.comma, "")
    return (entry.start, entry.end, "")
