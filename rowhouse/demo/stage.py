"""The local cloud as a process of its own, and what a visitor of the demo needs of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from rowhouse.errors import RowhouseError

__all__ = ["PromiseBrokenError", "Stage", "local_cloud"]

_START_S = 30.0


class PromiseBrokenError(RowhouseError):
    """The demo showed something that must not be."""


@dataclass
class Stage:
    """A running local cloud."""

    env: dict[str, str]
    urls: dict[str, str]
    process: asyncio.subprocess.Process
    control: httpx.AsyncClient
    clock_file: Path
    """Tells by how many seconds the virtual clock is ahead of this machine's."""

    async def advance(self, seconds: float) -> str:
        """Move the virtual clock forward and give its new time."""
        return await self._moved({"seconds": seconds})

    async def advance_to(self, moment: datetime) -> str:
        """Move the virtual clock forward to a time that is not past, and give its new time."""
        return await self._moved({"to": moment.isoformat()})

    async def now(self) -> datetime:
        """The virtual time."""
        answer = await self.control.get("/clock")
        answer.raise_for_status()
        return datetime.fromisoformat(answer.json()["now"])

    async def uptime(self) -> list[dict[str, Any]]:
        """The truth about every machine: `id`, `app`, and `started`, the virtual seconds between which it ran."""
        answer = await self.control.get("/uptime")
        answer.raise_for_status()
        return list(answer.json()["machines"])

    async def _moved(self, how: dict[str, Any]) -> str:
        answer = await self.control.post("/clock/advance", json=how)
        answer.raise_for_status()
        return str(answer.json()["now"])


@contextlib.asynccontextmanager
async def local_cloud(folder: Path, *, start: datetime | None = None) -> AsyncIterator[Stage]:
    """Start the stand-ins in a process of their own; it ends with the block, and with this process.

    Rate limits are off: they count real time, and here a month takes a minute of it.
    Args: start: virtual time to begin at; now when absent.
    Raises: PromiseBrokenError when it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    log = (folder / "localcloud.log").open("wb")
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_TOKEN", "_KEY", "_PROXY", "_proxy"))}
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rowhouse.localcloud",
            "--dir",
            str(folder),
            "--until-parent-exits",
            "--no-limits",
            *(["--start", start.isoformat()] if start else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # an interrupt at the terminal is ours to hand on, in order
        )
    finally:
        log.close()
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        if not line:
            raise PromiseBrokenError(f"the local cloud did not start; see {folder / 'localcloud.log'}")
        ready = json.loads(line)
        async with httpx.AsyncClient(base_url=ready["urls"]["control"], trust_env=False, timeout=60) as control:
            yield Stage(ready["env"], ready["urls"], process, control, folder / "clock")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
