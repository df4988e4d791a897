"""The roots of the project's errors; every other exception of ours is one of these.

    RowhouseError
    +-- SpecError        tenant, plan or app files are wrong (rowhouse.spec)
    +-- ...              each room adds its own subclasses beside its code

Nothing here prints, logs or exits: the command line and the program's entry decide what a person sees. It imports nothing of ours, so that
every room may import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["FileProblem", "RowhouseError", "SpecError"]


class RowhouseError(Exception):
    """Something that a person can act on; its text says what is wrong, what is allowed and what to do next."""


class FileProblem(Protocol):
    """What a SpecError carries: a broken rule at a place (rowhouse.spec.problem.Problem is one)."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...
    @property
    def rule(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def severity(self) -> str: ...


class SpecError(RowhouseError):
    """The project's files are wrong; carries every problem of every file, not only the first."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        self.problems: tuple[FileProblem, ...] = tuple(problems)
        count = sum(problem.severity == "error" for problem in self.problems)
        head = f"{count} error{'' if count == 1 else 's'} in the project's files; nothing was applied."
        super().__init__("\n".join([head, *(str(problem) for problem in self.problems)]))
