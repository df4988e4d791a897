"""A town for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflows.github_stand_in import GitHubStandIn, running
from tests.workflows.town import Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with running(GitHubStandIn()) as hub:
        yield Town(tmp_path, hub).build()
