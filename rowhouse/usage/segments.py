"""One segment of the ledger as bytes: a header line and entry lines, compressed, and the key under which it stands.

Does: encode, decode, name. The same header and lines give the same bytes on every machine with the same zlib; nothing relies on that but
the recognition of one's own write. Does not: read or write a store.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rowhouse.usage.entries import Entry, LedgerError, parse

__all__ = [
    "SOURCES",
    "Header",
    "Segment",
    "decode",
    "encode",
    "head_key",
    "header_of",
    "later_stamp",
    "lines_hash",
    "memory_window",
    "month_of",
    "prefix_of",
    "segment_key",
    "sha256_of",
    "stamp_of",
    "window_of",
]

SOURCES: Final = ("account", "app", "billing", "cloudflare", "docker", "fly", "gateway", "pass", "railway")
"""Each has a chain of its own in each cell."""
_VERSION: Final = 1
_WINDOW: Final = re.compile(r"^(\d{8}T\d{6}Z)(-[0-9a-f]{12})?$")
_MONTH: Final = re.compile(r"^\d{4}-(0[1-9]|1[0-2])$")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_PARTS: Final = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))
"""Of a stamp: year, month, day, hour, minute, second."""
_GZIP_START: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, no system: nothing about where it was written."""
_LEVEL: Final = 1
_HEADER_KEYS: Final = {"v", "cell", "source", "window", "after", "prev", "n"}
MAX_BYTES: Final = 1 << 30
"""Of a segment's text; what claims to be more is not one of ours."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a segment."""

    cell: str
    source: str
    window: str
    after: str
    """The window of the segment before it in its chain; empty for the first."""
    prev: str
    """SHA-256 of that segment's bytes; empty for the first."""
    n: int
    """How many entries follow."""

    @property
    def key(self) -> str:
        """Under which the segment stands in the store."""
        return segment_key(self.cell, self.source, self.window)

    @property
    def before(self) -> str | None:
        """The key of the segment before it; None for the first."""
        return segment_key(self.cell, self.source, self.after) if self.after else None


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as it was read."""

    header: Header
    lines: Sequence[bytes]
    sha256: str
    """Of its bytes as stored."""

    def entries(self) -> Iterable[Entry]:
        """Its entries in order. Raises LedgerError naming the segment and the line."""
        for number, line in enumerate(self.lines, start=2):
            try:
                yield parse(line)
            except LedgerError as exc:
                raise LedgerError(f"ledger segment {self.header.key}, line {number}: {exc}") from exc


def window_of(at: int, interval_s: int) -> str:
    """The window of a scheduled source: the start of the interval in which `at` (ms) lies."""
    seconds = at // 1000
    return _text(seconds - seconds % interval_s)


def memory_window(at: int, hashed: str) -> str:
    """The window of entries that come when they come: their time in seconds, and the hash of their lines."""
    return f"{_text(at // 1000)}-{hashed}"


def stamp_of(window: str) -> str:
    """The time in a window's name. Raises LedgerError where it is no window."""
    match = _WINDOW.match(window)
    if match is None or not _is_time(match[1]):
        raise LedgerError(
            f"{window!r} is no window of the ledger. Windows are named like 20261121T070000Z or 20261121T070000Z-0123456789ab."
        )
    return match[1]


def later_stamp(stamp: str, floor: str) -> str:
    """The stamp, or one second after `floor` when that is later."""
    if stamp > floor:
        return stamp
    return (datetime.strptime(floor, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)).strftime(_STAMP)


def month_of(window: str) -> str:
    """`2026-11`, the folder in which the window's segment stands."""
    return f"{window[:4]}-{window[4:6]}"


def prefix_of(cell: str, source: str, month: str = "") -> str:
    """Begins the keys of a chain, or of one month of it."""
    if source not in SOURCES:
        raise LedgerError(f"{source!r} is not a source of the ledger. Sources: {', '.join(SOURCES)}.")
    if month and not _MONTH.match(month):
        raise LedgerError(f"{month!r} is not a month. Months are written like 2026-11.")
    return f"ledger/{cell}/{source}/{month}/" if month else f"ledger/{cell}/{source}/"


def segment_key(cell: str, source: str, window: str) -> str:
    """Where a window's segment stands. Raises LedgerError for a name that is none."""
    stamp_of(window)
    return f"{prefix_of(cell, source, month_of(window))}{window}.jsonl.gz"


def head_key(cell: str, source: str) -> str:
    """Where the chain's last segment stands a second time: who replaces it appends."""
    return f"{prefix_of(cell, source)}head.jsonl.gz"


def sha256_of(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def lines_hash(lines: Iterable[str]) -> str:
    """Twelve hex digits of the entries' own lines."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:12]


def encode(header: Header, lines: Sequence[str]) -> bytes:
    """A segment's bytes: gzip without a time, at the fastest level, because it is read far more often than it is stored long."""
    first = {"v": _VERSION, "cell": header.cell, "source": header.source, "window": header.window}
    first |= {"after": header.after, "prev": header.prev, "n": header.n}
    text = "".join(f"{line}\n" for line in (json.dumps(first, separators=(",", ":")), *lines)).encode()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"".join((_GZIP_START, packer.compress(text), packer.flush(), struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)))


def decode(key: str, data: bytes) -> Segment:
    """The segment whose bytes were found under a key.

    Raises: LedgerError naming the key when they are not a whole segment, or are that of another place.
    """
    text = _unpacked(key, data)
    lines = text.split(b"\n")
    header = _header(key, lines[0])
    if lines.pop() or len(lines) != header.n + 1:
        raise LedgerError(f"ledger segment {key} has {len(lines) - 1} whole lines, and its header says {header.n}. {RESTORE}")
    return Segment(header, lines[1:], sha256_of(data))


def header_of(key: str, data: bytes) -> Header:
    """The header alone, of bytes whose hash somebody else vouches for. Raises LedgerError naming the key where there is none."""
    if not data.startswith(_GZIP_START):
        raise LedgerError(f"ledger segment {key} does not begin as one. {RESTORE}")
    try:
        line, end, _ = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[len(_GZIP_START) :], 4096).partition(b"\n")
    except zlib.error as exc:
        raise LedgerError(f"ledger segment {key} cannot be unpacked: {exc}. {RESTORE}") from exc
    return _header(key, line if end else b"")


RESTORE: Final = "Restore that object from a backup of the store; `rowhouse ledger verify` tells whether all is well."


def _unpacked(key: str, data: bytes) -> bytes:
    if not data.startswith(_GZIP_START):
        raise LedgerError(f"ledger segment {key} does not begin as one. {RESTORE}")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = unpacker.decompress(data[len(_GZIP_START) :], MAX_BYTES)
    except zlib.error as exc:
        raise LedgerError(f"ledger segment {key} cannot be unpacked: {exc}. {RESTORE}") from exc
    if not unpacker.eof or unpacker.unused_data != struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF):
        raise LedgerError(f"ledger segment {key} is cut off, or not what was written. {RESTORE}")
    return text


def _header(key: str, line: bytes) -> Header:
    try:
        found = json.loads(line)
        if set(found) != _HEADER_KEYS or found.pop("v") != _VERSION:
            raise LedgerError("its fields are not those of version 1")
        header = Header(**found)
        wrong = [name for name in ("cell", "source", "window", "after", "prev") if not isinstance(getattr(header, name), str)]
        if wrong or type(header.n) is not int or (header.after == "") != (header.prev == ""):
            raise LedgerError(f"{(wrong or ['n'])[0]} is not what it may be")
        if header.after:
            stamp_of(header.after)
        _ = header.key
    except (ValueError, TypeError, AttributeError, LedgerError) as exc:
        raise LedgerError(f"ledger segment {key} has no header that can be read: {exc}. {RESTORE}") from exc
    return header


def _text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime(_STAMP)


def _is_time(stamp: str) -> bool:
    """Asked for every segment of a month at every pass, so without `strptime`, which is thirty times slower."""
    try:
        year, month, day, hour, minute, second = (int(stamp[a:b]) for a, b in _PARTS)
        datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return False
    return True
