"""A town for each test, copied from one that is built once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.review.nurseries import nursery, warm  # noqa: F401 - fixtures
from tests.workflows.github_stand_in import GitHubStandIn, running
from tests.workflows.town import Town


@pytest.fixture(scope="session")
def first_town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("first"), GitHubStandIn()).build()


@pytest.fixture
def town(first_town: Town, tmp_path: Path, warm: None) -> Iterator[Town]:  # noqa: F811 - a fixture
    with running(GitHubStandIn()) as hub:
        folder = tmp_path / "town"
        shutil.copytree(first_town.folder, folder)
        copied = Town(folder, hub)
        copied.git("remote", "set-url", "origin", str(copied.bare))
        yield copied
