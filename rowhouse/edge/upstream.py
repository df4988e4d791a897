"""Connections to instances: HTTP/1.1 in both directions at once, raw bytes, bounded memory, reused while fresh.

Does: connects directly or through the environment's HTTP_PROXY (absolute form; CONNECT for TLS and WebSockets).
Does not: follow redirects, keep cookies, decompress, or retry; the gateway decides about retries.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import h11

from rowhouse.edge.model import Target

if TYPE_CHECKING:
    from rowhouse.edge.headers import Headers

__all__ = ["Broken", "Dialer", "Link", "Pool", "Unreachable"]

READ_BYTES = 64 * 1024
HEAD_BYTES = 128 * 1024
IDLE_S = 4.0  # below the 5 s after which common application servers close an idle connection
IDLE_MAX = 256


class Unreachable(Exception):  # noqa: N818
    """No connection could be made; nothing of the request was sent."""


class Broken(Exception):  # noqa: N818
    """The connection ended or spoke nonsense in the middle of an exchange."""


@dataclass(frozen=True)
class Proxy:
    """The way into the private network."""

    target: Target
    authorization: bytes | None


class Dialer:
    """Opens connections, through the proxy that the environment names for plain HTTP."""

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        proxies = getproxies_environment()
        url = proxies.get("http") or proxies.get("all")
        self._proxy = _proxy(url) if url else None

    def proxy_for(self, target: Target) -> Proxy | None:
        """The proxy for this target; NO_PROXY is honoured."""
        return None if self._proxy is None or proxy_bypass(target.host) else self._proxy

    async def link(self, target: Target) -> Link:
        """A fresh connection for HTTP; raises Unreachable."""
        proxy = self.proxy_for(target)
        secure = target.scheme == "https"
        try:
            async with asyncio.timeout(self._connect_s):
                sock = await self.socket(target, tunnel=secure)
                reader, writer = await asyncio.open_connection(
                    sock=sock, limit=READ_BYTES, ssl=self.tls if secure else None, server_hostname=target.host if secure else None
                )
        except (OSError, TimeoutError) as exc:
            raise Unreachable(type(exc).__name__) from exc
        return Link(reader, writer, target, proxy if not secure else None)

    async def socket(self, target: Target, *, tunnel: bool) -> socket.socket:
        """A connected socket to the target, or to the proxy (with a tunnel through it when asked); raises Unreachable."""
        proxy = self.proxy_for(target)
        try:
            async with asyncio.timeout(self._connect_s):
                if proxy is None:
                    return await _connect(target)
                sock = await _connect(proxy.target)
                if tunnel:
                    try:
                        await _tunnel(sock, target, proxy)
                    except BaseException:
                        sock.close()
                        raise
                return sock
        except (OSError, TimeoutError) as exc:
            raise Unreachable(type(exc).__name__) from exc

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """Verifies certificates against the system's roots; read when the first instance asks for TLS."""
        return ssl.create_default_context()


class Link:
    """One HTTP/1.1 connection to an instance; one exchange at a time, sending and reading independently."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target, proxy: Proxy | None) -> None:
        self._reader = reader
        self._writer = writer
        self._proxy = proxy
        self._wire = h11.Connection(h11.CLIENT, HEAD_BYTES)
        self.target = target
        self.is_reused = False
        self.begun = asyncio.Event()
        """Set when the head is out and the body may follow."""
        self._aborted = False

    @property
    def is_alive(self) -> bool:
        """Neither side has closed, as far as can be seen without asking."""
        return not (self._aborted or self._reader.at_eof() or self._writer.is_closing() or self._wire.trailing_data[0])

    async def begin(self, method: bytes, path: bytes, headers: Headers) -> None:
        """Send the request's head; `path` goes out byte for byte as the visitor sent it."""
        if self._proxy is not None:
            path = f"http://{self.target.authority}".encode() + path
            if self._proxy.authorization:
                headers = [*headers, (b"proxy-authorization", self._proxy.authorization)]
        await self._send(h11.Request(method=method, target=path, headers=headers))
        self.begun.set()

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; waits while the instance does not read."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """The request is complete."""
        await self._send(h11.EndOfMessage())

    async def head(self, timeout_s: float) -> h11.Response:
        """The answer's head; interim answers are passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                event = await self._next()
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    raise Broken("no answer")

    async def piece(self, timeout_s: float) -> bytes | None:
        """The next piece of the answer's body; None at its end."""
        async with asyncio.timeout(timeout_s):
            event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return None
        raise Broken("the answer's body ended early")

    def restart(self) -> bool:
        """Make ready for the next exchange; False when this connection cannot have one."""
        if not self.is_alive or self._wire.our_state is not h11.DONE or self._wire.their_state is not h11.DONE:
            return False
        self._wire.start_next_cycle()
        self.begun.clear()
        return True

    def abort(self) -> None:
        """End the connection at once; whoever reads from it gets Broken."""
        self._aborted = True
        self._writer.transport.abort()

    async def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        try:
            data = self._wire.send(event)
            if data:
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, h11.LocalProtocolError) as exc:
            raise Broken(type(exc).__name__) from exc

    async def _next(self) -> object:
        try:
            while (event := self._wire.next_event()) is h11.NEED_DATA:
                self._wire.receive_data(await self._reader.read(READ_BYTES))
                if self._aborted:
                    # An abort looks like an orderly end, which would pass half an answer off as a whole one.
                    raise Broken("aborted")
        except (OSError, h11.RemoteProtocolError) as exc:
            raise Broken(type(exc).__name__) from exc
        return event


class Pool:
    """Idle connections by target, kept for a few seconds."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._idle: dict[Target, list[tuple[float, Link]]] = {}
        self._count = 0

    async def take(self, target: Target, *, fresh: bool) -> Link:
        """A connection to the target; a fresh one where an idle one could fail under a request that must not be repeated."""
        idle = self._idle.get(target, [])
        while idle and not fresh:
            since, link = idle.pop()
            self._count -= 1
            if link.is_alive and time.monotonic() - since < IDLE_S:
                link.is_reused = True
                return link
            link.abort()
        return await self._dialer.link(target)

    def give_back(self, link: Link) -> None:
        """Keep the connection for the next request, or end it when it cannot be used again."""
        if not link.restart() or self._count >= IDLE_MAX:
            link.abort()
            return
        self._idle.setdefault(link.target, []).append((time.monotonic(), link))
        self._count += 1

    def sweep(self) -> None:
        """End the connections that have been idle for too long."""
        limit = time.monotonic() - IDLE_S
        for target, idle in list(self._idle.items()):
            kept = [(since, link) for since, link in idle if since >= limit and link.is_alive]
            for entry in idle:
                if entry not in kept:
                    entry[1].abort()
            self._count -= len(idle) - len(kept)
            if kept:
                self._idle[target] = kept
            else:
                del self._idle[target]

    async def follow(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(IDLE_S)
            self.sweep()

    def close(self) -> None:
        """End all idle connections."""
        for idle in self._idle.values():
            for _, link in idle:
                link.abort()
        self._idle.clear()
        self._count = 0


def _proxy(url: str) -> Proxy | None:
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if not parts.hostname:
        return None
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    return Proxy(Target("http", parts.hostname, parts.port or 80), authorization)


async def _connect(target: Target) -> socket.socket:
    loop = asyncio.get_running_loop()
    error: OSError = OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as exc:
            sock.close()
            error = exc
        except BaseException:
            sock.close()
            raise
        else:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise error


async def _tunnel(sock: socket.socket, target: Target, proxy: Proxy) -> None:
    loop = asyncio.get_running_loop()
    authority = target.authority.encode()
    head = b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n"
    if proxy.authorization:
        head += b"Proxy-Authorization: " + proxy.authorization + b"\r\n"
    await loop.sock_sendall(sock, head + b"\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer:
        # Nobody speaks first through a new tunnel, so nothing behind the blank line can be lost.
        data = await loop.sock_recv(sock, 4096)
        if not data or len(answer) > 16384:
            raise ConnectionError("the proxy ended the tunnel")
        answer += data
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ConnectionRefusedError("the proxy refused the tunnel")
