"""A whole edge on loopback: stand-in, front door, an origin behind a tunnel, a browser."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from rowhouse.localcloud.browser import Browser
from rowhouse.localcloud.frontdoor import FrontDoor
from rowhouse.localcloud.kernel import serve
from tests.localcloud.cloudflare_support import Api

ANA = "ana@acme.example"


class Origin:
    """An origin that says what it saw."""

    def __init__(self, name: str = "origin") -> None:
        self.name = name
        self.sent_mib = 0
        self.first_chunk_seen = asyncio.Event()
        self.caller_left = asyncio.Event()
        routes = [
            Route("/stream", self.stream),
            Route("/upload", self.upload, methods=["POST"]),
            Route("/endless", self.endless),
            Route("/cookies", self.cookies),
            Route("/large", self.large),
            Route("/status/{code:int}", self.status),
            WebSocketRoute("/ws", self.socket),
            WebSocketRoute("/refuses", self.refuses),
            Route("/{rest:path}", self.echo, methods=["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
        ]
        self.app = Starlette(routes=routes)

    async def echo(self, request: Request) -> Response:
        raw = request.scope["raw_path"].decode()
        headers = [[k.decode(), v.decode("latin-1")] for k, v in request.scope["headers"]]
        body = (await request.body()).decode("latin-1")
        seen = {"name": self.name, "path": raw, "query": request.url.query, "headers": headers, "method": request.method, "body": body}
        return JSONResponse(seen, headers={"x-origin": self.name})

    async def stream(self, _request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.wait_for(self.first_chunk_seen.wait(), 5)
            yield b"second"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def upload(self, request: Request) -> Response:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            self.first_chunk_seen.set()
        return PlainTextResponse(str(size))

    async def endless(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
                    await asyncio.sleep(0.01)
            finally:
                self.caller_left.set()

        return StreamingResponse(chunks())

    async def large(self, request: Request) -> Response:
        """As many mebibytes as asked for, counted as they leave."""

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(int(request.query_params["mib"])):
                self.sent_mib += 1
                yield b"x" * 2**20

        return StreamingResponse(chunks())

    async def cookies(self, _request: Request) -> Response:
        response = PlainTextResponse("two")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    async def status(self, request: Request) -> Response:
        return Response(status_code=request.path_params["code"])

    async def socket(self, socket: WebSocket) -> None:
        offered = socket.scope["subprotocols"]
        await socket.accept(subprotocol=offered[0] if offered else None)
        await socket.send_json(dict(socket.headers.items()))
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                self.caller_left.set()
                return
            if message.get("text") == "close":
                await socket.close(4001, "as asked")
                return
            if message.get("text") is not None:
                await socket.send_text(f"{self.name}: {message['text']}")
            else:
                await socket.send_bytes(message["bytes"][::-1])

    async def refuses(self, socket: WebSocket) -> None:
        await socket.send_denial_response(PlainTextResponse("pay first", status_code=402))


class Edge(Api):
    """The stand-in with its front door served. Endpoints are called as functions: everything shares one loop."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.front = FrontDoor(self.vendor, self.clock)
        self.origin = Origin()
        self.port = 0
        self.token = ""
        self.tunnel_id = ""
        self.origin_port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Edge"]:
        async with self.front.serve() as self.port, serve(self.origin.app) as self.origin_port:
            tunnel = self.vendor.tunnels.create({"name": "edge", "config_src": "cloudflare"})
            self.tunnel_id = tunnel["id"]
            self.token = self.vendor.tunnels.token(self.tunnel_id)
            self.ingress([{"hostname": "*.localhost", "service": "http://localhost:8080"}, {"service": "http_status:404"}])
            yield self

    def ingress(self, rules: list[dict], **more) -> None:
        self.vendor.tunnels.configure(self.tunnel_id, {"config": {"ingress": rules, **more}})

    def connect(self, port: int | None = None, *, follows_clock: bool = False):
        return self.vendor.connect(self.token, f"http://127.0.0.1:{port or self.origin_port}", follows_clock=follows_clock)

    def dns(self, hostname: str, *, proxied: bool = True, content: str = "", kind: str = "CNAME") -> dict:
        target = content or f"{self.tunnel_id}.cfargotunnel.com"
        return self.vendor.dns.create({"name": hostname, "type": kind, "content": target, "proxied": proxied, "ttl": 1})

    def gate(self, hostname: str, include: list | None = None, *, decision: str = "allow", policies: list | None = None, **more) -> dict:
        rules = policies or [{"decision": decision, "include": include or [{"email": {"email": ANA}}]}]
        held = [{"id": self.vendor.policies.create({"name": f"p{n}", **rule})["id"], "precedence": n} for n, rule in enumerate(rules, 1)]
        return self.vendor.apps.create({"name": hostname, "domain": hostname, "type": "self_hosted", "policies": held, **more})

    def tenant(self, hostname: str = "acme.localhost", include: list | None = None, **more) -> dict:
        self.dns(hostname.partition("/")[0])
        return self.gate(hostname, include, **more)

    def browser(self) -> Browser:
        return Browser(f"http://127.0.0.1:{self.port}")


def on_edge(test, **options):
    """Run an async function with a running edge and a browser, bounded."""

    async def go() -> None:
        edge = Edge(**options)
        async with edge.running(), edge.browser() as browser:
            await test(edge, browser)

    asyncio.run(asyncio.wait_for(go(), 60))


def headers_of(seen: dict) -> dict[str, str]:
    """The headers an origin saw, by lower-case name."""
    return {name.lower(): value for name, value in seen["headers"]}
