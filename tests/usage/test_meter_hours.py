"""Active hours, and use by the clock hour."""

import pytest

from rowhouse.usage.model import Window
from tests.usage.metering import metered
from tests.usage.telling import HOUR, MINUTE, NOVEMBER, at, event, heard, plan, poll, ran, used


def login(hours, name):
    return {"kind": "login", "tenant": "acme", "at": at(hours), "id": name, "data": {"who": "0" * 16}}


def note(hour, minutes, *, gateway="g1"):
    data = {"minutes": minutes}
    about = {"kind": "activity", "tenant": "acme", "instance": "main", "subject": gateway, "at": at(hour), "id": f"{gateway}/{hour}/main"}
    return {**about, "value": str(sum(minutes.values())), "data": data}


def active(*rows, ref="ai-diy/standard"):
    return [one.active_hours for one in used([plan(ref), *rows])]


def test_each_clock_hour_with_any_running_counts_once():
    day = 9 * 24
    runs = [(9 + 50 / 60, 10 + 10 / 60), (10 + 30 / 60, 10 + 40 / 60), (23 + 59 / 60, 24 + 1 / 60)]
    rows = [row for number, (a, b) in enumerate(runs) for row in ran(day + a, day + b, machine=f"m{number}")]
    assert active(*rows) == [4]  # the golden bill of seed 001: 9.00


def test_logins_and_requests_count_as_much_as_running():
    assert active(login(5.5, "a"), login(5.6, "b"), login(7, "c"), note(8, {"07": 3}), *ran(8.2, 8.4)) == [3]


def test_a_run_that_ends_on_the_hour_does_not_touch_the_next():
    assert active(*ran(4, 5)) == [1]


def test_a_note_without_a_persons_minute_is_no_activity():
    assert active({**note(8, {}), "value": "12"}) == [0]


def test_an_hour_with_a_plan_change_counts_in_the_segment_where_it_was_first_active():
    change = plan("aether/pro", hours=10.5)
    assert active(change, login(10.2, "a"), login(10.7, "b")) == [1, 0]
    assert active(change, login(10.7, "b")) == [0, 1]
    assert active(change, note(10, {"29": 1, "40": 1})) == [1, 0]
    assert active(change, note(10, {"31": 1, "40": 1})) == [0, 1]
    assert active(change, *ran(10.4, 12.5)) == [1, 2]


def test_inferred_time_counts_only_where_the_plan_bills_it():
    gap = [event(0, "stopped"), event(1, "running"), heard(0, 1.5, 2), poll(5, "running", 4), poll(6, "running", 4)]
    assert active(*gap) == [3]  # hour 1 and, from the polls on, hours 4 and 5
    inferred = used([plan("ai-diy/standard"), *gap])[0].inferred_ms
    assert inferred == round((5 - 10 / 60 - 1.5) * HOUR)


def test_a_later_note_of_the_same_hour_replaces_the_earlier_one():
    connection, _ = metered([note(8, {"07": 1}), note(8, {"07": 1, "30": 4}), note(8, {"01": 2}, gateway="g2")], NOVEMBER)
    assert connection.execute("SELECT hour, requests FROM usage_hours").fetchall() == [(at(8), 7)]


def test_hours_add_up_to_what_was_used():
    rows = [plan(), *ran(2.5, 30.25)]
    connection, (one,) = metered(rows, NOVEMBER)
    hours = connection.execute("SELECT hour, running_ms, stopped_ms, unknown_ms FROM usage_hours ORDER BY hour").fetchall()
    assert [hour for hour, *_ in hours] == [at(hour) for hour in range(32)]
    assert sum(running for _, running, *_ in hours) == one.running_ms == round(27.75 * HOUR)
    assert hours[2][1:] == (HOUR // 2, HOUR // 2, 0)


@pytest.mark.parametrize("minutes", [15, 45])
def test_a_period_may_begin_and_end_inside_an_hour(minutes):
    period = Window(at(3) + minutes * MINUTE, at(5) + minutes * MINUTE)
    connection, (one,) = metered([plan(), *ran(2, 30)], period)
    assert one.running_ms == 2 * HOUR
    assert connection.execute("SELECT sum(running_ms), count(*) FROM usage_hours").fetchone() == (2 * HOUR, 3)
