"""The roots of the project's errors; every other exception of ours is one of these.

    RowhouseError
    +-- SpecError        tenant, plan or app files are wrong (rowhouse.spec)
    +-- ...              each room adds its own subclasses beside its code

Nothing here prints, logs or exits: the command line and the program's entry decide what a person sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rowhouse.spec.problem import Problem

__all__ = ["RowhouseError", "SpecError"]


class RowhouseError(Exception):
    """Something that a person can act on; its text says what is wrong, what is allowed and what to do next."""


class SpecError(RowhouseError):
    """The project's files are wrong; carries every problem of every file, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = len(self.problems)
        head = f"{count} problem{'' if count == 1 else 's'} in the project's files; nothing was applied."
        super().__init__("\n".join([head, *(str(problem) for problem in self.problems)]))
