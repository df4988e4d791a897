"""Killed at any vendor call and run again: the same end as if nothing had happened, nothing twice, nothing left over.

The processes are real and the signal is SIGKILL. Three moments of each call: before its effect, after the effect but before the answer,
after the answer but before the state is written. `make test` visits some of them, moments and victims in turn; `make test-long`
visits every call at every moment with both victims.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

import psutil

from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.world import Ran, World, finished

MOMENTS = ("kill_before", "kill_after", "kill_after_answer")
VICTIMS = ("engine", "plugin")
# Most calls of an undisturbed run, all of them and the plugin's own (Fly and Stripe); a test fails when a change makes them more, so that
# none is left unvisited. They vary by a few: a machine may be asked once more whether it is well, a volume whether it is let go of.
CALLS = {"up": {"engine": 54, "plugin": 40}, "destroy": {"engine": 50, "plugin": 38}}
UP_CALLS, DESTROY_CALLS = CALLS["up"]["engine"], CALLS["destroy"]["engine"]
SLACK = 10
CASES = list(itertools.product(MOMENTS, VICTIMS))


def short(verb: str, step: int) -> list[tuple[int, str, str]]:
    """Every `step`-th call, with moments and victims in turn."""
    cases = [(number, *CASES[(number // step) % len(CASES)]) for number in range(0, CALLS[verb]["engine"], step)]
    return [(number % CALLS[verb][victim], moment, victim) for number, moment, victim in cases]


def rest(verb: str, visited: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """All that the short list leaves out."""
    every = ((number, moment, victim) for moment, victim in CASES for number in range(CALLS[verb][victim]))
    return [case for case in every if case not in visited]


def none_unvisited(verb: str, undisturbed: dict[str, Any], calls: Mapping[str, Mapping[str, int]] = CALLS) -> None:
    """Hold the numbers above, or others, against a run that nothing disturbed."""
    for victim, most in calls[verb].items():
        seen = undisturbed[f"{verb} calls"][victim]
        assert most - SLACK <= seen <= most, f"{verb}: {seen} calls of the {victim}, and CALLS says {most}"


def struck(verb: str, undisturbed: dict[str, Any], ran: Ran, fault: Fault, number: int, victim: str) -> None:
    """The kill came, unless the run was over before its number; and a run fails if and only if it came.

    Save for a plugin that dies after its last answer: it may have handed that on, and then nobody asks it again.
    """
    is_early = number < undisturbed[f"{verb} calls"][victim] - SLACK
    if is_early:
        assert fault.hits == 1, f"call {number} of the {victim} was never made"
    if ran.code != 0:
        assert fault.hits == 1, ran.failed()
    elif fault.hits:
        assert victim == "plugin", "the run went on without its engine"
        assert fault.kind == "kill_after_answer", "the run went well without an answer that it needs"
        assert not is_early, "the run went well without its plugin"


def plugin_of(process: asyncio.subprocess.Process) -> int:
    """The plugin below an engine; 0 when there is none yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "rowhouse.provider" in " ".join(child.cmdline()):
                    return child.pid
    return 0


def cli_of(process: asyncio.subprocess.Process) -> int:
    """The CLI below the command; 0 when there is none."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):
                if child.name() == "pulumi":
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


async def apply_killed(made: World, undisturbed: dict[str, Any], number: int, moment: str, victim: str) -> None:
    first, fault = await interrupted(made, ("up", "--yes"), number, moment, victim)
    struck("up", undisturbed, first, fault, number, victim)
    again = await made.up()
    assert again.code == 0, again.failed()
    assert made.kept() == undisturbed["up"]
    looked = await made.preview()
    assert looked.ops == {}, looked.document["changes"]


async def destroy_killed(made: World, undisturbed: dict[str, Any], number: int, moment: str, victim: str) -> None:
    assert (ran := await made.up()).code == 0, ran.failed()
    first, fault = await interrupted(made, ("destroy", "--yes", "--delete-data"), number, moment, victim)
    struck("destroy", undisturbed, first, fault, number, victim)
    again = await made.destroy()
    assert again.code == 0, again.failed()
    assert made.kept() == undisturbed["destroy"]
