"""Time: aware UTC instants and half-open spans. Nothing here asks what time it is; the clock is always an argument elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Period", "instant", "month", "rfc3339"]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


def instant(text: str) -> datetime:
    """An RFC 3339 time as an aware UTC instant. Raises ValueError where the offset is missing or the text is no time."""
    if _RFC3339.fullmatch(text) is None:
        msg = f"{text[:40]!r} is not an RFC 3339 time such as '2026-11-01T00:00:00Z'"
        raise ValueError(msg)
    return datetime.fromisoformat(text).astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """An aware instant as RFC 3339 in UTC with `Z`, with a fraction only where there is one. Raises ValueError for a naive time."""
    if moment.tzinfo is None:
        msg = "a time without a zone is not an instant"
        raise ValueError(msg)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open span `[start, end)` of UTC time."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive and empty spans."""
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            msg = f"[{self.start}, {self.end}) is not a span of aware times"
            raise ValueError(msg)

    @property
    def seconds(self) -> int:
        """Length in whole seconds."""
        return int((self.end - self.start).total_seconds())

    def hours(self) -> Iterator[Period]:
        """The UTC clock hours that the span touches, clipped to it; disjoint, in order, and together the span."""
        at = self.start
        while at < self.end:
            following = min(at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1), self.end)
            yield Period(at, following)
            at = following


def month(text: str) -> Period:
    """The UTC calendar month `2026-11`. Raises ValueError for anything else."""
    found = _MONTH.fullmatch(text)
    if found is None or found[1] == "0000" or text == "9999-12":
        msg = f"{text[:20]!r} is not a month such as '2026-11'"
        raise ValueError(msg)
    year, number = int(found[1]), int(found[2])
    start = datetime(year, number, 1, tzinfo=UTC)
    return Period(start, datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC))
