"""One first commit for all tests of reviews: making it costs more than most of the tests."""

import shutil
from pathlib import Path

import pytest

from tests.review.nurseries import nursery, warm  # noqa: F401 - fixtures
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
