"""Which parameters each endpoint takes: declarative tables over `stripe_schema`.

Source: Stripe API 2026-10-28.endive. What Stripe takes and this stand-in does not is listed as unsupported and refused,
so that nothing is silently ignored; a test holds the tables against the official SDK's parameter types.
"""

from __future__ import annotations

from collections.abc import Mapping

from rowhouse.localcloud.stripe_schema import Amount, Arr, Bool, Enum, Int, Kind, Map, Metadata, Obj, Range, Str, Unsupported

__all__ = [
    "ADJUSTMENT_CREATE",
    "CLOCK_ADVANCE",
    "CLOCK_CREATE",
    "CUSTOMER_CREATE",
    "CUSTOMER_LIST",
    "CUSTOMER_UPDATE",
    "EVENT_LIST",
    "INVOICE_CREATE",
    "INVOICE_FINALIZE",
    "INVOICE_ITEM_CREATE",
    "INVOICE_ITEM_LIST",
    "INVOICE_ITEM_UPDATE",
    "INVOICE_LIST",
    "INVOICE_PAY",
    "INVOICE_UPDATE",
    "ITEM_LIST",
    "LINES_LIST",
    "METER_CREATE",
    "METER_EVENT_CREATE",
    "METER_LIST",
    "METER_UPDATE",
    "NONE",
    "PAGE",
    "PRICE_CREATE",
    "PRICE_LIST",
    "PRICE_UPDATE",
    "PRODUCT_CREATE",
    "PRODUCT_LIST",
    "PRODUCT_UPDATE",
    "SEARCH",
    "SUBSCRIPTION_CANCEL",
    "SUBSCRIPTION_CREATE",
    "SUBSCRIPTION_LIST",
    "SUBSCRIPTION_UPDATE",
    "SUMMARY_LIST",
    "THIN_EVENT_LIST",
]

Table = Mapping[str, Kind]


def _without(*names: str) -> dict[str, Kind]:
    return dict.fromkeys(names, Unsupported())


NONE: Table = {}
PAGE: Table = {"limit": Int(1, 100), "starting_after": Str(), "ending_before": Str()}
SEARCH: Table = {"query": Str(required=True), "limit": Int(1, 100), "page": Str()}
_WINDOWS = ("day", "month", "week", "year")
_COLLECTION = Enum(("charge_automatically", "send_invoice"))
_PRORATION = Enum(("always_invoice", "create_prorations", "none"))
_ADDRESS = Obj({name: Str(unset=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")}, unset=True)

# Customers

_CUSTOMER: Table = {
    "address": _ADDRESS,
    "balance": Int(),
    "description": Str(unset=True),
    "email": Str(512, unset=True),
    "invoice_prefix": Str(12, pattern=r"[A-Z0-9]{3,12}"),
    "invoice_settings": Obj({"default_payment_method": Str(), **_without("custom_fields", "footer", "rendering_options")}),
    "metadata": Metadata(),
    "name": Str(256, unset=True),
    "next_invoice_sequence": Int(1),
    "phone": Str(20, unset=True),
    "preferred_locales": Arr(Str(10)),
    "source": Str(),
    "tax_exempt": Enum(("exempt", "none", "reverse"), unset=True),
    **_without("business_name", "cash_balance", "individual_name", "shipping", "tax", "validate"),
}
CUSTOMER_CREATE: Table = {**_CUSTOMER, "payment_method": Str(), "test_clock": Str(), **_without("tax_id_data")}
CUSTOMER_UPDATE: Table = {**_CUSTOMER, **_without("default_source")}
CUSTOMER_LIST: Table = {**PAGE, "created": Range(), "email": Str(512), "test_clock": Str()}

# Products and prices

_PRODUCT: Table = {
    "active": Bool(),
    "description": Str(40000, unset=True),
    "images": Arr(Str(), most=8, unset=True),
    "metadata": Metadata(),
    "statement_descriptor": Str(22, unset=True),
    "tax_code": Str(unset=True),
    "unit_label": Str(12, unset=True),
    "url": Str(unset=True),
    **_without("marketing_features", "package_dimensions", "shippable", "tax_details"),
}
PRODUCT_CREATE: Table = {
    **_PRODUCT,
    "id": Str(5000, pattern=r"[A-Za-z0-9_\-.]+"),
    "name": Str(250, required=True),
    "type": Enum(("good", "service")),
    **_without("default_price_data"),
}
PRODUCT_UPDATE: Table = {**_PRODUCT, "name": Str(250), "default_price": Str(unset=True)}
PRODUCT_LIST: Table = {
    **PAGE,
    "active": Bool(),
    "created": Range(),
    "ids": Arr(Str()),
    "type": Enum(("good", "service")),
    "url": Str(),
    **_without("shippable"),
}
_TIER = Obj(
    {
        "up_to": Int(1, required=True, words=("inf",)),
        "unit_amount": Int(0),
        "unit_amount_decimal": Amount(),
        "flat_amount": Int(0),
        "flat_amount_decimal": Amount(),
    }
)
_PRICE: Table = {
    "active": Bool(),
    "lookup_key": Str(200, unset=True),
    "metadata": Metadata(),
    "nickname": Str(unset=True),
    "tax_behavior": Enum(("exclusive", "inclusive", "unspecified")),
    "transfer_lookup_key": Bool(),
    **_without("currency_options"),
}
PRICE_CREATE: Table = {
    **_PRICE,
    "currency": Str(3, required=True, pattern=r"[A-Za-z]{3}"),
    "product": Str(),
    "product_data": Obj(
        {
            "id": Str(pattern=r"[A-Za-z0-9_\-.]+"),
            "name": Str(250, required=True),
            "active": Bool(),
            "metadata": Metadata(),
            "statement_descriptor": Str(22),
            "tax_code": Str(),
            "unit_label": Str(12),
            **_without("tax_details"),
        }
    ),
    "recurring": Obj(
        {
            "interval": Enum(_WINDOWS, required=True),
            "interval_count": Int(1, 1095),
            "meter": Str(),
            "usage_type": Enum(("licensed", "metered")),
            **_without("trial_period_days"),
        }
    ),
    "unit_amount": Int(0),
    "unit_amount_decimal": Amount(),
    "billing_scheme": Enum(("per_unit", "tiered")),
    "tiers": Arr(_TIER),
    "tiers_mode": Enum(("graduated", "volume")),
    "transform_quantity": Obj({"divide_by": Int(1, required=True), "round": Enum(("down", "up"), required=True)}),
    **_without("custom_unit_amount"),
}
PRICE_UPDATE: Table = _PRICE
PRICE_LIST: Table = {
    **PAGE,
    "active": Bool(),
    "created": Range(),
    "currency": Str(3),
    "lookup_keys": Arr(Str(200), most=10),
    "product": Str(),
    "recurring": Obj({"interval": Enum(_WINDOWS), "meter": Str(), "usage_type": Enum(("licensed", "metered"))}),
    "type": Enum(("one_time", "recurring")),
}

# Meters and usage

METER_CREATE: Table = {
    "display_name": Str(250, required=True),
    "event_name": Str(100, required=True),
    "default_aggregation": Obj({"formula": Enum(("count", "last", "sum"), required=True)}, required=True),
    "event_time_window": Enum(("day", "hour")),
    "customer_mapping": Obj({"event_payload_key": Str(100, required=True), "type": Enum(("by_id",), required=True)}),
    "value_settings": Obj({"event_payload_key": Str(100, required=True)}),
}
METER_UPDATE: Table = {"display_name": Str(250)}
METER_LIST: Table = {**PAGE, "status": Enum(("active", "inactive"))}
METER_EVENT_CREATE: Table = {
    "event_name": Str(100, required=True),
    "payload": Map(required=True),
    "identifier": Str(100),
    "timestamp": Int(0),
}
ADJUSTMENT_CREATE: Table = {
    "event_name": Str(100, required=True),
    "type": Enum(("cancel",), required=True),
    "cancel": Obj({"identifier": Str(100, required=True)}),
}
SUMMARY_LIST: Table = {
    **PAGE,
    "customer": Str(required=True),
    "start_time": Int(0, required=True),
    "end_time": Int(0, required=True),
    "value_grouping_window": Enum(("day", "hour")),
}

# Subscriptions

_ITEM: Table = {
    "metadata": Metadata(),
    "price": Str(),
    "quantity": Int(0),
    **_without("billing_thresholds", "current_trial", "discounts", "plan", "price_data", "tax_rates"),
}
_CANCELLATION = Obj(
    {
        "comment": Str(unset=True),
        "feedback": Enum(
            (
                "customer_service",
                "low_quality",
                "missing_features",
                "other",
                "switched_service",
                "too_complex",
                "too_expensive",
                "unused",
            ),
            unset=True,
        ),
        **_without("feedback_option"),
    }
)
_SUBSCRIPTION: Table = {
    "cancel_at_period_end": Bool(),
    "collection_method": _COLLECTION,
    "days_until_due": Int(0),
    "default_payment_method": Str(),
    "description": Str(500, unset=True),
    "metadata": Metadata(),
    "off_session": Bool(),
    "payment_behavior": Enum(("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")),
    "proration_behavior": _PRORATION,
    **_without(
        "add_invoice_items",
        "application_fee_percent",
        "automatic_tax",
        "billing_schedules",
        "billing_thresholds",
        "cancel_at",
        "default_source",
        "default_tax_rates",
        "discounts",
        "invoice_settings",
        "on_behalf_of",
        "payment_settings",
        "pending_invoice_item_interval",
        "transfer_data",
        "trial_end",
        "trial_from_plan",
        "trial_settings",
    ),
}
SUBSCRIPTION_CREATE: Table = {
    **_SUBSCRIPTION,
    "customer": Str(required=True),
    "items": Arr(Obj(_ITEM), most=20, required=True),
    "billing_cycle_anchor": Int(0),
    "billing_cycle_anchor_config": Obj(
        {"day_of_month": Int(1, 31, required=True), "hour": Int(0, 23), "minute": Int(0, 59), "second": Int(0, 59), "month": Int(1, 12)}
    ),
    "billing_mode": Obj({"type": Enum(("classic", "flexible"), required=True), **_without("flexible")}),
    "currency": Str(3),
    **_without("backdate_start_date", "customer_account", "trial_period_days"),
}
SUBSCRIPTION_UPDATE: Table = {
    **_SUBSCRIPTION,
    "cancellation_details": _CANCELLATION,
    "items": Arr(Obj({**_ITEM, "id": Str(), "deleted": Bool(), "clear_usage": Bool()}), most=20),
    "pause_collection": Obj(
        {"behavior": Enum(("keep_as_draft", "mark_uncollectible", "void"), required=True), **_without("resumes_at")}, unset=True
    ),
    "proration_date": Int(0),
    **_without("billing_cycle_anchor"),
}
SUBSCRIPTION_CANCEL: Table = {"invoice_now": Bool(), "prorate": Bool(), "cancellation_details": _CANCELLATION}
SUBSCRIPTION_LIST: Table = {
    **PAGE,
    "collection_method": _COLLECTION,
    "created": Range(),
    "customer": Str(),
    "price": Str(),
    "status": Enum(("active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")),
    "test_clock": Str(),
    **_without("automatic_tax", "current_period_end", "current_period_start", "customer_account", "plan"),
}
ITEM_LIST: Table = {**PAGE, "subscription": Str(required=True)}

# Invoices

INVOICE_LIST: Table = {
    **PAGE,
    "collection_method": _COLLECTION,
    "created": Range(),
    "customer": Str(),
    "due_date": Range(),
    "status": Enum(("draft", "open", "paid", "uncollectible", "void")),
    "subscription": Str(),
    **_without("customer_account"),
}
LINES_LIST: Table = PAGE
INVOICE_CREATE: Table = {
    "auto_advance": Bool(),
    "collection_method": _COLLECTION,
    "currency": Str(3),
    "customer": Str(required=True),
    "days_until_due": Int(0),
    "description": Str(),
    "metadata": Metadata(),
    "pending_invoice_items_behavior": Enum(("exclude", "include")),
    **_without(
        "account_tax_ids",
        "application_fee_amount",
        "automatic_tax",
        "automatically_finalizes_at",
        "custom_fields",
        "customer_account",
        "default_payment_method",
        "default_source",
        "default_tax_rates",
        "discounts",
        "due_date",
        "effective_at",
        "footer",
        "from_invoice",
        "issuer",
        "number",
        "on_behalf_of",
        "payment_settings",
        "rendering",
        "shipping_cost",
        "shipping_details",
        "statement_descriptor",
        "subscription",
        "transfer_data",
    ),
}
INVOICE_UPDATE: Table = {"metadata": Metadata(), "description": Str(unset=True), "auto_advance": Bool()}
INVOICE_FINALIZE: Table = {"auto_advance": Bool()}
INVOICE_PAY: Table = {
    "paid_out_of_band": Bool(),
    "payment_method": Str(),
    "forgive": Bool(),
    "off_session": Bool(),
    **_without("mandate", "source"),
}
INVOICE_ITEM_CREATE: Table = {
    "customer": Str(required=True),
    "amount": Int(),
    "currency": Str(3, required=True),
    "description": Str(),
    "discountable": Bool(),
    "invoice": Str(),
    "metadata": Metadata(),
    "period": Obj({"start": Int(0, required=True), "end": Int(0, required=True)}),
    "quantity": Int(0),
    "subscription": Str(),
    "unit_amount_decimal": Amount(),
    **_without("customer_account", "discounts", "price_data", "pricing", "quantity_decimal", "tax_behavior", "tax_code", "tax_rates"),
}
INVOICE_ITEM_UPDATE: Table = {
    "amount": Int(),
    "description": Str(),
    "metadata": Metadata(),
    "period": Obj({"start": Int(0, required=True), "end": Int(0, required=True)}),
    "quantity": Int(0),
    "unit_amount_decimal": Amount(),
    **_without("discountable", "discounts", "price_data", "pricing", "quantity_decimal", "tax_behavior", "tax_code", "tax_rates"),
}
INVOICE_ITEM_LIST: Table = {
    **PAGE,
    "created": Range(),
    "customer": Str(),
    "invoice": Str(),
    "pending": Bool(),
    **_without("customer_account"),
}

# Clocks and events

CLOCK_CREATE: Table = {"frozen_time": Int(0, required=True), "name": Str(300), **_without("customer")}
CLOCK_ADVANCE: Table = {"frozen_time": Int(0, required=True)}
EVENT_LIST: Table = {**PAGE, "created": Range(), "type": Str(), "types": Arr(Str(), most=20), **_without("delivery_success")}
_MOMENT = Str(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
THIN_EVENT_LIST: Table = {
    "created": Obj({"gt": _MOMENT, "gte": _MOMENT, "lt": _MOMENT, "lte": _MOMENT}),
    "limit": Int(1, 100),
    "object_id": Str(),
    "page": Str(),
    "types": Arr(Str(), most=20),
}
