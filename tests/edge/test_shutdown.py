"""A follower ends when it is told to, however close the order comes to an answer of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rowhouse.edge.activity import Activity
from rowhouse.edge.model import parse_route
from rowhouse.edge.routes import Directory
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import route


def following_routes(store: FileStore) -> Any:
    return Directory(store).follow(0)


def writing_activity(store: FileStore) -> Any:
    activity = Activity(store, "gw-1")
    activity.note(parse_route("routes/acme.example.json", route("acme.example", 1)))
    return activity.follow(0)


@pytest.mark.parametrize("steps", range(7))
@pytest.mark.parametrize("follower", [following_routes, writing_activity])
def test_a_cancellation_around_the_stores_answer_ends_the_follower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follower: Callable[[FileStore], Any], steps: int
) -> None:
    gates: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def gated(call: Callable[..., Any], *args: Any) -> Any:
        gate = asyncio.get_running_loop().create_future()
        gates.put_nowait(gate)
        await gate
        return call(*args)

    async def run() -> None:
        task = asyncio.create_task(follower(FileStore(tmp_path)))
        gate = await gates.get()
        gate.set_result(None)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        ended = task.cancelled()
        while not task.done():  # one that lost its order gets another, so that a failure ends too
            task.cancel()
            await asyncio.sleep(0)
        assert ended

    monkeypatch.setattr(asyncio, "to_thread", gated)
    asyncio.run(run())
