"""The way to a machine: Fly's proxy, over private networks and from the public side, on one loopback port.

Machines use it as an HTTP proxy (absolute-form requests and CONNECT) with credentials of their own, which tell the network
they are in: only what that network can reach answers. Requests with a Host of `<app>.fly.dev` come from the public
side and reach apps with a public address only. What cannot be reached is a connection that is closed without an answer,
as nothing would answer there. Requests wake machines and count for autostop. Not here: TLS, HTTP/2, balancing by load.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import logging
import secrets
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rowhouse.localcloud.fly import FlyVendor
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_ids import ulid
from rowhouse.localcloud.fly_model import App, Machine

__all__ = ["Network", "Unreachable"]

log = logging.getLogger("rowhouse.localcloud.network")

_HEAD_LIMIT = 64 * 1024
_CHUNK = 64 * 1024
_WAKE_S = 30.0  # real seconds a request is held while its machine starts
_CONNECT_S = 10.0  # real seconds a started machine may take to listen
_PUBLIC = frozenset({"v4", "v6", "shared_v4"})
_MARKS = {"server": "Fly/local (2026-08-13)", "via": "1.1 fly.io"}  # on whatever passes the proxy, and on what it says itself
_NO_INSTANCE = "no known healthy instances found for route tcp/{port}"


class Unreachable(Exception):  # noqa: N818 - a fact of the network
    """Nothing answers there."""


class _Answer(Exception):  # noqa: N818 - an answer of the proxy itself
    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


@dataclass(frozen=True)
class _Head:
    method: str
    target: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True)
class _Route:
    """Where a request goes: an app's service, or one machine directly."""

    app: App
    port: int
    service: dict[str, Any] | None = None
    machine: Machine | None = None
    force_https: bool = False


class Network:
    """Routes requests to the machines of one Fly account."""

    def __init__(self, fly: FlyVendor) -> None:
        """Route to `fly`'s machines; nothing listens before `serve`."""
        self.fly = fly
        self.port = 0
        self._secrets: dict[str, str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        fly.runtime.proxy_url = self.proxy_url

    def proxy_url(self, machine_id: str) -> str:
        """The proxy a machine uses, with its credentials."""
        password = self._secrets.setdefault(machine_id, secrets.token_hex(8))
        return f"http://{machine_id}:{password}@127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[int]:
        """Listen on 127.0.0.1 and give the port; ends every connection when the block ends.

        Raises: OSError when the wanted port is taken.
        """
        server = await asyncio.start_server(self._client, "127.0.0.1", port, limit=_HEAD_LIMIT)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self.port
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    # Where a request goes

    def private_route(self, caller: App, host: str, port: int) -> _Route:
        """Where an address of the private network leads, seen from a caller's app.

        Raises: Unreachable when its network has no such address.
        """
        network = caller.network_name
        for app in self.fly.apps.values():
            flycast = [ip for ip in app.ips if ip.kind == "private_v6" and (ip.network or "default") == network]
            if any(ip.ip == host for ip in flycast) or (flycast and host == f"{app.name}.flycast"):
                return self._service_route(app, port)
            if app.network_name != network:
                continue
            for machine in app.live_machines():
                if host in {machine.private_ip, f"{machine.id}.vm.{app.name}.internal"}:
                    return _Route(app, port, machine=machine)
            if host == f"{app.name}.internal":
                up = next((machine for machine in app.live_machines() if machine.state == "started"), None)
                if up is not None:
                    return _Route(app, port, machine=up)
        raise Unreachable(f"{host}:{port} from network {network}")

    def public_route(self, name: str) -> _Route:
        """Where `<name>.fly.dev` leads.

        Raises: Unreachable when the app has no public address.
        """
        app = self.fly.apps.get(name)
        if app is None or not any(ip.kind in _PUBLIC for ip in app.ips):
            raise Unreachable(f"{name}.fly.dev")
        try:
            return self._service_route(app, 443)
        except Unreachable:
            return self._service_route(app, 80)

    def _service_route(self, app: App, port: int) -> _Route:
        for machine in app.live_machines():
            for service in machine.config.get("services") or []:
                for one in service.get("ports") or []:
                    low, high = one.get("port") or one.get("start_port") or 0, one.get("port") or one.get("end_port") or 0
                    if low <= port <= high and not machine.skip_services:
                        return _Route(app, port, service, force_https=bool(one.get("force_https")) and port == 80)
        raise Unreachable(f"{app.name} has no service on port {port}")

    # Waking

    async def _machine_for(self, route: _Route) -> Machine:
        """A machine that is up and listening, woken if it may be."""
        if route.machine is not None:
            services = route.machine.config.get("services") or []
            known = {service.get("internal_port") for service in services}
            if route.machine.running is None or route.machine.state != "started" or (known and route.port not in known):
                raise Unreachable(f"{route.machine.id}:{route.port}")
            return route.machine
        end = asyncio.get_running_loop().time() + _WAKE_S
        while True:
            candidates = [
                machine
                for machine in route.app.live_machines()
                if not machine.cordoned and not machine.skip_services and _service_on(machine, route.port) is not None
            ]
            up = [machine for machine in candidates if machine.state == "started" and machine.running is not None]
            if up:
                return min(up, key=lambda machine: (machine.connections, machine.id))
            pending = self._waking(candidates, route.port)
            left = end - asyncio.get_running_loop().time()
            if pending is None or left <= 0:
                raise _Answer(503, _NO_INSTANCE.format(port=route.port))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await pending.changed.wait()

    def _waking(self, candidates: list[Machine], port: int) -> Machine | None:
        """A machine that will be up soon; started here if none is on its way."""
        for machine in candidates:
            if machine.state in {"starting", "restarting", "replacing", "updating"} or (machine.state == "created" and not machine.parked):
                return machine
        for machine in candidates:
            service = _service_on(machine, port) or {}
            # Absent means no: a client that forgets the field gets what Fly gives it (Fly docs, 2026-08).
            if service.get("autostart") is not True:
                continue
            if machine.state in {"stopping", "suspending"}:
                return machine
            if machine.state in {"stopped", "suspended"}:
                with contextlib.suppress(Refusal):
                    self.fly.lifecycle.start(machine, "proxy")
                    return machine
        return None

    async def _connect(self, machine: Machine) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        end = asyncio.get_running_loop().time() + _CONNECT_S
        while True:
            running = machine.running
            if running is None:
                raise _Answer(503, "machine went away while the request was waiting")
            try:
                return await asyncio.open_connection("127.0.0.1", running.port, limit=_HEAD_LIMIT)
            except OSError:
                if asyncio.get_running_loop().time() > end:
                    raise _Answer(502, "machine refused the connection on its internal port") from None
                await asyncio.sleep(0.02)

    # One client connection, one exchange: closing after each is plain and robust, and loopback connections cost little.

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._exchange(reader, writer)
        except _Answer as answer:
            with contextlib.suppress(OSError):
                await self._write_answer(writer, answer)
        except Unreachable:
            _reset(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the client or the machine went away, or spoke no HTTP
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _read_head(reader)
        if head.method == "CONNECT":
            host, port = self._host_port(head.target, 443)
            await self._forward(self.private_route(self._caller(head), host, port), None, reader, writer)
            return
        if "://" in head.target:
            parts = urlsplit(head.target)
            if parts.scheme != "http":
                raise _Answer(400, f"scheme {parts.scheme} is not supported")
            host, port = self._host_port(parts.netloc, 80)
            route = self.private_route(self._caller(head), host, port)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            await self._forward(route, _Head(head.method, path, head.headers), reader, writer, host)
            return
        host = head.get("host").rpartition(":")[0] or head.get("host")
        if not host.endswith(".fly.dev"):
            raise Unreachable(host)
        route = self.public_route(host.removesuffix(".fly.dev"))
        await self._forward(route, head, reader, writer, host)

    def _host_port(self, authority: str, default: int) -> tuple[str, int]:
        if authority.count(":") > 1 and "[" not in authority:
            # httpcore 1.0 leaves the brackets of an IPv6 address out (2026-11): only who knows the addresses can tell its end.
            host, _, port = authority.rpartition(":")
            known = {ip.ip for app in self.fly.apps.values() for ip in app.ips}
            known |= {machine.private_ip for machine in self.fly.machines()}
            return (authority, default) if authority in known else (host, int(port))
        parts = urlsplit(f"//{authority}")
        return _plain(parts.hostname or ""), parts.port or default

    def _caller(self, head: _Head) -> App:
        scheme, _, value = head.get("proxy-authorization").partition(" ")
        machine_id = password = ""
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            if scheme.lower() == "basic":
                machine_id, _, password = base64.b64decode(value).decode().partition(":")
        machine = self.fly.machine(machine_id)
        if machine is None or not hmac.compare_digest(self._secrets.get(machine_id, ""), password) or not password:
            raise _Answer(407, "the private network knows its machines", {"proxy-authenticate": 'Basic realm="6pn"'})
        return self.fly.app_of(machine)

    async def _forward(
        self, route: _Route, head: _Head | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str = ""
    ) -> None:
        if route.force_https and head is not None:
            raise _Answer(301, "", {"location": f"https://{host}{head.target}"})
        machine = await self._machine_for(route)
        machine.connections += 1
        machine.last_activity = self.fly.clock.timestamp()
        try:
            upstream, to_upstream = await self._connect(machine)
            try:
                if head is None:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await _tunnel(reader, writer, upstream, to_upstream)
                else:
                    await self._request(head, machine, (reader, writer), (upstream, to_upstream))
            finally:
                to_upstream.close()
                with contextlib.suppress(OSError):
                    await to_upstream.wait_closed()
        finally:
            machine.connections -= 1
            machine.last_activity = self.fly.clock.timestamp()

    async def _request(
        self,
        head: _Head,
        machine: Machine,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        upgrade = "upgrade" in head.get("connection").lower()
        dropped = {"proxy-authorization", "proxy-connection", "keep-alive", *(() if upgrade else ("connection",))}
        lines = [f"{key}: {value}" for key, value in head.headers if key.lower() not in dropped]
        request_id = self._request_id(machine.region)
        lines += [f"fly-request-id: {request_id}", f"fly-region: {machine.region}", *(() if upgrade else ("connection: close",))]
        server[1].write(f"{head.method} {head.target} HTTP/1.1\r\n{_lines(lines)}\r\n".encode("latin-1"))
        body = asyncio.create_task(_pump(client[0], server[1]))
        answer = asyncio.create_task(self._answer(server[0], client[1], request_id))
        try:
            # Whoever ends first ends both: a client that leaves must not keep a machine awake.
            await asyncio.wait({body, answer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (body, answer):
                task.cancel()
            await asyncio.gather(body, answer, return_exceptions=True)

    async def _answer(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, request_id: str) -> None:
        while True:
            try:
                raw = await upstream.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                await self._write_answer(writer, _Answer(502, "machine closed the connection before it answered"))
                return
            status, _, rest = raw.partition(b"\r\n")
            code = int(status.split()[1])
            if code == 101 or code >= 200:
                break
            writer.write(raw)  # 100 Continue and the like
        dropped = (b"server:",) if code == 101 else (b"server:", b"connection:", b"keep-alive:")
        kept = [line for line in rest.split(b"\r\n") if line and not line.lower().startswith(dropped)]
        kept += [f"{key}: {value}".encode() for key, value in (_MARKS | {"fly-request-id": request_id}).items()]
        kept += [] if code == 101 else [b"connection: close"]
        writer.write(status + b"\r\n" + b"\r\n".join(kept) + b"\r\n\r\n")
        await _pump(upstream, writer)

    def _request_id(self, region: str) -> str:
        return f"{ulid(int(self.fly.clock.timestamp() * 1000), secrets.randbits(80))}-{region}"

    async def _write_answer(self, writer: asyncio.StreamWriter, answer: _Answer) -> None:
        headers = {"content-type": "text/plain; charset=utf-8"} | answer.headers
        body = (answer.text + "\n").encode() if answer.text else b""
        if answer.status in {502, 503}:
            # Fly tells the reason to the app's log and gives the caller an empty answer with its marks (2026-08).
            log.info("%d: %s", answer.status, answer.text)
            headers, body = _MARKS | {"fly-request-id": self._request_id("iad")}, b""
        lines = _lines([f"{key}: {value}" for key, value in (headers | {"content-length": str(len(body)), "connection": "close"}).items()])
        writer.write(f"HTTP/1.1 {answer.status} Fly\r\n{lines}\r\n".encode() + body)
        await writer.drain()


def _service_on(machine: Machine, port: int) -> dict[str, Any] | None:
    for service in machine.config.get("services") or []:
        for one in service.get("ports") or []:
            low, high = one.get("port") or one.get("start_port") or 0, one.get("port") or one.get("end_port") or 0
            if low <= port <= high:
                found: dict[str, Any] = service
                return found
    return None


def _plain(host: str) -> str:
    """A host as addresses are kept: IPv6 in its short form."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    return host


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines if line)]
    return _Head(method, target, headers)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: asyncio.StreamReader, to_upstream: asyncio.StreamWriter
) -> None:
    pumps = {asyncio.create_task(_pump(reader, to_upstream)), asyncio.create_task(_pump(upstream, writer))}
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees the connection refused, not an empty answer."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
