"""A subscription and its items as they go over the wire, and where its periods lie."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rowhouse.localcloud.stripe_pricing import amount_for
from rowhouse.localcloud.stripe_state import Json, State
from rowhouse.localcloud.stripe_time import step

__all__ = ["item_object", "period_at", "prorated", "shown", "subscription_object"]


def _plan(price: Json) -> Json:
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def item_object(item_id: str, subscription_id: str, price: Json, given: dict[str, Any], period: tuple[int, int], now: int) -> Json:
    """A new item; metered ones have no quantity."""
    item: Json = {
        "id": item_id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "discounts": [],
        "metadata": {key: value for key, value in (given.get("metadata") or {}).items() if value},
        "plan": _plan(price),
        "price": price,
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if price["recurring"]["usage_type"] == "licensed":
        item["quantity"] = given.get("quantity", 1)
    return item


def shown(state: State, subscription: Json) -> Json:
    """The subscription with its items, and their prices as they are now."""
    rows = []
    for item in state.items.objects.values():
        if item["subscription"] == subscription["id"]:
            price = state.prices.objects[item["price"]["id"]]
            rows.append({**item, "price": price, "plan": _plan(price)})
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    return {**subscription, "items": {"object": "list", "data": rows, "has_more": False, "url": url}}


def period_at(anchor: int, interval: str, count: int, moment: int) -> tuple[int, int, int]:
    """The period of `moment`, half-open, and the full length that it is a part of (a stub before the anchor lies in one)."""
    index = 0
    while step(anchor, interval, count, index) > moment:
        index -= 1
    while step(anchor, interval, count, index + 1) <= moment:
        index += 1
    start, end = step(anchor, interval, count, index), step(anchor, interval, count, index + 1)
    return start, end, end - start


def prorated(price: Json, tiers: list[Json] | None, quantity: int, seconds: int, full: int) -> Decimal:
    """What a licensed item costs for a part of its period, exact."""
    return amount_for(price, tiers, Decimal(quantity)) * seconds / full


def subscription_object(state: State, subscription_id: str, customer: Json, params: dict[str, Any], anchor: int, now: int) -> Json:
    """A new subscription without items."""
    config = params.get("billing_cycle_anchor_config")
    return {
        "id": subscription_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": anchor,
        "billing_cycle_anchor_config": {name: config.get(name) for name in ("day_of_month", "hour", "minute", "month", "second")}
        if config
        else None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"}
        if params.get("billing_mode", {}).get("type", "flexible") == "flexible"
        else {"flexible": None, "type": "classic"},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": params.get("cancel_at_period_end", False),
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": "usd",
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {},
        "latest_invoice": None,
        "livemode": state.livemode,
        "managed_payments": {"enabled": False},
        "metadata": {key: value for key, value in (params.get("metadata") or {}).items() if value},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "active",
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }
