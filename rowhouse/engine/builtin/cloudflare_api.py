"""Cloudflare's REST API, as far as the built-in provider asks it.

Does: the envelope, errors with their code and request id, retries of 429 and 5xx, pages of lists. Does not: know Pulumi. Repeating a POST
after an unclear answer is left to the caller, who looks first whether it had its effect.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL: Final = "https://api.cloudflare.com/client/v4"
_TOKEN: Final = re.compile(r"[0-9A-Za-z\-_]{40,80}")  # as the published plugin checks it (2026-07)
_TRIES: Final = 6
_TIMEOUT_S: Final = 30.0
_PAGE: Final = 100


class ApiError(Exception):
    """Cloudflare refused; the text is safe to show."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unclear(ApiError):  # noqa: N818
    """The request may have had its effect: the connection broke or the server failed."""


class Api:
    """One account's access, by the environment's token and base address."""

    def __init__(self, env: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None, pause_s: float = 0.5) -> None:
        """Args: transport: what carries requests, for tests. pause_s: the first wait before a retry."""
        self._token = env.get("CLOUDFLARE_API_TOKEN", "")
        self._url = env.get("CLOUDFLARE_BASE_URL") or DEFAULT_URL
        self._transport = transport
        self._pause_s = pause_s
        self._client: httpx.AsyncClient | None = None

    def configure(self, token: str, url: str) -> None:
        """Take what the provider's configuration says; empty values leave the environment's."""
        self._token, self._url = token or self._token, url or self._url

    @property
    def token(self) -> str:
        """The token, for hiding it."""
        return self._token

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            if not self._token:
                raise ApiError(0, 0, "CLOUDFLARE_API_TOKEN is not set; create a token with the Access, Tunnel and DNS permissions")
            if not _TOKEN.fullmatch(self._token):
                raise ApiError(
                    0, 0, "CLOUDFLARE_API_TOKEN has the wrong form; a token has 40 to 80 letters, digits, dashes and underscores"
                )
            self._client = httpx.AsyncClient(
                base_url=self._url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=_TIMEOUT_S,
                transport=self._transport,
                limits=httpx.Limits(max_connections=32),
            )
        return self._client

    async def get(self, path: str) -> Any:
        """One object. Raises: ApiError."""
        return await self._ask("GET", path, None)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Replace. Raises: ApiError."""
        return await self._ask("PUT", path, body)

    async def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change some fields. Raises: ApiError."""
        return await self._ask("PATCH", path, body)

    async def delete(self, path: str) -> None:
        """Remove; what is gone already is a success. Raises: ApiError."""
        try:
            await self._ask("DELETE", path, None)
        except ApiError as error:
            if error.status != 404:
                raise

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Create; asked once. Raises: Unclear when it may have worked, ApiError."""
        return await self._ask("POST", path, body)

    async def list(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a list, page by page until one is short. Raises: ApiError."""
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            params = {**query, "page": str(page), "per_page": str(_PAGE)}
            items = await self._ask("GET", path, None, params)
            found += items or []
            if not items or len(items) < _PAGE:
                return found
            page += 1

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None, params: Mapping[str, str] | None = None) -> Any:
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                response = await self._http().request(method, path, json=body, params=params)
            except httpx.ConnectError as error:
                if last:
                    raise ApiError(0, 0, f"Cloudflare cannot be reached at {self._url}: {error}") from error
            except httpx.TransportError as error:
                if method == "POST":
                    raise Unclear(0, 0, f"POST {path}: the connection to Cloudflare broke ({type(error).__name__})") from error
                if last:
                    raise ApiError(0, 0, f"{method} {path}: the connection to Cloudflare broke ({type(error).__name__})") from error
            else:
                if response.is_success:
                    return _result(response)
                failed = _error(method, path, response)
                if not _again(response) or last:
                    raise failed
                if method == "POST" and response.status_code >= 500:
                    raise Unclear(failed.status, failed.code, str(failed))
                await asyncio.sleep(_wait(response, self._pause_s * 2**attempt))
                continue
            await asyncio.sleep(self._pause_s * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _result(response: httpx.Response) -> Any:
    if response.status_code == 204 or not response.content:
        return None
    try:
        envelope = response.json()
    except ValueError as error:
        raise ApiError(response.status_code, 0, f"Cloudflare answered with something that is not JSON ({response.url.path})") from error
    return envelope.get("result") if isinstance(envelope, dict) else None


def _error(method: str, path: str, response: httpx.Response) -> ApiError:
    code, text = 0, ""
    try:
        errors = response.json().get("errors") or []
    except (ValueError, AttributeError):
        errors = []
    if errors:
        code = int(errors[0].get("code") or 0)
        text = "; ".join(f"{item.get('message')} ({item.get('code')})" for item in errors)
    ray = response.headers.get("cf-ray")
    shown = f"{method} {path}: {response.status_code} {text or response.reason_phrase}" + (f" [request {ray}]" if ray else "")
    return ApiError(response.status_code, code, shown)


def _again(response: httpx.Response) -> bool:
    if response.headers.get("x-should-retry") == "false":
        return False
    return response.status_code in {408, 429} or response.status_code >= 500


def _wait(response: httpx.Response, default_s: float) -> float:
    try:
        wait_s = float(response.headers.get("retry-after", ""))
    except ValueError:
        wait_s = default_s * random.uniform(0.8, 1.2)  # noqa: S311  # spreads retries, hides nothing
    return min(wait_s, 60.0)
