r"""What an engine did since the last checkpoint, one line a fact, on disk before anybody hears of it.

A line is `<crc32 of the text, 8 hex> <JSON>\n`; the first says which checkpoint the journal continues. An entry costs as many bytes as the
resource it is about, whatever the size of the state. Entries that arrive while a flush runs are written and flushed together. A last line
torn by a crash was never acknowledged and is dropped; damage anywhere else is an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rowhouse.engine.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

Entry = dict[str, Any]


def line_of(entry: Entry) -> bytes:
    """The bytes of one entry."""
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read(path: Path, base: int) -> list[Entry]:
    """The entries that continue checkpoint number `base`; none when the file is absent or continues an older one.

    Raises: StateError for damage before the last line and for a file that cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    lines = data.split(b"\n")
    complete, torn = lines[:-1], lines[-1]
    entries: list[Entry] = []
    for number, line in enumerate(complete, start=1):
        entry = _parse(line)
        if entry is None:
            if number == len(complete) and not torn:
                break
            raise StateError(f"{path}: line {number} is damaged; restore the file or, after a look at what exists, remove that line")
        entries.append(entry)
    if not entries or entries[0].get("base") != base:
        return []
    return entries[1:]


def _parse(line: bytes) -> Entry | None:
    check, _, text = line.partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


class Journal:
    """The open journal of a run."""

    def __init__(self, path: Path, base: int, entries: list[Entry]) -> None:
        """Continue checkpoint `base`, of which `entries` are known already; they are written anew, so that a torn line disappears."""
        self._path = path
        self._base = base
        self._known = entries
        self._descriptor: int | None = None
        self._queue: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._broken: OSError | None = None
        self.bytes_written = 0
        self.entries_written = 0

    async def append(self, entry: Entry) -> None:
        """Return when the entry is on disk. Raises: StateError when the disk refuses, for this and every later entry."""
        if self._broken is not None:
            raise StateError(f"{self._path} cannot be written: {self._broken.strerror}") from self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(line_of(entry))
        self._waiters.append(done)
        self.entries_written += 1
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            data, waiters = b"".join(self._queue), self._waiters
            self._queue, self._waiters = [], []
            try:
                await loop.run_in_executor(self._thread, self._write, data)
            except OSError as error:
                self._broken = error
                broken = StateError(f"{self._path} cannot be written: {error.strerror}")
                for waiter in waiters + self._waiters:
                    if not waiter.done():
                        waiter.set_exception(broken)
                self._queue, self._waiters = [], []
                return
            self.bytes_written += len(data)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    def _open(self) -> None:
        head = b"".join(map(line_of, [{"base": self._base}, *self._known]))
        temporary = self._path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, head)
        os.fsync(descriptor)
        temporary.replace(self._path)
        sync_folder(self._path.parent)
        self._descriptor = descriptor

    async def close(self) -> None:
        """Wait for what is queued and close the file; the entries stay until a newer checkpoint makes them void."""
        if self._flusher is not None:
            await self._flusher
        self._thread.shutdown()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
