"""Options of the whole test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes golden files anew; read their difference before committing it."""
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")
