"""The ASGI application: admits a request, carries it to its instance and the answer back, waits while the instance wakes.

Does: streams both ways at once, bounds body and patience, answers with pages where there is no instance's answer.
Does not: decide who may pass (admission.py), keep a body, or touch a byte of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from rowhouse.edge.admission import BAD_REQUEST, Admission, Gate
from rowhouse.edge.headers import Headers, request_headers, response_headers, values_of
from rowhouse.edge.health import HEALTH_PATH
from rowhouse.edge.inbound import ClientGone, Inbound, TooLarge, TooSlow
from rowhouse.edge.model import clean_host
from rowhouse.edge.pages import RETRY_AFTER_S, Page, Pages
from rowhouse.edge.sockets import Sockets
from rowhouse.edge.upstream import Broken, Dialer, Link, Pool, Unreachable
from rowhouse.edge.waking import delays, is_idempotent, is_waking

if TYPE_CHECKING:
    from rowhouse.edge.activity import Activity
    from rowhouse.edge.health import Health
    from rowhouse.edge.model import Route
    from rowhouse.edge.settings import Limits

__all__ = ["Gateway"]

log = logging.getLogger("rowhouse.edge.gateway")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WAKING = Page(503, "waking", "Waking up", "This instance was asleep and is starting.", retry_after_s=RETRY_AFTER_S)
UNSURE = Page(503, "failed", "No answer", "The instance is starting, or it broke off. See whether this was done before you send it again.")
FAILED = Page(502, "failed", "No answer", "The instance ended the connection without an answer. Try again.")
TIMED_OUT = Page(504, "failed", "No answer in time", "The instance did not answer in time. Try again later.")
SLOW = Page(408, "slow", "Too slow", "The request stopped arriving. Check the connection and send it again.")
HEALTH_HOSTS = frozenset(("gateway", "localhost", "127.0.0.1", "[::1]"))
DRAIN_S = 2.0
DRAIN_BYTES = 4 * 1024 * 1024


class _Retry(Exception):  # noqa: N818
    """Nothing reached the visitor and the request may be sent again."""


class Gateway:
    """One gateway; serves HTTP and WebSocket scopes."""

    def __init__(
        self, gate: Gate, health: Health, activity: Activity, limits: Limits, used: Callable[[Route], None] = lambda _route: None
    ) -> None:
        """Serve what `gate` lets in; `used` is told of each instance that has answered somebody."""
        self._health = health
        self._gate = gate
        self._activity = activity
        self._used = used
        self._limits = limits
        self._pages = Pages()
        dialer = Dialer(limits.connect_s)
        self.pool = Pool(dialer)
        self._sockets = Sockets(gate, dialer, activity, self._pages, limits, used)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets.serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = scope["headers"]
        has_body, declared = _framing(headers)
        inbound = Inbound(receive, limit=self._limits.body_bytes, idle_s=self._limits.body_idle_s, has_body=has_body)
        answer = _Answer(scope, send, inbound, self._pages)
        try:
            if not _is_plain(scope):
                await answer.page(BAD_REQUEST)
            elif scope["raw_path"] == HEALTH_PATH and _is_internal(headers):
                await self._tell_health(send)
            else:
                admitted = await self._gate.admit(headers)
                if isinstance(admitted, Page):
                    await answer.page(admitted)
                elif declared > self._limits.body_bytes:
                    await answer.page(self._too_large())
                else:
                    self._activity.note(admitted.route, is_service=admitted.identity.is_service)
                    await self._forward(scope, admitted, inbound, answer)
        except ClientGone:
            await answer.abort()
        except TooLarge:
            await answer.page(self._too_large())
        except TooSlow:
            await answer.page(SLOW)
        except TimeoutError:
            await answer.page(TIMED_OUT)
        except Broken as exc:
            log.warning("instance behind %s: %s", values_of(headers, b"host")[:1], exc)
            await answer.page(FAILED)

    async def _forward(self, scope: Scope, admitted: Admission, inbound: Inbound, answer: _Answer) -> None:
        deadline = time.monotonic() + self._limits.waking_s
        pauses = delays()
        repeatable = is_idempotent(scope["method"])
        fresh = not repeatable
        while True:
            try:
                link = await self.pool.take(admitted.route.target, fresh=fresh)
                await self._exchange(link, scope, admitted, inbound, answer)
                return
            except Unreachable:
                # Nothing was sent, so any method may be tried again.
                pass
            except _Retry:
                fresh = True
                inbound.rewind()
            pause = next(pauses)
            if time.monotonic() + pause > deadline:
                await answer.page(WAKING)
                return
            await inbound.pause(pause)
            if not self._gate.still_stands(admitted):
                await answer.page(WAKING)
                return

    async def _exchange(self, link: Link, scope: Scope, admitted: Admission, inbound: Inbound, answer: _Answer) -> None:
        """One attempt. Raises _Retry only while the visitor has nothing and the request may be repeated."""
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = request_headers(scope["headers"], admitted.route, admitted.identity)
        if inbound.has_body and not values_of(headers, b"content-length"):
            headers.append((b"transfer-encoding", b"chunked"))
        repeatable = is_idempotent(scope["method"])
        pump = asyncio.create_task(_pump(link, inbound))
        finished = False
        try:
            try:
                await link.begin(scope["method"].encode(), path, headers)
                head = await link.head(self._limits.answer_s)
            except Broken as exc:
                if repeatable and link.is_reused and inbound.can_rewind and not _failed(pump):
                    raise _Retry from exc
                raise
            raw: Headers = [(bytes(name), bytes(value)) for name, value in head.headers]
            if is_waking(head.status_code, raw):
                if repeatable and inbound.can_rewind and not _failed(pump):
                    raise _Retry
                await answer.page(WAKING if repeatable else UNSURE)
                return
            await answer.start(head.status_code, response_headers(raw, admitted.route.hostname))
            while (data := await link.piece(self._limits.quiet_s)) is not None:
                await answer.piece(data)
            finished = True
            await answer.end()
        except (Broken, TimeoutError):
            if (reason := _failed(pump)) is not None:
                raise reason from None
            raise
        finally:
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await pump
            if finished:
                self.pool.give_back(link)
                self._used(admitted.route)
            else:
                link.abort()

    def _too_large(self) -> Page:
        return Page(413, "too_large", "Too large", f"A request may carry at most {self._limits.body_bytes / 1024 / 1024:g} MB. Send less.")

    async def _tell_health(self, send: Send) -> None:
        body = json.dumps(self._health.document()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200 if self._health.can_serve else 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Answer:
    """What the visitor has been told so far."""

    def __init__(self, scope: Scope, send: Send, inbound: Inbound, pages: Pages) -> None:
        self._scope = scope
        self._send = send
        self._inbound = inbound
        self._pages = pages
        self._started = False

    async def start(self, status: int, headers: Headers) -> None:
        self._started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def page(self, page: Page) -> None:
        """Answer with a page; where an answer has begun already, end it so that nobody takes it for a whole one."""
        if self._started:
            await self.abort()
            return
        headers, body = self._pages.render(page, self._scope["headers"])
        if self._inbound.has_body or page.status == 400:
            headers.append((b"connection", b"close"))
        await self.start(page.status, headers)
        await self.piece(body)
        # Closing while the visitor still sends would reset the connection before the page is read.
        await self._inbound.drain(DRAIN_S, DRAIN_BYTES)
        await self.end()

    async def abort(self) -> None:
        self._scope["state"]["abort"]()
        await asyncio.sleep(0)


async def _pump(link: Link, inbound: Inbound) -> None:
    """Carry the body to the instance, then watch for the visitor's leaving; on trouble end the link, which wakes its reader."""
    try:
        await link.begun.wait()
        while (data := await inbound.piece()) is not None:
            await link.send(data)
        await link.end()
        await inbound.gone()
    except Broken:
        # The instance stopped reading; its answer may be there all the same.
        return
    except (ClientGone, TooLarge, TooSlow):
        link.abort()
        raise


def _failed(pump: asyncio.Task[None]) -> BaseException | None:
    return pump.exception() if pump.done() and not pump.cancelled() else None


def _framing(headers: Headers) -> tuple[bool, int]:
    """(is there a body, its declared length or 0)."""
    lengths = values_of(headers, b"content-length")
    declared = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
    return bool(values_of(headers, b"transfer-encoding")) or declared > 0, declared


def _is_plain(scope: Scope) -> bool:
    """Refuse what two parsers could read differently: absolute form, two framings, chunks in HTTP/1.0, repeated hosts or lengths."""
    headers: Headers = scope["headers"]
    coded = values_of(headers, b"transfer-encoding")
    lengths = values_of(headers, b"content-length")
    return (
        scope["raw_path"].startswith(b"/")
        and b"#" not in scope["raw_path"] + scope["query_string"]
        and scope["method"] not in {"CONNECT", "TRACE"}
        and len(values_of(headers, b"host")) == 1
        and not (coded and (lengths or scope["http_version"] == "1.0" or [value.lower() for value in coded] != [b"chunked"]))
        and len(lengths) <= 1
    )


def _is_internal(headers: Headers) -> bool:
    """Asked from this machine or its network, not through Cloudflare, which marks whatever it passes."""
    hosts = values_of(headers, b"host")
    outside = any(name.startswith((b"cf-", b"x-forwarded-")) for name, _ in headers)
    return len(hosts) == 1 and clean_host(hosts[0].decode("latin-1")) in HEALTH_HOSTS and not outside
