"""What stands in commits, read as data: no checkout, no filters, no hooks, no links followed.

Does: name a range, list what differs, read files of a commit by their blobs. Does not: run anything that a commit brings along; git itself
is told to use no configuration of the machine's, and a name that looks like an option is refused.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.problem import Problem
from rowhouse.spec.slug import show
from rowhouse.spec.source import MAX_FILE_BYTES, Entry, Source, missing_folder, read_entries, text_of, too_big

__all__ = ["Changed", "Commits", "CommitsError", "Kept"]

_REGULAR: Final = frozenset({"100644", "100755"})
_LINK: Final = "120000"
_SUBMODULE: Final = "160000"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_LONGEST_REFERENCE: Final = 255
_MISSING: Final = "an object of the range is not in this clone. Fetch the whole range first."


class CommitsError(RowhouseError):
    """A range of commits cannot be read; the text says which part and what to do."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One path that differs between two commits. A rename is a deletion and an addition: ids are for ever."""

    path: str
    """With `/`; bytes that are no UTF-8 are escaped by surrogates."""
    status: str
    """`A`dded, `D`eleted, `M`odified or `T`ype changed."""
    mode_before: str
    mode_after: str

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link or a submodule afterwards."""
        return self.mode_after in {_LINK, _SUBMODULE}


@dataclass(frozen=True, slots=True)
class Kept:
    """One path of a commit."""

    path: str
    mode: str
    blob: str


class Commits:
    """The object database of one clone."""

    def __init__(self, root: Path) -> None:
        """Read the clone at `root` (a work tree or a bare repository)."""
        self.root = root
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "LC_ALL": "C",
        }
        self._contents: dict[str, bytes] = {}
        """Blobs that were read: two commits of one range share nearly all."""

    def range_of(self, text: str) -> tuple[str, str]:
        """The two commits of `BASE..HEAD`, or of `BASE...HEAD` the last that they share and HEAD. An empty end is HEAD.

        Raises: CommitsError.
        """
        first, dots, second = text.partition("...") if "..." in text else text.partition("..")
        if not dots:
            raise CommitsError(f"{show(text)} is no range. Write BASE..HEAD, such as main..HEAD.")
        base, head = self.commit(first or "HEAD"), self.commit(second or "HEAD")
        return (self.fork_point(base, head), head) if dots == "..." else (base, head)

    def commit(self, name: str) -> str:
        """The commit that a name stands for. Raises: CommitsError."""
        if not name or name.startswith("-") or len(name) > _LONGEST_REFERENCE or not name.isprintable():
            raise CommitsError(f"{show(name)} names no commit. Give a branch, a tag or a commit's hash.")
        found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        commit = found.decode().strip() if found else ""
        if not _COMMIT.fullmatch(commit):
            raise CommitsError(f"{show(name)} is no commit of this clone. Fetch it first, or correct the name.")
        return commit

    def fork_point(self, base: str, head: str) -> str:
        """The last commit that both have. Raises: CommitsError where they have none, as in a shallow clone."""
        found = self._try("merge-base", base, head)
        if not found:
            raise CommitsError(
                f"{base[:12]} and {head[:12]} have no commit in common here. Fetch the whole history (`git fetch --unshallow`)."
            )
        return found.decode().strip()

    def changed(self, base: str, head: str) -> list[Changed]:
        """Every path that differs, by path; renames are not guessed."""
        fields = self._run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", base, head).split(b"\0")
        found = []
        for meta, path in zip(fields[::2], fields[1::2], strict=False):
            before, after, _, _, status = meta.decode().lstrip(":").split(" ")
            found.append(Changed(_text(path), status[:1], before, after))
        return sorted(found, key=lambda changed: changed.path)

    def kept(self, commit: str, *folders: str) -> list[Kept]:
        """Every path of a commit below some folders (files may be named too), by path."""
        listed = self._run("ls-tree", "-r", "-z", "--full-tree", commit, "--", *folders)
        return list(_kept(listed))

    def blobs(self, blobs: Iterable[str], most: int = MAX_FILE_BYTES) -> dict[str, bytes]:
        """Blob to its bytes; of those that are larger than `most` nothing is read and nothing said."""
        wanted = list(dict.fromkeys(blobs))
        unread = [blob for blob in wanted if blob not in self._contents]
        small = [blob for blob, size in zip(unread, self._sizes(unread), strict=True) if size <= most]
        self._contents |= self._read(small)
        return {blob: self._contents[blob] for blob in wanted if len(self._contents.get(blob, b"")) <= most and blob in self._contents}

    def _read(self, small: list[str]) -> dict[str, bytes]:
        if not small:
            return {}
        answer = self._run("cat-file", "--batch", given="".join(f"{blob}\n" for blob in small).encode())
        found, at = {}, 0
        for blob in small:
            end = answer.index(b"\n", at)
            name, kind, size = answer[at:end].split(b" ")
            if kind != b"blob" or name.decode() != blob:
                raise CommitsError(f"object {blob} is no file's content. The clone is damaged: run `git fsck`.")
            found[blob] = answer[end + 1 : end + 1 + int(size)]
            at = end + 1 + int(size) + 1
        return found

    def reader(self, commit: str) -> Folders:
        """The data folders of a commit, in the shape that `read_fleet` takes."""
        return Folders(self, commit)

    def _sizes(self, blobs: list[str]) -> list[int]:
        if not blobs:
            return []
        answer = self._run("cat-file", "--batch-check=%(objectsize)", given="".join(f"{blob}\n" for blob in blobs).encode())
        try:
            return [int(line) for line in answer.splitlines()]
        except ValueError as error:
            raise CommitsError(_MISSING) from error

    def _run(self, *args: str, given: bytes | None = None) -> bytes:
        ended = self._ended(args, given)
        if ended.returncode:
            why = ended.stderr.decode(errors="replace").strip().splitlines()
            raise CommitsError(f"git {args[0]} cannot read {self.root.name}: {show(why[-1]) if why else 'it says nothing'}.")
        return ended.stdout

    def _try(self, *args: str) -> bytes:
        ended = self._ended(args, None)
        return ended.stdout if ended.returncode == 0 else b""

    def _ended(self, args: tuple[str, ...], given: bytes | None) -> subprocess.CompletedProcess[bytes]:
        safe = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.quotePath=false")
        try:
            return subprocess.run(["git", *safe, *args], cwd=self.root, env=self._env, input=given or b"", capture_output=True, check=False)
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self.root.is_dir():
                raise CommitsError(f"there is no folder {self.root}.") from error
            raise CommitsError("there is no `git` on PATH, and a review reads commits. Install git.") from error


class Folders:
    """The data folders of one commit: call it with a folder's name."""

    def __init__(self, commits: Commits, commit: str) -> None:
        self._commits = commits
        self._by_folder: dict[str, dict[str, Kept]] = {}
        for kept in commits.kept(commit, "tenants", "plans", "apps"):
            folder, _, rest = kept.path.partition("/")
            name, inside, _ = rest.partition("/")
            # A folder in a folder stands for itself: it is refused by its name, whatever is in it.
            entry = Kept(f"{folder}/{name}", "040000", "") if inside else kept
            if rest:
                self._by_folder.setdefault(folder, {})[name] = entry
        self._bytes = commits.blobs(kept.blob for entries in self._by_folder.values() for kept in entries.values() if kept.mode in _REGULAR)

    def __call__(self, folder: str) -> tuple[list[Source], list[Problem]]:
        """Every file of a folder, and what is wrong with those that cannot be taken."""
        if folder not in self._by_folder:
            return [], [missing_folder(folder)]
        return read_entries(folder, [self._entry(name, kept) for name, kept in self._by_folder[folder].items()])

    def texts(self, folder: str) -> Mapping[str, bytes]:
        """File names to bytes, of regular files that are small enough to be read."""
        return {name: self._bytes[kept.blob] for name, kept in self._by_folder.get(folder, {}).items() if self._is_read(kept)}

    def _entry(self, name: str, kept: Kept) -> Entry:
        def read(slug: str, file: str) -> Source | Problem:
            data = self._bytes.get(kept.blob)
            return too_big(file) if data is None else text_of(data, slug, file)

        return Entry(name, kept.mode in _REGULAR, read)

    def _is_read(self, kept: Kept) -> bool:
        return kept.mode in _REGULAR and kept.blob in self._bytes


def _kept(listed: bytes) -> Iterator[Kept]:
    for line in listed.split(b"\0"):
        if line:
            meta, _, path = line.partition(b"\t")
            mode, _, blob = meta.decode().split()
            yield Kept(_text(path), mode, blob)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
