"""What passes between metering, rating, pushing and reporting: a tenant's use of one plan, its credits, its bill.

Does: hold values, frozen. Does not: compute a price (rate.py) or a quantity (meter.py).
Instants are whole milliseconds UTC and spans are half-open; money is in the currency's major unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from rowhouse.spec import times
from rowhouse.spec.model import Plan
from rowhouse.spec.prices import BASE, MINIMUM, BilledUnit

__all__ = [
    "DAY_MS",
    "GB_MICROS",
    "HOUR_MS",
    "PACK",
    "Bill",
    "Line",
    "Lot",
    "SegmentUsage",
    "Window",
    "milliseconds",
    "month_before",
    "written_instant",
]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
GB_MICROS = 1_000_000
"""Stored gigabytes are integrated as whole millionths of a GB, so that sums are exact."""
PACK = "pack:"
"""What the name of a bought pack follows in a line's meter."""


def milliseconds(moment: datetime) -> int:
    """An aware instant as whole milliseconds UTC, a finer fraction cut off. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is not an instant")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def written_instant(at: int) -> str:
    """Milliseconds UTC as RFC 3339 with `Z`, with a fraction only where there is one."""
    return times.rfc3339(datetime.fromtimestamp(at // 1000, UTC) + timedelta(milliseconds=at % 1000))


def month_before(month: str) -> str:
    """`2026-10` of `2026-11`."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"


class Window(NamedTuple):
    """A half-open span `[start, end)` of milliseconds UTC; a billing period is one."""

    start: int
    end: int

    @classmethod
    def of(cls, period: times.Period) -> Window:
        """The same span as of `rowhouse.spec.times`."""
        return cls(milliseconds(period.start), milliseconds(period.end))

    @classmethod
    def month(cls, text: str) -> Window:
        """The UTC calendar month `2026-11`. Raises ValueError for anything else."""
        return cls.of(times.month(text))

    @property
    def length(self) -> int:
        """Milliseconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class SegmentUsage:
    """What one tenant used while one plan was in force, inside one period.

    The segment that is in force now ends with the period, not now: else base and allowance would grow from pass to pass.
    """

    tenant: str
    segment: int
    """From 0 in the order of time, within the period."""
    start: int
    end: int
    plan: Plan
    """As the ledger recorded it when it was applied."""
    running_ms: int = 0
    """Proven running time of all instances, added up."""
    inferred_ms: int = 0
    """Running time between two proofs of running, with no proof of its own; billed only where the plan says so."""
    active_hours: int = 0
    """UTC clock hours with any running, login or activity that no earlier segment of the period counted already."""
    counters: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """Meter name to the start of a UTC hour to the completions in it; of a segment's first and last hour only its own part."""
    storage_gb_ms: int = 0
    """GB used: micro-GB times milliseconds, over the time for which it is known."""
    storage_ms: int = 0
    """For how many milliseconds it is known; the rest counts as nothing stored."""
    volume_gb_ms: int = 0
    """GB provisioned: micro-GB times milliseconds."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits of one payment, and what is left of them when a period (or the purchase in it) begins."""

    payment: str
    """The payment's id: the same one twice is one purchase."""
    pack: str
    meter: str
    size: int
    left: int
    price: Decimal
    currency: str
    at: int
    """When bought; usable from that UTC hour on."""
    expires_at: int | None = None
    """From then on nothing is left of it; None is never."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. Zero lines are lines too."""

    meter: str
    """`base`, a meter's name, `minimum`, or `pack:<name>`."""
    segment: int | None
    """Of base and meters; a pack belongs to the period."""
    plan: str
    """`<catalog>/<plan>`."""
    start: int
    end: int
    quantity: Decimal
    """Used, in `unit`, after the meter's rounding; of a base the share of the period, of a pack one. Shown to nine decimals."""
    unit: str
    included: Decimal | None
    """Of it free of charge, prorated; None is unlimited, or nothing that could include. Shown to nine decimals."""
    billed: Decimal
    """What is left to pay for beyond the included units and credits, in `unit`. Shown to nine decimals."""
    unit_price: Decimal | None
    """Of one `unit`, in the currency's major unit; None where nothing can be billed or the plan has tiers."""
    currency: str
    amount: Decimal
    """`exact` rounded once, half-even, to the minor unit."""
    exact: Fraction
    exact_quantity: Fraction
    """`quantity` without rounding for show."""
    stripe_quantity: int | None = None
    """The segment's absolute total to send for a metered price, in `stripe_unit`; None where none stands at Stripe."""
    stripe_unit: BilledUnit | None = None
    refused: Decimal = Decimal(0)
    """Beyond what the plan allows, in `unit`: never billed."""
    credits_used: Decimal = Decimal(0)
    warned: int | None = None
    """The highest of the plan's warning thresholds that the use has reached, in percent of the included units."""

    @property
    def is_base(self) -> bool:
        """Whether it is the plan's base price."""
        return self.meter == BASE

    @property
    def is_meter(self) -> bool:
        """Whether something was counted for it."""
        return not (self.is_base or self.is_minimum or self.is_pack)

    @property
    def is_minimum(self) -> bool:
        """Whether it brings the month up to the plan's minimum."""
        return self.meter == MINIMUM

    @property
    def is_pack(self) -> bool:
        """Whether it is a pack of credits."""
        return self.meter.startswith(PACK)


@dataclass(frozen=True, slots=True)
class Bill:
    """What one tenant owes for one period."""

    tenant: str
    period: Window
    currency: str
    """That of the plan in force last; catalogs may differ, and each line has its own."""
    lines: tuple[Line, ...]
    """By segment: the base, then meters by name, then what is missing to the minimum; then packs in the order of purchase."""
    refused: Mapping[str, Decimal]
    """Meter to units beyond what its plan allows; meters without any are left out."""
    credits_left: Mapping[str, Decimal]
    """Meter to credits still usable at the period's end, for each meter that had any in the period."""
    lots: tuple[Lot, ...] = ()
    """Those credits one by one, to carry into the next period: soonest to expire first."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """Meter to the highest warning threshold reached on the plan in force last, in percent."""

    @property
    def totals(self) -> dict[str, Decimal]:
        """Currency to the sum of the lines in it, the bill's own currency first."""
        sums = {self.currency: Decimal("0.00")}
        for line in self.lines:
            sums[line.currency] = sums.get(line.currency, Decimal("0.00")) + line.amount
        return sums

    @property
    def total(self) -> Decimal:
        """The sum of the lines in the bill's currency: all of them, unless the tenant moved to a catalog of another one."""
        return self.totals[self.currency]
