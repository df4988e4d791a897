"""The real CLI or the plugin below it killed at any vendor call; `rowhouse up` again: the same end as if nothing had happened.

Every second call of each victim, and the moments in turn. The CLI leaves a lock and unfinished creations behind; nobody clears them by
hand here.
"""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from rowhouse.engine import Nursery
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.killing import MOMENTS, cli_of, none_unvisited, plugin_of, struck
from tests.end_to_end.world import Ran, World, finished, world

pytestmark = [
    pytest.mark.long,
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]

# Most calls of an undisturbed run while the CLI runs, and the plugin's own among them; see `killing.CALLS`.
CALLS = {"up": {"cli": 50, "plugin": 40}, "destroy": {"cli": 46, "plugin": 38}}
_MANY = 1_000_000
UP, DESTROY = ("up", "--yes"), ("destroy", "--yes", "--delete-data")


def in_turn(verb: str) -> list[tuple[int, str, str]]:
    """Every second call of each victim, the other half for each; each victim meets each moment equally often."""
    return [
        (number, MOMENTS[turn % len(MOMENTS)], victim)
        for first, victim in enumerate(("cli", "plugin"))
        for turn, number in enumerate(range(first, CALLS[verb][victim], 2))
    ]


def watching(process: asyncio.subprocess.Process, victim: str, moment: str, **options: int) -> Fault:
    """A rule for the calls that a victim below the command makes or, as the CLI, has made."""
    find = cli_of if victim == "cli" else plugin_of
    fault = Fault(moment, find_pid=lambda: find(process), **options)  # type: ignore[arg-type]
    # Cloudflare's calls are made by another plugin; those before the CLI starts, by the command itself.
    vendors = {"fly", "stripe"} if victim == "plugin" else {"fly", "stripe", "cloudflare"}
    fault.matches = lambda vendor, _method, _path: vendor in vendors and find(process) > 0  # type: ignore[method-assign]
    return fault


async def interrupted(made: World, verb: tuple[str, ...], number: int, moment: str, victim: str) -> tuple[Ran, Fault]:
    """Run a verb whose CLI or plugin is killed at its n-th vendor call."""
    process = await made.start(*verb)
    fault = made.cloud.faults.add(watching(process, victim, moment, skip=number))
    ran = await finished(process)
    made.cloud.faults.clear()
    return ran, fault


async def counted(made: World, *verb: str) -> dict[str, int]:
    """Run a verb that nothing disturbs: how many calls each victim made."""
    process = await made.start(*verb)
    rules = {victim: made.cloud.faults.add(watching(process, victim, "slow", skip=_MANY, times=0)) for victim in ("cli", "plugin")}
    ran = await finished(process)
    made.cloud.faults.clear()
    assert ran.code == 0, ran.failed()
    return {victim: _MANY - rule.skip for victim, rule in rules.items()}


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
            kept["up calls"], kept["up"] = await counted(made, *UP), made.kept()
            kept["destroy calls"], kept["destroy"] = await counted(made, *DESTROY), made.kept()

    runner.run(play(tmp_path_factory.mktemp("calm") / "world"))
    return kept


@pytest.mark.parametrize("verb", CALLS)
def test_no_call_is_left_unvisited(calm: dict[str, object], verb: str):
    none_unvisited(verb, calm, CALLS)


@pytest.mark.parametrize("verb", CALLS)
def test_each_victim_meets_each_moment_equally_often(verb: str):
    met = Counter((victim, moment) for _, moment, victim in in_turn(verb))
    assert set(met) == {(victim, moment) for victim in CALLS[verb] for moment in MOMENTS}
    for victim in CALLS[verb]:
        often = [met[victim, moment] for moment in MOMENTS]
        assert max(often) - min(often) <= 1


@pytest.mark.parametrize(("number", "moment", "victim"), in_turn("up"))
def test_an_apply_killed_at_a_call_converges(play: Callable[..., None], calm: dict[str, object], number: int, moment: str, victim: str):
    async def scene(made: World) -> None:
        first, fault = await interrupted(made, UP, number, moment, victim)
        struck("up", calm, first, fault, number, victim)
        assert orphans(made) == []
        again = await made.up()
        assert again.code == 0, again.failed()
        assert made.kept() == calm["up"]
        looked = await made.preview()
        assert (looked.ops, looked.document["leftovers"]) == ({}, []), looked.document

    play(scene, engine="pulumi")


@pytest.mark.parametrize(("number", "moment", "victim"), in_turn("destroy"))
def test_a_destroy_killed_at_a_call_converges(play: Callable[..., None], calm: dict[str, object], number: int, moment: str, victim: str):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        first, fault = await interrupted(made, DESTROY, number, moment, victim)
        struck("destroy", calm, first, fault, number, victim)
        assert orphans(made) == []
        again = await made.destroy()
        assert again.code == 0, again.failed()
        assert made.kept() == calm["destroy"]

    play(scene, engine="pulumi")
