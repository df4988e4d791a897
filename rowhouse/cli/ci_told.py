"""How the commands of `rowhouse ci` end: our own errors in one safe line each, into the log and into the run's summary."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from rowhouse.cli.ci_event import Run, read_run
from rowhouse.cli.ci_git import Clone
from rowhouse.cli.ci_text import append, fenced, log_line
from rowhouse.cli.output import EXIT_NOTHING_DONE, fail, prose
from rowhouse.cli.surroundings import find_root
from rowhouse.errors import RowhouseError
from rowhouse.vendors.github import GitHub

__all__ = ["connected", "here", "say", "told"]

P = ParamSpec("P")
R = TypeVar("R")


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our own errors into exit code 2 and their text, which may repeat names out of a change, into lines that nothing obeys."""

    @functools.wraps(command)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RowhouseError as error:
            summary = os.environ.get("GITHUB_STEP_SUMMARY")
            append(Path(summary) if summary else None, fenced(str(error)))
            fail("\n".join(log_line(line) for line in str(error).splitlines()), EXIT_NOTHING_DONE)

    return inner


def say(text: str) -> None:
    """A line of progress on standard error."""
    prose.print(log_line(text), markup=False, soft_wrap=True)


def here() -> tuple[Run, Clone]:
    """The workflow run, and the checkout in which it works. Raises: CiError, EnvironmentProblemError."""
    return read_run(os.environ), Clone(find_root(Path.cwd()), os.environ)


@asynccontextmanager
async def connected() -> AsyncIterator[GitHub]:
    """A client with the run's token, closed at the end. Raises: MissingToken."""
    github = GitHub.from_environment()
    try:
        yield github
    finally:
        await github.close()
