"""Notes that the gateways leave in the object store, an object for each hour and gateway: finding those that changed since the last pass.

Does: ask for the days that can have news, and read what is new. Does not: know what is noted, delete it, or mind how old the store is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rowhouse.usage.observations import Part
from rowhouse.vendors.store import Blob, Store

__all__ = ["HOUR_MS", "Note", "Notes"]

HOUR_MS: Final = 3_600_000
_KEY: Final = re.compile(r"^[a-z]+/(\d{4}-\d{2}-\d{2}T\d{2})/([A-Za-z0-9_-]{1,200})\.json$")
_LATE: Final = timedelta(days=2)
"""For so long a gateway keeps its notes when the store is away."""
_DAYS_MAX: Final = 31
_READING: Final = 8


@dataclass(frozen=True, slots=True)
class Note:
    """One object of notes."""

    key: str
    etag: str
    hour: int
    """Its start, in milliseconds UTC, by the gateway's reckoning."""
    gateway: str
    content: dict[str, Any]


class Notes:
    """The notes of one kind."""

    def __init__(self, store: Store, prefix: str) -> None:
        """Read `<prefix>/<hour>/<gateway>.json` of `store`."""
        self._store, self._prefix = store, prefix
        self.calls = 0

    async def listed(self, part: Part, since: int | None, now: int | None) -> dict[str, tuple[str, int, str]]:
        """Etag, hour and gateway of each object that can have news, by key; all there are where a time is not known."""
        found: dict[str, tuple[str, int, str]] = {}
        for prefix in _prefixes(self._prefix, since, now):
            self.calls += 1
            for key, etag in await asyncio.to_thread(self._store.list, prefix):
                match = _KEY.match(key)
                hour = _hour(match[1]) if match else None
                if match is None or hour is None:
                    part.fail(f"object {key[:100]!r} has no name of notes")
                elif now is not None and hour > now:
                    part.fail(f"object {key} is of an hour that has not begun; the gateway's clock is wrong")
                else:
                    found[key] = (etag, hour, match[2])
        return found

    async def read(self, part: Part, listed: dict[str, tuple[str, int, str]], keys: Collection[str]) -> list[Note]:
        """Those objects, by key; one that cannot be read is a fault of the part."""
        gate = asyncio.Semaphore(_READING)
        wanted = sorted(keys)

        async def one(key: str) -> Blob | None:
            async with gate:
                self.calls += 1
                return await asyncio.to_thread(self._store.get, key)

        blobs = await asyncio.gather(*(one(key) for key in wanted))
        notes: list[Note] = []
        for key, blob in zip(wanted, blobs, strict=True):
            content = _content(blob) if blob is not None else {}
            if content is None:
                part.fail(f"object {key} is no notes of version 1")
            elif blob is not None:
                _, hour, gateway = listed[key]
                notes.append(Note(key, blob.etag, hour, gateway, content))
        return notes


def _prefixes(prefix: str, since: int | None, now: int | None) -> Sequence[str]:
    if since is None or now is None:
        return [f"{prefix}/"]
    first = datetime.fromtimestamp(min(since, now) / 1000, UTC).date() - _LATE
    last = datetime.fromtimestamp(now / 1000, UTC).date()
    days = (last - first).days + 1
    if days > _DAYS_MAX:
        return [f"{prefix}/"]
    return [f"{prefix}/{first + timedelta(days=day):%Y-%m-%d}" for day in range(days)]


def _hour(text: str) -> int | None:
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def _content(blob: Blob) -> dict[str, Any] | None:
    try:
        content = json.loads(blob.data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("v") == 1 else None
