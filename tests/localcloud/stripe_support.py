"""A served Stripe stand-in, asked through the official SDK (in a thread, since it is synchronous) and by plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from stripe import StripeClient

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.kernel import Faults, Journal, VendorMiddleware, serve
from rowhouse.localcloud.stripe_vendor import StripeVendor

START = datetime(2026, 11, 10, 12, 0, 0, tzinfo=UTC)
KEY = "sk_test_local"


@dataclass
class Bench:
    vendor: StripeVendor
    clock: Clock
    faults: Faults
    journal: Journal
    sdk: StripeClient
    http: httpx.AsyncClient

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """An SDK call, in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def post(self, path: str, data: dict[str, str] | None = None, *, key: str | None = None, **headers: str) -> httpx.Response:
        if key:
            headers["Idempotency-Key"] = key
        return await self.http.post(path, data=data or {}, headers=headers)

    async def get(self, path: str, **params: str) -> httpx.Response:
        return await self.http.get(path, params=params)

    async def make(self, path: str, data: dict[str, str] | None = None) -> dict[str, Any]:
        """A POST that must succeed."""
        answer = await self.post(path, data)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def bench(start: datetime = START, **options: Any) -> AsyncIterator[Bench]:
    clock, faults, journal = Clock(start), Faults(), Journal()
    options.setdefault("limits", False)
    vendor = StripeVendor(clock, **options)
    app = VendorMiddleware(vendor.app, vendor="stripe", clock=clock, journal=journal, faults=faults)
    async with serve(app) as port:
        url = f"http://127.0.0.1:{port}"
        sdk = StripeClient(KEY, base_addresses={"api": url, "files": url, "meter_events": url, "connect": url})
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as http:
            yield Bench(vendor, clock, faults, journal, sdk, http)


def run(body: Callable[[Bench], Awaitable[None]], **options: Any) -> None:
    """Run an async test body against a fresh stand-in."""

    async def main() -> None:
        async with bench(**options) as held:
            await body(held)

    asyncio.run(main())


def error_of(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["error"]


async def licensed_price(held: Bench, amount: int = 2000, **more: str) -> dict[str, Any]:
    if not held.vendor.state.products.objects.get("plan"):
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
    return await held.make(
        "/v1/prices", {"product": "plan", "currency": "usd", "unit_amount": str(amount), "recurring[interval]": "month", **more}
    )


async def metered_price(held: Bench, event_name: str = "hours", formula: str = "last", **amount: str) -> dict[str, Any]:
    meters = (await held.get("/v1/billing/meters", limit="100")).json()["data"]
    meter = next((meter for meter in meters if meter["event_name"] == event_name), None)
    if meter is None:
        meter = await held.make(
            "/v1/billing/meters", {"display_name": "Hours", "event_name": event_name, "default_aggregation[formula]": formula}
        )
    if not held.vendor.state.products.objects.get("plan"):
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
    data = {"product": "plan", "currency": "usd", "recurring[interval]": "month", "recurring[usage_type]": "metered"}
    return await held.make("/v1/prices", {**data, "recurring[meter]": meter["id"], **(amount or {"unit_amount_decimal": "10"})})


async def customer(held: Bench, **fields: str) -> dict[str, Any]:
    return await held.make("/v1/customers", {"name": "Acme", "email": "ops@acme.example", **fields})
