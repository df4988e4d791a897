"""A bill's line in sentences that a customer can check with a pencil.

Does: say each step (count, rounding, what is included, credits, what is beyond, the cent) with its numbers. Does not: compute a bill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from rowhouse.spec.model import Meter
from rowhouse.spec.money import rounded, shown
from rowhouse.usage.limits import plain
from rowhouse.usage.model import DAY_MS, GB_MICROS, HOUR_MS, PACK, Bill, Line, Lot, SegmentUsage, written_instant

__all__ = ["Times", "length", "sentences_of"]

Times = Mapping[str, Mapping[str, int]]
"""Instance to class to milliseconds, in one segment."""

_ROUNDED = {
    "second": "Running time is counted in whole seconds",
    "minute": "The total, not each run, is rounded up to the next whole minute",
    "hour_up": "The total, not each run, is rounded up to the next whole hour",
    "hour_any": "Each UTC clock hour with any running, login or activity counts once",
}


def sentences_of(line: Line, bill: Bill, segment: SegmentUsage | None, times: Times, lots: Sequence[Lot]) -> list[str]:
    """The line's steps in order; the last one is its amount."""
    if line.is_pack:
        return _pack(line, lots)
    assert segment is not None
    if line.is_base:
        return [*_base(line, bill, segment)]
    if line.is_minimum:
        return _minimum(line, bill, segment)
    meter = segment.plan.meter(line.meter)
    said = _counted(line, bill, segment, meter, times)
    said += _included(line, bill, segment, meter)
    if line.credits_used:
        said.append(f"{_many(line.credits_used, line.unit)} were paid with credits bought before.")
    return said + _beyond(line, meter, Fraction(segment.end - segment.start, bill.period.length))


def length(ms: int) -> str:
    """A length of time in hours, minutes and seconds, cut to whole seconds: `212 h 30 min 0 s`."""
    seconds = ms // 1000
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min {seconds % 60} s"


def _pack(line: Line, lots: Sequence[Lot]) -> list[str]:
    name = line.meter.removeprefix(PACK)
    lot = next((each for each in lots if each.pack == name and each.at == line.start), None)
    about = f": {lot.size:,} {lot.meter}, payment {lot.payment}" if lot is not None else ""
    until = "" if lot is None or lot.expires_at is None else f", usable until {written_instant(lot.expires_at)}"
    return [f"One pack {name} was bought at {written_instant(line.start)}{about}{until}.", f"It costs {shown(line.amount, line.currency)}."]


def _base(line: Line, bill: Bill, segment: SegmentUsage) -> list[str]:
    said = [f"{segment.plan.title} ({segment.plan.ref}) costs {shown(segment.plan.price, line.currency)} a month."]
    return [*said, *_shared(line, bill, segment.plan.price, line.amount)] if segment.plan.price else said


def _shared(line: Line, bill: Bill, price: Decimal, amount: Decimal) -> list[str]:
    """A month's amount for the part of it in which the plan was in force."""
    if (line.start, line.end) == bill.period:
        return [f"It was in force for the whole month: {shown(amount, line.currency)}."]
    mine, all_of = (line.end - line.start) // 1000, bill.period.length // 1000
    span = f"from {written_instant(line.start)} until {written_instant(line.end)}"
    return [
        f"It was in force {span}: {mine:,} of the month's {all_of:,} seconds.",
        f"{shown(price, line.currency)} x {mine:,} / {all_of:,} = {shown(amount, line.currency)}.",
    ]


def _minimum(line: Line, bill: Bill, segment: SegmentUsage) -> list[str]:
    plan, currency = segment.plan, line.currency
    least = rounded(Fraction(plan.minimum) * line.exact_quantity)
    others = sum((each.amount for each in bill.lines if each.segment == line.segment and not each.is_minimum), Decimal("0.00"))
    said = [f"A month on {plan.ref} costs at least {shown(plan.minimum, currency)}.", *_shared(line, bill, plan.minimum, least)]
    if not line.amount:
        return [*said, f"Base price and use come to {shown(others, currency)}: nothing is missing."]
    return [*said, f"Base price and use come to {shown(others, currency)}; {shown(line.amount, currency)} are missing."]


def _counted(line: Line, bill: Bill, segment: SegmentUsage, meter: Meter, times: Times) -> list[str]:
    if meter.kind == "running_hours":
        return _running(line, segment, meter, times)
    if meter.kind == "counter":
        return [f"{_many(line.quantity, line.unit)} were completed. What failed is not counted."]
    gb_ms = segment.storage_gb_ms if meter.kind == "storage_gb" else segment.volume_gb_ms
    gb_hours = plain((Decimal(gb_ms) / GB_MICROS / HOUR_MS).quantize(Decimal("0.001")))
    hours = plain((Decimal(bill.period.length) / HOUR_MS).quantize(Decimal("0.001")))
    word = "used" if meter.kind == "storage_gb" else "provisioned"
    said = [f"{gb_hours} GB-hours were {word}; over the month's {hours} hours that is {_short(line.quantity)} GB on average."]
    lacking = segment.end - segment.start - segment.storage_ms
    if meter.kind == "storage_gb" and lacking > 0:
        said.append(f"For {length(lacking)} nothing is known of it, or it is still to come; that counts as nothing stored.")
    return said


def _running(line: Line, segment: SegmentUsage, meter: Meter, times: Times) -> list[str]:
    parts = {instance or "an instance": own.get("running", 0) for instance, own in times.items() if own.get("running")}
    each = f" ({', '.join(f'{name} {length(ms)}' for name, ms in parts.items())})" if len(parts) > 1 else ""
    said = [f"Running, proven second by second: {length(segment.running_ms)}{each}."]
    if segment.inferred_ms:
        billed = "counted, as the plan says" if segment.plan.bill_inferred else "not counted"
        said.append(f"{length(segment.inferred_ms)} more lie between two proofs of running, without one of their own: {billed}.")
    unknown = sum(own.get("unknown", 0) for own in times.values())
    if unknown:
        said.append(f"Of {length(unknown)} nobody can prove what was: never billed.")
    rule = _ROUNDED[meter.rounding or "second"]
    return [*said, f"{rule}: {_exactly(line.quantity, line.unit)}."]


def _included(line: Line, bill: Bill, segment: SegmentUsage, meter: Meter) -> list[str]:
    if meter.included is None or line.included is None:
        return ["The plan does not limit it."]
    granted = _exactly(meter.included, line.unit)
    if meter.per != "period":
        return [f"Included are {granted} each UTC {meter.per}; what is left of one is not carried into the next."]
    if line.included == meter.included:
        return [f"Included are {granted}."] if meter.included else []
    days = plain((Decimal(segment.end - segment.start) / DAY_MS).quantize(Decimal("0.01")))
    share = f"{days} of {bill.period.length // DAY_MS} days"
    return [f"Included are {granted} a month; for the {share} on this plan, {_exactly(line.included, line.unit)}."]


def _beyond(line: Line, meter: Meter, share: Fraction) -> list[str]:
    if line.refused:
        return [
            f"{_exactly(line.refused, line.unit)} beyond that: refused, and never billed.",
            f"It costs {shown(line.amount, line.currency)}.",
        ]
    if meter.tiers and line.billed:
        return _tiers(line, meter, share)
    if not line.billed or line.unit_price is None:
        return [f"Nothing is beyond that: {shown(line.amount, line.currency)}."] if meter.included is not None else ["It costs nothing."]
    said = f"Beyond that: {_exactly(line.billed, line.unit)} x {plain(line.unit_price)} {line.currency.upper()}"
    if Decimal(line.exact.numerator) / line.exact.denominator == line.amount:
        return [f"{said} = {shown(line.amount, line.currency)}."]
    exact = (Decimal(line.exact.numerator) / line.exact.denominator).quantize(Decimal("0.000001"))
    return [f"{said} = {plain(exact)}, rounded once, half to even, to {shown(line.amount, line.currency)}."]


def _tiers(line: Line, meter: Meter, share: Fraction) -> list[str]:
    """A graduated price, each tier that was reached."""
    said = [f"Beyond that: {_exactly(line.billed, line.unit)}, each at the price of its tier."]
    beyond, reached = Fraction(line.billed), Fraction(0)
    for tier in meter.tiers:
        end = beyond if tier.up_to is None else min(beyond, Fraction(tier.up_to) * share)
        if end > reached:
            said.append(f"{_exactly(_decimal(end - reached), line.unit)} x {plain(tier.price)} {line.currency.upper()}.")
        reached = max(reached, end)
    exact = _decimal(line.exact)
    rounding = "" if exact == line.amount else f" {plain(exact)}, rounded once, half to even, to"
    return [*said, f"Together:{rounding} {shown(line.amount, line.currency)}."]


def _decimal(value: Fraction) -> Decimal:
    """To nine decimals."""
    return (Decimal(value.numerator) / value.denominator).quantize(Decimal("0.000000001"))


def _short(value: Decimal) -> str:
    return plain(value.quantize(Decimal("0.001")) if value != value.to_integral_value() else value)


def _exactly(value: Decimal, unit: str) -> str:
    """With all of its decimals, so that it can be computed again."""
    return f"{plain(value)} {unit}{'' if value == 1 or unit.endswith('s') else 's'}"


def _many(value: Decimal, unit: str) -> str:
    return f"{int(value):,} {unit}{'' if value == 1 else 's'}"
