"""Observed and metered, a machine of the stand-in ran for exactly as long as the stand-in's own history says."""

import asyncio
from dataclasses import asdict
from pathlib import Path

import pytest

from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.entries import Entry
from rowhouse.usage.meter_spans import make_spans
from rowhouse.usage.model import Window
from rowhouse.usage.observe import observe
from rowhouse.usage.previous import Previous
from tests.localcloud.fly_support import account
from tests.usage.metering import connect, load
from tests.usage.test_observe_fly import MARK, source_of

HOUR_S = 3600
HOUR_MS = 3_600_000


def spans(entries: list[Entry], period: Window) -> dict[str, int]:
    connection = connect()
    load(connection, [asdict(entry) for entry in entries])
    make_spans(DuckEngine(connection), period)
    rows = connection.execute("SELECT class, CAST(sum(end_ms - start_ms) AS BIGINT) FROM spans GROUP BY class").fetchall()
    return dict(rows)


@pytest.mark.parametrize("lost", [set(), {2}, {1, 2, 3}])
def test_running_time_is_that_of_the_vendors_own_history(tmp_path: Path, lost: set[int]) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"metadata": MARK, "restart": {"policy": "on-failure"}})
            entries: list[Entry] = []
            previous = Previous()
            for hour in range(6):
                if hour in {1, 4}:
                    await it.clock.advance(600)
                    await it.post(machine, "stop")
                    await it.wait(machine, "stopped")
                    await it.clock.advance(1234)
                    await it.post(machine, "start")
                    await it.wait(machine)
                await it.clock.advance(HOUR_S)
                if hour in lost:
                    continue
                seen = await observe([source_of(it)], previous)
                assert seen.complete
                entries += seen.entries["fly"]
                previous = Previous.of(entries)
            end = int(it.clock.timestamp() * 1000) - 30 * 60_000
            born = min(entry.at for entry in entries if entry.kind == "event")
            ups = it.fly.machine(machine["id"]).ups
            true = sum(min(until * 1000 if until else end, end) - since * 1000 for since, until in ups if since * 1000 < end)
            found = spans(entries, Window(born, end))
            assert set(found) == {"running", "stopped"}
            assert abs(found["running"] - true) < 100
            assert sum(found.values()) == end - born

    asyncio.run(body())


def test_after_three_days_of_silence_nothing_is_billed_that_nobody_proves(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"metadata": MARK})
            await it.clock.advance(HOUR_S)
            first = await observe([source_of(it)], Previous())
            previous = Previous.of(first.entries["fly"])
            for _ in range(30):  # sixty events and more: the list holds the last fifty
                await it.post(machine, "stop")
                await it.wait(machine, "stopped")
                await it.clock.advance(HOUR_S)
                await it.post(machine, "start")
                await it.wait(machine)
                await it.clock.advance(HOUR_S)
            await it.clock.advance(12 * HOUR_S)
            second = await observe([source_of(it)], previous)
            assert any(finding.rule == "fly.events-lost" for finding in second.findings)
            await it.clock.advance(HOUR_S)
            entries = [*first.entries["fly"], *second.entries["fly"]]
            entries += (await observe([source_of(it)], Previous.of(entries))).entries["fly"]
            end = int(it.clock.timestamp() * 1000) - 30 * 60_000
            born = min(entry.at for entry in entries if entry.kind == "event")
            ups = it.fly.machine(machine["id"]).ups
            true = sum(min(until * 1000 if until else end, end) - since * 1000 for since, until in ups)
            found = spans(entries, Window(born, end))
            assert found["running"] <= true + 50  # events have whole milliseconds
            gap = found.get("unknown", 0) + found.get("inferred", 0)
            assert gap > 10 * HOUR_MS
            assert true - found["running"] <= gap
            assert sum(found.values()) == end - born

    asyncio.run(body())
