"""Requests through a real gateway to real instances on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from rowhouse.vendors.store import StoreError
from rowhouse.vendors.store_file import FileStore
from tests.edge.support import FAST, OTHER_KEY, Publisher, World, app_server, echo, hold, jwks, listening, route, token, until, world


def headers_of(answer: Any) -> dict[str, str]:
    return dict(answer.json()["headers"])


def with_echo(tmp_path: Path, body: Any, app: Any = echo, **kwargs: Any) -> None:
    async def run() -> None:
        async with app_server(app) as port:
            FileStore(tmp_path / "store").put("routes/acme.example.json", route("acme.example", port))
            async with world(tmp_path, **kwargs) as w:
                await body(w, port)

    asyncio.run(run())


def test_a_member_reaches_the_instance_under_a_verified_name(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        answer = await w.ask("POST", "/notes/b%2f?x=%20y", content=b"hello", headers=[("CF-Connecting-IP", "192.0.2.7")])
        assert answer.status_code == 200
        said = answer.json()
        assert (said["method"], said["target"], said["body"]) == ("POST", "/notes/b%2f?x=%20y", "hello")
        got = headers_of(answer)
        assert got["x-rowhouse-user"] == "ana@acme.example"
        assert (got["x-rowhouse-tenant"], got["x-rowhouse-instance"]) == ("acme", "main")
        assert (got["x-forwarded-for"], got["x-forwarded-proto"], got["x-forwarded-host"]) == ("192.0.2.7", "https", "acme.example")
        assert got["host"] == "acme.example"
        assert answer.headers["via"] == "1.1 rowhouse"

    with_echo(tmp_path, body)


def test_the_target_goes_out_byte_for_byte(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        raw = await w.raw(
            b"GET /a/../b//%2F?q=%zz&r=+ HTTP/1.1\r\nHost: acme.example\r\nConnection: close\r\nCf-Access-Jwt-Assertion: "
            + token().encode()
            + b"\r\n\r\n"
        )
        assert b'"target": "/a/../b//%2F?q=%zz&r=+"' in raw

    with_echo(tmp_path, body)


def test_planted_identity_never_arrives(tmp_path: Path) -> None:
    planted = [
        "X-Rowhouse-User",
        "x-rowhouse-tenant",
        "X_Rowhouse_User",
        "X-Forwarded-For",
        "x_forwarded_user",
        "Forwarded",
        "X-Real-Ip",
        "X-Auth-Request-Email",
        "Remote-User",
        "REMOTE_USER",
        "Cf-Access-Authenticated-User-Email",
        "Cf_Access_Client_Id",
        "cf_connecting_ip",
    ]

    async def body(w: World, _port: int) -> None:
        cookies = "a=1; CF_Authorization=stolen; b=2; cf_appsession=x"
        answer = await w.ask(
            headers=[
                *((name, "evil") for name in planted),
                ("Connection", "x-rowhouse-user, keep-alive, x-private"),
                ("X-Private", "evil"),
                ("Cookie", cookies),
            ]
        )
        got = answer.json()["headers"]
        assert "evil" not in [value for _, value in got]
        assert dict(got)["x-rowhouse-user"] == "ana@acme.example"
        assert dict(got)["cookie"] == "a=1; b=2"
        assert not any("jwt" in name or "stolen" in value for name, value in got)

    with_echo(tmp_path, body)


@pytest.mark.parametrize("bearer", [None, "garbage", token("globex.example"), token(key=OTHER_KEY)])
def test_whoever_has_no_token_of_this_gate_is_refused(tmp_path: Path, bearer: str | None) -> None:
    async def body(w: World, _port: int) -> None:
        answer = await w.ask(bearer=bearer)
        assert answer.status_code == 403
        assert "acme" not in answer.text
        cookie_only = await w.ask(bearer=None, headers=[("Cookie", f"CF_Authorization={token()}")])
        assert cookie_only.status_code == 403

    with_echo(tmp_path, body)


def test_two_assertions_are_refused(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        assert (await w.ask(headers=[("Cf-Access-Jwt-Assertion", token())])).status_code == 403

    with_echo(tmp_path, body)


def test_an_unknown_hostname_is_refused_and_learns_nothing(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        for host in ("other.example", "x.acme.example", "acme.example.evil.example"):
            answer = await w.ask(host=host)
            assert answer.status_code == 404
            assert "acme" not in answer.text
        for host in ("acme.example:8080", "ACME.Example", "acme.example."):
            assert (await w.ask(host=host)).status_code == 200
        for host in ("acme.example:x", "a b", "acme.example@evil", ".", "[::1", "acme..example"):
            assert (await w.ask(host=host, bearer=None)).status_code == 400

    with_echo(tmp_path, body)


def test_a_hold_answers_402_with_its_reason_and_its_end_lets_pass(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        w.store.put("holds/acme/main.json", hold())
        await until(lambda: w.directory.counts[1] == 1)
        answer = await w.ask(headers=[("Accept", "text/html")])
        assert answer.status_code == 402
        assert "unpaid" in answer.text
        assert "Pay &lt;b&gt;now&lt;/b&gt;" in answer.text
        as_json = await w.ask(headers=[("Accept", "application/json")])
        assert as_json.json()["error"]["reason"] == "unpaid"
        assert (await w.ask(bearer=None)).status_code == 403
        w.store.put("holds/acme/main.json", hold(until="2020-01-01T00:00:00Z"))
        await until(lambda: w.directory.hold_on(w.directory.route_for("acme.example")) is None)
        assert (await w.ask()).status_code == 200

    with_echo(tmp_path, body)


def test_a_closed_gate_says_so(tmp_path: Path) -> None:
    async def body(w: World, port: int) -> None:
        w.store.put("routes/acme.example.json", route("acme.example", port, access="closed"))
        await until(lambda: not w.directory.route_for("acme.example").is_open)
        answer = await w.ask()
        assert (answer.status_code, "The gate is closed" in answer.text) == (403, True)

    with_echo(tmp_path, body)


def test_rotated_keys_open_the_gate(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        assert (await w.ask()).status_code == 200

    publisher = Publisher()
    publisher.document = jwks(k2=OTHER_KEY)

    async def rotated(w: World, _port: int) -> None:
        assert (await w.ask(bearer=token(key=OTHER_KEY, kid="k2"))).status_code == 200
        assert (await w.ask()).status_code == 403

    with_echo(tmp_path, body)
    with_echo(tmp_path, rotated, publisher=publisher, cache=None)


SMUGGLED = {
    "two hosts": b"GET / HTTP/1.1\r\nHost: acme.example\r\nHost: globex.example\r\n%s\r\n",
    "absolute form": b"GET http://globex.example/ HTTP/1.1\r\nHost: acme.example\r\n%s\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n%s\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 1\r\nContent-Length: 5\r\n%s\r\nhello",
    "unknown coding": b"POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: xchunked\r\n%s\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\n%s\r\n0\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : acme.example\r\n%s\r\n",
    "no host": b"GET / HTTP/1.1\r\n%s\r\n",
    "connect": b"CONNECT globex.example:80 HTTP/1.1\r\nHost: acme.example\r\n%s\r\n",
    "bare line feeds in a value": b"GET / HTTP/1.1\r\nHost: acme.example\r\nX-A: b\x00c\r\n%s\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: -1\r\n%s\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_what_two_parsers_could_read_differently_is_refused(tmp_path: Path, case: str) -> None:
    async def body(w: World, _port: int) -> None:
        answer = await w.raw(SMUGGLED[case] % (b"Cf-Access-Jwt-Assertion: " + token().encode() + b"\r\n"))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
        assert answer.count(b"HTTP/1.1") == 1

    with_echo(tmp_path, body)


def test_a_folded_header_arrives_as_one_harmless_line(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        head = (
            b"GET / HTTP/1.1\r\nHost: acme.example\r\nX-A: b\r\n X-Rowhouse-User: evil\r\nConnection: close\r\nCf-Access-Jwt-Assertion: "
            + token().encode()
        )
        answer = await w.raw(head + b"\r\n\r\n")
        got = json.loads(answer.partition(b"\r\n\r\n")[2])["headers"] if answer.startswith(b"HTTP/1.1 200") else []
        assert [value for name, value in got if name == "x-rowhouse-user"] in ([], ["ana@acme.example"])

    with_echo(tmp_path, body)


def test_a_body_over_the_limit_is_413_declared_or_not(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        async def pieces() -> Any:
            for _ in range(40):
                yield b"x" * 1024

        assert (await w.ask("POST", content=b"x" * 40_000)).status_code == 413
        assert (await w.ask("POST", content=pieces())).status_code == 413
        assert (await w.ask("POST", content=b"x" * 20_000)).status_code == 200

    with_echo(tmp_path, body, limits=type(FAST)(**{**FAST.__dict__, "body_bytes": 30_000}))


def test_slow_heads_and_slow_bodies_get_408(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        slow_head = await w.raw(b"GET / HTTP/1.1\r\nHost: acme")
        assert slow_head.startswith(b"HTTP/1.1 408")
        slow_body = await w.raw(
            b"POST / HTTP/1.1\r\nHost: acme.example\r\nContent-Length: 10\r\nCf-Access-Jwt-Assertion: " + token().encode() + b"\r\n\r\nabc"
        )
        assert slow_body.startswith(b"HTTP/1.1 408")

    with_echo(tmp_path, body, limits=type(FAST)(**{**FAST.__dict__, "head_s": 0.1, "body_idle_s": 0.1}))


def test_a_cookie_for_siblings_stays_at_home(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        cookies = [
            b"a=1; Domain=.example; Path=/",
            b"b=2; domain=globex.example",
            b"c=3; Secure",
            b"CF_Authorization=x; Path=/",
            b"d=4; DOMAIN = acme.example",
        ]
        extra = [(b"server", b"Secret/1"), (b"connection", b"x-hop"), (b"x-hop", b"1"), (b"alt-svc", b"h3"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": [*((b"set-cookie", cookie) for cookie in cookies), *extra]})
        await send({"type": "http.response.body", "body": b""})

    async def body(w: World, _port: int) -> None:
        answer = await w.ask()
        assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "c=3; Secure", "d=4"]
        assert not {"server", "x-hop", "alt-svc"} & set(answer.headers)

    with_echo(tmp_path, body, app)


def test_a_compressed_answer_and_a_redirect_pass_untouched(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 302,
                "headers": [(b"location", b"http://globex.example/"), (b"content-encoding", b"gzip"), (b"content-length", b"3")],
            }
        )
        await send({"type": "http.response.body", "body": b"\x1f\x8b!"})

    async def body(w: World, _port: int) -> None:
        async with w.client.stream(
            "GET", f"http://127.0.0.1:{w.port}/", headers={"Host": "acme.example", "Cf-Access-Jwt-Assertion": token()}
        ) as answer:
            assert answer.status_code == 302
            assert b"".join([piece async for piece in answer.aiter_raw()]) == b"\x1f\x8b!"

    with_echo(tmp_path, body, app)


def test_both_directions_stream_at_once(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            message = await receive()
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": message.get("more_body", False)})
            if not message.get("more_body"):
                return

    async def body(w: World, _port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", w.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: acme.example\r\nTransfer-Encoding: chunked\r\nCf-Access-Jwt-Assertion: "
            + token().encode()
            + b"\r\n\r\n5\r\nfirst\r\n"
        )
        assert b"first" in await asyncio.wait_for(reader.readuntil(b"first"), 3)
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        assert b"second" in await asyncio.wait_for(reader.readuntil(b"second"), 3)
        writer.transport.abort()

    with_echo(tmp_path, body, app)


def test_64_mb_pass_in_constant_memory_even_to_a_slow_reader(tmp_path: Path) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (64 * 1024 * 1024))]})
        for _ in range(1024):
            await send({"type": "http.response.body", "body": b"z" * 65536, "more_body": True})
            sent += 65536
        await send({"type": "http.response.body", "body": b""})

    async def body(w: World, _port: int) -> None:
        me = psutil.Process(os.getpid())
        before = me.memory_info().rss
        request = {"Host": "acme.example", "Cf-Access-Jwt-Assertion": token()}
        async with w.client.stream("GET", f"http://127.0.0.1:{w.port}/", headers=request) as answer:
            await asyncio.sleep(0.2)
            # Nobody reads: sockets and buffers fill, then the instance must wait.
            assert sent < 24 * 1024 * 1024
            got = 0
            async for piece in answer.aiter_raw():
                got += len(piece)
            assert got == 64 * 1024 * 1024
        assert me.memory_info().rss - before < 32 * 1024 * 1024

    with_echo(tmp_path, body, app)


def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()

    async def run() -> None:
        async with listening(half) as port:
            FileStore(tmp_path / "store").put("routes/acme.example.json", route("acme.example", port))
            async with world(tmp_path) as w:
                answer = await w.raw(b"GET / HTTP/1.1\r\nHost: acme.example\r\nCf-Access-Jwt-Assertion: " + token().encode() + b"\r\n\r\n")
                assert not answer.endswith(b"0\r\n\r\n")

    asyncio.run(run())


def test_a_sleeping_instance_is_waited_for_inside_one_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with listening(lambda _r, _w: asyncio.sleep(0)) as port:
            pass
        FileStore(tmp_path / "store").put("routes/acme.example.json", route("acme.example", port))

        async def awake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(5) if b"POST" in head else b""
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + (body or b"awake"))
            await writer.drain()

        async with world(tmp_path, limits=type(FAST)(**{**FAST.__dict__, "waking_s": 5.0})) as w:
            asking = asyncio.create_task(w.ask("POST", content=b"hello"))
            await asyncio.sleep(0.1)
            async with listening(awake, port):
                answer = await asking
            assert (answer.status_code, answer.text) == (200, "hello")
        async with world(tmp_path, limits=type(FAST)(**{**FAST.__dict__, "waking_s": 0.05})) as w:
            still_asleep = await w.ask(headers=[("Accept", "text/html")])
            assert still_asleep.status_code == 503
            assert 'http-equiv="refresh"' in still_asleep.text
            assert int(still_asleep.headers["retry-after"]) > 0
            assert (await w.ask(headers=[("Accept", "application/json")])).json()["error"]["kind"] == "waking"

    asyncio.run(run())


def test_an_instance_that_never_answers_gives_504(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        assert (await w.ask()).status_code == 504

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while (await receive())["type"] != "http.disconnect":
                pass

    with_echo(tmp_path, body, app, limits=type(FAST)(**{**FAST.__dict__, "answer_s": 0.1}))


class AwayStore:
    """A store that can be away."""

    def __init__(self, inner: FileStore) -> None:
        self.inner = inner
        self.is_away = True

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            raise_away: Any = lambda *_a, **_k: (_ for _ in ()).throw(StoreError("away"))  # noqa: E731
            return raise_away
        return getattr(self.inner, name)


def test_it_starts_from_its_last_good_copy_when_the_store_is_away_and_follows_when_it_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with app_server(echo) as port:
            inner = FileStore(tmp_path / "store")
            inner.put("routes/acme.example.json", route("acme.example", port))
            async with world(tmp_path) as w:
                assert (await w.ask()).status_code == 200
            away = AwayStore(inner)
            async with world(tmp_path, store=away) as w:
                assert (await w.ask()).status_code == 200
                assert (await w.ask(host="globex.example")).status_code == 404
                inner.put("routes/globex.example.json", route("globex.example", port, upstream_host="globex.internal"))
                away.is_away = False
                await until(lambda: w.directory.counts[0] == 2)
                assert (await w.ask(host="globex.example")).status_code == 200
                away.is_away = True
                await asyncio.sleep(0.1)
                assert (await w.ask()).status_code == 200

    asyncio.run(run())


def test_without_store_and_copy_it_says_that_it_is_starting(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, store=AwayStore(FileStore(tmp_path / "s"))) as w:
            assert (await w.ask()).status_code == 503
            assert (await w.ask(path="/.rowhouse/health", host="gateway", bearer=None)).json()["status"] == "starting"

    asyncio.run(run())


def test_health_is_for_the_inside_and_names_no_tenant(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        answer = await w.ask(path="/.rowhouse/health", host="gateway", bearer=None)
        assert (answer.status_code, answer.json()["routes"], answer.json()["status"]) == (200, 1, "ok")
        assert "acme" not in answer.text
        assert (await w.ask(path="/.rowhouse/health", host="gateway", bearer=None, headers=[("Cf-Ray", "1")])).status_code == 404
        assert (await w.ask(path="/.rowhouse/health", bearer=None)).status_code == 403

    with_echo(tmp_path, body)


def test_use_is_noted_by_hour_and_minute(tmp_path: Path) -> None:
    async def body(w: World, _port: int) -> None:
        await w.ask()
        await w.ask()
        await w.ask(bearer=None)
        await w.ask(bearer=token(email=..., sub="", common_name="monitor.access"))

        def noted() -> tuple[int, int]:
            docs = [json.loads(w.store.get(key).data) for key, _ in w.store.list("activity/")]
            hosts = [doc["hosts"]["acme.example"] for doc in docs]
            return sum(sum(host["minutes"].values()) for host in hosts), sum(host["service_requests"] for host in hosts)

        await until(lambda: noted() >= (2, 1))
        assert noted() == (2, 1)

    with_echo(tmp_path, body)
