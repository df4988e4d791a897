"""The command as a person starts it: without `--json`, or in a process with limits of its own."""

import asyncio
import sys
from typing import Any

from tests.end_to_end.world import Ran, World, finished


async def started(made: World, *args: str, **process: Any) -> asyncio.subprocess.Process:
    """Start `rowhouse ARGS` and give its process; `process` goes to the subprocess."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rowhouse.cli",
        *args,
        "--engine",
        made.engine,
        cwd=made.project,
        env=made.env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **process,
    )


async def said(made: World, *args: str, **process: Any) -> Ran:
    """Run `rowhouse ARGS` to its end."""
    return await finished(await started(made, *args, **process))
