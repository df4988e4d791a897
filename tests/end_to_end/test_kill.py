"""Killed at any vendor call and run again: the same end as if nothing had happened, nothing twice, nothing left over.

The processes are real and the signal is SIGKILL. Three moments of each call: before its effect, after the effect but before the answer,
after the answer but before the state is written. `make test` visits every call once, moments and victims in turn; `make test-long`
visits all of them.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rowhouse.engine import Nursery
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.world import Ran, World, finished, world

MOMENTS = ("kill_before", "kill_after", "kill_after_answer")
VICTIMS = ("engine", "plugin")
# Calls of an undisturbed run; the first test fails when a change makes it more, so that none is left unvisited.
UP_CALLS = 43
DESTROY_CALLS = 36
CASES = list(itertools.product(MOMENTS, VICTIMS))


def short(calls: int, step: int) -> list[tuple[int, str, str]]:
    """Every `step`-th call, with moments and victims in turn."""
    return [(number, *CASES[(number // step) % len(CASES)]) for number in range(0, calls, step)]


def rest(calls: int, visited: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """All that the short list leaves out."""
    return [case for case in ((number, *pair) for number in range(calls) for pair in CASES) if case not in visited]


SHORT_UP = short(UP_CALLS, 2)
SHORT_DESTROY = short(DESTROY_CALLS, 3)


@pytest.fixture(scope="session")
def undisturbed(runner: asyncio.Runner, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the vendors keep after an apply and after a destroy that nothing disturbed, and how many calls each took."""
    kept: dict[str, object] = {}

    async def play(folder: Path) -> None:
        async with world(folder, nursery) as made:
            assert (ran := await made.up()).code == 0, ran.failed()
            kept["up"], kept["up calls"] = made.kept(), len(made.cloud.journal.entries)
            made.cloud.journal.clear()
            assert (ran := await made.destroy()).code == 0, ran.failed()
            kept["destroy"], kept["destroy calls"] = made.kept(), len(made.cloud.journal.entries)

    runner.run(play(tmp_path_factory.mktemp("undisturbed") / "world"))
    return kept


def plugin_of(process: asyncio.subprocess.Process) -> int:
    """The plugin below an engine; 0 when there is none yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "rowhouse.provider" in " ".join(child.cmdline()):
                    return child.pid
    return 0


async def interrupted(made: World, verb: tuple[str, ...], number: int, moment: str, victim: str) -> tuple[Ran, Fault]:
    """Run a verb whose engine or plugin is killed at its n-th vendor call."""
    process = await made.start(*verb)
    fault = Fault(moment, skip=number, vendor="" if victim == "engine" else "(plugin)")  # type: ignore[arg-type]
    if victim == "engine":
        fault.pid = process.pid
    else:
        fault.find_pid = lambda: plugin_of(process)
        # Cloudflare's calls are made by the engine's own small provider, not by the plugin.
        fault.matches = lambda vendor, _method, _path: vendor in {"fly", "stripe"} and plugin_of(process) > 0  # type: ignore[method-assign]
    made.cloud.faults.add(fault)
    below = []
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.sleep(0.3)
        below = psutil.Process(process.pid).children(recursive=True)
    ran = await finished(process)
    made.cloud.faults.clear()
    _gone, alive = await asyncio.to_thread(psutil.wait_procs, below, timeout=10)
    assert not alive, f"left behind by the killed run: {[child.cmdline() for child in alive]}"
    return ran, fault


async def apply_killed(made: World, undisturbed: dict[str, object], number: int, moment: str, victim: str) -> None:
    first, fault = await interrupted(made, ("up", "--yes"), number, moment, victim)
    assert (first.code != 0) is (fault.hits == 1), first.failed()
    again = await made.up()
    assert again.code == 0, again.failed()
    assert made.kept() == undisturbed["up"]
    looked = await made.preview()
    assert looked.ops == {}, looked.document["changes"]


async def destroy_killed(made: World, undisturbed: dict[str, object], number: int, moment: str, victim: str) -> None:
    assert (ran := await made.up()).code == 0, ran.failed()
    first, fault = await interrupted(made, ("destroy", "--yes", "--delete-data"), number, moment, victim)
    assert (first.code != 0) is (fault.hits == 1), first.failed()
    again = await made.destroy()
    assert again.code == 0, again.failed()
    assert made.kept() == undisturbed["destroy"]


def test_no_call_is_left_unvisited(undisturbed: dict[str, object]):
    assert undisturbed["up calls"] <= UP_CALLS  # type: ignore[operator]
    assert undisturbed["destroy calls"] <= DESTROY_CALLS  # type: ignore[operator]


@pytest.mark.parametrize(("number", "moment", "victim"), SHORT_UP)
def test_an_apply_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))


@pytest.mark.parametrize(("number", "moment", "victim"), SHORT_DESTROY)
def test_a_destroy_killed_at_a_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest(UP_CALLS, SHORT_UP))
def test_an_apply_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: apply_killed(made, undisturbed, number, moment, victim))


@pytest.mark.long
@pytest.mark.parametrize(("number", "moment", "victim"), rest(DESTROY_CALLS, SHORT_DESTROY))
def test_a_destroy_killed_at_any_call_converges(
    play: Callable[..., None], undisturbed: dict[str, object], number: int, moment: str, victim: str
):
    play(lambda made: destroy_killed(made, undisturbed, number, moment, victim))
