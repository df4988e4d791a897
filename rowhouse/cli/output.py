"""How every command speaks: data on standard output, prose on standard error, four exit codes.

0 done and all well; 1 done, with findings or failed tenants named; 2 nothing done, bad input or configuration;
3 stopped by the breaker. Ctrl-C ends with 130.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console

from rowhouse.errors import RowhouseError

__all__ = [
    "EXIT_BREAKER",
    "EXIT_FINDINGS",
    "EXIT_INTERRUPTED",
    "EXIT_NOTHING_DONE",
    "JsonOption",
    "data",
    "emit",
    "fail",
    "handled",
    "prose",
    "resumable",
    "width_of",
]

P = ParamSpec("P")
R = TypeVar("R")

EXIT_FINDINGS = 1
EXIT_NOTHING_DONE = 2
EXIT_BREAKER = 3
EXIT_INTERRUPTED = 130
"""As shells tell a process that Ctrl-C ended."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")]

_WIDE = 200


def width_of(*, terminal: bool, columns: str | None) -> int | None:
    """How wide to print; None leaves it to Rich, which asks the terminal or the variable COLUMNS.

    With neither, Rich would take 80 and fold tables to fit: a file or a pipe has no width.
    """
    return None if terminal or (columns or "").isdigit() else _WIDE


data = Console(highlight=False, width=width_of(terminal=sys.stdout.isatty(), columns=os.environ.get("COLUMNS")))
prose = Console(stderr=True, highlight=False, width=width_of(terminal=sys.stderr.isatty(), columns=os.environ.get("COLUMNS")))


def emit(document: Any) -> None:
    """Print one JSON document on standard output; money and quantities are decimal strings."""

    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"{type(value).__name__} has no place in a JSON document of ours")

    sys.stdout.write(json.dumps(document, default=plain, indent=2, sort_keys=False) + "\n")
    sys.stdout.flush()


def fail(text: str, code: int = EXIT_NOTHING_DONE) -> NoReturn:
    """Say why on standard error and end."""
    prose.print(text, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def handled(command: Callable[P, R]) -> Callable[P, R]:
    """Turn our own errors into their text and exit code 2; anything else is a bug and keeps its traceback."""

    @functools.wraps(command)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RowhouseError as error:
            fail(str(error))

    return inner


def resumable(command: Callable[P, R]) -> Callable[P, R]:
    """Say on Ctrl-C that what was done is kept and how to go on, for a command that goes on where it was when it is run again."""

    @functools.wraps(command)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            fail(f"interrupted: what was done is kept; run `rowhouse {command.__name__}` again to go on", EXIT_INTERRUPTED)

    return inner
