"""Text of strangers where a machine reads along: in a run's log, in GITHUB_OUTPUT, in Markdown.

Does: make one line that the runner does not take for a command, and a block that Markdown does not read. Does not: word anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rowhouse.cli.ci_event import CiError

__all__ = ["append", "bounded", "code", "fenced", "log_line"]

_SUMMARY_MAX: Final = 1024 * 1024  # GitHub: a step's summary has 1 MiB at most, else none of it is shown (2026-10)


def log_line(text: str) -> str:
    """One line that is safe in a log: the runner obeys lines with `::name::` and `##[name]`."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split()).replace("::", ": :").replace("##[", "## [")


def code(text: str) -> str:
    """A text as inline code of Markdown, on one line: nothing in it is read, and nobody in it is notified."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def fenced(text: str) -> str:
    """A text of several lines as a block of Markdown in which nothing is read."""
    shown = "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{ticks}text\n{shown}\n{ticks}"


def bounded(text: str, most: int, note: str) -> str:
    """The text, cut at a line's end with a note where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    kept = text[: most - len(note) - 2]
    return f"{kept[: kept.rfind(chr(10))] if chr(10) in kept else kept}\n\n{note}"


def append(path: Path | None, text: str) -> None:
    """Add to one of the files that a runner reads after the step; without such a file nothing is written.

    Raises: CiError when it cannot be written.
    """
    if path is None:
        return
    data = bounded(text, _SUMMARY_MAX // 4, "cut: too long for a summary").encode("utf-8", "replace")
    try:
        with path.open("ab") as file:
            file.write(data if data.endswith(b"\n") else data + b"\n")
    except OSError as error:
        raise CiError(f"{path}: cannot be written ({error.strerror}). A workflow run sets this path and makes the file.") from None
