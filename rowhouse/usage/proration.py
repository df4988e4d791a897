"""What part of a period, a day or an hour a plan was in force, and what part of its price and allowances that is.

Does: shares as exact fractions of time. Does not: round money.
Base and period allowances follow the segment's share of the period. A day's or an hour's allowance is granted anew each time, so it is
shared only where plans changed inside that day or hour: by the time that each of them had in it.
Source: design.md decision 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal

from rowhouse.usage.model import DAY_MS, HOUR_MS, SegmentUsage, Window

__all__ = ["WHOLE", "allowance", "grant_starts", "share_of", "shares_of_grants"]

WHOLE: Final = Fraction(1)

_GRANT_MS: Mapping[str, int] = {"day": DAY_MS, "hour": HOUR_MS}


def share_of(segment: SegmentUsage, period: Window) -> Fraction:
    """The part of a period in which a segment's plan was in force: above 0, at most 1."""
    length = segment.end - segment.start
    return WHOLE if length == period.length else Fraction(length, period.length)


def allowance(included: int | Fraction, share: Fraction, *, whole: bool) -> int | Fraction:
    """Included units for a share of the time they are granted for.

    whole: the unit is indivisible (one count, or what Stripe is told as a whole number): a part of one is granted as one, because a
    part of one can be neither billed nor refused.
    """
    part = included if share is WHOLE else included * share
    if whole and part.denominator != 1:
        return -(-part.numerator // part.denominator)
    return part


def grant_starts(per: Literal["day", "hour"], at: int) -> int:
    """The start of the UTC day or hour in which an instant lies: days and hours of UTC are whole multiples from 1970 on."""
    return at - at % _GRANT_MS[per]


def shares_of_grants(per: Literal["day", "hour"], segment: SegmentUsage, every: Sequence[SegmentUsage]) -> dict[int, Fraction]:
    """The days or hours that a segment shares with another plan, by their start, and its share of each; every other is wholly its own.

    Shapes: `every` holds all segments of the tenant in the period, disjoint; the shares of one day add up to 1.
    """
    size = _GRANT_MS[per]
    shared: dict[int, Fraction] = {}
    for edge in {segment.start, segment.end - 1}:
        start = grant_starts(per, edge)
        total = sum(_overlap(other, start, start + size) for other in every)
        mine = _overlap(segment, start, start + size)
        if mine != total:
            shared[start] = Fraction(mine, total)
    return shared


def _overlap(segment: SegmentUsage, start: int, end: int) -> int:
    """Milliseconds of a span in which a segment's plan was in force."""
    return max(0, min(segment.end, end) - max(segment.start, start))
