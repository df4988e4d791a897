"""Client connections: uvicorn's protocols with the patience that they lack.

Does: bounds how long a request's head may take and how long a reader may leave our write buffer full.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio

    import h11

    from rowhouse.edge.settings import Limits

__all__ = ["make_server"]

SLOW_HEAD = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
HEAD_BYTES = 64 * 1024


def make_server(app: Any, limits: Limits) -> uvicorn.Server:
    """A server for sockets that the caller has bound; `serve(sockets=[...])` runs it, `should_exit` drains and ends it."""

    class Http(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None
        _stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.app_state = {**self.app_state, "abort": transport.abort}
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.trailing_data[0]:
                self._await_head()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._forget_timers()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_timers()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._stall_timer is None:
                self._stall_timer = self.loop.call_later(limits.stall_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stall_timer is not None:
                self._stall_timer.cancel()
                self._stall_timer = None

        def _await_head(self) -> None:
            """Begin to count when a head is due; a byte now and then does not begin it anew."""
            if self.transport.get_protocol() is not self or (self.cycle is not None and not self.cycle.response_complete):
                if self._head_timer is not None:
                    self._head_timer.cancel()
                    self._head_timer = None
            elif self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(limits.head_s, self._slow_head)

        def _slow_head(self) -> None:
            self._head_timer = None
            if not self.transport.is_closing():
                self.transport.write(SLOW_HEAD)
                self.transport.close()

        def _forget_timers(self) -> None:
            for timer in (self._head_timer, self._stall_timer):
                if timer is not None:
                    timer.cancel()
            self._head_timer = self._stall_timer = None

    class Socket(WebSocketsSansIOProtocol):
        _stall_timer: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._stall_timer is None:
                self._stall_timer = self.loop.call_later(limits.stall_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._forget()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _forget(self) -> None:
            if self._stall_timer is not None:
                self._stall_timer.cancel()
                self._stall_timer = None

    # uvicorn says 'ASGI callable returned without completing response' when an instance broke off; the gateway logs that itself.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        app,
        http=Http,
        ws=Socket,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=int(limits.keep_alive_s),
        timeout_graceful_shutdown=max(1, int(limits.drain_s)),
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
    )
    return uvicorn.Server(config)
