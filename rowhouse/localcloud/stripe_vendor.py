"""A loopback stand-in of Stripe: billing objects, time, idempotency and refusals; no money, tax or payment pages.

It is faithful where Rowhouse leans on Stripe and refuses what it does not know, so that nothing works here by accident.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.dates import Dated
from rowhouse.localcloud.stripe_account import account_object
from rowhouse.localcloud.stripe_catalog import Catalog
from rowhouse.localcloud.stripe_clocks import TestClocks
from rowhouse.localcloud.stripe_customers import Customers
from rowhouse.localcloud.stripe_cycle import Cycle
from rowhouse.localcloud.stripe_errors import no_such
from rowhouse.localcloud.stripe_http import Call, Endpoint, Front
from rowhouse.localcloud.stripe_invoice_items import InvoiceItems
from rowhouse.localcloud.stripe_invoices import Invoices
from rowhouse.localcloud.stripe_lists import expand, first_lines, in_range, page
from rowhouse.localcloud.stripe_meters import Meters
from rowhouse.localcloud.stripe_params import EVENT_LIST, NONE
from rowhouse.localcloud.stripe_state import Json, State
from rowhouse.localcloud.stripe_subscriptions import Subscriptions
from rowhouse.localcloud.stripe_usage import Usage

__all__ = ["StripeVendor"]


class StripeVendor:
    """One Stripe account in test mode, in the time of a virtual clock."""

    name = "stripe"

    def __init__(
        self,
        clock: Clock,
        *,
        api_key: str = "sk_test_local",
        limits: bool = True,
        rate_per_s: float = 25,  # Stripe: sandboxes are limited to 25 requests a second (2026-08)
        search_rate_per_s: float = 20,
        search_lag_s: float = 30,  # Stripe: search sees a write usually within a minute (2026-08)
        summary_lag_s: float = 0,
        report_lag_s: float = 0,
        advance_lag_s: float = 0.2,
        lock_s: float = 0.002,
        refuse_bad_timestamps: bool = False,
        last_arrived: bool = False,
        live_drafts: bool = True,
        livemode: bool = False,
    ) -> None:
        """Begin with an empty account. Lags are virtual seconds; `lock_s` is how long (real) a locked call takes."""
        self.clock = clock
        self.state = State(clock, search_lag_s=search_lag_s, livemode=livemode)
        self.usage = Usage(
            self.state,
            summary_lag_s=summary_lag_s,
            report_lag_s=report_lag_s,
            refuse_bad_timestamps=refuse_bad_timestamps,
            last_arrived=last_arrived,
        )
        self.catalog = Catalog(self.state)
        self.invoices = Invoices(self.state, self.usage, self.catalog.tiers)
        self.invoices.live_drafts = live_drafts
        self.invoice_items = InvoiceItems(self.state, self.invoices)
        self.cycle = Cycle(self.state, self.invoices)
        self.test_clocks = TestClocks(self.state, advance_lag_s=advance_lag_s)
        self.front = Front(
            clock, api_keys=frozenset({api_key}), rate=rate_per_s, search_rate=search_rate_per_s, limits=limits, lock_s=lock_s
        )
        self.front.begin = self._begin
        self.front.finish = lambda answer, paths: expand(
            first_lines(answer), paths, self.state, {"price.tiers": lambda price: self.catalog.tiers.get(price["id"])}
        )
        self.app = Starlette(routes=self._routes(), middleware=[Middleware(Dated, clock=clock)])

    def endpoints(self) -> list[Endpoint]:
        """Every row of the API that this stand-in has."""
        return [
            Endpoint("GET", "/v1/account", NONE, lambda _call: account_object(self.state)),
            Endpoint("GET", "/v1/events", EVENT_LIST, self._events),
            Endpoint("GET", "/v1/events/{id}", NONE, self._event),
            *Customers(self.state, self.cycle.end_all).endpoints(),
            *self.catalog.endpoints(),
            *Meters(self.state).endpoints(),
            *self.usage.endpoints(),
            *self.usage.reports.endpoints(),
            *Subscriptions(self.state, self.cycle).endpoints(),
            *self.invoices.endpoints(),
            *self.invoice_items.endpoints(),
            *self.test_clocks.endpoints(),
        ]

    def dump(self) -> dict[str, list[Json]]:
        """Every object by kind, oldest first, for tests to judge by."""
        return self.state.dump()

    def _begin(self, request_id: str, key: str | None) -> None:
        self.state.request = {"id": request_id, "idempotency_key": key}
        self.test_clocks.settle()

    def _events(self, call: Call) -> Json:
        params = call.params
        patterns = params.get("types") or ([params["type"]] if "type" in params else [])
        found = [event for event in self.state.recent_events(patterns) if in_range(event["created"], params.get("created"))]
        return page(found, params, call.url, "event")

    def _event(self, call: Call) -> Json:
        found = next((event for event in self.state.recent_events([]) if event["id"] == call.id), None)
        if found is None:
            raise no_such("event", call.id)
        return found

    def _routes(self) -> list[Route]:
        # One route a path: Starlette would answer 405 in its own words for a method that the first of several lacks.
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self.endpoints():
            by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        methods = ["GET", "POST", "DELETE", "PUT", "PATCH"]
        routes = [Route(path, self._serve(table), methods=methods) for path, table in by_path.items()]
        return [*routes, Route("/{path:path}", self._serve({}), methods=methods)]

    def _serve(self, table: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return await self.front.serve(table.get(request.method), request)

        return serve
