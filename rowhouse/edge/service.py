"""One gateway process: reads its settings, starts from the store or the last good copy, serves, drains, ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from rowhouse.edge.activity import Activity
from rowhouse.edge.admission import Gate
from rowhouse.edge.clock import clock_for
from rowhouse.edge.counters import Asker, Counters
from rowhouse.edge.gateway import Gateway
from rowhouse.edge.health import Health, answering
from rowhouse.edge.keys import KeySet
from rowhouse.edge.routes import Directory
from rowhouse.edge.server import make_server
from rowhouse.edge.settings import GatewayError, Settings
from rowhouse.edge.tokens import Verifier
from rowhouse.edge.vendor_clock import VendorClock
from rowhouse.errors import RowhouseError
from rowhouse.vendors.store import Store, default_store_url, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["main", "running"]

log = logging.getLogger("rowhouse.edge")

FIRST_LOOK_S = 5.0
_NO_IPV6 = frozenset((errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL))
"""What Linux says of `::` without IPv6: not in the kernel, or switched off. All addresses are then those of IPv4."""


@contextlib.asynccontextmanager
async def running(
    settings: Settings, store: Store, *, stop: asyncio.Event | None = None, clock: Callable[[], float] = time.time
) -> AsyncIterator[tuple[int, Directory]]:
    """Serve while the context is open; yields (port, directory). Leaving it drains, ends and writes the last notes."""
    with contextlib.ExitStack() as sockets:
        sock = sockets.enter_context(_bind(settings.host, settings.port, "ROWHOUSE_GATEWAY"))
        checked = None
        if settings.health_port is not None:
            checked = sockets.enter_context(_bind(settings.health_host, settings.health_port, "ROWHOUSE_GATEWAY_HEALTH"))
        async with _serving(settings, store, sock, checked, stop, clock) as directory:
            yield sock.getsockname()[1], directory


@contextlib.asynccontextmanager
async def _serving(
    settings: Settings,
    store: Store,
    sock: socket.socket,
    checked: socket.socket | None,
    stop: asyncio.Event | None,
    clock: Callable[[], float],
) -> AsyncIterator[Directory]:
    directory = Directory(store, settings.cache, clock=clock)
    keys = KeySet(settings.certs_url, settings.cache)  # how old its copy is, is a matter of real time
    timed = VendorClock(settings.certs_url, clock=clock)
    activity = Activity(store, settings.gateway_id, clock=timed)
    health = Health(directory, keys)
    gate = Gate(directory, Verifier(keys, settings.issuer, clock=clock))
    gateway = Gateway(gate, health, activity, settings.limits, lambda route: counters.used(route) if settings.counters else None)
    counters = Counters(store, settings.gateway_id, Asker(gateway.pool), clock=timed)
    directory.load_cache()
    keys.load_cache()
    # A store that hangs must not keep the gateway from starting with what it has.
    first = asyncio.gather(directory.refresh(), keys.refresh(), *([timed.refresh()] if settings.clock_s else []))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOOK_S):
            await asyncio.shield(first)
    server = make_server(gateway, settings.limits)
    background = [
        asyncio.create_task(directory.follow(settings.poll_s)),
        asyncio.create_task(keys.follow()),
        asyncio.create_task(activity.follow(settings.activity_s)),
        asyncio.create_task(counters.follow(settings.activity_s)),
        asyncio.create_task(gateway.pool.follow()),
    ]
    if settings.clock_s:
        background.append(asyncio.create_task(timed.follow(settings.clock_s)))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if stop is not None:
            serving.add_done_callback(lambda _task: stop.set())
        async with answering(checked, health, lambda: not server.should_exit) if checked else contextlib.nullcontext():
            yield directory
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for task in background:
            task.cancel()
        first.cancel()
        await asyncio.gather(*background, first, return_exceptions=True)
        await counters.close()
        gateway.pool.close()
        await activity.flush()
        await counters.flush()
        await keys.close()
        await timed.close()


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end, 2 when the settings are wrong."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings.from_env(os.environ)
        clock = clock_for(settings.clock_file)
        store = open_store(settings.store_url or default_store_url())
    except RowhouseError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    # uvicorn raises the signal again once it has drained; with this handler that ends nothing before the notes are written.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        asyncio.run(_serve(settings, store, clock))
    except GatewayError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return 0


async def _serve(settings: Settings, store: Store, clock: Callable[[], float]) -> None:
    stop = asyncio.Event()
    async with running(settings, store, stop=stop, clock=clock) as (port, directory):
        routes, holds = directory.counts
        log.info("gateway ready http://%s:%d routes=%d holds=%d id=%s", settings.host, port, routes, holds, settings.gateway_id)
        await stop.wait()
        log.info("gateway draining")
    log.info("gateway ended")


def _bind(host: str, port: int, setting: str) -> socket.socket:
    try:
        return _listening(host, port)
    except OSError as exc:
        if host == "::" and exc.errno in _NO_IPV6:
            return _bind("0.0.0.0", port, setting)
        raise GatewayError(f"cannot listen on {host}:{port}: {exc.strerror}. Set {setting}_HOST and {setting}_PORT.") from exc


def _listening(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's delay (40 ms an answer) off only on sockets that name their protocol.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock
