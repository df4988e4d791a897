"""The scheduled commands against the local cloud: what a pass and a close say to a script and to the shell."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.world import Ran, World, finished


async def said(made: World, *args: str) -> Ran:
    """Run `rowhouse ARGS --json`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rowhouse.cli", *args, "--json"),
        cwd=made.project,
        env=made.env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await finished(process)


def test_passes_and_a_close_by_command_say_success_only_when_everything_was_heard(play: Callable[..., None]) -> None:
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        clock = made.cloud.clock
        await clock.advance(1800)
        first = await said(made, "reconcile")
        assert (first.code, first.document["ok"], first.document["tenants"]) == (0, True, 2), (first.document, first.stderr)

        fault = made.cloud.faults.add(Fault("error_before", vendor="cloudflare", path="access_requests", status=503, times=-1))
        await clock.advance(3600)
        bad = await said(made, "reconcile")
        assert (bad.code, bad.document["ok"]) == (1, False)  # a heartbeat that looks at the exit code is withheld
        assert not bad.document["sources"]["cloudflare"]["complete"]
        assert bad.document["sources"]["fly"]["complete"]
        fault.times = 0

        now = clock.now()
        month = f"{now:%Y-%m}"
        end = (datetime(now.year, now.month, 1, tzinfo=UTC) + timedelta(days=32)).replace(day=1)
        await clock.advance((end - now).total_seconds() - 12 * 3600)
        await said(made, "reconcile")  # holds the drafts
        await clock.advance(12 * 3600 + 1800)
        waits = await said(made, "close", month)
        assert (waits.code, waits.document["state"], waits.document["finalized"]) == (1, "held", 0), (waits.document, waits.stderr)
        closed = await said(made, "close", month, "--yes")
        assert (closed.code, closed.document["state"], closed.document["tenants"]) == (0, "done", 2), (closed.document, closed.stderr)
        assert closed.document["finalized"] == 1
        await clock.advance(60)
        for path in ("plans/shop.yaml", "tenants/fern.yaml"):
            (made.project / path).unlink()  # bills follow what was applied, whatever became of the files
        after = await said(made, "reconcile")
        assert after.document["tenants"] == 2
        assert (after.code, after.document["month"]) == (0, f"{end:%Y-%m}"), (after.document, after.stderr)
        verified = await said(made, "ledger", "verify")
        assert (verified.code, verified.document["faults"]) == (0, [])

    play(scene)
