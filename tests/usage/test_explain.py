"""Explaining a bill: sentences with the bill's own numbers, and down to entries that stand where it says."""

import gzip
import hashlib
import json
from decimal import Decimal

import pytest

from rowhouse.spec.model import Tier
from rowhouse.usage.bills import bills_of
from rowhouse.usage.entries import LedgerError
from rowhouse.usage.explain import UnknownLineError, explain
from rowhouse.usage.explain_words import sentences_of
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import DAY_MS, HOUR_MS
from rowhouse.usage.rate import rate
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
    purchase_row,
    volume_rows,
    write,
)
from tests.usage.rating_support import used

BORN = NOVEMBER.start - DAY_MS
UNTIL = at(2026, 12, 1, 1)


def told(tmp_path, rows, line=None, tenant="acme"):
    store = folder(tmp_path)
    if not store.list("ledger/"):
        write(store, [*rows, pass_row(UNTIL)])
    return explain(tenant, *bills_of(store, "main", None, NOVEMBER), line=line, ledger=Ledger(store, "main"))


def said(document, meter):
    return [" ".join(line["sentences"]) for line in document["lines"] if line["meter"] == meter]


def ran(plan, hours, tenant="acme"):
    ups = [(at(2026, 11, 3), at(2026, 11, 3) + int(hours * HOUR_MS))]
    return [plan_row(tenant, BORN, plan), *machine_rows(tenant, BORN, ups, UNTIL)]


def test_what_is_beyond_the_allowance_is_said_step_by_step(tmp_path):
    rows = [*ran("aether/pro", 212.5), *volume_rows("acme", BORN, 20, "12", UNTIL)]
    document = told(tmp_path, rows)
    assert (document["total"], document["observed_until"]) == ("22.25", document["end"])
    assert said(document, "base") == ["aether Pro (aether/pro) costs 20.00 USD a month. It was in force for the whole month: 20.00 USD."]
    assert said(document, "running_hours") == [
        (
            "Running, proven second by second: 212 h 30 min 0 s. Running time is counted in whole seconds: 212.5 hours."
            " Included are 200 hours. Beyond that: 12.5 hours x 0.1 USD = 1.25 USD."
        )
    ]
    assert "8640 GB-hours were used; over the month's 720 hours that is 12 GB on average." in said(document, "storage_gb")[0]


def test_rounding_is_said_of_the_total_and_of_the_cent(tmp_path):
    text = said(told(tmp_path, ran("ai-diy-roadmap/hourly", 13 + 1 / 3 - 0.001)), "running_hours")[0]
    assert "13 h 19 min 56 s" in text
    assert "The total, not each run, is rounded up to the next whole minute: 13.333333333 hours." in text
    assert text.endswith("= 66.666667, rounded once, half to even, to 66.67 USD.")


def test_tiers_and_what_lacks_to_the_minimum_are_said():
    tiers = (Tier(Decimal(100), Decimal("0.10")), Tier(None, Decimal("0.005")))
    held = plan(meters=(meter(price=None, tiers=tiers, warn_at=()),), minimum=Decimal("60.00"))
    half = used(held, end=NOVEMBER.start + 15 * DAY_MS, running=213 * HOUR_MS)
    bill = rate(NOVEMBER, [half])
    hours, least = (sentences_of(line, bill, half, {}, ()) for line in bill.lines[1:])
    assert hours[-4:] == [
        "Beyond that: 113 hours, each at the price of its tier.",
        "50 hours x 0.1 USD.",
        "63 hours x 0.005 USD.",
        "Together: 5.315, rounded once, half to even, to 5.32 USD.",
    ]
    assert least == [
        "A month on aether/pro costs at least 60.00 USD.",
        "It was in force from 2026-11-01T00:00:00Z until 2026-11-16T00:00:00Z: 1,296,000 of the month's 2,592,000 seconds.",
        "60.00 USD x 1,296,000 / 2,592,000 = 30.00 USD.",
        "Base price and use come to 15.32 USD; 14.68 USD are missing.",
    ]


def test_a_change_of_plan_prorates_base_and_allowance_in_words(tmp_path):
    document = told(tmp_path, [*ran("aether/pro", 110), plan_row("acme", at(2026, 11, 16), "aether/team")])
    base = said(document, "base")
    assert base[0].endswith("1,296,000 of the month's 2,592,000 seconds. 20.00 USD x 1,296,000 / 2,592,000 = 10.00 USD.")
    assert base[1].endswith("= 25.00 USD.")
    hours = said(document, "running_hours")
    assert "Included are 200 hours a month; for the 15 of 30 days on this plan, 100 hours." in hours[0]
    assert "Included are 500 hours a month; for the 15 of 30 days on this plan, 250 hours." in hours[1]


def test_credits_and_refusals_are_said(tmp_path):
    counts = [(BORN, 0), (at(2026, 11, 5), 2600)]
    rows = [*ran("llamasketch/starter", 1), *counter_rows("acme", "generations", counts), purchase_row("acme", at(2026, 11, 2), "pay_1")]
    document = told(tmp_path, rows)
    text = said(document, "generations")[0]
    assert "2,600 generations were completed." in text
    assert "500 generations were paid with credits bought before." in text
    assert "100 generations beyond that: refused, and never billed." in text
    pack = "One pack credits-500 was bought at 2026-11-02T00:00:00Z: 500 generations, payment pay_1. It costs 5.00 USD."
    assert said(document, "pack:credits-500") == [pack]


def test_time_that_nobody_can_prove_is_said_and_never_billed(tmp_path):
    rows = [row for row in ran("my-jarvis/usage", 10) if row["kind"] != "events"]
    text = said(told(tmp_path, rows), "running_hours")[0]
    assert "nobody can prove what was: never billed." in text


def test_hours_runs_and_events_add_up_to_the_line(tmp_path):
    document = told(tmp_path, ran("my-jarvis/usage", 10.25), line="running_hours")
    found = document["evidence"]
    assert [line["meter"] for line in document["lines"]] == ["running_hours"]
    assert sum(Decimal(row["running_s"]) for row in found["hours"]) == 36900
    assert sum(Decimal(row["running_s"]) for row in found["days"]) == 36900
    assert [row["seconds"] for row in found["spans"] if row["class"] == "running"] == ["36900"]
    events = [(row["at"], row["state"], row["id"]) for row in found["entries"] if row["kind"] == "event"]
    assert events[1:] == [("2026-11-03T00:00:00Z", "running", "acme-main-001"), ("2026-11-03T10:15:00Z", "stopped", "acme-main-002")]


def test_each_entry_stands_in_the_segment_and_line_that_are_named(tmp_path):
    found = told(tmp_path, ran("my-jarvis/usage", 3), line="running_hours")["evidence"]
    store = folder(tmp_path)
    hashes = {place["key"]: place["sha256"] for place in found["segments"]}
    for row in found["entries"]:
        data = store.get(row["segment"]).data
        assert hashlib.sha256(data).hexdigest() == hashes[row["segment"]]
        line = json.loads(gzip.decompress(data).splitlines()[row["line"] - 1])
        assert (line["kind"], line.get("id"), line["tenant"]) == (row["kind"], row["id"], "acme")
    assert sum(place["entries"] for place in found["segments"]) == len(found["entries"]) + found["polls"]["count"]


def test_a_run_over_the_months_start_shows_the_event_that_began_it(tmp_path):
    ups = [(NOVEMBER.start - 2 * HOUR_MS, NOVEMBER.start + 3 * HOUR_MS)]
    rows = [plan_row("acme", BORN, "my-jarvis/usage"), *machine_rows("acme", BORN, ups, UNTIL)]
    found = told(tmp_path, rows, line="running_hours")["evidence"]
    assert [row["state"] for row in found["entries"] if row["kind"] == "event"] == ["running", "stopped"]
    assert found["spans"][0]["from"] == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("line", "kinds"),
    [("base", {"plan"}), ("storage_gb", {"storage", "volume"}), ("builds", {"counter"})],
)
def test_each_kind_of_line_has_its_own_evidence(tmp_path, line, kinds):
    counts = counter_rows("acme", "builds", [(BORN, 0), (at(2026, 11, 5), 7)])
    other = counter_rows("acme", "others", [(BORN, 0), (at(2026, 11, 5), 9)])
    rows = [*ran("aether/pro", 1), *volume_rows("acme", BORN, 20, "12", UNTIL), *counts, *other]
    found = told(tmp_path, rows, line=line)["evidence"]
    assert {row["kind"] for row in found["entries"]} == kinds
    assert not [row for row in found["entries"] if row["subject"] == "others"]


def test_hours_that_count_by_any_activity_say_why(tmp_path):
    login = {"kind": "login", "tenant": "acme", "instance": "main", "at": at(2026, 11, 10, 9, 50), "id": "ray-1", "data": {"who": "0" * 16}}
    rows = [
        plan_row("acme", BORN, "ai-diy/standard"),
        *machine_rows("acme", BORN, [(at(2026, 11, 10, 12), at(2026, 11, 10, 12) + MINUTE)], UNTIL),
    ]
    found = told(tmp_path, [*rows, login], line="running_hours")["evidence"]
    assert [(row["hour"], row["logins"], row["counts"]) for row in found["hours"]] == [
        ("2026-11-10T09:00:00Z", 1, True),
        ("2026-11-10T12:00:00Z", 0, True),
    ]
    assert "login" in {row["kind"] for row in found["entries"]}


def test_another_tenants_entries_are_never_shown(tmp_path):
    rows = [*ran("my-jarvis/usage", 3), *ran("my-jarvis/usage", 5, tenant="acme-two")]
    found = told(tmp_path, rows, line="running_hours")["evidence"]
    assert {row["id"].rsplit("-", 2)[0] for row in found["entries"] if row["id"]} == {"acme"}


def test_a_line_that_is_not_there_is_told_which_are(tmp_path):
    with pytest.raises(UnknownLineError, match="Did you mean 'running_hours'"):
        told(tmp_path, ran("my-jarvis/usage", 3), line="running_hour")


def test_a_segment_that_cannot_be_read_is_named(tmp_path):
    told(tmp_path, ran("my-jarvis/usage", 3))
    store = folder(tmp_path)
    key = store.list("ledger/main/fly/2026-11/")[0][0]
    store.put(key, store.get(key).data[:-3])
    with pytest.raises(LedgerError, match=key):
        told(tmp_path, [], line="running_hours")
