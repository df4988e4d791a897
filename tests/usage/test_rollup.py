"""A rollup gives what the whole ledger gives, or is not used."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.meter import usage
from rowhouse.usage.meter_folds import Outdated
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.usage.rollup import covers_of, fold, metered, store_rollup, take_up
from rowhouse.vendors.store_file import FileStore
from tests.usage import metering
from tests.usage.simulator import make_world
from tests.usage.telling import HOUR, at, event, heard, plan, poll

START = Window.month("2026-11").start + 9 * DAY_MS
PERIOD = Window(START, START + 3 * DAY_MS)
VIEWS = ("usage_hours", "counter_hours", "segments", "instance_spans")


def shown(connection, view):
    if view == "instance_spans":  # a cut may leave two spans of one
        return connection.execute(
            "SELECT tenant, instance, class, sum(end_ms - start_ms) FROM instance_spans GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    return connection.execute(f"FROM {view} ORDER BY ALL").fetchall()


def in_two(rows, seen, settled):
    """Usage and tables of the whole, and of a rollup made when only what was seen by then was there; and how many tenants it folded."""
    whole, together = metering.metered(rows, PERIOD)
    connection = metering.connect()
    metering.load(connection, [row for row in rows if row["seen"] < seen])
    usage(connection, PERIOD)
    cut = fold(connection, PERIOD, settled_ms=settled)
    if cut is None:
        return None
    folded = connection.execute("SELECT count(*) FROM rollup WHERE part = 'cut'").fetchone()[0]
    metering.load(connection, [row for row in rows if row["seen"] >= seen], "fresh")
    apart = usage(connection, PERIOD, rollup="rollup", fresh="fresh")
    assert apart == together
    for view in VIEWS:
        assert shown(connection, view) == shown(whole, view)
    return folded


def folded_in_batch(seeds, seen, settled):
    """How many tenants were folded and came out the same; those whose past was told late are taken out, one after another."""
    worlds = {f"t{seed}": make_world(seed, *PERIOD) for seed in seeds}
    while True:
        try:
            return in_two([row for world in worlds.values() for row in world.rows], PERIOD.start + seen, settled)
        except Outdated as late:
            del worlds[str(late).split(":", maxsplit=1)[0]]


BATCHES = (
    st.lists(st.integers(0, 2**40), min_size=16, max_size=16, unique=True),
    st.integers(20 * HOUR_MS, 3 * DAY_MS + 3 * HOUR_MS),
    st.sampled_from((HOUR_MS, 6 * HOUR_MS, 18 * HOUR_MS)),
)


def examples(count):
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate), suppress_health_check=quiet)


@pytest.mark.xfail(reason="where an event is later than its list's asof, a fold may call time unknown that the whole does not; no pass uses it")
@examples(2)
@given(*BATCHES)
def test_folding_at_any_moment_gives_what_the_whole_gives(seeds, seen, settled):
    folded_in_batch(seeds, seen, settled)


@pytest.mark.long
@examples(200)
@given(*BATCHES)
def test_folding_at_any_moment_gives_what_the_whole_gives_in_many_worlds(seeds, seen, settled):
    folded_in_batch(seeds, seen, settled)


def test_many_tenants_are_folded_and_not_only_kept():
    assert folded_in_batch(range(1000, 1016), 2 * DAY_MS, 6 * HOUR_MS) > 5


# In the store


MONTH = Window.month("2026-11")


def told():
    """A machine that ran from hour 2 on, hour by hour, by the hour in which it was written."""
    yield -1, [plan()]
    yield 3, [event(0, "stopped"), event(2, "running"), heard(0, 3, 2), poll(3, "running", 2)]
    for hour in range(4, 120):
        yield hour, [poll(hour, "running", 2)]


def written(ledger, pairs):
    for hour, rows in pairs:
        entries = [Entry(**{name: value for name, value in metering.with_terms(row).items() if name != "source"}) for row in rows]
        stamp = datetime.fromtimestamp(at(hour) / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        assert ledger.append("fly", stamp, entries).written


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(FileStore(tmp_path / "store"), "main", cache=tmp_path / "cache")
    written(ledger, told())
    return ledger


MONTHS = ("2026-10", "2026-11")


def rolled(ledger):
    """A rollup of the ledger as it stands, in the store; its key."""
    connection = metering.connect()
    ledger.table(connection, months=MONTHS)
    usage(connection, MONTH)
    assert fold(connection, MONTH) == at(118 - 48)
    return store_rollup(ledger.store, "main", MONTH, connection, covers_of(ledger.stand(MONTHS)))


def taken_up(ledger):
    connection = metering.connect()
    return take_up(ledger.store, "main", MONTH, connection, ledger.stand(MONTHS))


def quickly(ledger, connection=None, *, worth=0):
    """As a pass meters: the table is there."""
    connection = connection or metering.connect()
    ledger.table(connection, since=MONTHS[0])
    return metered(ledger, connection, MONTH, MONTHS[0], worth=worth)


def by_whole(ledger):
    connection = metering.connect()
    ledger.table(connection, months=MONTHS)
    return usage(connection, MONTH)


def test_a_pass_takes_the_rollup_up_and_reads_only_what_came_since(ledger):
    assert rolled(ledger).startswith("derived/main/2026-11/20261105T230000Z-")
    written(ledger, [(120, [poll(120, "running", 2)]), (121, [poll(121, "running", 2)])])
    connection = metering.connect()
    found = quickly(ledger, connection)
    assert connection.execute("SELECT count(*) FROM fresh").fetchone() == (2,)
    assert found == by_whole(ledger)
    assert found[0].running_ms == 119 * HOUR - 10 * 60_000


def test_what_comes_late_and_changes_the_past_is_metered_from_the_whole(ledger):
    rolled(ledger)
    written(ledger, [(120, [event(5, "stopped"), event(6, "running"), heard(0, 120, 4)])])
    found = quickly(ledger)
    assert found == by_whole(ledger)
    assert found[0].running_ms < 119 * HOUR


def test_without_a_rollup_the_whole_is_metered(ledger):
    assert taken_up(ledger) is None
    assert quickly(ledger) == by_whole(ledger)


def test_a_damaged_rollup_is_not_used(ledger):
    key = rolled(ledger)
    data = ledger.store.get(key).data
    ledger.store.put(key, data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :])
    assert taken_up(ledger) is None
    assert quickly(ledger) == by_whole(ledger)


@pytest.mark.parametrize("data", [b"", b"PAR1 and no more", b"{}"])
def test_what_is_no_rollup_is_not_used_though_its_name_is_right(ledger, data):
    ledger.store.put(f"derived/main/2026-11/20261105T230000Z-{hashlib.sha256(data).hexdigest()}.parquet", data)
    assert taken_up(ledger) is None


def test_a_rollup_of_another_ledger_is_not_used(ledger, tmp_path):
    key = rolled(ledger)
    other = Ledger(FileStore(tmp_path / "other"), "main", cache=tmp_path / "cache2")
    written(other, [*list(told())[:-1], (119, [poll(119, "stopped", 118)])])
    other.store.put(key, ledger.store.get(key).data)
    assert taken_up(other) is None
    assert quickly(other) == by_whole(other)


def test_the_newest_rollup_that_can_be_used_is_used(ledger):
    first = rolled(ledger)
    ledger.store.put(first.replace("05T23", "06T23"), b"not one")
    assert taken_up(ledger) == covers_of(ledger.stand(MONTHS))


def rollups(ledger):
    return [key for key, _ in ledger.store.list("derived/")]


def test_a_pass_over_many_entries_leaves_a_rollup_and_the_next_one_of_that_day_none(ledger):
    assert quickly(ledger, worth=10_000) == by_whole(ledger)
    assert rollups(ledger) == []
    assert quickly(ledger) == by_whole(ledger)
    assert len(rollups(ledger)) == 1
    written(ledger, [(120, [poll(120, "running", 2)])])
    assert quickly(ledger) == by_whole(ledger)
    assert len(rollups(ledger)) == 1


def test_a_rollup_is_made_anew_after_a_day(ledger):
    quickly(ledger)
    written(ledger, [(145, [poll(145, "running", 2)])])
    assert quickly(ledger) == by_whole(ledger)
    assert len(rollups(ledger)) == 2


def test_nothing_is_folded_before_it_is_two_days_old(tmp_path):
    young = Ledger(FileStore(tmp_path / "store"), "main", cache=tmp_path / "cache")
    written(young, list(told())[:40])
    connection = metering.connect()
    young.table(connection, months=MONTHS)
    usage(connection, MONTH)
    assert fold(connection, MONTH) is None
