"""The object store as a folder: one file an object, replaced whole.

Does: atomic, durable writes (temporary file, fsync, rename, fsync of the folder), conditions under a lock that holds
between processes. Does not: work on network file systems without flock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rowhouse.vendors.store import Blob, Conflict, StoreError, check_key, check_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileStore"]

_Stamp = tuple[int, int, int]


class FileStore:
    """Objects as files below a folder that is created with the first write."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        """Args: durable: False leaves it to the system when to write to the disk, for what may be lost with the power."""
        self._root = root
        self._durable = durable
        self._guard = threading.Lock()
        # Files are replaced, never edited, so inode, time and size tell versions apart and a listing need not read them all.
        self._etags: dict[Path, tuple[_Stamp, str]] = {}

    def path(self, key: str) -> Path:
        """The file that has, or would have, the object: for readers that take files. Never write to it."""
        return self._path(key)

    def get(self, key: str) -> Blob | None:
        path = self._path(key)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as exc:
            raise self._failed("read", key, exc) from exc
        return Blob(data, _etag(data))

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        path = self._path(key)
        temporary = self._root / ".tmp" / secrets.token_hex(12)
        try:
            with self._lock(key):
                if if_match is not None:
                    current = self.get(key)
                    if current is None or current.etag != if_match:
                        raise Conflict(f"object {key}: changed by someone else since it was read. Read it again and repeat.")
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("xb") as file:
                    file.write(data)
                    if self._durable:
                        file.flush()
                        os.fsync(file.fileno())
                if if_none_match:
                    try:
                        path.hardlink_to(temporary)
                    except FileExistsError as exc:
                        raise Conflict(f"object {key}: exists already. Read it and decide again.") from exc
                else:
                    temporary.replace(path)
                if self._durable:
                    _sync_folder(path.parent)
        except OSError as exc:
            raise self._failed("write", key, exc) from exc
        finally:
            temporary.unlink(missing_ok=True)
        return _etag(data)

    def delete(self, key: str) -> None:
        path = self._path(key)
        if not path.parent.is_dir():
            return
        try:
            with self._lock(key):
                path.unlink(missing_ok=True)
                if self._durable:
                    _sync_folder(path.parent)
        except OSError as exc:
            raise self._failed("delete", key, exc) from exc

    def list(self, prefix: str) -> list[tuple[str, str]]:
        check_prefix(prefix)
        folder, _, begins = prefix.rpartition("/")
        found: list[tuple[str, str]] = []
        try:
            for path in self._files(self._root / folder, begins):
                key = path.relative_to(self._root).as_posix()
                etag = self._etag_of(path)
                if etag is not None:
                    found.append((key, etag))
        except OSError as exc:
            raise self._failed("list", prefix, exc) from exc
        return sorted(found)

    def _files(self, folder: Path, begins: str = "") -> Iterator[Path]:
        """Files below a folder, whose names there, or whose folders' names, begin so."""
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith(".") or not entry.name.startswith(begins):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)

    def _etag_of(self, path: Path) -> str | None:
        try:
            stat = path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            with self._guard:
                known = self._etags.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            etag = _etag(path.read_bytes())
        except FileNotFoundError:
            return None
        with self._guard:
            self._etags[path] = (stamp, etag)
        return etag

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Hold one of 256 lock files: few enough to keep for ever, many enough that tenants do not wait for each other."""
        path = self._root / ".locks" / hashlib.sha256(key.encode()).hexdigest()[:2]
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _failed(self, verb: str, key: str, exc: OSError) -> StoreError:
        why = exc.strerror or type(exc).__name__
        return StoreError(f"store folder {self._root}: could not {verb} {key!r}: {why}. Check the folder's rights and space.")


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
