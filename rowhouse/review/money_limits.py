"""Limits that the same use meets otherwise under another plan: a cap reached or left, overage that begins or ceases to cost.

Does: compare two bills of the same use. Does not: enforce anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from rowhouse.review.money_rows import Crossing
from rowhouse.usage.limits import Use, plain, uses_of
from rowhouse.usage.model import Bill, SegmentUsage

__all__ = ["crossings_of"]


@dataclass(frozen=True, slots=True)
class _Met:
    """How one meter's use stands to its limit."""

    stopped: bool
    """All that is allowed is used, and more is refused."""
    paid: Decimal
    """For use beyond what is included."""
    words: str


def crossings_of(before: Bill, old: Sequence[SegmentUsage], after: Bill, new: Sequence[SegmentUsage]) -> tuple[Crossing, ...]:
    """What changes for one tenant, by meter. A meter that only one side has is compared with one that limits nothing and costs nothing."""
    met = (_met(before, old), _met(after, new))
    none = _Met(stopped=False, paid=Decimal(0), words="")
    found = []
    for meter in sorted({*met[0], *met[1]}):
        was, now = met[0].get(meter, none), met[1].get(meter, none)
        if was.stopped != now.stopped:
            found.append(Crossing(after.tenant, meter, "reaches" if now.stopped else "leaves", now.words or was.words))
        if bool(was.paid) != bool(now.paid):
            found.append(Crossing(after.tenant, meter, "starts-paying" if now.paid else "stops-paying", now.words or was.words))
    return tuple(found)


def _met(bill: Bill, segments: Sequence[SegmentUsage]) -> dict[str, _Met]:
    """By meter of the plan in force last; what was paid or refused on earlier plans of the month counts as well."""
    found = {}
    for use in uses_of(bill, segments):
        paid = sum((line.amount for line in bill.lines if line.meter == use.meter), Decimal(0))
        # Credits that are left pay for more, so that the limit is not met yet.
        reached = use.beyond == "refuse" and (use.percent or 0) >= 100 and not bill.credits_left.get(use.meter)
        found[use.meter] = _Met(reached or use.meter in bill.refused, paid, _words(use))
    return found


def _words(use: Use) -> str:
    """`212.5 of 200 hours`, `25 of 20 generations a day`."""
    each = "" if use.per == "period" else f" a {use.per}"
    of = "" if use.included is None else f" of {plain(use.included)}"
    return f"{plain(use.busiest)}{of} {use.unit}{each}"
