"""A month that begins with what is carried over comes out as it does from the whole ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rowhouse.usage.entries import COLUMNS
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.usage.opening import carried
from tests.usage.metering import connect, load, metered
from tests.usage.simulator import make_world

START = Window.month("2026-11").start + 9 * DAY_MS
PERIOD = Window(START, START + 2 * DAY_MS)
Row = Mapping[str, object]


def told_by(row: Row, at: int) -> bool:
    """Whether a row can have been written down by the passes up to `at`; what happened before may be told later, too."""
    return max(int(str(row.get(name) or 0)) for name in ("at", "asof")) < at


def opened(rows: Iterable[Row], at: int) -> list[dict[str, object]]:
    with connect() as connection:
        load(connection, rows)
        return [{name: value for name in COLUMNS if (value := getattr(entry, name)) is not None} for entry in carried(connection, at)]


def results(rows: list[Row], period: Window) -> tuple[object, ...]:
    connection, usage = metered(rows, period)
    with connection:
        return (
            connection.execute("FROM usage_hours ORDER BY ALL").fetchall(),
            connection.execute("FROM counter_hours ORDER BY ALL").fetchall(),
            connection.execute("FROM instance_spans ORDER BY ALL").fetchall(),
            sorted(usage, key=lambda one: (one.tenant, one.segment)),
        )


def law(function):
    quiet = settings(
        max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate), suppress_health_check=list(HealthCheck)
    )
    return quiet(given(seeds=st.lists(st.integers(0, 2**40), min_size=20, max_size=20, unique=True))(function))


def split(rows: list[Row], at: int) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if told_by(row, at)], [row for row in rows if not told_by(row, at)]


@law
def test_a_month_from_its_opening_is_as_from_the_whole_ledger(seeds: list[int]):
    """Through two openings, the second of which knows of what was before the first only what that one carried."""
    first, second = PERIOD.start - DAY_MS, PERIOD.start
    rows: list[Row] = [row for seed in seeds for row in make_world(seed, PERIOD.start - 2 * DAY_MS, PERIOD.end).rows]
    before, after = split(rows, first)
    short = [*opened(before, first), *after]
    earlier, later = split(short, second)
    shortest = [*opened(earlier, second), *later]
    assert len(shortest) < len(short) < len(rows)
    whole = results(rows, PERIOD)
    assert results(shortest, PERIOD) == whole
    assert results(later, PERIOD) != whole  # what is carried is needed


def entry(kind: str, at: int, subject: str, **columns: object) -> Row:
    return {"kind": kind, "tenant": "t", "instance": "main", "subject": subject, "at": at, "asof": at, **columns}


def test_what_is_carried_stands_in_the_ledger_word_for_word_and_only_from_before():
    rows = [entry("machine", PERIOD.start + hour * HOUR_MS, "m", state="started", id="v", data={"updated_at": 5}) for hour in range(-9, 9)]
    kept = opened(rows, PERIOD.start)
    assert all(row in rows for row in kept)
    assert [row["at"] for row in kept] == [PERIOD.start - 9 * HOUR_MS, PERIOD.start - HOUR_MS]


def test_a_machine_that_is_gone_for_long_is_carried_no_more():
    def last(days: int) -> list[dict[str, object]]:
        return opened([entry("machine", PERIOD.start - days * DAY_MS, "m", state="destroyed", data={})], PERIOD.start)

    assert (len(last(6)), len(last(8))) == (1, 0)


def test_of_the_plans_the_first_and_the_last_are_carried():
    plans: list[Row] = [
        {"kind": "plan", "tenant": "t", "subject": "aether/pro", "state": "active", "at": START - n * DAY_MS} for n in range(5)
    ]
    assert [row["at"] for row in opened(plans, START)] == [START - 4 * DAY_MS, START - DAY_MS]


def test_nothing_before_is_nothing_carried():
    assert opened([], START) == []
