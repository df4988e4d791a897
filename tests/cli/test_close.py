"""What `rowhouse close` tells: a person, a script, and the shell."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from rowhouse.cli.app import app
from rowhouse.cli.close import summary
from rowhouse.usage.close import Closing
from rowhouse.usage.sink import Item, Trouble

ITEM = Item("running_hours/1", "2026-10", 25, "usd", 0, 1, "Adjustment for 2026-10: 2.5 hour of running_hours")


def closing(**more: object) -> Closing:
    quiet = Closing("2026-11", "done", number=4, tenants=30, ready=28, finalized=28, totals={"usd": Decimal("612.50")})
    for name, value in more.items():
        setattr(quiet, name, value)
    return quiet


def words(result: Closing) -> str:
    return "\n".join(text for text, _ in summary(result))


def test_a_closed_month_is_three_lines_of_data() -> None:
    assert summary(closing()) == [
        ("2026-11: closed", ""),
        ("30 tenants, bills of 612.50 USD", ""),
        ("28 invoices agree with their bill, 28 of them went out now", ""),
    ]


def test_a_month_that_was_closed_before_says_only_that() -> None:
    assert words(closing(why="it was closed before", tenants=0)) == "2026-11: closed\nit was closed before"


def test_what_stays_a_draft_comes_last_and_in_red() -> None:
    told = summary(closing(state="partial", blocked=[Trouble("acme", "Stripe counts 40 seconds")], troubles=[Trouble(None, "late")]))
    assert told[0][0] == "2026-11: closed, but for the tenants named below"
    assert told[-2:] == [("trouble: late", "yellow"), ("stays a draft: acme: Stripe counts 40 seconds", "red")]


def test_adjustments_are_shown_with_their_reason_and_long_lists_are_cut() -> None:
    told = words(closing(adjustments=[("acme", ITEM)] * 25))
    assert told.count("adjustment: acme, 0.25 USD: Adjustment for 2026-10: 2.5 hour of running_hours") == 20
    assert "adjustment: and 5 more; --json has all of them" in told


@pytest.mark.parametrize(
    ("state", "why", "expected"),
    [("held", "the first 3 closes wait for a person", "drafts until a person says so"), ("waiting", "Fly: no answer", "Fly: no answer")],
)
def test_a_month_that_is_not_closed_says_why(state: str, why: str, expected: str) -> None:
    result = closing(state=state, why=why)
    assert expected in words(result)
    assert not result.is_well


def test_the_document_is_plain_json_with_money_as_text() -> None:
    document = closing(adjustments=[("acme", ITEM)], later=[("brook", ITEM)], blocked=[Trouble("acme", "x")]).document()
    assert json.loads(json.dumps(document)) == document
    assert (document["ok"], document["totals"], document["blocked"]) == (False, {"usd": "612.50"}, ["acme: x"])
    [told] = document["adjustments"]
    assert (told["tenant"], told["month"], told["amount"]) == ("acme", "2026-10", "0.25")


@pytest.mark.parametrize("month", ["november", "2026-13", "2026-11-01"])
def test_what_is_no_month_is_refused_before_anything_is_asked(month: str) -> None:
    ran = CliRunner().invoke(app, ["close", month])
    assert (ran.exit_code, "is not a month such as" in ran.stderr) == (2, True)
