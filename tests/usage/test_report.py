"""The report: its numbers, what it says is wrong, and a page that nothing can be smuggled into."""

import csv
import html.parser
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from rowhouse.spec.model import Tier
from rowhouse.spec.terms import terms_of
from rowhouse.usage.bills import bills_of
from rowhouse.usage.model import DAY_MS, HOUR_MS
from rowhouse.usage.report import report_csv, report_html
from rowhouse.usage.report_data import report_data
from rowhouse.usage.vendor_prices import book_for
from tests.support import meter, plan
from tests.usage.books import (
    MINUTE,
    NOVEMBER,
    at,
    counter_rows,
    folder,
    machine_rows,
    pass_row,
    plan_row,
    volume_rows,
    write,
)
from tests.usage.metering import recorded, with_terms

BORN = NOVEMBER.start - DAY_MS
UNTIL = at(2026, 11, 21, 7, 2)
BOOK = book_for("2026-11")


def passes(until=UNTIL, count=5, every=HOUR_MS, **last):
    return [*(pass_row(until - number * every) for number in range(count, 0, -1)), pass_row(until, **last)]


Report = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of a ledger with these rows; tests with the same rows share their ledger and their bills."""
    billed: dict[str, Any] = {}

    def inner(rows, *, now=UNTIL + 10 * MINUTE, period=NOVEMBER, fleet=None):
        key = json.dumps([rows, period.start, repr(fleet)])
        if key not in billed:
            ledger = write(folder(tmp_path_factory.mktemp("report")), rows, per=30 * DAY_MS)
            billed[key] = bills_of(ledger.store, "main", fleet, period)
        return report_data(*billed[key], BOOK, cell="main", now=now)

    return inner


def quiet(tenant="acme", plan="aether/pro", hours=10):
    """One tenant that ran so many hours on the 3rd, and a volume of 10 GB."""
    ups = [(at(2026, 11, 3), at(2026, 11, 3) + hours * HOUR_MS)]
    return [plan_row(tenant, BORN, plan), *machine_rows(tenant, BORN, ups, UNTIL), *volume_rows(tenant, BORN, 10, "2", UNTIL)]


def test_when_everything_was_complete_it_says_that_all_is_well(report_of: Report):
    document = report_of([*quiet(), *passes()])
    assert (document["ok"], document["problems"]) == (True, [])
    assert "All is well." in report_html(document)


def test_a_plan_with_tiers_and_a_minimum_is_reported_like_any_other(report_of: Report):
    tiers = (Tier(Decimal(1), Decimal("0.10")), Tier(None, Decimal("0.05")))
    held = plan(meters=(meter(included=Decimal(0), price=None, tiers=tiers, warn_at=()),), minimum=Decimal("25.00"))
    applied = {**with_terms(plan_row("acme", BORN, "aether/pro")), "data": terms_of(held)}
    document = report_of([row for row in quiet() if row["kind"] != "plan"] + [applied, *passes()])
    assert (document["ok"], document["tenants"][0]["revenue"]) == (True, "25.00")  # 20.00, 0.55 of ten hours, and what is missing
    assert "25.00" in report_html(document)
    assert "acme" in report_csv(document)


def test_machines_and_volumes_are_priced_by_the_book(report_of: Report):
    document = report_of([*quiet(hours=100), *passes()])
    cost = document["tenants"][0]["cost"]
    # shared-cpu-1x with 256 MB is 1.94 for 720 hours; fra was not read, so 1.196 times as much; stopped it keeps 1 GB at 0.15
    stopped = (UNTIL - NOVEMBER.start) / HOUR_MS - 100
    assert Decimal(cost["machines"]) == round(Decimal(1.94 * 1.196 * 100 / 720 + 0.15 * stopped / 720), 2)
    assert Decimal(cost["volumes"]) == round(Decimal(10 * 0.15 * ((UNTIL - NOVEMBER.start) / HOUR_MS) / 720), 2)
    assert Decimal(document["tenants"][0]["margin"]) == Decimal("20.00") - Decimal(cost["total"])


def test_gateways_are_nobodys_instances(report_of: Report):
    gateway = machine_rows("edge", BORN, [(BORN, UNTIL)], UNTIL)
    without, document = report_of([*quiet(), *passes()]), report_of([*quiet(), *gateway, *passes()])
    assert (document["totals"]["instances"], document["totals"]["running_hours"]) == (1, "10")
    assert document["days"] == without["days"]


def test_what_a_unit_costs_us_is_the_plans_own(report_of: Report):
    rows = [*quiet(plan="ai-diy-roadmap/basic"), *counter_rows("acme", "sprints", [(BORN, 0), (at(2026, 11, 9), 40)]), *passes()]
    assert report_of(rows)["tenants"][0]["cost"]["own"] == "30.00"


def test_the_fifty_first_seat_makes_all_of_them_cost(report_of: Report):
    def logins(count):
        return [
            {"kind": "login", "tenant": "acme", "at": at(2026, 11, 5), "id": f"ray-{number}", "data": {"who": f"{number:016x}"}}
            for number in range(count)
        ]

    costs = [report_of([*quiet(), *logins(count), *passes()])["tenants"][0]["cost"]["gate"] for count in (50, 51)]
    assert costs == ["0.00", "357.00"]


def test_use_of_what_is_included_has_its_percent_and_its_warning(report_of: Report):
    document = report_of([*quiet(plan="aether/free", hours=45), *passes()])
    use = next(use for use in document["tenants"][0]["uses"] if use["meter"] == "running_hours")
    assert (use["used"], use["included"], use["percent"], use["warning"]) == ("45", "50", 90, 80)
    assert document["totals"]["warned"] == 1


@pytest.mark.parametrize(
    ("late", "is_stale"),
    [(2 * HOUR_MS, False), (2 * HOUR_MS + 1, True)],
)
def test_it_is_stale_after_two_intervals_and_not_before(report_of: Report, late, is_stale):
    document = report_of([*quiet(), *passes()], now=UNTIL + late)
    assert [problem["rule"] for problem in document["problems"]] == ["stale"] * is_stale
    assert document["freshness"]["stale"] is is_stale
    assert ("The last complete pass was" in report_html(document)) is is_stale


def test_the_interval_is_that_of_the_passes_themselves(report_of: Report):
    document = report_of([*quiet(), *passes(every=5 * MINUTE)], now=UNTIL + 11 * MINUTE)
    assert document["freshness"]["interval_s"] == 300
    assert document["problems"][0]["rule"] == "stale"


def test_a_pass_that_did_not_hear_everybody_out_is_told_with_its_reason(report_of: Report):
    document = report_of([*quiet(), *passes(complete=False, reason="machines: Fly could not read fra")])
    assert [problem["rule"] for problem in document["problems"]] == ["incomplete"]
    assert "Fly could not read fra" in document["problems"][0]["text"]
    assert document["observed_until"] == "2026-11-21T06:02:00Z"
    assert document["not_observed"]["incomplete_passes"] == 1


def test_a_month_that_is_over_and_vouched_for_does_not_become_stale(report_of: Report):
    rows = [*quiet(), *passes(at(2026, 12, 2), complete=False)]
    assert report_of(rows, now=at(2027, 3, 1))["ok"]


def test_a_clock_that_is_wrong_is_told_and_nobody_guesses_the_age(report_of: Report):
    document = report_of([*quiet(), *passes(off=3600.0)], now=UNTIL - HOUR_MS)
    assert [problem["rule"] for problem in document["problems"]] == ["clock", "clock"]
    assert "1 hour behind the last pass" in document["problems"][0]["text"]
    assert "1 hour ahead of" in document["problems"][1]["text"]


def test_seconds_that_nobody_can_prove_are_summed_up_by_tenant(report_of: Report):
    rows = [row for row in quiet() if row["kind"] != "events"]
    document = report_of([*rows, *passes()])
    gaps = document["not_observed"]
    assert list(gaps["tenants"]) == ["acme"]
    assert gaps["unknown_s"] > 0
    assert "Every second of every instance is proven" not in report_html(document)


def test_a_plan_whose_file_was_deleted_is_billed_as_it_was_recorded_and_a_file_without_a_record_is_named(report_of: Report):
    class Left:
        tenants = ()

    class Here:
        class tenant:  # noqa: N801
            id, is_active = "newcomer", True

        tenants = (tenant,)

    assert report_of([*quiet(), *passes()], fleet=Left)["tenants"][0]["revenue"] == "20.00"
    document = report_of([*quiet(), *passes()], fleet=Here)
    assert [(problem["rule"], problem["tenant"]) for problem in document["problems"]] == [("no-plan", "newcomer")]


def test_pushes_that_do_not_count_and_a_close_that_is_not_done_are_told(report_of: Report):
    push = {"tenant": "acme", "subject": "running_hours", "kind": "push", "id": "acme.1"}
    told = {"segment": NOVEMBER.start, "batch": "b1", "plan": "aether/pro", "unit": "second"}
    rows = [
        {**push, "at": UNTIL, "asof": UNTIL, "state": "planned", "value": "5", "data": told},
        {**push, "at": UNTIL, "state": "refused", "data": {"reason": "no such customer"}},
        {"kind": "close", "at": UNTIL, "subject": "2026-11", "state": "waiting", "id": "c1", "data": {"why": "fly was not heard out"}},
    ]
    document = report_of([*quiet(), *rows, *passes()])
    assert [problem["rule"] for problem in document["problems"]] == ["push", "close"]
    assert "no such customer" in document["problems"][0]["text"]
    assert "fly was not heard out" in document["problems"][1]["text"]
    assert (document["billing"]["totals_sent"], document["billing"]["close"]) == (1, "waiting")


EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


def test_hostile_names_stay_text_and_the_page_asks_nobody_for_anything(report_of: Report):
    rows = [*quiet(tenant=EVIL), *passes(complete=False, reason=EVIL)]
    rows += [row for row in machine_rows(EVIL, BORN, [(at(2026, 11, 4), at(2026, 11, 7))], UNTIL, instance=EVIL) if row["kind"] != "events"]
    for row in rows:
        if row["kind"] == "plan":
            terms = json.loads(json.dumps(recorded("aether/free")["data"]))
            terms["name"], terms["title"] = EVIL, EVIL
            row |= {"data": terms, "id": "evil"}
    document = report_of(rows)
    assert (document["tenants"][0]["plan"], document["plans"][0]["title"]) == (f"aether/{EVIL}", EVIL)
    page = Page(report_html(document))
    assert not {"script", "img", "iframe", "object", "embed", "link", "base", "form", "image", "foreignobject"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in {"src", "xlink:href"}]
    assert not [value for _, name, value in page.attributes if name == "href"]
    assert any(EVIL in text for text in page.text)
    assert not re.search(r"url\(|@import", " ".join(page.text))


def test_a_large_fleet_shows_the_most_important_and_folds_the_rest(report_of: Report):
    rows = [row for number in range(60) for row in quiet(tenant=f"tenant-{number:02}", hours=number)]
    text = report_html(report_of([*rows, *passes()]))
    assert "All 60 tenants" in text
    assert "the 15 with the lowest margin" in text
    assert len(text) < 200_000


def test_csv_has_the_same_numbers_and_no_formulas(report_of: Report):
    document = report_of([*quiet(), *quiet(tenant="=cmd|x"), *passes()])
    rows = list(csv.DictReader(io.StringIO(report_csv(document))))
    assert [row["tenant"] for row in rows if not row["meter"]] == ["'=cmd|x", "acme"]
    told = {row["meter"]: row["used"] for row in rows if row["tenant"] == "acme"}
    assert told == {"": "", **{use["meter"]: use["used"] for use in document["tenants"][1]["uses"]}}
    assert [row["margin"] for row in rows if row["tenant"] == "acme" and not row["meter"]] == [document["tenants"][1]["margin"]]


def test_the_document_is_json_and_its_sums_are_the_sums_of_its_rows(report_of: Report):
    document = report_of([*quiet(), *quiet(tenant="fern", plan="my-jarvis/usage"), *passes()])
    assert json.loads(json.dumps(document)) == document
    rows = document["tenants"]
    assert Decimal(document["totals"]["revenue"]["usd"]) == sum(Decimal(row["revenue"]) for row in rows) == Decimal("21.00")
    shared = Decimal(document["totals"]["shared_cost"])
    assert Decimal(document["totals"]["cost"]) == sum(Decimal(row["cost"]["total"]) for row in rows) + shared
    assert sum(Decimal(plan["margin"]) for plan in document["plans"]) - shared == Decimal(document["totals"]["margin"])


def test_what_has_no_plan_costs_all_of_us(report_of: Report):
    edge = machine_rows("edge", BORN, [(NOVEMBER.start, UNTIL)], UNTIL, instance="edge-1")
    document = report_of([*quiet(), *edge, *passes()])
    assert [row["tenant"] for row in document["tenants"]] == ["acme"]
    assert Decimal(document["shared_cost"]["edge"]["machines"]) > 1
