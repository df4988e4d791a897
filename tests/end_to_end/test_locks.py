"""One engine at a time on a stack, and a state that survives a torn line, damage and a full disk."""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.killing import interrupted
from tests.end_to_end.speaking import said, started
from tests.end_to_end.world import World


def state_folder(made: World) -> Path:
    return made.project / ".rowhouse" / "state" / "rowhouse" / "main"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


async def halted(made: World) -> asyncio.subprocess.Process:
    """An engine in the middle of an apply, stopped by the operating system: it holds its lock and does nothing."""
    process = await started(made, "up", "--yes")
    async with asyncio.timeout(30):
        while not made.cloud.journal.mutations():
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    seen = -1
    while seen != len(made.cloud.journal.entries):  # calls of the plugin that were under way end by themselves
        seen = len(made.cloud.journal.entries)
        await asyncio.sleep(0.4)
    return process


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a started command, and wait for all that it had started."""
    below = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
    _gone, alive = await asyncio.to_thread(psutil.wait_procs, below, timeout=10)
    assert alive == []


@pytest.mark.parametrize(
    "verb",
    [
        ("up", "--yes"),
        pytest.param(("destroy", "--yes", "--delete-data"), marks=pytest.mark.long),
        pytest.param(("refresh",), marks=pytest.mark.long),
    ],
    ids=lambda verb: verb[0],
)
def test_a_second_engine_is_told_who_holds_the_lock(play: Callable[..., None], verb: tuple[str, ...]):
    async def scene(made: World) -> None:
        first = await halted(made)
        try:
            before, asked = contents(state_folder(made)), len(made.cloud.journal.mutations())
            second = await said(made, *verb)
            assert second.code == 2, second.failed()
            assert f"process {first.pid} " in second.stderr
            assert "up --yes" in second.stderr
            assert "Traceback" not in second.stderr
            assert contents(state_folder(made)) == before
            assert made.cloud.journal.mutations()[asked:] == []
        finally:
            await ended(first)

    play(scene)


def test_a_halted_engine_goes_on_where_it_was(play: Callable[..., None], undisturbed: dict[str, object]):
    async def scene(made: World) -> None:
        first = await halted(made)
        try:
            assert (await said(made, "up", "--yes")).code == 2
            first.send_signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                _out, err = await first.communicate()
            assert first.returncode == 0, err.decode()
            assert made.kept() == undisturbed["up"]
        finally:
            await ended(first)

    play(scene)


@pytest.mark.long
def test_a_killed_engine_leaves_no_lock(play: Callable[..., None], undisturbed: dict[str, object]):
    async def scene(made: World) -> None:
        first = await halted(made)
        os.kill(first.pid, signal.SIGKILL)
        await ended(first)
        again = await made.up()
        assert again.code == 0, again.failed()
        assert made.kept() == undisturbed["up"]

    play(scene)


@pytest.mark.long
def test_a_torn_last_line_of_the_journal_is_dropped(play: Callable[..., None], undisturbed: dict[str, object]):
    async def scene(made: World) -> None:
        await interrupted(made, ("up", "--yes"), 12, "kill_after_answer", "engine")
        journal = state_folder(made) / "journal.jsonl"
        whole = journal.read_bytes()
        journal.write_bytes(whole + whole.splitlines()[-1][:40])
        again = await made.up()
        assert again.code == 0, again.failed()
        assert made.kept() == undisturbed["up"]
        assert (await made.preview()).ops == {}

    play(scene)


def test_a_damaged_journal_is_refused_and_left_as_it_is(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await interrupted(made, ("up", "--yes"), 12, "kill_after_answer", "engine")
        journal = state_folder(made) / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert len(lines) > 3
        lines[2] = lines[2].replace(b"rowhouse", b"rowhorse", 1)
        journal.write_bytes(b"".join(lines))
        asked = len(made.cloud.journal.mutations())
        ran = await said(made, "up", "--yes")
        assert ran.code == 2, ran.failed()
        assert "line 3 is damaged" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert journal.read_bytes() == b"".join(lines)
        assert made.cloud.journal.mutations()[asked:] == []

    play(scene)


@pytest.mark.parametrize("room", [pytest.param(2_000, marks=pytest.mark.long), 12_000, pytest.param(40_000, marks=pytest.mark.long)])
def test_a_full_disk_is_told_and_loses_nothing(play: Callable[..., None], undisturbed: dict[str, object], room: int):
    async def scene(made: World) -> None:
        # The kernel refuses every write that would make a file longer, as a full disk does; Python ignores the signal that comes with it.
        ran = await said(made, "up", "--yes", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
        assert ran.code in {1, 2}, ran.failed()
        assert "cannot be written" in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        again = await made.up()
        assert again.code == 0, again.failed()
        assert made.kept() == undisturbed["up"]
        assert (await made.preview()).ops == {}

    play(scene)


def test_a_state_folder_that_cannot_be_written_is_told_before_anything_is_asked(play: Callable[..., None]):
    async def scene(made: World) -> None:
        (made.project / ".rowhouse").mkdir(exist_ok=True)
        (made.project / ".rowhouse" / "state").write_text("a file where the folder should be")
        ran = await said(made, "up", "--yes")
        assert ran.code == 2, ran.failed()
        assert "cannot be read: Not a directory" in ran.stderr
        assert "Traceback" not in ran.stderr
        assert made.cloud.journal.mutations() == []

    play(scene)


@pytest.mark.long
def test_a_run_that_fails_gives_the_lock_back(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.cloud.faults.add(
            Fault("error_before", vendor="fly", method="POST", path="/v1/apps$", times=-1, status=422, body={"error": "no"})
        )
        assert (await made.up()).code == 1
        made.cloud.faults.clear()
        assert (await made.up()).code == 0

    play(scene)
