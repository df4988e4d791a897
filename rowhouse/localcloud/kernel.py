"""What every stand-in shares: a request journal, faults on demand, and serving an app on a loopback port.

Faults are rules: the n-th matching request (and as many as wanted after it) is answered wrongly. They act before
or after the stand-in's own effect, because that difference is where duplicates come from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import uvicorn

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.dates import Dated

__all__ = ["Entry", "Fault", "FaultKind", "Faults", "Journal", "VendorMiddleware", "serve"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FaultKind = Literal[
    "rate_limited",  # 429 with Retry-After: `value` seconds, no effect
    "error_before",  # `status` (500) without the effect
    "error_after",  # the effect, then `status` (500)
    "hang_before",  # no effect, no answer for `value` seconds, then the connection is dropped
    "hang_after",  # the effect, no answer for `value` seconds, then dropped
    "drop_before",  # no effect, connection dropped
    "drop_after",  # the effect, connection dropped
    "slow",  # the right answer after `value` seconds
    "partial",  # the stand-in leaves out part of a list (it reads request.scope["fault"])
    "stale",  # the stand-in answers as it would have before the last change (it reads request.scope["fault"])
    "kill_before",  # SIGKILL process `pid`, no effect
    "kill_after",  # the effect, SIGKILL `pid`, no answer
    "kill_after_answer",  # the effect, the answer, SIGKILL `pid`
]


@dataclass
class Fault:
    """One rule. Matches when vendor, method and path (a regular expression, searched) all match."""

    kind: FaultKind
    vendor: str = ""
    method: str = ""
    path: str = ""
    body_contains: str = ""  # text that the request's body holds; empty is any
    skip: int = 0  # matching requests to let through first
    times: int = 1  # how many to spoil; -1 is all
    value: float = 0.0  # seconds
    status: int = 500
    body: dict[str, Any] | None = None  # the vendor's error body, when the fault is to speak its words
    pid: int = 0
    find_pid: Callable[[], int] | None = None  # asked when the rule strikes, for a process that does not exist yet
    hits: int = 0

    def kill(self) -> None:
        """End the process at once. Raises: ValueError for what would reach a whole group of processes."""
        pid = self.find_pid() if self.find_pid else self.pid
        if pid <= 1:
            raise ValueError(f"{pid} is no process to end")
        os.kill(pid, signal.SIGKILL)

    def matches(self, vendor: str, method: str, path: str) -> bool:
        """Whether this rule speaks of such a request."""
        return (
            (not self.vendor or self.vendor == vendor)
            and (not self.method or self.method == method)
            and (not self.path or re.search(self.path, path) is not None)
        )


class Faults:
    """The rules in force, first match wins."""

    def __init__(self) -> None:
        """Begin without any."""
        self.rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        self.rules.append(fault)
        return fault

    def clear(self) -> None:
        """Behave again."""
        self.rules.clear()

    def take(self, vendor: str, method: str, path: str, body: str = "") -> Fault | None:
        """The rule that spoils this request, counted as used."""
        for rule in self.rules:
            if rule.body_contains not in body or not rule.matches(vendor, method, path):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.times == 0:
                continue
            if rule.times > 0:
                rule.times -= 1
            rule.hits += 1
            return rule
        return None


@dataclass
class Entry:
    """One request that a stand-in saw."""

    number: int
    at: str  # virtual time
    vendor: str
    method: str
    path: str
    query: str
    body: str
    status: int = 0  # 0: not answered
    headers: dict[str, str] = field(default_factory=dict)  # without credentials
    response: str = ""
    began_s: float = 0.0  # monotonic, real: when the request had arrived
    ended_s: float = 0.0  # likewise: when its answer was sent or its connection dropped; 0: not yet


_KEPT_HEADERS = ("content-type", "idempotency-key", "fly-machine-lease-nonce", "stripe-version", "user-agent", "host")
_KEPT_BODY = 64 * 1024


class Journal:
    """Every request, in order of arrival, credentials left out."""

    def __init__(self) -> None:
        """Begin empty."""
        self.entries: list[Entry] = []

    def calls(self, vendor: str = "", method: str = "", path: str = "") -> list[Entry]:
        """Entries that match (path is a regular expression, searched)."""
        return [
            entry
            for entry in self.entries
            if (not vendor or entry.vendor == vendor)
            and (not method or entry.method == method)
            and (not path or re.search(path, entry.path))
        ]

    def mutations(self) -> list[Entry]:
        """Entries that were not reads."""
        return [entry for entry in self.entries if entry.method not in {"GET", "HEAD", "OPTIONS"}]

    def clear(self) -> None:
        """Forget all."""
        self.entries.clear()

    def dump(self) -> list[dict[str, Any]]:
        """All entries as plain data."""
        return [asdict(entry) for entry in self.entries]


class VendorMiddleware:
    """Journal and faults around one stand-in's ASGI app."""

    def __init__(
        self,
        app: App,
        *,
        vendor: str,
        clock: Clock,
        journal: Journal,
        faults: Faults,
        redact: Callable[[str, str], str] | None = None,
    ) -> None:
        """Wrap `app`, which speaks for `vendor`; `redact` (path, body or answer) takes secrets out of what is journalled."""
        self.app, self.vendor, self.clock, self.journal, self.faults = app, vendor, clock, journal, faults
        self.redact = redact or (lambda _path, text: text)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await Dated(self._asked, self.clock)(scope, receive, send)

    async def _asked(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        entry = Entry(
            number=len(self.journal.entries) + 1,
            at=self.clock.now().isoformat(),
            vendor=self.vendor,
            method=scope["method"],
            path=scope["path"],
            query=scope.get("query_string", b"").decode("latin-1"),
            body=self.redact(scope["path"], body[:_KEPT_BODY].decode("utf-8", "replace")),
            headers={k: v for k, v in headers.items() if k in _KEPT_HEADERS},
            began_s=time.monotonic(),
        )
        self.journal.entries.append(entry)
        fault = self.faults.take(self.vendor, entry.method, entry.path, body.decode("utf-8", "replace"))
        try:
            await self._serve(scope, body, send, entry, fault)
        finally:
            entry.ended_s = time.monotonic()

    async def _serve(self, scope: Scope, body: bytes, send: Send, entry: Entry, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if fault and kind in {"partial", "stale"}:
            scope["fault"] = fault
        if fault and kind == "error_after":
            scope["fault_after"] = fault  # a vendor that remembers its answers must remember the wrong one
        if fault and kind == "slow":
            await asyncio.sleep(fault.value)
        if fault and kind == "kill_before":
            fault.kill()
        if fault and kind == "rate_limited":
            await self._answer(send, entry, 429, fault.body or {"error": "rate limit exceeded"}, {"retry-after": str(int(fault.value))})
            return
        if fault and kind == "error_before":
            await self._answer(send, entry, fault.status, fault.body or {"error": "internal server error"}, {})
            return
        if fault and kind in {"hang_before", "drop_before", "kill_before"}:
            await asyncio.sleep(fault.value)
            await self._drop(send)
            return

        swallow = kind in {"error_after", "hang_after", "drop_after", "kill_after"}
        collected: list[bytes] = []

        async def replay() -> MutableMapping[str, Any]:
            nonlocal body
            if body is not None:
                out, body = body, None  # type: ignore[assignment]
                return {"type": "http.request", "body": out, "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError("unreachable: an unset event was waited for")

        async def capture(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and not swallow:
                entry.status = message["status"]
            if message["type"] == "http.response.body" and sum(map(len, collected)) < _KEPT_BODY:
                collected.append(message.get("body", b""))
            if not swallow:
                await send(message)

        await self.app(scope, replay, capture)
        entry.response = self.redact(entry.path, b"".join(collected).decode("utf-8", "replace"))
        if fault and kind == "kill_after_answer":
            fault.kill()
        if fault and kind == "kill_after":
            fault.kill()
            await self._drop(send)
        if fault and kind == "error_after":
            await self._answer(send, entry, fault.status, fault.body or {"error": "internal server error"}, {})
        if fault and kind in {"hang_after", "drop_after"}:
            await asyncio.sleep(fault.value)
            await self._drop(send)

    @staticmethod
    async def _answer(send: Send, entry: Entry, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        payload = json.dumps(body).encode()
        entry.status = status
        raw = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        raw += [(k.encode(), v.encode()) for k, v in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": payload})

    @staticmethod
    async def _drop(send: Send) -> None:
        # An answer that promises more bytes than it sends makes the server close the connection: the client sees it break off.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})


@contextlib.asynccontextmanager
async def serve(app: App, *, port: int = 0, lifespan: Literal["on", "off"] = "off", ws: str = "websockets-sansio") -> AsyncIterator[int]:
    """Serve an ASGI app on 127.0.0.1 and give its port; stops when the block ends.

    Raises: OSError when the wanted port is taken.
    """
    # With the protocol named, asyncio turns Nagle off: without, each answer in two writes waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan=lifespan,
        ws=ws,
        timeout_graceful_shutdown=1,
        proxy_headers=False,  # on loopback every client would be trusted to say where it comes from
        server_header=False,
        date_header=False,  # it would tell this machine's time; see Dated
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))  # noqa: SLF001 - serve() would take the process's signal handlers
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()
