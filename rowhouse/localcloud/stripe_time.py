"""Whose time it is: the local cloud's virtual clock, or a test clock that stands still until it is advanced.

Also calendar arithmetic: where a billing period that is anchored on a day of the month begins and ends.
"""

from __future__ import annotations

import calendar
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from rowhouse.localcloud.clock import Clock

__all__ = ["TestTimeline", "Timeline", "VirtualTimeline", "first_anchor", "step"]


class Timeline(Protocol):
    """A time that passes and calls back."""

    def now(self) -> int:
        """Seconds since the epoch."""

    def call_at(self, due: int, callback: Callable[[], None]) -> None:
        """Run `callback` when the time reaches `due`."""


class VirtualTimeline:
    """The local cloud's clock."""

    def __init__(self, clock: Clock) -> None:
        """Follow `clock`."""
        self._clock = clock

    def now(self) -> int:
        """See `Timeline`."""
        return int(self._clock.timestamp())

    def call_at(self, due: int, callback: Callable[[], None]) -> None:
        """See `Timeline`."""
        self._clock.call_at(float(due), callback)


class TestTimeline:
    """A test clock's frozen time."""

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, frozen: int) -> None:
        """Stand still at `frozen`."""
        self._now = frozen
        self._numbers = itertools.count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []

    def now(self) -> int:
        """See `Timeline`."""
        return self._now

    def call_at(self, due: int, callback: Callable[[], None]) -> None:
        """See `Timeline`."""
        heapq.heappush(self._due, (due, next(self._numbers), callback))

    def advance_to(self, moment: int) -> None:
        """Run everything that falls due until `moment`, each at its own time."""
        while self._due and self._due[0][0] <= moment:
            due, _, callback = heapq.heappop(self._due)
            self._now = max(self._now, due)
            callback()
        self._now = moment


def _on_day(year: int, month: int, anchor: datetime) -> datetime:
    day = min(anchor.day, calendar.monthrange(year, month)[1])
    return anchor.replace(year=year, month=month, day=day)


def step(anchor: int, interval: str, count: int, steps: int) -> int:
    """The `steps`-th period edge counted from `anchor`; months clamp to their last day without drifting."""
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in {"day", "week"}:
        return int((start + timedelta(days=steps * count * (7 if interval == "week" else 1))).timestamp())
    months = steps * count * (12 if interval == "year" else 1)
    index = start.year * 12 + start.month - 1 + months
    return int(_on_day(index // 12, index % 12 + 1, start).timestamp())


def first_anchor(now: int, *, day: int, hour: int | None, minute: int | None, second: int | None, month: int | None, interval: str) -> int:
    """The first edge after `now` that a billing_cycle_anchor_config describes.

    Time parts left out are those of `now`. Day 31 means a month's last day.
    """
    start = datetime.fromtimestamp(now, UTC)
    at = start.replace(
        hour=start.hour if hour is None else hour,
        minute=start.minute if minute is None else minute,
        second=start.second if second is None else second,
        microsecond=0,
    )
    index = start.year * 12 + start.month - 1
    for ahead in range(25 if interval == "year" else 3):
        year, zero_month = divmod(index + ahead, 12)
        if month is not None and zero_month + 1 != month:
            continue
        last = calendar.monthrange(year, zero_month + 1)[1]
        candidate = at.replace(year=year, month=zero_month + 1, day=1) + timedelta(days=min(day, last) - 1)
        if candidate.timestamp() > now:
            return int(candidate.timestamp())
    raise ValueError("no such anchor")
