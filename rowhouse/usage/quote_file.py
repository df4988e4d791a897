"""A file of made-up use, read with suspicion: JSON, small, every mistake in it told at once with its place.

Does: parse, check, turn times into milliseconds. Does not: clip to a period, count or price anything (quote.py).
Why not pydantic: its messages name types, not what a person should write, and it has no line numbers for JSON.
"""

from __future__ import annotations

import json
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal, InvalidOperation, localcontext
from pathlib import Path
from typing import Any, Final, TypeVar

from rowhouse.errors import RowhouseError
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.spec.times import instant
from rowhouse.usage.model import GB_MICROS, milliseconds

__all__ = ["MAX_BYTES", "RULES", "UsageFileError", "UsageProblem", "WrittenUse", "read_use"]

MAX_BYTES = 8 * 1024 * 1024
"""Of one file. A month of runs of a minute each needs three."""
_GB = re.compile(r"\d{1,10}(\.\d{1,9})?", re.ASCII)
_MAX_COUNT = 1_000_000_000_000
_MAX_GB = Decimal(1_000_000_000)
_MAX_TOLD = 50  # a person mends a few at a time; a hostile file fills neither a log
_MAX_NOTED = 1000  # nor the memory

RULES: Final[Mapping[str, str]] = {
    "quote.file": "The file is a regular one of UTF-8 text that can be read.",
    "quote.size": f"The file has at most {MAX_BYTES // 1024 // 1024} MiB.",
    "quote.json": "The file is one JSON document without NaN, Infinity, deep nesting or huge numbers.",
    "quote.twice": "A key stands once.",
    "quote.key": "Only known keys stand in the file.",
    "quote.shape": "Each key holds the kind of value that it takes.",
    "quote.time": "A time is RFC 3339 with its zone.",
    "quote.order": "A run ends at or after its start.",
    "quote.count": f"A count is a whole number from 0 to {_MAX_COUNT:,}.",
    "quote.gb": "A number of GB is 0 or more, with at most nine decimals.",
    "quote.counter": "A counter is one that a meter of the plan counts.",
    "quote.pack": "A pack is on sale for the plan.",
}


@dataclass(frozen=True, slots=True, order=True)
class UsageProblem:
    """A broken rule, where it was broken, and what to do."""

    file: str
    line: int
    """From 1; 1 where a problem concerns the whole file."""
    column: int
    path: str
    """`running[3][1]`; empty for the whole file."""
    rule: str
    """A key of RULES."""
    message: str

    def __str__(self) -> str:
        """The line that a person and an editor read."""
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: error {self.rule}: {where}{self.message}"


class UsageFileError(RowhouseError):
    """A file of use is wrong; carries every problem that was found in it."""

    def __init__(self, problems: Sequence[UsageProblem], *, count: int | None = None) -> None:
        self.problems = tuple(problems)
        count = len(self.problems) if count is None else count
        told = [str(problem) for problem in self.problems[:_MAX_TOLD]]
        if count > len(told):
            told.append(f"... and {count - len(told):,} more")
        super().__init__("\n".join([f"{count:,} error{'' if count == 1 else 's'} in the file of use; nothing was computed.", *told]))


@dataclass(frozen=True, slots=True)
class WrittenUse:
    """What a file says was used. Instants are milliseconds UTC, in the file's order."""

    running: Sequence[tuple[int, int]] = ()
    """Each the run of some instance: those that overlap add up."""
    logins: Sequence[int] = ()
    activity: Sequence[int] = ()
    counters: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)
    """The app's counter to times and how many completed."""
    storage: Sequence[tuple[int, int]] = ()
    """From when on, and how many micro-GB are used."""
    volume: Sequence[tuple[int, int]] = ()
    purchases: Sequence[tuple[str, int]] = ()
    """Packs and when they were bought."""


Trail = tuple[str | int, ...]
T = TypeVar("T")


def read_use(path: Path, *, counters: Collection[str], packs: Collection[str]) -> WrittenUse:
    """What a file says was used.

    Args: counters and packs: the names that it may use, those of the plan.
    Raises: UsageFileError with every problem.
    """
    name = str(path) if str(path).isprintable() else show(path)
    text = _text(path, name)
    reader = _Reader(counters, packs)
    document, has_twins = _document(text, name)
    use = reader.use(document)
    if reader.count or has_twins:
        places, twins = _places(text, {path for path, _, _ in reader.wrong}, twins=has_twins)
        for twin in twins:
            reader.note(twin, "quote.twice", "this key stands twice. A key stands once. Delete one of the two.")
        raise UsageFileError(sorted(_problem(name, places, *wrong) for wrong in reader.wrong), count=reader.count)
    return use


def _problem(name: str, places: Mapping[Trail, tuple[int, int]], path: Trail, rule: str, message: str) -> UsageProblem:
    line, column = places.get(path, (1, 1))
    return UsageProblem(name, line, column, _written(path), rule, message)


def _written(path: Trail) -> str:
    """A path as a person writes it."""
    told = ""
    for part in path:
        if isinstance(part, int):
            told += f"[{part}]"
        else:
            plain = part if re.fullmatch(r"[\w-]{1,60}", part, re.ASCII) else show(part)
            told += f".{plain}" if told else plain
    return told


def _text(path: Path, name: str) -> str:
    """The text of a regular, small file; never reads more than the limit and never waits for a writer."""

    def refuse(rule: str, message: str) -> UsageFileError:
        return UsageFileError([UsageProblem(name, 1, 1, "", rule, message)])

    too_big = refuse(
        "quote.size", f"this file is larger than {MAX_BYTES // 1024 // 1024} MiB, the most that is read. Quote less use at once."
    )
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise refuse("quote.file", "this is no regular file. Only regular files are read. Name the file itself.")
            if status.st_size > MAX_BYTES:
                raise too_big
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse("quote.file", f"this file cannot be read ({error.strerror}). Name a readable JSON file.") from None
    except ValueError:
        raise refuse("quote.file", "this is no name of a file. Name a readable JSON file.") from None
    if len(data) > MAX_BYTES:
        raise too_big
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("quote.file", f"byte 0x{data[error.start]:02x} is not UTF-8. Files are UTF-8. Save it as UTF-8.") from None


class _NotJsonError(Exception):
    """The parser met what JSON does not have."""


def _document(text: str, name: str) -> tuple[Any, bool]:
    """The one JSON document of a text, and whether a key stands twice somewhere in it."""
    has_twins = False

    def constant(word: str) -> Any:
        raise _NotJsonError(f"{word} is no number. Write a decimal number.")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_twins
        found = dict(items)
        has_twins |= len(found) != len(items)
        return found

    def number(digits: str) -> Decimal:
        try:
            return Decimal(digits)
        except InvalidOperation:
            raise _NotJsonError(f"{show(digits)} is too large or too small for a number. Correct it.") from None

    try:
        return json.loads(text, parse_float=number, parse_constant=constant, object_pairs_hook=pairs), has_twins
    except json.JSONDecodeError as error:
        problem = UsageProblem(name, error.lineno, error.colno, "", "quote.json", f"this is not JSON: {error.msg}. Correct it near here.")
    except RecursionError:
        problem = UsageProblem(name, 1, 1, "", "quote.json", "this is nested too deeply. Three levels are enough. Flatten it.")
    except (_NotJsonError, ValueError) as error:
        said = str(error) if isinstance(error, _NotJsonError) else "a number has too many digits. Correct it."
        problem = UsageProblem(name, 1, 1, "", "quote.json", said)
    raise UsageFileError([problem])


class _Reader:
    """Turns a parsed document into use and notes each thing that is wrong with its path."""

    def __init__(self, counters: Collection[str], packs: Collection[str]) -> None:
        self._counters = sorted(counters)
        self._packs = sorted(packs)
        self.wrong: list[tuple[Trail, str, str]] = []
        """The first of them."""
        self.count = 0

    def note(self, path: Trail, rule: str, message: str) -> None:
        """Say that something is wrong."""
        self.count += 1
        if self.count <= _MAX_NOTED:
            self.wrong.append((path, rule, message))

    def use(self, document: Any) -> WrittenUse:
        """The whole file. What is wrong is noted and left out."""
        if not isinstance(document, dict):
            self.note((), "quote.shape", 'the file is not a mapping. It holds one: `{"running": [...], ...}`. Put braces around it.')
            return WrittenUse()
        known: dict[str, Callable[[Trail, Any], Any]] = {
            "running": lambda path, value: self._list(path, value, self._run),
            "logins": lambda path, value: self._list(path, value, self._time),
            "activity": lambda path, value: self._list(path, value, self._time),
            "counters": self._counter_map,
            "storage_gb": self._levels,
            "volume_gb": self._levels,
            "purchases": lambda path, value: self._list(path, value, self._purchase),
        }
        self._unknown((), document, list(known))
        read = {key: known[key]((key,), value) for key, value in document.items() if key in known}
        return WrittenUse(
            running=read.get("running", []),
            logins=read.get("logins", []),
            activity=read.get("activity", []),
            counters=read.get("counters", {}),
            storage=read.get("storage_gb", []),
            volume=read.get("volume_gb", []),
            purchases=read.get("purchases", []),
        )

    def _unknown(self, path: Trail, mapping: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in mapping:
            if key not in known:
                self.note(
                    (*path, key),
                    "quote.key",
                    f"unknown key {show(key)}. {did_you_mean(key, known)}Allowed: {listed(known)}. Rename or delete it.",
                )

    def _list(self, path: Trail, value: Any, each: Callable[[Trail, Any], T | None]) -> list[T]:
        """Every item of a list that is right."""
        if not isinstance(value, list):
            self.note(path, "quote.shape", f"{show(value)} is no list. Put brackets around it.")
            return []
        return [taken for index, item in enumerate(value) if (taken := each((*path, index), item)) is not None]

    def _pair(self, path: Trail, value: Any, words: str) -> bool:
        if isinstance(value, list) and len(value) == 2:
            return True
        self.note(path, "quote.shape", f"{show(value)} is not a pair. Write `[{words}]`.")
        return False

    def _time(self, path: Trail, value: Any, *, up: bool = False) -> int | None:
        """An instant; a part of a millisecond is cut off, or made a whole one."""
        try:
            moment = instant(value if isinstance(value, str) else "")
        except (ValueError, OverflowError):
            self.note(
                path,
                "quote.time",
                f"{show(value)} is no time with a zone. Times are RFC 3339 in UTC, such as '2026-11-01T00:00:00Z'. Correct it.",
            )
            return None
        return milliseconds(moment) + (1 if up and moment.microsecond % 1000 else 0)

    def _run(self, path: Trail, value: Any) -> tuple[int, int] | None:
        if not self._pair(path, value, "start, end"):
            return None
        start, end = self._time((*path, 0), value[0], up=True), self._time((*path, 1), value[1])
        if start is None or end is None:
            return None
        if instant(value[1]) < instant(value[0]):
            self.note((*path, 1), "quote.order", f"it ends before it starts, at {show(value[0])}. Swap the two, or correct one.")
            return None
        return start, max(start, end)

    def _count(self, path: Trail, value: Any) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT:
            return value
        self.note(path, "quote.count", f"{show(value)} is no count. It must be a whole number from 0 to {_MAX_COUNT:,}. Correct it.")
        return None

    def _counter_map(self, path: Trail, value: Any) -> dict[str, list[tuple[int, int]]]:
        if not isinstance(value, dict):
            self.note(path, "quote.shape", f'{show(value)} is no mapping. Write `{{"<counter>": [[time, count], ...]}}`.')
            return {}
        found: dict[str, list[tuple[int, int]]] = {}
        for name, items in value.items():
            if name not in self._counters:
                self.note(
                    (*path, name),
                    "quote.counter",
                    f"no meter of this plan counts {show(name)}. {did_you_mean(name, self._counters)}"
                    f"Counters: {listed(self._counters) or 'none'}. Rename or delete it.",
                )
            found[name] = self._list((*path, name), items, self._counted)
        return found

    def _counted(self, path: Trail, value: Any) -> tuple[int, int] | None:
        if not self._pair(path, value, "time, count"):
            return None
        at, count = self._time((*path, 0), value[0]), self._count((*path, 1), value[1])
        return None if at is None or count is None else (at, count)

    def _gb(self, path: Trail, value: Any) -> int | None:
        """GB as whole micro-GB, rounded down."""
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        amount = Decimal(value) if is_number or (isinstance(value, str) and _GB.fullmatch(value)) else None
        if amount is None or not 0 <= amount <= _MAX_GB or _decimals(amount) > 9:
            self.note(path, "quote.gb", f"{show(value)} is no number of GB. It must be 0 or more, with at most nine decimals. Correct it.")
            return None
        with localcontext() as context:
            context.prec = 60
            return int((amount * GB_MICROS).to_integral_value(rounding=ROUND_FLOOR))

    def _levels(self, path: Trail, value: Any) -> list[tuple[int, int]]:
        """What was stored from when on; the same time twice would say two things."""
        levels = self._list(path, value, self._level)
        seen: dict[int, int] = {}
        for at, amount in levels:
            if seen.setdefault(at, amount) != amount:
                self.note(path, "quote.shape", "one time stands twice with different numbers of GB. Delete one of them.")
                break
        return sorted(seen.items())

    def _level(self, path: Trail, value: Any) -> tuple[int, int] | None:
        if not self._pair(path, value, "time, GB"):
            return None
        at, amount = self._time((*path, 0), value[0]), self._gb((*path, 1), value[1])
        return None if at is None or amount is None else (at, amount)

    def _purchase(self, path: Trail, value: Any) -> tuple[str, int] | None:
        if not isinstance(value, dict) or not {"pack", "at"} <= value.keys():
            self.note(path, "quote.shape", f'{show(value)} is no purchase. Write `{{"pack": "<name>", "at": time}}`.')
            return None
        self._unknown(path, value, ["pack", "at"])
        at = self._time((*path, "at"), value["at"])
        if value["pack"] not in self._packs:
            self.note(
                (*path, "pack"),
                "quote.pack",
                f"no pack {show(value['pack'])} is on sale for this plan. {did_you_mean(str(value['pack']), self._packs)}"
                f"Packs: {listed(self._packs) or 'none'}. Pick one or delete the purchase.",
            )
            return None
        return None if at is None else (value["pack"], at)


def _decimals(amount: Decimal) -> int:
    """How many decimals a finite number has, trailing zeros left out. Not by Decimal.normalize: it takes 1e-999999999 for nothing."""
    _, digits, exponent = amount.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -int(exponent) - zeros) if amount else 0


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+', re.DOTALL)


def _places(text: str, wanted: Collection[Trail], *, twins: bool) -> tuple[dict[Trail, tuple[int, int]], list[Trail]]:
    """Line and column of each wanted path (of a key, or of a list's item), and the paths of keys that stand twice. The text is JSON.

    A second reading, for a file with mistakes only: the parser does not say where a value stood.
    """
    missing = set(wanted)
    starts: dict[Trail, int] = {}
    seen: list[set[str] | None] = []  # one for each open bracket: the keys of a mapping so far, None for a list
    doubled: list[Trail] = []
    path: list[str | int] = []
    is_key = False
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ",:":
            is_key = word == "," and seen[-1] is not None
            if word == "," and seen[-1] is None:
                path[-1] = int(path[-1]) + 1
            continue
        if word in "]}":
            seen.pop()
            path.pop()
            is_key = False
            continue
        if is_key:
            path[-1] = json.loads(word)
        here = tuple(path)
        if here in wanted and (is_key or not seen or seen[-1] is None):  # of a key that stands twice the last, as the parser has it
            starts[here] = token.start()
            missing.discard(here)
        if is_key:
            keys = seen[-1]
            assert keys is not None
            if str(path[-1]) in keys:
                doubled.append(here)
                starts[here] = token.start()
            keys.add(str(path[-1]))
        elif word in "[{":
            seen.append(set() if word == "{" else None)
            path.append(0 if word == "[" else "")
            is_key = word == "{"
        if not missing and not twins:
            break
    breaks = [found.start() for found in re.finditer("\n", text[: max(starts.values(), default=0)])]
    places = {}
    for where, start in starts.items():
        line = bisect_left(breaks, start)
        places[where] = (line + 1, start - (breaks[line - 1] if line else -1))
    return places, doubled
