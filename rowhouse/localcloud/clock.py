"""The virtual clock that moves every stand-in.

It runs with real time and can be advanced; timers that fall into the skipped stretch fire in their order, each at
its own time. It never goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

__all__ = ["Clock", "Timer", "later", "rfc3339"]


@dataclass(order=True)
class Timer:
    """A callback due at a virtual time (seconds since the epoch)."""

    due: float
    number: int
    callback: Callable[[], Awaitable[None] | None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Keep the callback from being run."""
        self.cancelled = True


class Clock:
    """Virtual time: real time plus what was advanced, in UTC."""

    def __init__(self, start: datetime | None = None) -> None:
        """Begin at `start` (now when absent)."""
        self._offset = (start.timestamp() - time.time()) if start else 0.0
        self._frozen_at: float | None = None  # while advancing, the time of the timer being run
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._advancing = asyncio.Lock()
        self._told: Path | None = None

    def tell(self, path: Path) -> None:
        """Keep a file that says by how many seconds virtual time is ahead of real time, for processes that follow it.

        It is replaced whole, and before whoever advances the clock goes on.
        """
        self._told = path
        self._write()

    def _write(self) -> None:
        if self._told is not None:
            fresh = self._told.with_name(f"{self._told.name}.new")
            fresh.write_text(f"{self._offset:.6f}\n", encoding="ascii")
            fresh.replace(self._told)

    def timestamp(self) -> float:
        """Seconds since the epoch, virtual."""
        if self._frozen_at is not None:
            return self._frozen_at
        return time.time() + self._offset

    def now(self) -> datetime:
        """The virtual time, aware, UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def call_at(self, due: datetime | float, callback: Callable[[], Awaitable[None] | None]) -> Timer:
        """Run `callback` at a virtual time; at once if that has passed."""
        timer = Timer(due.timestamp() if isinstance(due, datetime) else due, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        self._wake.set()
        return timer

    def call_later(self, seconds: float, callback: Callable[[], Awaitable[None] | None]) -> Timer:
        """Run `callback` after that many virtual seconds."""
        return self.call_at(self.timestamp() + seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait that many virtual seconds."""
        done = asyncio.Event()
        self.call_later(seconds, done.set)
        await done.wait()

    async def advance(self, seconds: float) -> datetime:
        """Move virtual time forward, running every timer on the way at its own time.

        Raises: ValueError for a negative number.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        async with self._advancing:
            target = self.timestamp() + seconds
            self._frozen_at = self.timestamp()
            try:
                while (timer := self._next(target)) is not None:
                    self._frozen_at = max(self._frozen_at, timer.due)
                    await self._fire(timer)
                self._frozen_at = target
            finally:
                reached = self._frozen_at
                self._offset = max(self._offset, reached - time.time())
                self._frozen_at = None
                self._write()
                self._wake.set()
        return self.now()

    async def run(self) -> None:
        """Fire timers as real time reaches them, until cancelled."""
        while True:
            self._wake.clear()
            async with self._advancing:
                while (timer := self._next(self.timestamp())) is not None:
                    await self._fire(timer)
            pending = [timer for timer in self._timers[:1] if not timer.cancelled]
            delay = max(0.0, pending[0].due - self.timestamp()) if pending else 3600.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(delay, 3600.0)):
                    await self._wake.wait()

    def _next(self, until: float) -> Timer | None:
        while self._timers:
            if self._timers[0].cancelled:
                heapq.heappop(self._timers)
                continue
            return heapq.heappop(self._timers) if self._timers[0].due <= until else None
        return None

    @staticmethod
    async def _fire(timer: Timer) -> None:
        result = timer.callback()
        if result is not None:
            await result


def rfc3339(moment: datetime) -> str:
    """A time as the vendors write it: UTC, seconds, `Z`."""
    return moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")


def later(moment: datetime, **kwargs: float) -> datetime:
    """`moment` plus a timedelta given by keywords."""
    return moment + timedelta(**kwargs)
