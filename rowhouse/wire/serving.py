"""A provider as a process of its own, or inside one.

Does: binds a loopback port, tells it to the engine, ends with the engine. Does not: know what the provider serves.
Source: Pulumi's plugin protocol: the port is the first line of standard output; at the end the engine calls Cancel, sends SIGINT and
kills after 5 s (2026-11).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from rowhouse.wire.values import GRPC_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowhouse.wire.kit import Provider

__all__ = ["PARENT_VARIABLE", "serve", "start"]

PARENT_VARIABLE: Final = "ROWHOUSE_PLUGIN_PARENT"
"""The engine's process id, set by the launcher before the interpreter starts, so that an engine which dies meanwhile is still missed."""
_PARENT_POLL_S: Final = 0.25
_GRACE_S: Final = 4.0
_ORPHAN_GRACE_S: Final = 0.7


async def start(provider: Provider) -> tuple[grpc.aio.Server, int]:
    """Serve on a free loopback port inside this process; the caller stops the server."""
    server = grpc.aio.server(options=GRPC_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def serve(provider: Provider, argv: Sequence[str]) -> None:
    """Be a plugin process: until a signal, or until the engine that started it is gone.

    Args: argv: the arguments after the program's name; the engine's address is the last one that is not an option, and may be absent.
    """
    addresses = [word for word in argv if not word.startswith("-") and ":" in word and "//" not in word]
    provider.engine_address = addresses[-1] if addresses else ""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=32))
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server, port = await start(provider)
    print(port, flush=True)  # noqa: T201  # the protocol's first line
    sys.stdout = sys.stderr  # whatever a library prints must not be read as protocol
    grace = _GRACE_S
    while not stop.is_set():
        try:
            async with asyncio.timeout(_PARENT_POLL_S):
                await stop.wait()
        except TimeoutError:
            if os.getppid() != parent:
                grace = _ORPHAN_GRACE_S
                break
    provider.cancelled.set()
    await server.stop(grace)
    await provider.close()
