"""One mistake in one place of one file, in words that say what to do next.

Does: hold, order and print problems, and guess what a misspelt word was meant to be. Does not: find problems.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rowhouse.spec.rules import RULES

__all__ = ["Problem", "Severity", "did_you_mean", "listed", "nearest", "only_errors", "sorted_problems"]

Severity = Literal["error", "warning"]

_LISTED = 12


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A broken rule, where it was broken, and what to do. Order: file, line, column, rule, message."""

    file: str
    """Relative to the project's root, with `/`."""
    line: int
    """From 1; 1 where a problem concerns the whole file."""
    column: int
    """From 1, counted in characters."""
    rule: str
    """A key of RULES, stable for ever."""
    message: str
    """Three beats after the place: what is wrong, what is allowed, what to do next."""
    severity: Severity = "error"

    def __post_init__(self) -> None:
        """Refuse a rule that has no sentence."""
        if self.rule not in RULES:
            msg = f"rule {self.rule!r} is not in RULES"
            raise ValueError(msg)

    def __str__(self) -> str:
        """The line that a person and an editor read: `file:line:column: severity rule: message`."""
        return f"{self.file}:{self.line}:{self.column}: {self.severity} {self.rule}: {self.message}"


def sorted_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Problems without repetition, in the order of the files and of the lines in them."""
    return sorted(set(problems))


def only_errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that stop an apply."""
    return [problem for problem in problems if problem.severity == "error"]


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """`Did you mean 'x'? ` for the nearest allowed word, else the empty text."""
    near = nearest(word, allowed)
    return f"Did you mean {near!r}? " if near else ""


def nearest(word: str, allowed: Sequence[str]) -> str | None:
    """The allowed word that a misspelt one was probably meant to be."""
    return next(iter(difflib.get_close_matches(word[:80].lower(), allowed, n=1, cutoff=0.6)), None)


def listed(words: Iterable[str]) -> str:
    """Allowed words as a short list, in their order, with a count of those left out."""
    every = list(words)
    shown = ", ".join(every[:_LISTED])
    return shown if len(every) <= _LISTED else f"{shown} and {len(every) - _LISTED} more"
