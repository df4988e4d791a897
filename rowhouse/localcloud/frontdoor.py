"""Cloudflare's edge on one port, by Host header: DNS record, then Access, then the way to the origin.

`127.0.0.1:PORT` is the team domain (login, keys, mailbox); every hostname of the zone is an application's. A hostname
that no Access application covers is open: that is the danger which the tests want to see. Not here: caching, TLS, rules.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from rowhouse.localcloud.access import AccessLogin
from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.cloudflare_pages import error_page, page
from rowhouse.localcloud.cloudflare_proxy import OriginError, Proxy, RawHeaders, deny
from rowhouse.localcloud.cloudflare_reply import Json
from rowhouse.localcloud.cloudflare_rules import app_for
from rowhouse.localcloud.cloudflare_sessions import Entry, Sessions
from rowhouse.localcloud.dates import Dated
from rowhouse.localcloud.kernel import serve
from rowhouse.localcloud.mailbox import Mailbox

if TYPE_CHECKING:
    from rowhouse.localcloud.cloudflare import CloudflareVendor

__all__ = ["FrontDoor"]

_TUNNEL = re.compile(r"^([0-9a-f-]{36})\.cfargotunnel\.com$")
_STATUS = re.compile(r"^http_status:(\d{3})$")
# What only the edge may say. Everything of Access is dropped whoever sent it, underscores included: some origins read both alike.
_EDGE_ONLY = frozenset({"cf-connecting-ip", "cf-connecting-ipv6", "cf-ipcountry", "cf-ray", "cf-visitor", "cdn-loop", "true-client-ip"})
_EDGE_ONLY |= {"x-forwarded-proto", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded"}
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"})


@dataclass(frozen=True)
class _Way:
    """Where a request goes: origins to try in turn, and the Host header they want (empty: the caller's)."""

    origins: tuple[str, ...]
    host: str = ""
    follow_clock: frozenset[str] = frozenset()  # those of the origins that have virtual time


class FrontDoor:
    """The edge in front of one zone."""

    def __init__(self, cloudflare: CloudflareVendor, clock: Clock, mailbox: Mailbox | None = None) -> None:
        """Act on what the vendor's state says at the time of each request."""
        self.vendor, self.clock, self.state = cloudflare, clock, cloudflare.state
        self.mailbox = mailbox or Mailbox(clock)
        self.sessions = Sessions(cloudflare)
        self.login = AccessLogin(cloudflare, self.sessions, self.mailbox)
        self.proxy = Proxy()
        self.app = self
        self._turn = itertools.count()

    @property
    def issuer(self) -> str:
        """The team domain as tokens name it: `http://127.0.0.1:PORT`. Raises: RuntimeError before the port is known."""
        if not self.sessions.issuer:
            raise RuntimeError("the front door has no port yet: serve it, or call bind(port)")
        return self.sessions.issuer

    @property
    def certs_url(self) -> str:
        """Where the team's public keys are."""
        return f"{self.issuer}/cdn-cgi/access/certs"

    def bind(self, port: int) -> None:
        """Make the port known: the team domain, and so every token's issuer, has it."""
        self.sessions.issuer = f"http://127.0.0.1:{port}"
        self.state.organization = {**self.state.organization, "auth_domain": f"127.0.0.1:{port}"}

    def url(self, hostname: str, path: str = "/") -> str:
        """The address of a hostname behind this door."""
        return f"http://{hostname}:{self.issuer.rpartition(':')[2]}{path}"

    @contextlib.asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncIterator[int]:
        """Serve on 127.0.0.1 and give the port; connections to origins are closed at the end."""
        try:
            async with serve(Dated(self, self.clock), port=port) as bound:
                self.bind(bound)
                yield bound
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections to origins."""
        await self.proxy.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            return
        if not self.sessions.issuer:
            self.bind((scope.get("server") or ("127.0.0.1", 80))[1])
        ray = f"{secrets.token_hex(8)}-LCL"
        connection = HTTPConnection(scope)
        hostname = _hostname(connection.headers.get("host", ""))
        if _is_address(hostname):
            response: Response | None = PlainTextResponse("no WebSocket here", status_code=400)
            if scope["type"] == "http":
                response = await self.login.team(Request(scope, receive), ray)
        else:
            response = await self._zone(scope, receive, send, hostname, ray)
        if response is not None:
            response.headers["cf-ray"], response.headers["server"] = ray, "cloudflare"
            await _answer(response, scope, receive, send)

    async def _zone(self, scope: Scope, receive: Receive, send: Send, hostname: str, ray: str) -> Response | None:
        """Serve a hostname of the zone: an answer of the edge's own, or None when the origin has answered."""
        record = self._record(hostname)
        if record is None:
            detail = f"No proxied DNS record of this zone leads {hostname} anywhere."
            return error_page(530, 1016, "Origin DNS error", detail, hostname=hostname, ray=ray)
        self.state.count_request(hostname)
        connection = HTTPConnection(scope)
        own = self.login.edge(Request(scope, receive), hostname, ray) if scope["type"] == "http" else None
        if own is not None:
            return own
        app = app_for(self.state.apps.all(), hostname, scope["path"])
        entry = Entry()
        if app is not None:
            passed = self._entry(connection, app, scope)
            if passed is None:
                return self._sent_away(connection, app, hostname, scope, ray)
            entry = passed
        elif self._denies_unmatched(hostname):
            detail = "No Access application covers this address, and the organization denies what is not covered."
            return page("denied", status=403, title="Access denied", detail=detail, again="", ray=ray)
        way = self._way(record, hostname, scope, entry, app, ray)
        if isinstance(way, Response):
            return way
        extra: RawHeaders = [(b"cf-ray", ray.encode()), (b"server", b"cloudflare")]
        if app is not None and entry.set_cookie and scope["type"] == "http":
            cookie = self.login.cookie_on(Response(), app, entry.token).headers["set-cookie"]
            extra.append((b"set-cookie", cookie.encode("latin-1")))

        def headers(origin: str) -> RawHeaders:
            token = entry.token if origin in way.follow_clock else self.sessions.for_origin(entry.token)
            return _to_origin(connection, scope, Entry(token, entry.email), ray, way.host)

        carry = self.proxy.http if scope["type"] == "http" else self.proxy.websocket
        try:
            await carry(scope, receive, send, way.origins, headers, extra)
        except OriginError as error:
            return _origin_page(error, hostname, ray, tunnel=bool(_TUNNEL.match(record["content"])))
        return None

    def _record(self, hostname: str) -> Json | None:
        """The proxied record for a hostname: its own, else a wildcard's."""
        zone = self.state.zone_name
        if hostname != zone and not hostname.endswith(f".{zone}"):
            return None
        there = [record for record in self.state.dns if record["type"] in {"A", "AAAA", "CNAME"}]
        if not any(record["name"] == hostname for record in there):
            hostname = _wildcard({record["name"] for record in there}, hostname, zone)
        return next((record for record in there if record["name"] == hostname and record.get("proxied")), None)

    def _entry(self, connection: HTTPConnection, app: Json, scope: Scope) -> Entry | None:
        if app.get("options_preflight_bypass") and scope.get("method") == "OPTIONS":
            return Entry()
        ip = connection.client.host if connection.client else ""
        return self.sessions.enter(app, ip, connection.headers, connection.cookies)

    def _sent_away(self, connection: HTTPConnection, app: Json, hostname: str, scope: Scope, ray: str) -> Response:
        """What somebody without a session gets: the login, or for a program a plain refusal."""
        decisions = {policy["decision"] for policy in self.vendor.apps.view(app)["policies"]}
        script = connection.headers.get("x-requested-with", "").lower() == "xmlhttprequest"
        if script or (app.get("service_auth_401_redirect") and "non_identity" in decisions):
            return PlainTextResponse("Unauthorized", status_code=401, headers={"cache-control": "private, no-store"})
        if decisions and not decisions & {"allow", "deny"}:
            detail = "Only services with a token may use this address."
            return page("denied", status=403, title="Forbidden", detail=detail, again="", ray=ray)
        query = scope.get("query_string", b"").decode("latin-1")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        url = self.login.login_url(app, hostname, f"{path}?{query}" if query else path)
        return RedirectResponse(url, status_code=302, headers={"cache-control": "private, no-store"})

    def _denies_unmatched(self, hostname: str) -> bool:
        organization = self.state.organization
        exempt = organization.get("deny_unmatched_requests_exempted_zone_names") or []
        return bool(organization.get("deny_unmatched_requests")) and self.state.zone_name not in exempt and bool(hostname)

    def _way(self, record: Json, hostname: str, scope: Scope, entry: Entry, app: Json | None, ray: str) -> _Way | Response:
        content = str(record["content"])
        tunnel = _TUNNEL.match(content)
        if tunnel:
            return self._through_tunnel(tunnel.group(1), hostname, scope, entry, app, ray)
        origin = self.vendor.public_addresses.get(content)
        if origin is None and _is_loopback_with_port(content):
            origin = f"http://{content}"
        if origin is None:
            detail = "The origin is not reachable: the local cloud leads to addresses of this machine only."
            return error_page(523, 523, "Origin is unreachable", detail, hostname=hostname, ray=ray)
        return _Way((origin,))

    def _through_tunnel(self, tunnel_id: str, hostname: str, scope: Scope, entry: Entry, app: Json | None, ray: str) -> _Way | Response:
        tunnel = self.state.tunnels.get(tunnel_id)
        live = self.state.connectors.get(tunnel_id, [])
        if tunnel is None or tunnel["deleted_at"] or not live:
            detail = "The host is configured as a Cloudflare Tunnel, and Cloudflare is currently unable to resolve it."
            return error_page(530, 1033, "Cloudflare Tunnel error", detail, hostname=hostname, ray=ray)
        config = (self.state.tunnel_configs.get(tunnel_id) or {}).get("config") or {}
        rule = _ingress_rule(config.get("ingress") or [], hostname, scope["path"])
        if rule is None:
            return PlainTextResponse("no ingress rule", status_code=503)
        options = {**(config.get("originRequest") or {}), **(rule.get("originRequest") or {})}
        if not self._tunnel_admits(options.get("access") or {}, entry, app):
            return PlainTextResponse("Forbidden", status_code=403)
        service = str(rule["service"])
        status = _STATUS.match(service)
        if status:
            return Response(status_code=int(status.group(1)))
        if not service.startswith(("http://", "https://")):
            detail = f"The local cloud carries http services only, not {service.partition(':')[0]}."
            return error_page(502, 502, "Bad gateway", detail, hostname=hostname, ray=ray)
        first = next(self._turn) % len(live)
        origins = tuple(connector.origin for connector in [*live[first:], *live[:first]])
        follow = frozenset(connector.origin for connector in live if connector.follows_clock)
        return _Way(origins, str(options.get("httpHostHeader") or ""), follow)

    def _tunnel_admits(self, access: Json, entry: Entry, app: Json | None) -> bool:
        """The connector's own look at the token, which it takes only where the rule says `required`."""
        if not access.get("required"):
            return True
        audiences = access.get("audTag") or []
        return bool(app and entry.token and app["aud"] in audiences and self.sessions.claims(app, entry.token))


def _hostname(host: str) -> str:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return name.strip("[]").rstrip(".").lower()


def _is_address(hostname: str) -> bool:
    try:
        return bool(ipaddress.ip_address(hostname))
    except ValueError:
        return False


def _wildcard(names: set[str], hostname: str, zone: str) -> str:
    """The nearest wildcard above a hostname; empty without one."""
    parent = hostname
    while parent != zone:
        parent = parent.partition(".")[2]
        if f"*.{parent}" in names:
            return f"*.{parent}"
    return ""


def _is_loopback_with_port(content: str) -> bool:
    host, _, port = content.rpartition(":")
    return port.isdigit() and (host == "localhost" or host.startswith("127."))


def _ingress_rule(ingress: list[Json], hostname: str, path: str) -> Json | None:
    for rule in ingress:
        wanted = str(rule.get("hostname") or "*").lower()
        named = wanted in {"*", hostname} or (wanted.startswith("*.") and hostname.endswith(wanted[1:]))
        if named and (not rule.get("path") or re.search(str(rule["path"]), path)):
            return rule
    return None


def _to_origin(connection: HTTPConnection, scope: Scope, entry: Entry, ray: str, host: str) -> RawHeaders:
    """The caller's headers without what only the edge may say, plus what the edge says."""
    ip = connection.client.host if connection.client else ""
    passed: RawHeaders = []
    forwarded = []
    hop = _HOP | {name.strip().lower() for name in connection.headers.get("connection", "").split(",")}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1").lower().replace("_", "-")
        if name == "x-forwarded-for":
            forwarded.append(value.decode("latin-1"))
        if name in _EDGE_ONLY or name.startswith("cf-access-") or (name in hop and scope["type"] == "http"):
            continue
        passed.append((raw_name, host.encode("latin-1") if host and name == "host" else value))
    said = {
        "cf-connecting-ip": ip,
        "cf-ray": ray,
        "cf-visitor": '{"scheme":"http"}',
        "cdn-loop": "cloudflare; loops=1",
        "x-forwarded-for": ", ".join([*forwarded, ip]),
        "x-forwarded-proto": "http",
    }
    if entry.token:
        said["cf-access-jwt-assertion"] = entry.token
    if entry.email:
        said["cf-access-authenticated-user-email"] = entry.email
    return [*passed, *((name.encode(), value.encode("latin-1", "replace")) for name, value in said.items())]


def _origin_page(error: OriginError, hostname: str, ray: str, *, tunnel: bool) -> Response:
    if error.timed_out:
        detail = "The origin took the request and gave no answer in time."
        return error_page(524, 524, "A timeout occurred", detail, hostname=hostname, ray=ray)
    if error.refused and not tunnel:
        return error_page(521, 521, "Web server is down", "The origin refused the connection.", hostname=hostname, ray=ray)
    return error_page(502, 502, "Bad gateway", "Unable to reach the origin service.", hostname=hostname, ray=ray)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    headers = [(k, v) for k, v in response.raw_headers if k != b"content-length"]
    await deny(scope, send, response.status_code, headers, bytes(response.body))
