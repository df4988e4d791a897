"""The memory: segments in an object store that only grows, chained so that nothing can be taken out, changed or moved unnoticed.

Does: append (one winner for each window), read, load into DuckDB, verify. Does not: rewrite, delete, decide what an entry means.

How an append cannot fork the chain: the chain's last segment stands twice, under its own key and as `head`. Who appends makes sure that
the head's segment stands under its key, replaces the head (only if it is still the one that was read), and then puts the segment under
its own key (only if absent). Killed in between, the head has it all, and whoever appends next finishes. Readers start from the head, so
that a segment missing at the end is missed as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from rowhouse.usage.entries import Entry, LedgerError, line_of
from rowhouse.usage.reading import Reader, head_of, read_head
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
    stamp_of,
)
from rowhouse.usage.verify import Fault, examine
from rowhouse.vendors.store import Blob, Conflict, Store, StoreError
from rowhouse.vendors.store_file import FileStore

if TYPE_CHECKING:
    import duckdb

__all__ = ["Appended", "Ledger"]

_ATTEMPTS: Final = 30


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
        self._reader = Reader(store, cell, cache)
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
            blob = read_head(self.store, self.cell, source)
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

    def _settled(self, source: str, blob: Blob) -> Segment:
        """The head, after its segment stands under its own key."""
        head = head_of(self.cell, source, blob.data)
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

    @property
    def is_local(self) -> bool:
        """Whether it stands in a folder of this machine."""
        return isinstance(self.store, FileStore)

    def last_window(self, source: str) -> str | None:
        """The window of a chain's last segment; None where the chain has not begun."""
        blob = read_head(self.store, self.cell, source)
        return None if blob is None else head_of(self.cell, source, blob.data).header.window

    def heads(self) -> dict[str, str]:
        """SHA-256 of each chain's last segment by source: who keeps them elsewhere can prove later that nothing before was touched."""
        found: dict[str, str] = {}
        for source in SOURCES:
            blob = self.store.get(head_key(self.cell, source))
            if blob is not None:
                found[source] = head_of(self.cell, source, blob.data).sha256
        return found

    def read(self, source: str | None = None, months: Collection[str] | None = None, *, since: str | None = None) -> Iterator[Entry]:
        """Entries in the order in which they were written, source by source.

        Args: months: those in which they were written down, `2026-11`; since: all from this one on; all when neither is given. What
            happened in a month may be written later.
        Raises: LedgerError naming the segment that is missing or is not as it was written; nothing of its chain is given then.
        """
        for segment in self.segments(source, months, since=since):
            yield from segment.entries()

    def segments(self, source: str | None = None, months: Collection[str] | None = None, *, since: str | None = None) -> Iterator[Segment]:
        """Segments in the order of their chains, each chain checked as a whole before its first is given."""
        for name in SOURCES if source is None else (source,):
            for link in self._reader.links(name, months, since):
                yield decode(link.key, self._reader.data(link))

    def verify(self) -> list[Fault]:
        """Every object that was edited, cut off, taken out, moved or added, by its key; empty when all is as it was written."""
        return list(examine(self.store, self.cell).faults)

    def begins_in(self, month: str) -> bool:
        """Whether nothing was written down before a month. Raises: LedgerError as `read` does."""
        for source in SOURCES:
            links = self._reader.links(source, None, month)
            if links[0].header.after if links else read_head(self.store, self.cell, source):
                return False
        return True

    def table(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str = "entries",
        *,
        months: Collection[str] | None = None,
        since: str | None = None,
        sources: Collection[str] = SOURCES,
    ) -> int:
        """Make a table (or, when large, a view) of the entries of these months, or since one; the count of its rows.

        Args: sources: those that are wanted.

        Columns: `source` and those of an entry; `at` and `asof` are BIGINT, `data` JSON, the rest VARCHAR. Rows have no order.
        The name must be one that needs no quotes. Raises: LedgerError as `read` does.
        """
        from rowhouse.usage.tables import make_table  # only who asks for a table waits for DuckDB to load

        chains = {source: list(self._reader.links(source, months, since)) for source in sources}
        folder = self._reader.folder / "days" / self.cell  # a cell's files make way for newer ones of its own alone
        return make_table(connection, name, chains, lambda link: self._reader.path(link.key, link.etag), folder)


def _next_month(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12}-{number % 12 + 1:02}"
