"""Completions from running totals, and to which hour they are booked."""

import pytest

from rowhouse.usage.meter_counters import Counted, booked
from rowhouse.usage.model import DAY_MS, Window
from tests.usage.metering import metered
from tests.usage.telling import HOUR, NOVEMBER, START, at, plan, poll, used


def total(hours, value, *, volume="vol", counter="generations"):
    about = {"kind": "counter", "tenant": "acme", "instance": "main", "subject": counter, "at": at(hours), "value": str(value)}
    return {**about, "data": {"volume": volume}}


def new(hours=0):
    """The tenant comes with its machine, so that its first total counts from nothing."""
    return [plan("llamasketch/starter", hours=hours), poll(hours + 1, "stopped", hours, created=hours)]


def counted(*rows, period=NOVEMBER):
    """Completions by the hour, in hours after the period's start."""
    found = used([*rows], period)[0].counters.get("generations", {})
    return {(hour - START) / HOUR: n for hour, n in sorted(found.items())}


def test_what_was_added_is_booked_to_the_hour_of_the_later_reading():
    assert counted(*new(), total(1.2, 0), total(2.2, 7), total(3.2, 7), total(4.2, 9)) == {2: 7, 4: 2}


def test_the_first_total_of_a_new_tenant_counts_from_nothing():
    assert counted(*new(), total(2.5, 7)) == {2: 7}


def test_the_first_total_of_an_instance_that_was_there_before_is_where_counting_begins():
    rows = [plan("llamasketch/starter", hours=100), poll(101, "stopped", 0, created=-3000)]
    assert counted(*rows, total(102, 5000), total(103, 5003)) == {103: 3}


def test_a_lower_total_is_a_fresh_volume_and_counts_from_nothing():
    assert counted(*new(), total(2, 100), total(3, 4)) == {2: 100, 3: 4}


def test_a_volume_renamed_by_its_host_is_not_counted_again():
    assert counted(*new(), total(2, 100), total(3, 104, volume="vol_other")) == {2: 100, 3: 4}


def test_readings_that_were_lost_lose_no_completion():
    every = [total(hour, 3 * hour) for hour in range(1, 50)]
    assert sum(counted(*new(), *every).values()) == sum(counted(*new(), every[0], every[-1]).values()) == 147


def test_the_same_readings_twice_in_any_order_are_counted_once():
    every = [total(hour, 3 * hour) for hour in range(1, 9)]
    assert counted(*new(), *reversed(every), *every) == counted(*new(), *every)


def test_what_is_read_after_the_period_belongs_to_the_next_one():
    rows = [*new(), total(719, 10), total(721, 16)]
    assert counted(*rows) == {719: 10}
    assert counted(*rows, period=Window.month("2026-12")) == {721: 6}


def test_a_reading_counts_in_the_segment_in_which_it_was_made():
    rows = [*new(), total(1, 0), total(9, 4), plan("llamasketch/pro", hours=10), total(11, 9)]
    assert [sum(one.counters["generations"].values()) for one in used(rows)] == [4, 5]


def test_counters_of_other_names_are_none_of_the_plans_meters():
    connection, (one,) = metered([*new(), total(2, 5, counter="sprints")], NOVEMBER)
    assert one.counters == {}
    assert connection.execute("SELECT counter, hour, n FROM counter_hours").fetchall() == [("sprints", at(2), 5)]


def test_use_over_midnight_goes_where_allowance_is_left():
    day = [Counted(at(1), at(2), 15), Counted(at(23.5), at(24.5), 10), Counted(at(30), at(31), 18)]
    assert booked(day, START, 20, DAY_MS) == {at(2): 15, at(23): 5, at(24): 5, at(31): 18}


def test_use_over_midnight_that_fits_nowhere_is_booked_to_the_later_day():
    day = [Counted(at(1), at(2), 20), Counted(at(23.5), at(24.5), 10), Counted(at(30), at(31), 20)]
    assert booked(day, START, 20, DAY_MS) == {at(2): 20, at(24): 10, at(31): 20}


@pytest.mark.parametrize("n", [0, 1, 19, 20, 21, 200])
def test_nothing_is_lost_or_doubled_by_booking(n):
    day = [Counted(at(23), at(72.5), n), Counted(at(72.5), at(73.5), 3)]
    assert sum(booked(day, START, 20, DAY_MS).values()) == n + 3


def test_nothing_is_booked_before_its_segment_began():
    assert min(booked([Counted(at(0), at(50), 60)], at(30), 20, DAY_MS)) >= at(30)


def test_a_daily_allowance_is_not_exceeded_by_a_silence_of_three_days():
    """Sixty in three silent days of a plan with twenty a day: none is refused."""
    rows = [plan("llamasketch/free", hours=0), poll(1, "stopped", 0), total(23.9, 0), total(95.9, 60)]
    hours = used(rows)[0].counters["generations"]
    by_day = {}
    for hour, n in hours.items():
        by_day[(hour - START) // DAY_MS] = by_day.get((hour - START) // DAY_MS, 0) + n
    assert sum(by_day.values()) == 60
    assert max(by_day.values()) <= 20
