"""Stripe: form-encoded requests with idempotency keys, pages and errors.

Plain httpx and not the `stripe` package: its client never repeats a 429, takes no asynchronous transport from us, and adds a random
idempotency key to each POST, which protects its own retries but not a process that is killed and run again. Does not: decide which
object is ours. Source: docs.stripe.com and API version 2026-10-28.endive (2026-10).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from rowhouse.vendors.http import Http, Limit, Sleep, VendorError, token_from

__all__ = ["Stripe", "form"]

Json = dict[str, Any]

DEFAULT_BASE_URL: Final = "https://api.stripe.com"
API_VERSION: Final = "2026-10-28.endive"
_SANDBOX: Final = Limit(per_s=25.0, burst=25)  # Stripe: 25/s in a sandbox, and for each endpoint (2026-10)
_LIVE: Final = Limit(per_s=100.0, burst=100)  # Stripe: 100/s live (2026-10)
_LIVE_METERS: Final = Limit(per_s=1000.0, burst=1000)  # Stripe: 1,000 meter events a second live; a sandbox has none to itself (2026-10)
_METERS: Final = "/v1/billing/meter_events"
_OLD_S: Final = 60.0
"""An object created longer ago than this, by its own time, was not made by the request that answers with it."""


class Stripe:
    """One Stripe account."""

    def __init__(
        self,
        key: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.live = "_live_" in key
        self._account = _LIVE if self.live else _SANDBOX
        self.http = Http(
            "Stripe",
            base_url.rstrip("/"),
            {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION, "User-Agent": "rowhouse"},
            secrets=(key,),
            explain=_explain,
            request_id_header="request-id",
            transport=transport,
            sleep=sleep,
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> Stripe:
        """The client that `STRIPE_API_KEY` and `ROWHOUSE_STRIPE_BASE_URL` describe; raises MissingToken."""
        env = os.environ if environment is None else environment
        key = token_from(env, "STRIPE_API_KEY", "Stripe", "it is a secret or restricted key of the Dashboard's page API keys")
        return cls(key, base_url=env.get("ROWHOUSE_STRIPE_BASE_URL") or DEFAULT_BASE_URL, transport=transport)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Json | None:
        """One object; None when Stripe has none of that id. A deleted customer answers `{"deleted": true}`."""
        try:
            response = await self._send("GET", path, params=form(params or {}), repeatable=True)
        except VendorError as error:
            if error.status == 404 or error.code == "resource_missing":
                return None
            raise
        found: Json = response.json()
        return found

    async def pages(self, path: str, params: Mapping[str, Any] | None = None) -> AsyncIterator[Json]:
        """Every object of a list, page by page."""
        query = {"limit": 100, **(params or {})}
        while True:
            response = await self._send("GET", path, params=form(query), repeatable=True)
            page = response.json()
            data: Sequence[Json] = page.get("data") or []
            for item in data:
                yield item
            if not page.get("has_more") or not data:
                return
            query["starting_after"] = data[-1]["id"]

    async def post(self, path: str, params: Mapping[str, Any], *, key: str = "", repeatable: bool = True) -> Json:
        """Change one object. Without a key the caller says whether repeating is the same as once."""
        answered, _ = await self.post_once(path, params, key=key, repeatable=repeatable)
        return answered

    async def post_once(self, path: str, params: Mapping[str, Any], *, key: str = "", repeatable: bool = True) -> tuple[Json, bool]:
        """As `post`, and whether the answer is an old one, replayed for its idempotency key.

        With a key a 5xx is not repeated here: Stripe replays even a 500 for the same key, so the caller looks and takes another key.
        """
        headers = {"Idempotency-Key": key} if key else {}
        response = await self._send("POST", path, data=form(params), headers=headers, repeatable=repeatable and not key)
        answered: Json = response.json()
        return answered, response.headers.get("idempotent-replayed") == "true" or _is_old(response, answered)

    async def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Json | None:
        """Delete one object; None when it is gone already."""
        try:
            response = await self._send("DELETE", path, params=form(params or {}), repeatable=True)
        except VendorError as error:
            if error.status == 404 or error.code == "resource_missing":
                return None
            raise
        gone: Json = response.json()
        return gone

    async def _send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        data: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        conflicts = 0
        while True:
            if self.live and path == _METERS:
                await self.http.buckets.take("meters", _LIVE_METERS)
            else:
                await self.http.buckets.take("account", self._account)
            try:
                return await self.http.send(
                    method,
                    path,
                    repeatable=repeatable,
                    data=data,
                    params=params or None,
                    headers=headers,
                )
            except VendorError as error:
                # 409: another request with this key, or on this object, is under way. Nothing was done (Stripe, 2026-10).
                lost = bool(headers) and error.status == 0
                if not (error.status == 409 or lost) or conflicts >= 4:
                    raise
                conflicts += 1
                await self.http.sleep(0.2 * 2**conflicts)


def form(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested parameters in Stripe's form encoding: `items[0][price]`, booleans as words, None left out.

    Raises: TypeError for a float, whose digits are not those of the money it should be.
    """
    flat: dict[str, str] = {}

    def add(name: str, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, Mapping):
            for key, item in value.items():
                add(f"{name}[{key}]", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                add(f"{name}[{index}]", item)
        elif isinstance(value, bool):
            flat[name] = "true" if value else "false"
        elif isinstance(value, float):
            raise TypeError(f"{name}: a float is never sent as an amount; pass a string")
        else:
            flat[name] = str(value)

    for key, value in params.items():
        add(key, value)
    return flat


def _is_old(response: httpx.Response, answered: Json) -> bool:
    """Whether the answer speaks of an object that was there long before it was sent, so that a replay without its header is noticed."""
    created, date = answered.get("created"), response.headers.get("date")
    if not isinstance(created, int) or not date:
        return False
    try:
        sent: datetime = parsedate_to_datetime(date)
    except ValueError:
        return False
    return sent.timestamp() - created > _OLD_S


def _explain(response: httpx.Response) -> tuple[str, str]:
    """Stripe's code and words, with the parameter that they speak of."""
    try:
        error = response.json()["error"]
        param = f" (parameter {error['param']})" if error.get("param") else ""
        return str(error.get("code") or error.get("type") or ""), f"{error.get('message') or ''}{param}"
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody in between answered, in words of their own
        return "", response.text or "no body"
