"""A tenant's use against what its plan includes: how much, how many percent, which warning, what happens beyond.

Does: put a bill's lines beside the plan in force. Does not: enforce anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from rowhouse.spec.model import Meter
from rowhouse.usage.model import DAY_MS, HOUR_MS, Bill, SegmentUsage

__all__ = ["Use", "percent_of", "plain", "uses_of"]

_GRANT_MS: Final = {"day": DAY_MS, "hour": HOUR_MS}


@dataclass(frozen=True, slots=True)
class Use:
    """One meter of the plan in force last."""

    meter: str
    unit: str
    per: str
    """For what the included units are granted: `period`, `day` or `hour`."""
    used: Decimal
    """In the period, on this plan."""
    busiest: Decimal
    """What counts against the included units: of a day's allowance the busiest day, else `used`."""
    included: Decimal | None
    """None is unlimited; of a day or hour, of each."""
    percent: Decimal | None
    """Of the included units, cut to whole percent; None where there is no limit. Of nothing included any use is 100."""
    warned: int | None
    """The highest of the plan's warnings that was reached."""
    beyond: str
    """`bill`, `refuse` or `unlimited`."""
    billed: Decimal
    refused: Decimal
    amount: Decimal

    def document(self) -> dict[str, Any]:
        """As plain JSON values, numbers as decimal text."""
        return {
            "meter": self.meter,
            "unit": self.unit,
            "per": self.per,
            "used": plain(self.used),
            "busiest": plain(self.busiest),
            "included": None if self.included is None else plain(self.included),
            "percent": None if self.percent is None else int(self.percent),
            "warning": self.warned,
            "beyond": self.beyond,
            "billed": plain(self.billed),
            "refused": plain(self.refused),
            "amount": str(self.amount),
        }


def plain(value: Decimal) -> str:
    """A quantity as decimal text without trailing zeros and without an exponent."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def percent_of(used: Decimal, included: Decimal | None) -> Decimal | None:
    """Whole percent, cut off: 99.9 is not yet 100. None where there is no limit."""
    if included is None:
        return None
    if not included:
        return Decimal(100) if used else Decimal(0)
    return (used * 100 / included).quantize(Decimal(1), rounding=ROUND_DOWN)


def uses_of(bill: Bill, segments: Sequence[SegmentUsage]) -> list[Use]:
    """Each meter of the plan in force last, in the plan's order, with its part of the bill."""
    last = segments[-1]
    lines: Mapping[str, Any] = {line.meter: line for line in bill.lines if line.segment == last.segment}
    found = []
    for meter in last.plan.meters:
        line = lines[meter.name]
        busiest = _busiest(last, meter) if meter.per != "period" else line.quantity
        found.append(
            Use(
                meter=meter.name,
                unit=line.unit,
                per=meter.per,
                used=line.quantity,
                busiest=busiest,
                included=line.included,
                percent=percent_of(busiest, line.included),
                warned=line.warned,
                beyond=meter.beyond,
                billed=line.billed,
                refused=line.refused,
                amount=line.amount,
            )
        )
    return found


def _busiest(segment: SegmentUsage, meter: Meter) -> Decimal:
    """The most that was counted in one of the days (or hours) for which an allowance is granted."""
    size = _GRANT_MS[meter.per]
    sums: dict[int, int] = {}
    for hour, count in segment.counters.get(meter.name, {}).items():
        sums[hour // size] = sums.get(hour // size, 0) + count
    return Decimal(max(sums.values(), default=0))
