"""What is told while a run is under way, where there is no terminal."""

import io

import pytest
from rich.console import Console

from rowhouse.cli import progress
from rowhouse.cli.progress import Teller
from rowhouse.engine.report import Diagnostic
from rowhouse.engine.report import Progress as Moved


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Everything is told at once."""
    monkeypatch.setattr(progress, "_QUIET_S", -1.0)
    return io.StringIO()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Moved(1, 0, 151), "applying: 1 of 151 resources done, 0 s"),
        (Moved(122, 3, 151), "applying: 122 of 151 resources done, 3 under way, 0 s"),
        (Moved(151, 1, 140), "applying: 151 resources done, 1 under way, 0 s"),
        (Moved(151, 0, 151), "applying: 151 resources done, 0 s"),
    ],
    ids=["begun", "at work", "new ones", "done"],
)
def test_progress_says_what_is_so(told: io.StringIO, event: Moved, expected: str):
    Teller(Console(file=told, width=200), "applying").on_engine_event(event)
    assert told.getvalue() == f"{expected}\n"


def test_only_warnings_are_told_at_once(told: io.StringIO):
    teller = Teller(Console(file=told, width=200), "applying")
    for severity in ("info", "warning", "error"):
        teller.on_engine_event(Diagnostic(severity, f"an {severity}", ""))
    assert told.getvalue() == "warning: an warning\n"
    assert [severity for severity, _ in teller.diagnostics] == ["info", "warning", "error"]
