"""Meter events, adjustments and summaries (stand-in statements 5, 6, 7, 8, 10, 11)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.localcloud.stripe_support import START, Bench, customer, error_of, metered_price, run

NOW = int(START.timestamp())
HOUR = NOW // 3600 * 3600


async def meter(held: Bench, formula: str = "sum", **more: str) -> str:
    made = await held.make(
        "/v1/billing/meters", {"display_name": "H", "event_name": "hours", "default_aggregation[formula]": formula, **more}
    )
    return made["id"]


async def send(held: Bench, buyer: str, value: str, moment: int | None = None, identifier: str = "", **more: str) -> httpx.Response:
    data = {"event_name": "hours", "payload[stripe_customer_id]": buyer, "payload[value]": value, **more}
    if moment is not None:
        data["timestamp"] = str(moment)
    if identifier:
        data["identifier"] = identifier
    return await held.post("/v1/billing/meter_events", data)


async def total(held: Bench, meter_id: str, buyer: str, **more: str) -> list[float]:
    start = str(HOUR - 86400 * 2 - (HOUR % 86400))
    params = {"customer": buyer, "start_time": start, "end_time": str(HOUR + 86400 * 4 - HOUR % 86400), **more}
    answer = await held.get(f"/v1/billing/meters/{meter_id}/event_summaries", **params)
    assert answer.status_code == 200, answer.text
    return [row["aggregated_value"] for row in answer.json()["data"]]


def test_statement_5_an_identifier_counts_once_in_24_hours_and_again_afterwards() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        assert (await send(held, buyer, "2", identifier="x1")).status_code == 200
        again = await send(held, buyer, "3", identifier="x1")
        assert again.status_code == 400
        assert error_of(again) == {"message": "An event already exists with identifier x1.", "type": "invalid_request_error"}
        assert again.headers["stripe-should-retry"] == "false"
        await held.clock.advance(24 * 3600)
        assert (await send(held, buyer, "3", identifier="x1")).status_code == 200
        assert await total(held, meter_id, buyer) == [5.0]

    run(body)


def test_statement_6_an_identifier_is_known_across_idempotency_keys_and_a_replay_comes_first() -> None:
    async def body(held: Bench) -> None:
        await meter(held)
        buyer = (await customer(held))["id"]
        params = {"event_name": "hours", "payload": {"stripe_customer_id": buyer, "value": "1"}, "identifier": "x1"}
        first = await held.call(held.sdk.v1.billing.meter_events.create, params, {"idempotency_key": "x1"})
        again = await held.call(held.sdk.v1.billing.meter_events.create, params, {"idempotency_key": "x1"})
        assert (first.identifier, again.identifier) == ("x1", "x1")
        with pytest.raises(stripe.InvalidRequestError, match="already exists"):
            await held.call(held.sdk.v1.billing.meter_events.create, params, {"idempotency_key": "x2"})

    run(body)


@pytest.mark.parametrize(
    ("value", "offset", "who", "code"),
    [
        ("1", -35 * 86400 - 1, "", "timestamp_too_far_in_past"),
        ("1", 301, "", "timestamp_in_future"),
        ("1", 0, "cus_none", "meter_event_customer_not_found"),
        ("many", 0, "", "meter_event_invalid_value"),
        ("1234567890123456", 0, "", "meter_event_value_too_many_digits"),
    ],
)
def test_statement_7_what_does_not_count_is_received_and_reported_afterwards(value: str, offset: int, who: str, code: str) -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        now = held.vendor.state.virtual.now()
        answer = await held.post(
            "/v1/billing/meter_events",
            {"event_name": "hours", "payload[stripe_customer_id]": who or buyer, "payload[value]": value, "timestamp": str(now + offset)},
            key="request-1",
        )
        assert answer.status_code == 200
        assert await total(held, meter_id, buyer) == []
        assert (await held.get("/v2/core/events")).json()["data"] == []
        await held.clock.advance(11)
        [report] = (await held.get("/v2/core/events")).json()["data"]
        fetched = await held.call(held.sdk.v2.core.events.retrieve, report["id"])
        [error] = fetched.data.reason.error_types
        assert (fetched.type, fetched.related_object.id) == ("v1.billing.meter.error_report_triggered", meter_id)
        assert (error.code, error.error_count, error.sample_errors[0].request.identifier) == (code, 1, "request-1")

    run(body, report_lag_s=10)


def test_statement_7_a_missing_meter_is_reported_without_one() -> None:
    async def body(held: Bench) -> None:
        assert (await send(held, "cus_1", "1")).status_code == 200
        await held.clock.advance(1)
        [report] = (await held.get("/v2/core/events")).json()["data"]
        assert (report["type"], "related_object" in report) == ("v1.billing.meter.no_meter_found", False)

    run(body)


def test_statement_4_a_deactivated_meter_loses_events() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        await held.make(f"/v1/billing/meters/{meter_id}/deactivate")
        assert (await send(held, buyer, "1")).status_code == 200
        await held.clock.advance(1)
        [report] = (await held.get("/v2/core/events", object_id=meter_id)).json()["data"]
        assert report["data"]["reason"]["error_types"][0]["code"] == "archived_meter"
        assert await total(held, meter_id, buyer) == []

    run(body)


@pytest.mark.parametrize(("formula", "expected"), [("sum", 9.0), ("count", 3.0), ("last", 2.0)])
def test_statement_8_the_formula_makes_the_total(formula: str, expected: float) -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held, formula), (await customer(held))["id"]
        for value, moment in (("4", HOUR - 30), ("2", HOUR - 10), ("3", HOUR - 20)):  # the latest by its own time arrives before the last
            await send(held, buyer, value, moment)
        assert await total(held, meter_id, buyer) == [expected]

    run(body)


def test_statement_8_with_a_window_only_the_latest_event_of_each_hour_counts() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held, event_time_window="hour"), (await customer(held))["id"]
        other = (await customer(held))["id"]
        for value, moment in (("4", HOUR - 7000), ("1", HOUR - 6999), ("5", HOUR - 100), ("7", HOUR - 200)):
            await send(held, buyer, value, moment)
        await send(held, other, "9", HOUR - 100)
        assert await total(held, meter_id, buyer) == [6.0]

    run(body)


def test_statement_10_summaries_lag_by_the_setting() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        await send(held, buyer, "1")
        assert await total(held, meter_id, buyer) == []
        await held.clock.advance(601)
        assert await total(held, meter_id, buyer) == [1.0]

    run(body, summary_lag_s=600)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"start_time": str(HOUR + 1)}, "start_time"),
        ({"end_time": str(HOUR + 3601)}, "end_time"),
        ({"value_grouping_window": "hour", "start_time": str(HOUR + 60)}, "start_time"),
        ({"value_grouping_window": "day", "start_time": str(HOUR - 3600)}, "start_time"),
        ({"end_time": str(HOUR)}, "end_time"),
        ({"customer": "cus_none"}, "customer"),
        ({"limit": "101"}, "limit"),
    ],
)
def test_statement_10_times_are_aligned_and_the_rest_is_refused(change: dict[str, str], param: str) -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        params: dict[str, Any] = {"customer": buyer, "start_time": str(HOUR), "end_time": str(HOUR + 3600), **change}
        answer = await held.get(f"/v1/billing/meters/{meter_id}/event_summaries", **params)
        assert (answer.status_code, error_of(answer)["param"]) == (400, param)

    run(body)


def test_statement_10_buckets_page_empty_ones_are_absent_and_the_end_is_exclusive() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        for n in range(12):
            await send(held, buyer, str(n + 1), HOUR - n * 7200)
        params = {"customer": buyer, "start_time": HOUR - 11 * 7200, "end_time": HOUR, "value_grouping_window": "hour"}
        first = await held.call(held.sdk.v1.billing.meters.event_summaries.list, meter_id, params)
        assert (len(first.data), first.has_more) == (10, True)
        rest = await held.call(held.sdk.v1.billing.meters.event_summaries.list, meter_id, {**params, "starting_after": first.data[-1].id})
        assert (len(rest.data), rest.has_more) == (1, False)
        values = [row.aggregated_value for row in [*first.data, *rest.data]]
        assert sorted(values) == [float(n) for n in range(2, 13)]

    run(body)


def test_statement_11_an_event_is_taken_back_within_24_hours_of_its_receipt_only() -> None:
    async def body(held: Bench) -> None:
        meter_id, buyer = await meter(held), (await customer(held))["id"]
        await send(held, buyer, "1", identifier="old")
        await held.clock.advance(24 * 3600)
        await send(held, buyer, "2", identifier="new")
        params = {"event_name": "hours", "type": "cancel", "cancel": {"identifier": "new"}}
        taken = await held.call(held.sdk.v1.billing.meter_event_adjustments.create, params)
        assert taken.status in {"pending", "complete"}
        assert await total(held, meter_id, buyer) == [1.0]
        for identifier in ("old", "new", "none"):
            answer = await held.post(
                "/v1/billing/meter_event_adjustments", {"event_name": "hours", "type": "cancel", "cancel[identifier]": identifier}
            )
            assert (answer.status_code, error_of(answer)["param"]) == (400, "cancel[identifier]")

    run(body)


def test_a_negative_total_bills_nothing() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held, formula="sum"), await customer(held)
        data = {"customer": buyer["id"], "items[0][price]": price["id"], "collection_method": "send_invoice", "days_until_due": "3"}
        made = await held.make("/v1/subscriptions", data)
        await held.clock.advance(60)
        await send(held, buyer["id"], "-5", made["created"] + 1)
        await held.clock.advance(31 * 86400)
        assert [invoice["total"] for invoice in held.vendor.dump()["invoice"]] == [0, 0]

    run(body)
