"""The Cloudflare stand-in: DNS, Zero Trust Access and tunnels of one account with one zone, under `/client/v4`.

It holds the state and speaks the API; the edge that acts on this state is frontdoor, the login pages are access. Not here:
R2, rulesets, Pages, zone settings, certificates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.cloudflare_access import Applications, Policies, refuse_when_off
from rowhouse.localcloud.cloudflare_analytics import Analytics
from rowhouse.localcloud.cloudflare_directory import Groups, IdentityProviders, Organization, ServiceTokens
from rowhouse.localcloud.cloudflare_dns import DnsRecords
from rowhouse.localcloud.cloudflare_guard import Guard
from rowhouse.localcloud.cloudflare_keys import TokenSigner
from rowhouse.localcloud.cloudflare_people import AccessLog, People
from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, answer, body_of, failure, no_route
from rowhouse.localcloud.cloudflare_routes import Call, Verb, routes
from rowhouse.localcloud.cloudflare_state import Connector, State, Switches, Token, hex_id
from rowhouse.localcloud.cloudflare_tunnels import Tunnels
from rowhouse.localcloud.dates import Dated
from rowhouse.localcloud.kernel import App, Fault, Faults, Journal, VendorMiddleware

__all__ = ["CloudflareVendor"]


_SECRET_FIELDS = re.compile(r'("(?:client_secret|tunnel_secret)"\s*:\s*)"[^"]*"')


class CloudflareVendor:
    """One Cloudflare account with one zone."""

    name = "cloudflare"

    def __init__(
        self,
        clock: Clock,
        *,
        account: str,
        zone_id: str,
        zone_name: str = "localhost",
        token: str,
        journal: Journal | None = None,
        faults: Faults | None = None,
        switches: Switches | None = None,
    ) -> None:
        """Begin empty. With a journal or faults given, `app` keeps the journal and obeys the faults; else it is the bare API."""
        self.state = State(clock, account, zone_id, zone_name, switches or Switches())
        self.switches = self.state.switches
        self.signer = TokenSigner(clock)
        self.dns = DnsRecords(self.state)
        self.policies = Policies(self.state)
        self.apps = Applications(self.state, self.policies)
        self.groups = Groups(self.state)
        self.service_tokens = ServiceTokens(self.state)
        self.identity_providers = IdentityProviders(self.state)
        self.organization = Organization(self.state)
        self.tunnels = Tunnels(self.state)
        self.people = People(self.state)
        self.log = AccessLog(self.state)
        self.analytics = Analytics(self.state)
        self.guard = Guard(self.state)
        # Names of the public internet that a record may point to, with the loopback origin that stands for them.
        self.public_addresses: dict[str, str] = {}
        self.add_token(token)
        self.journal = journal
        self.app: App = self._starlette()
        if journal is not None or faults is not None:
            self.journal = journal or Journal()
            common: dict[str, Any] = {"journal": self.journal, "faults": faults or Faults()}
            self.app = VendorMiddleware(self.app, vendor=self.name, clock=clock, redact=_without_secrets, **common)

    def add_token(
        self,
        value: str,
        *,
        user: str = "owner",
        scopes: frozenset[str] | None = None,
        read_only: bool = False,
        status: str = "active",
        account_owned: bool = False,
    ) -> Token:
        """Make another API token known."""
        token = Token(value, hex_id(), user, scopes, read_only, status, account_owned)
        self.state.tokens[value] = token
        return token

    def connect(self, tunnel_token: str, origin: str, *, follows_clock: bool = False) -> Callable[[], None]:
        """Register a live connector of a tunnel, leading to `origin`, and give what disconnects it.

        `follows_clock`: the origin has virtual time, so that it is told the times of sessions as they are.
        Raises: ValueError when the token opens no tunnel here.
        """
        return self.tunnels.connect(tunnel_token, origin, follows_clock=follows_clock)

    def rotate_keys(self) -> str:
        """Sign with a new Access key from now on and give its id; the one before stays valid for seven days."""
        return self.signer.rotate()

    def dump(self) -> Json:
        """All that the vendor holds, as plain data without secrets, each kind ordered by creation."""
        state = self.state
        return {
            "dns_records": state.dns.all(),
            "access_apps": state.apps.all(),
            "access_policies": state.policies.all(),
            "access_groups": state.groups.all(),
            "service_tokens": state.service_tokens.all(),
            "identity_providers": state.identity_providers.all(),
            "organization": state.organization,
            "tunnels": [self.tunnels.read(tunnel["id"]) for tunnel in state.tunnels],
            "tunnel_configs": state.tunnel_configs.all(),
            "connectors": [_connector(connector) for there in state.connectors.values() for connector in there],
            "users": state.users.all(),
            "logins": [login.row for login in state.logins],
        }

    def zone(self) -> Json:
        """The one zone."""
        state = self.state
        return {
            "id": state.zone_id,
            "name": state.zone_name,
            "status": "active",
            "paused": False,
            "type": "full",
            "development_mode": 0,
            "name_servers": ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"],
            "original_name_servers": None,
            "original_registrar": None,
            "original_dnshost": None,
            "created_on": state.born,
            "modified_on": state.born,
            "activated_on": state.born,
            "account": {"id": state.account, "name": "Local"},
            "owner": {"id": None, "type": "user", "email": None},
            "meta": {"step": 2, "custom_certificate_quota": 0, "page_rule_quota": 3, "phishing_detected": False},
            "permissions": ["#zone:read", "#dns_records:edit", "#dns_records:read"],
            "plan": {"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Free Website", "price": 0, "currency": "USD", "legacy_id": "free"},
        }

    def _starlette(self) -> Starlette:
        by_path: dict[str, dict[str, Verb]] = {}
        for method, path, verb in routes(self):
            by_path.setdefault(path, {})[method] = verb
        # A path with a fixed last part must be tried before the one with an id in the same place.
        ordered = sorted(by_path.items(), key=lambda item: [part.startswith("{") for part in item[0].split("/")])
        table = [Route(path, _Endpoint(self, verbs)) for path, verbs in ordered]
        graphql = Route("/client/v4/graphql", self._graphql, methods=["POST"])
        rest = Route("/{rest:path}", _Endpoint(self, {}))
        return Starlette(routes=[graphql, *table, rest], middleware=[Middleware(Dated, clock=self.state.clock)])

    async def answer(self, request: Request, verbs: dict[str, Verb]) -> Response:
        """Serve one API request by the verbs of its path."""
        raw = await request.body()
        token = None
        try:
            token = self.guard.admit(request)
            verb = verbs.get("GET" if request.method == "HEAD" else request.method)
            if verb is None:
                raise no_route()
            if "/access/" in request.url.path:
                refuse_when_off(self.state)
            fault: Fault | None = request.scope.get("fault")
            kind = fault.kind if fault else ""
            query = dict(request.query_params)
            result = verb(Call(dict(request.path_params), query, body_of(raw), token.value, stale=kind == "stale"))
            response: Response = answer(_partial(result) if kind == "partial" else result)
        except ApiError as error:
            response = failure(error)
        response.headers.update({**self.guard.headers(token), "cf-ray": f"{hex_id()[:16]}-LCL"})
        return response

    async def _graphql(self, request: Request) -> Response:
        raw = await request.body()
        try:
            self.guard.admit(request)
            return JSONResponse(self.analytics.answer(body_of(raw)))
        except ApiError as error:
            return failure(error)


class _Endpoint:
    """One path as an ASGI app: being no function, Starlette leaves every method to it."""

    def __init__(self, vendor: CloudflareVendor, verbs: dict[str, Verb]) -> None:
        self.vendor, self.verbs = vendor, verbs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.vendor.answer(Request(scope, receive), self.verbs)
        await response(scope, receive, send)


def _connector(connector: Connector) -> Json:
    return {name: value for name, value in asdict(connector).items() if name != "secret"}


def _without_secrets(path: str, text: str) -> str:
    """What the journal keeps: the values that open something are left out."""
    if path.endswith("/token"):
        return "[secret]"
    return _SECRET_FIELDS.sub(r'\1"[secret]"', text)


def _partial(result: Any) -> Any:
    """A list with its second half left out, saying nothing about it; what is no list stays whole."""
    if isinstance(result, list):
        return result[: len(result) // 2]
    if not isinstance(result, Listing):
        return result
    items = result.items[: len(result.items) // 2]
    if result.info is None:
        return Listing(items, None)
    return Listing(items, {**result.info, "count": len(items), "total_count": len(items), "total_pages": 1 if items else 0})
