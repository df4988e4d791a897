"""Subscriptions: their endpoints. What time does to them is in `stripe_cycle`."""

from __future__ import annotations

from typing import Any

from rowhouse.localcloud.stripe_cycle import LIVE, Cycle
from rowhouse.localcloud.stripe_errors import invalid, no_such
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import in_range, page, search_page
from rowhouse.localcloud.stripe_params import (
    ITEM_LIST,
    NONE,
    SEARCH,
    SUBSCRIPTION_CANCEL,
    SUBSCRIPTION_CREATE,
    SUBSCRIPTION_LIST,
    SUBSCRIPTION_UPDATE,
)
from rowhouse.localcloud.stripe_schema import check_count
from rowhouse.localcloud.stripe_search import matcher
from rowhouse.localcloud.stripe_state import Json, State, clone, merge_metadata, new_id
from rowhouse.localcloud.stripe_subscription_shape import item_object, period_at, shown, subscription_object
from rowhouse.localcloud.stripe_time import first_anchor, step

__all__ = ["Subscriptions"]


class Subscriptions:
    """The subscription endpoints."""

    def __init__(self, state: State, cycle: Cycle) -> None:
        """Keep subscriptions in `state`; `cycle` bills them."""
        self.state, self.cycle = state, cycle

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint(
                "POST", "/v1/subscriptions", SUBSCRIPTION_CREATE, self.create, lock=lambda call: f"customer {call.params['customer']}"
            ),
            Endpoint("GET", "/v1/subscriptions", SUBSCRIPTION_LIST, self.list_all),
            Endpoint("GET", "/v1/subscriptions/search", SEARCH, self.search, search=True),
            Endpoint("GET", "/v1/subscriptions/{id}", NONE, lambda call: shown(self.state, self.state.subscriptions.get(call.id))),
            Endpoint("POST", "/v1/subscriptions/{id}", SUBSCRIPTION_UPDATE, self.update, lock=lambda call: call.id),
            Endpoint("DELETE", "/v1/subscriptions/{id}", SUBSCRIPTION_CANCEL, self.cancel, lock=lambda call: call.id),
            Endpoint("GET", "/v1/subscription_items", ITEM_LIST, self.list_items),
            Endpoint("GET", "/v1/subscription_items/{id}", NONE, lambda call: self.state.items.get(call.id)),
        ]

    def create(self, call: Call) -> Json:
        """POST /v1/subscriptions: the first invoice is finalized at once."""
        params = call.params
        customer = self.state.customers.get(params["customer"], "customer")
        self._check_collection(params, "charge_automatically")
        prices = [self._price(given, index) for index, given in enumerate(params["items"])]
        self._check_together(prices, params.get("currency"))
        now = self.state.timeline(customer["test_clock"]).now()
        interval, count = prices[0]["recurring"]["interval"], prices[0]["recurring"]["interval_count"]
        anchor = self._anchor(params, interval, count, now)
        start, end, full = period_at(anchor, interval, count, now)
        subscription = subscription_object(self.state, new_id("sub"), customer, params, anchor, now)
        subscription["currency"] = prices[0]["currency"]
        items = [
            item_object(new_id("si"), subscription["id"], price, given, (now, end), now)
            for price, given in zip(prices, params["items"], strict=True)
        ]
        behavior = params.get("payment_behavior", "allow_incomplete")
        self.cycle.check_payable(
            subscription, customer, items, behavior, part=(end - now, full if start != now else end - now), params=params
        )
        for item in items:
            self.state.put(self.state.items, item)
        self.state.put(self.state.subscriptions, shown(self.state, subscription), "customer.subscription.created")
        if customer["currency"] is None:
            self.state.put(self.state.customers, {**customer, "currency": subscription["currency"]})
        self.cycle.begin(
            subscription["id"], full, prorate=params.get("proration_behavior", "create_prorations") != "none", behavior=behavior
        )
        return shown(self.state, self.state.subscriptions.get(subscription["id"]))

    def update(self, call: Call) -> Json:
        """POST /v1/subscriptions/{id}."""
        params = call.params
        before = shown(self.state, self.state.subscriptions.get(call.id))
        if before["status"] in {"canceled", "incomplete_expired"} and set(params) - {"metadata", "cancellation_details"}:
            raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
        after = clone(before)
        self._check_collection(params, before["collection_method"], before["days_until_due"])
        for name in ("collection_method", "days_until_due", "default_payment_method", "description", "cancel_at_period_end"):
            if name in params:
                after[name] = params[name]
        if "default_payment_method" in params:
            self.state.cards[before["customer"]] = params["default_payment_method"]
        if after["collection_method"] == "charge_automatically":
            after["days_until_due"] = None
        if "cancel_at_period_end" in params:
            end = max(item["current_period_end"] for item in before["items"]["data"])
            after["cancel_at"] = end if params["cancel_at_period_end"] else None
            after["canceled_at"] = self.state.timeline(before["test_clock"]).now() if params["cancel_at_period_end"] else None
        if "pause_collection" in params:
            pause = params["pause_collection"]
            after["pause_collection"] = {"behavior": pause["behavior"], "resumes_at": None} if pause else None
        if params.get("cancellation_details"):
            after["cancellation_details"].update(params["cancellation_details"])
        if "metadata" in params:
            after["metadata"] = merge_metadata(before["metadata"], params["metadata"])
            check_count(after["metadata"])
        changes = self._item_changes(before, params["items"]) if "items" in params else None
        self.state.put(self.state.subscriptions, after)
        if changes is not None:
            self.cycle.change_items(call.id, *changes, params.get("proration_behavior", "create_prorations"), params.get("proration_date"))
        result = shown(self.state, self.state.subscriptions.get(call.id))
        return self.state.put(self.state.subscriptions, result, "customer.subscription.updated", before)

    def cancel(self, call: Call) -> Json:
        """DELETE /v1/subscriptions/{id}: usage that is not invoiced is dropped unless `invoice_now`."""
        subscription = self.state.subscriptions.get(call.id)
        if subscription["status"] in {"canceled", "incomplete_expired"}:
            raise no_such("subscription", call.id)
        if call.params.get("cancellation_details"):
            details = {**subscription["cancellation_details"], **call.params["cancellation_details"]}
            self.state.put(self.state.subscriptions, {**subscription, "cancellation_details": details})
        self.cycle.end(call.id, invoice_now=call.params.get("invoice_now", False), prorate=call.params.get("prorate", False))
        return shown(self.state, self.state.subscriptions.get(call.id))

    def list_all(self, call: Call) -> Json:
        """GET /v1/subscriptions: canceled ones only when asked for; those of test clocks only by customer or clock."""
        params = call.params
        status = params.get("status")
        found = []
        for subscription in self.state.subscriptions.newest_first():
            if not _has_status(subscription["status"], status):
                continue
            if "customer" in params and subscription["customer"] != params["customer"]:
                continue
            if ("test_clock" in params or "customer" not in params) and subscription["test_clock"] != params.get("test_clock"):
                continue
            if "collection_method" in params and subscription["collection_method"] != params["collection_method"]:
                continue
            if not in_range(subscription["created"], params.get("created")):
                continue
            if "price" in params and not self._has_price(subscription, params["price"]):
                continue
            found.append(subscription)
        answer = page(found, params, call.url, "subscription")
        return {**answer, "data": [shown(self.state, subscription) for subscription in answer["data"]]}

    def _has_price(self, subscription: Json, price_id: str) -> bool:
        return any(item["price"]["id"] == price_id for item in shown(self.state, subscription)["items"]["data"])

    def search(self, call: Call) -> Json:
        """GET /v1/subscriptions/search."""
        matches = matcher(call.params["query"], "subscription")
        seen = self.state.subscriptions.as_of(self.state.clock.timestamp() - self.state.search_lag_s)
        return search_page([thing for thing in seen if matches(thing)], call.params, call.url)

    def list_items(self, call: Call) -> Json:
        """GET /v1/subscription_items."""
        subscription = self.state.subscriptions.get(call.params["subscription"], "subscription")
        return page(shown(self.state, subscription)["items"]["data"], call.params, call.url, "subscription_item")

    # Checks

    def _price(self, given: dict[str, Any], index: int, where: str = "items") -> Json:
        if "price" not in given:
            raise invalid(f"Missing required param: {where}[{index}][price].", f"{where}[{index}][price]", "parameter_missing")
        name = f"{where}[{index}][price]"
        price = self.state.prices.get(given["price"], name)
        if not price["active"]:
            raise invalid("The price specified is inactive. This field only accepts active prices.", name)
        if price["type"] != "recurring":
            raise invalid("The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.", name)
        if "quantity" in given and price["recurring"]["usage_type"] == "metered":
            raise invalid("You cannot set the quantity of an item whose price is metered.", f"{where}[{index}][quantity]")
        return price

    @staticmethod
    def _check_together(prices: list[Json], currency: str | None = None) -> None:
        if not prices:
            raise invalid("Missing required param: items.", "items", "parameter_missing")
        ids = [price["id"] for price in prices]
        for index, price in enumerate(prices):
            if price["id"] in ids[:index]:
                raise invalid(f"Cannot add multiple subscription items with the same price: {price['id']}", f"items[{index}][price]")
            if price["currency"] != (currency or prices[0]["currency"]):
                raise invalid("All prices on a subscription must have the same currency.", f"items[{index}][price]")
            for name in ("interval", "interval_count"):
                if price["recurring"][name] != prices[0]["recurring"][name]:
                    raise invalid("The local stand-in bills all items of a subscription in one interval.", f"items[{index}][price]")

    @staticmethod
    def _check_collection(params: dict[str, Any], current: str, days: int | None = None) -> None:
        method = params.get("collection_method", current)
        if method == "send_invoice" and params.get("days_until_due", days) is None:
            raise invalid("Missing required param: days_until_due.", "days_until_due", "parameter_missing")
        if method == "charge_automatically" and "days_until_due" in params:
            raise invalid("`days_until_due` can only be set when `collection_method` is `send_invoice`.", "days_until_due")

    @staticmethod
    def _anchor(params: dict[str, Any], interval: str, count: int, now: int) -> int:
        config = params.get("billing_cycle_anchor_config")
        if config and "billing_cycle_anchor" in params:
            raise invalid(
                "You may only specify one of these parameters: billing_cycle_anchor, billing_cycle_anchor_config.", "billing_cycle_anchor"
            )
        if config:
            if interval not in {"month", "year"}:
                raise invalid("`billing_cycle_anchor_config` needs a monthly or yearly price.", "billing_cycle_anchor_config")
            parts = {name: config.get(name) for name in ("hour", "minute", "second", "month")}
            return first_anchor(now, day=config["day_of_month"], interval=interval, **parts)
        anchor: int = params.get("billing_cycle_anchor", now)
        if anchor < now or anchor > step(now, interval, count, 1):
            raise invalid("`billing_cycle_anchor` must lie between now and the next natural billing date.", "billing_cycle_anchor")
        return anchor

    def _item_changes(self, before: Json, given: list[dict[str, Any]]) -> tuple[list[Json], list[tuple[str, bool]], list[dict[str, Any]]]:
        """New items, (id, clear_usage) of removed ones, and changed ones; nothing is stored yet."""
        held = {item["id"]: item for item in before["items"]["data"]}
        now = self.state.timeline(before["test_clock"]).now()
        period = next(((item["current_period_start"], item["current_period_end"]) for item in held.values()), (now, now))
        added, removed, changed = [], [], []
        after = {item_id: item["price"] for item_id, item in held.items()}
        for index, change in enumerate(given):
            item_id = change.get("id")
            if item_id is None:
                price = self._price(change, index)
                item = item_object(new_id("si"), before["id"], price, change, (now, period[1]), now)
                added.append(item)
                after[item["id"]] = price
                continue
            if item_id not in held:
                raise no_such("subscription_item", item_id, f"items[{index}][id]")
            if change.get("deleted"):
                removed.append((item_id, change.get("clear_usage", False)))
                del after[item_id]
                continue
            price = self._price(change, index) if "price" in change else held[item_id]["price"]
            after[item_id] = price
            changed.append({**change, "price": price})
        if not after:
            raise invalid(
                "A subscription must have at least one active price. In order to cancel this subscription, cancel it instead.", "items"
            )
        if len(after) > 20:
            raise invalid("A subscription can have at most 20 items.", "items")
        self._check_together(list(after.values()))
        return added, removed, changed


def _has_status(status: str, wanted: str | None) -> bool:
    if wanted == "all":
        return True
    if wanted is None:
        return status in LIVE
    return status in {"canceled", "incomplete_expired"} if wanted == "ended" else status == wanted
