"""What proves that a machine ran, example by example."""

import pytest

from rowhouse.usage.model import Window
from tests.usage.telling import HOUR, MINUTE, at, event, heard, plan, poll, ran, spans, used

LATE = 10 / 60  # hours by which a list may be late


def test_between_the_events_of_a_whole_list_a_machine_is_as_the_earlier_one_left_it():
    assert spans(ran(2, 5)) == [("stopped", 0, 2), ("running", 2, 5), ("stopped", 5, 5.5), ("unknown", 5.5, round(6 - LATE, 6))]


def test_two_polls_without_a_change_prove_the_time_between_them():
    rows = [*ran(2, 5)[:2], heard(0, 3, 2), poll(3, "running", 2), poll(100, "running", 2)]
    assert spans(rows) == [("stopped", 0, 2), ("running", 2, round(100 - LATE, 6))]


def test_passes_that_were_lost_cost_nothing_while_nothing_changed():
    every_hour = [poll(hour, "running", 2) for hour in range(3, 101)]
    start = [*ran(2, 5)[:2], heard(0, 3, 2)]
    assert spans([*start, *every_hour]) == spans([*start, every_hour[0], every_hour[-1]])


def test_three_days_of_silence_with_a_change_in_them_are_unknown_or_inferred():
    start = [*ran(2, 5)[:2], heard(0, 3, 2), poll(3, "running", 2)]
    stopped = spans([*start, poll(75, "stopped", 50), poll(76, "stopped", 50)])
    restarted = spans([*start, poll(75, "running", 50), poll(76, "running", 50)])
    assert stopped[2:] == [("unknown", 3, round(75 - LATE, 6)), ("stopped", round(75 - LATE, 6), round(76 - LATE, 6))]
    assert restarted[2:] == [("inferred", 3, round(75 - LATE, 6)), ("running", round(75 - LATE, 6), round(76 - LATE, 6))]


def test_a_lost_event_list_never_makes_one_run_of_two():
    rows = [
        event(0, "stopped"),
        event(1, "running"),
        heard(0, 1.5, 2),
        event(9, "running"),
        event(10, "stopped"),
        heard(9, 11, 2),
        poll(12, "stopped", 10),
    ]
    assert spans(rows)[1:4] == [("running", 1, 1.5), ("inferred", 1.5, 9), ("running", 9, 10)]


def test_a_list_of_which_a_line_was_lost_proves_nothing():
    whole = [event(0, "stopped"), event(1, "running"), event(2, "stopped"), event(3, "running"), heard(0, 4, 4), poll(5, "running", 3)]
    assert ("running", 3, 4) in spans(whole)
    without_the_stop = [row for row in whole if (row["kind"], row["at"]) != ("event", at(2))]
    assert [name for name, *_ in spans(without_the_stop)] == ["unknown"]


def test_more_events_than_a_list_holds_leave_a_gap_that_is_declared():
    """Failure library: more than 50 events between polls (Fly's API): the gap is bounded, never silent."""
    before = [event(0, "stopped"), event(1, "running"), heard(0, 1.5, 2)]
    newest = [event(6 + number / 60, "running" if number % 2 else "stopped") for number in range(50)]
    rows = [*before, *newest, heard(6, 7, 50), poll(8, "running", 6 + 49 / 60)]
    found = spans(rows)
    assert found[2] == ("unknown", 1.5, 6)
    assert sum(end - start for name, start, end in found if name == "running") == pytest.approx(0.5 + 24 / 60 + 11 / 60, abs=1e-4)


def test_events_forgotten_at_an_update_leave_what_was_heard_before_as_it_was():
    rows = [
        *[event(0, "stopped"), event(1, "running"), heard(0, 2, 2), poll(2, "running", 1), poll(3, "running", 1)],
        *[
            event(3.5, "stopped"),
            event(3.6, "running"),
            heard(3.5, 4, 2),
            poll(4, "running", 3.6, version="v2"),
            poll(5, "running", 3.6, version="v2"),
        ],
    ]
    found = spans(rows)
    assert found[1:] == [
        ("running", 1, round(3 - LATE, 6)),
        ("unknown", round(3 - LATE, 6), 3.5),
        ("stopped", 3.5, 3.6),
        ("running", 3.6, round(5 - LATE, 6)),
    ]


def test_an_orphaned_start_is_closed_by_the_next_polls_of_the_list():
    """Failure library: a start whose stop was never heard does not run on: the vendor's own state ends it within an hour."""
    rows = [
        event(0, "stopped"),
        event(1, "running"),
        heard(0, 2, 2),
        poll(2, "running", 1),
        poll(3, "stopped", 2.5),
        poll(4, "stopped", 2.5),
    ]
    found = spans(rows)
    assert found[1:] == [("running", 1, 2), ("unknown", 2, round(3 - LATE, 6)), ("stopped", round(3 - LATE, 6), round(4 - LATE, 6))]


def test_a_list_that_lags_within_its_time_never_adds_to_a_run():
    rows = [*ran(2, 5), poll(5.1, "running", 2), poll(5.15, "running", 2)]
    assert [span for span in spans(rows) if span[0] == "running"] == [("running", 2, 5)]


def test_polls_that_still_vouched_for_a_state_after_it_changed_prove_nothing():
    rows = [event(0, "stopped"), event(1, "running"), heard(0, 1.5, 2)]
    stale = [poll(hour, "running", 1) for hour in (2, 3, 4)]
    late = [poll(5, "running", 3.5), poll(6, "running", 3.5)]  # the list of hour 4 vouched for 3.83, and 3.5 had been
    assert spans([*rows, *stale, *late])[1:] == [
        ("running", 1, 1.5),
        ("inferred", 1.5, round(5 - LATE, 6)),
        ("running", round(5 - LATE, 6), round(6 - LATE, 6)),
    ]


def test_an_event_beats_a_poll_that_contradicts_it():
    rows = [event(0, "stopped"), event(1, "running"), event(3, "stopped"), heard(0, 3.5, 3), poll(2, "running", 1), poll(9, "running", 1)]
    found = spans(rows)
    assert [span for span in found if span[0] == "running"] == [("running", 1, 3)]
    assert found[-1][0] == "unknown"


def test_a_stop_with_a_time_after_the_list_that_had_it_counts_not_later_than_that_list():
    clock_ahead = event(4, "stopped", asof=at(3))
    rows = [event(0, "stopped"), event(1, "running"), clock_ahead, heard(0, 3, 3), heard(0, 6, 3), poll(7, "stopped", 3)]
    assert ("running", 1, 3) in spans(rows)


@pytest.mark.parametrize("last", ["stopped", "running"])
def test_of_an_event_of_the_second_in_which_its_list_was_read_only_that_moment_is_unknown(last):
    """A `Date` has whole seconds: what a list holds may be a moment later than the time that it vouches for."""
    before = "running" if last == "stopped" else "stopped"
    moment = 3 + 15 / HOUR
    rows = [event(0, before), event(moment, last, asof=at(3)), heard(0, 3, 1), heard(moment, 6, 1), poll(6.2, last, moment)]
    assert spans(rows)[:3] == [(before, 0, 3), ("unknown", 3, round(moment, 6)), (last, round(moment, 6), 6)]


def test_a_list_that_ends_before_a_millisecond_and_one_that_begins_with_it_are_without_a_break():
    moment = 1 / HOUR
    rows = [event(0, "stopped"), event(1, "running"), event(3, "stopped"), heard(0, 3 - moment, 2), heard(3, 6, 1), poll(6.2, "stopped", 3)]
    assert spans(rows)[:3] == [("stopped", 0, 1), ("running", 1, 3), ("stopped", 3, 6)]


def test_an_event_of_an_unknown_type_leaves_an_unknown_state_until_something_is_known_again():
    rows = [event(0, "stopped"), event(1, "running"), event(2, "unknown"), event(4, "stopped"), heard(0, 5, 4), poll(6, "stopped", 4)]
    assert spans(rows)[1:4] == [("running", 1, 2), ("unknown", 2, 4), ("stopped", 4, 5)]


@pytest.mark.parametrize("rows", [1, -1])
def test_of_two_events_in_one_millisecond_the_later_id_decides(rows):
    both = [event(2, "running", name="e2"), event(2, "stopped", name="e3")][::rows]
    assert ("running", 1, 2) in spans([event(0, "stopped"), event(1, "running"), *both, heard(0, 4, 4), poll(6, "stopped", 2)])


def test_of_two_events_in_one_millisecond_none_makes_it_run_unless_polls_say_so():
    rows = [event(0, "stopped"), event(2, "stopped", name="e2"), event(2, "running", name="e3"), heard(0, 4, 3)]
    assert spans([*rows, poll(6, "running", 2)])[1:] == [("unknown", 2, round(6 - LATE, 6))]
    proven = spans([*rows, poll(6, "running", 2), poll(7, "running", 2)])
    assert proven[1:] == [("unknown", 2, round(6 - LATE, 6)), ("running", round(6 - LATE, 6), round(7 - LATE, 6))]


def test_the_same_id_with_another_state_is_doubt():
    """Failure library: flexprice#612, the same id with a different payload: a conflict is never ignored."""
    rows = [event(0, "stopped"), event(1, "running", name="e1"), event(1, "stopped", name="e1"), event(3, "stopped"), heard(0, 4, 3)]
    assert spans([*rows, poll(6, "stopped", 3)])[1] == ("unknown", 1, 3)


def test_lines_told_twice_and_in_any_order_are_one():
    rows = ran(2, 5)
    assert spans([*reversed(rows), *rows]) == spans(rows)


def test_a_machine_replaced_by_another_goes_on_as_the_same_instance():
    second = [
        event(5, "stopped", machine="m2"),
        event(5.5, "running", machine="m2"),
        event(8, "stopped", machine="m2"),
        heard(5, 9, 3, machine="m2"),
    ]
    first = [*ran(2, 4)[:3], event(5, "gone"), heard(0, 5, 4), poll(9.5, "stopped", 8, machine="m2", created=5)]
    assert spans([*first, *second], table="instance_spans")[:5] == [
        ("stopped", 0, 2),
        ("running", 2, 4),
        ("stopped", 4, 5.5),
        ("running", 5.5, 8),
        ("stopped", 8, 9),
    ]


def test_two_machines_of_one_instance_at_once_run_once():
    rows = [*ran(2, 5), *ran(4, 7, machine="m2")]
    assert ("running", 2, 7) in spans(rows, table="instance_spans")
    assert used([plan(), *rows])[0].running_ms == 5 * HOUR


def test_two_instances_add_up():
    assert used([plan(), *ran(2, 5), *ran(4, 7, machine="m2", instance="lab")])[0].running_ms == 6 * HOUR


def test_the_life_of_a_machine_begins_with_its_making_and_ends_with_its_end():
    rows = [event(30, "stopped"), event(31, "running"), event(33, "gone"), heard(30, 33.5, 3), poll(34, "destroyed", 33, created=30)]
    later = poll(90, "stopped", 80, machine="m9", created=80)
    assert spans([*rows, later])[:2] == [("stopped", 30, 31), ("running", 31, 33)]
    assert all(end <= 33 or start >= 80 for _, start, end in spans([*rows, later]))


def test_a_machine_that_is_listed_again_after_it_was_missed_had_never_gone():
    """A list with a hole in it, and an answer that the machine is not there: no id comes back, so both were wrong."""

    def absent(hours):
        return {**poll(hours, "gone", 1, settle=0), "data": {"app": "a", "word": "absent"}}

    missed = absent(3)
    rows = [event(0, "stopped"), event(1, "running"), heard(0, 2, 2), poll(2, "running", 1), missed]
    assert spans(rows)[-1][2] <= 3
    again = [poll(4, "running", 1), poll(5, "running", 1)]
    assert spans([*rows, *again])[1:] == [("running", 1, round(5 - LATE, 6))]
    assert spans([*rows, *again, absent(6)])[1:] == [("running", 1, round(5 - LATE, 6))]


def test_a_run_over_the_end_of_the_month_is_split_there():
    """Failure library: a run was booked to the month in which it stopped."""
    rows = [*ran(2, 5)[:2], heard(0, 3, 2), plan(), poll(3, "running", 2), poll(800, "running", 2)]
    december = Window.month("2026-12")
    assert used(rows)[0].running_ms == (720 - 2) * HOUR
    assert used(rows, december)[0].running_ms == (800 - 720) * HOUR - 10 * MINUTE


def test_a_poll_without_a_time_of_change_proves_nothing():
    rows = [event(0, "stopped"), event(1, "running"), heard(0, 2, 2), poll(3, "running", None), poll(9, "running", None)]
    assert spans(rows)[1:] == [("running", 1, 2), ("unknown", 2, round(9 - LATE, 6))]


def test_where_the_time_of_a_change_is_cut_to_the_second_the_state_holds_from_the_next_one_on():
    cut = [poll(1, "running", 1, settle=0, created=0.5), poll(2, "running", 1, settle=0, created=0.5)]
    assert spans(cut)[-1] == ("running", round(1 + 1000 / HOUR, 6), 2)
