"""Fly on this machine, and hosts named for what goes wrong between it and us."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.fly import FlyVendor
from rowhouse.localcloud.images import Image
from rowhouse.provider.clients import Clients
from rowhouse.provider.plugin import Rowhouse
from tests.provider.support import Engine, engine_for

TOKEN = "fm2_local"
SLEEPER = Image(name="sleeper", argv=(sys.executable, "-c", "import time; time.sleep(600)"), kind="app")


class Killed(Exception):  # noqa: N818  # an event, not a mistake
    """The process ended at this very moment: nothing after it happens, nothing of it is saved."""


class Host(httpx.AsyncBaseTransport):
    """The way to the vendor; writes down what was asked."""

    def __init__(self, app: Any) -> None:
        self.inner = httpx.ASGITransport(app=app)
        self.calls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {re.sub(r'[0-9a-f]{14}|vol_[a-z0-9]+', 'ID', request.url.path)}")
        return await self.inner.handle_async_request(request)

    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("GET")]


class FaultyHost(Host):
    """One call, by its number, goes wrong in one way; all others are well."""

    def __init__(self, app: Any, number: int, fault: str) -> None:
        super().__init__(app)
        self.number = number
        self.fault = fault
        self.struck = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.struck or len(self.calls) != self.number:
            return await super().handle_async_request(request)
        self.struck = True
        if self.fault == "rate":
            self.calls.append("429")
            return httpx.Response(429, headers={"retry-after": "0"}, json={"error": "rate limit exceeded"})
        if self.fault == "refused":
            raise httpx.ConnectError("connection refused")
        if self.fault == "killed before":
            raise Killed
        if self.fault == "down":
            return httpx.Response(503, json={"error": "unavailable"})
        answer = await super().handle_async_request(request)
        await answer.aread()
        if self.fault == "down after":
            return httpx.Response(502, json={"error": "bad gateway"})
        if self.fault == "killed after":
            raise Killed
        raise httpx.ReadError("connection lost")


FAULTS = ("rate", "refused", "down", "down after", "lost", "killed before", "killed after")


@contextlib.asynccontextmanager
async def fly_vendor(folder: Path) -> AsyncIterator[FlyVendor]:
    """Fly with nothing in it; quick, and without limits of its own (ours have their own tests)."""
    clock = Clock()
    vendor = FlyVendor(clock, folder, limits=False)
    vendor.images.add(SLEEPER)
    for name in ("create", "start", "update", "suspend", "destroy", "restart"):
        setattr(vendor.delays, name, 0.01)
    vendor.delays.release = 0.05
    ticking = asyncio.ensure_future(clock.run())
    try:
        yield vendor
    finally:
        await vendor.close()
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking


@contextlib.asynccontextmanager
async def engine_on(host: Host, state: dict[str, Any] | None = None, **env: str) -> AsyncIterator[Engine]:
    """An engine with a fresh plugin in front of this host; `state` is what an earlier one left."""
    clients = Clients({"FLY_API_TOKEN": TOKEN, "FLY_FLAPS_BASE_URL": "http://fly.test", **env}, fly_transport=host)

    async def nap(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))

    clients.fly.http.sleep = nap
    clients.fly.http.buckets._sleep = nap
    async with engine_for(Rowhouse(clients)) as engine:
        if state is not None:
            engine.resources = state
        yield engine


def run(body: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(body(), 60))
