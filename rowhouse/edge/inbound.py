"""A visitor's request body, taken piece by piece: bounded in size and in patience, never held beyond a small replay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

__all__ = ["ClientGone", "Inbound", "TooLarge", "TooSlow"]

REPLAY_BYTES = 64 * 1024


class ClientGone(Exception):  # noqa: N818
    """The visitor closed the connection."""


class TooLarge(Exception):  # noqa: N818
    """The body is larger than the gateway allows."""


class TooSlow(Exception):  # noqa: N818
    """The visitor stopped sending in the middle of the body."""


class Inbound:
    """The body of one request, and the news that its sender has gone."""

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], *, limit: int, idle_s: float, has_body: bool) -> None:
        self._receive = receive
        self._limit = limit
        self._idle_s = idle_s
        self.has_body = has_body
        self._taken = 0
        self._ended = not has_body
        self._kept: list[bytes] | None = []
        self._again: list[bytes] = []

    @property
    def can_rewind(self) -> bool:
        """Everything taken so far was small enough to be kept."""
        return self._kept is not None

    def rewind(self) -> None:
        """Give the kept pieces again from the start; only while `can_rewind`."""
        assert self._kept is not None
        self._again = list(self._kept)

    async def piece(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        if self._again:
            return self._again.pop(0)
        while not self._ended:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._receive()
            except TimeoutError as exc:
                raise TooSlow from exc
            if message["type"] != "http.request":
                raise ClientGone
            data: bytes = message.get("body", b"")
            self._ended = not message.get("more_body", False)
            self._taken += len(data)
            if self._taken > self._limit:
                raise TooLarge
            if data:
                self._keep(data)
                return data
        return None

    async def gone(self) -> None:
        """Wait until the visitor has gone (after the body's end), then raise ClientGone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone

    async def pause(self, seconds: float) -> None:
        """Wait; cut short by ClientGone where that can be known without taking the body."""
        if not self._ended:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self.gone()
        except TimeoutError:
            return

    async def drain(self, seconds: float, amount: int) -> None:
        """Throw away what still comes, for a while, so that a visitor in mid-sentence reads our answer before the connection ends."""
        try:
            async with asyncio.timeout(seconds):
                while not self._ended and amount > 0:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        return
                    amount -= len(message.get("body", b""))
                    self._ended = not message.get("more_body", False)
        except TimeoutError:
            return

    def _keep(self, data: bytes) -> None:
        if self._kept is not None:
            if self._taken <= REPLAY_BYTES:
                self._kept.append(data)
            else:
                self._kept = None
