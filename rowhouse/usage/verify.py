"""Whether a ledger is what was written: every object that was edited, cut off, taken out, moved or added, by its name.

How: the head says what the last segment is, and each segment what the one before it is. So it is read from the head backwards, and what
agrees with a segment that is vouched for is vouched for too. Where the chain is broken, it is taken up at the next older segment.
Does not: find what was changed by somebody who wrote the whole chain anew from there on; keep the heads elsewhere for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rowhouse.usage.entries import LedgerError
from rowhouse.usage.segments import SOURCES, Header, decode, head_key, month_of, prefix_of, stamp_of
from rowhouse.vendors.store import Store

__all__ = ["Examined", "Fault", "examine"]

_SEGMENT: Final = re.compile(r"^(\d{4}-\d{2})/([0-9TZa-f-]+)\.jsonl\.gz$")


@dataclass(frozen=True, slots=True)
class Fault:
    """One object that is not as it was written."""

    key: str
    kind: Literal["missing", "damaged", "edited", "moved", "foreign"]
    text: str
    """What is wrong with it, for people."""

    def __str__(self) -> str:
        return f"{self.key}: {self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Examined:
    """What was looked at, and what is wrong."""

    faults: tuple[Fault, ...]
    segments: int
    entries: int
    heads: Mapping[str, str]
    """SHA-256 of each chain's last segment, by source."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A segment that can be read and stands where it belongs."""

    header: Header
    sha256: str


def examine(store: Store, cell: str, *, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Examined:
    """Read every object of a cell's ledger once. Raises StoreError when the store cannot be read.

    Args: progress: is told after each object how many of how many are done.
    """
    keys = [key for key, _ in store.list(f"ledger/{cell}/")]
    faults: list[Fault] = []
    chains: dict[str, list[str]] = {source: [] for source in SOURCES}
    heads: dict[str, _Read] = {}
    broken_heads: set[str] = set()
    read: dict[str, _Read] = {}
    for done, key in enumerate(keys, start=1):
        source, is_head = _place(cell, key)
        if source is None:
            faults.append(Fault(key, "foreign", "it is no object of a ledger. Look what it is, and remove it."))
        else:
            if not is_head:
                chains[source].append(key)
            found = _examined(store, cell, source, key, is_head=is_head)
            if isinstance(found, Fault):
                faults.append(found)
                if is_head:
                    broken_heads.add(source)
            elif is_head:
                heads[source] = found
            else:
                read[key] = found
        progress(done, len(keys))
    for source, there in chains.items():
        if there and source not in heads and source not in broken_heads:
            text = "it says which segment is the last. Restore it, or put that segment's bytes there."
            faults.append(Fault(head_key(cell, source), "missing", text))
        faults += _broken_links(head_key(cell, source), heads.get(source), sorted(there, key=_order), read)
    ordered = sorted(set(faults), key=lambda fault: (fault.key, fault.kind))
    entries = sum(found.header.n for found in read.values())
    return Examined(tuple(ordered), len(read), entries, {source: head.sha256 for source, head in heads.items()})


def _place(cell: str, key: str) -> tuple[str | None, bool]:
    """The source whose chain an object belongs to by its name, and whether it is the head's."""
    for source in SOURCES:
        prefix = prefix_of(cell, source)
        if key == head_key(cell, source):
            return source, True
        match = _SEGMENT.match(key.removeprefix(prefix)) if key.startswith(prefix) else None
        if match is not None:
            try:
                stamp_of(match[2])
            except LedgerError:
                return None, False
            return (source, False) if month_of(match[2]) == match[1] else (None, False)
    return None, False


def _examined(store: Store, cell: str, source: str, key: str, *, is_head: bool) -> _Read | Fault:
    blob = store.get(key)
    if blob is None:
        return Fault(key, "missing", "it was listed, and is gone.")
    try:
        segment = decode(key, blob.data)
    except LedgerError as exc:
        return Fault(key, "damaged", str(exc))
    header = segment.header
    if (header.cell, header.source) != (cell, source) or not (is_head or header.key == key):
        return Fault(key, "moved", f"it holds what was written as {header.key}.")
    return _Read(header, segment.sha256)


def _broken_links(head_name: str, head: _Read | None, keys: Sequence[str], read: Mapping[str, _Read]) -> list[Fault]:
    """Walk one chain from its head to its first segment."""
    faults: list[Fault] = []
    left = list(keys)
    wanted, sha256, by = (head.header.key, head.sha256, head_name) if head is not None else (None, "", "")
    proven: _Read | None = None
    while left or wanted is not None:
        if wanted is None:
            # Nobody says what comes next: go on with the latest that is left, on its own word.
            key = left.pop()
            proven = read.get(key)
        else:
            key = wanted
            while left and _order(left[-1]) > _order(key):
                extra = left.pop()
                if extra in read:
                    faults.append(Fault(extra, "foreign", _extra(by, key, by_head=by == head_name)))
            if left and left[-1] == key:
                left.pop()
                proven = read.get(key)
                if proven is not None and proven.sha256 != sha256:
                    faults.append(Fault(key, "edited", f"it is not what {by} remembers."))
                    if by == head_name:
                        faults.append(Fault(head_name, "edited", f"it is not {key}, which it should be; one of the two was changed."))
                    proven = None
            else:
                held = " The head holds its bytes: the next pass puts it back." if by == head_name else ""
                faults.append(Fault(key, "missing", f"{by} comes after it.{held}"))
                proven = head if by == head_name else None
        if proven is None:
            wanted = None
        elif proven.header.before is None:
            faults += [Fault(extra, "foreign", f"{proven.header.key} is the first of its chain.") for extra in left if extra in read]
            return faults
        else:
            wanted, sha256, by = proven.header.before, proven.header.prev, proven.header.key
    return faults


def _extra(by: str, key: str, *, by_head: bool) -> str:
    if by_head:
        return f"{by} says that {key} is the last one: this was added, or an older head was put back."
    return f"{by} says that {key} is the one before it: this was added."


def _order(key: str) -> str:
    return stamp_of(key.rsplit("/", 1)[-1].removesuffix(".jsonl.gz"))
