"""The port of the host's health check: one question, one word, nothing of any tenant."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rowhouse.edge.health import AT_ONCE, Health, answering
from rowhouse.edge.keys import KeySet
from rowhouse.edge.routes import Directory
from rowhouse.edge.service import _bind
from rowhouse.edge.settings import GatewayError, Settings
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import Publisher, listening, route, until, world


class Desk:
    """Health checks of a gateway that has not looked anywhere yet."""

    def __init__(self, folder: Path) -> None:
        self.store, self.publisher = FileStore(folder / "store"), Publisher()
        self.store.put("routes/acme.example.json", route("acme.example", 1001))
        self.directory = Directory(self.store)
        self.is_serving = True

    async def ask(self, data: bytes = b"GET /.rowhouse/health HTTP/1.1\r\nHost: 10.0.0.3:8081\r\n\r\n") -> bytes:
        """The whole answer to these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Answer while the context is open."""
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        async with listening(self.publisher.serve) as certs:
            self.keys = KeySet(f"http://127.0.0.1:{certs}/certs")
            async with answering(sock, Health(self.directory, self.keys), lambda: self.is_serving):
                yield
            await self.keys.close()


def test_it_is_healthy_once_it_has_routes_and_keys_and_until_it_drains(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        async with desk.opened():
            assert (await desk.ask()).startswith(b"HTTP/1.1 503 ")
            await desk.directory.refresh()
            assert (await desk.ask()).startswith(b"HTTP/1.1 503 "), "routes without a key let nobody in"
            await desk.keys.refresh()
            answer = await desk.ask()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'\r\n\r\n{"status": "ok"}')
            desk.is_serving = False
            assert (await desk.ask()).startswith(b"HTTP/1.1 503 ")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET http://acme.example/.rowhouse/health HTTP/1.1", b"404"),
        (b"GET /.rowhouse/health?x HTTP/1.1", b"404"),
        (b"POST /.rowhouse/health HTTP/1.1", b"405"),
        (b"CONNECT acme.example:80 HTTP/1.1", b"404"),
        (b"\xff\x00", b"404"),
    ],
)
def test_nothing_else_is_answered_there(tmp_path: Path, line: bytes, status: bytes) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        async with desk.opened():
            await asyncio.gather(desk.directory.refresh(), desk.keys.refresh())
            answer = await desk.ask(line + b"\r\nHost: acme.example\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert answer.endswith(b"content-length: 0\r\ncache-control: no-store\r\nconnection: close\r\n\r\n")

    asyncio.run(run())


def test_idle_and_endless_callers_hold_up_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path)
        async with desk.opened():
            with contextlib.suppress(ConnectionError):
                assert await desk.ask(b"x" * 100_000) == b""
            idle = [await asyncio.open_connection("127.0.0.1", desk.port) for _ in range(AT_ONCE)]
            with contextlib.suppress(ConnectionError):
                assert await desk.ask() == b"", "more at once than there are checks"
            idle[0][1].transport.abort()
            async with asyncio.timeout(5):
                while not (await asked(desk)).startswith(b"HTTP/1.1 503 "):
                    await asyncio.sleep(0.01)
        for _, writer in idle:
            writer.transport.abort()

    async def asked(desk: Desk) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await desk.ask()
        return b""

    asyncio.run(run())


def test_a_taken_port_is_named_with_its_setting_and_nothing_stays_open(tmp_path: Path) -> None:
    async def run(port: int) -> None:
        async with world(tmp_path, health_port=port):
            pass

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(GatewayError, match="Set ROWHOUSE_GATEWAY_HEALTH_HOST and"):
        asyncio.run(run(taken.getsockname()[1]))


class WithoutIPv6(socket.socket):
    """As on a host whose kernel has no IPv6."""

    def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *args, **kwargs)


class IPv6SwitchedOff(socket.socket):
    """As on a host whose IPv6 is disabled."""

    def bind(self, address: Any) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        super().bind(address)


@pytest.mark.parametrize("kind", [WithoutIPv6, IPv6SwitchedOff])
def test_a_host_without_ipv6_listens_on_all_addresses_of_the_other_kind(monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket]) -> None:
    monkeypatch.setattr(socket, "socket", kind)
    with _bind("::", 0, "ROWHOUSE_GATEWAY_HEALTH") as sock:
        assert sock.getsockname()[0] == "0.0.0.0"
    with pytest.raises(GatewayError, match="cannot listen on ::1:0: "):
        _bind("::1", 0, "ROWHOUSE_GATEWAY_HEALTH")


def test_a_gateway_that_is_stopped_while_it_starts_leaves_no_port_open(tmp_path: Path) -> None:
    async def run(silent: int, port: int) -> None:
        async def start() -> None:
            async with world(tmp_path, health_port=port, certs_url=f"http://127.0.0.1:{silent}/certs"):
                raise AssertionError

        starting = asyncio.create_task(start())
        await until(lambda: _is_taken(port))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not _is_taken(port)

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the question for the keys, and never answers
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        asyncio.run(run(silent.getsockname()[1], port))


def _is_taken(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def test_the_port_is_opened_only_where_the_settings_say_so() -> None:
    env = {"ROWHOUSE_ACCESS_ISSUER": "https://t.example"}
    assert Settings.from_env(env).health_port is None
    told = Settings.from_env(env | {"ROWHOUSE_GATEWAY_HEALTH_PORT": "8081"})
    assert (told.health_host, told.health_port) == ("::", 8081)
    with pytest.raises(GatewayError, match="ROWHOUSE_GATEWAY_HEALTH_PORT is '-1'"):
        Settings.from_env(env | {"ROWHOUSE_GATEWAY_HEALTH_PORT": "-1"})
