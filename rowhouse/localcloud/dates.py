"""The `Date` of every answer: the virtual clock's, as a vendor's answers carry the vendor's own.

Whoever asks has no other way to learn what time it is where the facts are. Not here: dates inside bodies.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import format_datetime
from typing import Any

from rowhouse.localcloud.clock import Clock

__all__ = ["Dated"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Dated:
    """An ASGI app whose HTTP answers say when they were sent, in the clock's whole seconds."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], clock: Clock) -> None:
        """Wrap `app`; an answer that has a `Date` already keeps it."""
        self.app, self.clock = app, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def dated(message: MutableMapping[str, Any]) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                headers = list(message.get("headers", ()))
                if not any(name.lower() == b"date" for name, _ in headers):
                    headers.append((b"date", format_datetime(self.clock.now(), usegmt=True).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, dated)
