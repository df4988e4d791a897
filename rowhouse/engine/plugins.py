"""Finds and starts provider plugins.

Order: the folder that Pulumi.yaml names, a running one named by PULUMI_DEBUG_PROVIDERS, PATH, Pulumi's plugin cache, and last the small
providers of `rowhouse.engine.builtin`. Each has its own process group, so that a terminal's Ctrl-C reaches only the engine, which
then asks plugins to cancel. Does not: download anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from rowhouse.engine.client import ProviderClient
from rowhouse.engine.errors import PluginError
from rowhouse.wire.values import GRPC_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowhouse.engine.project import Project
    from rowhouse.wire.kit import Provider

_START_S = 60.0
_CANCEL_S = 1.0
_STOP_S = 5.0


class Plugin:
    """A running provider."""

    def __init__(self, client: ProviderClient) -> None:
        self.client = client
        self.builtin = False
        self._process: asyncio.subprocess.Process | None = None
        self._server: grpc.aio.Server | None = None
        self._provider: Provider | None = None
        self._drains: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """The process id; None for a provider inside this process."""
        return self._process.pid if self._process else None

    async def stop(self) -> None:
        """Cancel, interrupt, and kill what is left after 5 s. A provider that somebody else started is only let go."""
        if self._process is not None or self._server is not None:
            await self.client.cancel(_CANCEL_S)
        await self.client.channel.close(None)
        if self._server is not None:
            await self._server.stop(0.5)
        if self._provider is not None:
            await self._provider.close()
        process = self._process
        if process is not None:
            if process.returncode is None:
                _signal(process.pid, signal.SIGINT)
                try:
                    async with asyncio.timeout(_STOP_S):
                        await process.wait()
                except TimeoutError:
                    _signal(process.pid, signal.SIGKILL)
                    await process.wait()
            # A plugin's own children may hold its pipes open; they are not waited for.
            for drain in self._drains:
                drain.cancel()
            await asyncio.gather(*self._drains, return_exceptions=True)

    def interrupt(self) -> None:
        """Kill at once, for a run that is being torn down."""
        if self._process is not None and self._process.returncode is None:
            _signal(self._process.pid, signal.SIGKILL)


async def start(package: str, version: str, project: Project, engine: str, env: Mapping[str, str]) -> Plugin:
    """Start the plugin of a package and introduce the engine. Raises: PluginError, saying where it was looked for."""
    port = _debug_port(package, env)
    if port is not None:
        plugin = Plugin(_connect(package, port))
        await plugin.client.attach(engine)
    elif path := find(package, version, project, env):
        plugin = await _spawn(package, path, project, engine, env)
    else:
        plugin = await _builtin(package, version, env)
    try:
        await plugin.client.handshake(engine, project)
    except BaseException:
        await plugin.stop()
        raise
    return plugin


def find(package: str, version: str, project: Project, env: Mapping[str, str]) -> Path | None:
    """The executable of a package's plugin; None when there is none. Raises: PluginError when Pulumi.yaml names a folder without it."""
    name = f"pulumi-resource-{package}"
    if folder := project.plugins.get(package):
        path = folder / name
        if not os.access(path, os.X_OK):
            raise PluginError(f"{folder} holds no executable {name}; the embedded engine runs plugins only as executables")
        return path
    if env.get("PULUMI_IGNORE_AMBIENT_PLUGINS", "").lower() not in {"1", "true"}:
        on_path = shutil.which(name, path=env.get("PATH", os.defpath))
        if on_path:
            return Path(on_path)
    cache = Path(env.get("PULUMI_HOME") or Path(env.get("HOME") or "~").expanduser() / ".pulumi") / "plugins"
    exact = cache / f"resource-{package}-v{version}" / name
    if version and os.access(exact, os.X_OK):
        return exact
    return max((path for path in cache.glob(f"resource-{package}-v*/{name}") if os.access(path, os.X_OK)), default=None)


def _debug_port(package: str, env: Mapping[str, str]) -> int | None:
    for item in env.get("PULUMI_DEBUG_PROVIDERS", "").split(","):
        name, _, port = item.strip().partition(":")
        if name == package and port.isdecimal():
            return int(port)
    return None


def _connect(package: str, port: int) -> ProviderClient:
    return ProviderClient(package, grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=GRPC_OPTIONS))


async def _spawn(package: str, path: Path, project: Project, engine: str, env: Mapping[str, str]) -> Plugin:
    process = await asyncio.create_subprocess_exec(
        str(path),
        engine,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=project.program_dir,
        env=dict(env),
        process_group=0,
        limit=1 << 20,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[str] = deque(maxlen=20)

    async def drain(stream: asyncio.StreamReader) -> None:
        while line := await _line(stream):
            tail.append(line.decode(errors="replace").rstrip())

    errors = asyncio.create_task(drain(process.stderr))
    try:
        async with asyncio.timeout(_START_S):
            first = await _line(process.stdout)
        port = int(first.strip())
    except (TimeoutError, ValueError) as error:
        with contextlib.suppress(ProcessLookupError):
            _signal(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.wait({errors}, timeout=1)
        errors.cancel()
        said = "\n".join(tail) or "it printed nothing"
        raise PluginError(f"the plugin {package} did not start (exit code {process.returncode}): {said}") from error
    except BaseException:
        _signal(process.pid, signal.SIGKILL)
        errors.cancel()
        raise
    plugin = Plugin(_connect(package, port))
    plugin._process = process  # noqa: SLF001  # made here
    plugin._drains = [errors, asyncio.create_task(drain(process.stdout))]  # noqa: SLF001
    return plugin


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # a line longer than the limit: what it says is not needed
        return b"\n"


async def _builtin(package: str, version: str, env: Mapping[str, str]) -> Plugin:
    from rowhouse.engine import builtin  # costs an HTTP client: only when one is needed
    from rowhouse.wire.kit import start as serve

    provider = builtin.provider_for(package, env)
    if provider is None:
        wanted = f" at version v{version}" if version else ""
        raise PluginError(
            f"no resource plugin 'pulumi-resource-{package}' found in Pulumi.yaml, on PATH or in Pulumi's plugin folder{wanted}, and the "
            f"embedded engine serves none of its own (it serves: {', '.join(builtin.PACKAGES)})"
        )
    server, port = await serve(provider)
    plugin = Plugin(_connect(package, port))
    plugin.builtin = True
    plugin._server, plugin._provider = server, provider  # noqa: SLF001  # made here
    return plugin


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
