"""WebSockets through the gate: admitted like any request, then carried message by message in both directions.

Does: subprotocols, close codes, pings on both halves, backpressure, an end when a hold or a closed gate comes in between.
Does not: compress, or follow an instance's redirect (it could lead to another tenant's instance).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from rowhouse.edge.admission import BAD_REQUEST, Admission, Gate
from rowhouse.edge.headers import Headers, request_headers, response_headers, values_of
from rowhouse.edge.pages import RETRY_AFTER_S, Page, Pages
from rowhouse.edge.upstream import Dialer, Unreachable
from rowhouse.edge.waking import delays, is_waking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from rowhouse.edge.activity import Activity
    from rowhouse.edge.model import Route
    from rowhouse.edge.settings import Limits

__all__ = ["Sockets"]

CHECK_S = 1.0
CLOSED_BY_GATE = 1008
_HANDSHAKE_OWN = frozenset((b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"))
WAKING = Page(503, "waking", "Waking up", "This instance was asleep and is starting.", retry_after_s=RETRY_AFTER_S)
FAILED = Page(502, "failed", "No answer", "The instance did not accept the connection.")


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Sockets:
    """Serves WebSocket scopes."""

    def __init__(self, gate: Gate, dialer: Dialer, activity: Activity, pages: Pages, limits: Limits, used: Callable[[Route], None]) -> None:
        self._gate = gate
        self._dialer = dialer
        self._activity = activity
        self._used = used
        self._pages = pages
        self._limits = limits

    async def serve(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        await receive()
        headers: Headers = [(name.lower(), value) for name, value in scope["headers"]]
        if not scope["raw_path"].startswith(b"/") or b"#" in scope["raw_path"] + scope["query_string"]:
            await self._refuse(BAD_REQUEST, headers, send)
            return
        admitted = await self._gate.admit(headers)
        if isinstance(admitted, Page):
            await self._refuse(admitted, headers, send)
            return
        self._activity.note(admitted.route, is_service=admitted.identity.is_service)
        upstream = await self._open(scope, headers, admitted, send)
        if upstream is None:
            return
        response = upstream.response
        raw: Headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.raw_items()] if response else []
        passed = [item for item in response_headers(raw, admitted.route.hostname) if item[0] not in _HANDSHAKE_OWN]
        try:
            await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol, "headers": passed})
            await self._bridge(upstream, admitted, receive, send)
        finally:
            upstream.transport.abort()

    async def _open(
        self, scope: MutableMapping[str, Any], headers: Headers, admitted: Admission, send: Callable[[Any], Awaitable[None]]
    ) -> ClientConnection | None:
        """The instance's half, waiting while it wakes; None when the visitor was answered with a refusal."""
        deadline = time.monotonic() + self._limits.waking_s
        for pause in delays():
            try:
                return await self._dial(scope, headers, admitted)
            except InvalidStatus as exc:
                raw: Headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in exc.response.headers.raw_items()]
                if not is_waking(exc.response.status_code, raw):
                    kept = [item for item in response_headers(raw, admitted.route.hostname) if item[0] != b"content-length"]
                    await _respond(send, exc.response.status_code, kept, bytes(exc.response.body or b""))
                    return None
            except (Unreachable, InvalidMessage, OSError, EOFError):
                pass
            except (InvalidHandshake, InvalidURI, TimeoutError, ValueError):
                await self._refuse(FAILED, headers, send)
                return None
            if time.monotonic() + pause > deadline or not self._gate.still_stands(admitted):
                break
            await asyncio.sleep(pause)
        await self._refuse(WAKING, headers, send)
        return None

    async def _dial(self, scope: MutableMapping[str, Any], headers: Headers, admitted: Admission) -> ClientConnection:
        target = admitted.route.target
        secure = target.scheme == "https"
        host, *rest = request_headers(headers, admitted.route, admitted.identity, socket=True)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        sock = await self._dialer.socket(target, tunnel=True)
        try:
            return await _Connect(
                f"{'wss' if secure else 'ws'}://{host[1].decode('latin-1')}{(scope['raw_path'] + query).decode('latin-1')}",
                sock=sock,
                ssl=self._dialer.tls if secure else None,
                server_hostname=target.host if secure else None,
                additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in rest],
                subprotocols=[Subprotocol(name) for name in scope["subprotocols"]] or None,
                user_agent_header=None,
                compression=None,
                proxy=None,
                open_timeout=self._limits.answer_s,
                close_timeout=5,
                max_size=self._limits.message_bytes,
            )
        except BaseException:
            sock.close()
            raise

    async def _bridge(
        self, upstream: ClientConnection, admitted: Admission, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        tasks = [
            asyncio.create_task(self._outward(upstream, admitted, receive)),
            asyncio.create_task(_inward(upstream, send)),
            asyncio.create_task(self._watch(admitted, upstream, send)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _outward(self, upstream: ClientConnection, admitted: Admission, receive: Callable[[], Awaitable[Any]]) -> None:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                with contextlib.suppress(Exception):
                    await upstream.close(_code(message.get("code", 1005)), (message.get("reason") or "")[:120])
                return
            self._activity.note(admitted.route, is_service=admitted.identity.is_service)
            data = message.get("bytes")
            try:
                await upstream.send(data if data is not None else message["text"])
                self._used(admitted.route)
            except ConnectionClosed:
                # The other direction tells the visitor with which code.
                await asyncio.sleep(5)
                return

    async def _watch(self, admitted: Admission, upstream: ClientConnection, send: Callable[[Any], Awaitable[None]]) -> None:
        while self._gate.still_stands(admitted):
            await asyncio.sleep(CHECK_S)
        with contextlib.suppress(Exception):
            await send({"type": "websocket.close", "code": CLOSED_BY_GATE, "reason": "the gate was closed"})
        with contextlib.suppress(Exception):
            await upstream.close(1001)

    async def _refuse(self, page: Page, headers: Headers, send: Callable[[Any], Awaitable[None]]) -> None:
        rendered, body = self._pages.render(page, headers)
        await _respond(send, page.status, rendered, body)


async def _inward(upstream: ClientConnection, send: Callable[[Any], Awaitable[None]]) -> None:
    try:
        while True:
            data = await upstream.recv()
            await send(
                {"type": "websocket.send", "text": data} if isinstance(data, str) else {"type": "websocket.send", "bytes": bytes(data)}
            )
    except ConnectionClosed:
        code = upstream.close_code if upstream.close_code is not None else 1006
        with contextlib.suppress(Exception):
            await send({"type": "websocket.close", "code": _code(code), "reason": upstream.close_reason or ""})


async def _respond(send: Callable[[Any], Awaitable[None]], status: int, headers: Headers, body: bytes) -> None:
    if not values_of(headers, b"content-length"):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _code(code: int) -> int:
    """A close code that may be sent; those that only report (1005, 1006, 1015) become what they mean."""
    special = {1005: 1000, 1006: 1001, 1015: 1001}
    code = special.get(code, code)
    is_sendable = code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code <= 4999
    return code if is_sendable else 1011
