"""One line of the ledger: what goes in comes out, and what may not stand there is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.usage.entries import COLUMNS, KINDS, Entry, LedgerError, canonical, line_of, parse

WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
INSTANTS = st.integers(0, 2**52)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from(sorted(KINDS)),
    at=INSTANTS,
    tenant=st.none() | WORDS,
    instance=st.none() | WORDS,
    subject=st.none() | WORDS,
    asof=st.none() | INSTANTS,
    state=st.none() | WORDS,
    value=st.none() | st.decimals(-(10**12), 10**12, allow_nan=False, places=9).map(lambda number: f"{number:f}"),
    id=st.none() | WORDS,
    data=st.none() | st.dictionaries(WORDS, JSON, max_size=4),
)


@given(entry=ENTRIES)
def test_an_entry_comes_back_as_it_was(entry: Entry):
    assert parse(line_of(entry)) == entry
    assert "\n" not in line_of(entry)


@given(data=st.dictionaries(WORDS, JSON, min_size=2, max_size=5))
def test_equal_data_is_equal_text_whatever_its_order(data: dict[str, Any]):
    assert canonical(data) == canonical(dict(reversed(data.items())))


def test_columns_come_in_order_and_absent_ones_are_left_out():
    assert line_of(Entry("pass", 5, state="complete")) == '{"kind":"pass","at":5,"state":"complete"}'
    whole = Entry("machine", 5, "acme", "main", "m", asof=4, state="started", value="1.5", id="v", data={"b": 1, "a": 2})
    assert list(json.loads(line_of(whole))) == list(COLUMNS)
    assert line_of(whole).endswith('"data":{"a":2,"b":1}}')


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": "machin"}, "machin"),
        ({"at": 1.5}, "at"),
        ({"at": True}, "at"),
        ({"at": None}, "at"),
        ({"at": 2**60}, "at"),
        ({"asof": "soon"}, "asof"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": 7}, "tenant"),
        ({"state": "a\nb"}, "state"),
        ({"id": "\ud800"}, "id"),
        ({"value": 1.5}, "value"),
        ({"value": "1e5"}, "value"),
        ({"value": "NaN"}, "value"),
        ({"value": "01"}, "value"),
        ({"data": []}, "data"),
        ({"data": {"x": float("nan")}}, "written"),
        ({"data": {"x": Decimal(1)}}, "written"),
        ({"data": {"x": "\ud800"}}, "written"),
    ],
)
def test_what_may_not_stand_in_a_line_is_refused_by_name(changed: dict[str, Any], named: str):
    with pytest.raises(LedgerError, match=named):
        line_of(Entry(**{"kind": "machine", "at": 1, **changed}))


@pytest.mark.parametrize("line", ["", "[]", "{", '{"kind":"pass"}', '{"kind":"pass","at":1,"colour":"red"}', '{"kind":"pass","at":"1"}'])
def test_a_line_that_is_no_entry_is_refused(line: str):
    with pytest.raises(LedgerError):
        parse(line)


def test_a_value_is_a_number_and_its_absence_is_told():
    assert Entry("storage", 1, value="1.500000001").number == Decimal("1.500000001")
    with pytest.raises(LedgerError, match="storage"):
        _ = Entry("storage", 1).number
