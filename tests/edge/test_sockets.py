"""WebSockets through a real gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rowhouse.edge import sockets
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import World, hold, route, token, until, world


def with_socket_app(tmp_path: Path, handler: Any, body: Any, **options: Any) -> None:
    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0, **options) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            FileStore(tmp_path / "store").put("routes/acme.example.json", route("acme.example", port))
            async with world(tmp_path) as w:
                await body(w)

    asyncio.run(run())


def dial(w: World, bearer: str | None = "", host: str = "acme.example", **kwargs: Any) -> connect:
    headers = [] if bearer is None else [("Cf-Access-Jwt-Assertion", bearer or token(host))]
    return connect(
        f"ws://{host}/live?x=1",
        host="127.0.0.1",
        port=w.port,
        additional_headers=[*headers, ("X-Rowhouse-User", "evil")],
        proxy=None,
        **kwargs,
    )


async def echo(ws: ServerConnection) -> None:
    assert ws.request is not None
    await ws.send(
        f"{ws.request.path} {ws.request.headers.get_all('x-rowhouse-user')} {ws.request.headers.get('cf-access-jwt-assertion')} {ws.request.headers['host']}"
    )
    async for message in ws:
        if message == "bye":
            await ws.close(4321, "as you wish")
        else:
            await ws.send(message)


def test_messages_pass_both_ways_under_the_verified_name(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        async with dial(w, subprotocols=["v1", "v2"]) as ws:
            assert ws.subprotocol == "v2"
            assert await ws.recv() == "/live?x=1 ['ana@acme.example'] None acme.example"
            await ws.send("text")
            assert await ws.recv() == "text"
            await ws.send(b"\x00\xff")
            assert await ws.recv() == b"\x00\xff"
            await ws.send("x" * 300_000)
            assert len(await ws.recv()) == 300_000
            await (await ws.ping())

    with_socket_app(tmp_path, echo, body, subprotocols=["v2"])


def test_close_codes_pass_both_ways(tmp_path: Path) -> None:
    codes: list[int | None] = []

    async def app(ws: ServerConnection) -> None:
        try:
            await echo(ws)
        except ConnectionClosed:
            codes.append(ws.close_code)

    async def body(w: World) -> None:
        async with dial(w) as ws:
            await ws.recv()
            await ws.send("bye")
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4321, "as you wish")
        async with dial(w) as ws:
            await ws.recv()
            await ws.close(4000, "done")
        await until(lambda: 4000 in codes)

    with_socket_app(tmp_path, app, body)


@pytest.mark.parametrize(
    ("bearer", "host", "status"), [(None, "acme.example", 403), (token("globex.example"), "acme.example", 403), ("", "other.example", 404)]
)
def test_a_stranger_is_refused_before_the_handshake(tmp_path: Path, bearer: str | None, host: str, status: int) -> None:
    async def body(w: World) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await dial(w, bearer, host)
        assert caught.value.response.status_code == status

    with_socket_app(tmp_path, echo, body)


def test_a_hold_ends_a_running_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_S", 0.05)

    async def body(w: World) -> None:
        async with dial(w) as ws:
            await ws.recv()
            w.store.put("holds/acme/main.json", hold())
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(ws.recv(), 5)
            assert ws.close_code == 1008
        with pytest.raises(InvalidStatus) as caught:
            await dial(w)
        assert caught.value.response.status_code == 402

    with_socket_app(tmp_path, echo, body)


def test_an_instances_redirect_is_handed_on_not_followed(tmp_path: Path) -> None:
    async def app(ws: ServerConnection) -> None:
        raise AssertionError("reached")

    def redirect(ws: ServerConnection, request: Any) -> Any:
        response = ws.respond(302, "")
        response.headers["Location"] = "ws://globex.example/"
        return response

    async def body(w: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", w.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: acme.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nCf-Access-Jwt-Assertion: "
            + token().encode()
            + b"\r\n\r\n"
        )
        assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 302")
        writer.transport.abort()

    with_socket_app(tmp_path, app, body, process_request=redirect)
