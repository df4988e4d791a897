"""A warm parent that has imported a program's modules and forks a child for each run.

Importing pulumi_cloudflare takes seconds; a forked child makes its first call a few milliseconds later. The process is addressed over a
Unix socket, so others can use it too: `ROWHOUSE_NURSERY=<socket>` in their environment. See `nursery_server` for the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rowhouse.engine.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

MODULES = ("pulumi", "pulumi.runtime.stack", "pulumi_cloudflare")
_START_S = 120.0


class Nursery:
    """The warm parent; an async context manager. Entering starts it in the background, and the first use waits until it is ready."""

    def __init__(self, modules: Sequence[str] = MODULES, *, python: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        """Args: modules: imported beforehand, absent ones are passed over. python: the interpreter, default this one's."""
        self._modules = tuple(modules)
        self._python = python or Path(sys.executable)
        self._env = dict(os.environ if env is None else env)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Task[None] | None = None
        self.socket = ""
        """The address for ROWHOUSE_NURSERY."""

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="nursery-")
        self.socket = str(Path(self._folder.name) / "socket")
        server = Path(__file__).with_name("nursery_server.py")
        self._process = await asyncio.create_subprocess_exec(
            str(self._python), "-P", str(server), self.socket, *self._modules,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._env,
            process_group=0,
        )  # fmt: skip
        self._ready = asyncio.create_task(self._wait())
        return self

    async def ready(self) -> None:
        """Return when the modules are imported. Raises: PluginError when the process ended instead."""
        assert self._ready is not None, "use it as a context manager"
        await asyncio.shield(self._ready)

    async def _wait(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            raise PluginError("the nursery did not start; its own messages say why")

    @property
    def pid(self) -> int:
        """The parent's process id."""
        assert self._process is not None
        return self._process.pid

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._ready is not None
        self._process.stdin.close()
        self._ready.cancel()
        await asyncio.gather(self._ready, return_exceptions=True)
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
