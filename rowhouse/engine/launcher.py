"""Starts a program and relays what it prints: in a new interpreter, or as a child of a nursery.

Does: start, relay lines, wait, kill. Does not: know what the program says to the monitor.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowhouse.engine.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowhouse.engine.run import Run


class Program:
    """A running program."""

    def __init__(self, on_line: Callable[[str, str], None]) -> None:
        """`on_line` gets a severity and each line that the program prints."""
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies: asyncio.StreamReader | None = None
        self._relays: list[asyncio.Task[None]] = []
        self.pid = 0

    async def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        if self._process is not None:
            code = await self._process.wait()
        else:
            assert self._replies is not None
            line = await self._replies.readline()
            code = json.loads(line)["exit"] if line else -signal.SIGKILL
        # What the program left running may hold its output open: what is there now is read, more is not waited for.
        await asyncio.wait(self._relays, timeout=0.5)
        self._close()
        return int(code)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        elif self._writer is not None:
            self._writer.close()  # the nursery kills the child of a client that hangs up

    def _close(self) -> None:
        for relay in self._relays:
            relay.cancel()
        if self._writer is not None:
            self._writer.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def spawn(self, python: Path, settings: dict[str, Any], env: dict[str, str]) -> None:
        """Start a new interpreter."""
        self._process = await asyncio.create_subprocess_exec(
            str(python), "-P", str(Path(__file__).with_name("program.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**env, "PYTHONUNBUFFERED": "1"},
            process_group=0,
            limit=1 << 20,
        )  # fmt: skip
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._relay(self._process.stdout, "info")
        self._relay(self._process.stderr, "info")
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()

    async def fork(self, address: str, settings: dict[str, Any], env: dict[str, str]) -> None:
        """Have a nursery fork a child. Raises: EngineError when nobody answers at that address."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        pairs = [os.pipe(), os.pipe()]
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            try:
                connection.connect(address)
            except OSError as error:
                connection.close()
                for reading, _ in pairs:
                    os.close(reading)
                raise EngineError(
                    f"no nursery answers at {address} ({error.strerror}); unset ROWHOUSE_NURSERY or start it again"
                ) from error
            data = json.dumps({**settings, "env": {**env, "PYTHONUNBUFFERED": "1"}}).encode()
            descriptors = array.array("i", [null, pairs[0][1], pairs[1][1]])
            message = len(data).to_bytes(8, "big") + data
            sent = connection.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            connection.sendall(message[sent:])
        finally:
            os.close(null)
            for _, writing in pairs:
                os.close(writing)
        for reading, _ in pairs:
            stream = asyncio.StreamReader(limit=1 << 20)
            protocol = partial(asyncio.StreamReaderProtocol, stream)
            await asyncio.get_running_loop().connect_read_pipe(protocol, os.fdopen(reading, "rb", buffering=0))
            self._relay(stream, "info")
        self._replies, self._writer = await asyncio.open_unix_connection(sock=connection)
        line = await self._replies.readline()
        if not line:
            raise EngineError("the nursery ended while it started the program")
        self.pid = int(json.loads(line)["pid"])

    def _relay(self, stream: asyncio.StreamReader, severity: str) -> None:
        async def relay() -> None:
            while True:
                try:
                    line = await stream.readline()
                except ValueError:  # longer than the limit: the rest follows as lines of its own
                    continue
                if not line:
                    return
                self._on_line(severity, line.decode(errors="replace").rstrip("\n"))

        self._relays.append(asyncio.create_task(relay()))


async def start(run: Run, address: str) -> Program:
    """Start the run's program against the monitor at `address`. Raises: EngineError."""
    project, options = run.project, run.options
    settings: dict[str, Any] = {
        "project": project.name,
        "stack": run.stack,
        "organization": options.organization,
        "root": str(project.root),
        "monitor": address,
        "engine": address,
        "parallel": options.parallel,
        "dry_run": run.dry_run,
        "config": run.config.values,
        "secret_keys": list(run.config.secret_keys),
        "program": project.program,
        "pwd": str(project.program_dir),
    }
    env = dict(options.env)
    program = Program(lambda severity, line: run.say("info" if severity == "info" else "warning", line))
    nursery = options.nursery
    if nursery is not None:
        await nursery.ready()
        await program.fork(nursery.socket, settings, env)
    elif named := env.get("ROWHOUSE_NURSERY"):
        await program.fork(named, settings, env)
    else:
        python = project.virtualenv / "bin" / "python" if project.virtualenv else Path(sys.executable)
        await program.spawn(python, settings, env)
    return program
