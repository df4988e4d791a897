"""Laws 1 to 5 of metering over generated worlds, and for each a mistake in a query that it notices.

A world is one tenant; a batch of them is metered at once, because tenants do not touch each other.
"""

import random
from functools import cached_property
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from tests.usage.metering import metered
from tests.usage.simulator import make_world

START = Window.month("2026-11").start + 9 * DAY_MS
PERIOD = Window(START, START + 3 * DAY_MS)
BATCH = 40
SEEDS = st.lists(st.integers(0, 2**40), min_size=BATCH, max_size=BATCH, unique=True)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a batch says which of its worlds fails; making it smaller would take minutes


def law(examples):
    def decorate(function):
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
        return settings(max_examples=examples, deadline=None, phases=PHASES, suppress_health_check=quiet)(given(SEEDS)(function))

    return decorate


class Batch:
    """Worlds, and what the meter (or a mutant of it) makes of them."""

    def __init__(self, seeds, mutation=None):
        self.worlds = {f"t{seed}": make_world(seed, *PERIOD) for seed in seeds}
        self.rows = [row for world in self.worlds.values() for row in world.rows]
        self.mutation = mutation

    def metered(self, rows, period):
        return metered(rows, period, self.mutation)

    @cached_property
    def once(self):
        """The connection and the usage of the whole period."""
        return self.metered(self.rows, PERIOD)


def inside(spans, within):
    """Whether each of the spans lies in one of the others, which are disjoint."""
    return all(any(x <= a and b <= y for x, y in within) for a, b in spans)


def overlap(spans, others):
    return sum(max(0, min(b, y) - max(a, x)) for a, b in spans for x, y in others)


def spans_by(connection, *columns):
    found = {}
    listed = ", ".join(columns)
    table = "spans" if "machine" in columns else "instance_spans"
    for *key, start, end in connection.execute(f"SELECT {listed}, start_ms, end_ms FROM {table} ORDER BY start_ms").fetchall():
        found.setdefault(tuple(key), []).append((start, end))
    return found


def hours_of(connection):
    return connection.execute("FROM usage_hours ORDER BY ALL").fetchall(), connection.execute("FROM counter_hours ORDER BY ALL").fetchall()


def horizon_of(connection):
    return min(PERIOD.end, connection.execute("SELECT max(horizon) FROM machines").fetchone()[0])


def told_life(world, until):
    """From the rows alone: when each machine was, by instance."""
    lives = {}
    for row in world.rows:
        if row["kind"] in {"machine", "events", "event"}:
            born, noted, listed = lives.setdefault((row["instance"], row["subject"]), ([], [], []))
            born.append(row["data"]["created_at"] if row["kind"] == "machine" else row["at"])
            if row["kind"] == "machine" and row["state"] == "destroyed":
                updated = row["data"]["updated_at"]
                listed.append(updated if updated % 1000 else updated + 1000)
            if row["kind"] == "event" and row["state"] == "gone":
                noted.append(row["at"])
    return {key: (min(born), min([until, *(noted or listed)])) for key, (born, noted, listed) in lives.items()}


def check_conservation(batch):
    """Law 1: every millisecond of an instance's life is in exactly one class, and they add up to the period."""
    connection, _ = batch.once
    until = horizon_of(connection)
    by_machine = spans_by(connection, "tenant", "instance", "machine")
    by_instance = spans_by(connection, "tenant", "instance")
    hourly = "SELECT tenant, instance, hour, running_ms + inferred_ms + stopped_ms + unknown_ms FROM usage_hours WHERE instance IS NOT NULL"
    by_hour = {}
    for tenant, instance, hour, lived in connection.execute(hourly).fetchall():
        assert lived <= HOUR_MS, (tenant, instance, hour)
        by_hour[tenant, instance] = by_hour.get((tenant, instance), 0) + lived
    for tenant, world in batch.worlds.items():
        lives = {}
        for (instance, machine), (born, died) in told_life(world, until).items():
            life = (max(born, PERIOD.start), min(died, until))
            spans = by_machine.get((tenant, instance, machine), [])
            if life[0] < life[1]:
                lives.setdefault(instance, []).append(life)
                assert (spans[0][0], spans[-1][1]) == life, (tenant, machine)
                assert [a for a, _ in spans[1:]] == [b for _, b in spans[:-1]], (tenant, machine)
            else:
                assert spans == [], (tenant, machine)
        for instance, parts in lives.items():
            whole = sum(any(x <= at < y for x, y in parts) * (until_ - at) for at, until_ in _cut(parts))
            spans = by_instance[tenant, instance]
            assert all(b <= c for (_, b), (c, _) in pairwise(spans)), (tenant, instance)
            assert sum(b - a for a, b in spans) == whole, (tenant, instance)
            assert by_hour[tenant, instance] == whole, (tenant, instance)


def _cut(spans):
    edges = sorted({edge for span in spans for edge in span})
    return list(pairwise(edges))


def check_replay(batch):
    """Law 2: duplicates, another order and polls repeated change nothing."""
    rng = random.Random(len(batch.rows))
    again = batch.rows + rng.sample(batch.rows, len(batch.rows) // 2)
    rng.shuffle(again)
    once, usage = batch.once
    twice, usage_again = batch.metered(again, PERIOD)
    assert usage_again == usage
    assert hours_of(twice) == hours_of(once)


def check_split(batch):
    """Law 3: by hour, by day and at once give the same."""
    whole, usage = batch.once
    parts, by_hour, by_count = [], [], []
    for at in range(PERIOD.start, PERIOD.end, DAY_MS):
        connection, found = batch.metered(batch.rows, Window(at, at + DAY_MS))
        parts += found
        hours, counts = hours_of(connection)
        by_hour += hours
        by_count += counts
    assert (sorted(by_hour, key=str), sorted(by_count, key=str)) == tuple(sorted(found, key=str) for found in hours_of(whole))
    for tenant in batch.worlds:
        at_once = [part for part in usage if part.tenant == tenant]
        by_day = [part for part in parts if part.tenant == tenant]
        for name in ("running_ms", "inferred_ms", "active_hours", "storage_gb_ms", "volume_gb_ms"):
            assert sum(getattr(part, name) for part in by_day) == sum(getattr(part, name) for part in at_once), (tenant, name)
        hourly = [row for row in by_hour if row[0] == tenant]
        if at_once and at_once[0].start == PERIOD.start and at_once[-1].end == PERIOD.end:
            assert sum(row[3] for row in hourly) == sum(part.running_ms for part in at_once), tenant
            assert sum(row[9] for row in hourly) == sum(part.volume_gb_ms for part in at_once), tenant
            assert sum(row[10] for row in hourly) == sum(part.storage_gb_ms for part in at_once), tenant


def check_never_over(batch):
    """Law 4: whatever was lost, nothing measured exceeds what was."""
    connection, usage = batch.once
    spans = spans_by(connection, "tenant", "instance", "class")
    for tenant, world in batch.worlds.items():
        for instance in world.machines:
            assert inside(spans.get((tenant, instance, "running"), []), world.ups(instance)), (tenant, instance)
        mine = [part for part in usage if part.tenant == tenant]
        assert [(part.start, part.end, part.plan.ref) for part in mine] == _merged(world.segments()), tenant
        for part in mine:
            assert part.running_ms <= world.running(part.start, part.end), tenant
            assert part.active_hours <= len(world.active_hours(part.start, part.end)), tenant
            assert part.volume_gb_ms <= world.volume_gb_ms(part.start, part.end), tenant
            assert part.storage_gb_ms <= world.storage_gb_ms(part.start, part.end), tenant
        assert sum(part.active_hours for part in mine) <= len(world.active_hours(*PERIOD)), tenant
        counted = sum(sum(hours.values()) for part in mine for hours in part.counters.values())
        assert counted <= sum(at < PERIOD.end for at in world.completions), tenant


def _merged(segments):
    found = []
    for start, end, plan in segments:
        if found and found[-1][2] == plan:
            found[-1] = (found[-1][0], end, plan)
        else:
            found.append((start, end, plan))
    return found


def check_declared(batch):
    """Law 5: what ran and was not measured lies in gaps that are declared."""
    connection, _ = batch.once
    until = horizon_of(connection)
    spans = spans_by(connection, "tenant", "instance", "machine", "class")
    totals = spans_by(connection, "tenant", "instance", "class")
    for tenant, world in batch.worlds.items():
        lives = told_life(world, until)
        for instance, machines in world.machines.items():
            ran = []
            for machine in machines:
                assert overlap(spans.get((tenant, instance, machine.id, "stopped"), []), machine.ups) == 0, (tenant, machine.id)
                if (instance, machine.id) in lives:
                    ran += machine.ups
            true = sum(b - a for a, b in _cut_to(ran, PERIOD.start, until))
            seen = {name: sum(b - a for a, b in totals.get((tenant, instance, name), [])) for name in ("running", "inferred", "unknown")}
            assert true - seen["running"] <= seen["inferred"] + seen["unknown"], (tenant, instance)


def _cut_to(spans, start, end):
    clipped = [(max(a, start), min(b, end)) for a, b in spans if a < end and b > start]
    return [(a, b) for a, b in _cut(clipped) if any(x <= a and b <= y for x, y in clipped)]


LAWS = (check_conservation, check_replay, check_split, check_never_over, check_declared)


def hold(seeds):
    batch = Batch(seeds)
    for check in LAWS:
        check(batch)


@law(5)
def test_the_laws_hold_in_every_world(seeds):
    hold(seeds)


@pytest.mark.long
@law(250)
def test_the_laws_hold_in_ten_thousand_worlds(seeds):
    hold(seeds)


MUTANTS = {
    "a_gap_is_left_out": (check_conservation, "spans", "WHERE start_ms < end_ms", "WHERE start_ms < end_ms AND class <> 'unknown'"),
    "machines_of_one_instance_add_up": (check_conservation, "instance_spans", "count(DISTINCT machine) > 1", "count(DISTINCT machine) > 9"),
    "a_reading_told_twice_counts_twice": (check_replay, "counted", "max(CAST(floor", "sum(CAST(floor"),
    "a_note_told_twice_counts_twice": (check_replay, "requests", "max(CAST(floor", "sum(CAST(floor"),
    "an_event_told_twice_is_two": (check_replay, "told", "coalesce(id, concat(", "concat(row_number() OVER (), concat("),
    "an_hour_is_a_millisecond_too_long": (check_split, "usage_hours", f"hour + {HOUR_MS}", f"hour + {HOUR_MS + 1}"),
    "a_count_is_booked_where_it_began": (check_split, "counted", "o.at_ms >= ", "o.since_ms >= "),
    "what_is_inferred_is_measured": (check_never_over, "spans", "THEN 'inferred'", "THEN 'running'"),
    "a_list_proves_without_its_events": (check_never_over, "islands", "= claimed", ">= 0"),
    "polls_prove_up_to_the_next_change": (check_never_over, "stretches", "least(hi, coalesce(next, hi)) AS hi", "coalesce(next, hi) AS hi"),
    "a_poll_proves_what_was_before_its_change": (check_never_over, "stretches", "greatest(lo, ", "least(lo, "),
    "a_volume_always_had_its_size": (check_never_over, "volume_steps", "greatest(o.lo, v.made)", "v.made"),
    "what_is_used_was_used_before": (check_never_over, "storage_steps", "least(o.micro_gb, ", "greatest(o.micro_gb, "),
    "a_total_counts_from_nothing": (check_never_over, "counted", "ELSE o.total - o.before END", "ELSE o.total END"),
    "a_gap_counts_as_stopped": (check_declared, "spans", "ELSE 'unknown' END", "ELSE 'stopped' END"),
    "an_unknown_word_counts_as_stopped": (check_declared, "told", "ELSE 0 END", "ELSE 1 END"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_law_notices_that(name):
    check, *mutation = MUTANTS[name]
    batch = Batch(range(12 if check in {check_replay, check_split} else BATCH), mutation)
    with pytest.raises(AssertionError, match=r"t\d+|assert "):
        check(batch)
