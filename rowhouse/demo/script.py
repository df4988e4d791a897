"""What the demo's tenants do in a month: a fixed script, so that every run tells the same story.

Does: say who does what at which minute. Does not: do it (people.py), or know what it will cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

__all__ = ["CHANGE_DAY", "Act", "Place", "acts_of"]

CHANGE_DAY = 16
"""At this day's first moment acme gets another plan."""

Place = tuple[str, str]
"""Tenant and instance."""
_MAIN = "main"


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """One thing that somebody does at one instance."""

    at: datetime
    place: Place
    what: Literal["visit", "arrive", "leave", "crash"]
    """`visit`: look at the page once. `arrive`, `leave`: open the page and keep it open, and close it. `crash`: end the app's process."""
    notes: int = 0
    """How many notes are written at a visit, or how many images generated."""


def acts_of(month: datetime) -> list[Act]:
    """Everything, in the order of time. Args: month: its first moment."""
    end = (month + timedelta(days=32)).replace(day=1)
    days = [(month + timedelta(days=number)).date() for number in range((end - month).days)]
    return sorted(act for day in days for act in _day(day, last=day == days[-1]))


def _day(day: date, *, last: bool) -> Iterator[Act]:
    weekday, number = day.weekday(), day.day
    if weekday < 5 and number > 1:
        yield from _stay(day, ("acme", _MAIN), "08:00", 9.5)
    if weekday in {1, 3} and number > 1:
        yield from _stay(day, ("acme", "lab"), "20:00", 11)  # past midnight
    if weekday in {0, 2, 5} and number > 1:
        yield from _stay(day, ("fern", _MAIN), "13:00", 4.5)
    if weekday in {1, 4, 6}:
        yield _at(day, "21:15", "visit", ("quill", _MAIN))
        yield _at(day, "23:58", "visit", ("quill", _MAIN))  # awake in two clock hours
    if last:
        yield from _stay(day, ("orchard", _MAIN), "22:00", 3)  # into the next month
    elif number > 1:
        yield from _stay(day, ("orchard", _MAIN), "18:00", 4)
    if weekday in {0, 2, 4} and number > 1:
        yield _at(day, "10:00", "visit", ("brook-studio", _MAIN), 5)
    if number % 4 == 2:
        yield _at(day, "07:00", "visit", ("lilach", _MAIN), 1)
    if number in {CHANGE_DAY + 2, CHANGE_DAY + 6}:
        yield _at(day, "11:00", "visit", ("lilach", _MAIN))
        yield _at(day, "11:02", "crash", ("lilach", _MAIN))
    if number in {5, 25}:
        yield _at(day, "17:00", "visit", ("maple", _MAIN))


def _stay(day: date, place: Place, begin: str, hours: float) -> Iterator[Act]:
    arrive = _at(day, begin, "arrive", place)
    yield arrive
    yield Act(arrive.at + timedelta(hours=hours), place, "leave")


def _at(day: date, clock: str, what: Literal["visit", "arrive", "leave", "crash"], place: Place, notes: int = 0) -> Act:
    return Act(datetime.fromisoformat(f"{day}T{clock}:00+00:00"), place, what, notes)
