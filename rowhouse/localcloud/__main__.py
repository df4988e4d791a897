"""Run the local cloud as a process: `python -m rowhouse.localcloud --dir D`.

When ready it prints one JSON line with addresses and environment. It ends on SIGTERM, SIGINT, POST /stop at the control
port and, if asked, when its standard input closes; nothing it started is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path

from rowhouse.localcloud.cloud import LocalCloud


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rowhouse.localcloud", description="Loopback stand-ins of Fly, Cloudflare and Stripe.")
    parser.add_argument("--dir", type=Path, required=True, help="folder for volumes, logs and the object store")
    parser.add_argument("--ports-file", type=Path, help="write the JSON line here too, and take ports from it when it exists")
    parser.add_argument("--start", type=datetime.fromisoformat, help="virtual time to begin at (RFC 3339); default now")
    parser.add_argument("--no-limits", action="store_true", help="do not enforce Fly's rate limits")
    parser.add_argument("--until-parent-exits", action="store_true", help="end when standard input closes")
    return parser.parse_args(argv)


def _kept_ports(path: Path | None) -> dict[str, int]:
    if path is None or not path.is_file():
        return {}
    ports = json.loads(path.read_text())["ports"]
    return {str(name): int(port) for name, port in ports.items()}


async def run(arguments: argparse.Namespace) -> None:
    """Serve until told to stop.

    Raises: OSError when a kept port is taken.
    """
    cloud = LocalCloud(arguments.dir, start=arguments.start, ports=_kept_ports(arguments.ports_file), limits=not arguments.no_limits)
    loop = asyncio.get_running_loop()
    cloud.stop_on_signals()
    async with cloud:
        ready = json.dumps({"ports": cloud.ports, "urls": cloud.urls, "env": cloud.env})
        if arguments.ports_file:
            arguments.ports_file.write_text(ready + "\n")
        sys.stdout.write(ready + "\n")
        sys.stdout.flush()
        if arguments.until_parent_exits:
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            watch = asyncio.create_task(_until_closed(reader, cloud.stop_requested))
        await cloud.stop_requested.wait()
        if arguments.until_parent_exits:
            watch.cancel()


async def _until_closed(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await reader.read(1024):
        pass
    stop.set()


def main(argv: list[str] | None = None) -> None:
    """Entry of the process."""
    asyncio.run(run(_arguments(argv)))


if __name__ == "__main__":
    main()
