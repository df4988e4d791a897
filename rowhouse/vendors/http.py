"""One HTTP client a vendor: timeouts, rate limits kept on our side, retries only where safe, errors without credentials.

Does not: know any vendor's paths. The transport is an argument, so that tests pass a function and nobody patches.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from rowhouse.errors import RowhouseError
from rowhouse.hiding import hidden

__all__ = ["Buckets", "Http", "Limit", "MissingToken", "VendorError", "asof_ms", "date_ms", "token_from"]

_RETRY_AFTER_MAX_S: Final = 60.0
_BACKOFF_MAX_S: Final = 8.0
_CROWD: Final = 10_000
_FULL_S: Final = 60.0
"""A bucket untouched for a minute is full again under every limit in use; forgetting it changes nothing."""

Sleep = Callable[[float], Awaitable[None]]
Explain = Callable[[httpx.Response], tuple[str, str]]


class VendorError(RowhouseError):
    """A vendor refused, failed or did not answer; the text names vendor, request, status, the vendor's words and its request id."""

    def __init__(self, vendor: str, request: str, *, status: int = 0, code: str = "", message: str = "", request_id: str = "") -> None:
        self.vendor = vendor
        self.request = request
        self.status = status
        """HTTP status; 0 when no answer came."""
        self.code = code
        self.message = message
        self.request_id = request_id
        answer = f"answered {status}" if status else "did not answer"
        detail = ": " + message if message else ""
        mark = f" (request id {request_id})" if request_id else ""
        super().__init__(f"{vendor} {answer} to {request}{detail}{mark}")

    @property
    def ambiguous(self) -> bool:
        """Whether the request may have had its effect all the same."""
        return self.status in {0, 408} or self.status >= 500

    def says(self, *words: str) -> bool:
        """Whether the vendor's text holds one of these, whatever their case."""
        text = self.message.lower()
        return any(word.lower() in text for word in words)


class MissingToken(RowhouseError):  # noqa: N818
    """A vendor's credential is not in the environment."""


def token_from(environment: Mapping[str, str], name: str, vendor: str, where: str) -> str:
    """The credential of that name.

    Raises: MissingToken when it is not set, or cannot be a header's value.
    """
    token = environment.get(name, "").strip()
    if not token:
        raise MissingToken(f"{name} is not set, so nothing can be asked of {vendor}. Set it in the environment of this process; {where}.")
    if not token.isascii() or not token.isprintable():
        raise MissingToken(
            f"{name} holds characters that no {vendor} token has (a line break, a letter beyond ASCII). Copy it again; {where}."
        )
    return token


@dataclass(frozen=True)
class Limit:
    """How often something may be asked: a bucket of `burst` that refills at `per_s`."""

    per_s: float
    burst: int


class Buckets:
    """Token buckets by key; `take` waits for its turn.

    A caller that must wait reserves its turn first, so that waiters go in the order in which they came.
    """

    def __init__(self, *, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._clock = clock
        self._state: dict[object, tuple[float, float]] = {}  # key -> (tokens, when counted)
        self._swept_at = -_FULL_S

    async def take(self, key: object, limit: Limit) -> None:
        """Take one turn of this key, waiting for it when the bucket is empty."""
        now = self._clock()
        tokens, since = self._state.get(key, (float(limit.burst), now))
        tokens = min(float(limit.burst), tokens + (now - since) * limit.per_s) - 1.0
        self._state[key] = (tokens, now)
        if len(self._state) > _CROWD and now - self._swept_at >= _FULL_S:  # not at each turn: it looks at all of them
            self._forget(now)
            self._swept_at = now
        if tokens < 0:
            await self._sleep(-tokens / limit.per_s)

    def _forget(self, now: float) -> None:
        self._state = {key: kept for key, kept in self._state.items() if now - kept[1] < _FULL_S}


class Http:
    """Requests to one vendor.

    Retries: 429 and a connection that was never made always (nothing happened); lost answers and 5xx only when the caller says that
    repeating is safe. Retry-After is honoured up to a minute. Every error text is free of the secrets given here.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        secrets: tuple[str, ...],
        explain: Explain,
        request_id_header: str,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = 30.0,
        attempts: int = 5,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.vendor = vendor
        self._secrets = tuple(secret for secret in secrets if secret)
        self._explain = explain
        self._request_id_header = request_id_header
        self._attempts = attempts
        self.sleep = sleep
        self.buckets = Buckets(sleep=sleep)
        self.calls = 0
        """Requests that were sent, repeated ones included."""
        self.heard_ms: int | None = None
        """The latest `Date` of the vendor's answers, refusals included, in milliseconds UTC: the only time that counts as a fact."""
        self.ahead_s: float | None = None
        """By how many seconds this machine's clock was ahead of the vendor's at that answer."""
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers),
            transport=transport,
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            follow_redirects=False,  # a redirect would carry the credential to another address
        )

    def __repr__(self) -> str:
        return f"Http({self.vendor}, {self._client.base_url})"

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def redact(self, text: str) -> str:
        """The text without the vendor's credential, whatever its form."""
        return hidden(text, self._secrets)

    async def send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        bucket: tuple[object, Limit] | None = None,
    ) -> httpx.Response:
        """The answer of a request that succeeded (2xx).

        Args: repeatable: whether sending it twice does the same as once. bucket: whose turn it takes.
        Raises: VendorError for everything else.
        """
        request = f"{method} {path}"
        last: VendorError | None = None
        for attempt in range(self._attempts):
            if bucket is not None:
                await self.buckets.take(*bucket)
            wait_s = min(_BACKOFF_MAX_S, 0.2 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, not a secret
            self.calls += 1
            began = time.monotonic()
            try:
                response = await self._client.request(
                    method,
                    path,
                    json=json,
                    data=data,
                    params=_query(params),
                    headers=headers,
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else httpx.Timeout(timeout_s, connect=5.0),
                )
            except (httpx.TransportError, httpx.InvalidURL) as error:
                # Only the kind of the exception is told: its text may repeat addresses with credentials of a proxy.
                last = VendorError(self.vendor, request, message=f"{type(error).__name__} at {self._client.base_url.host}")
                never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                if isinstance(error, httpx.InvalidURL) or not (repeatable or never_sent):
                    raise last from None
            else:
                response.extensions["took_s"] = time.monotonic() - began
                self._hear(response)
                if response.is_success:
                    return response
                last = self._error(request, response)
                if response.status_code == 429:
                    wait_s = _retry_after(response) or max(wait_s, 0.5)
                elif not (repeatable and response.status_code in {500, 502, 503, 504}):
                    raise last
                else:
                    wait_s = _retry_after(response) or wait_s
            if attempt + 1 < self._attempts:
                await self.sleep(wait_s)
        assert last is not None
        raise last

    def _hear(self, response: httpx.Response) -> None:
        at = date_ms(response)
        if at is not None and (self.heard_ms is None or at >= self.heard_ms):
            self.heard_ms, self.ahead_s = at, time.time() - at / 1000

    def _error(self, request: str, response: httpx.Response) -> VendorError:
        code, message = self._explain(response)
        return VendorError(
            self.vendor,
            request,
            status=response.status_code,
            code=self.redact(code),
            message=" ".join(self.redact(message).split())[:500],  # hidden first: a cut would leave half of a credential
            request_id=self.redact(response.headers.get(self._request_id_header, "")),
        )


def date_ms(response: httpx.Response) -> int | None:
    """The answer's `Date` in milliseconds UTC; None where it has none that can be read."""
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1000


def asof_ms(response: httpx.Response) -> int | None:
    """A time by the vendor's clock at which the answer was surely not read yet: its `Date` less the seconds, rounded up, that it took."""
    at = date_ms(response)
    return None if at is None else at - 1000 * math.ceil(float(response.extensions["took_s"]))


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the vendor asks us to wait: a number or a date."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(_RETRY_AFTER_MAX_S, max(0.0, seconds)) if seconds == seconds else None  # noqa: PLR0124  # not a number


def _query(params: Mapping[str, str] | Sequence[tuple[str, str]] | None) -> list[tuple[str, str | int | float | bool | None]] | None:
    # None, not an empty list: httpx would strip the query that the path already has.
    if not params:
        return None
    return list(params.items() if isinstance(params, Mapping) else params)
