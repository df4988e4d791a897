"""What is asked again, and what is not: only what may be asked twice, and only for want of an instance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rowhouse.edge.waking import is_waking
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import World, listening, route, world

MARKS = b"server: Fly/40bd1ce81 (2026-08-13)\r\nfly-request-id: 01M045XPK5JS7QW6WKKCM26T22-dfw\r\n"
NO_INSTANCE = b"HTTP/1.1 503 Service Unavailable\r\nvia: 1.1 fly.io\r\n" + MARKS + b"content-length: 0\r\n\r\n"
UP = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup"
# An application's own refusals, as they come through Fly's proxy and without it.
OWN = {
    "with a document": b"HTTP/1.1 503 Nope\r\n" + MARKS + b"content-type: text/plain\r\ncontent-length: 4\r\n\r\nnope",
    "with a body and no type": b"HTTP/1.1 503 Nope\r\n" + MARKS + b"content-length: 4\r\n\r\nnope",
    "in chunks": b"HTTP/1.1 502 Nope\r\n" + MARKS + b"transfer-encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n",
    "with when to come again": b"HTTP/1.1 503 Nope\r\n" + MARKS + b"retry-after: 60\r\ncontent-length: 0\r\n\r\n",
    "with a cookie": b"HTTP/1.1 502 Nope\r\n" + MARKS + b"set-cookie: a=1\r\ncontent-length: 0\r\n\r\n",
    "past no proxy": b"HTTP/1.1 503 Nope\r\ncontent-length: 0\r\n\r\n",
    "past another proxy": b"HTTP/1.1 502 Nope\r\nserver: nginx\r\ncontent-length: 0\r\n\r\n",
}


class Host:
    """What stands before an instance: gives the answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.asked = list(answers), list[tuple[bytes, bytes]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        self.asked.append((head.split(b" ")[0], await reader.readexactly(length)))
        writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        await writer.drain()


def before(tmp_path: Path, host: Host, body: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with listening(host.serve) as port:
            FileStore(tmp_path / "store").put("routes/acme.example.json", route("acme.example", port))
            async with world(tmp_path) as w:
                await body(w)

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_hosts_own_503_is_asked_again_with_the_same_body(tmp_path: Path, method: str) -> None:
    host, content = Host(NO_INSTANCE, NO_INSTANCE, UP), b"" if method == "GET" else b"hello"

    async def body(w: World) -> None:
        assert (await w.ask(method, content=content)).text == "up"
        assert host.asked == [(method.encode(), content)] * 3

    before(tmp_path, host, body)


@pytest.mark.parametrize("content", [b"", b"hello"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_must_not_happen_twice_is_asked_once_with_or_without_a_body(tmp_path: Path, method: str, content: bytes) -> None:
    host = Host(NO_INSTANCE)

    async def body(w: World) -> None:
        answer = await w.ask(method, content=content, headers=[("Accept", "application/json")])
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "failed")
        assert "retry-after" not in answer.headers
        assert host.asked == [(method.encode(), content)]

    before(tmp_path, host, body)


def test_a_body_too_large_to_keep_is_sent_once(tmp_path: Path) -> None:
    host = Host(NO_INSTANCE)

    async def body(w: World) -> None:
        answer = await w.ask("PUT", content=b"x" * 100_000, headers=[("Accept", "application/json")])
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "waking")
        assert [len(sent) for _, sent in host.asked] == [100_000]

    before(tmp_path, host, body)


@pytest.mark.parametrize("case", OWN)
def test_an_applications_own_502_or_503_is_passed_on_at_once(tmp_path: Path, case: str) -> None:
    host = Host(OWN[case], UP)

    async def body(w: World) -> None:
        answer = await w.ask()
        assert answer.reason_phrase in {"Bad Gateway", "Service Unavailable"}
        assert answer.text == ("nope" if b"nope" in OWN[case] else "")
        assert "x-content-type-options" not in answer.headers, "a page of the gateway's own"
        assert len(host.asked) == 1

    before(tmp_path, host, body)


@pytest.mark.parametrize("status", [200, 404, 500, 504])
def test_no_other_status_means_that_an_instance_wakes(status: int) -> None:
    marks = [(b"Server", b"Fly/40bd1ce81"), (b"Fly-Request-Id", b"01M0"), (b"Content-Length", b"0")]
    assert is_waking(503, marks)
    assert not is_waking(status, marks)
