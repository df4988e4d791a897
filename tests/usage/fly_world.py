"""A Fly organisation that answers from plain data, for tests that want to say exactly what Fly says; no socket, no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx

from rowhouse.usage.observations import Observations
from rowhouse.usage.observe import observe
from rowhouse.usage.observe_fly import FlySource
from rowhouse.usage.previous import Previous
from rowhouse.vendors.fly import Fly

START = 1_795_000_000_000  # 2026-11-18T11:06:40Z
MINUTE = 60_000


def rfc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


async def no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


@dataclass
class FlyWorld:
    """What Fly would answer; tests change it and count the calls."""

    now: int = START
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # newest first
    used: list[dict[str, Any]] = field(default_factory=list)
    page: int = 1000
    error_regions: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)  # machines that the list leaves out
    dated: bool = True
    calls: list[str] = field(default_factory=list)
    hook: Callable[[httpx.Request], httpx.Response | None] = lambda _request: None
    after_page: Callable[[int], None] = lambda _number: None

    def machine(
        self, key: str, tenant: str | None = None, *, state: str = "started", instance: str = "main", **more: Any
    ) -> dict[str, Any]:
        mark = {"managed-by": "rowhouse", "project": "shop", "stack": "main", "tenant": tenant or key, "instance": instance}
        row = {
            "id": key,
            "app_name": f"{key}-app",
            "name": instance,
            "state": state,
            "region": "fra",
            "version": "V1",
            "created_at": rfc(START - 60 * MINUTE),
            "updated_at": rfc(START - 30 * MINUTE),
            "config": {"guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}, "metadata": mark},
        }
        self.machines[key] = row | more
        return self.machines[key]

    def event(self, key: str, at: int, kind: str = "start", status: str = "started", source: str = "flyd", **more: Any) -> None:
        listed = self.events.setdefault(key, [])
        listed.insert(0, {"id": f"{key}-{len(listed):03d}", "type": kind, "status": status, "source": source, "timestamp": at} | more)

    def change(self, key: str, state: str, at: int, **more: Any) -> None:
        self.machines[key] |= {"state": state, "updated_at": rfc(at)} | more

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        special = self.hook(request)
        response = special if special is not None else self._answer(request)
        if self.dated:
            response.headers["date"] = format_datetime(datetime.fromtimestamp(self.now // 1000, UTC), usegmt=True)
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, request.url.params
        if path.endswith("/orgs/acme/machines"):
            return self._page(query, "machines", [row for key, row in self.machines.items() if key not in self.hidden])
        if path.endswith("/orgs/acme/volumes"):
            return self._page(query, "volumes", self.volumes)
        if path.endswith("/events"):
            key = path.split("/")[-2]
            return httpx.Response(200, json=self.events[key][:50]) if key in self.events else httpx.Response(404, json={"error": "gone"})
        if path.startswith("/prometheus/"):
            return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": self.used}})
        if "/machines/" in path:
            row = self.machines.get(path.split("/")[-1])
            return httpx.Response(200, json=row) if row else httpx.Response(404, json={"error": "machine not found"})
        return httpx.Response(404, json={"error": "no such volume"})

    def _page(self, query: httpx.QueryParams, what: str, rows: list[dict[str, Any]]) -> httpx.Response:
        def order(row: dict[str, Any]) -> str:
            return f"{row.get('updated_at', '')}/{row['id']}"

        start = query.get("cursor") or query.get("updated_after", "")
        found = sorted((row for row in rows if order(row) > start), key=order)
        page = found[: self.page]
        body: dict[str, Any] = {what: page, "error_regions": self.error_regions}
        if len(found) > len(page):
            body["next_cursor"] = order(page[-1])
        response = httpx.Response(200, json=body)
        self.after_page(len(self.calls))
        return response

    def source(self) -> FlySource:
        fly = Fly("token", base_url="http://fly", api_url="http://fly", transport=httpx.MockTransport(self.answer), sleep=no_sleep)
        return FlySource(fly, org="acme", project="shop", stack="main")

    def look(self, previous: Previous | None = None, **options: Any) -> Observations:
        """One pass."""

        async def one() -> Observations:
            return await observe([self.source()], previous or Previous(), **options)

        return asyncio.run(one())

    def listed(self, what: str) -> int:
        """How often pages of a list were asked for."""
        return sum(call.endswith(f"/orgs/acme/{what}") for call in self.calls)

    def asked(self) -> list[str]:
        """Machines that were asked for their events."""
        return [call.split("/")[-2] for call in self.calls if call.endswith("/events")]
