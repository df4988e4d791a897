"""Cloudflare, as far as the sweep and the observer ask it: whole lists, the log of logins, and removal.

Does: pages until the list is complete by its own count, removal where gone already is a success. Does not: create or change anything; that
is the Cloudflare provider's. Source: Cloudflare API v4, `success`, `errors`, `result`, `result_info` (2026-10).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from rowhouse.vendors.http import Http, Limit, Sleep, VendorError, asof_ms, date_ms, token_from

__all__ = ["Cloudflare", "Logins"]

Json = dict[str, Any]

DEFAULT_BASE_URL: Final = "https://api.cloudflare.com/client/v4"
_PAGE: Final = 100
_PAGES_MAX: Final = 1000
_LOGINS: Final = 1000
_ACCOUNT: Final = Limit(per_s=4.0, burst=100)  # Cloudflare: 1,200 requests in five minutes for each user (2026-08)


@dataclass(frozen=True, slots=True)
class Logins:
    """Some rows of the log of logins, oldest first, none told before."""

    rows: list[Json]
    at_ms: int | None
    """The answer's `Date`."""
    asof_ms: int | None
    """A time by Cloudflare's clock at which the answer was surely not read yet."""


class Cloudflare:
    """One Cloudflare token's view."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.http = Http(
            "Cloudflare",
            base_url.rstrip("/"),
            {"Authorization": f"Bearer {token}", "User-Agent": "rowhouse"},
            secrets=(token,),
            explain=_explain,
            request_id_header="cf-ray",
            transport=transport,
            sleep=sleep,
        )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> Cloudflare:
        """The client that `CLOUDFLARE_API_TOKEN` and `CLOUDFLARE_BASE_URL` describe; raises MissingToken."""
        env = os.environ if environment is None else environment
        token = token_from(env, "CLOUDFLARE_API_TOKEN", "Cloudflare", "it is an API token of the dashboard's page API Tokens")
        return cls(token, base_url=env.get("CLOUDFLARE_BASE_URL") or DEFAULT_BASE_URL, transport=transport)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    async def list(self, path: str, params: Mapping[str, str] | None = None) -> list[Json]:
        """Every object of a list, each once.

        Raises: VendorError, also when fewer objects came than Cloudflare counts: such a list proves nothing.
        """
        found: dict[str, Json] = {}
        for page in range(1, _PAGES_MAX + 1):
            query = {**(params or {}), "page": str(page), "per_page": str(_PAGE)}
            response = await self.http.send("GET", path, params=query, repeatable=True, bucket=("account", _ACCOUNT))
            items, total = _page(path, response)
            found |= {str(item["id"]): item for item in items}
            if len(items) < _PAGE:
                if total is not None and len(found) < total:
                    raise VendorError(
                        "Cloudflare",
                        f"GET {path}",
                        status=response.status_code,
                        message=f"the list is incomplete: {len(found)} of {total} objects",
                    )
                return list(found.values())
        raise VendorError("Cloudflare", f"GET {path}", message=f"the list does not end after {_PAGES_MAX} pages")

    async def access_logs(self, account: str, *, since_ms: int | None = None) -> AsyncIterator[Logins]:
        """Logins at Access since a time (or as far back as Cloudflare keeps them), allowed and refused, oldest first.

        The log is a bare array that does not say whether more follows: it is asked again from the last row's time on until nothing new
        comes. Raises: VendorError in the middle too; what came before stands.
        """
        path = f"/accounts/{account}/access/logs/access_requests"
        seen: set[tuple[str, str]] = set()
        since, page = "", 1
        if since_ms is not None:
            since = datetime.fromtimestamp(since_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for _ in range(_PAGES_MAX):
            query = {"limit": str(_LOGINS), "direction": "asc", **({"since": since} if since else {})}
            query |= {"page": str(page), "per_page": str(_LOGINS)} if page > 1 else {}
            response = await self.http.send("GET", path, params=query, repeatable=True, bucket=("account", _ACCOUNT))
            rows = _log_rows(path, response)
            fresh = [row for row in rows if (str(row.get("ray_id")), str(row["created_at"])) not in seen]
            seen.update((str(row.get("ray_id")), str(row["created_at"])) for row in fresh)
            yield Logins(fresh, date_ms(response), asof_ms(response))
            if fresh:
                since, page = str(rows[-1]["created_at"]), 1
            elif len(rows) < _LOGINS:
                return
            else:
                page += 1  # more rows than a page holds in the one second that times can tell apart
        raise VendorError("Cloudflare", f"GET {path}", message=f"the log does not end after {_PAGES_MAX} pages")

    async def delete(self, path: str) -> None:
        """Remove one object; gone already is a success. Raises: VendorError."""
        try:
            await self.http.send("DELETE", path, repeatable=True, bucket=("account", _ACCOUNT))
        except VendorError as error:
            if error.status != 404:
                raise


def _page(path: str, response: httpx.Response) -> tuple[list[Json], int | None]:
    """The objects of a page and how many the whole list has, where it says so."""
    try:
        envelope = response.json()
        items = envelope["result"]
        info = envelope.get("result_info") or {}
        if envelope.get("success") is not True or not all(item["id"] for item in items):
            raise ValueError
        total = info.get("total_count")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise VendorError("Cloudflare", f"GET {path}", status=response.status_code, message="the answer is no list") from None
    return items, total if isinstance(total, int) else None


def _log_rows(path: str, response: httpx.Response) -> list[Json]:
    """Rows of the log. Raises: VendorError when they are not, or not in the order that was asked for."""
    try:
        envelope = response.json()
        rows: list[Json] = envelope["result"] or []
        times = [datetime.fromisoformat(row["created_at"]) for row in rows]
        if envelope.get("success") is not True or times != sorted(times):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        message = "the answer is no log of logins, oldest first"
        raise VendorError("Cloudflare", f"GET {path}", status=response.status_code, message=message) from None
    return rows


def _explain(response: httpx.Response) -> tuple[str, str]:
    try:
        errors = response.json().get("errors") or []
        first = errors[0]
        return str(first.get("code", "")), "; ".join(f"{item.get('message')} ({item.get('code')})" for item in errors)
    except (ValueError, AttributeError, IndexError, TypeError):
        return "", response.reason_phrase
