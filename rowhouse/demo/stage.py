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

    async def advance(self, seconds: float) -> str:
        """Move the virtual clock forward and give its new time."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.post(f"{self.urls['control']}/clock/advance", json={"seconds": seconds})
            answer.raise_for_status()
            return str(answer.json()["now"])

    async def calls(self) -> list[dict[str, Any]]:
        """Every request that the vendors saw."""
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.get(f"{self.urls['control']}/journal")
            answer.raise_for_status()
            return list(answer.json())


@contextlib.asynccontextmanager
async def local_cloud(folder: Path) -> AsyncIterator[Stage]:
    """Start the stand-ins in a process of their own; it ends with the block, and with this process.

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
        yield Stage(env=ready["env"], urls=ready["urls"], process=process)
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
