"""Runs a Pulumi program in this process: what the CLI's language host does, without the CLI.

Started as a file, `python -P program.py`, with its settings as one line of JSON on standard input, or called in a forked child of the
nursery. Stands alone (it imports nothing of ours), because the program's own virtual environment runs it. Ends by `os._exit`: an executor
with an open call would otherwise wait for ever. When the engine goes away, standard input ends and so does this process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import runpy
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SHOWN = 32
"""Exit code that says: the error was shown to the user already (as Pulumi's own)."""


class QuietEngine:
    """The engine's service without debug messages: they are four blocking calls a resource, and nobody reads them."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def Log(self, request: Any) -> Any:  # noqa: N802  # the service's name
        """Pass on what is worth showing."""
        return self._stub.Log(request) if request.severity else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)


def run(settings: dict[str, Any]) -> int:
    """Run the program to its end and return its exit code."""
    import pulumi  # the program's own installation
    import pulumi.runtime
    from pulumi.runtime import Settings

    pulumi.runtime.set_all_config(settings["config"], settings["secret_keys"])
    configured = Settings(
        monitor=settings["monitor"],
        engine=settings["engine"],
        project=settings["project"],
        stack=settings["stack"],
        parallel=settings["parallel"],
        dry_run=settings["dry_run"],
        organization=settings["organization"],
        root_directory=settings["root"],
    )
    configured.engine = QuietEngine(configured.engine)
    pulumi.runtime.configure(configured)
    os.chdir(settings["pwd"])
    program = settings["program"]
    sys.argv = [program]
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # outputs that nobody awaits are normal in a Pulumi program
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # As many calls wait at the engine as it works on, and some more that wait for those.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(settings["parallel"], 1) * 4))

    def work() -> None:
        runpy.run_path(program, run_name="__main__")

    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(work))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return 1
    except Exception:  # noqa: BLE001  # whatever a program raises is its end, told to the user
        pulumi.log.error("Program failed with an unhandled exception:\n" + _user_trace(Path(program).resolve()))
        return SHOWN
    return 0


def _user_trace(program: Path) -> str:
    """The traceback from the program's first own line on."""
    kind, error, trace = sys.exc_info()
    frames = traceback.extract_tb(trace)
    homes = {program, program / "__main__.py"}
    for index, frame in enumerate(frames):
        if Path(frame.filename).resolve() in homes:
            lines = traceback.format_exception(kind, error, trace, limit=-(len(frames) - index))
            return "".join(lines)
    return traceback.format_exc()


def finish(settings: dict[str, Any]) -> None:
    """Run the program and end the process with its exit code."""
    code = 1
    try:
        code = run(settings)
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
    except BaseException:  # noqa: BLE001  # nothing may keep this process from ending
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(code)


def end_with(descriptor: int) -> None:
    """End this process when the other end of a pipe or socket is closed."""

    def watch() -> None:
        while os.read(descriptor, 1):
            continue
        os._exit(1)

    threading.Thread(target=watch, name="engine-watch", daemon=True).start()


def main() -> None:
    """Read the settings from standard input and run."""
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            os._exit(1)
        data += piece
    end_with(os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # a program that reads its input finds none, and not the engine's pipe
    os.close(null)
    finish(json.loads(data))


if __name__ == "__main__":
    main()
