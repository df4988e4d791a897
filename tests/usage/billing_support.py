"""A small business at the Stripe stand-in, in process: catalogs, tenants with subscriptions, bills by hand, a ledger that is a list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.kernel import Faults, Journal, VendorMiddleware
from rowhouse.localcloud.stripe_vendor import StripeVendor
from rowhouse.spec.marks import labels_for
from rowhouse.spec.model import Plan
from rowhouse.spec.prices import price_specs
from rowhouse.usage.close import Closing, Observed, Steps, close
from rowhouse.usage.entries import Entry, line_of
from rowhouse.usage.model import Bill, Lot, SegmentUsage, Window
from rowhouse.usage.rate import rate
from rowhouse.usage.sent import sent_from_entries
from rowhouse.usage.sink import Sink
from rowhouse.usage.sink_stripe import StripeSink
from rowhouse.vendors.stripe import Stripe
from tests.usage.rating_support import HOUR, used

PROJECT, STACK = "demo", "main"
ANCHOR = {"day_of_month": 1, "hour": 0, "minute": 0, "second": 0}
NOVEMBER, DECEMBER = Window.month("2026-11"), Window.month("2026-12")


def at(*parts: int) -> int:
    """Milliseconds of a UTC date."""
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc]


async def no_wait(_seconds: float) -> None:
    await asyncio.sleep(0)


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Books:
    """What the pipeline would hand to a close, and what it writes."""

    entries: list[Entry] = field(default_factory=list)
    bills: dict[str, list[Bill]] = field(default_factory=dict)
    observed: Observed | None = None
    approved: bool = True
    asked: int = 0
    die_at: int = 0
    """The ledger's write before which the process dies; 0 is never."""
    writes: int = 0

    async def record(self, entries: Sequence[Entry]) -> None:
        self.writes += 1
        if self.writes == self.die_at:
            raise Killed
        for entry in entries:
            line_of(entry)  # what the ledger would refuse is refused here
        self.entries += entries

    def approve(self, _closing: Closing) -> bool:
        self.asked += 1
        return self.approved

    def of_kind(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]


class Business:
    """Tenants on plans, at a stand-in of Stripe on a virtual clock; time moves by `to`."""

    def __init__(self, start: int = NOVEMBER.start, clock: Clock | None = None, **options: Any) -> None:
        self.clock = clock or Clock(datetime.fromtimestamp(start // 1000, tz=UTC))
        self.faults, self.journal = Faults(), Journal()
        self.vendor = StripeVendor(self.clock, **{"limits": False, **options})
        app = VendorMiddleware(self.vendor.app, vendor="stripe", clock=self.clock, journal=self.journal, faults=self.faults)
        self.die_at, self.calls = 0, 0
        self.inner = httpx.ASGITransport(app=app)
        self.books = Books()
        self.stripe = self.client()
        self.prices: dict[tuple[str, str], str] = {}
        self.customers: dict[str, str] = {}
        self.subscriptions: dict[str, dict[str, Any]] = {}

    def client(self) -> Stripe:
        """A process's own client; every POST of it is counted, and number `die_at` kills the process after its effect."""

        async def send(request: httpx.Request) -> httpx.Response:
            try:
                answer = await self.inner.handle_async_request(request)
            except AssertionError as error:  # the stand-in broke the connection off
                raise httpx.ReadError("lost") from error
            await answer.aread()
            if request.method != "GET":
                self.calls += 1
                if self.calls == self.die_at:
                    raise Killed
            return answer

        return Stripe("sk_test_local", base_url="http://stripe.local", transport=httpx.MockTransport(send), sleep=no_wait)

    def sink(self) -> StripeSink:
        """A new process's sink."""
        return StripeSink(self.client(), PROJECT, STACK)

    async def sell(self, plan: Plan) -> None:
        """Register a plan's product, meters and prices, as the catalog component does."""
        for spec in price_specs(PROJECT, plan):
            if (plan.ref, spec.meter) in self.prices:
                continue
            product = f"p-{plan.catalog}-{plan.name}"
            if product not in self.vendor.state.products.objects:
                await self.stripe.post("/v1/products", {"id": product, "name": plan.title})
            recurring: dict[str, Any] = {"interval": "month", "usage_type": spec.usage_type}
            if spec.meter_event_name:
                recurring["meter"] = await self.meter(spec.meter_event_name)
            params = {"product": product, "currency": spec.currency, "unit_amount_decimal": spec.unit_amount_decimal}
            price = await self.stripe.post("/v1/prices", {**params, "recurring": recurring, "lookup_key": spec.lookup_key})
            self.prices[plan.ref, spec.meter] = price["id"]

    async def meter(self, event: str) -> str:
        found = [meter async for meter in self.stripe.pages("/v1/billing/meters") if meter["event_name"] == event]
        params = {"display_name": event, "event_name": event, "default_aggregation": {"formula": "last"}}
        return str((found[0] if found else await self.stripe.post("/v1/billing/meters", params))["id"])

    async def join(self, tenant: str, plan: Plan, **more: Any) -> None:
        """A tenant begins on a plan now; a free one is a customer only."""
        marks = labels_for(PROJECT, STACK, tenant)
        if tenant not in self.customers:
            customer = await self.stripe.post("/v1/customers", {"name": tenant, "email": f"{tenant}@x.example", "metadata": marks})
            self.customers[tenant] = customer["id"]
        if plan.is_free:
            return
        await self.sell(plan)
        items = [{"price": self.prices[plan.ref, spec.meter]} for spec in price_specs(PROJECT, plan)]
        params = {"customer": self.customers[tenant], "items": items, "metadata": marks, "billing_cycle_anchor_config": ANCHOR}
        sent = {"collection_method": "send_invoice", "days_until_due": 14}
        self.subscriptions[tenant] = await self.stripe.post("/v1/subscriptions", {**params, **sent, **more})

    async def move(self, tenant: str, plan: Plan) -> None:
        """A tenant changes to another paid plan now, as the provider does it."""
        await self.sell(plan)
        held = self.subscriptions[tenant]
        gone = [{"id": item["id"], "deleted": True} for item in held["items"]["data"]]
        new = [{"price": self.prices[plan.ref, spec.meter]} for spec in price_specs(PROJECT, plan)]
        params = {"items": [*new, *gone], "proration_behavior": "none"}
        self.subscriptions[tenant] = await self.stripe.post(f"/v1/subscriptions/{held['id']}", params)

    async def leave(self, tenant: str) -> None:
        """A tenant's subscription ends now, as the provider ends it."""
        await self.stripe.delete(f"/v1/subscriptions/{self.subscriptions[tenant]['id']}", {"invoice_now": True})

    async def to(self, moment: int) -> None:
        """Let time pass until a moment (ms), if it has not come yet."""
        await self.clock.advance(max(0.0, moment / 1000 - self.clock.timestamp()))

    def now(self) -> int:
        return int(self.clock.timestamp() * 1000)

    def bill(self, *segments: SegmentUsage, lots: Sequence[Lot] = (), month: str = "2026-11") -> Bill:
        """Rate, and hand it to the close from now on in place of an earlier bill of that tenant."""
        made = rate(Window.month(month), segments, lots)
        others = [bill for bill in self.books.bills.get(month, []) if bill.tenant != made.tenant]
        self.books.bills[month] = sorted([*others, made], key=lambda bill: bill.tenant)
        return made

    def steps(self, **more: Any) -> Steps:
        async def now() -> int:
            return self.now()

        async def observe() -> Observed:
            return self.books.observed or Observed(True, self.now() - 60_000)

        made: Mapping[str, Any] = {
            "now": now,
            "observe": observe,
            "bills": lambda month: iter(self.books.bills.get(month, [])),
            "sent": lambda: sent_from_entries(self.books.entries),
            "history": lambda: list(self.books.entries),
            "record": self.books.record,
            "approve": self.books.approve,
        }
        return Steps(**{**made, **more})

    async def close(self, month: str = "2026-11", sink: Sink | None = None, **more: Any) -> Closing:
        return await close(month, sink or self.sink(), self.steps(), sleep=no_wait, **more)

    async def invoices(self, tenant: str) -> list[dict[str, Any]]:
        """Oldest first."""
        found = [dict(one) async for one in self.stripe.pages("/v1/invoices", {"customer": self.customers[tenant]})]
        return found[::-1]

    async def lines(self, tenant: str, number: int = -1) -> list[tuple[str, int]]:
        """What an invoice of a tenant charges: (line, cents), nothing of nothing."""
        invoice = (await self.invoices(tenant))[number]
        lines = [line async for line in self.stripe.pages(f"/v1/invoices/{invoice['id']}/lines")]
        return [(line["metadata"].get("rowhouse_line") or line["description"], line["amount"]) for line in lines if line["amount"]]


def running(plan: Plan, hours: float, tenant: str = "acme", **more: Any) -> SegmentUsage:
    """A whole month's segment with so many hours of running."""
    return used(plan, tenant=tenant, running=int(hours * HOUR), **more)


def run(body: Callable[[Business], Awaitable[None]], start: int = NOVEMBER.start, **options: Any) -> None:
    """Run a test's body against a new business."""

    async def main() -> None:
        await body(Business(start, **options))

    asyncio.run(main())
