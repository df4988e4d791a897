"""What the end-to-end tests share: one warm interpreter a session, and a way to run a coroutine as a test."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from rowhouse.engine import Nursery
from tests.end_to_end.world import World, world


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all: the warm interpreter belongs to it."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="session")
def nursery(runner: asyncio.Runner) -> Iterator[Nursery]:
    """The warm interpreter from which every program of these tests is forked."""
    made = Nursery()

    async def open_() -> None:
        await made.__aenter__()
        await made.ready()

    runner.run(open_())
    yield made
    runner.run(made.__aexit__(None, None, None))


@pytest.fixture
def play(runner: asyncio.Runner, nursery: Nursery, tmp_path: Path) -> Callable[..., None]:
    """Run a coroutine function with a fresh world."""

    def inner(scene: Callable[[World], Awaitable[None]], **options: object) -> None:
        async def staged() -> None:
            async with world(tmp_path / "world", nursery, **options) as made:
                await scene(made)

        runner.run(staged())

    return inner


@pytest.fixture(scope="session")
def undisturbed(runner: asyncio.Runner, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the vendors keep after an apply and after a destroy that nothing disturbed, and how many calls each took."""
    kept: dict[str, object] = {}

    def calls(made: World) -> dict[str, int]:
        vendors = [entry.vendor for entry in made.cloud.journal.entries]
        return {"engine": len(vendors), "plugin": len(vendors) - vendors.count("cloudflare")}

    async def play(folder: Path) -> None:
        async with world(folder, nursery) as made:
            assert (ran := await made.up()).code == 0, ran.failed()
            kept["up"], kept["up calls"] = made.kept(), calls(made)
            made.cloud.journal.clear()
            assert (ran := await made.destroy()).code == 0, ran.failed()
            kept["destroy"], kept["destroy calls"] = made.kept(), calls(made)

    runner.run(play(tmp_path_factory.mktemp("undisturbed") / "world"))
    return kept
