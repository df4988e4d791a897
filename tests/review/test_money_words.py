"""The money of a change as a comment and on a terminal: bounded, ordered, and nothing of a file is markup."""

import io
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rowhouse.review.markup import code, printable, table
from rowhouse.review.markup import words as escaped
from rowhouse.review.money_layout import Table, layout
from rowhouse.review.money_words import markdown, renderables
from tests.review.money_support import acme, fleet_of, instance, meter, money, month_of, plan, quiet, with_plan
from tests.strategies import odd_texts

BEFORE = fleet_of(acme())


def many(count: int):
    """So many tenants, each of whose bills rises by its own number of dollars more than the one before."""
    plans = {number: plan(name=f"p{number}") for number in range(count)}
    held = [acme(id=f"t{number:05}", plan=own, instances=(instance(hostname=f"t{number:05}"),)) for number, own in plans.items()]
    before = fleet_of(*held)
    raised = [replace(one, plan=replace(one.plan, price=one.plan.price + 1 + number)) for number, one in enumerate(held)]
    month = month_of({one.id: [quiet(one.id, terms=one.plan)] for one in held})
    return money(before, fleet_of(*raised), month=month)


def tables(found, rows=20):
    return {block.title: block for block in layout(found, rows) if isinstance(block, Table)}


def test_the_largest_changes_stand_first_and_the_others_are_counted_with_their_sum():
    table = tables(many(30), rows=4)["30 customers pay more"]
    assert [row[0] for row in table.rows] == ["t00029", "t00028", "t00027", "t00026"]
    assert table.rest == "and 26 more: +351.00 USD in all"


def test_a_comment_is_bounded_whatever_the_number_of_tenants():
    small, large = (len("\n".join(markdown(many(count)))) for count in (60, 600))
    assert large < small + 200


def test_totals_say_which_figures_are_replayed_and_which_are_estimates():
    birch = acme(id="birch", instances=(instance(hostname="birch"),))
    found = money(BEFORE, with_plan(fleet_of(acme(), birch), plan(price=Decimal("21.00"))), quiet())
    names = [row[0] for row in tables(found)["Money, a month"].rows]
    assert names[:2] == ["customers' bills (replay of 2026-11, 1 tenant)", "vendor cost (replay of 2026-11, 1 tenant)"]
    assert "customers' bills (estimate, 1 tenant)" in names


def test_nothing_is_said_to_be_nothing():
    [line] = [line for line in markdown(money(BEFORE, BEFORE, quiet(), full=True)) if line.startswith("No bill")]
    assert line == "No bill and no cost changes by a cent: 1 closed month replayed."
    assert markdown(money(BEFORE, BEFORE, quiet()))[0] == "Nothing of this change costs or brings money."


def test_what_blocks_stands_first():
    from rowhouse.spec.guardrails import Guardrails

    found = money(BEFORE, with_plan(BEFORE, plan(price=Decimal("30.00"))), quiet(), guardrails=Guardrails())
    assert markdown(found)[0].startswith("**Blocks the merge:** 1 bill changes")


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example)",
    "@octocat please merge",
    "fixes #1 and GH-2, octo/repo#3",
    "a | b || c",
    "`$(touch x)`",
    "**bold** _it_ ~~no~~ # title",
    "line\n\n## heading\r\n<details>",
    "\u202eevil\u200b\x1b[31m\x00",
    "![x](http://e.example/x.png) www.evil.example",
    "-->\\",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_unit_of_a_catalog_is_shown_and_is_no_markup(text):
    held = plan(meters=(meter(unit=text),))
    before = fleet_of(acme(plan=held))
    found = money(before, with_plan(before, replace(held, meters=(meter(unit=text, included=Decimal(1)),))), quiet(terms=held))
    lines = markdown(found)
    assert all("\n" not in line and "\r" not in line for line in lines)
    rendered = "\n".join(lines)
    assert is_inert(rendered)
    assert len(rendered) < 8000
    [table] = [block for block in layout(found) if isinstance(block, Table) and "another limit" in block.title]
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in lines if line.startswith("| ") and "used" not in line and "beyond what" in line}
    assert widths == {len(table.columns) + 2}  # no cell of it ended a column


def is_inert(text: str) -> bool:
    """Whether nothing but our own few tags, and no mention, reference or address that a host would link, is in a comment."""
    bare = re.sub(r"(?<!\\)`[^`]*`", "", text)
    tags = set(re.findall(r"<[^>]*>?", bare)) - {"<!-- -->", "<details>", "<summary>", "</summary>", "</details>"}
    linked = re.search(r"@\w|#\d|://|www\.|(?<!\\)\[", bare)
    return not tags and linked is None and not re.search(r"[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e]", text)


@settings(deadline=None)
@given(odd_texts() | st.sampled_from(HOSTILE))
def test_no_text_becomes_markup(text):
    assert "\n" not in escaped(text)
    assert is_inert(escaped(text))
    assert is_inert(code(text))
    assert re.fullmatch(r"`[^`\n]+`", code(text))
    [_, _, row] = table(["a", "b"], [[code(text), escaped(text)]])
    assert len(re.split(r"(?<!\\)\|", row.replace("\\\\", ""))) == 4, "a cell of it ended a column"


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150))
def test_plain_text_is_shown_as_it_is(text):
    assert printable(text) == text
    shown = escaped(text).replace("<!-- -->", "")
    shown = re.sub(r"\\([\\`*_\[\]#~!$+=.)-])", r"\1", shown).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == text


def test_a_terminal_gets_the_same_without_control_characters():
    held = plan(meters=(meter(unit="h\x1b[31m[red]hour[/red]"),))
    before = fleet_of(acme(plan=held))
    found = money(before, with_plan(before, replace(held, meters=(replace(held.meters[0], included=Decimal(1)),))), quiet(terms=held))
    console = Console(width=200, record=True, file=io.StringIO())
    for block in renderables(found):
        console.print(block)
    text = console.export_text()
    assert "[red]hour[/red]" in text
    assert "\x1b" not in text
    assert "1 customer pays more" in text


def test_the_document_is_plain_json_with_money_as_text():
    found = money(BEFORE, with_plan(BEFORE, plan(price=Decimal("21.00"))), quiet())
    document = json.loads(json.dumps(found.document()))
    assert document["rows"][0]["bill_change"] == "1.00"
    assert document["rows"][0]["bill_change_percent"] == "5.00"
    assert document["totals"][0]["revenue"] == {"before": "20.00", "after": "21.00"}
    assert (document["pay_more"], document["pay_less"], document["months"]) == (1, 0, {"main": "2026-11"})

    def numbers(value):
        found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return isinstance(value, float) or any(numbers(one) for one in found)

    assert not numbers(document)
