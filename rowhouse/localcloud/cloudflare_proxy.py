"""Requests carried to an origin and answers back, as streams; WebSockets frame by frame.

No proxy, no environment, no redirects are followed: what the origin says is what the caller gets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import websockets
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["OriginError", "Proxy", "deny"]

RawHeaders = list[tuple[bytes, bytes]]
HeadersFor = Callable[[str], RawHeaders]  # origin -> what is said to it

_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer"}
    | {b"transfer-encoding", b"upgrade"}
)
_WEBSOCKET_OWN = frozenset({b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_ANSWER_WITHIN_S = 100.0  # Cloudflare answers 524 after that (documentation, 2026)
_CONNECT_WITHIN_S = 5.0
_CLOSABLE = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class OriginError(Exception):
    """No origin could be reached (`refused`), or the one that was gave no answer in time or broke off."""

    def __init__(self, reason: str, *, refused: bool = False, timed_out: bool = False) -> None:
        """Say why."""
        super().__init__(reason)
        self.refused, self.timed_out = refused, timed_out


class _Dial(connect):
    """A handshake that is not redirected: where to go is the caller's business."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Proxy:
    """Carries requests. One connection pool, closed by `aclose`."""

    def __init__(self) -> None:
        """Make the pool on first use, on the loop that uses it."""
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def http(
        self, scope: Scope, receive: Receive, send: Send, origins: Sequence[str], headers: HeadersFor, extra: RawHeaders
    ) -> None:
        """Carry one request to the first origin that takes the connection.

        Shapes: `headers` of an origin go to it as they are; `extra` are added to the answer.
        Raises: OriginError while nothing has been sent to the caller yet.
        """
        response = await self._asked(scope, receive, origins, headers)
        try:
            await self._answered(response, receive, send, extra)
        finally:
            await response.aclose()

    async def websocket(
        self, scope: Scope, receive: Receive, send: Send, origins: Sequence[str], headers: HeadersFor, extra: RawHeaders
    ) -> None:
        """Carry one WebSocket to the first origin that takes the connection.

        Raises: OriginError while the caller's handshake is not answered yet.
        """
        await receive()  # the caller's websocket.connect
        try:
            upstream = await _dialled(scope, origins, headers)
        except websockets.InvalidStatus as refused:
            answer = refused.response
            await _deny(scope, send, answer.status_code, answer.headers.raw_items(), bytes(answer.body or b""), extra)
            return
        async with upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol, "headers": extra})
            await _bridge(upstream, receive, send)

    async def _asked(self, scope: Scope, receive: Receive, origins: Sequence[str], headers: HeadersFor) -> httpx.Response:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2.0)
            timeout = httpx.Timeout(None, connect=_CONNECT_WITHIN_S)
            self._client = httpx.AsyncClient(trust_env=False, limits=limits, timeout=timeout, follow_redirects=False)
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])
        for origin in origins:
            # Nothing of the body is read before a connection stands, so another origin can still have all of it.
            content = _body(receive) if has_body else None
            request = httpx.Request(scope["method"], _url(origin, scope), headers=headers(origin), content=content)
            try:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except TimeoutError:
                raise OriginError("no answer in time", timed_out=True) from None
            except httpx.TransportError as broken:
                raise OriginError(f"connection broke off: {type(broken).__name__}") from broken
        raise OriginError("connection refused", refused=True)

    @staticmethod
    async def _answered(response: httpx.Response, receive: Receive, send: Send, extra: RawHeaders) -> None:
        named = {name for name, _ in extra}
        own = [(k.lower(), v) for k, v in response.headers.raw if k.lower() not in _HOP | named | {b"date"}]
        await send({"type": "http.response.start", "status": response.status_code, "headers": [*own, *extra]})
        pump = asyncio.create_task(_pump(response, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, gone):
                task.cancel()
            results = await asyncio.gather(pump, gone, return_exceptions=True)
        if results[0] is None:
            await send({"type": "http.response.body", "body": b""})
        # Otherwise the origin broke off or the caller left: the answer stays unfinished, and the server closes the connection.


async def _pump(response: httpx.Response, send: Send) -> None:
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the caller left")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


def _target(scope: Scope) -> bytes:
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    return bytes(path + b"?" + query if query else path)


def _url(origin: str, scope: Scope) -> httpx.URL:
    return httpx.URL(origin).copy_with(raw_path=_target(scope))


async def _dialled(scope: Scope, origins: Sequence[str], headers: HeadersFor) -> ClientConnection:
    for origin in origins:
        parts, said = urlsplit(origin), headers(origin)
        host = next((value.decode("latin-1") for name, value in said if name == b"host"), "localhost")
        given = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in said if k not in _WEBSOCKET_OWN | _HOP | {b"host"}]
        try:
            return await _Dial(
                f"ws://{host}{_target(scope).decode('latin-1')}",
                host=parts.hostname,
                port=parts.port or 80,
                additional_headers=given,
                subprotocols=list(scope.get("subprotocols") or []) or None,
                user_agent_header=None,
                proxy=None,
                compression=None,
                max_size=None,
                open_timeout=_ANSWER_WITHIN_S,
                ping_interval=None,
            )
        except websockets.InvalidStatus:
            raise
        except TimeoutError:
            raise OriginError("no answer in time", timed_out=True) from None
        except OSError:
            continue
        except websockets.WebSocketException as broken:
            raise OriginError(f"handshake failed: {type(broken).__name__}") from broken
    raise OriginError("connection refused", refused=True)


async def _bridge(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    async def inbound() -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                await upstream.close(_closable(message.get("code")), str(message.get("reason") or ""))
                return
            data = message.get("bytes")
            await upstream.send(data if data is not None else message.get("text") or "")

    async def outbound() -> None:
        async for data in upstream:
            await send({"type": "websocket.send", "text": data} if isinstance(data, str) else {"type": "websocket.send", "bytes": data})

    tasks = {asyncio.create_task(inbound()), asyncio.create_task(outbound())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await upstream.close()
    with contextlib.suppress(RuntimeError):  # the caller may have closed first
        await send({"type": "websocket.close", "code": _closable(upstream.close_code), "reason": upstream.close_reason or ""})


def _closable(code: Any) -> int:
    return code if code in _CLOSABLE else 1000 if code == 1005 else 1011


async def _deny(scope: Scope, send: Send, status: int, headers: Iterable[tuple[str, str]], body: bytes, extra: RawHeaders) -> None:
    raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
    await deny(scope, send, status, [(k, v) for k, v in raw if k not in _HOP | {b"date", b"content-length"}] + extra, body)


async def deny(scope: Scope, send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Refuse a WebSocket handshake with a plain HTTP answer."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    sized = [*headers, (b"content-length", str(len(body)).encode())]
    start: Message = {"type": "websocket.http.response.start", "status": status, "headers": sized}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": body})
