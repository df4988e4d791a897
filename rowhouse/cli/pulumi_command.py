"""One run of the `pulumi` command: started, listened to, interrupted politely, and nothing left behind.

The CLI runs in a session of its own. A Ctrl-C therefore reaches only us, who pass it on once and wait: the CLI then
ends the steps under way and writes its state. When it was killed instead, what it leaves behind (language host,
program, plugins) is found by that session and ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Ended", "run_pulumi"]

_LINE_LIMIT = 64 * 1024 * 1024  # one event may carry a whole resource
_LEFT_BEHIND_S = 2.0
_LOOK_S = 0.02


@dataclass(frozen=True)
class Ended:
    """How a run of the CLI ended."""

    code: int
    out: str
    err: str
    interrupted: bool = False

    @property
    def error(self) -> str:
        """Empty when all went well, else what it said last."""
        if self.code == 0:
            return ""
        said = self.err.strip() or self.out.strip()
        ended = f"pulumi was ended by signal {-self.code}" if self.code < 0 else f"pulumi ended with exit code {self.code}"
        return said.removeprefix("error: ") or ended


async def run_pulumi(root: Path, env: Mapping[str, str], *args: str, on_line: Callable[[bytes], None] | None = None) -> Ended:
    """Run `pulumi ARGS` in `root` to its end.

    Args: on_line: gets each line of standard output as it comes; without it the output is collected.
    """
    process = await asyncio.create_subprocess_exec(
        "pulumi",
        *args,
        "--non-interactive",
        cwd=root,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_LIMIT,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    collected: list[bytes] = []
    work = asyncio.ensure_future(asyncio.gather(_relay(process.stdout, on_line or collected.append), process.stderr.read(), _end(process)))
    interrupted = False
    with _terminated_like_interrupted():
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                if work.cancelled():
                    raise
                # Once: end the steps under way. Again, by an impatient person: end at once.
                _signal(process.pid, signal.SIGTERM if interrupted else signal.SIGINT)
                interrupted = True
    _, err, code = work.result()
    return Ended(code, b"".join(collected).decode(errors="replace"), err.decode(errors="replace"), interrupted)


async def _relay(stream: asyncio.StreamReader, on_line: Callable[[bytes], None]) -> None:
    while line := await stream.readline():
        on_line(line)


async def _end(process: asyncio.subprocess.Process) -> int:
    # Not `wait()`: some versions of asyncio let it end only when the pipes are closed, which orphans of a killed CLI hold open.
    while (code := process.returncode) is None:
        await asyncio.sleep(_LOOK_S)
    if code < 0:
        # Its children hold our pipes open: without this, reading them to their end would wait for the orphans.
        await _end_what_it_left(process.pid)
    return code


async def _end_what_it_left(session: int) -> None:
    """End every process of the session that a killed CLI opened. Plugins of ours end by themselves a moment later."""
    left = [found for found in psutil.process_iter() if _session_of(found.pid) == session and found.pid != session]
    for found in left:
        with contextlib.suppress(psutil.Error):
            found.terminate()
    _, alive = await asyncio.to_thread(psutil.wait_procs, left, timeout=_LEFT_BEHIND_S)
    for found in alive:
        with contextlib.suppress(psutil.Error):
            found.kill()


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Take SIGTERM, as CI systems send it, as a Ctrl-C while the CLI runs."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    try:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    except (ValueError, RuntimeError):  # not the main thread: whoever owns it decides
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
