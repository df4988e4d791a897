"""A tiny process that outlives the local cloud just long enough to end what it started.

It reads lines `+<group>` and `-<group>` from its standard input and, when that closes, kills every process group still
on its list: also when the local cloud itself was killed and could not clean up. Portable: a pipe and signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

__all__ = ["Guardian"]

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

# The program is started only when told so, which is after the guardian knows its group: a local cloud killed in
# between leaves a shell that reads the end of its input and ends.
_GATE = 'read -r go || exit 125; exec "$@" </dev/null'


class Guardian:
    """Starts process groups that cannot outlive this process."""

    def __init__(self) -> None:
        """Nothing is started before the first use."""
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, argv: list[str], *, env: dict[str, str], cwd: str, log: int) -> asyncio.subprocess.Process:
        """Start a program in a group of its own, output to the file descriptor `log`.

        Raises: OSError when the working directory is missing.
        """
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _GATE,
            "machine",
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self._tell(f"+{process.pid}\n")
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it may have been killed already
            process.stdin.write(b"go\n")
            await process.stdin.drain()
        process.stdin.close()
        return process

    def forget(self, pid: int) -> None:
        """End what is left of a group whose first process has ended; its number may be used again."""
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        if self._process is not None:
            self._tell(f"-{pid}\n")

    def close(self) -> None:
        """End every group and the guardian."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait(10)
            self._process = None

    def _tell(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
