"""Calls to vendors for one new tenant of a running fleet, and the longest chain of them that wait for each other; JSON on standard output.

The tenant pays and has one instance. Lists that a run makes once and the tunnel's token are counted apart. The chain is measured with
vendors that take a quarter of a second for each answer, so that calls which need not wait overlap.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from rowhouse.engine import Nursery
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.calling import calls_of
from tests.end_to_end.world import world

TENANT = "owner: {name: Delta GmbH, email: ops@delta.example}\nplan: shop/paid\n"
ANSWER_S = 0.25
WANTED = {"calls": 14, "chain": 8}


async def measured() -> dict[str, Any]:
    """Add a tenant to a fleet of two and read the vendors' log."""
    async with Nursery() as nursery:
        await nursery.ready()
        with tempfile.TemporaryDirectory() as folder:
            async with world(Path(folder) / "world", nursery) as made:
                ran = await made.up()
                if ran.code:
                    raise SystemExit(ran.failed())
                made.write("tenants/delta.yaml", TENANT)
                made.cloud.journal.clear()
                made.cloud.faults.add(Fault("slow", value=ANSWER_S, times=-1))
                ran = await made.up()
                if ran.code:
                    raise SystemExit(ran.failed())
                found = calls_of(made.cloud.journal.entries)
                chain = [f"{entry.vendor} {entry.method} {entry.path}" for entry in found.chain]
                return {**found.document(), "wanted_at_most": WANTED, "answer_s": ANSWER_S, "longest_chain": chain}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured()), indent=2))
