"""One first commit and one warm parent for all tests of reviews: making them costs more than most of the tests."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowhouse import engine
from tests.review.scratch import TENANTS, Scratch


@pytest.fixture(scope="session")
def first_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Scratch(tmp_path_factory.mktemp("first") / "clone", TENANTS).root


@pytest.fixture
def scratch(first_commit: Path, tmp_path: Path) -> Scratch:
    """A clone of one's own, at its first commit."""
    root = tmp_path / "clone"
    shutil.copytree(first_commit, root, symlinks=True)
    return Scratch.opened(root)


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
