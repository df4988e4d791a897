"""The command as a whole."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from rowhouse.cli.app import app

ROOT = Path(__file__).resolve().parents[2]


def test_it_tells_its_version():
    ran = CliRunner().invoke(app, ["--version"])
    assert (ran.exit_code, ran.stdout) == (0, f"rowhouse {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}\n")
