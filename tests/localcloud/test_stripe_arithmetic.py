"""Pure parts: form names, tiers, calendar steps."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.localcloud.stripe_errors import StripeError
from rowhouse.localcloud.stripe_form import decode
from rowhouse.localcloud.stripe_pricing import amount_for, decimal_text, to_minor
from rowhouse.localcloud.stripe_subscription_shape import period_at
from rowhouse.localcloud.stripe_time import TestTimeline, first_anchor, step

names = st.text("abcdefgh_", min_size=1, max_size=6)
trees = st.recursive(
    st.text(max_size=8),
    lambda below: st.dictionaries(names, below, min_size=1, max_size=3) | st.lists(below, min_size=1, max_size=3),
    max_leaves=12,
)


def flat(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, below in value.items() for pair in flat(below, f"{name}[{key}]")]
    if isinstance(value, list):
        return [pair for index, below in enumerate(value) for pair in flat(below, f"{name}[{index}]")]
    return [(name, value)]


@given(st.dictionaries(names, trees, min_size=1, max_size=4))
def test_decoding_undoes_encoding(tree: dict[str, Any]) -> None:
    assert decode(urlencode([pair for key, value in tree.items() for pair in flat(value, key)])) == tree


def test_empty_brackets_append() -> None:
    assert decode("expand[]=a&expand[]=b&types[]=c") == {"expand": ["a", "b"], "types": ["c"]}


@pytest.mark.parametrize("raw", ["a=1&a[b]=2", "a[b]=1&a=2", "[a]=1", "a%5Bb=1", "a=%ff"])
def test_malformed_forms_are_refused(raw: str) -> None:
    with pytest.raises(StripeError):
        decode(raw)


FLAT = {"billing_scheme": "per_unit", "unit_amount_decimal": "0.5", "transform_quantity": None}
TIERS = [
    {"up_to": 100, "unit_amount_decimal": "0", "flat_amount_decimal": None},
    {"up_to": 200, "unit_amount_decimal": "10", "flat_amount_decimal": "500"},
    {"up_to": None, "unit_amount_decimal": "0.123456789012", "flat_amount_decimal": None},
]


@pytest.mark.parametrize(
    ("mode", "quantity", "expected"),
    [
        ("graduated", "0", "0"),
        ("graduated", "100", "0"),
        ("graduated", "101", "510"),
        ("graduated", "200", "1500"),
        ("graduated", "201", "1500.123456789012"),
        ("graduated", "-5", "0"),
        ("volume", "100", "0"),
        ("volume", "101", "1510"),
        ("volume", "1000", "123.456789012"),
    ],
)
def test_tiers_are_exact(mode: str, quantity: str, expected: str) -> None:
    price = {"billing_scheme": "tiered", "tiers_mode": mode}
    assert amount_for(price, TIERS, Decimal(quantity)) == Decimal(expected)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_graduated_use_never_costs_less(first: int, more: int) -> None:
    price = {"billing_scheme": "tiered", "tiers_mode": "graduated"}
    assert amount_for(price, TIERS, Decimal(first + more)) >= amount_for(price, TIERS, Decimal(first))


@pytest.mark.parametrize(("rounding", "expected"), [("up", "2"), ("down", "1.5")])
def test_packages_round_the_quantity(rounding: str, expected: str) -> None:
    price = {**FLAT, "transform_quantity": {"divide_by": 10, "round": rounding}}
    assert amount_for(price, None, Decimal(35)) == Decimal(expected)


@pytest.mark.parametrize(("amount", "minor"), [("0.5", 1), ("1.5", 2), ("-0.5", -1), ("0.499999999999", 0)])
def test_an_amount_is_rounded_once_halves_away_from_zero(amount: str, minor: int) -> None:
    assert to_minor(Decimal(amount)) == minor


@pytest.mark.parametrize(("value", "text"), [("100", "100"), ("1.50", "1.5"), ("1E+3", "1000"), ("0.000000000001", "0.000000000001")])
def test_decimals_are_written_plainly(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())


def test_months_clamp_to_their_last_day_without_drifting() -> None:
    edges = [step(at(2027, 1, 31), "month", 1, n) for n in range(4)]
    assert edges == [at(2027, 1, 31), at(2027, 2, 28), at(2027, 3, 31), at(2027, 4, 30)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (at(2026, 11, 10, 12), at(2026, 12, 1)),
        (at(2026, 11, 1), at(2026, 12, 1)),
        (at(2026, 12, 31, 23, 59, 59), at(2027, 1, 1)),
    ],
)
def test_the_first_anchor_lies_after_now(now: int, expected: int) -> None:
    assert first_anchor(now, day=1, hour=0, minute=0, second=0, month=None, interval="month") == expected


def test_day_31_means_the_last_day_of_a_month() -> None:
    assert first_anchor(at(2027, 2, 3), day=31, hour=0, minute=0, second=0, month=None, interval="month") == at(2027, 2, 28)


@given(st.integers(at(2025, 1, 1), at(2028, 1, 1)), st.integers(at(2025, 1, 1), at(2028, 1, 1)))
def test_every_moment_lies_in_its_period(anchor: int, moment: int) -> None:
    start, end, full = period_at(anchor, "month", 1, moment)
    assert start <= moment < end
    assert full == end - start


def test_a_test_clock_runs_what_is_due_in_its_order_and_at_its_time() -> None:
    timeline, seen = TestTimeline(0), []
    timeline.call_at(20, lambda: seen.append(("b", timeline.now())))
    timeline.call_at(10, lambda: timeline.call_at(15, lambda: seen.append(("a", timeline.now()))))
    timeline.call_at(40, lambda: seen.append(("never", timeline.now())))
    timeline.advance_to(30)
    assert (seen, timeline.now()) == ([("a", 15), ("b", 20)], 30)
