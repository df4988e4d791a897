"""Cloudflare Access: who logged in, and to which instance.

Does: read the log from the last watermark on, with an hour's overlap, and tell by the application whose instance it was. Does not: count
refused logins or those of services, keep an address of a person, or read the sampled analytics, which are no ground for a bill.
Source: Cloudflare's documentation of Access logs (2026-08): logins, not requests; kept 24 hours on the free plan, 30 days on others.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rowhouse.spec.names import mark_in, route_key, stack_mark
from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Finding, Part, Told, VendorTime, guarded
from rowhouse.usage.previous import Previous
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.store import Store

__all__ = ["CloudflareSource"]

_OVERLAP_MS: Final = 3_600_000
_KEPT_MS: Final = 24 * 3_600_000
_FUTURE_MS: Final = 300_000

Owner = tuple[str, str]


class CloudflareSource:
    """One Cloudflare account's log of logins, seen by one stack."""

    name = "cloudflare"
    tells_time = True

    def __init__(self, cloudflare: Cloudflare, store: Store, *, account: str, project: str, stack: str) -> None:
        """Ask `cloudflare` about `account`; applications are ours by their name's mark, or by the route in `store` of their hostname."""
        self._cloudflare, self._store, self._account = cloudflare, store, account
        self._mark = stack_mark(project, stack)
        self._names: dict[str, str] | None = None
        self._routes: dict[str, Owner | None] = {}

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._cloudflare.http.calls

    @property
    def ahead_s(self) -> float | None:
        """By how much this machine's clock is ahead of Cloudflare's."""
        return self._cloudflare.http.ahead_s

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        """Read the log."""
        part = told.part("logins")
        await guarded(part, self._logins(part, previous, time))

    async def _logins(self, part: Part, previous: Previous, time: VendorTime) -> None:
        since = None if previous.logins_to is None else previous.logins_to - _OVERLAP_MS
        reached: int | None = None
        oldest: int | None = None
        begun: tuple[int, int] | None = None
        nameless = 0
        try:
            async for logins in self._cloudflare.access_logs(self._account, since_ms=since):
                time.heard(logins.at_ms)
                if logins.at_ms is None or logins.asof_ms is None:
                    part.fail("an answer has no Date, so that it proves nothing about any time")
                    return
                begun = begun or (logins.at_ms, logins.asof_ms)
                for row in logins.rows:
                    at = _ms(str(row["created_at"]))
                    oldest = at if oldest is None else min(oldest, at)
                    if at > logins.at_ms + _FUTURE_MS:
                        part.fail("a login lies in the future; it is left out")
                        continue
                    reached = at
                    if _is_of_a_person(row):
                        owner = await self._owner(row)
                        if owner is None and not row.get("app_name"):
                            nameless += 1
                        elif owner is not None:
                            part.entries.append(_entry(row, at, owner))
        except BaseException:
            part.vouch(reached)
            raise
        if nameless:
            message = f"{nameless} logins were to applications that nobody knows any more; they are not counted."
            part.findings.append(Finding("cloudflare.logins-nameless", self._account, message))
        if begun is None:
            return
        now, asof = begun
        part.vouch(asof)
        if (
            previous.logins_to is not None
            and now - previous.logins_to > _KEPT_MS
            and (oldest is None or oldest > now - _KEPT_MS - _OVERLAP_MS)
        ):
            # Cloudflare does not say for how long it keeps the log. A row older than a day would have proven that it is more than that.
            part.fail(
                f"logins from {_text(previous.logins_to)} to {_text(now - _KEPT_MS)} may be lost: the free plan keeps them for 24 hours"
            )

    async def _owner(self, row: Mapping[str, Any]) -> Owner | None:
        name = str(row.get("app_name") or "")
        if not name:  # older answers have none
            if self._names is None:
                apps = await self._cloudflare.list(f"/accounts/{self._account}/access/apps")
                self._names = {str(app["id"]): str(app.get("name") or "") for app in apps}
            name = self._names.get(str(row.get("app_uid") or ""), "")
        if name:
            mark = mark_in(name)
            tenant, _, instance = mark.removeprefix(self._mark).partition(":")
            return (tenant, instance) if mark.startswith(self._mark) and tenant and instance else None
        hostname = str(row.get("app_domain") or "").partition("/")[0]
        if hostname not in self._routes:
            self._routes[hostname] = await asyncio.to_thread(self._route, hostname) if hostname else None
        return self._routes[hostname]

    def _route(self, hostname: str) -> Owner | None:
        blob = self._store.get(route_key(hostname))
        try:
            route = json.loads(blob.data) if blob else {}
            return str(route["tenant"]), str(route["instance"])
        except (ValueError, KeyError, TypeError):
            return None


def _is_of_a_person(row: Mapping[str, Any]) -> bool:
    return row.get("allowed") is True and row.get("action") == "login" and bool(row.get("user_email"))


def _entry(row: Mapping[str, Any], at: int, owner: Owner) -> Entry:
    who = hashlib.sha256(str(row["user_email"]).strip().lower().encode()).hexdigest()[:16]
    ray = str(row.get("ray_id") or "") or hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]
    return Entry("login", at, *owner, id=ray, data={"who": who})


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
