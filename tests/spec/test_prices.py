"""Plans as Stripe's products, meters and prices: whole cents for whole units, or rated cents, so that bill and invoice are equal."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rowhouse.spec import load_fleet
from rowhouse.spec.model import Pack
from rowhouse.spec.money import exact_decimal, minor_units, rounded, shown
from rowhouse.spec.prices import billed_unit, meter_specs, monthly_price, price_specs, product_spec
from tests.support import catalog, free_plan, meter, plan

ROOT = Path(__file__).resolve().parents[2]


def test_a_paid_plan_is_a_base_price_and_one_price_for_each_billed_meter():
    base, hours = price_specs("rowhouse", plan())
    assert (base.lookup_key, base.unit_amount_decimal, base.usage_type, base.meter_event_name) == (
        "rowhouse_aether_pro_base",
        "2000",
        "licensed",
        None,
    )
    assert (hours.lookup_key, hours.unit_amount_decimal, hours.usage_type, hours.unit) == (
        "rowhouse_aether_pro_running_hours",
        "1",
        "metered",
        "cent",
    )
    assert hours.meter_event_name == "rowhouse_aether_running_hours_cent"
    assert {base.product_id, hours.product_id} == {"rowhouse_aether_pro"}
    assert {base.currency, base.interval} == {"usd", "month"}


def test_a_free_plan_is_not_at_stripe():
    assert price_specs("rowhouse", free_plan()) == ()
    assert product_spec("rowhouse", free_plan()) is None
    assert meter_specs("rowhouse", catalog(free_plan())) == ()


def test_a_base_of_nothing_is_left_out_where_use_is_billed():
    assert [price.meter for price in price_specs("rowhouse", plan(price=Decimal("0.00")))] == ["running_hours"]


def test_a_plan_that_only_sells_packs_still_has_one_item_for_its_subscription():
    pack = Pack("credits-500", "generations", 500, Decimal("5.00"), None)
    held = free_plan(packs=(pack,))
    assert [(price.meter, price.unit_amount_decimal) for price in price_specs("rowhouse", held)] == [("base", "0")]


@pytest.mark.parametrize(
    ("terms", "unit", "cents"),
    [
        ({"rounding": "second", "price": Decimal("0.10")}, "cent", "1"),
        ({"rounding": "second", "price": Decimal("36.00")}, "second", "1"),
        ({"rounding": "minute", "price": Decimal("5.00")}, "cent", "1"),
        ({"rounding": "minute", "price": Decimal("6.00")}, "minute", "10"),
        ({"rounding": "hour_up", "price": Decimal("5.00")}, "hour", "500"),
        ({"rounding": "hour_any", "price": Decimal("1.00")}, "hour", "100"),
        ({"rounding": "hour_any", "price": Decimal("0.005")}, "cent", "1"),
        ({"kind": "counter", "rounding": None, "price": Decimal("0.01")}, "count", "1"),
        ({"kind": "counter", "rounding": None, "price": Decimal("0.004")}, "cent", "1"),
        ({"kind": "storage_gb", "rounding": None, "price": Decimal("0.50")}, "cent", "1"),
        ({"kind": "volume_gb", "rounding": None, "price": Decimal("1.00")}, "cent", "1"),
    ],
)
def test_the_unit_is_the_meters_own_where_one_costs_whole_cents(terms, unit, cents):
    assert billed_unit(meter(**terms)) == (unit, Decimal(cents))


def test_a_change_of_the_unit_is_another_meter_so_units_never_mix():
    cheap, dear = plan(), plan(name="gold", meters=(meter(price=Decimal("36.00")),))
    specs = meter_specs("rowhouse", catalog(cheap, dear))
    assert [spec.event_name for spec in specs] == ["rowhouse_aether_running_hours_cent", "rowhouse_aether_running_hours_second"]
    named = {price.meter_event_name for held in (cheap, dear) for price in price_specs("rowhouse", held)} - {None}
    assert named == {spec.event_name for spec in specs}


@given(
    st.decimals(min_value=0, max_value=1000, places=4),
    st.sampled_from(["second", "minute", "hour_up", "hour_any"]),
    st.integers(min_value=0, max_value=10**6),
)
def test_what_stripe_computes_is_the_bill_to_the_cent(price, rounding, quantity):
    held = meter(rounding=rounding, price=price)
    unit, cents = billed_unit(held)
    per_hour = {"second": 3600, "minute": 60, "hour_up": 1, "hour_any": 1}[rounding]
    bill = rounded(Fraction(quantity, per_hour) * Fraction(price))
    sent = minor_units(bill) if unit == "cent" else quantity
    assert sent * cents == minor_units(bill)


def test_every_shipped_price_is_one_of_its_product_and_has_its_own_key():
    fleet = load_fleet(ROOT)
    prices = [price for held in fleet.catalogs for each in held.plans for price in price_specs("rowhouse", each)]
    assert len({price.lookup_key for price in prices}) == len(prices)
    events = {spec.event_name for held in fleet.catalogs for spec in meter_specs("rowhouse", held)}
    assert {price.meter_event_name for price in prices} - {None} == events
    assert all((price.usage_type == "metered") == (price.meter_event_name is not None) for price in prices)


def test_the_monthly_price_is_the_base():
    assert monthly_price(plan()) == Decimal("20.00")
    assert shown(monthly_price(plan()), "usd") == "20.00 USD"


@example(Fraction(10**26))
@given(st.fractions() | st.integers(-(10**6), 10**6).map(lambda halves: Fraction(halves, 200)) | st.decimals(-(10**9), 10**9, places=5))
def test_rounding_is_pythons_own_of_the_exact_number(amount):
    assert Fraction(rounded(amount)) == Fraction(round(Fraction(amount) * 100), 100)
    assert rounded(amount).as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.005", "0.00"), ("0.015", "0.02"), ("0.025", "0.02"), ("66.666666", "66.67"), ("0.0050000001", "0.01"), ("12", "12.00")],
)
def test_money_is_rounded_half_even_to_the_cent(amount, expected):
    assert str(rounded(Decimal(amount))) == expected


@given(st.fractions(min_value=0, max_value=10**9))
def test_rounding_moves_an_amount_by_half_a_cent_at_most(amount):
    assert abs(Fraction(rounded(amount)) - amount) <= Fraction(1, 200)


def test_a_fraction_of_a_cent_is_not_sent_to_a_vendor():
    assert minor_units(Decimal("22.25")) == 2225
    with pytest.raises(ValueError, match="fraction of a cent"):
        minor_units(Decimal("0.005"))


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=10**6))
def test_a_decimal_is_exact_or_there_is_none(value):
    text = exact_decimal(value, 12)
    if text is None:
        assert (value * 10**12).denominator != 1
    else:
        assert Fraction(text) == value
        assert "E" not in text
