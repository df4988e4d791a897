"""Tenant files as people write them: hypothesis draws keys, values, quotes, brackets, comments, spaces and line ends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.strategies import env_names, slugs

__all__ = ["Written", "awkward_texts", "tenant_texts"]

_WORDS = ["on", "1e3", "20.00", "2026-11-01", "12:30", "~", "null", "", "a b", "x: y", "# no", "it's", 'a "b"', "[x", "{y}", "- z", "é 木 😀",
          "a\nb", "\ttab", "@x", "*a", "&b", "!c", "%d", "| e", "> f", "back\\slash", "trailing ", "${{ x }}", "$(rm -rf /)", "<b>", "y", "007",
          "a,b", "env:X", "http://x.example/y?z=1#w", "---", "...", "? q", ": r", "a #b", "word" * 60]  # fmt: skip


def awkward_texts() -> st.SearchStrategy[str]:
    """Texts that YAML readers take for something else unless they are written with care."""
    return st.one_of(
        st.sampled_from(_WORDS),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn", "Co"]), max_size=30),
        st.text("ab1 :#-{}[],'\"&*!|>%@\\\n\t", max_size=20),
    )


@dataclass
class _Chunk:
    """One entry's own lines."""

    key: str
    lines: list[str]
    inner: list[_Chunk] = field(default_factory=list)
    """Of a block mapping or list: its entries, each with the lines before it that are not its own."""
    before: list[str] = field(default_factory=list)


@dataclass
class Written:
    """A file, and which of its lines belong to which key."""

    text: str
    lines: list[str]
    """Without their ends."""
    spans: dict[tuple[str, ...], tuple[int, int]]
    """First line and the one behind the last, for each path whose value has lines of its own."""
    eol: str


def _lines_of(chunk: _Chunk) -> list[str]:
    return [*chunk.lines, *(line for part in chunk.inner for line in [*part.before, *_lines_of(part)])]


def _spans_of(chunk: _Chunk, above: tuple[str, ...], first: int) -> dict[tuple[str, ...], tuple[int, int]]:
    path = (*above, chunk.key)
    spans = {path: (first, first + len(_lines_of(chunk)))}
    at = first + len(chunk.lines)
    for part in chunk.inner:
        spans |= _spans_of(part, path, at + len(part.before))
        at += len(part.before) + len(_lines_of(part))
    return spans


class _Pen:
    """Writes one file; every comment it makes has a number of its own."""

    def __init__(self, taste: Random) -> None:
        self.taste = taste
        self.numbers = count()

    def maybe(self, *choices: str) -> str:
        return self.taste.choice(choices)

    def comment(self) -> str:
        return f"# c{next(self.numbers)}{self.maybe('', ': x', ' {', ' é', ' - a')}"

    def tail(self) -> str:
        """What follows a value on its line."""
        return self.maybe("", "", " ", "  ") + self.maybe("", "", f" {self.comment()}")

    def between(self, indent: str) -> list[str]:
        """Lines before an entry that are not its own."""
        kinds = self.taste.choices(["blank", "spaces", "comment", "left"], k=self.taste.randrange(3))
        lines = {"blank": "", "spaces": "   ", "comment": "", "left": ""}
        return [indent + self.comment() if kind == "comment" else self.comment() if kind == "left" else lines[kind] for kind in kinds]

    def scalar(self, value: str | int) -> str:
        if isinstance(value, int):
            return str(value)
        double = json.dumps(value, ensure_ascii=self.taste.random() < 0.5)
        ways = [double]
        if value.isprintable() and value:
            ways.append("'" + value.replace("'", "''") + "'")
        if value.replace("-", "").replace("/", "").replace("@", "a").replace(".", "").isalpha() and value[0].isalpha() and len(value) > 5:
            ways.append(value)
        return self.taste.choice(ways)

    def flow(self, value: dict | list | str | int) -> str:
        """A value in brackets, on one line or on several, some with comments."""
        if not isinstance(value, dict | list):
            return self.scalar(value)
        parts = [self.flow(item) for item in value] if isinstance(value, list) else [self._pair(key, held) for key, held in value.items()]
        left, right = "[]" if isinstance(value, list) else "{}"
        if not parts:
            return left + self.maybe("", " ") + right
        end = self.maybe("", ",", " ,")
        if self.taste.randrange(4):
            pad = self.maybe("", " ")
            return left + pad + self.maybe(", ", " ,  ", ",\t").join(parts) + end + pad + right
        lines = [f"      {part}{',' if at + 1 < len(parts) else end}{self.tail()}" for at, part in enumerate(parts)]
        return "\n".join([left + self.tail(), *lines, "    " + right])

    def _pair(self, key: str, value: Any) -> str:
        name = self.maybe(key, _json_key(key))
        return self.maybe("", "", "? ") + f"{name}:{self.maybe(' ', '  ')}{self.flow(value)}"

    def entry(self, key: str, value: Any, indent: str) -> _Chunk:
        """A key with its value in one of the styles."""
        name = self.maybe(key, key, _json_key(key))
        if self.taste.randrange(10) == 0 and not isinstance(value, dict | list):
            return _Chunk(key, [f"{indent}? {name}{self.tail()}", f"{indent}: {self.scalar(value)}{self.tail()}"])
        colon = f"{indent}{name}{self.maybe('', '', ' ')}:"
        if isinstance(value, dict | list) and value and self.taste.random() < 0.5:
            return self._block(key, value, indent, colon)
        if isinstance(value, str) and _is_block_text(value) and self.taste.random() < 0.5:
            head = self.maybe("|", "|2", "|+") if value.endswith("\n") else "|-"
            body = [f"{indent}  {line}" for line in value.removesuffix("\n").split("\n")]
            return _Chunk(key, [f"{colon} {head}{self.tail()}", *body])
        if isinstance(value, str) and " " in value and value.replace(" ", "").isalpha() and "  " not in value and value == value.strip():
            words = value.split(" ")  # a text over several lines
            return _Chunk(
                key, [f"{colon} '{words[0]}", *(f"{indent}   {word}" for word in words[1:-1]), f"{indent}   {words[-1]}'{self.tail()}"]
            )
        return _Chunk(key, f"{colon}{self.maybe(' ', '   ')}{self.flow(value)}{self.tail()}".split("\n"))

    def _block(self, key: str, value: dict | list, indent: str, colon: str) -> _Chunk:
        step = self.maybe("  ", "    ", " ")
        chunk = _Chunk(key, [colon + self.tail()])
        if isinstance(value, list):
            dash = indent + self.maybe("", "  ", "    ")
            for item in value:
                line = f"{dash}-{self.maybe(' ', '   ')}{self.scalar(item)}{self.tail()}"
                chunk.inner.append(_Chunk(item, [line], before=self.between(dash)))
            return chunk
        for name, held in value.items():
            part = self.entry(name, held, indent + step)
            part.before = self.between(indent + step)
            chunk.inner.append(part)
        return chunk


def _json_key(key: str) -> str:
    return f'"{key}"'


def _is_block_text(value: str) -> bool:
    lines = value.removesuffix("\n").split("\n")
    return all(line and line == line.strip() and line.isprintable() for line in lines)


def _members() -> st.SearchStrategy[list[str]]:
    return st.lists(slugs(8).map(lambda name: f"{name}@acme.example"), max_size=4, unique=True)


def _instances() -> st.SearchStrategy[dict]:
    keys = st.dictionaries(st.sampled_from(["cpus", "memory_mb", "volume_gb"]), st.integers(1, 4).map(lambda n: n * 256), max_size=3)
    return st.dictionaries(slugs(8), keys, min_size=1, max_size=3)


def documents() -> st.SearchStrategy[dict]:
    """Contents of tenant files, their keys in any order; nothing is checked against a fleet."""
    name = st.one_of(awkward_texts(), st.sampled_from(["Acme Ltd and Sons", "Quill"]))
    owner = st.fixed_dictionaries({"email": st.just("ops@acme.example")}, optional={"name": name})
    variables = st.dictionaries(env_names(), st.one_of(awkward_texts(), st.sampled_from(["two\nlines\n", "one\n", "a b c"])), max_size=3)
    whole = st.fixed_dictionaries(
        {"owner": owner, "plan": st.just("aether/pro")},
        optional={
            "members": _members(),
            "state": st.sampled_from(["active", "suspended"]),
            "env": variables,
            "secrets": st.dictionaries(env_names(), st.just("env:ACME_KEY"), max_size=2),
            "instances": _instances(),
        },
    )
    return whole.flatmap(lambda data: st.permutations(list(data)).map(lambda keys: {key: data[key] for key in keys}))


@st.composite
def tenant_texts(draw: st.DrawFn) -> Written:
    """A file in any of the ways in which it can be written."""
    # One draw for all of the taste: a draw for each space would take minutes to shrink.
    taste = Random(draw(st.integers(0, 2**32)))
    pen = _Pen(taste)
    lines = taste.choice([[], [], ["---"], ["--- # start"], ["# a file", ""]]).copy()
    spans = {}
    for key, value in draw(documents()).items():
        chunk = pen.entry(key, value, "")
        lines.extend(pen.between(""))
        spans |= _spans_of(chunk, (), len(lines))
        lines.extend(_lines_of(chunk))
    lines.extend(taste.choice([[], [], ["# end"], ["", ""], ["..."]]))
    eol = taste.choice(["\n", "\n", "\r\n"])
    return Written(eol.join(lines) + taste.choice([eol, eol, ""]), lines, spans, eol)
