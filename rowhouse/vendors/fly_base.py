"""How every call to Fly goes out: addresses, token, rate limits, the minute in which Fly may not know a new app yet.

Does not: know what is asked. Source: Machines API reference and specification of 2026-05 to 2026-08.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import httpx

from rowhouse.vendors.http import Http, Limit, Sleep, VendorError, token_from

__all__ = ["FlyBase", "Json"]

Json = dict[str, Any]

DEFAULT_BASE_URL: Final = "https://api.machines.dev"
DEFAULT_API_URL: Final = "https://api.fly.io"
"""Where what is not the Machines API lies; here: Prometheus."""
# A little below Fly's own limits, because its clock and ours start at different moments.
ACTION: Final = Limit(per_s=0.95, burst=3)  # Fly: per action and machine (or app) 1/s, burst 3 (2026-08)
_YOUNG_S: Final = 60.0  # Fly's own client repeats 404 and 401 for a minute after an app's creation (2026-08)


class FlyBase:
    """One token's way to Fly."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        api_url: str = DEFAULT_API_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        # A macaroon that brings its own scheme keeps it; `Bearer` suits every other form.
        authorization = token if token.startswith("FlyV1 ") else f"Bearer {token}"

        def reach(url: str) -> Http:
            return Http(
                "Fly",
                url,
                {"Authorization": authorization, "User-Agent": "rowhouse"},
                secrets=(token, token.removeprefix("FlyV1 ")),
                explain=_explain,
                request_id_header="fly-request-id",
                transport=transport,
                sleep=sleep,
            )

        self.http = reach(base_url.rstrip("/") + "/v1")
        self._reach_metrics: Callable[[], Http] = lambda: reach(api_url.rstrip("/") + "/prometheus")
        self._metrics: Http | None = None
        self._young: dict[str, float] = {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> Self:
        """The client that `FLY_API_TOKEN`, `FLY_FLAPS_BASE_URL` and `FLY_API_BASE_URL` describe; raises MissingToken.

        With another address for machines and none for the rest, the rest is asked there too: a token never goes where nobody sent it.
        """
        env = os.environ if environment is None else environment
        token = token_from(env, "FLY_API_TOKEN", "Fly", "`fly tokens create org` makes one")
        machines = env.get("FLY_FLAPS_BASE_URL")
        rest = env.get("FLY_API_BASE_URL") or machines or DEFAULT_API_URL
        return cls(token, base_url=machines or DEFAULT_BASE_URL, api_url=rest, transport=transport)

    @property
    def metrics(self) -> Http:
        """The way to Prometheus, made when it is first asked for."""
        if self._metrics is None:
            self._metrics = self._reach_metrics()
        return self._metrics

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()
        if self._metrics is not None:
            await self._metrics.close()

    def expect(self, name: str) -> None:
        """Note that this app is new: for a minute Fly may answer 404 or 401 to calls below it, and they are repeated."""
        self._young[name] = time.monotonic() + _YOUNG_S

    async def _send(
        self,
        method: str,
        path: str,
        *,
        who: str,
        repeatable: bool,
        limit: Limit = ACTION,
        json: Any = None,
        params: list[tuple[str, str]] | None = None,
        timeout_s: float | None = None,
        nonce: str = "",
    ) -> Json:
        response = await self._ask(
            method, path, who=who, repeatable=repeatable, limit=limit, json=json, params=params, timeout_s=timeout_s, nonce=nonce
        )
        answered: Json = response.json() if response.content else {}
        return answered

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        who: str,
        repeatable: bool,
        limit: Limit = ACTION,
        json: Any = None,
        params: list[tuple[str, str]] | None = None,
        timeout_s: float | None = None,
        nonce: str = "",
    ) -> httpx.Response:
        action = path.partition("?")[0].rsplit("/", 1)[-1]
        headers = {"fly-machine-lease-nonce": nonce} if nonce else None
        pause_s = 0.2
        while True:
            try:
                response = await self.http.send(
                    method,
                    path,
                    repeatable=repeatable,
                    json=json,
                    params=params,
                    headers=headers,
                    timeout_s=timeout_s,
                    bucket=((method, who if action == who else action, who), limit),
                )
            except VendorError as error:
                if not self._too_young(path, error):
                    raise
                await self.http.sleep(pause_s)
                pause_s = min(2.0, pause_s * 1.6)
            else:
                parts = path.strip("/").split("/")
                if len(parts) > 2:
                    self._young.pop(parts[1], None)  # Fly has answered for the app: from now on a 404 is the truth
                return response

    def _too_young(self, path: str, error: VendorError) -> bool:
        """Whether a 404 or 401 only says that Fly does not know the new app everywhere yet.

        Only for the app itself and its collections: below them a 404 is the truth about one object.
        """
        if error.status not in {401, 404}:
            return False
        parts = path.partition("?")[0].strip("/").split("/")
        if len(parts) not in {2, 3} or parts[0] != "apps":
            return False
        return time.monotonic() < self._young.get(parts[1], 0.0)

    async def _get_or_none(self, path: str, *, who: str, limit: Limit = ACTION) -> Json | None:
        try:
            return await self._send("GET", path, who=who, repeatable=True, limit=limit)
        except VendorError as error:
            if error.status in {404, 410}:
                return None
            raise

    async def _delete(self, path: str, *, who: str) -> None:
        try:
            await self._send("DELETE", path, who=who, repeatable=True)
        except VendorError as error:
            if error.status not in {404, 410}:
                raise


def _explain(response: httpx.Response) -> tuple[str, str]:
    """Fly's code and words: `{"error": text, "status": code}`, sometimes `message`, sometimes nothing at all."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return str(body.get("status") or ""), str(body.get("error") or body.get("message") or response.text)
    return "", response.text or "no body"
