"""What is told while a run is under way, where there is no terminal."""

import io

import pytest
from rich.console import Console

from rowhouse.cli import apply, progress
from rowhouse.cli.progress import Teller
from rowhouse.engine.report import Diagnostic
from rowhouse.engine.report import Progress as Moved
from rowhouse.review.changes import Change, Outcome


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


def test_what_is_only_foreseen_is_told_as_a_preview_until_somebody_agrees(told: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    teller = Teller(Console(file=told, width=200), "previewing")
    monkeypatch.setattr(apply.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(apply.typer, "confirm", lambda *_, **__: True)
    teller.on_engine_event(Moved(1, 0, 151))
    plan = Outcome(changes=[Change("create", "urn:pulumi:main::p::rowhouse:fly:App::a", "rowhouse:fly:App", "")])
    assert apply._asker(teller, "Apply?", "applying", [])(plan)
    teller.on_engine_event(Moved(2, 0, 151))
    assert [line.partition(":")[0] for line in told.getvalue().splitlines()] == ["previewing", "applying"]
