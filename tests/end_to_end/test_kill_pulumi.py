"""The real CLI or the plugin below it killed at any vendor call; `rowhouse up` again: the same end as if nothing had happened.

Moments and victims in turn, every call once. The CLI leaves a lock and unfinished creations behind; nobody clears them by hand here.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rowhouse.engine import Nursery
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.killing import DESTROY_CALLS, MOMENTS, UP_CALLS, cli_of, plugin_of
from tests.end_to_end.world import Ran, World, finished, world

pytestmark = [
    pytest.mark.long,
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]

SWEEP_CALLS = 4  # made by the command itself, before the CLI starts
CASES = [(moment, victim) for moment in MOMENTS for victim in ("cli", "plugin")]


def in_turn(calls: int) -> list[tuple[int, str, str]]:
    """Every call that the CLI and its plugins make."""
    return [(number, *CASES[number % len(CASES)]) for number in range(calls - SWEEP_CALLS)]


async def interrupted(made: World, verb: tuple[str, ...], number: int, moment: str, victim: str) -> tuple[Ran, Fault]:
    """Run a verb whose CLI or plugin is killed at the n-th vendor call of its kind."""
    process = await made.start(*verb)
    fault = Fault(moment, skip=number)  # type: ignore[arg-type]
    if victim == "cli":
        fault.find_pid = lambda: cli_of(process)
        fault.matches = lambda _vendor, _method, _path: cli_of(process) > 0  # type: ignore[method-assign]
    else:
        fault.find_pid = lambda: plugin_of(process)
        # Cloudflare's calls are made by another plugin.
        fault.matches = lambda vendor, _method, _path: vendor in {"fly", "stripe"} and plugin_of(process) > 0  # type: ignore[method-assign]
    made.cloud.faults.add(fault)
    ran = await finished(process)
    made.cloud.faults.clear()
    if fault.hits and victim == "cli":
        assert ran.code != 0, ran.failed()
    if not fault.hits:
        assert ran.code == 0, ran.failed()
    return ran, fault


def orphans(made: World) -> list[list[str]]:
    """Processes of the CLI that still work for this project."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.ppid() == 1 and process.environ().get("PULUMI_HOME") == str(made.folder / "home"):
                found.append(process.cmdline())
    return found


@pytest.fixture(scope="module")
def calm(runner: asyncio.Runner, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the vendors keep after an apply and a destroy that nothing disturbed."""
    kept: dict[str, object] = {}

    async def play(folder: Path) -> None:
        async with world(folder, nursery, engine="pulumi") as made:
            assert (ran := await made.up()).code == 0, ran.failed()
            kept["up"] = made.kept()
            assert (ran := await made.destroy()).code == 0, ran.failed()
            kept["destroy"] = made.kept()

    runner.run(play(tmp_path_factory.mktemp("calm") / "world"))
    return kept


@pytest.mark.parametrize(("number", "moment", "victim"), in_turn(UP_CALLS))
def test_an_apply_killed_at_a_call_converges(play: Callable[..., None], calm: dict[str, object], number: int, moment: str, victim: str):
    async def scene(made: World) -> None:
        await interrupted(made, ("up", "--yes"), number, moment, victim)
        assert orphans(made) == []
        again = await made.up()
        assert again.code == 0, again.failed()
        assert made.kept() == calm["up"]
        looked = await made.preview()
        assert (looked.ops, looked.document["leftovers"]) == ({}, []), looked.document

    play(scene, engine="pulumi")


@pytest.mark.parametrize(("number", "moment", "victim"), in_turn(DESTROY_CALLS))
def test_a_destroy_killed_at_a_call_converges(play: Callable[..., None], calm: dict[str, object], number: int, moment: str, victim: str):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        await interrupted(made, ("destroy", "--yes", "--delete-data"), number, moment, victim)
        assert orphans(made) == []
        again = await made.destroy()
        assert again.code == 0, again.failed()
        assert made.kept() == calm["destroy"]

    play(scene, engine="pulumi")
