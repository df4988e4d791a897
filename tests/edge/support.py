"""A gateway on loopback with everything around it: a store, signing keys, instances."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from rowhouse.edge.service import running
from rowhouse.edge.settings import Limits, Settings
from rowhouse.vendors.store import Store
from rowhouse.vendors.store_file import FileStore

ISSUER = "https://team.example"
FAST = Limits(head_s=0.4, body_idle_s=0.4, stall_s=2.0, answer_s=3.0, waking_s=0.8, drain_s=1.0)


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


KEY = new_key()
OTHER_KEY = new_key()


def jwks(**keys: rsa.RSAPrivateKey) -> dict[str, Any]:
    public = [RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": "RS256", "use": "sig"} for kid, key in keys.items()]
    return {"keys": public}


def audience_of(hostname: str) -> str:
    return f"aud-{hostname}"


def token(
    hostname: str = "acme.example",
    *,
    key: Any = KEY,
    kid: str | None = "k1",
    alg: str = "RS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    now = int(time.time())
    body = {
        "aud": [audience_of(hostname)],
        "iss": ISSUER,
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "sub": "u1",
        "email": "ana@acme.example",
    }
    body = {name: value for name, value in (body | claims).items() if value is not ...}
    return jwt.encode(body, key, algorithm=alg, headers=({"kid": kid} if kid is not None else {}) | (headers or {}))


def route(hostname: str, port: int, **changes: Any) -> bytes:
    name = hostname.split(".", maxsplit=1)[0]
    doc = {"v": 1, "hostname": hostname, "upstream": f"http://127.0.0.1:{port}", "upstream_host": "", "audience": audience_of(hostname)}
    return json.dumps(doc | {"tenant": name, "instance": "main", "access": "open", "host": "fly"} | changes).encode()


def hold(tenant: str = "acme", **changes: Any) -> bytes:
    return json.dumps(
        {"v": 1, "tenant": tenant, "instance": "main", "reason": "unpaid", "message": "Pay <b>now</b>", "until": None} | changes
    ).encode()


class Publisher:
    """Publishes signing keys, and can be away."""

    def __init__(self) -> None:
        self.document: Any = jwks(k1=KEY)
        self.is_away = False
        self.asked = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            body = b"" if self.is_away else json.dumps(self.document).encode()
            status = b"503 Away" if self.is_away else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
        writer.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler, port: int = 0) -> AsyncIterator[int]:
    """A raw TCP server."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            writers.discard(writer)
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def app_server(app: Any) -> AsyncIterator[int]:
    """An ASGI app on uvicorn."""
    import socket

    from rowhouse.edge.server import make_server

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    server = make_server(app, replace(FAST, head_s=30))
    # Started and ended by hand: uvicorn's own end takes two tenths of a second, in each of these tests.
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    port = sock.getsockname()[1]
    await server.startup(sockets=[sock])
    try:
        yield port
    finally:
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for task in list(server.server_state.tasks):
            task.cancel()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
        sock.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says what it was asked, as JSON."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    said = {
        "method": scope["method"],
        "target": (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode(),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    data = json.dumps(said).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))],
        }
    )
    await send({"type": "http.response.body", "body": data})


@dataclass
class World:
    """A running gateway and its surroundings."""

    port: int
    store: Store
    publisher: Publisher
    directory: Any
    client: httpx.AsyncClient

    async def ask(
        self, method: str = "GET", path: str = "/", *, host: str = "acme.example", bearer: str | None = "", **kwargs: Any
    ) -> httpx.Response:
        """Ask as a member; `bearer=None` as nobody."""
        headers = list(kwargs.pop("headers", []))
        if bearer is not None:
            headers.append(("Cf-Access-Jwt-Assertion", bearer or token(host.split(":", maxsplit=1)[0].lower().removesuffix("."))))
        return await self.client.request(method, f"http://127.0.0.1:{self.port}{path}", headers=[("Host", host), *headers], **kwargs)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes, read all that comes until the gateway closes or, having begun, is silent for a moment."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = b""
        with contextlib.suppress(TimeoutError, OSError):
            while piece := await asyncio.wait_for(reader.read(65536), 0.3 if answer else 5.0):
                answer += piece
        writer.transport.abort()
        return answer


@contextlib.asynccontextmanager
async def world(
    tmp_path: Path, *, store: Store | None = None, limits: Limits = FAST, clock: Callable[[], float] = time.time, **settings: Any
) -> AsyncIterator[World]:
    """A gateway over a folder store; put routes before or after."""
    store = store or FileStore(tmp_path / "store")
    publisher = settings.pop("publisher", None) or Publisher()
    async with listening(publisher.serve) as certs_port:
        publisher.url = f"http://127.0.0.1:{certs_port}/certs"
        made = Settings(
            store_url=None,
            issuer=ISSUER,
            certs_url=settings.pop("certs_url", publisher.url),
            host="127.0.0.1",
            port=0,
            health_host="127.0.0.1",
            health_port=settings.pop("health_port", None),
            poll_s=0.05,
            cache=settings.pop("cache", tmp_path / "cache"),
            gateway_id="gw-1",
            activity_s=0.1,
            limits=limits,
        )
        # The client goes first, so that the gateway has no connections to wait for.
        async with (
            running(made, store, clock=clock) as (port, directory),
            httpx.AsyncClient(trust_env=False, timeout=10, verify=False) as client,
        ):
            yield World(port, store, publisher, directory, client)


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)
