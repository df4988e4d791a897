"""Files of the project as text, read with suspicion: anyone who may open a pull request may have written them.

Does: list a folder, refuse what is not a small, regular, honestly named UTF-8 file. Does not: understand YAML (see document.py).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rowhouse.spec.problem import Problem
from rowhouse.spec.slug import is_slug, show, why_not_slug

__all__ = [
    "MAX_FILE_BYTES",
    "Entry",
    "Source",
    "bad_character",
    "missing_folder",
    "read_entries",
    "read_file",
    "read_folder",
    "refused_name",
    "text_of",
    "too_big",
]

MAX_FILE_BYTES = 256 * 1024

_NOT_ENTRIES = frozenset({"README.md", "_schema.json"})

# Controls; reordering (Trojan Source); line separators that editors show differently; invisible spaces, byte-order marks, surrogates.
# Joiners (U+200C, U+200D) stay: names are written with them.
_BAD = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u200b\\u2028-\\u202e\\u2060\\u2066-\\u2069\\ud800-\\udfff\\ufeff\\ufffe\\uffff]"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text and where it came from."""

    slug: str
    """The file's name without `.yaml`."""
    file: str
    """Relative to the project's root, with `/`: what messages show."""
    text: str


def bad_character(text: str) -> int | None:
    """The index of the first control or deceptive character; tab, line feed and carriage return are fine."""
    found = _BAD.search(text)
    return None if found is None else found.start()


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a data folder, on a disk or in a commit."""

    name: str
    is_regular: bool
    """False: a link, a folder, a device, a submodule."""
    read: Callable[[str, str], Source | Problem]
    """From slug and the file's name in messages to its text."""


def read_folder(root: Path, folder: str) -> tuple[list[Source], list[Problem]]:
    """Every file of one data folder on disk, sorted by name, and what is wrong with those that could not be taken."""
    try:
        entries = [_on_disk(entry) for entry in os.scandir(root / folder)]
    except OSError:
        return [], [missing_folder(folder)]
    return read_entries(folder, entries)


def missing_folder(folder: str) -> Problem:
    """A data folder is not there."""
    return Problem(folder, 1, 1, "file.missing-folder", f"there is no folder {show(folder)}. Create it, or run in the project's root.")


def read_entries(folder: str, entries: Iterable[Entry]) -> tuple[list[Source], list[Problem]]:
    """The files of one data folder, sorted by name, and what is wrong with those that could not be taken.

    Files that start with `_` and README.md are not entries. One problem for each refused file; the others are still read.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    sources: list[Source] = []
    problems: list[Problem] = []
    problems.extend(_twins(folder, [entry.name for entry in ordered]))
    for entry in ordered:
        if entry.name.startswith("_") or entry.name in _NOT_ENTRIES:
            continue
        taken = _read(entry, folder)
        if isinstance(taken, Problem):
            problems.append(taken)
        else:
            sources.append(taken)
    return sources, problems


def _on_disk(entry: os.DirEntry[str]) -> Entry:
    return Entry(entry.name, entry.is_file(follow_symlinks=False), lambda slug, file: read_file(Path(entry.path), slug, file))


def _read(entry: Entry, folder: str) -> Source | Problem:
    """One file's text, or the first reason to refuse it."""
    file = f"{folder}/{entry.name}"
    if not file.isprintable() or not file.isascii():
        file = f"{folder}/{show(entry.name)}"
    stem, dot, suffix = entry.name.rpartition(".")
    if suffix != "yaml" or not dot:
        hint = f"Did you mean {show(f'{stem}.yaml')}? " if suffix in {"yml", "YAML", "YML"} and is_slug(stem) else ""
        return Problem(
            file,
            1,
            1,
            "file.name",
            f"{show(entry.name)} is not a .yaml file. {hint}Only <id>.yaml, README.md and names that start "
            "with _ may stand here. Rename or move it.",
        )
    if refused := refused_name(file, stem):
        return refused
    if not entry.is_regular:
        return Problem(
            file, 1, 1, "file.kind", "this is a link, a folder or a device. Only regular files are read. Put the file itself here."
        )
    return entry.read(stem, file)


def refused_name(file: str, stem: str) -> Problem | None:
    """What is wrong with a file's name without `.yaml`, which is an id; None when nothing is."""
    if is_slug(stem):
        return None
    return Problem(
        file,
        1,
        1,
        "file.name",
        f"{show(stem)} cannot be an id: {why_not_slug(stem)}. Ids have lower-case ASCII letters, "
        "digits and single dashes, at most 39 characters. Rename the file.",
    )


def read_file(path: Path, slug: str, file: str) -> Source | Problem:
    """The text of a regular file that is small and decodes; never reads more than the limit, never follows a link.

    Args: file: what messages call it.
    """
    try:
        # O_NONBLOCK: a pipe swapped in after the listing must not hang the run; O_NOFOLLOW likewise for a link.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                return Problem(file, 1, 1, "file.kind", "this is no regular file. Only regular files are read. Put the file itself here.")
            if status.st_size > MAX_FILE_BYTES:
                return too_big(file)
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return Problem(file, 1, 1, "file.unreadable", f"this file cannot be read ({error.strerror}). Make it readable.")
    return text_of(data, slug, file)


def too_big(file: str, needs: str = "A tenant needs about ten lines.") -> Problem:
    """A file is larger than anything that is read. Args: needs: what such a file is expected to be."""
    return Problem(
        file,
        1,
        1,
        "file.size",
        f"this file is larger than {MAX_FILE_BYTES // 1024} KiB, the most that is read. {needs} Shorten it.",
    )


def text_of(data: bytes, slug: str, file: str) -> Source | Problem:
    """The text of a file's bytes, or why it is none that is read."""
    if len(data) > MAX_FILE_BYTES:
        return too_big(file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(data[: error.start].decode("utf-8", "replace"))
        return Problem(
            file, line, column, "file.encoding", f"byte 0x{data[error.start]:02x} is not UTF-8. Files are UTF-8. Save it as UTF-8."
        )
    found = bad_character(text)
    if found is not None:
        line, column = _position(text[:found])
        return Problem(
            file,
            line,
            column,
            "file.characters",
            f"U+{ord(text[found]):04X} is a control character or one that reorders or hides "
            "text. Use printable text only. Delete it, or retype the line.",
        )
    return Source(slug, file, text)


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows a text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _twins(folder: str, names: list[str]) -> Iterator[Problem]:
    """File names that are one name where letters' case does not count (macOS, Windows, hostnames)."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield Problem(
                f"{folder}/{name if name.isascii() else show(name)}",
                1,
                1,
                "file.twin",
                f"{show(name)} and {show(first)} differ only in the case of letters. Ids are lower case. Remove one of them.",
            )
