"""What spans a Fly organisation, for whoever observes: lists of all machines and volumes, events of one machine, Prometheus.

Does: page to the end, and tell of each answer when Fly gave it. Does not: judge whether what came is complete; that is the observer's.
Source: Machines API specification of 2026-05; Fly's metrics documentation of 2026-08.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import quote

import httpx

from rowhouse.vendors.fly_base import ACTION, FlyBase, Json
from rowhouse.vendors.http import VendorError, asof_ms, date_ms

__all__ = ["FlyOrg", "Page", "Told"]

EVENTS_MAX: Final = 50  # Fly: /events answers at most 50, newest first, and has no cursor (2026-08)
PAGE_MAX: Final = 1000  # Fly: organisation lists hold at most 1,000 a page (2026-08)
_PAGES_MAX: Final = 1000
_PAGE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """What Fly told and when."""

    items: list[Json]
    at_ms: int | None
    """The answer's `Date`; None when it had none."""
    asof_ms: int | None
    """A time by Fly's clock at which the answer was surely not read yet: its `Date` less the time that the answer took."""


@dataclass(frozen=True, slots=True)
class Page(Told):
    """One page of an organisation's list."""

    error_regions: tuple[str, ...]
    """Regions that Fly could not read: what is there may be absent from the list."""
    is_last: bool


class FlyOrg(FlyBase):
    """The organisation's lists."""

    def list_org_machines(self, org: str, *, updated_after_ms: int | None = None) -> AsyncIterator[Page]:
        """Machines of all apps, destroyed ones included, oldest change first, page by page to the end.

        Raises: VendorError in the middle too; what came before stands.
        """
        return self._pages(org, "machines", updated_after_ms)

    def list_org_volumes(self, org: str, *, updated_after_ms: int | None = None) -> AsyncIterator[Page]:
        """Volumes of all apps, deleted ones included, as `list_org_machines`."""
        return self._pages(org, "volumes", updated_after_ms)

    async def events(self, app: str, machine: str) -> Told | None:
        """The newest events of the machine's present version, newest first, 50 at most; None when Fly has no such machine any more."""
        path = f"/apps/{quote(app)}/machines/{quote(machine)}/events"
        try:
            response = await self._ask("GET", path, who=machine, repeatable=True, params=[("limit", str(EVENTS_MAX))])
        except VendorError as error:
            if error.status in {404, 410}:
                return None
            raise
        items = _objects(path, response, response.json() if response.content else None)
        return Told(items, date_ms(response), asof_ms(response))

    async def prometheus(self, org: str, query: str) -> Told:
        """The vector that a query gives now: `{metric: {label: value}, value: [seconds, text]}`.

        Raises: VendorError, also for an answer that is no vector.
        """
        path = f"/{quote(org)}/api/v1/query"
        params = {"query": query}
        response = await self.metrics.send("GET", path, repeatable=True, params=params, bucket=(("prometheus", org), ACTION))
        body = _json(path, response)
        data = body.get("data") if body.get("status") == "success" else None
        if not isinstance(data, dict) or data.get("resultType") != "vector":
            raise VendorError("Fly", f"GET {path}", status=response.status_code, message="the answer is no vector of samples")
        return Told(_objects(path, response, data.get("result")), date_ms(response), asof_ms(response))

    async def _pages(self, org: str, what: Literal["machines", "volumes"], updated_after_ms: int | None) -> AsyncIterator[Page]:
        path = f"/orgs/{quote(org)}/{what}"
        base = [("include_deleted", "true"), ("limit", str(PAGE_MAX))]
        if updated_after_ms is not None:
            base.append(("updated_after", datetime.fromtimestamp(updated_after_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
        cursor, seen = "", set()
        for _ in range(_PAGES_MAX):
            params = [*base, ("cursor", cursor)] if cursor else base
            response = await self._ask("GET", path, who=org, repeatable=True, params=params, timeout_s=_PAGE_S)
            body = _json(path, response)
            items = _objects(path, response, body.get(what))
            cursor = str(body.get("next_cursor") or "")  # pages may be short, even empty, and still have a successor
            regions = tuple(sorted(str(region) for region in body.get("error_regions") or ()))
            yield Page(items, date_ms(response), asof_ms(response), regions, not cursor)
            if not cursor:
                return
            if cursor in seen:
                raise VendorError("Fly", f"GET {path}", status=response.status_code, message="the list leads back to a page it had before")
            seen.add(cursor)
        raise VendorError("Fly", f"GET {path}", message=f"the list does not end after {_PAGES_MAX} pages")


def _json(path: str, response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise VendorError(
            "Fly", f"GET {path}", status=response.status_code, message="the answer is not what the API promises: no JSON object"
        )
    return body


def _objects(path: str, response: httpx.Response, found: object) -> list[Json]:
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise VendorError("Fly", f"GET {path}", status=response.status_code, message="the answer is not what the API promises: no list")
    return found
