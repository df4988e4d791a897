"""Customers: who pays. Deleting one cancels its subscriptions and leaves a stub that says so."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from rowhouse.localcloud.stripe_errors import no_such
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import in_range, page, search_page
from rowhouse.localcloud.stripe_params import CUSTOMER_CREATE, CUSTOMER_LIST, CUSTOMER_UPDATE, NONE, SEARCH
from rowhouse.localcloud.stripe_schema import check_count
from rowhouse.localcloud.stripe_search import matcher
from rowhouse.localcloud.stripe_state import Json, State, clone, merge_metadata, new_id

__all__ = ["Customers"]

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
_PLAIN = ("balance", "description", "email", "invoice_prefix", "name", "next_invoice_sequence", "phone", "preferred_locales")


class Customers:
    """The customer endpoints."""

    def __init__(self, state: State, cancel_all: Callable[[str], None]) -> None:
        """Keep customers in `state`; `cancel_all` ends a customer's subscriptions."""
        self.state, self.cancel_all = state, cancel_all

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/customers", CUSTOMER_CREATE, self.create),
            Endpoint("GET", "/v1/customers", CUSTOMER_LIST, self.list_all),
            Endpoint("GET", "/v1/customers/search", SEARCH, self.search, search=True),
            Endpoint("GET", "/v1/customers/{id}", NONE, self.retrieve),
            Endpoint("POST", "/v1/customers/{id}", CUSTOMER_UPDATE, self.update),
            Endpoint("DELETE", "/v1/customers/{id}", NONE, self.delete),
        ]

    def create(self, call: Call) -> Json:
        """POST /v1/customers."""
        params = call.params
        test_clock = params.get("test_clock")
        if test_clock:
            self.state.test_clocks.get(test_clock, "test_clock")
        customer: Json = {
            "id": new_id("cus"),
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": self.state.timeline(test_clock).now(),
            "currency": None,
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": None,
            "invoice_prefix": secrets.token_hex(4).upper(),
            "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
            "livemode": self.state.livemode,
            "metadata": {},
            "name": None,
            "next_invoice_sequence": 1,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": test_clock,
        }
        self._apply(customer, params)
        return self.state.put(self.state.customers, customer, "customer.created")

    def retrieve(self, call: Call) -> Json:
        """GET /v1/customers/{id}: a deleted one answers 200 with `deleted`."""
        gone = self.state.customers.gone.get(call.id)
        return gone or self.state.customers.get(call.id)

    def update(self, call: Call) -> Json:
        """POST /v1/customers/{id}."""
        customer = self.state.customers.get(call.id)
        before, after = customer, clone(customer)
        self._apply(after, call.params)
        customer = self.state.put(self.state.customers, after)
        if before != after:
            self.state.emit("customer.updated", after, before)
        return customer

    def delete(self, call: Call) -> Json:
        """DELETE /v1/customers/{id}: its subscriptions are canceled at once."""
        self.state.customers.get(call.id)
        self.cancel_all(call.id)
        self.state.cards.pop(call.id, None)
        return self.state.remove(self.state.customers, call.id, "customer.deleted")

    def list_all(self, call: Call) -> Json:
        """GET /v1/customers: those of a test clock show only when it is named."""
        params = call.params
        found = [
            customer
            for customer in self.state.customers.newest_first()
            if customer["test_clock"] == params.get("test_clock")
            and ("email" not in params or customer["email"] == params["email"])
            and in_range(customer["created"], params.get("created"))
        ]
        return page(found, params, call.url, "customer")

    def search(self, call: Call) -> Json:
        """GET /v1/customers/search: as the account was `search_lag_s` ago."""
        matches = matcher(call.params["query"], "customer")
        seen = self.state.customers.as_of(self.state.clock.timestamp() - self.state.search_lag_s)
        return search_page([customer for customer in seen if matches(customer)], call.params, call.url)

    def _apply(self, customer: Json, params: dict[str, Any]) -> None:
        for name in _PLAIN:
            if name in params:
                customer[name] = params[name]
        if "tax_exempt" in params:
            customer["tax_exempt"] = params["tax_exempt"] or "none"
        if "address" in params:
            given = params["address"]
            customer["address"] = {name: given.get(name) for name in _ADDRESS} if given else None
        if "metadata" in params:
            customer["metadata"] = merge_metadata(customer["metadata"], params["metadata"])
            check_count(customer["metadata"])
        settings = params.get("invoice_settings") or {}
        card = settings.get("default_payment_method")
        if card:
            customer["invoice_settings"]["default_payment_method"] = card
        card = card or params.get("payment_method") or params.get("source")
        if card:
            if not card.startswith(("pm_", "tok_", "card_", "src_")):
                raise no_such("PaymentMethod", card, "payment_method")
            self.state.cards[customer["id"]] = card
