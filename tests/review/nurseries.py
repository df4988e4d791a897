"""One warm parent a session for whoever reviews: importing what a program imports costs more than most tests."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from rowhouse import engine


@pytest.fixture(scope="session")
def nursery() -> Iterator[tuple[asyncio.AbstractEventLoop, engine.Nursery]]:
    loop = asyncio.new_event_loop()
    made = engine.Nursery()
    loop.run_until_complete(made.__aenter__())
    yield loop, made
    loop.run_until_complete(made.__aexit__(None, None, None))
    loop.close()


@pytest.fixture
def warm(nursery: tuple[asyncio.AbstractEventLoop, engine.Nursery]) -> Iterator[None]:
    """Reviews start their programs from the shared parent."""
    loop, made = nursery
    loop.run_until_complete(made.ready())
    os.environ["ROWHOUSE_NURSERY"] = made.socket
    yield
    del os.environ["ROWHOUSE_NURSERY"]
