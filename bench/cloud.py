"""Fifty tenants on the local cloud, the whole real program: first up, no change, one change, destroy; embedded engine against the CLI.

Prints one JSON document: seconds and peak megabytes of the command's process tree, each with its pair where `pulumi` is on PATH.
Usage: `python -m bench.cloud [--tenants 50] [--no-cli]`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from rowhouse.engine import Nursery
from tests.end_to_end.world import World, finished, world

SAMPLE_S = 0.05


async def measured(made: World, *verb: str) -> dict[str, float]:
    """One run of the command: seconds, and the largest sum of resident memory over its process tree."""
    began = time.monotonic()
    process = await made.start(*verb)
    peak = 0

    async def watch() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while True:
            total = 0
            with contextlib.suppress(psutil.Error):
                for one in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        total += one.memory_info().rss
            peak = max(peak, total)
            await asyncio.sleep(SAMPLE_S)

    watcher = asyncio.create_task(watch())
    ran = await finished(process)
    watcher.cancel()
    if ran.code != 0:
        raise SystemExit(f"{made.engine} {verb[0]}: {ran.failed()}")
    return {"seconds": round(time.monotonic() - began, 2), "megabytes": round(peak / 2**20)}


async def life(engine: str, count: int, nursery: Nursery) -> dict[str, Any]:
    """All four runs with one engine, on vendors of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with world(Path(folder) / "world", nursery, engine=engine) as made:
            for index in range(count):
                made.write(f"tenants/t{index:03}.yaml", f"owner: {{email: owner{index}@t{index:03}.example}}\nplan: shop/paid\n")
            for example in ("acme", "fern"):
                (made.project / f"tenants/{example}.yaml").unlink()
            found: dict[str, Any] = {"first up": await measured(made, "up", "--yes")}
            found["vendor calls"] = len(made.cloud.journal.entries)
            found["no change"] = await measured(made, "up", "--yes")
            made.write("tenants/t000.yaml", "owner: {email: owner0@t000.example}\nplan: shop/paid\nmembers: [new@t000.example]\n")
            found["one change"] = await measured(made, "up", "--yes")
            found["destroy"] = await measured(made, "destroy", "--yes", "--delete-data")
            return found


async def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--no-cli", action="store_true")
    wanted = parser.parse_args()
    async with Nursery() as nursery:
        await nursery.ready()
        document: dict[str, Any] = {"tenants": wanted.tenants, "embedded": await life("embedded", wanted.tenants, nursery)}
        if shutil.which("pulumi") and not wanted.no_cli:
            document["pulumi"] = await life("pulumi", wanted.tenants, nursery)
            document["ratio"] = {
                run: round(document["embedded"][run]["seconds"] / document["pulumi"][run]["seconds"], 3)
                for run in ("first up", "no change", "one change", "destroy")
            }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
