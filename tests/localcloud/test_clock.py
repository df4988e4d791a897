import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rowhouse.localcloud.clock import Clock, rfc3339

START = datetime(2026, 11, 1, tzinfo=UTC)


def test_time_begins_where_told_and_runs_on() -> None:
    async def body() -> None:
        clock = Clock(START)
        assert timedelta() <= clock.now() - START < timedelta(seconds=5)

    asyncio.run(body())


def test_skipped_timers_fire_in_order_each_at_its_own_time() -> None:
    async def body() -> None:
        clock, seen = Clock(START), []
        for seconds in (30.0, 10.0, 20.0):
            clock.call_at(START + timedelta(seconds=seconds), lambda: seen.append(round((clock.now() - START).total_seconds())))
        await clock.advance(60)
        assert seen == [10, 20, 30]
        assert clock.now() - START >= timedelta(seconds=60)

    asyncio.run(body())


def test_a_timer_set_by_a_timer_fires_in_the_same_skip() -> None:
    async def body() -> None:
        clock, seen = Clock(START), []

        def first() -> None:
            clock.call_later(5, lambda: seen.append(round((clock.now() - START).total_seconds())))

        clock.call_at(START + timedelta(seconds=10), first)
        await clock.advance(60)
        assert seen == [15]

    asyncio.run(body())


def test_a_cancelled_timer_does_not_fire_and_time_does_not_go_back() -> None:
    async def body() -> None:
        clock, seen = Clock(START), []
        clock.call_later(10, lambda: seen.append(1)).cancel()
        await clock.advance(20)
        assert seen == []
        with pytest.raises(ValueError, match="back"):
            await clock.advance(-1)

    asyncio.run(body())


def test_a_timer_fires_by_itself_when_real_time_reaches_it() -> None:
    async def body() -> None:
        clock = Clock(START)
        running = asyncio.create_task(clock.run())
        await asyncio.wait_for(clock.sleep(0.05), 2)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(body())


def test_a_clock_cancelled_while_it_is_woken_ends() -> None:
    async def body() -> None:
        clock = Clock(START)
        running = asyncio.create_task(clock.run())
        await asyncio.sleep(0.01)
        clock.call_later(3600, lambda: None)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=1)
        assert done == {running}

    asyncio.run(body())


def test_times_are_written_as_the_vendors_do() -> None:
    assert rfc3339(START) == "2026-11-01T00:00:00Z"


def test_processes_that_follow_it_know_of_a_leap_before_the_advance_is_over(tmp_path: Path) -> None:
    async def body() -> None:
        clock = Clock()
        clock.tell(tmp_path / "clock")
        assert float((tmp_path / "clock").read_text()) == 0
        await clock.advance(3600)
        assert 3590 < float((tmp_path / "clock").read_text()) <= 3600  # less what the leap itself took

    asyncio.run(body())
    assert [file.name for file in tmp_path.iterdir()] == ["clock"]
