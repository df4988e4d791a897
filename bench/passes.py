"""A year of passes: the time of one in the last month against one in the first; JSON on standard output.

The vendors are in this process (the tests' own world). Between the measured stretches the vendors are only asked and remembered, every
three hours, and each month is closed; measured are whole passes at a month's end, each by a pipeline that begins with nothing but the
store and the cache on this machine. Times are of this process's CPU, medians. Exit code 1 when the limit is missed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.usage.passes import Pipeline
from rowhouse.vendors.store_file import FileStore
from tests.usage.world_pipeline import MINUTE, World, quiet

TENANTS: Final = 20
STEP: Final = 3 * HOUR_MS
MEASURED: Final = 15
MONTHS: Final = [f"2027-{month:02}" for month in range(1, 13)]
PLANS: Final = ("my-jarvis/usage", "ai-diy/standard", "aether/pro", "ai-diy-roadmap/basic")
WANTED: Final = {"ratio_below": 1.2}


async def measured(folder: Path) -> dict[str, Any]:
    """Live through the year."""
    start, end = Window.month(MONTHS[0]).start, Window.month(MONTHS[-1]).end
    world = World(start, folder / "cache", FileStore(folder / "store", durable=False))
    for number in range(TENANTS):
        runs = [(day + 7 * HOUR_MS + number * MINUTE, day + 15 * HOUR_MS) for day in range(start, end, DAY_MS)]
        world.lives(quiet(f"t{number:02}", start, end + DAY_MS, runs))
        world.truths[f"t{number:02}"].requests = [day + 9 * HOUR_MS for day in range(start, end, DAY_MS)]
        await world.begins(f"t{number:02}", PLANS[number % len(PLANS)])
    found: dict[str, Any] = {"tenants": TENANTS, "months": len(MONTHS), "passes": 0}
    with world.process() as pipeline:
        for month in MONTHS:
            found |= await _month(world, pipeline, month, found)
    found["segments"] = sum(key.endswith(".jsonl.gz") for key, _ in world.store.list("ledger/main/"))
    found["ratio"] = round(found["last_month_s"] / found["first_month_s"], 2)
    return found


async def _month(world: World, pipeline: Pipeline, month: str, found: dict[str, Any]) -> dict[str, Any]:
    window = Window.month(month)
    times: list[float] = []
    whole = window.end - MEASURED * HOUR_MS if month in {MONTHS[0], MONTHS[-1]} else window.end
    at = window.start + HOUR_MS
    while at < window.end:
        await world.to(at)
        found["passes"] += 1
        if at < whole:
            await pipeline.look()
            at += STEP
            continue
        began = time.process_time()
        result = await world.reconcile()
        times.append(time.process_time() - began)
        if not result.is_well:
            raise SystemExit(f"a pass was not well: {result.document()}")
        at += HOUR_MS
    await world.to(window.end + HOUR_MS)
    closing = await world.close_month(month)
    if closing.state != "done":
        raise SystemExit(f"{month} was not closed: {closing.document()}")
    print(f"bench: {month} closed", file=sys.stderr, flush=True)
    name = {MONTHS[0]: "first_month_s", MONTHS[-1]: "last_month_s"}.get(month)
    return {name: round(statistics.median(times[1:]), 3)} if name else {}


def main() -> int:
    """Print the document."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder)))
    within = found["ratio"] < WANTED["ratio_below"]
    print(json.dumps({**found, "wanted": WANTED, "within": within}, indent=2))
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
