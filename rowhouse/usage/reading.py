"""Chains as they are read: which segments there are, checked against each other and against the head.

Does: list, fetch, check hashes, remember on this machine what was checked. Does not: unpack a segment to check it, because its hash
stands in the next one, and the last one's in the head.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rowhouse.usage.entries import LedgerError
from rowhouse.usage.segments import (
    RESTORE,
    Header,
    Segment,
    decode,
    head_key,
    header_of,
    month_of,
    prefix_of,
    sha256_of,
    stamp_of,
)
from rowhouse.vendors.store import Blob, Store
from rowhouse.vendors.store_file import FileStore

__all__ = ["Link", "Reader", "head_of", "read_head"]

_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Link:
    """One segment of a chain, checked by itself."""

    header: Header
    sha256: str
    etag: str
    """Of the object that has it, or `head` and that of the head when its own object is missing."""

    @property
    def key(self) -> str:
        """Where it stands, or should."""
        return self.header.key


def read_head(store: Store, cell: str, source: str) -> Blob | None:
    """A chain's head as stored; None where the chain has not begun. Raises LedgerError where it should be and is not."""
    key = head_key(cell, source)
    blob = store.get(key)
    if blob is None and store.list(prefix_of(cell, source)):
        blob = store.get(key)  # it may have begun between the two looks
        if blob is None:
            raise LedgerError(f"ledger object {key} is missing, and segments of its chain stand. {RESTORE}")
    return blob


def head_of(cell: str, source: str, data: bytes) -> Segment:
    """The segment that a head holds. Raises LedgerError when it holds none of this chain."""
    key = head_key(cell, source)
    head = decode(key, data)
    if (head.header.cell, head.header.source) != (cell, source):
        raise LedgerError(f"ledger object {key} is that of {head.header.cell}/{head.header.source}. {RESTORE}")
    return head


class Reader:
    """Reads one cell's chains; what it has checked once in this process it does not fetch again."""

    def __init__(self, store: Store, cell: str, cache: Path | None) -> None:
        self.store = store
        self.cell = cell
        self._cache = cache
        self._checked: dict[tuple[str, str], Link] = {}

    @property
    def folder(self) -> Path:
        """Of this machine, for what may be lost; a temporary one where none was given."""
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="rowhouse-ledger-"))
            weakref.finalize(self, shutil.rmtree, self._cache, ignore_errors=True)
        return self._cache

    def links(self, source: str, months: Collection[str] | None = None, since: str | None = None) -> list[Link]:
        """The chain's segments in these months, or since one, in order.

        Raises: LedgerError naming the first object that is missing, or is not what was written.
        """
        blob = read_head(self.store, self.cell, source)
        if blob is None:
            return []
        head = head_of(self.cell, source, blob.data)
        listed = dict(self._listed(source, months, since, head.header.window))
        listed.pop(head_key(self.cell, source), None)
        last = stamp_of(head.header.window)
        keys = {key: etag for key, etag in listed.items() if _order(key) <= last}  # those after the head came while we looked
        top = month_of(head.header.window)
        if (months is None or top in months) and (since is None or top >= since) and head.header.key not in keys:
            keys[head.header.key] = f"head {blob.etag}"
        with ThreadPoolExecutor(_THREADS) as pool:
            links = list(pool.map(lambda item: self._link(*item), sorted(keys.items(), key=lambda item: _order(item[0]))))
        self._check(links, head)
        return links

    def _listed(self, source: str, months: Collection[str] | None, since: str | None, last: str) -> Iterator[tuple[str, str]]:
        if months is None and since is None:
            yield from self.store.list(prefix_of(self.cell, source))
            return
        wanted = sorted(months) if months is not None else _months(since or "", month_of(last))
        for month in wanted:
            if since is None or month >= since:
                yield from self.store.list(prefix_of(self.cell, source, month))

    def _link(self, key: str, etag: str) -> Link:
        known = self._checked.get((key, etag))
        if known is None:
            data = self._data(key, etag)
            header = header_of(key, data)
            if header.key != key:
                raise LedgerError(f"ledger segment {key} holds what was written as {header.key}. {RESTORE}")
            known = self._checked[key, etag] = Link(header, sha256_of(data), etag)
        return known

    def _check(self, links: Sequence[Link], head: Segment) -> None:
        before: tuple[str, str] | None = None  # key and hash
        for link in links:
            expected = link.header.before
            if expected is not None and (before is None or before[0] != expected):
                blob = self.store.get(expected)
                if blob is None:
                    raise LedgerError(f"ledger segment {expected} is missing: {link.key} follows it. {RESTORE}")
                before = (expected, sha256_of(blob.data))
            if expected is not None and before is not None and before[1] != link.header.prev:
                raise LedgerError(f"ledger segment {expected} is not what was written: {link.key} remembers another one. {RESTORE}")
            before = (link.key, link.sha256)
        if before is not None and before[0] == head.header.key and before[1] != head.sha256:
            raise LedgerError(f"ledger segment {before[0]} is not what the chain's head says. {RESTORE}")

    def data(self, link: Link) -> bytes:
        """A checked segment's bytes. Raises LedgerError when they are no longer those that were checked."""
        data = self._data(link.key, link.etag)
        if sha256_of(data) != link.sha256:
            raise LedgerError(f"ledger segment {link.key} changed while it was read. {RESTORE}")
        return data

    def _data(self, key: str, etag: str) -> bytes:
        if isinstance(self.store, FileStore) and not etag.startswith("head "):
            blob = self.store.get(key)
            if blob is None:
                raise LedgerError(f"ledger segment {key} was listed and is gone. {RESTORE}")
            return blob.data
        return self.path(key, etag).read_bytes()

    def path(self, key: str, etag: str) -> Path:
        """A file of this machine with the object's bytes. Raises LedgerError where the object is gone."""
        if isinstance(self.store, FileStore) and not etag.startswith("head "):
            return self.store.path(key)
        folder = self.folder / "segments"
        path = folder / f"{hashlib.sha256(f'{key} {etag}'.encode()).hexdigest()[:40]}.jsonl.gz"
        if not path.exists():
            blob = self.store.get(head_key(self.cell, key.split("/")[2]) if etag.startswith("head ") else key)
            if blob is None:
                raise LedgerError(f"ledger segment {key} was listed and is gone. {RESTORE}")
            _write_whole(path, blob.data)
        return path


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache so that another process sees all of it or none."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as exc:
        raise LedgerError(
            f"{path.parent}: {os.strerror(exc.errno or 0)}. It is a cache: make room, or remove it; it is made anew."
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _order(key: str) -> str:
    try:
        return stamp_of(key.rsplit("/", 1)[-1].removesuffix(".jsonl.gz"))
    except LedgerError as exc:
        raise LedgerError(f"object {key} stands among the ledger's segments and is none. Remove it, after a look at what it is.") from exc


def _months(first: str, last: str) -> Iterator[str]:
    year, month = int(first[:4]), int(first[5:7])
    while (name := f"{year:04}-{month:02}") <= last:
        yield name
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
