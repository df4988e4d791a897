"""The memory: segments in an object store that only grows, chained so that nothing can be taken out, changed or moved unnoticed.

Does: append (one winner for each window), read, load into DuckDB, verify. Does not: rewrite, delete, decide what an entry means.

How an append cannot fork the chain: the chain's last segment stands twice, under its own key and as `head`. Who appends makes sure that
the head's segment stands under its key, replaces the head (only if it is still the one that was read), and then puts the segment under
its own key (only if absent). Killed in between, the head has it all, and whoever appends next finishes. Readers start from the head, so
that a segment missing at the end is missed as well.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from rowhouse.usage.entries import Entry, LedgerError, line_of
from rowhouse.usage.segments import (
    RESTORE,
    SOURCES,
    Header,
    Segment,
    decode,
    encode,
    head_key,
    later_stamp,
    lines_hash,
    memory_window,
    month_of,
    prefix_of,
    segment_key,
    sha256_of,
    stamp_of,
)
from rowhouse.vendors.store import Blob, Conflict, Store, StoreError

if TYPE_CHECKING:
    import duckdb

__all__ = ["Appended", "Ledger"]

_ATTEMPTS: Final = 30
_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an append."""

    written: bool
    """Whether these entries stand in the ledger now."""
    key: str
    """Of the segment that has them, or of the one that stands in their place."""
    reason: Literal["", "taken", "late"] = ""
    """Why not: another pass wrote this window first, or a later window stands already."""


class Ledger:
    """One cell's ledger. Its verbs block: call them in a thread. Several processes may use it at once."""

    def __init__(self, store: Store, cell: str, *, cache: Path | None = None) -> None:
        """Args: cache: a folder of this machine that may be lost; a temporary one when None."""
        self.store = store
        self.cell = cell
        self._cache = cache
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._complete: dict[str, str] = {}  # source -> etag of the head whose segment was seen under its own key

    def append(self, source: str, window: str, entries: Iterable[Entry]) -> Appended:
        """Write one window of a scheduled source, once: who comes second leaves nothing.

        Raises: LedgerError for an entry that may not be kept or a chain that cannot be read; StoreError when the store fails, and then
            the same call may be repeated.
        """
        return self._append(source, stamp_of(window), [line_of(entry) for entry in entries], named=False)

    def remember(self, source: str, at: int, entries: Iterable[Entry]) -> Appended:
        """Write entries that come when they come, at the pass's time `at` (ms); the same entries again are the same segment.

        The segment's name may be later than `at`, because names of a chain only grow.
        """
        return self._append(source, memory_window(at, "0" * 12)[:16], [line_of(entry) for entry in entries], named=True)

    def _append(self, source: str, stamp: str, lines: list[str], *, named: bool) -> Appended:
        hashed = lines_hash(lines)
        first = month_of(stamp)
        for _ in range(_ATTEMPTS):
            blob = self._head_blob(source)
            head = self._settled(source, blob) if blob is not None else None
            if named:
                known = self._remembered(source, hashed, first, head)
                if known is not None:
                    return Appended(True, known)
            last = stamp_of(head.header.window) if head is not None else ""
            if not named and head is not None and stamp <= last:
                return self._lost(source, stamp, lines, head)
            window = f"{later_stamp(stamp, last)}-{hashed}" if named else stamp
            after, prev = (head.header.window, head.sha256) if head is not None else ("", "")
            data = encode(Header(self.cell, source, window, after, prev, len(lines)), lines)
            etag = self._advance(source, blob, data)
            if etag is not None:
                self._stand(segment_key(self.cell, source, window), data)
                self._complete[source] = etag
                return Appended(True, segment_key(self.cell, source, window))
        raise LedgerError(f"the ledger's chain {self.cell}/{source} was never still in {_ATTEMPTS} attempts. Run one pass at a time.")

    def _lost(self, source: str, stamp: str, lines: Sequence[str], head: Segment) -> Appended:
        """What a scheduled append is told when its window is not after the head's."""
        key = segment_key(self.cell, source, stamp)
        blob = self.store.get(key)
        if blob is None:
            return Appended(False, head.header.key, "late")
        mine = [line.decode() for line in decode(key, blob.data).lines] == list(lines)
        return Appended(mine, key, "" if mine else "taken")

    def _remembered(self, source: str, hashed: str, month: str, head: Segment | None) -> str | None:
        """The key of the segment that has these entries already: its name ends in their hash, and its month is not before theirs."""
        if head is None:
            return None
        while month <= month_of(head.header.window):
            for key, _ in self.store.list(prefix_of(self.cell, source, month)):
                if key.endswith(f"-{hashed}.jsonl.gz"):
                    return key
            month = _next_month(month)
        return None

    def _head_blob(self, source: str) -> Blob | None:
        """The head as stored; None where the chain has not begun. Raises LedgerError where it is missing."""
        blob = self.store.get(head_key(self.cell, source))
        if blob is None and self.store.list(prefix_of(self.cell, source)):
            blob = self.store.get(head_key(self.cell, source))  # it may have begun between the two looks
            if blob is None:
                raise LedgerError(f"ledger object {head_key(self.cell, source)} is missing, and segments of its chain stand. {RESTORE}")
        return blob

    def _head(self, source: str, blob: Blob) -> Segment:
        head = decode(head_key(self.cell, source), blob.data)
        if (head.header.cell, head.header.source) != (self.cell, source):
            raise LedgerError(f"ledger object {head_key(self.cell, source)} is that of {head.header.cell}/{head.header.source}. {RESTORE}")
        return head

    def _settled(self, source: str, blob: Blob) -> Segment:
        """The head, after its segment stands under its own key."""
        head = self._head(source, blob)
        if self._complete.get(source) != blob.etag:
            self._stand(head.header.key, blob.data)
            self._complete[source] = blob.etag
        return head

    def _advance(self, source: str, blob: Blob | None, data: bytes) -> str | None:
        """Make `data` the head in place of what was read; None when somebody else did so first."""
        key = head_key(self.cell, source)
        try:
            if blob is None:
                return self.store.put(key, data, if_none_match=True)
            return self.store.put(key, data, if_match=blob.etag)
        except Conflict:
            return self._etag_if_ours(key, data)
        except StoreError:
            etag = self._etag_if_ours(key, data)  # the write may have happened, with only its answer lost
            if etag is None:
                raise
            return etag

    def _stand(self, key: str, data: bytes) -> None:
        """Have the segment under its own key, whoever puts it there."""
        found = self.store.get(key)
        if found is None:
            try:
                self.store.put(key, data, if_none_match=True)
                return
            except StoreError:
                found = self.store.get(key)
                if found is None:
                    raise
        if found.data != data:
            raise LedgerError(f"ledger segment {key} is not what the chain's head says. {RESTORE}")

    def _etag_if_ours(self, key: str, data: bytes) -> str | None:
        found = self.store.get(key)
        return found.etag if found is not None and found.data == data else None

    def heads(self) -> dict[str, str]:
        """SHA-256 of each chain's last segment by source: who keeps them elsewhere can prove later that nothing before was touched."""
        found: dict[str, str] = {}
        for source in SOURCES:
            blob = self.store.get(head_key(self.cell, source))
            if blob is not None:
                found[source] = self._head(source, blob).sha256
        return found

    def read(self, source: str | None = None, months: Iterable[str] | None = None) -> Iterator[Entry]:
        """Entries in the order in which they were written, source by source.

        Args: months: those in which they were written down, `2026-11`; all when None. What happened in a month may be written later.
        Raises: LedgerError naming the segment that is missing or is not as it was written; nothing of its chain is given then.
        """
        for segment in self.segments(source, months):
            yield from segment.entries()

    def segments(self, source: str | None = None, months: Iterable[str] | None = None) -> Iterator[Segment]:
        """Segments in the order of their chains, each chain checked as a whole before its first is given."""
        wanted = None if months is None else sorted(set(months))
        for name in SOURCES if source is None else (source,):
            yield from [decode(key, data) for key, data, _ in self._chain(name, wanted)]

    def table(
        self, connection: duckdb.DuckDBPyConnection, name: str = "entries", *, months: Iterable[str] | None = None, since: str | None = None
    ) -> int:
        """Make a table of the entries of these months (or of all since one), with their columns and `source`; the count of its rows.

        Types: `at` and `asof` BIGINT, `data` JSON, the rest VARCHAR.
        Raises: LedgerError as `read` does.
        """
        wanted = None if months is None else sorted(set(months))
        selects = []
        for source in SOURCES:
            files = [str(path) for _, _, path in self._chain(source, wanted, since=since, files=True)]
            if files:
                listed = ", ".join(f"'{file}'" for file in files)
                selects.append(f"SELECT '{source}' AS source, {_COLUMN_LIST} FROM read_json([{listed}], {_READ}) WHERE kind IS NOT NULL")
        connection.execute(f"CREATE OR REPLACE TABLE {name} AS {' UNION ALL '.join(selects or [_EMPTY])}")
        counted = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert counted is not None
        return int(counted[0])

    def _chain(
        self, source: str, months: Sequence[str] | None, *, since: str | None = None, files: bool = False
    ) -> list[tuple[str, bytes, Path]]:
        """Keys, bytes and (with `files`) local files of a chain's segments in those months, in order, checked against each other."""
        blob = self._head_blob(source)
        if blob is None:
            return []
        head = self._head(source, blob)
        if months is None:
            listed = self.store.list(prefix_of(self.cell, source))
        else:
            listed = [item for month in months for item in self.store.list(prefix_of(self.cell, source, month))]
        bottom, top = prefix_of(self.cell, source, since) if since else "", head.header.key
        keys = [(key, etag) for key, etag in listed if bottom <= key <= top and key != head_key(self.cell, source)]
        if (months is None or month_of(head.header.window) in months) and top >= bottom and top not in {key for key, _ in keys}:
            keys.append((top, blob.etag))  # its append was not finished, or has lost its place: the head has the same bytes

        def load(item: tuple[str, str]) -> tuple[str, bytes, Path]:
            key, etag = item
            return self._load(key, etag, blob.data if key == top else None, files=files)

        with ThreadPoolExecutor(_THREADS) as pool:
            loaded = list(pool.map(load, keys))
        self._check_chain(loaded, head)
        return loaded

    def _check_chain(self, loaded: Sequence[tuple[str, bytes, Path]], head: Segment) -> None:
        """Raise LedgerError naming the first segment that is missing before another, or is not what the next one says."""
        before: tuple[str, str] | None = None  # key and hash
        for key, data, _ in loaded:
            segment = decode(key, data)
            if segment.header.key != key:
                raise LedgerError(f"ledger segment {key} holds what was written as {segment.header.key}. {RESTORE}")
            expected = segment.header.before
            if expected is not None and (before is None or before[0] != expected):
                found = self.store.get(expected)
                if found is None:
                    raise LedgerError(f"ledger segment {expected} is missing. {RESTORE}")
                before = (expected, sha256_of(found.data))
            if expected is not None and before is not None and before[0] == expected and before[1] != segment.header.prev:
                raise LedgerError(f"ledger segment {expected} is not what was written: {key} remembers another one. {RESTORE}")
            before = (key, segment.sha256)
        if before is not None and before[0] == head.header.key and before[1] != head.sha256:
            raise LedgerError(f"ledger segment {before[0]} is not what the chain's head says. {RESTORE}")

    def _load(self, key: str, etag: str, known: bytes | None, *, files: bool) -> tuple[str, bytes, Path]:
        folder = self._folder()
        path = folder / hashlib.sha256(f"{key}\n{etag}".encode()).hexdigest()[:32]
        path = path.with_suffix(".jsonl.gz")
        data = known
        if data is None and path.exists():
            data = path.read_bytes()
        if data is None:
            blob = self.store.get(key)
            if blob is None:
                raise LedgerError(f"ledger segment {key} was listed and is gone. {RESTORE}")
            data = blob.data
        if files and not path.exists():
            path.write_bytes(data)
        return key, data, path

    def _folder(self) -> Path:
        if self._cache is not None:
            self._cache.mkdir(parents=True, exist_ok=True)
            return self._cache
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="rowhouse-ledger-")
        return Path(self._temporary.name)


_TYPES: Final = {
    "kind": "VARCHAR",
    "tenant": "VARCHAR",
    "instance": "VARCHAR",
    "subject": "VARCHAR",
    "at": "BIGINT",
    "asof": "BIGINT",
    "state": "VARCHAR",
    "value": "VARCHAR",
    "id": "VARCHAR",
    "data": "JSON",
}
_COLUMN_LIST: Final = ", ".join(f'"{name}"' for name in _TYPES)  # quoted: ASOF is a word of DuckDB's own
_EMPTY: Final = "SELECT NULL::VARCHAR AS source, " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in _TYPES.items()) + " LIMIT 0"
_READ: Final = (
    "format = 'newline_delimited', compression = 'gzip', maximum_object_size = 16777216, columns = {"
    + ", ".join(f"\"{name}\": '{kind}'" for name, kind in _TYPES.items())
    + "}"
)


def _next_month(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12}-{number % 12 + 1:02}"
