"""What applying says when it is stopped."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rowhouse.cli import apply
from rowhouse.cli.app import app


@pytest.mark.parametrize("verb", ["up", "refresh"])
def test_an_interrupted_run_says_that_what_was_done_is_kept(monkeypatch: pytest.MonkeyPatch, verb: str):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(apply, "prepared", interrupted)
    ran = CliRunner().invoke(app, [verb])
    assert (ran.exit_code, ran.stdout) == (130, "")
    assert ran.stderr == f"interrupted: what was done is kept; run `rowhouse {verb}` again to go on\n"
