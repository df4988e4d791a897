"""Credits to and from the ledger: nothing is lost on the way, and what cannot be read is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.usage.credits import CreditError
from rowhouse.usage.entries import Entry, line_of, parse
from rowhouse.usage.lots import lot_data, lot_from, lot_of, lots_of
from tests.usage.rating_support import NOVEMBER, lot
from tests.usage.rating_worlds import MONEY


def purchase(**overrides) -> Entry:
    """The entry of one pack, as a pass takes it in."""
    data = {"meter": "generations", "price": "5.00", "currency": "usd", "expires_at": None}
    quiet = {
        "kind": "purchase",
        "at": NOVEMBER.start,
        "tenant": "acme",
        "subject": "credits-500",
        "value": "500",
        "id": "pay_1",
        "data": data,
    }
    return Entry(**{**quiet, **overrides})


def test_a_purchase_is_a_lot_of_which_nothing_is_used():
    assert lot_of(parse(line_of(purchase()))) == lot()


def test_purchases_are_found_among_other_entries_by_tenant():
    found = lots_of([purchase(), Entry("login", NOVEMBER.start, "acme"), purchase(id="pay_2", tenant="brook")])
    assert found == {"acme": [lot()], "brook": [lot(payment="pay_2")]}


@given(MONEY, st.integers(0, 500), st.none() | st.integers(1, 2**50))
def test_what_is_carried_is_what_was_left(price, left, expires_at):
    held = lot(price=price, left=left, expires_at=expires_at)
    assert lot_from(json.loads(json.dumps(lot_data(held)))) == held


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": None},
        {"data": None},
        {"data": {"meter": "generations", "price": "five", "currency": "usd", "expires_at": None}},
        {"data": {"meter": "generations", "price": "5.00", "currency": "usd", "expires_at": None, "colour": "red"}},
    ],
    ids=["no size", "no data", "no price", "unknown field"],
)
def test_a_purchase_that_cannot_be_read_names_its_payment(wrong):
    with pytest.raises(CreditError, match="purchase pay_1 of acme cannot be read"):
        lot_of(purchase(**wrong))
