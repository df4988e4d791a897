"""The demo as a whole: a promise that does not hold ends it with exit code 1; where all hold, it ends with 0 and leaves nothing running."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rowhouse.demo import show
from rowhouse.demo.narrator import promise
from rowhouse.demo.stage import PromiseBrokenError

ROOT = Path(__file__).parents[2]
RUN_S = 280
NOT_CLONED = shutil.ignore_patterns(".git", ".venv", ".rowhouse", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build")


def test_a_promise_that_holds_is_silent_and_one_that_does_not_says_what_is_wrong():
    promise(truth=True, otherwise="the gate is open")
    with pytest.raises(PromiseBrokenError, match="the gate is open"):
        promise(truth=False, otherwise="the gate is open")


@pytest.mark.parametrize(
    ("otherwise", "code", "last"),
    [("the gate is open", 1, "The demo failed: the gate is open"), ("", 0, "All promises held; everything that was started is stopped.")],
)
def test_the_exit_code_is_that_of_the_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], otherwise: str, code: int, last: str
):
    async def play(_self: object) -> None:
        promise(not otherwise, otherwise)

    monkeypatch.setattr(show._Show, "play", play)
    assert asyncio.run(show.run(tmp_path, keep=False)) == code
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith(last)


def left_of(clone: Path) -> list[list[str]]:
    """Processes that run in the clone or were told of it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            told = [*process.cmdline(), process.cwd(), *process.environ().values()]
            if any(str(clone) in text for text in told):
                found.append(process.cmdline())
    return found


@pytest.mark.long
def test_the_demo_of_a_clone_keeps_its_promises_and_leaves_nothing_running(tmp_path: Path):
    clone = shutil.copytree(ROOT, tmp_path / "clone", ignore=NOT_CLONED, symlinks=True)
    (clone / ".venv").symlink_to(sys.prefix)  # as make sets one up
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROWHOUSE_", "PULUMI_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "rowhouse.cli", "demo"],
        cwd=clone,
        env={**kept, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert ran.stdout.strip().splitlines()[-1].startswith("All promises held; everything that was started is stopped.")
    assert (clone / ".rowhouse/demo/project").is_dir(), "another project's demo ran"
    assert left_of(clone) == []
