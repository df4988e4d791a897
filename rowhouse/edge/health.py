"""Whether this gateway can serve, told to the host's health check on a port that answers nothing else.

The gateway itself listens on loopback, where no check of the host comes; this port may listen on every address, because it knows one
question and its answer names neither tenants nor routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from rowhouse.edge.keys import KeySet
    from rowhouse.edge.routes import Directory

__all__ = ["HEALTH_PATH", "Health", "answering"]

HEALTH_PATH = b"/.rowhouse/health"
FRESH_S = 60.0
HEAD_BYTES = 8 * 1024
PATIENCE_S = 5.0
AT_ONCE = 32
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Health:
    """What a gateway needs to serve: routes, from the store or its last good copy, and keys to verify tokens with."""

    def __init__(self, directory: Directory, keys: KeySet) -> None:
        self._directory = directory
        self._keys = keys

    @property
    def can_serve(self) -> bool:
        """Whether a member would be let in. A store that is away is no reason against it: the last good routes count."""
        return self._directory.is_loaded and len(self._keys) > 0

    @property
    def status(self) -> str:
        """`starting` while it cannot serve, `stale` while the store is away, else `ok`."""
        age = self._directory.age_s
        return ("ok" if age is not None and age < FRESH_S else "stale") if self.can_serve else "starting"

    def document(self) -> dict[str, Any]:
        """For the machine's inside: counts and ages, no names."""
        routes, holds = self._directory.counts
        age = self._directory.age_s
        return {
            "status": self.status,
            "routes": routes,
            "holds": holds,
            "age_s": None if age is None else round(age, 3),
            "keys": len(self._keys),
        }


@contextlib.asynccontextmanager
async def answering(sock: socket.socket, health: Health, is_serving: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer health checks on a bound socket while the context is open; whatever else is asked is not found.

    Args: is_serving: whether the gateway takes requests; one that drains is not healthy.
    """
    busy: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(busy) >= AT_ONCE:
            writer.transport.abort()
            return
        busy[task] = writer
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = _status((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0], health, is_serving)
                body = json.dumps({"status": health.status}).encode() if status in {200, 503} else b""
                head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(head.encode() + b"cache-control: no-store\r\nconnection: close\r\n\r\n" + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it left, or spoke no HTTP
        finally:
            writer.transport.abort()
            del busy[task]

    server = await asyncio.start_server(connected, sock=sock, limit=HEAD_BYTES)
    try:
        yield
    finally:
        server.close()
        tasks = list(busy)
        for writer in busy.values():
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def _status(line: bytes, health: Health, is_serving: Callable[[], bool]) -> int:
    method, _, rest = line.partition(b" ")
    if rest.partition(b" ")[0] != HEALTH_PATH:
        return 404
    if method != b"GET":
        return 405
    return 200 if health.can_serve and is_serving() else 503
