"""A tenant's summary: what a dashboard shows its customer."""

import json

import pytest

from rowhouse.usage.bills import bills_of
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.usage.summary import UnknownTenantError, summary
from tests.usage.books import at, counter_rows, folder, machine_rows, pass_row, plan_row, volume_rows, write

OCTOBER = Window.month("2026-10")
BORN = OCTOBER.start - DAY_MS
UNTIL = at(2026, 11, 21, 7)


def told(tmp_path, rows, tenant="acme", history=("2026-10", "2026-09")):
    store = write(folder(tmp_path), [*rows, pass_row(UNTIL)]).store

    def month(name):
        return bills_of(store, "main", None, Window.month(name))

    return summary(tenant, *month("2026-11"), history, month)


def ran(hours, october=0, plan="aether/free"):
    """Hours in November, from the 3rd on, and in October."""
    ups = [(at(2026, 10, 5), at(2026, 10, 5) + october * HOUR_MS)] if october else []
    ups += [(at(2026, 11, 3), at(2026, 11, 3) + int(hours * HOUR_MS))]
    return [plan_row("acme", BORN, plan), *machine_rows("acme", BORN, ups, UNTIL)]


def test_it_has_plan_period_limits_usage_with_percent_and_history(tmp_path):
    document = told(tmp_path, [*ran(42.5, october=38), *volume_rows("acme", BORN, 1, "0.2", UNTIL)])
    assert json.loads(json.dumps(document)) == document
    assert document["plan"] == "aether/free"
    assert document["period"] == {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert document["limits"] == {"builds": None, "running_hours": "50", "storage_gb": "1", "instances": 3}
    assert (document["usage"]["running_hours"], document["usage"]["running_hours_percent"]) == ("42.5", 85)
    assert (document["usage"]["instances"], document["usage"]["builds_percent"]) == (1, None)
    assert 0 < document["usage"]["storage_gb_percent"] < 20
    history = [(row["month"], row["running_hours"], row["overage_cost"], row["cost"]) for row in document["history"]]
    assert history[:2] == [("2026-11", "42.5", "0.00", "0.00"), ("2026-10", "38", "0.00", "0.00")]
    assert document["warnings"] == ["running hours: 85 % of 50 hours are used."]


def test_overage_is_what_is_beyond_the_base(tmp_path):
    document = told(tmp_path, ran(212.5, plan="aether/pro"), history=())
    assert document["cost"] == "21.25"
    assert [(row["overage_cost"], row["cost"]) for row in document["history"]] == [("1.25", "21.25")]
    assert document["warnings"] == ["running hours: all of 200 hours are used; 12.5 more cost 1.25 so far."]


@pytest.mark.parametrize(
    ("hours", "warning"),
    [(39.9, []), (40, ["80 % of 50 hours"]), (50, ["all of 50 hours are used; more is refused"]), (51, ["1 more were refused"])],
)
def test_warnings_begin_at_80_percent_and_say_when_more_is_refused(tmp_path, hours, warning):
    found = told(tmp_path, ran(hours), history=())["warnings"]
    assert len(found) == len(warning)
    assert all(part in text for part, text in zip(warning, found, strict=True))


def test_a_days_allowance_is_told_by_the_busiest_day(tmp_path):
    counts = [(BORN, 0), (at(2026, 11, 3), 0), (at(2026, 11, 3, 12), 25), (at(2026, 11, 9), 25), (at(2026, 11, 9, 12), 30)]
    rows = [plan_row("acme", BORN, "llamasketch/free"), *machine_rows("acme", BORN, [], UNTIL)]
    document = told(tmp_path, [*rows, *counter_rows("acme", "generations", counts)], history=())
    assert (document["limits"]["generations_per_day"], document["usage"]["generations"]) == ("20", "30")
    assert (document["usage"]["generations_busiest_day"], document["usage"]["generations_percent"]) == ("25", 125)


def test_a_change_of_plan_is_told_with_its_times(tmp_path):
    rows = [*ran(10, plan="aether/pro"), plan_row("acme", at(2026, 11, 16), "aether/team")]
    document = told(tmp_path, rows, history=())
    assert document["plan"] == "aether/team"
    assert [(each["plan"], each["from"]) for each in document["plan_changes"]] == [
        ("aether/pro", "2026-11-01T00:00:00Z"),
        ("aether/team", "2026-11-16T00:00:00Z"),
    ]
    assert document["limits"]["running_hours"] == "250"


def test_an_unknown_tenant_is_told_who_is_known(tmp_path):
    with pytest.raises(UnknownTenantError, match=r"'acmee' had no plan in 2026-11\. Did you mean 'acme'"):
        told(tmp_path, ran(1), tenant="acmee")
