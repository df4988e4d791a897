"""Options of the whole test run, and the one width that it prints in."""

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("rowhouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rowhouse")

for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TERM"):
    # Whoever runs the tests may sit in a narrow or colourful terminal: tables would fold, words would be cut by codes.
    os.environ.pop(_name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` writes golden files anew; read their difference before committing it."""
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")
