"""Stores for the ledger's tests: one in memory, and one that goes wrong at a chosen call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import duckdb

from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.segments import window_of
from rowhouse.vendors.store import Blob, Conflict, StoreError, check_key

HOUR = 3_600_000
START = 1_793_491_200_000  # 2026-11-01T00:00:00Z


class MemoryStore:
    """Objects in a dict."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []

    def get(self, key: str) -> Blob | None:
        self.calls.append(f"get {key}")
        data = self.objects.get(check_key(key))
        return None if data is None else Blob(data, hashlib.md5(data).hexdigest())

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        self.calls.append(f"put {key}")
        there = self.objects.get(check_key(key))
        if (if_none_match and there is not None) or (
            if_match is not None and (there is None or hashlib.md5(there).hexdigest() != if_match)
        ):
            raise Conflict(f"{key}: lost")
        self.objects[key] = data
        return hashlib.md5(data).hexdigest()

    def delete(self, key: str) -> None:
        self.calls.append(f"delete {key}")
        self.objects.pop(key, None)

    def list(self, prefix: str) -> list[tuple[str, str]]:
        self.calls.append(f"list {prefix}")
        return sorted((key, hashlib.md5(data).hexdigest()) for key, data in self.objects.items() if key.startswith(prefix))


class Killed(BaseException):
    """The process ended here."""


class FaultyStore(MemoryStore):
    """Goes wrong at the call of that number, before or after its effect."""

    def __init__(self, objects: dict[str, bytes], number: int, fault: str) -> None:
        super().__init__()
        self.objects = objects
        self.number, self.fault, self.count = number, fault, -1

    def at_call(self, act: Callable[[], object]) -> object:
        self.count += 1
        if self.count != self.number:
            return act()
        if self.fault == "killed before":
            raise Killed
        if self.fault == "refused":
            raise StoreError("HTTP 503")
        answer = act()
        if self.fault == "killed after":
            raise Killed
        if self.fault == "lost":
            raise StoreError("ReadTimeout")
        return answer

    def get(self, key: str) -> Blob | None:
        return self.at_call(lambda: MemoryStore.get(self, key))  # type: ignore[return-value]

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        def act() -> str:
            return MemoryStore.put(self, key, data, if_none_match=if_none_match, if_match=if_match)

        return self.at_call(act)  # type: ignore[return-value]

    def delete(self, key: str) -> None:
        self.at_call(lambda: MemoryStore.delete(self, key))

    def list(self, prefix: str) -> list[tuple[str, str]]:
        return self.at_call(lambda: MemoryStore.list(self, prefix))  # type: ignore[return-value]


def poll(at: int, tenant: str = "acme", state: str = "started", **columns) -> Entry:
    """What a pass saw of one machine."""
    return Entry("machine", at, tenant, "main", "m-1", asof=at - 600_000, state=state, id="v1", data={"region": "fra"}, **columns)


def filled(store, hours: int, *, start: int = START + 27 * 24 * HOUR, step: int = 12, sources: tuple[str, ...] = ("fly",)) -> Ledger:
    """A ledger with one segment each `step` hours, over the end of a month."""
    ledger = Ledger(store, "main")
    for number in range(hours):
        at = start + number * step * HOUR
        for source in sources:
            assert ledger.append(source, window_of(at, 3600), [poll(at, f"t-{number}"), poll(at, f"u-{number}", "stopped")]).written
    return ledger


def rows(ledger: Ledger, **span: Any) -> list[tuple[Any, ...]]:
    """Every entry, read as a table."""
    with duckdb.connect() as connection:
        count = ledger.table(connection, **span)
        found = connection.execute('SELECT source, kind, tenant, "at", "asof", state, value, data FROM entries ORDER BY ALL').fetchall()
    assert count == len(found)
    return found
