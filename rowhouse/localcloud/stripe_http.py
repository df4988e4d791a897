"""The outside of every endpoint: key, version, rate, form, schema, idempotency, locks, errors, headers.

An endpoint itself is a row of a table: method, path, parameter table and a function from `Call` to the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.stripe_errors import (
    StripeError,
    idempotency_in_flight,
    idempotency_mismatch,
    internal,
    invalid,
    lock_timeout,
    rate_limited,
    unauthorized,
)
from rowhouse.localcloud.stripe_form import decode
from rowhouse.localcloud.stripe_schema import Kind, parse_params
from rowhouse.localcloud.stripe_state import API_VERSION, Json, new_id

__all__ = ["Call", "Endpoint", "Front"]

_KEY = re.compile(r"^(sk|rk)_test_[A-Za-z0-9_]+$")
_VERSION = re.compile(r"^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$")
_OLDEST_VERSION = "2025-03-31"  # basil: before it, periods were on subscriptions and metered prices needed no meter
_KEPT_S = 24 * 3600  # how long an idempotency key answers for (API reference, 2026-08: at least 24 h)
_FORM = "application/x-www-form-urlencoded"


@dataclass
class Call:
    """One request that passed every check."""

    params: dict[str, Any]
    path: dict[str, str]
    url: str
    request_id: str
    idempotency_key: str | None

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.path["id"]


Handler = Callable[[Call], Json | Awaitable[Json]]


@dataclass(frozen=True)
class Endpoint:
    """One row of the API."""

    method: str
    path: str  # Starlette's form: /v1/customers/{id}
    table: Mapping[str, Kind]
    handler: Handler
    lock: Callable[[Call], str | None] = field(default=lambda _call: None)
    search: bool = False


@dataclass
class _Stored:
    at: float
    fingerprint: str
    endpoint: str
    request_id: str
    status: int = 0  # 0: in flight
    body: bytes = b""


class _Bucket:
    """Requests a second, in virtual time."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.rate, self.clock = rate, clock
        self.level, self.at = rate, clock.timestamp()

    def take(self) -> bool:
        now = self.clock.timestamp()
        self.level = min(self.rate, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Front:
    """Serves endpoints as Stripe's front door does."""

    def __init__(self, clock: Clock, *, api_keys: frozenset[str], rate: float, search_rate: float, limits: bool, lock_s: float) -> None:
        """Admit `api_keys`; `rate` and `search_rate` are requests a second, `lock_s` how long (real) a locked call takes."""
        self.clock, self.api_keys, self.limits, self.lock_s = clock, api_keys, limits, lock_s
        self._rate, self._search_rate = _Bucket(rate, clock), _Bucket(search_rate, clock)
        self._stored: dict[str, _Stored] = {}
        self._locked: set[str] = set()
        self.finish: Callable[[Json, list[str]], Json] = lambda answer, _paths: answer  # expands
        self.begin: Callable[[str, str | None], None] = lambda _request_id, _key: None

    async def serve(self, endpoint: Endpoint | None, request: Request) -> Response:
        """Answer one request; `endpoint` is None when no path matched."""
        request_id = new_id("req")
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        try:
            status, body = await self._serve(endpoint, request, request_id, headers)
        except StripeError as error:
            status, body = error.status, _encode(error.body())
            headers.update(error.headers)
        return Response(body, status, headers, media_type="application/json")

    async def _serve(self, endpoint: Endpoint | None, request: Request, request_id: str, headers: dict[str, str]) -> tuple[int, bytes]:
        self._authorize(request)
        headers["Stripe-Version"] = self._version(request)
        if self.limits and not self._rate.take():
            raise rate_limited("global-rate")
        if endpoint is None:
            raise StripeError(
                404,
                f"Unrecognized request URL ({request.method}: {request.url.path}). Please see https://stripe.com/docs "
                "or we can help at https://support.stripe.com/.",
            )
        if self.limits and endpoint.search and not self._search_rate.take():
            raise rate_limited("endpoint-rate")
        raw = await self._raw_params(request)
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is None:
            return 200, await self._run(endpoint, request, raw, request_id, None)
        headers["Idempotency-Key"] = key
        return await self._once(endpoint, request, raw, request_id, key, headers)

    async def _once(
        self, endpoint: Endpoint, request: Request, raw: Json, request_id: str, key: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        if not key or len(key) > 255:
            raise invalid("Idempotency keys must be between 1 and 255 characters.")
        fingerprint = json.dumps(raw, sort_keys=True)
        where = request.url.path
        known = self._stored.get(key)
        if known is not None and self.clock.timestamp() - known.at >= _KEPT_S and known.status:
            known = None
        if known is not None:
            if known.endpoint != where:
                raise idempotency_mismatch(key, known.endpoint)
            if known.fingerprint != fingerprint:
                raise idempotency_mismatch(key)
            if not known.status:
                raise idempotency_in_flight(key)
            headers["Idempotent-Replayed"] = "true"
            headers["Original-Request"] = known.request_id
            if known.status >= 500:
                headers["Stripe-Should-Retry"] = "false"
            return known.status, known.body
        parse_params(raw, endpoint.table)  # nothing is stored for a request that never began
        entry = self._stored[key] = _Stored(self.clock.timestamp(), fingerprint, where, request_id)
        try:
            entry.body = await self._run(endpoint, request, raw, request_id, key)
        except StripeError as error:
            if error.status in {409, 429}:
                del self._stored[key]
            else:  # a refusal by the endpoint itself is an answer like any other (inferred)
                entry.status, entry.body = error.status, _encode(error.body())
            raise
        except BaseException:
            del self._stored[key]
            raise
        planned = request.scope.get("fault_after")
        if planned is not None:
            # The effect happened, the caller is told 500, and the key remembers exactly that answer.
            entry.status, entry.body = planned.status, _encode(planned.body or internal().body())
            return entry.status, entry.body
        entry.status = 200
        return 200, entry.body

    async def _run(self, endpoint: Endpoint, request: Request, raw: Json, request_id: str, key: str | None) -> bytes:
        params = parse_params(raw, endpoint.table)
        paths = params.pop("expand", [])
        call = Call(params, dict(request.path_params), request.url.path, request_id, key)
        with self._hold(endpoint.lock(call)) as held:
            if held and self.limits:
                await asyncio.sleep(self.lock_s)
            self.begin(request_id, key)
            answer = endpoint.handler(call)
            if not isinstance(answer, dict):
                answer = await answer
            return _encode(self.finish(answer, paths))

    @contextlib.contextmanager
    def _hold(self, name: str | None) -> Iterator[bool]:
        if name is None:
            yield False
            return
        if name in self._locked:
            raise lock_timeout()
        self._locked.add(name)
        try:
            yield True
        finally:
            self._locked.discard(name)

    def _authorize(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized(None)
        if not _KEY.match(key) or not any(secrets.compare_digest(key, known) for known in self.api_keys):
            raise unauthorized(key)

    @staticmethod
    def _version(request: Request) -> str:
        wanted = request.headers.get("stripe-version", API_VERSION)
        if not _VERSION.match(wanted):
            raise invalid(f"Invalid Stripe API version: {wanted}")
        if wanted[:10] < _OLDEST_VERSION:
            raise invalid(f"Invalid Stripe API version: {wanted}. The local stand-in speaks {API_VERSION} and back to {_OLDEST_VERSION}.")
        return wanted

    @staticmethod
    async def _raw_params(request: Request) -> Json:
        query = request.scope.get("query_string", b"").decode("latin-1")
        body = await request.body()
        if not body:
            return decode(query)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _FORM:
            raise invalid(f"Invalid request: the body must be {_FORM} (you sent {kind or 'no content type'}).")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise invalid("Invalid request: the body is not UTF-8.") from error
        return decode("&".join(part for part in (query, text) if part))


def _encode(answer: Json) -> bytes:
    return json.dumps(answer, indent=2).encode()
