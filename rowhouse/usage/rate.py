"""From a tenant's use of its plans in one period to the lines of its bill.

Does: round quantities, prorate, subtract what is included, use up credits, price what is beyond, round each line once. Does not: read
anything (no clock, file, environment or network), count use (meter.py), or know taxes.
Steps for each meter of each segment (design.md decision 7, section 6):
    1. the meter's rounding, of the segment's total
    2. minus what the plan includes, prorated by time where the plan was not in force for the whole period
    3. minus credits, soonest to expire first
    4. what is left is billed, by tiers where the plan has them, or refused; the amount is exact and rounded once, half-even, to the
       minor unit
Then, for each segment: what its lines lack to the plan's minimum, prorated like the base price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from rowhouse.errors import RowhouseError
from rowhouse.spec.model import Meter
from rowhouse.spec.money import minor_units, rounded
from rowhouse.spec.prices import BASE, MINIMUM, BilledUnit, billed_unit
from rowhouse.usage.credits import Credits
from rowhouse.usage.model import GB_MICROS, HOUR_MS, PACK, Bill, Line, Lot, SegmentUsage, Window
from rowhouse.usage.proration import WHOLE, allowance, grant_starts, share_of, shares_of_grants

__all__ = ["RatingError", "rate"]

Exact = int | Fraction
"""A number without rounding; whole ones are plain, because most are and they are ten times as quick."""

_ZERO = Decimal(0)
_NO_MONEY = Decimal("0.00")
_NOTHING = Fraction(0)
_SHOWN_DECIMALS = 9
_PER_HOUR = {"second": 3600, "minute": 60, "hour_up": 1, "hour_any": 1}


class RatingError(RowhouseError):
    """What is to be rated cannot be one tenant's use of one period."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """A meter's terms in the units in which it is counted: seconds, minutes, hours, counts or GB."""

    per_unit: int
    """How many of them make one unit of the catalog's price and allowance: 3600 seconds, 60 minutes, else one."""
    included: Exact | None
    price: Fraction
    """Of one of them, in the major unit."""
    stripe_unit: BilledUnit | None
    whole: bool
    """Whether a part of one can be neither billed nor refused."""


@lru_cache(maxsize=4096)
def _terms(meter: Meter) -> _Terms:
    per_unit = _PER_HOUR[meter.rounding] if meter.rounding else 1
    unit = billed_unit(meter)[0]
    return _Terms(
        per_unit=per_unit,
        included=None if meter.included is None else _plain(Fraction(meter.included) * per_unit),
        price=Fraction(meter.price or 0) / per_unit,
        stripe_unit=unit if meter.is_billed else None,
        whole=unit != "cent" or meter.kind == "counter",
    )


@lru_cache(maxsize=4096)
def _exactly(price: Decimal) -> Fraction:
    return Fraction(price)


@dataclass(frozen=True, slots=True)
class _Counted:
    """One meter's quantities in one segment, in the units in which it is counted."""

    quantity: Exact
    included: Exact | None
    beyond: Exact
    """Beyond what is included and beyond credits."""
    drawn: int
    warned: int | None


def rate(period: Window, segments: Iterable[SegmentUsage], lots: Iterable[Lot] = ()) -> Bill:
    """One tenant's bill for one period. Pure; the order of segments and of lots changes nothing.

    Shapes: segments are disjoint and inside the period; the one in force now ends with the period. Lots hold what was left of each
        earlier purchase when the period began, and each purchase made in it, whole. One line for each base and each meter of each
        segment, zero ones included, and one for each pack bought in the period.
    Raises: RatingError where segments are none, overlap, lie outside the period or are of several tenants; CreditError where purchases
        contradict each other.
    """
    ordered = sorted(segments, key=lambda segment: segment.start)
    _check(period, ordered)
    wallet = Credits(lots, period)
    lines: list[Line] = []
    for segment in ordered:
        share = share_of(segment, period)
        own = [_base_line(segment, share)]
        own.extend(
            _meter_line(segment, meter, _counted(segment, meter, share, period, ordered, wallet), share) for meter in segment.plan.meters
        )
        lines.extend(own)
        if segment.plan.minimum:
            lines.append(_minimum_line(segment, share, sum((line.amount for line in own), _NO_MONEY)))
    last = ordered[-1]
    lines.extend(_pack_line(lot, last, period) for lot in wallet.bought())
    return Bill(
        tenant=last.tenant,
        period=period,
        currency=last.plan.currency,
        lines=tuple(lines),
        refused=_refused(lines),
        credits_left=wallet.left(),
        lots=wallet.leftovers(),
        warnings={line.meter: line.warned for line in lines if line.warned is not None and line.segment == last.segment},
    )


def _check(period: Window, ordered: Sequence[SegmentUsage]) -> None:
    """Refuse what would be billed twice, or for another period, or to somebody else."""
    if not ordered:
        raise RatingError("there is no plan segment to rate. A bill needs at least one; a tenant without a plan in a period has none.")
    at = period.start
    for segment in ordered:
        if segment.tenant != ordered[0].tenant:
            raise RatingError(f"segments of {ordered[0].tenant} and {segment.tenant} are in one bill. Rate each tenant alone.")
        if segment.start < at or segment.end > period.end or segment.end <= segment.start:
            raise RatingError(
                f"{segment.tenant}: segment {segment.segment} [{segment.start}, {segment.end}) is empty, overlaps the one before, or "
                f"leaves the period [{period.start}, {period.end}). Clip segments to the period and to each other."
            )
        at = segment.end


def _counted(
    segment: SegmentUsage, meter: Meter, share: Fraction, period: Window, every: Sequence[SegmentUsage], wallet: Credits
) -> _Counted:
    """One meter's quantities in a segment."""
    terms = _terms(meter)
    if meter.kind == "counter":
        return _counted_events(segment, meter, terms, share, every, wallet)
    quantity: Exact
    if meter.kind == "running_hours":
        quantity = _running(segment, meter)
    else:
        # A share of the period's mean, because price and allowance are for a GB through the whole period. What is not known is nothing.
        gb_ms = segment.storage_gb_ms if meter.kind == "storage_gb" else segment.volume_gb_ms
        quantity = _plain(Fraction(gb_ms, GB_MICROS * period.length))
    if terms.included is None:
        return _Counted(quantity, None, 0, 0, None)
    included = allowance(terms.included, share, whole=terms.whole)
    return _Counted(quantity, included, max(0, quantity - included), 0, _warned(meter, [(quantity, included)]))


def _running(segment: SegmentUsage, meter: Meter) -> int:
    """A segment's running time in the meter's units: whole seconds, rounded up to what the meter counts in; or its active hours."""
    if meter.rounding == "hour_any":
        return segment.active_hours
    proven = segment.running_ms + (segment.inferred_ms if segment.plan.bill_inferred else 0)
    seconds = proven // 1000  # a started second is not billed: the first rounding must never bill more than ran
    return -(-seconds * _PER_HOUR[meter.rounding or "second"] // 3600)


def _counted_events(
    segment: SegmentUsage, meter: Meter, terms: _Terms, share: Fraction, every: Sequence[SegmentUsage], wallet: Credits
) -> _Counted:
    """What a counter counted, grant by grant of its allowance, in the order of time, because credits expire."""
    by_hour = segment.counters.get(meter.name, {})
    if by_hour and (min(by_hour.values()) < 0 or min(by_hour) <= segment.start - HOUR_MS or max(by_hour) >= segment.end):
        raise RatingError(
            f"{segment.tenant}: {meter.name} has a negative count, or one outside of segment {segment.segment}. Count its own hours only."
        )
    total = sum(by_hour.values())
    if terms.included is None:
        return _Counted(total, None, 0, 0, None)
    per = meter.per
    if per == "period" and not (meter.credits and wallet.has(meter.name)):
        granted = allowance(terms.included, share, whole=True)
        return _Counted(total, granted, max(0, total - granted), 0, _warned(meter, [(total, granted)]))
    cut = {0: share} if per == "period" else shares_of_grants(per, segment, every)
    grants: dict[int, Exact] = {}
    used: dict[int, int] = {}
    beyond = drawn = 0
    for hour, count in sorted(by_hour.items()):
        start = 0 if per == "period" else grant_starts(per, hour)
        if start not in grants:
            grants[start], used[start] = allowance(terms.included, cut.get(start, WHOLE), whole=True), 0
        over = int(max(0, used[start] + count - max(grants[start], used[start])))
        used[start] += count
        paid = wallet.draw(meter.name, hour, over) if meter.credits and over else 0
        drawn += paid
        beyond += over - paid
    included = allowance(terms.included, share if per == "period" else WHOLE, whole=True)
    return _Counted(total, included, beyond, drawn, _warned(meter, [(used[start], grants[start]) for start in grants]))


def _warned(meter: Meter, uses: Iterable[tuple[Exact, Exact]]) -> int | None:
    """The highest warning threshold that any use of what it included has reached; none where nothing is included."""
    if not meter.warn_at:
        return None
    return max((at for used, included in uses if included for at in meter.warn_at if used * 100 >= included * at), default=None)


def _base_line(segment: SegmentUsage, share: Fraction) -> Line:
    """A plan's base price for the part of the period in which it was in force."""
    price = segment.plan.price
    return _month_line(BASE, segment, share, price, _exactly(price) if share is WHOLE else _exactly(price) * share)


def _minimum_line(segment: SegmentUsage, share: Fraction, charged: Decimal) -> Line:
    """What base and use of a segment lack to its share of the plan's minimum; nothing where they come to it."""
    missing = max(_NO_MONEY, rounded(_exactly(segment.plan.minimum) * share) - charged)
    return _month_line(MINIMUM, segment, share, segment.plan.minimum, Fraction(missing))


def _month_line(meter: str, segment: SegmentUsage, share: Fraction, price: Decimal, exact: Fraction) -> Line:
    """A line of a month, or of the part of it in which the plan was in force."""
    return Line(
        meter=meter,
        segment=segment.segment,
        plan=segment.plan.ref,
        start=segment.start,
        end=segment.end,
        quantity=_shown(share),
        unit="month",
        included=None,
        billed=_shown(share),
        unit_price=price,
        currency=segment.plan.currency,
        amount=rounded(exact),
        exact=exact,
        exact_quantity=share,
    )


def _meter_line(segment: SegmentUsage, meter: Meter, counted: _Counted, share: Fraction) -> Line:
    """One meter of one segment, in the catalog's unit."""
    terms = _terms(meter)
    bills = meter.beyond == "bill"
    beyond = _shown(_in_units(counted.beyond, terms))
    exact = _NOTHING
    if bills and counted.beyond:
        exact = _graduated(meter, Fraction(_in_units(counted.beyond, terms)), share) if meter.tiers else counted.beyond * terms.price
    amount = rounded(exact) if exact else _NO_MONEY
    sent: int | None = None
    if terms.stripe_unit is not None:
        sent = minor_units(amount) if terms.stripe_unit == "cent" else int(counted.beyond)
    quantity = _in_units(counted.quantity, terms)
    return Line(
        meter=meter.name,
        segment=segment.segment,
        plan=segment.plan.ref,
        start=segment.start,
        end=segment.end,
        quantity=_shown(quantity),
        unit=meter.unit,
        included=None if counted.included is None else _shown(_in_units(counted.included, terms)),
        billed=beyond if bills else _ZERO,
        unit_price=meter.price,
        currency=segment.plan.currency,
        amount=amount,
        exact=exact,
        exact_quantity=Fraction(quantity),
        stripe_quantity=sent,
        stripe_unit=terms.stripe_unit,
        refused=_ZERO if bills else beyond,
        credits_used=Decimal(counted.drawn),
        warned=counted.warned,
    )


def _graduated(meter: Meter, beyond: Fraction, share: Fraction) -> Fraction:
    """What units beyond the included ones cost by tiers; a tier is as long as the plan's share of the period, like an allowance."""
    cost, reached = _NOTHING, _NOTHING
    for tier in meter.tiers:
        end = beyond if tier.up_to is None else min(beyond, _exactly(tier.up_to) * share)
        cost += max(_NOTHING, end - reached) * _exactly(tier.price)
        reached = max(reached, end)
    return cost


def _pack_line(lot: Lot, last: SegmentUsage, period: Window) -> Line:
    """A pack of credits, in the bill of the period in which it was bought."""
    exact = Fraction(lot.price)
    return Line(
        meter=f"{PACK}{lot.pack}",
        segment=None,
        plan=last.plan.ref,
        start=lot.at,
        end=period.end if lot.expires_at is None else lot.expires_at,
        quantity=Decimal(1),
        unit="pack",
        included=None,
        billed=Decimal(1),
        unit_price=lot.price,
        currency=lot.currency,
        amount=rounded(exact),
        exact=exact,
        exact_quantity=WHOLE,
    )


def _refused(lines: Sequence[Line]) -> Mapping[str, Decimal]:
    """Meter to everything beyond what its plans allowed."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.refused:
            sums[line.meter] = sums.get(line.meter, _ZERO) + line.refused
    return dict(sorted(sums.items()))


def _in_units(count: Exact, terms: _Terms) -> Exact:
    """What was counted, in the catalog's unit."""
    return count if terms.per_unit == 1 else _plain(Fraction(count, terms.per_unit))


def _plain(value: Fraction) -> Exact:
    """The same number, as a whole one where it is."""
    return value.numerator if value.denominator == 1 else value


def _shown(value: Exact) -> Decimal:
    """A quantity as a decimal number, exact where nine decimals suffice (half-even where not), without trailing zeros."""
    if value.denominator == 1:
        return Decimal(value.numerator)
    scaled = round(value * 10**_SHOWN_DECIMALS)
    digits = _SHOWN_DECIMALS
    while digits and scaled % 10 == 0:
        scaled //= 10
        digits -= 1
    return Decimal(scaled).scaleb(-digits)
