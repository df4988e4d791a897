"""Notes of one process, an object an hour, written whole again and again, so that a repeated or lost write changes nothing.

Does: keep what the store does not take, for two days. Does not: know what is noted; activity.py and counters.py do.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from datetime import UTC, datetime
from typing import Generic, TypeVar

from rowhouse.vendors.store import Store, StoreError

__all__ = ["Hourly"]

log = logging.getLogger("rowhouse.edge.notes")

MAX_HOURS = 48
WRITE_TIMEOUT_S = 60.0

Notes = TypeVar("Notes", bound=Sized)


class Hourly(ABC, Generic[Notes]):
    """Notes by hour, counted from the epoch."""

    def __init__(self, store: Store, prefix: str, gateway_id: str, clock: Callable[[], float]) -> None:
        """Write `<prefix>/<hour>/<gateway>.json`: readers ask for days, so what is old costs them nothing."""
        self._store = store
        self._prefix = prefix
        self._gateway = gateway_id
        self._clock = clock
        self._hours: dict[int, Notes] = {}
        self._dirty: set[int] = set()

    @abstractmethod
    def _document(self, hour: int) -> bytes:
        """The object of one hour."""

    async def flush(self) -> bool:
        """Write every hour with news; what the store does not take is kept for the next time. True when all was taken."""
        for hour in sorted(self._dirty):
            self._dirty.discard(hour)
            key = f"{self._prefix}/{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H}/{self._gateway}.json"
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await asyncio.to_thread(self._store.put, key, self._document(hour))
            except (StoreError, TimeoutError) as exc:
                self._dirty.add(hour)
                log.warning("%s kept, store away: %s", self._prefix, exc or type(exc).__name__)
                break
        self._forget()
        return not self._dirty

    async def follow(self, every_s: float) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.flush()
            except Exception:
                log.exception("%s not written; kept", self._prefix)

    def _forget(self) -> None:
        current = int(self._clock()) // 3600
        for hour in [hour for hour in self._hours if hour < current and hour not in self._dirty]:
            del self._hours[hour]
        while len(self._hours) > MAX_HOURS:
            oldest = min(self._hours)
            lost = len(self._hours.pop(oldest))
            log.error("%s of %d hosts lost: the store has been away for %d hours", self._prefix, lost, MAX_HOURS)
            self._dirty.discard(oldest)
