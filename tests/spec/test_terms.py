"""Terms: what is remembered of a plan is the plan, exactly."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.spec.load import load_fleet
from rowhouse.spec.model import Pack, Plan, Size, Tier
from rowhouse.spec.terms import TermsError, billed_id, plan_from, terms_of, terms_text
from tests.support import meter, plan

ROOT = Path(__file__).resolve().parents[2]
AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=12, allow_nan=False)
PACKS = (Pack("credits-500", "generations", 500, Decimal("5.00"), 365), Pack("credits-1", "generations", 1, Decimal("0.10"), None))


def remembered(kept: Plan) -> Plan:
    """What terms do not hold, emptied."""
    return replace(kept, demo=False, size=Size("shared", 0, 0, 0), app="", host="fly", region="", env={})


def test_every_plan_of_the_examples_comes_back_as_it_was():
    for catalog in load_fleet(ROOT).catalogs:
        for kept in catalog.plans:
            assert plan_from(terms_of(kept)) == remembered(kept)


@given(price=AMOUNTS, rate=AMOUNTS, included=st.none() | AMOUNTS, cost=AMOUNTS)
def test_money_and_quantities_come_back_exactly(price: Decimal, rate: Decimal, included: Decimal | None, cost: Decimal):
    kept = plan(price=price, meters=(meter(price=rate, included=included, unit_cost=cost),), packs=PACKS)
    assert plan_from(terms_of(kept)) == remembered(kept)


@given(price=AMOUNTS)
def test_equal_terms_are_equal_text_whatever_zeros_a_file_has(price: Decimal):
    padded = price.quantize(Decimal(1).scaleb(-20)) if price < 10**5 else price
    assert terms_text(terms_of(plan(price=price))) == terms_text(terms_of(plan(price=padded)))


TIERS = (Tier(Decimal(100), Decimal("0.10")), Tier(None, Decimal("0.05")))


def test_graduated_prices_and_minimums_are_read_back_and_others_keep_their_text():
    rich = plan(meters=(meter(price=None, tiers=TIERS),), minimum=Decimal("25.00"))
    found = plan_from(json.loads(terms_text(terms_of(rich))))
    assert (found.meters, found.minimum) == (rich.meters, rich.minimum)
    plain = terms_text(terms_of(plan()))
    assert "tiers" not in plain
    assert "minimum" not in plain


@pytest.mark.parametrize(
    "changed",
    [
        plan(price=Decimal("20.01")),
        plan(currency="eur"),
        plan(name="team"),
        plan(bill_inferred=True),
        plan(meters=()),
        plan(meters=(meter(rounding="minute"),)),
        plan(meters=(meter(included=None),)),
        plan(meters=(meter(price=Decimal("0.11")),)),
        plan(meters=(meter(beyond="refuse", price=None),)),
        plan(meters=(meter(per="day"),)),
        plan(meters=(meter(credits=True),)),
        plan(meters=(meter(price=None, tiers=TIERS),)),
        plan(meters=(meter(price=None, tiers=(*TIERS[:1], replace(TIERS[1], price=Decimal("0.04")))),)),
        plan(minimum=Decimal("25.00")),
    ],
)
def test_what_decides_a_bill_makes_other_billed_terms(changed: Plan):
    assert billed_id(terms_of(changed)) != billed_id(terms_of(plan()))


@pytest.mark.parametrize(
    "changed",
    [
        plan(title="New name"),
        plan(meters=(meter(warn_at=(50,)),)),
        plan(meters=(meter(unit_cost=Decimal("0.02")),)),
        plan(packs=PACKS),
        plan(limits=replace(plan().limits, instances=9)),
        plan(lifecycle=replace(plan().lifecycle, idle_minutes=5)),
    ],
)
def test_what_does_not_decide_a_bill_is_remembered_and_bills_alike(changed: Plan):
    assert billed_id(terms_of(changed)) == billed_id(terms_of(plan()))
    assert terms_of(changed) != terms_of(plan())


@pytest.mark.parametrize("changed", [plan(env={"A": "b"}), plan(region="iad"), plan(size=Size("shared", 2, 1024, 9)), plan(app="other")])
def test_what_a_plan_gives_to_new_machines_is_not_among_its_terms(changed: Plan):
    assert terms_of(changed) == terms_of(plan())


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"price": "much"}, {"price": None}, {"extra": 1}, {"limits": {}}, {"meters": [{}]}, {"meters": 7}]
)
def test_terms_that_this_version_did_not_write_are_refused(change: dict):
    with pytest.raises(TermsError):
        plan_from({**terms_of(plan()), **change})


def test_terms_with_something_missing_are_refused():
    terms = terms_of(plan())
    del terms["packs"]
    with pytest.raises(TermsError, match="packs"):
        plan_from(terms)
