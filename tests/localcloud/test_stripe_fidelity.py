"""The stand-in's shapes against Stripe's recorded ones, and its parameter tables against the official SDK's types."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import stripe

from rowhouse.localcloud import stripe_params as tables
from rowhouse.localcloud.stripe_schema import Kind
from tests.localcloud.stripe_support import bench, customer, licensed_price, metered_price

FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "reference" / "stripe-fixtures.json"

# Keys of the fixtures that the API of 2026-10-28 does not send, or only with an Account that has more than billing.
ABSENT = {
    "invoice": {"subscription"},  # basil moved it into `parent`
    "account": {
        "business_profile",
        "external_accounts",
        "future_requirements",
        "requirements",
        "tos_acceptance",
    },
}
# Nested objects whose keys depend on what was asked for: the fixture shows one example of many.
FREE = {
    "metadata",
    "payload",
    "payment_method_options",
    "status_details",
    "settings",
    "capabilities",
    "controller",
    "parent",
    "pricing",
    "request",
    "data",
    "billing_mode",
}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str = "") -> list[str]:
    """Keys that only one of the two has, wherever both have an object."""
    found = [f"+{path}{key}" for key in ours.keys() - theirs.keys()]
    found += [f"-{path}{key}" for key in theirs.keys() - ours.keys()]
    for key in ours.keys() & theirs.keys():
        mine, other = ours[key], theirs[key]
        if key in FREE:
            continue
        if isinstance(mine, dict) and isinstance(other, dict):
            found += differences(mine, other, f"{path}{key}.")
        elif (
            isinstance(mine, list)
            and isinstance(other, list)
            and mine
            and other
            and isinstance(mine[0], dict)
            and isinstance(other[0], dict)
        ):
            found += differences(mine[0], other[0], f"{path}{key}[].")
    return found


async def examples() -> dict[str, dict[str, Any]]:
    """One live answer of each kind."""
    async with bench() as held:
        buyer = await customer(held, payment_method="pm_card_visa")
        metered, licensed = await metered_price(held), await licensed_price(held)
        data = {"customer": buyer["id"], "items[0][price]": licensed["id"], "items[1][price]": metered["id"]}
        anchor = {f"billing_cycle_anchor_config[{name}]": "1" for name in ("day_of_month", "hour")}
        made = await held.make("/v1/subscriptions", {**data, **anchor})
        clock = await held.make("/v1/test_helpers/test_clocks", {"frozen_time": "1800000000"})
        event = {"event_name": "hours", "payload[stripe_customer_id]": buyer["id"], "payload[value]": "1", "identifier": "x"}
        meter_event = await held.make("/v1/billing/meter_events", event)
        adjusted = await held.make(
            "/v1/billing/meter_event_adjustments", {"event_name": "hours", "type": "cancel", "cancel[identifier]": "x"}
        )
        await held.make("/v1/billing/meter_events", {**event, "identifier": "y"})
        now = held.vendor.state.virtual.now() // 60 * 60
        summaries = await held.get(
            f"/v1/billing/meters/{metered['recurring']['meter']}/event_summaries",
            customer=buyer["id"],
            start_time=str(now - 60),
            end_time=str(now + 120),
        )
        invoice = (await held.get(f"/v1/invoices/{made['latest_invoice']}")).json()
        return {
            "account": (await held.get("/v1/account")).json(),
            "customer": (await held.get(f"/v1/customers/{buyer['id']}")).json(),
            "product": (await held.get("/v1/products/plan")).json(),
            "price": licensed,
            "billing.meter": (await held.get(f"/v1/billing/meters/{metered['recurring']['meter']}")).json(),
            "billing.meter_event": meter_event,
            "billing.meter_event_adjustment": adjusted,
            "billing.meter_event_summary": summaries.json()["data"][0],
            "subscription": made,
            "subscription_item": made["items"]["data"][0],
            "invoice": invoice,
            "invoiceitem": await held.make("/v1/invoiceitems", {"customer": buyer["id"], "amount": "500", "currency": "usd"}),
            "line_item": invoice["lines"]["data"][0],
            "event": (await held.get("/v1/events")).json()["data"][0],
            "test_helpers.test_clock": clock,
            "deleted_customer": (await held.http.delete(f"/v1/customers/{buyer['id']}")).json(),
        }


@pytest.mark.fidelity
@pytest.mark.skipif(not FIXTURES.exists(), reason="no recorded shapes beside this clone")
def test_every_answer_has_exactly_the_keys_of_the_recorded_shape() -> None:
    recorded = json.loads(FIXTURES.read_text())["resources"]
    wrong = {}
    for kind, ours in asyncio.run(examples()).items():
        theirs = {key: value for key, value in recorded[kind].items() if key not in ABSENT.get(kind, set())}
        if found := differences(ours, theirs):
            wrong[kind] = sorted(found)
    assert wrong == {}


def sdk_params(module: str, name: str) -> tuple[set[str], set[str]]:
    """All and the required parameters of one TypedDict of the SDK."""
    path = Path(stripe.__file__).parent / "params" / module
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            fields = {field.target.id: ast.unparse(field.annotation) for field in node.body if isinstance(field, ast.AnnAssign)}
            return set(fields), {field for field, kind in fields.items() if not kind.startswith("NotRequired")}
    raise LookupError(f"{name} in {module}")


# What Stripe requires though the SDK's type does not say so (either of two, in the SDK's eyes).
REQUIRED_ANYWAY = {
    "SubscriptionCreateParams": {"customer", "items"},
    "InvoiceItemCreateParams": {"customer", "currency"},
    "InvoiceCreateParams": {"customer"},
}


@pytest.mark.parametrize(
    ("table", "module", "name"),
    [
        (tables.CUSTOMER_CREATE, "_customer_create_params.py", "CustomerCreateParams"),
        (tables.CUSTOMER_UPDATE, "_customer_update_params.py", "CustomerUpdateParams"),
        (tables.CUSTOMER_LIST, "_customer_list_params.py", "CustomerListParams"),
        (tables.SEARCH, "_customer_search_params.py", "CustomerSearchParams"),
        (tables.PRODUCT_CREATE, "_product_create_params.py", "ProductCreateParams"),
        (tables.PRODUCT_UPDATE, "_product_update_params.py", "ProductUpdateParams"),
        (tables.PRODUCT_LIST, "_product_list_params.py", "ProductListParams"),
        (tables.PRICE_CREATE, "_price_create_params.py", "PriceCreateParams"),
        (tables.PRICE_UPDATE, "_price_update_params.py", "PriceUpdateParams"),
        (tables.PRICE_LIST, "_price_list_params.py", "PriceListParams"),
        (tables.METER_CREATE, "billing/_meter_create_params.py", "MeterCreateParams"),
        (tables.METER_UPDATE, "billing/_meter_update_params.py", "MeterUpdateParams"),
        (tables.METER_LIST, "billing/_meter_list_params.py", "MeterListParams"),
        (tables.METER_EVENT_CREATE, "billing/_meter_event_create_params.py", "MeterEventCreateParams"),
        (tables.ADJUSTMENT_CREATE, "billing/_meter_event_adjustment_create_params.py", "MeterEventAdjustmentCreateParams"),
        (tables.SUMMARY_LIST, "billing/_meter_event_summary_list_params.py", "MeterEventSummaryListParams"),
        (tables.SUBSCRIPTION_CREATE, "_subscription_create_params.py", "SubscriptionCreateParams"),
        (tables.SUBSCRIPTION_UPDATE, "_subscription_update_params.py", "SubscriptionUpdateParams"),
        (tables.SUBSCRIPTION_CANCEL, "_subscription_cancel_params.py", "SubscriptionCancelParams"),
        (tables.SUBSCRIPTION_LIST, "_subscription_list_params.py", "SubscriptionListParams"),
        (tables.ITEM_LIST, "_subscription_item_list_params.py", "SubscriptionItemListParams"),
        (tables.INVOICE_LIST, "_invoice_list_params.py", "InvoiceListParams"),
        (tables.INVOICE_CREATE, "_invoice_create_params.py", "InvoiceCreateParams"),
        (tables.INVOICE_ITEM_CREATE, "_invoice_item_create_params.py", "InvoiceItemCreateParams"),
        (tables.INVOICE_ITEM_LIST, "_invoice_item_list_params.py", "InvoiceItemListParams"),
        (tables.INVOICE_FINALIZE, "_invoice_finalize_invoice_params.py", "InvoiceFinalizeInvoiceParams"),
        (tables.INVOICE_PAY, "_invoice_pay_params.py", "InvoicePayParams"),
        (tables.CLOCK_CREATE, "test_helpers/_test_clock_create_params.py", "TestClockCreateParams"),
        (tables.CLOCK_ADVANCE, "test_helpers/_test_clock_advance_params.py", "TestClockAdvanceParams"),
        (tables.EVENT_LIST, "_event_list_params.py", "EventListParams"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith("Params") else "",
)
def test_each_table_knows_every_parameter_of_the_sdk_and_no_other(table: Mapping[str, Kind], module: str, name: str) -> None:
    known, required = sdk_params(module, name)
    assert set(table) == known - {"expand"}
    assert {key for key, kind in table.items() if kind.required} == required | REQUIRED_ANYWAY.get(name, set())


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        (tables.SUBSCRIPTION_CREATE["items"], "_subscription_create_params.py", "SubscriptionCreateParamsItem"),
        (tables.SUBSCRIPTION_UPDATE["items"], "_subscription_update_params.py", "SubscriptionUpdateParamsItem"),
        (tables.PRICE_CREATE["tiers"], "_price_create_params.py", "PriceCreateParamsTier"),
        (tables.PRICE_CREATE["recurring"], "_price_create_params.py", "PriceCreateParamsRecurring"),
        (tables.PRICE_CREATE["product_data"], "_price_create_params.py", "PriceCreateParamsProductData"),
        (
            tables.SUBSCRIPTION_CREATE["billing_cycle_anchor_config"],
            "_subscription_create_params.py",
            "SubscriptionCreateParamsBillingCycleAnchorConfig",
        ),
        (tables.SUBSCRIPTION_CREATE["billing_mode"], "_subscription_create_params.py", "SubscriptionCreateParamsBillingMode"),
        (tables.CUSTOMER_CREATE["address"], "_customer_create_params.py", "CustomerCreateParamsAddress"),
        (tables.CUSTOMER_CREATE["invoice_settings"], "_customer_create_params.py", "CustomerCreateParamsInvoiceSettings"),
        (tables.METER_CREATE["default_aggregation"], "billing/_meter_create_params.py", "MeterCreateParamsDefaultAggregation"),
        (tables.METER_CREATE["customer_mapping"], "billing/_meter_create_params.py", "MeterCreateParamsCustomerMapping"),
    ],
    ids=lambda value: value if isinstance(value, str) and "Params" in value else "",
)
def test_each_nested_table_knows_every_parameter_of_the_sdk(kind: Any, module: str, name: str) -> None:
    table = kind.item.table if hasattr(kind, "item") else kind.table
    known, required = sdk_params(module, name)
    assert set(table) == known
    assert {key for key, below in table.items() if below.required} == required
