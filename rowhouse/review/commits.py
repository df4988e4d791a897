"""What stands in commits, read as data: no checkout, no filters, no hooks, no links followed.

Does: name a range, list what differs, read files of a commit by their blobs. Does not: run anything that a commit brings along; git itself
is told to use no configuration of the machine's, and a name that looks like an option is refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

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
_LISTED_MOST: Final = 64 << 20
"""Bytes of a listing. Half a million names; a tree of trees that are one another's copies, small as it is, lists without end."""
_FILES_MOST: Final = 100_000
_BYTES_MOST: Final = 64 << 20
"""Of the data files of one commit: three times what 10,000 tenants of 2 KB have."""
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
        self._known_sizes: dict[str, int] = {}

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
        fields = self._listing("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--no-textconv", base, head).split(b"\0")
        found = []
        for meta, path in zip(fields[::2], fields[1::2], strict=False):
            before, after, _, _, status = meta.decode().lstrip(":").split(" ")
            found.append(Changed(_text(path), status[:1], before, after))
        return sorted(found, key=lambda changed: changed.path)

    def kept(self, commit: str, *folders: str) -> list[Kept]:
        """Every path of a commit below some folders (files may be named too), by path."""
        listed = self._listing("ls-tree", "-r", "-z", "--full-tree", commit, "--", *folders)
        return list(_kept(listed))

    def refuse_endless(self, commit: str) -> None:
        """Raises: CommitsError where a commit lists more than any project has, before anything walks through it."""
        self._listing("ls-tree", "-r", "-z", "--full-tree", commit)

    def blobs(self, blobs: Iterable[str], most: int = MAX_FILE_BYTES) -> dict[str, bytes]:
        """Blob to its bytes; of those that are larger than `most` nothing is read and nothing said."""
        wanted = list(dict.fromkeys(blobs))
        unread = [blob for blob in wanted if blob not in self._contents]
        sizes = self._sizes(unread)
        small = [blob for blob in unread if sizes[blob] <= most]
        self._contents |= self._read(small)
        return {blob: self._contents[blob] for blob in wanted if len(self._contents.get(blob, b"")) <= most and blob in self._contents}

    def contents(self, files: Sequence[Kept]) -> dict[str, bytes]:
        """Blob to its bytes of files of one commit, as `blobs` gives them.

        Raises: CommitsError where all of them together are more than is read of a commit: nothing of it is read then.
        """
        if len(files) > _FILES_MOST:
            raise CommitsError(
                f"the change leaves {len(files):,} data files; at most {_FILES_MOST:,} are read of a commit. Take files out of it."
            )
        sizes = self._sizes([kept.blob for kept in files])
        # Each file counts, also one that is another's copy: its text is a text of its own.
        total = sum(size for kept in files if (size := sizes[kept.blob]) <= MAX_FILE_BYTES)
        if total > _BYTES_MOST:
            largest = max((kept for kept in files if sizes[kept.blob] <= MAX_FILE_BYTES), key=lambda kept: sizes[kept.blob])
            raise CommitsError(
                f"the data files that the change leaves come to {total >> 20:,} MiB; at most {_BYTES_MOST >> 20} MiB are read of "
                f"a commit. A tenant needs about ten lines. Shorten the largest, such as {show(largest.path)}."
            )
        return self.blobs(kept.blob for kept in files)

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

    def _sizes(self, blobs: Iterable[str]) -> dict[str, int]:
        """Blob to its size in bytes. Raises: CommitsError where one is not here."""
        unknown = [blob for blob in dict.fromkeys(blobs) if blob not in self._known_sizes]
        if unknown:
            answer = self._run("cat-file", "--batch-check=%(objectsize)", given="".join(f"{blob}\n" for blob in unknown).encode())
            try:
                self._known_sizes |= zip(unknown, map(int, answer.splitlines()), strict=True)
            except ValueError as error:
                raise CommitsError(_MISSING) from error
        return self._known_sizes

    def _listing(self, *args: str) -> bytes:
        """What git lists, of which nobody knows beforehand how long it is. Raises: CommitsError where it is too long."""
        with tempfile.TemporaryFile() as errors, self._started(args, errors) as git:
            assert git.stdout is not None
            listed = git.stdout.read(_LISTED_MOST + 1)
            if len(listed) > _LISTED_MOST:
                git.kill()
                raise CommitsError(
                    f"git {args[0]} lists more than {_LISTED_MOST >> 20} MiB of names, which no project has. "
                    "Take the folders out of the change that hold so many files."
                )
            if git.wait():
                errors.seek(0)
                raise self._failed(args[0], errors.read())
            return listed

    def _run(self, *args: str, given: bytes | None = None) -> bytes:
        ended = self._ended(args, given)
        if ended.returncode:
            raise self._failed(args[0], ended.stderr)
        return ended.stdout

    def _failed(self, verb: str, said: bytes) -> CommitsError:
        why = said.decode(errors="replace").strip().splitlines()
        return CommitsError(f"git {verb} cannot read {self.root.name}: {show(why[-1]) if why else 'it says nothing'}.")

    def _try(self, *args: str) -> bytes:
        ended = self._ended(args, None)
        return ended.stdout if ended.returncode == 0 else b""

    def _ended(self, args: tuple[str, ...], given: bytes | None) -> subprocess.CompletedProcess[bytes]:
        with self._can_start():
            return subprocess.run(self._command(args), cwd=self.root, env=self._env, input=given or b"", capture_output=True, check=False)

    def _started(self, args: tuple[str, ...], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._can_start():
            return subprocess.Popen(
                self._command(args), cwd=self.root, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return ["git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.quotePath=false", *args]

    @contextmanager
    def _can_start(self) -> Iterator[None]:
        try:
            yield
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
        files = [kept for entries in self._by_folder.values() for kept in entries.values() if kept.mode in _REGULAR]
        self._bytes = commits.contents(files)

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
