"""A small browser for the local cloud: cookies, redirects, the login with a code, WebSockets.

It sends every name under `localhost` to 127.0.0.1 and asks no proxy and no resolver.
"""

from __future__ import annotations

import re
from html import unescape
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from websockets.asyncio.client import connect

__all__ = ["Browser"]

_FORM = re.compile(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
_FIELD = re.compile(r'<input[^>]*name="([^"]*)"(?:[^>]*value="([^"]*)")?')
_TIMEOUT_S = 30.0


class _Loopback(httpx.AsyncHTTPTransport):
    """Connects to 127.0.0.1 whatever the name; the Host header keeps the name."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # A copy: the client files cookies under the name that it asked for.
        address = request.url.copy_with(host="127.0.0.1")
        there = httpx.Request(request.method, address, headers=request.headers, stream=request.stream, extensions=request.extensions)
        return await super().handle_async_request(there)


class _Socket(connect):
    """A WebSocket whose refused handshake is an error, redirects included."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Browser:
    """One person's browser at one front door. Use as an async context manager."""

    def __init__(self, front_url: str) -> None:
        """Open an empty browser for the front door at `front_url` (`http://127.0.0.1:PORT`)."""
        self.front_url = front_url.rstrip("/")
        self.port = urlsplit(self.front_url).port or 80
        self.client = httpx.AsyncClient(transport=_Loopback(), trust_env=False, timeout=_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.client.aclose()

    def url(self, hostname: str, path: str = "/") -> str:
        """The address of a hostname at this front door."""
        return f"http://{hostname}:{self.port}{path}"

    async def request(self, method: str, hostname: str, path: str = "/", **options: Any) -> httpx.Response:
        """One request with the cookies so far; redirects are followed only when `follow_redirects=True` is given."""
        return await self.client.request(method, self.url(hostname, path), **options)

    async def get(self, hostname: str, path: str = "/", **options: Any) -> httpx.Response:
        """A GET with the cookies so far."""
        return await self.request("GET", hostname, path, **options)

    async def mails(self, email: str) -> list[dict[str, Any]]:
        """Mails to an address, oldest first."""
        answer = await self.client.get(f"{self.front_url}/mailbox.json", params={"to": email})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    async def login(self, hostname: str, email: str, path: str = "/") -> bool:
        """Walk from a page through the login back to it; False when no code comes or the gate still says no."""
        before = len(await self.mails(email))
        asked = await self.get(hostname, path)
        if not asked.is_redirect or "/cdn-cgi/access/login/" not in asked.headers["location"]:
            return False
        email_page = await self.client.get(asked.headers["location"])
        if email_page.status_code != 200:
            return False
        code_page = await self._submit(email_page, email=email)
        mails = await self.mails(email)
        if code_page.status_code != 200 or len(mails) <= before:
            return False
        done = await self._submit(code_page, code=mails[-1]["code"])
        if not done.is_redirect:
            return False
        authorized = await self.client.get(done.headers["location"])
        return authorized.is_redirect and self.token(hostname) != ""

    def token(self, hostname: str) -> str:
        """The session token that this browser holds for a hostname; empty without one."""
        for cookie in self.client.cookies.jar:
            if cookie.name == "CF_Authorization" and cookie.domain == hostname:
                return cookie.value or ""
        return ""

    def forget(self) -> None:
        """Drop every cookie."""
        self.client.cookies.clear()

    def websocket(
        self, hostname: str, path: str = "/", *, headers: dict[str, str] | None = None, subprotocols: list[str] | None = None
    ) -> connect:
        """A WebSocket with this browser's cookie, to be used as `async with browser.websocket(...) as socket`."""
        token = self.token(hostname)
        given = {**({"Cookie": f"CF_Authorization={token}"} if token else {}), **(headers or {})}
        return _Socket(
            f"ws://{hostname}:{self.port}{path}",
            host="127.0.0.1",
            port=self.port,
            additional_headers=given,
            subprotocols=subprotocols,  # type: ignore[arg-type]
            proxy=None,
            open_timeout=_TIMEOUT_S,
        )

    async def _submit(self, shown: httpx.Response, **typed: str) -> httpx.Response:
        form = _FORM.search(shown.text)
        if form is None:
            raise ValueError(f"no form on {shown.url}")
        fields = {name: unescape(value) for name, value in _FIELD.findall(form.group(2))}
        return await self.client.post(urljoin(str(shown.url), unescape(form.group(1))), data={**fields, **typed})
