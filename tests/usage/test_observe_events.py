"""What a machine's events prove; failure library of peers.md section 5: '> 50 events between polls'."""

from typing import Any

import pytest

from rowhouse.usage.entries import Entry
from rowhouse.usage.fly_events import Machine, Reading, read_events, state_of
from rowhouse.usage.previous import MachineMark, Previous
from tests.usage.fly_world import MINUTE, START

BORN = START - 600 * MINUTE


def item(number: int, minute: float, kind: str, status: str, source: str = "flyd", **more: Any) -> dict[str, Any]:
    return {"id": f"E{number:03d}", "type": kind, "status": status, "source": source, "timestamp": BORN + int(minute * MINUTE)} | more


LAUNCH = item(0, 0, "launch", "created", "user")
STARTED = item(1, 1, "start", "started")
STOPPED = item(2, 61, "exit", "stopped")


def read(
    *oldest_first: dict[str, Any], mark: MachineMark | None = None, word: str = "started", at: int = START, updated: int = 0
) -> Reading:
    machine = Machine("m1", "acme-app", "acme", "main", "V1", word, BORN, updated or START - MINUTE)
    return read_events(machine, list(reversed(oldest_first)), at=at, asof=at - 200, mark=mark)


def states(reading: Reading) -> list[str | None]:
    return [entry.state for entry in reading.entries if entry.kind == "event"]


def covers(reading: Reading) -> list[tuple[int, int | None, str | None]]:
    return [(entry.at, entry.asof, entry.value) for entry in reading.entries if entry.kind == "events"]


def known(*entries: Entry) -> MachineMark:
    return Previous.of(entries).machines["m1"]


def test_a_list_that_begins_with_the_launch_proves_the_whole_life() -> None:
    reading = read(LAUNCH, STARTED, STOPPED)
    assert states(reading) == ["stopped", "running", "stopped"]
    assert covers(reading) == [(BORN, START - 200, "3")]
    assert reading.findings == ()


def test_only_what_is_new_is_told_again_and_the_span_begins_where_the_last_one_ended() -> None:
    mark = known(*read(LAUNCH, STARTED).entries)
    reading = read(LAUNCH, STARTED, STOPPED, mark=mark)
    assert states(reading) == ["stopped"]
    assert covers(reading) == [(BORN + MINUTE, START - 200, "2")]


@pytest.mark.parametrize("ahead_ms", [-199, 0, 15, 999])
def test_an_event_after_the_lists_vouched_time_ends_its_span_and_begins_the_next_one(ahead_ms: int) -> None:
    """A `Date` has whole seconds; an event that the list holds proves by itself that the list was read after it."""
    end = {**STOPPED, "timestamp": START + ahead_ms}
    first = read(LAUNCH, STARTED, end)
    assert covers(first) == [(BORN, START + ahead_ms - 1, "2")]
    assert [entry.asof for entry in first.entries if entry.id == "E002"] == [START + ahead_ms]
    again = read(LAUNCH, STARTED, end, item(3, 620, "start", "started"), mark=known(*first.entries), at=START + 60 * MINUTE)
    assert covers(again) == [(START + ahead_ms, START + 60 * MINUTE - 200, "2")]
    assert again.findings == ()


def test_a_host_whose_clock_is_ahead_of_the_answer_proves_nothing_beyond_the_answer() -> None:
    reading = read(LAUNCH, STARTED, {**STOPPED, "timestamp": START + 3000})
    assert [entry.asof for entry in reading.entries if entry.id == "E002"] == [START + 999]


def test_more_than_fifty_events_between_polls_leave_a_stretch_that_is_said_to_be_lost() -> None:
    mark = known(*read(LAUNCH, STARTED, at=BORN + 5 * MINUTE).entries)
    many = [item(10 + n, 100 + n, *(("start", "started") if n % 2 else ("exit", "stopped"))) for n in range(50)]
    reading = read(*many, mark=mark)
    (cover,) = [entry for entry in reading.entries if entry.kind == "events"]
    assert cover.data is not None
    assert cover.data["lost"] == {"from": BORN + 5 * MINUTE - 200, "to": BORN + 100 * MINUTE, "why": "full"}
    assert cover.at == BORN + 100 * MINUTE
    assert [finding.rule for finding in reading.findings] == ["fly.events-lost"]


def test_exactly_fifty_events_that_reach_back_to_what_is_known_lose_nothing() -> None:
    mark = known(*read(LAUNCH, STARTED).entries)
    many = [item(10 + n, 100 + n, *(("start", "started") if n % 2 else ("exit", "stopped"))) for n in range(49)]
    reading = read(STARTED, *many, mark=mark)
    assert reading.findings == ()
    assert covers(reading) == [(BORN + MINUTE, START - 200, "50")]


def test_a_new_version_resets_the_list_and_what_lies_between_is_lost() -> None:
    mark = known(*read(LAUNCH, STARTED, at=BORN + 5 * MINUTE).entries)
    reading = read(item(7, 50, "update", "replacing", "user"), item(8, 51, "start", "started"), mark=mark)
    (cover,) = [entry for entry in reading.entries if entry.kind == "events"]
    assert cover.data is not None
    assert cover.data["lost"]["why"] == "version"
    assert states(reading) == ["stopped", "running"]


def test_a_machine_first_seen_late_has_lost_its_beginning() -> None:
    reading = read(STOPPED, item(3, 70, "start", "started"))
    (cover,) = [entry for entry in reading.entries if entry.kind == "events"]
    assert cover.data is not None
    assert cover.data["lost"]["from"] == BORN


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("started", "running"),
        *[(word, "stopped") for word in ("created", "starting", "stopping", "stopped", "suspended", "failed", "replacing", "destroying")],
        *[(word, "gone") for word in ("destroyed", "replaced", "migrated")],
        *[(word, "unknown") for word in ("", "hibernating", "Started", "running")],
    ],
)
def test_only_started_is_billed_by_fly_and_an_undocumented_word_is_unknown(word: str, state: str) -> None:
    assert state_of(word) == state


@pytest.mark.parametrize("odd", [{"kind": "teleport", "status": "started"}, {"kind": "start", "status": "glowing"}])
def test_an_unknown_event_is_kept_verbatim_counts_as_unknown_and_is_a_finding(odd: dict[str, str]) -> None:
    reading = read(LAUNCH, STARTED, item(2, 30, **odd))
    last = [entry for entry in reading.entries if entry.kind == "event"][-1]
    assert last.data is not None
    assert (last.state, last.data["type"], last.data["status"]) == ("unknown", odd["kind"], odd["status"])
    assert [finding.rule for finding in reading.findings] == ["fly.event-unknown"]


def test_an_event_of_the_future_is_kept_and_marked_and_nothing_next_to_it_is_vouched_for() -> None:
    late = item(2, 700, "exit", "stopped")
    reading = read(LAUNCH, STARTED, late)
    kept = [entry for entry in reading.entries if entry.kind == "event"][-1]
    assert kept.data is not None
    assert (kept.state, kept.at, kept.data["marks"], kept.data["timestamp"]) == (
        "unknown",
        BORN + MINUTE + 1,
        ["future"],
        late["timestamp"],
    )
    assert covers(reading) == [(BORN, BORN + MINUTE, "2"), (START - 200, START - 200, "0")]
    assert [finding.rule for finding in reading.findings] == ["fly.event-time"]


def test_a_doubtful_event_stays_doubtful_when_its_time_has_come_and_is_told_once() -> None:
    late = item(2, 700, "exit", "stopped")
    mark = known(*read(LAUNCH, STARTED, late).entries)
    later = read(LAUNCH, STARTED, late, item(3, 720, "start", "started"), mark=mark, at=START + 300 * MINUTE)
    assert [entry.id for entry in later.entries if entry.kind == "event"] == ["E003"]
    assert covers(later)[-1][0] == BORN + 720 * MINUTE
    assert all(asof is not None and not (at < BORN + 710 * MINUTE < asof) for at, asof, _ in covers(later))


def test_events_out_of_order_are_both_doubtful() -> None:
    reading = read(LAUNCH, STARTED, item(2, 40, "exit", "stopped"), item(3, 30, "start", "started"), item(4, 90, "exit", "stopped"))
    marks = {entry.id: (entry.data or {}).get("marks") for entry in reading.entries if entry.kind == "event"}
    assert marks == {"E000": None, "E001": None, "E002": ["disorder"], "E003": ["disorder"], "E004": None}
    assert covers(reading) == [(BORN, BORN + MINUTE, "2"), (BORN + 90 * MINUTE, START - 200, "1")]


def test_an_event_without_a_time_is_kept_and_doubtful() -> None:
    reading = read(LAUNCH, STARTED, item(2, 0, "exit", "stopped") | {"timestamp": None})
    assert [entry.state for entry in reading.entries if entry.kind == "event"] == ["stopped", "running", "unknown"]
    assert covers(reading)[0] == (BORN, BORN + MINUTE, "2")


def test_events_of_the_same_millisecond_are_in_order() -> None:
    reading = read(LAUNCH, item(1, 1, "start", "starting", "user"), STARTED)
    assert reading.findings == ()
    assert covers(reading) == [(BORN, START - 200, "3")]


MOVED = item(2, 30, "launch", "created", "flyd")


def test_a_migration_neither_starts_nor_stops_a_machine() -> None:
    assert states(read(LAUNCH, STARTED, MOVED))[-1] == "running"
    assert states(read(LAUNCH, STARTED, STOPPED, item(3, 70, "launch", "created", "flyd"), word="stopped"))[-1] == "stopped"
    assert states(read(LAUNCH, STARTED, MOVED, item(3, 31, "start", "started")))[-2:] == ["unknown", "running"]
    assert states(read(LAUNCH, STARTED, MOVED, word="stopped"))[-1] == "unknown"


def test_of_a_request_only_how_it_ended_is_kept_because_the_rest_may_hold_secrets() -> None:
    ended = {"exit_code": 137, "oom_killed": True, "restarting": True}
    planted = {"config": {"env": {"KEY": "planted-secret"}}}
    for request in ({"exit_event": ended, **planted}, {"MonitorEvent": {"exit_event": ended}, **planted}):
        reading = read(LAUNCH, STARTED, STOPPED | {"request": request})
        assert "planted-secret" not in str(reading)
        assert reading.entries[2].data is not None
        assert reading.entries[2].data["request"] == {"exit_event": ended}


def test_an_event_without_an_id_has_one_of_its_kind_and_time() -> None:
    reading = read(LAUNCH, STARTED | {"id": None})
    assert reading.entries[1].id == f"start/started/{BORN + MINUTE}"


def test_an_empty_list_proves_nothing() -> None:
    assert read() == Reading((), ())
