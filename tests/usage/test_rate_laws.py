"""Laws of rating over generated months, each with the mutant that it catches."""

import ast
import itertools
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rowhouse.spec.money import minor_units
from rowhouse.spec.prices import billed_unit
from rowhouse.usage import credits as credits_module
from rowhouse.usage import proration
from rowhouse.usage import rate as rate_module
from rowhouse.usage.model import HOUR_MS, SegmentUsage
from rowhouse.usage.rate import rate
from tests.usage import recompute
from tests.usage.rating_worlds import World, more, worlds

HALF_A_CENT = Fraction(1, 200)
PER_HOUR = {"second": 3600, "minute": 60, "hour_up": 1, "hour_any": 1}


@dataclass
class Case:
    """A month, and something more that is used in it."""

    world: World
    segment: int
    what: str
    hour: int
    amount: int

    def with_more(self) -> World:
        grown = more(self.world.segments[self.segment], self.what, self.hour, self.amount)
        return replace(self.world, segments=[*self.world.segments[: self.segment], grown, *self.world.segments[self.segment + 1 :]])


@st.composite
def cases(draw, *, on_credits: bool = False) -> Case:
    world = draw(worlds(on_credits=on_credits))
    index = draw(st.integers(0, len(world.segments) - 1))
    what = draw(st.sampled_from(["running_ms", "inferred_ms", "active_hours", "storage_gb_ms", "volume_gb_ms", "counters", "counters"]))
    anywhere = st.integers(world.segments[index].start, world.segments[index].end - 1)
    busy = sorted(world.segments[index].counters["generations"])
    at = draw(anywhere | st.sampled_from(busy) if busy else anywhere)
    most = {"counters": 40, "active_hours": 30}.get(what, 10**13)
    return Case(world, index, what, at - at % HOUR_MS, draw(st.integers(1, most)))


# --- the laws


def more_use_never_costs_less(case: Case) -> None:
    before, after = case.world.bill(), case.with_more().bill()
    assert after.total >= before.total
    assert all(after.refused.get(meter, Decimal(0)) >= count for meter, count in before.refused.items())
    assert all(count <= before.credits_left[meter] for meter, count in after.credits_left.items())


def a_bill_is_the_sum_of_its_lines_each_rounded_once(case: Case) -> None:
    bill = case.world.bill()
    assert bill.total == sum(line.amount for line in bill.lines)
    for line in bill.lines:
        assert abs(Fraction(line.amount) - line.exact) <= HALF_A_CENT
        if abs(Fraction(line.amount) - line.exact) == HALF_A_CENT:
            assert minor_units(line.amount) % 2 == 0
    assert abs(Fraction(bill.total) - sum(line.exact for line in bill.lines)) <= HALF_A_CENT * len(bill.lines)


def stripes_own_amount_is_ours(case: Case) -> None:
    plans = {segment.segment: segment.plan for segment in case.world.segments}
    for line in case.world.bill().lines:
        if line.segment is None or line.is_base or line.is_minimum:
            assert (line.stripe_quantity, line.stripe_unit) == (None, None)
            continue
        meter = plans[line.segment].meter(line.meter)
        assert (line.stripe_quantity is not None) == meter.is_billed
        if line.stripe_quantity is not None:
            unit, cents = billed_unit(meter)
            assert (line.stripe_unit, line.stripe_quantity * cents) == (unit, minor_units(line.amount))
            assert line.stripe_quantity >= 0


def a_quantity_is_the_use_rounded_up_by_less_than_one_unit(case: Case) -> None:
    for line, segment, meter in meter_lines(case.world):
        if meter.kind == "running_hours" and meter.rounding != "hour_any":
            ran = Fraction(segment.running_ms + (segment.inferred_ms if segment.plan.bill_inferred else 0), HOUR_MS)
            unit = Fraction(1, PER_HOUR[meter.rounding])
            second = Fraction(1, 3600)
            assert ran - second < line.exact_quantity < ran + unit
            assert line.exact_quantity % unit == 0
            if meter.rounding == "second":
                assert line.exact_quantity <= ran


def nothing_is_lost_between_what_is_included_paid_billed_and_refused(case: Case) -> None:
    bill = case.world.bill()
    for line, segment, meter in meter_lines(case.world):
        over = line.billed + line.refused + line.credits_used
        assert 0 <= over <= line.quantity + Decimal("1e-9")
        assert not (line.billed and line.refused)
        if meter.included is None:
            assert over == 0
        elif meter.per == "period":
            assert line.included is not None
            assert abs(max(Decimal(0), line.quantity - line.included) - over) <= Decimal("2e-9")
        if meter.kind == "counter":
            assert line.quantity == sum(segment.counters[meter.name].values())
    had: dict[str, int] = {}
    for lot in case.world.lots:
        if lot.at < case.world.period.end and (lot.expires_at is None or lot.expires_at > case.world.period.start):
            had[lot.meter] = had.get(lot.meter, 0) + lot.left
    drawn = sum(line.credits_used for line in bill.lines if line.meter == "generations")
    expired = had.get("generations", 0) - drawn - bill.credits_left.get("generations", 0)
    assert expired >= 0
    if all(lot.expires_at is None for lot in case.world.lots):
        assert expired == 0


def proration_gives_neither_more_nor_less_than_the_whole(case: Case) -> None:
    """Segments of one plan that fill a period cost the plan's price and include what it includes, but for parts of a unit."""
    period, first = case.world.period, case.world.segments[0]
    cuts = sorted({period.start, period.end, *(segment.start for segment in case.world.segments)})
    parts = [
        replace(first, segment=number, start=start, end=end, counters={}) for number, (start, end) in enumerate(itertools.pairwise(cuts))
    ]
    lines = rate(period, parts).lines
    bases = [line for line in lines if line.is_base]
    assert sum(line.exact for line in bases) == first.plan.price
    assert abs(sum(line.amount for line in bases) - first.plan.price) <= HALF_A_CENT * len(bases)
    for meter in first.plan.meters:
        if meter.included is not None and meter.per == "period":
            included = sum(Fraction(line.included) for line in lines if line.meter == meter.name and line.included is not None)
            unit = 1 if meter.kind == "counter" else Fraction(1, PER_HOUR[meter.rounding or "hour_up"])
            slack = Fraction(len(parts), 10**9)
            assert Fraction(meter.included) - slack <= included < Fraction(meter.included) + len(parts) * unit + slack


def a_month_costs_at_least_its_minimum_and_no_more_because_of_it(case: Case) -> None:
    bill = case.world.bill()
    for segment in case.world.segments:
        own = [line for line in bill.lines if line.segment == segment.segment]
        charged = sum(Fraction(line.amount) for line in own if not line.is_minimum)
        least = Fraction(segment.plan.minimum) * (segment.end - segment.start) / case.world.period.length
        assert [line.meter for line in own].count("minimum") == bool(segment.plan.minimum)
        topped = sum(Fraction(line.amount) for line in own)
        assert topped == charged or abs(topped - least) <= HALF_A_CENT
        assert topped >= least - HALF_A_CENT


def units_cost_what_their_tiers_say(case: Case) -> None:
    """As many units as a graduated line has, priced one tier after the other by cutting a ladder of points."""
    for line, segment, meter in meter_lines(case.world):
        if not meter.tiers:
            continue
        share = Fraction(segment.end - segment.start, case.world.period.length)
        units = Fraction(line.billed)
        points = sorted({Fraction(0), units, *(min(units, Fraction(tier.up_to) * share) for tier in meter.tiers if tier.up_to is not None)})
        exact = sum(
            (end - start) * Fraction(next(tier.price for tier in meter.tiers if tier.up_to is None or start < Fraction(tier.up_to) * share))
            for start, end in itertools.pairwise(points)
        )
        dearest = max(tier.price for tier in meter.tiers)
        assert abs(line.exact - exact) <= Fraction(dearest) / 10**9  # a quantity is shown to nine decimals


def the_order_of_segments_and_lots_changes_nothing(case: Case) -> None:
    world = case.world
    backwards = rate(world.period, world.segments[::-1], [*world.lots[::-1], *world.lots])
    assert backwards == world.bill()


def rate_is_what_a_stranger_computes_from_the_export(case: Case) -> None:
    bill = case.world.bill()
    found = recompute.invoices(case.world.period, case.world.tables)["acme"]
    ours: dict[tuple[int | None, str], int] = {}
    for line in bill.lines:
        ours[line.segment, line.meter] = ours.get((line.segment, line.meter), 0) + minor_units(line.amount)
    assert ours == found.lines
    assert minor_units(bill.total) == found.cents
    assert {meter: int(count) for meter, count in bill.credits_left.items()} == found.credits_left
    refused = {meter: Fraction(*parts) for meter, parts in found.refused.items()}
    assert bill.refused.keys() == refused.keys()
    assert all(abs(Fraction(bill.refused[meter]) - count) <= Fraction(len(case.world.segments), 10**9) for meter, count in refused.items())


def meter_lines(world: World) -> list[tuple[Any, SegmentUsage, Any]]:
    """Each line of a meter with its segment and its terms."""
    segments = {segment.segment: segment for segment in world.segments}
    return [
        (line, segments[line.segment], segments[line.segment].plan.meter(line.meter))
        for line in world.bill().lines
        if line.segment is not None and not (line.is_base or line.is_minimum)
    ]


LAWS = {
    law.__name__: law
    for law in (
        more_use_never_costs_less,
        a_bill_is_the_sum_of_its_lines_each_rounded_once,
        stripes_own_amount_is_ours,
        a_quantity_is_the_use_rounded_up_by_less_than_one_unit,
        nothing_is_lost_between_what_is_included_paid_billed_and_refused,
        proration_gives_neither_more_nor_less_than_the_whole,
        a_month_costs_at_least_its_minimum_and_no_more_because_of_it,
        units_cost_what_their_tiers_say,
        the_order_of_segments_and_lots_changes_nothing,
        rate_is_what_a_stranger_computes_from_the_export,
    )
}
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def all_hold(case: Case) -> None:
    """Every law on one month: making a month takes longer than judging it. The failing law stands in the traceback."""
    for law in LAWS.values():
        law(case)


@settings(max_examples=200, **QUIET)
@given(cases())
def test_the_laws_hold(case):
    all_hold(case)


@settings(max_examples=100, **QUIET)
@given(cases(on_credits=True))
def test_the_laws_hold_where_credits_are_used(case):
    all_hold(case)


@pytest.mark.long
@settings(max_examples=10_000, **QUIET)
@given(cases() | cases(on_credits=True))
def test_the_laws_hold_for_long(case):
    all_hold(case)


# --- the mutants: one thing done as somebody might do it

true_rounded = rate_module.rounded
true_minimum, true_graduated = rate_module._minimum_line, rate_module._graduated
true_running, true_allowance, true_draw, true_sorted = (
    rate_module._running,
    proration.allowance,
    credits_module.Credits.draw,
    credits_module.soonest_first,
)


def hours_divided_as_whole_numbers(segment, meter):
    return segment.active_hours if meter.rounding == "hour_any" else segment.running_ms // HOUR_MS * PER_HOUR[meter.rounding]


def rounded_up_twice(segment, meter):
    return true_running(segment, meter) + (1 if segment.running_ms % HOUR_MS else 0)


def inferred_time_always_billed(segment, meter):
    return true_running(replace(segment, plan=replace(segment.plan, bill_inferred=True)), meter)


def cut_off(amount):
    return Decimal(int(Fraction(amount) * 100)).scaleb(-2)


def whole_allowance_in_every_segment(included, share, *, whole):
    return true_allowance(included, Fraction(1), whole=whole)


def parts_of_a_unit_granted_as_none(included, share, *, whole):
    part = included * share
    return part.numerator // part.denominator if whole else part


def parts_of_a_unit_billed(included, share, *, whole):
    return included * share


def latest_to_expire_first(lots):
    return list(reversed(true_sorted(lots)))


def in_the_order_given(lots):
    return list(lots)


def expired_credits_still_pay(self, meter, hour, wanted):
    kept = self._lots
    self._lots = [replace(lot, expires_at=None) for lot in kept]
    drawn = true_draw(self, meter, hour, wanted)
    self._lots = kept
    return drawn


def every_ten_forgotten(amount):
    return true_rounded(Fraction(amount) % 10)


def credits_drawn_from_nowhere(self, meter, hour, wanted):
    return wanted


def minimum_on_top_of_use(segment, share, charged):
    return true_minimum(segment, share, Decimal("0.00"))


def minimum_of_the_whole_month(segment, share, charged):
    return true_minimum(segment, Fraction(1), charged)


def all_units_at_the_tier_that_they_reach(meter, beyond, share):
    reached = next(tier.price for tier in meter.tiers if tier.up_to is None or beyond <= Fraction(tier.up_to) * share)
    return beyond * Fraction(reached)


def tiers_of_the_whole_month(meter, beyond, share):
    return true_graduated(meter, beyond, Fraction(1))


def share_in_whole_days(segment, period):
    day = 24 * HOUR_MS
    return Fraction(max(1, (segment.end - segment.start) // day), period.length // day)


MUTANTS = [
    ("rate", "rounded", every_ten_forgotten, "more_use_never_costs_less"),
    ("rate", "rounded", cut_off, "a_bill_is_the_sum_of_its_lines_each_rounded_once"),
    ("rate", "allowance", parts_of_a_unit_billed, "stripes_own_amount_is_ours"),
    ("rate", "_running", hours_divided_as_whole_numbers, "a_quantity_is_the_use_rounded_up_by_less_than_one_unit"),
    ("rate", "_running", rounded_up_twice, "a_quantity_is_the_use_rounded_up_by_less_than_one_unit"),
    ("rate", "_running", inferred_time_always_billed, "a_quantity_is_the_use_rounded_up_by_less_than_one_unit"),
    ("credits", "draw", credits_drawn_from_nowhere, "nothing_is_lost_between_what_is_included_paid_billed_and_refused"),
    ("rate", "share_of", share_in_whole_days, "proration_gives_neither_more_nor_less_than_the_whole"),
    ("rate", "allowance", whole_allowance_in_every_segment, "proration_gives_neither_more_nor_less_than_the_whole"),
    ("rate", "allowance", parts_of_a_unit_granted_as_none, "proration_gives_neither_more_nor_less_than_the_whole"),
    ("rate", "_minimum_line", minimum_on_top_of_use, "a_month_costs_at_least_its_minimum_and_no_more_because_of_it"),
    ("rate", "_minimum_line", minimum_of_the_whole_month, "rate_is_what_a_stranger_computes_from_the_export"),
    ("rate", "_graduated", all_units_at_the_tier_that_they_reach, "units_cost_what_their_tiers_say"),
    ("rate", "_graduated", tiers_of_the_whole_month, "rate_is_what_a_stranger_computes_from_the_export"),
    ("credits", "soonest_first", in_the_order_given, "the_order_of_segments_and_lots_changes_nothing"),
    ("credits", "soonest_first", latest_to_expire_first, "rate_is_what_a_stranger_computes_from_the_export"),
    ("credits", "draw", expired_credits_still_pay, "rate_is_what_a_stranger_computes_from_the_export"),
    ("rate", "_running", hours_divided_as_whole_numbers, "rate_is_what_a_stranger_computes_from_the_export"),
    ("rate", "allowance", whole_allowance_in_every_segment, "rate_is_what_a_stranger_computes_from_the_export"),
]


def test_every_law_has_a_mutant():
    assert {law for *_, law in MUTANTS} == set(LAWS)


@pytest.mark.parametrize(("module", "name", "mutant", "law"), MUTANTS, ids=[f"{mutant.__name__} - {law}" for _, _, mutant, law in MUTANTS])
def test_a_law_catches_its_mutant(monkeypatch, module, name, mutant, law):
    target = {"rate": rate_module, "credits": credits_module.Credits if name == "draw" else credits_module}[module]
    monkeypatch.setattr(target, name, mutant)

    @settings(max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False, derandomize=True, **QUIET)
    @given(cases(on_credits=module == "credits"))
    def holds(case):
        LAWS[law](case)

    with pytest.raises(AssertionError):
        holds()


def test_the_recomputation_shares_no_code_with_what_it_checks():
    source = ast.parse((Path(__file__).parent / "recompute.py").read_text())
    names = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert names == {"json", "collections", "collections.abc", "dataclasses", "typing"}
