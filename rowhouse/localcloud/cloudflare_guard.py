"""What every API request passes first: the token's form, whose it is, what it may do, and how often it has asked."""

from __future__ import annotations

import re
from collections import deque

from starlette.requests import Request

from rowhouse.localcloud.cloudflare_reply import ApiError, authentication_error, unauthorized
from rowhouse.localcloud.cloudflare_state import State, Token

__all__ = ["Guard"]

_FORM = re.compile(r"^Bearer [0-9A-Za-z_-]{40,80}$")
_SCOPES = (
    ("/dns_records", "dns"),
    ("/access/logs", "logs"),
    ("/access", "access"),
    ("/cfd_tunnel", "tunnel"),
    ("/graphql", "analytics"),
    ("/tokens/verify", ""),
)


class Guard:
    """The door of the API."""

    def __init__(self, state: State) -> None:
        """Judge by the state's tokens and switches."""
        self.state = state
        self._asked: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}

    def admit(self, request: Request) -> Token:
        """The token of a request that may go on. Raises: ApiError otherwise, in Cloudflare's words."""
        header = request.headers.get("authorization", "")
        if header and not _FORM.match(header):
            raise ApiError(400, 6003, "Invalid request headers", chain=[(6111, "Invalid format for Authorization header")])
        token = self.state.tokens.get(header.removeprefix("Bearer "))
        if token is None:
            raise authentication_error()
        self._count(token.user)
        if token.status != "active" and not request.url.path.endswith("/tokens/verify"):
            raise authentication_error()
        self._check_scope(token, request)
        return token

    def headers(self, token: Token | None) -> dict[str, str]:
        """What the answer says about the limit that is left."""
        limit = self.state.switches.requests
        if limit is None or token is None:
            return {}
        now, window = self.state.clock.timestamp(), self.state.switches.request_window_s
        asked = self._asked.get(token.user) or deque()
        reset = max(0.0, self._blocked.get(token.user, (asked[0] if asked else now) + window) - now)
        left = 0 if token.user in self._blocked else max(0, limit - len(asked))
        return {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(int(reset) + 1)}

    def _count(self, user: str) -> None:
        limit, window = self.state.switches.requests, self.state.switches.request_window_s
        if limit is None:
            return
        now = self.state.clock.timestamp()
        until = self._blocked.get(user, 0.0)
        if now < until:
            raise ApiError(429, 10429, "Rate limited. Please wait and consider throttling your request speed", retry_after=until - now)
        self._blocked.pop(user, None)
        asked = self._asked.setdefault(user, deque())
        while asked and asked[0] <= now - window:
            asked.popleft()
        if len(asked) >= limit:
            self._blocked[user] = now + window
            asked.clear()
            raise ApiError(429, 10429, "Rate limited. Please wait and consider throttling your request speed", retry_after=window)
        asked.append(now)

    def _check_scope(self, token: Token, request: Request) -> None:
        path, params = request.url.path, request.path_params
        if params.get("account", self.state.account) != self.state.account:
            raise unauthorized()
        if params.get("zone", self.state.zone_id) != self.state.zone_id:
            raise unauthorized()
        needed = next((scope for part, scope in _SCOPES if part in path), "zone")
        writes = request.method not in {"GET", "HEAD"} and needed != "analytics"
        if needed and token.scopes is not None and needed not in token.scopes:
            raise unauthorized()
        if writes and token.read_only:
            raise unauthorized()
