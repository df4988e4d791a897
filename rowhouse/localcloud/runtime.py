"""Machines as processes of this computer: start, stop, suspend, end by memory, notice a crash.

A started machine is a real process in a group of its own with its own folder and log. Nothing is isolated beyond
that: a machine sees this computer's files. Not here: states, events, policies (fly_lifecycle.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from rowhouse.localcloud.guardian import Guardian
from rowhouse.localcloud.images import Image

__all__ = ["Connect", "Exit", "Launch", "Running", "Runtime", "free_port", "port_answers"]

_SAMPLE_S = 0.25  # how often memory is looked at
_TREE_EVERY = 4  # children are looked for each so many samples: reading all processes costs more
_HEALTH_PORT = "ROWHOUSE_GATEWAY_HEALTH_PORT"  # an edge's second port, for the checks of its machine
_ports_given: set[int] = set()


class Connect(Protocol):
    """What registers a tunnel's origin at Cloudflare."""

    def __call__(self, tunnel_token: str, origin: str, *, follows_clock: bool) -> Callable[[], None]:
        """Give what ends it. `follows_clock`: the origin has virtual time, not this computer's."""


def free_port() -> int:
    """A port nobody listens on, below the range from which outgoing connections take theirs.

    Raises: OSError when none was found in 200 tries.
    """
    for _ in range(200):
        port = random.randint(20000, 32000)  # noqa: S311 - spreads local clouds, guards nothing
        if port in _ports_given:
            continue
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _ports_given.add(port)
            return port
    raise OSError("no free port between 20000 and 32000")


async def port_answers(port: int, *, within_s: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """Whether something accepts connections on the port before the time is over (real seconds)."""
    end = asyncio.get_running_loop().time() + within_s
    while alive():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return True
    return False


@dataclass(frozen=True)
class Exit:
    """How a process ended."""

    code: int  # 128 + signal when a signal ended it
    signal: int  # -1: none
    oom_killed: bool


@dataclass(frozen=True)
class Launch:
    """What to start."""

    machine_id: str
    image: Image
    env: Mapping[str, str]
    memory_mb: int
    volume: tuple[str, str] | None = None  # (volume id, mount path)
    overrides: tuple[str, ...] = ()  # arguments instead of the image's
    tunnel_token: str = field(default="", repr=False)


@dataclass
class Running:
    """A started machine's process."""

    machine_id: str
    port: int
    process: asyncio.subprocess.Process
    memory_mb: int
    log: Path
    exited: asyncio.Future[Exit]
    suspended: bool = False
    oom_killed: bool = False
    disconnect: Callable[[], None] | None = None
    is_edge: bool = False
    follows_clock: bool = False
    """Whether it was told where virtual time is."""
    others: Mapping[int, int] = field(default_factory=dict)
    """Ports that it listens on besides, by the number that its configuration gives them."""

    def port_for(self, declared: int | None) -> int:
        """Where this computer has a port of the machine: all machines share its loopback, so each has numbers of its own here."""
        return self.others.get(declared or 0, self.port)

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return not self.exited.done()

    def send(self, number: int) -> None:
        """Send a signal to the whole group; an ended group is no error."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def suspend(self) -> None:
        """Freeze the group where it is."""
        self.send(signal.SIGSTOP)
        self.suspended = True

    def resume(self) -> None:
        """Let a frozen group go on."""
        self.send(signal.SIGCONT)
        self.suspended = False

    async def stop(self, number: int = signal.SIGTERM, timeout_s: float = 5.0) -> Exit:
        """Ask the group to end, end it when the time is over (real seconds); returns how it ended."""
        if self.suspended:
            number = signal.SIGKILL
        self.send(number)
        done, _ = await asyncio.wait({self.exited}, timeout=timeout_s)
        if not done:
            self.send(signal.SIGKILL)
        return await asyncio.shield(self.exited)


class Runtime:
    """All processes of one local cloud."""

    def __init__(self, directory: Path, *, connect: Connect | None = None) -> None:
        """Keep machines' and volumes' folders in `directory`; `connect` registers an edge at Cloudflare."""
        self.directory = directory
        self.connect = connect
        self.proxy_url: Callable[[str], str] = lambda _machine_id: ""
        self.clock_file: Path | None = None  # told to edges, so that what they note falls into virtual hours
        self.running: dict[str, Running] = {}
        self._guardian = Guardian()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sampler: asyncio.Task[None] | None = None

    def volume_path(self, volume_id: str) -> Path:
        """The folder of a volume's data."""
        return self.directory / "volumes" / volume_id

    def machine_path(self, machine_id: str) -> Path:
        """The folder of a machine: its log and what it keeps beside its volume."""
        return self.directory / "machines" / machine_id

    async def start(self, launch: Launch) -> Running:
        """Start a machine's process; it may not listen yet.

        Raises: OSError when it cannot be started.
        """
        folder = self.machine_path(launch.machine_id)
        folder.mkdir(parents=True, exist_ok=True)
        if launch.volume:
            self.volume_path(launch.volume[0]).mkdir(parents=True, exist_ok=True)
        port = free_port()
        health = launch.env.get(_HEALTH_PORT, "") if launch.image.kind == "edge" else ""
        others = {int(health): free_port()} if health.isdigit() else {}
        log = folder / "output.log"
        with log.open("ab") as output:
            process = await self._guardian.start(
                [*(launch.overrides or launch.image.argv)],
                env=self._environment(launch, port, others, folder),
                cwd=str(folder),
                log=output.fileno(),
            )
        running = Running(
            launch.machine_id,
            port,
            process,
            launch.memory_mb,
            log,
            asyncio.get_running_loop().create_future(),
            is_edge=launch.image.kind == "edge",
            follows_clock=self._clock_for(launch) is not None,
            others=others,
        )
        self.running[launch.machine_id] = running
        self._spawn(self._reap(running))
        if running.is_edge and launch.tunnel_token:
            self._spawn(self._join_tunnel(running, launch.tunnel_token))
        if self._sampler is None:
            self._sampler = asyncio.create_task(self._watch_memory())
        return running

    async def close(self) -> None:
        """End every process and wait for it."""
        if self._sampler:
            self._sampler.cancel()
        for running in list(self.running.values()):
            running.send(signal.SIGKILL)
        if self.running:
            await asyncio.wait({running.exited for running in self.running.values()}, timeout=10)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *([self._sampler] if self._sampler else []), return_exceptions=True)
        self._guardian.close()

    def _environment(self, launch: Launch, port: int, others: Mapping[int, int], folder: Path) -> dict[str, str]:
        env = {
            # Nothing of the local cloud's own environment but where programs and packages are: tokens stay here.
            **{key: os.environ[key] for key in ("PATH", "LANG", "VIRTUAL_ENV", "SYSTEMROOT") if key in os.environ},
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        proxy = self.proxy_url(launch.machine_id)
        if proxy:
            # Loopback is the internet here (Cloudflare's edge, the object store): only the private network needs the proxy.
            env |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        for key, value in launch.env.items():
            env[key] = self._translated(value, launch.volume)
        env |= {"PORT": str(port), "HOST": "127.0.0.1"}
        if launch.image.kind == "edge":
            env |= {"ROWHOUSE_GATEWAY_PORT": str(port), "ROWHOUSE_GATEWAY_HOST": "127.0.0.1", "ROWHOUSE_GATEWAY_HEALTH_HOST": "127.0.0.1"}
            told = self._clock_for(launch)
            # Virtual time leaps: who follows it knows at once, who asks for it must soon ask again.
            env |= {"ROWHOUSE_CLOCK_FILE": str(told)} if told else {"ROWHOUSE_GATEWAY_CLOCK_S": "0.1"}
            env["ROWHOUSE_ACTIVITY_FLUSH_S"] = "0.5"  # what was noted must be written before time leaps again
        for own in others.values():
            env[_HEALTH_PORT] = str(own)
        return env

    def _clock_for(self, launch: Launch) -> Path | None:
        """Virtual time for an edge that keeps its notes in a folder; one with a store elsewhere may not be moved and is not."""
        store = launch.env.get("ROWHOUSE_STORE_URL") or "file:"
        return self.clock_file if launch.image.kind == "edge" and store.startswith("file:") else None

    def _translated(self, value: str, volume: tuple[str, str] | None) -> str:
        if volume:
            mount = volume[1].rstrip("/")
            if mount and (value.rstrip("/") == mount or value.startswith(mount + "/")):
                return str(self.volume_path(volume[0])) + value.rstrip("/")[len(mount) :]
        return value

    async def _reap(self, running: Running) -> None:
        code = await running.process.wait()
        self._guardian.forget(running.process.pid)
        if self.running.get(running.machine_id) is running:
            del self.running[running.machine_id]
        _ports_given.difference_update((running.port, *running.others.values()))
        if running.disconnect:
            running.disconnect()
            running.disconnect = None
        number = -code if code < 0 else -1
        running.exited.set_result(Exit(128 - code if code < 0 else code, number, running.oom_killed))

    async def _join_tunnel(self, running: Running, token: str) -> None:
        if not await port_answers(running.port, within_s=60, alive=lambda: running.is_alive) or self.connect is None:
            return
        while running.is_alive:
            try:
                running.disconnect = self.connect(token, f"http://127.0.0.1:{running.port}", follows_clock=running.follows_clock)
            except Exception as error:  # noqa: BLE001 - whatever refuses the token, the connector notes it and tries again
                with running.log.open("a") as log:
                    log.write(f"connector: {error!r}\n")
                await asyncio.sleep(0.5)
            else:
                break
        if not running.is_alive and running.disconnect:  # it ended while connecting
            running.disconnect()
            running.disconnect = None

    async def _watch_memory(self) -> None:
        sample = 0
        while True:
            await asyncio.sleep(_SAMPLE_S)
            sample += 1
            children = _children() if sample % _TREE_EVERY == 0 and self.running else {}
            for running in list(self.running.values()):
                if _rss(running.process.pid, children) > running.memory_mb * 1024 * 1024 and running.is_alive:
                    running.oom_killed = True
                    running.send(signal.SIGKILL)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        found.setdefault(process.info["ppid"], []).append(process.pid)
    return found


def _rss(pid: int, children: dict[int, list[int]]) -> int:
    total, pending = 0, [pid]
    while pending:
        one = pending.pop()
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(one).memory_info().rss
        pending += children.get(one, [])
    return total
