"""Rating: rounding, allowances, credits, refusal, proration, and what the sources' own sketches got wrong."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from rowhouse.spec.model import Meter, Tier
from rowhouse.usage.credits import CreditError
from rowhouse.usage.model import Line, Window
from rowhouse.usage.rate import RatingError, rate
from tests.support import free_plan, meter, plan
from tests.usage.rating_support import DAY, HOUR, MINUTE, NOVEMBER, SECOND, amounts, lot, plan_of, used

FEBRUARY = Window.month("2028-02")  # a leap year's


def generations(**overrides) -> Meter:
    return meter(**{"name": "generations", "kind": "counter", "unit": "generation", "rounding": None, "warn_at": (), **overrides})


def line(bill, name: str, segment: int | None = 0) -> Line:
    [found] = [each for each in bill.lines if each.meter == name and each.segment == segment]
    return found


def only(held: Meter, **overrides):
    """A plan with one meter."""
    return plan(**{"price": Decimal("0.00"), "meters": (held,), **overrides})


# --- rounding and allowances


@pytest.mark.parametrize(
    ("rounding", "running_ms", "quantity", "amount"),
    [
        ("second", 59 * MINUTE, "0.983333333", "0.10"),
        ("second", 1, "0", "0.00"),
        ("minute", 59 * MINUTE, "0.983333333", "0.10"),
        ("minute", 1 * SECOND, "0.016666667", "0.00"),
        ("minute", 1 * MINUTE + SECOND, "0.033333333", "0.00"),
        ("hour_up", 1 * SECOND, "1", "0.10"),
        ("hour_up", 2 * HOUR, "2", "0.20"),
        ("hour_up", 2 * HOUR + SECOND, "3", "0.30"),
        ("hour_up", 2 * HOUR + SECOND - 1, "2", "0.20"),
    ],
)
def test_the_meters_rounding_applies_to_the_whole_seconds_of_the_segment(rounding, running_ms, quantity, amount):
    held = only(meter(rounding=rounding, included=Decimal(0), warn_at=()))
    found = line(rate(NOVEMBER, [used(held, running=running_ms)]), "running_hours")
    assert (found.quantity, found.amount) == (Decimal(quantity), Decimal(amount))


def test_59_minutes_of_overage_are_not_free():
    bill = rate(NOVEMBER, [used(plan_of("ai-diy-roadmap/hourly"), running=59 * MINUTE)])
    assert bill.total == Decimal("4.92")


def test_the_amount_is_rounded_once_half_to_even():
    half = only(generations(included=Decimal(0), price=Decimal("0.005")))
    bills = [rate(NOVEMBER, [used(half, counters={"generations": {NOVEMBER.start: n}})]).total for n in (1, 3, 5)]
    assert bills == [Decimal("0.00"), Decimal("0.02"), Decimal("0.02")]


def test_inferred_time_is_billed_only_where_the_plan_says_so():
    use = {"running": HOUR + 500, "inferred_ms": HOUR + 500}
    shy, bold = only(meter(included=Decimal(0))), only(meter(included=Decimal(0)), bill_inferred=True)
    assert [line(rate(NOVEMBER, [used(held, **use)]), "running_hours").exact_quantity for held in (shy, bold)] == [1, Fraction(7201, 3600)]


def test_active_hours_are_what_hour_any_counts():
    held = only(meter(rounding="hour_any", included=Decimal(3), price=Decimal("1.00"), warn_at=()))
    assert rate(NOVEMBER, [used(held, running=700 * HOUR, active_hours=5)]).total == Decimal("2.00")


def test_a_meter_without_terms_is_measured_and_neither_limited_nor_billed():
    found = line(rate(NOVEMBER, [used(plan_of("llamasketch/starter"), running=12 * HOUR)]), "running_hours")
    assert (found.quantity, found.included, found.amount, found.refused, found.stripe_quantity) == (12, None, 0, 0, None)


def test_what_a_hard_plan_does_not_allow_is_refused_and_never_billed():
    bill = rate(NOVEMBER, [used(plan_of("aether/free"), running=51 * HOUR + 30 * MINUTE, storage=Decimal("1.25"))])
    assert (bill.total, bill.refused) == (Decimal("0.00"), {"running_hours": Decimal("1.5"), "storage_gb": Decimal("0.25")})


def test_storage_is_the_mean_over_the_segments_own_hours_and_what_is_unknown_is_nothing():
    half_known = used(plan_of("aether/pro"), storage_gb_ms=24_000_000 * (NOVEMBER.length // 2), storage_ms=NOVEMBER.length // 2)
    found = line(rate(NOVEMBER, [half_known]), "storage_gb")
    assert (found.quantity, found.billed, found.amount) == (12, 2, Decimal("1.00"))


def test_provisioned_gigabytes_are_another_meter_than_used_ones():
    held = only(meter(name="volume_gb", kind="volume_gb", rounding=None, unit="GB-month", included=Decimal(1), price=Decimal("0.50")))
    assert rate(NOVEMBER, [used(held, storage=100, volume=3)]).total == Decimal("1.00")


def test_every_line_and_its_currency_are_the_plans_own():
    euro = plan(currency="eur", catalog="other", name="x")
    half = NOVEMBER.start + NOVEMBER.length // 2
    bill = rate(NOVEMBER, [used(plan(), end=half), used(euro, start=half, segment=1)])
    assert (bill.currency, bill.total, bill.totals) == ("eur", Decimal("10.00"), {"eur": Decimal("10.00"), "usd": Decimal("10.00")})


# --- allowances that are granted anew


def test_a_days_allowance_is_granted_anew_at_midnight_utc():
    held = only(generations(included=Decimal(20), per="day", beyond="refuse", price=None))
    late = {NOVEMBER.start + 23 * HOUR: 20, NOVEMBER.start + DAY: 20, NOVEMBER.start + DAY + 23 * HOUR: 1}
    assert rate(NOVEMBER, [used(held, counters={"generations": late})]).refused == {"generations": 1}


def test_an_hours_allowance_is_granted_anew_at_the_hour():
    held = only(generations(included=Decimal(2), per="hour", price=Decimal("0.10")))
    bill = rate(
        NOVEMBER, [used(held, counters={"generations": {NOVEMBER.start: 3, NOVEMBER.start + HOUR: 2, NOVEMBER.start + 2 * HOUR: 5}})]
    )
    assert bill.total == Decimal("0.40")


def test_what_a_day_leaves_unused_is_not_carried_into_the_next():
    held = only(generations(included=Decimal(20), per="day", beyond="refuse", price=None))
    bill = rate(NOVEMBER, [used(held, counters={"generations": {NOVEMBER.start: 1, NOVEMBER.start + DAY: 21}})])
    assert bill.refused == {"generations": 1}


def test_a_day_in_which_the_plan_changed_is_shared_by_time():
    held = only(generations(included=Decimal(20), per="day", beyond="refuse", price=None))
    change = NOVEMBER.start + 18 * HOUR
    first = used(held, end=change, counters={"generations": {NOVEMBER.start: 20}})
    second = used(held, start=change, segment=1, counters={"generations": {change: 20}})
    bill = rate(NOVEMBER, [first, second])
    assert [line(bill, "generations", segment).refused for segment in (0, 1)] == [5, 15]


def test_a_tenant_who_comes_late_in_the_day_has_the_whole_days_allowance():
    held = only(generations(included=Decimal(20), per="day", beyond="refuse", price=None))
    late = NOVEMBER.start + 23 * HOUR
    assert rate(NOVEMBER, [used(held, start=late, counters={"generations": {late: 20}})]).refused == {}


# --- credits


def starter(*hours: tuple[int, int], lots=()):
    counters = {"generations": {NOVEMBER.start + hour * HOUR: count for hour, count in hours}}
    return rate(NOVEMBER, [used(plan_of("llamasketch/starter"), counters=counters)], lots)


def test_credits_come_after_the_allowance_and_before_refusal():
    bill = starter((10, 2600), lots=[lot()])
    found = line(bill, "generations")
    assert (found.included, found.credits_used, bill.refused, bill.credits_left) == (2000, 500, {"generations": 100}, {"generations": 0})


def test_credits_come_before_overage():
    held = only(generations(included=Decimal(10), price=Decimal("0.10"), credits=True))
    bill = rate(NOVEMBER, [used(held, counters={"generations": {NOVEMBER.start: 30}})], [lot(size=15)])
    assert (amounts(bill), line(bill, "generations").stripe_quantity) == (
        {"generations": Decimal("0.50"), "pack:credits-500": Decimal("5.00")},
        5,
    )


def test_the_soonest_to_expire_is_used_first_whatever_the_order_of_purchase():
    soon = lot(payment="soon", at=NOVEMBER.start + HOUR, expires_at=NOVEMBER.end + 9 * DAY)
    bill = starter((10, 2100), lots=[lot(payment="never"), lot(payment="late", expires_at=NOVEMBER.end + 10 * DAY), soon])
    assert [(left.payment, left.left) for left in bill.lots] == [("soon", 400), ("late", 500), ("never", 500)]


def test_credits_that_expired_pay_for_nothing_and_are_not_left():
    bill = starter((10, 2000), (300, 100), lots=[lot(expires_at=NOVEMBER.start + 300 * HOUR)])
    assert (bill.refused, bill.credits_left, bill.lots) == ({"generations": 100}, {"generations": 0}, ())


def test_credits_pay_for_what_was_used_before_they_expired():
    bill = starter((10, 2100), (300, 100), lots=[lot(expires_at=NOVEMBER.start + 299 * HOUR)])
    assert (line(bill, "generations").credits_used, bill.refused) == (100, {"generations": 100})


def test_credits_are_bought_in_advance_and_undo_no_refusal_of_an_earlier_hour():
    bill = starter((10, 2100), (20, 50), lots=[lot(at=NOVEMBER.start + 11 * HOUR)])
    assert (bill.refused, bill.credits_left) == ({"generations": 100}, {"generations": 450})


def test_a_purchase_counts_for_the_whole_hour_in_which_it_was_made():
    assert starter((10, 2100), lots=[lot(at=NOVEMBER.start + 11 * HOUR - 1)]).refused == {}


def test_leftovers_are_carried_into_the_next_period_and_are_not_paid_for_again():
    december = Window.month("2026-12")
    carried = starter((10, 2150), lots=[lot()]).lots
    bill = rate(december, [used(plan_of("llamasketch/starter"), december, counters={"generations": {december.start: 2300}})], carried)
    assert (amounts(bill), bill.credits_left) == ({"base": Decimal("8.00")}, {"generations": 50})


def test_a_purchase_that_was_recorded_twice_is_one():
    bill = starter((10, 2150), lots=[lot(), lot()])
    assert (bill.total, bill.credits_left) == (Decimal("13.00"), {"generations": 350})


def test_one_payment_for_two_different_packs_is_refused():
    with pytest.raises(CreditError, match="pay_1 is two different purchases"):
        starter(lots=[lot(), lot(size=9)])


@pytest.mark.parametrize("left", [-1, 501])
def test_credits_that_cannot_be_left_are_refused(left):
    with pytest.raises(CreditError, match="of 500 credits are left"):
        starter(lots=[lot(left=left)])


def test_a_purchase_after_the_period_is_not_yet_there():
    bill = starter((10, 2150), lots=[lot(at=NOVEMBER.end)])
    assert (bill.total, bill.credits_left, bill.lots) == (Decimal("8.00"), {}, ())


def test_credits_outlive_a_plan_that_does_not_draw_on_them():
    half = NOVEMBER.start + NOVEMBER.length // 2
    free = used(plan_of("llamasketch/free"), end=half, counters={"generations": {NOVEMBER.start: 25}})
    bill = rate(NOVEMBER, [free, used(plan_of("llamasketch/starter"), start=half, segment=1)], [lot()])
    assert (bill.refused, bill.credits_left) == ({"generations": 5}, {"generations": 500})


def test_credits_of_another_meter_are_not_touched():
    bill = starter((10, 2100), lots=[lot(meter="messages")])
    assert (bill.refused, bill.credits_left) == ({"generations": 100}, {"messages": 500})


# --- a plan change


def change(at: int, before: str, after: str, period: Window = NOVEMBER, **after_use):
    return rate(period, [used(plan_of(before), period, end=at), used(plan_of(after), period, start=at, segment=1, **after_use)])


def test_base_is_prorated_by_seconds_on_a_change_in_mid_month():
    bill = change(NOVEMBER.start + 864_000 * SECOND, "aether/pro", "aether/team")  # a third, two thirds
    assert [line(bill, "base", segment).amount for segment in (0, 1)] == [Decimal("6.67"), Decimal("33.33")]


def test_a_change_in_the_months_last_second_costs_a_second():
    bill = change(NOVEMBER.end - SECOND, "aether/pro", "aether/team")
    assert [line(bill, "base", segment).exact for segment in (0, 1)] == [20 * Fraction(2_591_999, 2_592_000), Fraction(50, 2_592_000)]
    assert bill.total == Decimal("20.00")


def test_a_change_on_29_february_counts_29_days():
    assert FEBRUARY.length == 29 * DAY
    bill = change(FEBRUARY.end - DAY, "aether/pro", "aether/team", FEBRUARY, running=20 * HOUR)
    assert [line(bill, "base", segment).amount for segment in (0, 1)] == [Decimal("19.31"), Decimal("1.72")]
    assert line(bill, "running_hours", 1).amount == Decimal("0.28")  # 20 h - 500 h / 29


def test_a_change_to_free_ends_the_base_and_keeps_what_was_used():
    half = NOVEMBER.start + NOVEMBER.length // 2
    paid = used(plan_of("aether/pro"), end=half, running=101 * HOUR)
    bill = rate(NOVEMBER, [paid, used(plan_of("aether/free"), start=half, segment=1, running=26 * HOUR)])
    assert (amounts(bill), bill.refused) == ({"base": Decimal("10.00"), "running_hours": Decimal("0.10")}, {"running_hours": 1})


def test_a_change_from_free_starts_the_base_and_does_not_bill_what_came_before():
    half = NOVEMBER.start + NOVEMBER.length // 2
    free = used(plan_of("aether/free"), end=half, running=300 * HOUR)
    assert rate(NOVEMBER, [free, used(plan_of("aether/pro"), start=half, segment=1)]).total == Decimal("10.00")


def test_back_and_forth_within_a_minute_costs_what_its_seconds_cost():
    first, second = NOVEMBER.start + 30 * SECOND, NOVEMBER.start + 60 * SECOND
    pro, team = plan_of("aether/pro"), plan_of("aether/team")
    bill = rate(NOVEMBER, [used(pro, end=first), used(team, start=first, end=second, segment=1), used(pro, start=second, segment=2)])
    assert sum(each.exact for each in bill.lines) == 20 + 30 * Fraction(30, 2_592_000)
    assert bill.total == Decimal("20.00")


def test_a_tenant_who_comes_in_mid_month_pays_from_then_on():
    late = NOVEMBER.start + NOVEMBER.length // 2
    bill = rate(NOVEMBER, [used(plan_of("aether/pro"), start=late, running=110 * HOUR)])
    assert amounts(bill) == {"base": Decimal("10.00"), "running_hours": Decimal("1.00")}


def test_a_prorated_count_is_whole_and_its_part_is_the_tenants():
    held = only(generations(included=Decimal(10), price=Decimal("0.10")))
    third = NOVEMBER.start + NOVEMBER.length // 3
    found = line(rate(NOVEMBER, [used(held, end=third, counters={"generations": {NOVEMBER.start: 5}})]), "generations")
    assert (found.included, found.billed, found.stripe_quantity) == (4, 1, 1)


def test_use_of_one_plan_is_not_set_off_against_the_allowance_of_another():
    half = NOVEMBER.start + NOVEMBER.length // 2
    pro = plan_of("aether/pro")
    bill = rate(NOVEMBER, [used(pro, end=half, running=120 * HOUR), used(pro, start=half, segment=1, running=10 * HOUR)])
    assert line(bill, "running_hours").amount == Decimal("2.00")


# --- what Stripe is told


def test_the_quantity_is_in_the_meters_own_unit_where_one_costs_whole_cents():
    held = only(meter(rounding="minute", price=Decimal("6.00"), included=Decimal(1), warn_at=()))
    found = line(rate(NOVEMBER, [used(held, running=2 * HOUR + SECOND)]), "running_hours")
    assert (found.stripe_quantity, found.stripe_unit, found.amount) == (61, "minute", Decimal("6.10"))


def test_the_quantity_is_rated_cents_where_no_unit_is_exact():
    found = line(rate(NOVEMBER, [used(plan_of("aether/pro"), running=212 * HOUR + 30 * MINUTE)]), "running_hours")
    assert (found.stripe_quantity, found.stripe_unit) == (125, "cent")


def test_nothing_is_sent_for_what_has_no_metered_price():
    bill = rate(NOVEMBER, [used(plan_of("llamasketch/starter"), counters={"generations": {NOVEMBER.start: 9}})], [lot()])
    assert {each.meter for each in bill.lines if each.stripe_quantity is not None} == set()


def test_a_billed_meter_without_use_is_sent_as_zero():
    assert line(rate(NOVEMBER, [used(plan_of("aether/pro"))]), "running_hours").stripe_quantity == 0


# --- graduated prices and minimums

TIERS = (Tier(Decimal(100), Decimal("0.10")), Tier(Decimal(300), Decimal("0.05")), Tier(None, Decimal("0.01")))
GRADUATED = only(meter(included=Decimal(50), price=None, tiers=TIERS, warn_at=()))


@pytest.mark.parametrize(
    ("hours", "amount"), [(50, "0.00"), (51, "0.10"), (150, "10.00"), (151, "10.05"), (350, "20.00"), (450, "21.00"), (720, "23.70")]
)
def test_each_further_unit_costs_what_its_own_tier_says(hours, amount):
    found = line(rate(NOVEMBER, [used(GRADUATED, running=hours * HOUR)]), "running_hours")
    assert (found.amount, found.unit_price) == (Decimal(amount), None)
    assert (found.stripe_quantity, found.stripe_unit) == (int(found.amount * 100), "cent")


def test_tiers_are_shared_by_time_like_the_allowance():
    half = NOVEMBER.start + NOVEMBER.length // 2
    segments = [used(GRADUATED, end=half, running=225 * HOUR), used(plan(name="other"), start=half, segment=1)]
    assert line(rate(NOVEMBER, segments), "running_hours").amount == Decimal("10.50")  # 25 included, 50 at 0.10, 100 at 0.05, 50 at 0.01


def test_tiers_count_what_is_left_after_credits():
    tiers = (Tier(Decimal(2), Decimal("1.00")), Tier(None, Decimal("0.50")))
    held = only(generations(included=Decimal(0), price=None, tiers=tiers, credits=True))
    bill = rate(NOVEMBER, [used(held, counters={"generations": {NOVEMBER.start: 10}})], [lot(size=5, left=5)])
    assert line(bill, "generations").amount == Decimal("3.50")


@pytest.mark.parametrize(("hours", "missing"), [(0, "5.00"), (210, "4.00"), (249, "0.10"), (250, "0.00"), (900, "0.00")])
def test_what_base_and_use_lack_to_the_minimum_is_a_line(hours, missing):
    held = plan(minimum=Decimal("25.00"))
    bill = rate(NOVEMBER, [used(held, running=hours * HOUR)])
    found = line(bill, "minimum")
    assert (found.amount, found.stripe_quantity) == (Decimal(missing), None)
    assert bill.total == max(Decimal("25.00"), Decimal("20.00") + max(0, hours - 200) * Decimal("0.10"))


def test_a_minimum_is_shared_by_time_and_packs_do_not_count_towards_it():
    half = NOVEMBER.start + NOVEMBER.length // 2
    held = plan(minimum=Decimal("30.00"))
    bill = rate(NOVEMBER, [used(held, end=half)], [lot(price=Decimal("5.00"))])
    assert amounts(bill) == {"base": Decimal("10.00"), "minimum": Decimal("5.00"), "pack:credits-500": Decimal("5.00")}


# --- warnings


@pytest.mark.parametrize(("hours", "warned"), [(159, None), (160, 80), (199, 80), (200, 100), (900, 100)])
def test_warnings_name_the_highest_threshold_reached(hours, warned):
    assert rate(NOVEMBER, [used(plan_of("aether/pro"), running=hours * HOUR)]).warnings.get("running_hours") == warned


def test_warnings_are_those_of_the_plan_in_force_last():
    half = NOVEMBER.start + NOVEMBER.length // 2
    full = used(plan_of("aether/pro"), end=half, running=100 * HOUR)
    bill = rate(NOVEMBER, [full, used(plan_of("aether/team"), start=half, segment=1)])
    assert (line(bill, "running_hours", 0).warned, bill.warnings) == (100, {})


def test_the_fullest_day_warns():
    held = only(generations(included=Decimal(10), per="day", beyond="refuse", price=None, warn_at=(80,)))
    spread = {NOVEMBER.start + day * DAY: 7 for day in range(20)}
    calm, busy = used(held, counters={"generations": spread}), used(held, counters={"generations": {**spread, NOVEMBER.start: 8}})
    assert [rate(NOVEMBER, [each]).warnings for each in (calm, busy)] == [{}, {"generations": 80}]


# --- what cannot be rated


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [used(plan(), start=NOVEMBER.start - 1)],
        [used(plan(), end=NOVEMBER.end + 1)],
        [used(plan(), end=NOVEMBER.start)],
        [used(plan(), end=NOVEMBER.start + 2), used(plan(), start=NOVEMBER.start + 1, segment=1)],
        [used(plan(), end=NOVEMBER.start + 2), used(plan(), start=NOVEMBER.start + 2, segment=1, tenant="brook")],
    ],
    ids=["none", "before", "after", "empty", "overlapping", "two tenants"],
)
def test_segments_that_are_not_one_tenants_period_are_refused(wrong):
    with pytest.raises(RatingError):
        rate(NOVEMBER, wrong)


@pytest.mark.parametrize("hours", [{NOVEMBER.start: -1}, {NOVEMBER.end: 1}, {NOVEMBER.start - HOUR: 1}])
def test_counts_that_are_not_the_segments_own_are_refused(hours):
    with pytest.raises(RatingError, match="Count its own hours only"):
        rate(NOVEMBER, [used(only(generations()), counters={"generations": hours})])


def test_a_free_plan_is_never_billed_whatever_is_used():
    held = free_plan(meters=(meter(beyond="refuse", price=None, included=Decimal(0), warn_at=()),))
    bill = rate(NOVEMBER, [used(held, running=500 * HOUR)])
    assert (bill.total, [each.stripe_quantity for each in bill.lines]) == (Decimal("0.00"), [None, None])


def test_the_order_in_which_segments_are_given_changes_nothing():
    half = NOVEMBER.start + NOVEMBER.length // 2
    both = [used(plan_of("aether/pro"), end=half, running=150 * HOUR), used(plan_of("aether/team"), start=half, segment=1)]
    assert rate(NOVEMBER, both) == rate(NOVEMBER, both[::-1])


def test_use_is_of_the_period_that_it_was_in_and_not_of_that_in_which_it_stopped():
    """A run over midnight of the month's last day comes as two parts; each period bills its own."""
    december = Window.month("2026-12")
    hourly = plan_of("my-jarvis/usage")
    bills = [rate(period, [used(hourly, period, running=HOUR)]).total for period in (NOVEMBER, december)]
    assert bills == [Decimal("0.10"), Decimal("0.10")]


def test_our_own_cost_of_a_unit_is_never_billed():
    dear = replace(
        plan_of("ai-diy/standard"), meters=tuple(replace(each, unit_cost=Decimal(99)) for each in plan_of("ai-diy/standard").meters)
    )
    use = {"counters": {"sprints": {NOVEMBER.start: 50}}, "active_hours": 1}
    assert rate(NOVEMBER, [used(dear, **use)]).total == Decimal("6.00")
