"""The front door: keys, forms, refusals, idempotency, limits, faults (stand-in statements 1, 2, 3, 9, 20)."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import stripe

from rowhouse.localcloud.kernel import Fault
from rowhouse.localcloud.stripe_faults import dropped_after_commit, error_after_commit, lock_timeout_once, rate_limited_once
from tests.localcloud.stripe_support import Bench, customer, error_of, licensed_price, metered_price, run


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "You did not provide an API key."),
        ("Basic c2tfdGVzdF9sb2NhbDo=", "You did not provide an API key."),
        ("Bearer sk_test_other", "Invalid API Key provided: sk_test_*ther"),
        ("Bearer sk_live_51abcdefgh", "Invalid API Key provided: sk_live_******efgh"),
    ],
)
def test_statement_1_a_request_without_the_right_test_key_is_401(header: str, words: str) -> None:
    async def body(held: Bench) -> None:
        answer = await held.http.get("/v1/customers", headers={"Authorization": header})
        assert answer.status_code == 401
        assert words in error_of(answer)["message"]
        assert error_of(answer)["type"] == "invalid_request_error"
        assert answer.headers["request-id"].startswith("req_")

    run(body)


def test_statement_1_a_restricted_test_key_is_a_key() -> None:
    async def body(held: Bench) -> None:
        answer = await held.http.get("/v1/account", headers={"Authorization": "Bearer rk_test_reader"})
        assert answer.json()["object"] == "account"

    run(body, api_key="rk_test_reader")


def test_statement_1_a_json_body_is_refused() -> None:
    async def body(held: Bench) -> None:
        answer = await held.http.post("/v1/customers", json={"name": "Acme"})
        assert answer.status_code == 400
        assert "application/x-www-form-urlencoded" in error_of(answer)["message"]
        assert held.vendor.dump()["customer"] == []

    run(body)


def test_statement_1_every_answer_has_a_request_id_that_the_sdk_reads() -> None:
    async def body(held: Bench) -> None:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await held.call(held.sdk.v1.customers.retrieve, "cus_none")
        assert caught.value.request_id.startswith("req_")
        assert caught.value.code == "resource_missing"
        assert caught.value.http_status == 404

    run(body)


def test_an_unknown_path_is_named_with_its_method() -> None:
    async def body(held: Bench) -> None:
        for method, path in (("GET", "/v1/nothing"), ("PATCH", "/v1/customers"), ("POST", "/v1/subscription_items/si_1/usage_records")):
            answer = await held.http.request(method, path)
            assert answer.status_code == 404
            assert error_of(answer)["message"].startswith(f"Unrecognized request URL ({method}: {path})")

    run(body)


def test_the_api_version_is_echoed_and_one_before_basil_is_refused() -> None:
    async def body(held: Bench) -> None:
        assert (await held.get("/v1/account")).headers["stripe-version"] == "2026-10-28.endive"
        old = await held.http.get("/v1/account", headers={"Stripe-Version": "2024-06-20"})
        assert old.status_code == 400
        assert "Invalid Stripe API version" in error_of(old)["message"]

    run(body)


@pytest.mark.parametrize(
    ("path", "data", "param"),
    [
        (
            "/v1/prices",
            {"currency": "usd", "recurring[interval]": "month", "recurring[aggregate_usage]": "sum"},
            "recurring[aggregate_usage]",
        ),
        (
            "/v1/billing/meters",
            {"display_name": "H", "event_name": "h", "default_aggregation[formula]": "max"},
            "default_aggregation[formula]",
        ),
        ("/v1/subscriptions", {"customer": "cus_1", "items[0][price]": "price_1", "items[1][prize]": "price_2"}, "items[1][prize]"),
        ("/v1/billing/meters", {"display_name": "H", "default_aggregation[formula]": "sum"}, "event_name"),
        ("/v1/products", {"name": ""}, "name"),
        ("/v1/products", {"name": "x", "active": "yes"}, "active"),
        ("/v1/products", {"name": "x" * 251}, "name"),
        ("/v1/customers", {"balance": "ten"}, "balance"),
        ("/v1/customers", {"metadata": "x"}, "metadata"),
        ("/v1/customers", {"address[town]": "x"}, "address[town]"),
        ("/v1/customers", {"shipping[name]": "x"}, "shipping"),
        ("/v1/subscriptions", {"customer": "cus_1", "items": "price_1"}, "items"),
    ],
)
def test_statement_2_an_unknown_missing_or_wrong_parameter_is_named(path: str, data: dict[str, str], param: str) -> None:
    async def body(held: Bench) -> None:
        answer = await held.post(path, data)
        assert answer.status_code == 400
        assert error_of(answer)["param"] == param
        assert error_of(answer)["type"] == "invalid_request_error"

    run(body)


def test_statement_2_a_misspelt_parameter_gets_a_suggestion() -> None:
    async def body(held: Bench) -> None:
        answer = await held.post("/v1/subscriptions", {"customer": "cus_1", "items[0][prize]": "price_1"})
        assert error_of(answer)["message"] == "Received unknown parameter: items[0][prize]. Did you mean price?"
        assert error_of(answer)["code"] == "parameter_unknown"

    run(body)


def test_statement_2_a_metered_price_needs_a_meter() -> None:
    async def body(held: Bench) -> None:
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
        data = {
            "product": "plan",
            "currency": "usd",
            "unit_amount": "1",
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
        }
        answer = await held.post("/v1/prices", data)
        assert (answer.status_code, error_of(answer)["param"]) == (400, "recurring[meter]")
        assert held.vendor.dump()["price"] == []

    run(body)


def test_statement_3_the_same_key_and_parameters_answer_the_same_for_24_hours() -> None:
    async def body(held: Bench) -> None:
        first = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        await held.clock.advance(23 * 3600)
        again = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["original-request"] == first.headers["request-id"]
        await held.clock.advance(2 * 3600)
        later = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        assert later.json()["id"] != first.json()["id"]
        assert len(held.vendor.dump()["customer"]) == 2

    run(body)


def test_statement_3_a_500_is_replayed_though_the_effect_happened() -> None:
    async def body(held: Bench) -> None:
        held.faults.add(error_after_commit("/v1/customers"))
        first = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        again = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        assert (first.status_code, again.status_code) == (500, 500)
        assert again.json() == first.json()
        assert len(held.vendor.dump()["customer"]) == 1

    run(body)


def test_statement_3_a_refusal_by_the_endpoint_is_replayed_too() -> None:
    async def body(held: Bench) -> None:
        data = {"currency": "usd", "unit_amount": "1", "product": "plan"}
        first = await held.post("/v1/prices", data, key="k1")
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
        again = await held.post("/v1/prices", data, key="k1")
        assert (first.status_code, again.status_code) == (400, 400)
        assert again.headers["idempotent-replayed"] == "true"

    run(body)


def test_statement_3_other_parameters_or_another_endpoint_are_an_idempotency_error() -> None:
    async def body(held: Bench) -> None:
        await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        for path, data in (("/v1/customers", {"name": "Other"}), ("/v1/products", {"name": "Acme"})):
            answer = await held.post(path, data, key="k1")
            assert (answer.status_code, error_of(answer)["type"]) == (400, "idempotency_error")
        options = {"idempotency_key": "k1"}
        with pytest.raises(stripe.IdempotencyError):
            await held.call(held.sdk.v1.customers.create, {"name": "Third"}, options)

    run(body)


def test_statement_3_nothing_is_stored_when_validation_fails() -> None:
    async def body(held: Bench) -> None:
        wrong = await held.post("/v1/customers", {"nmae": "Acme"}, key="k1")
        assert wrong.status_code == 400
        right = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        assert right.status_code == 200

    run(body)


def test_statement_3_a_key_in_flight_is_409() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        data = {"customer": buyer["id"], "items[0][price]": price["id"]}
        answers = await asyncio.gather(*(held.post("/v1/subscriptions", data, key="k1") for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
        assert len(held.vendor.dump()["subscription"]) == 1
        assert error_of(next(answer for answer in answers if answer.status_code == 409))["code"] == "idempotency_key_in_use"

    run(body, limits=True, rate_per_s=1000, lock_s=0.2)


def test_statement_9_the_global_rate_is_kept_and_answers_without_a_retry_header() -> None:
    async def body(held: Bench) -> None:
        answers = [await held.get("/v1/account") for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert "retry-after" not in refused[0].headers
        assert refused[0].headers["stripe-rate-limited-reason"] == "global-rate"
        assert error_of(refused[0])["code"] == "rate_limit"
        await held.clock.advance(1)
        assert (await held.get("/v1/account")).status_code == 200

    run(body, limits=True, rate_per_s=3)


def test_statement_9_a_concurrent_meter_event_of_the_same_customer_is_429() -> None:
    async def body(held: Bench) -> None:
        await metered_price(held)
        buyer, other = await customer(held), await customer(held)
        data = {"event_name": "hours", "payload[stripe_customer_id]": buyer["id"], "payload[value]": "1"}
        elsewhere = {**data, "payload[stripe_customer_id]": other["id"]}
        answers = await asyncio.gather(
            *(held.post("/v1/billing/meter_events", {**data, "identifier": f"x{n}"}) for n in range(3)),
            held.post("/v1/billing/meter_events", {**elsewhere, "identifier": "y"}),
        )
        assert sorted(answer.status_code for answer in answers[:3]) == [200, 429, 429]
        assert answers[3].status_code == 200
        assert {error_of(answer)["code"] for answer in answers if answer.status_code == 429} == {"lock_timeout"}

    run(body, limits=True, rate_per_s=1000, lock_s=0.2)


def test_statement_20_rate_limit_and_lock_timeout_are_injected_without_a_retry_header() -> None:
    async def body(held: Bench) -> None:
        for fault, code in ((rate_limited_once("/v1/customers"), "rate_limit"), (lock_timeout_once("/v1/customers"), "lock_timeout")):
            held.faults.add(fault)
            with pytest.raises(stripe.RateLimitError) as caught:
                await held.call(held.sdk.v1.customers.create, {"name": "Acme"})
            assert caught.value.error.code == code
            assert "retry-after" not in {name.lower() for name in caught.value.headers}
        assert held.vendor.dump()["customer"] == []

    run(body)


def test_statement_20_a_connection_dropped_after_the_commit_leaves_the_object() -> None:
    async def body(held: Bench) -> None:
        held.faults.add(dropped_after_commit("/v1/customers"))
        with pytest.raises(httpx.HTTPError):
            await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        again = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        assert again.status_code == 200
        assert [again.json()["id"]] == [one["id"] for one in held.vendor.dump()["customer"]]

    run(body)


def test_a_slow_answer_is_the_right_answer() -> None:
    async def body(held: Bench) -> None:
        held.faults.add(Fault("slow", path="/v1/account", value=0.01))
        assert (await held.get("/v1/account")).json()["object"] == "account"

    run(body)


def test_the_sdk_sends_nested_items_and_gets_a_subscription_back() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await licensed_price(held), await customer(held, payment_method="pm_card_visa")
        made = await held.call(held.sdk.v1.subscriptions.create, {"customer": buyer["id"], "items": [{"price": price["id"]}]})
        assert made.status == "active"
        assert made["items"].data[0].price.id == price["id"]

    run(body)
