"""Event lists one after another, each read at any millisecond of the second of its `Date`: what they prove together is the whole truth."""

import random
from dataclasses import asdict

import pytest

from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.entries import Entry
from rowhouse.usage.fly_events import Machine, read_events
from rowhouse.usage.meter_spans import make_spans
from rowhouse.usage.model import Window
from rowhouse.usage.previous import Previous
from tests.usage.fly_world import START
from tests.usage.metering import connect, load

HOUR = 3_600_000


def changes(rng: random.Random) -> list[tuple[int, str]]:
    """A machine's starts and stops, some stops in the start's own millisecond, some seconds apart, some hours."""
    at, found = START, [(START, "created")]
    while at < START + 20 * HOUR:
        at += rng.choice((int(found[-1][1] != "started"), 1, 15, rng.randint(0, 999), rng.randint(0, 5000), rng.randint(0, 3 * HOUR)))
        found.append((at, "started" if found[-1][1] != "started" else "stopped"))
    return found


def looks(rng: random.Random, happened: list[tuple[int, str]]) -> list[int]:
    """When the lists were read: most of them right after something happened."""
    close = [at + rng.choice((0, 0, 1, 20, rng.randint(0, 999))) for at, _ in rng.sample(happened, len(happened) // 2)]
    return sorted({*close, *range(START + 1, START + 20 * HOUR, 2 * HOUR), happened[-1][0] + HOUR})


@pytest.mark.parametrize("seed", range(8))
def test_lists_that_miss_nothing_leave_no_stretch_unknown_and_bill_no_millisecond_too_much(seed: int) -> None:
    rng = random.Random(seed)
    happened = changes(rng)
    entries: list[Entry] = []
    for now in looks(rng, happened):
        listed = [
            {"id": f"E{number:03}", "type": "launch" if word == "created" else "start", "status": word, "source": "user", "timestamp": at}
            for number, (at, word) in enumerate(happened)
            if at <= now
        ]
        at, word = happened[len(listed) - 1]
        machine = Machine("m1", "acme-app", "acme", "main", "V1", word, START, at)
        date = now - now % 1000
        mark = Previous.of(entries).machines.get("m1")
        entries += read_events(machine, listed[::-1][:50], at=date, asof=date - rng.choice((0, 1000, 2000)), mark=mark).entries
    rng.shuffle(entries)

    until = max(entry.asof or 0 for entry in entries if entry.kind == "events")
    with connect() as connection:
        load(connection, [asdict(entry) for entry in entries])
        make_spans(DuckEngine(connection), Window(START, until))
        found = connection.execute("SELECT start_ms, end_ms, class FROM spans ORDER BY start_ms").fetchall()
    ends = [*(at for at, _ in happened[1:]), until]
    ran = sum(max(0, min(end, until) - at) for (at, word), end in zip(happened, ends, strict=True) if word == "started")
    assert {name for _, _, name in found} <= {"running", "stopped"}
    assert sum(end - start for start, end, name in found if name == "running") == ran
    assert (found[0][0], found[-1][1]) == (START, until)
