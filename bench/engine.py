"""The embedded engine against the Pulumi CLI: same program, same in-memory provider, same machine, one run after the other.

Prints one JSON document: seconds and peak megabytes of the whole process tree for first up, no change, one change and destroy, with each
figure's pair where `pulumi` is on PATH; and the engine's own processor time for each resource at growing sizes. Usage:
`python bench/engine.py [--sizes 450,1000] [--flat 100,1000,5000] [--no-cli]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the tests' sandbox is beside it

from rowhouse import engine
from tests.engine.support import Sandbox, has_cli, sandbox

PROGRAM = """
import asyncio
count, changed = int(os.environ["BENCH_COUNT"]), os.environ.get("BENCH_CHANGE", "")

async def main():
    window = asyncio.Semaphore(48)

    async def one(index):
        async with window:
            group = None
            value = changed if index == 0 and changed else "v"
            thing = Thing(f"thing-{index}", value=value, key=f"k{index}", tags={f"t{n}": f"value {n}" for n in range(6)})
            await thing.id.future()

    await asyncio.gather(*(one(index) for index in range(count)))

pulumi.run(main)
"""


class Peak:
    """The largest sum of resident sizes of this process's tree while a block runs."""

    def __init__(self, *, own: bool) -> None:
        self.megabytes = 0.0
        self._own = own
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.1):
            total = me.memory_info().rss if self._own else 0
            for child in me.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.Error:
                    continue
            self.megabytes = max(self.megabytes, total / 1e6)


def timed(work: Callable[[], Any], *, own: bool) -> dict[str, float]:
    started = time.monotonic()
    with Peak(own=own) as peak:
        work()
    return {"seconds": round(time.monotonic() - started, 2), "megabytes": round(peak.megabytes)}


def life(box: Sandbox, up: Callable[[], None], destroy: Callable[[], None], *, own: bool) -> dict[str, dict[str, float]]:
    box.program(PROGRAM)
    figures = {"first_up": timed(up, own=own), "no_change": timed(up, own=own)}
    box.env["BENCH_CHANGE"] = "other"
    figures["one_change"] = timed(up, own=own)
    figures["destroy"] = timed(destroy, own=own)
    return figures


def embedded(folder: Path, count: int) -> dict[str, dict[str, float]]:
    box = sandbox(folder, MEMORY_QUICK="1", BENCH_COUNT=str(count))

    def good(result: engine.Result) -> None:
        assert not result.failures, result.failures[:3]

    return life(box, lambda: good(box.up()), lambda: good(box.destroy()), own=True)


def cli(folder: Path, count: int) -> dict[str, dict[str, float]]:
    box = sandbox(folder, MEMORY_QUICK="1", BENCH_COUNT=str(count))
    box.cli_init()
    common = ("-y", "--skip-preview", "--non-interactive", "--parallel", "32", "--stack", "organization/box/dev")
    return life(box, lambda: box.cli("up", *common) and None, lambda: box.cli("destroy", *common) and None, own=False)


def flat(folder: Path, counts: list[int]) -> dict[str, Any]:
    """The engine process's own processor time for each resource; the program's and the provider's are not in it.

    What a run costs without any resource (a key derivation, start and end) is measured first and taken off.
    """
    figures: dict[str, Any] = {}
    fixed: dict[str, float] = {}
    for count in [1, *counts]:
        spent: dict[str, float] = {}
        for turn in range(3 if count <= 100 else 1):  # a short run is mostly start and end: the best of three
            box = sandbox(folder / f"{count}-{turn}", MEMORY_QUICK="1", BENCH_COUNT=str(count))
            box.program(PROGRAM)
            first = asyncio.run(engine.up(box.project, "dev", box.options()))
            again = asyncio.run(engine.up(box.project, "dev", box.options()))
            gone = asyncio.run(engine.destroy(box.project, "dev", box.options()))
            for verb, result in (("first_up", first), ("no_change", again), ("destroy", gone)):
                spent[verb] = min(result.engine_cpu_s, spent.get(verb, result.engine_cpu_s))
        fixed = fixed or spent
        if count > 1:
            figures[str(count)] = {
                **{f"{verb}_cpu_ms": round((seconds - fixed[verb]) * 1000 / (count - 1), 3) for verb, seconds in spent.items()},
                "journal_bytes": round(first.journal_bytes / count),
            }
    figures["fixed_cpu_ms"] = {verb: round(seconds * 1000) for verb, seconds in fixed.items()}
    return figures


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default=[450, 1000])
    parser.add_argument("--flat", type=numbers, default=[100, 1000, 5000])
    parser.add_argument("--no-cli", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document: dict[str, Any] = {"cores": os.cpu_count(), "sizes": {}}
        for count in arguments.sizes:
            pair: dict[str, Any] = {"embedded": embedded(folder / f"embedded-{count}", count)}
            if has_cli() and not arguments.no_cli:
                pair["cli"] = cli(folder / f"cli-{count}", count)
                pair["ratio"] = {
                    verb: round(pair["embedded"][verb]["seconds"] / pair["cli"][verb]["seconds"], 3) for verb in pair["embedded"]
                }
            document["sizes"][str(count)] = pair
        document["flat"] = flat(folder, arguments.flat)
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
