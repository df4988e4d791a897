"""Customers, products, prices, meters, lists, search and events (stand-in statements 4, 15, 16, 17, 18)."""

from __future__ import annotations

import pytest
import stripe

from tests.localcloud.stripe_support import Bench, customer, error_of, licensed_price, metered_price, run


def test_statement_4_an_event_name_has_one_active_meter() -> None:
    async def body(held: Bench) -> None:
        data = {"display_name": "Hours", "event_name": "hours", "default_aggregation[formula]": "last"}
        first = await held.make("/v1/billing/meters", data)
        assert error_of(await held.post("/v1/billing/meters", data))["param"] == "event_name"
        await held.make(f"/v1/billing/meters/{first['id']}/deactivate")
        second = await held.make("/v1/billing/meters", data)
        assert (await held.post(f"/v1/billing/meters/{first['id']}/reactivate")).status_code == 400
        active = (await held.get("/v1/billing/meters", status="active")).json()["data"]
        assert [meter["id"] for meter in active] == [second["id"]]

    run(body)


def test_statement_4_a_deactivated_meter_comes_back_by_reactivation() -> None:
    async def body(held: Bench) -> None:
        meter = await held.call(
            held.sdk.v1.billing.meters.create,
            {"display_name": "Hours", "event_name": "hours", "default_aggregation": {"formula": "sum"}},
        )
        off = await held.call(held.sdk.v1.billing.meters.deactivate, meter.id)
        assert (off.status, off.status_transitions.deactivated_at) == ("inactive", off.updated)
        on = await held.call(held.sdk.v1.billing.meters.reactivate, meter.id)
        assert (on.status, on.status_transitions.deactivated_at) == ("active", None)

    run(body)


def test_a_meter_changes_its_display_name_only() -> None:
    async def body(held: Bench) -> None:
        meter = (await metered_price(held))["recurring"]["meter"]
        assert (await held.make(f"/v1/billing/meters/{meter}", {"display_name": "Time"}))["display_name"] == "Time"
        answer = await held.post(f"/v1/billing/meters/{meter}", {"event_name": "other"})
        assert error_of(answer)["param"] == "event_name"

    run(body)


def test_statement_15_a_deleted_customer_says_so_and_its_subscriptions_are_canceled() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        made = await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"]})
        gone = {"id": buyer["id"], "object": "customer", "deleted": True}
        assert (await held.http.delete(f"/v1/customers/{buyer['id']}")).json() == gone
        again = await held.get(f"/v1/customers/{buyer['id']}")
        assert (again.status_code, again.json()) == (200, gone)
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "canceled"
        assert (await held.http.delete(f"/v1/customers/{buyer['id']}")).status_code == 404
        assert (await held.post(f"/v1/customers/{buyer['id']}", {"name": "x"})).status_code == 404
        assert (await held.get("/v1/customers")).json()["data"] == []
        assert (await held.call(held.sdk.v1.customers.retrieve, buyer["id"])).deleted is True

    run(body)


def test_statement_16_search_lags_by_the_setting_and_list_by_email_does_not() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, **{"metadata[tenant]": "acme", "metadata[stack]": "prod"})
        query = "metadata['tenant']:'acme' AND metadata['stack']:'prod'"
        listed = await held.call(held.sdk.v1.customers.list, {"email": "ops@acme.example"})
        assert [one.id for one in listed.data] == [buyer["id"]]
        assert (await held.call(held.sdk.v1.customers.search, {"query": query})).data == []
        await held.clock.advance(61)
        assert [one.id for one in (await held.call(held.sdk.v1.customers.search, {"query": query})).data] == [buyer["id"]]
        await held.http.delete(f"/v1/customers/{buyer['id']}")
        assert len((await held.get("/v1/customers/search", query=query)).json()["data"]) == 1
        await held.clock.advance(61)
        assert (await held.get("/v1/customers/search", query=query)).json()["data"] == []

    run(body, search_lag_s=60)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email:'OPS@acme.example'", True),
        ("email~'acme'", True),
        ("-email:'ops@acme.example'", False),
        ('metadata["tenant"]:"acme" AND email:"ops@acme.example"', True),
        ("metadata['tenant']:'ACME'", False),
        ("metadata['tenant']:'other' OR name:'Acme'", True),
        ("metadata['none']:null", True),
        ("created>1", True),
        ("created<1", False),
    ],
)
def test_search_understands_the_query_language(query: str, found: bool) -> None:
    async def body(held: Bench) -> None:
        await customer(held, **{"metadata[tenant]": "acme"})
        answer = await held.get("/v1/customers/search", query=query)
        assert answer.status_code == 200, answer.text
        assert bool(answer.json()["data"]) is found

    run(body, search_lag_s=0)


@pytest.mark.parametrize(
    "query",
    ["", "tenant", "metadata:'x'", "address:'x'", "name:'a' AND email:'b' OR phone:'c'", "(name:'a')", "name:'unclosed", "email~'ab'"],
)
def test_search_refuses_what_does_not_parse(query: str) -> None:
    async def body(held: Bench) -> None:
        answer = await held.get("/v1/customers/search", query=query)
        assert (answer.status_code, error_of(answer)["param"]) == (400, "query")

    run(body)


@pytest.mark.parametrize(
    "metadata",
    [
        {f"metadata[k{n}]": "v" for n in range(51)},
        {"metadata[" + "k" * 41 + "]": "v"},
        {"metadata[k]": "v" * 501},
        {"metadata[a[b]]": "v"},
    ],
)
def test_statement_16_metadata_limits_are_enforced(metadata: dict[str, str]) -> None:
    async def body(held: Bench) -> None:
        answer = await held.post("/v1/customers", metadata)
        assert (answer.status_code, error_of(answer)["param"]) == (400, "metadata")

    run(body)


def test_statement_16_the_limit_counts_what_is_there_already() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, **{f"metadata[k{n}]": "v" for n in range(50)})
        assert (await held.post(f"/v1/customers/{buyer['id']}", {"metadata[more]": "v"})).status_code == 400
        assert (await held.post(f"/v1/customers/{buyer['id']}", {"metadata[more]": "v", "metadata[k0]": ""})).status_code == 200

    run(body)


def test_an_empty_value_unsets_a_metadata_key_and_an_empty_string_all_of_them() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, **{"metadata[a]": "1", "metadata[b]": "2"})
        one = await held.make(f"/v1/customers/{buyer['id']}", {"metadata[a]": ""})
        assert one["metadata"] == {"b": "2"}
        assert (await held.make(f"/v1/customers/{buyer['id']}", {"metadata": ""}))["metadata"] == {}
        assert (await held.make(f"/v1/customers/{buyer['id']}", {"name": ""}))["name"] is None

    run(body)


def test_statement_17_a_product_id_may_be_chosen_and_a_taken_one_is_refused() -> None:
    async def body(held: Bench) -> None:
        made = await held.call(held.sdk.v1.products.create, {"id": "aether-pro", "name": "Pro"})
        assert made.id == "aether-pro"
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await held.call(held.sdk.v1.products.create, {"id": "aether-pro", "name": "Pro"})
        assert caught.value.code == "resource_already_exists"

    run(body)


@pytest.mark.parametrize("change", [{"unit_amount": "1"}, {"currency": "eur"}, {"recurring[interval]": "year"}, {"product": "x"}])
def test_statement_17_a_price_does_not_change(change: dict[str, str]) -> None:
    async def body(held: Bench) -> None:
        price = await licensed_price(held)
        answer = await held.post(f"/v1/prices/{price['id']}", change)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "parameter_unknown")
        assert (await held.get(f"/v1/prices/{price['id']}")).json() == price

    run(body)


def test_statement_17_a_price_changes_its_labels() -> None:
    async def body(held: Bench) -> None:
        price = await licensed_price(held)
        data = {"nickname": "n", "lookup_key": "key", "active": "false", "metadata[a]": "b", "tax_behavior": "exclusive"}
        after = await held.make(f"/v1/prices/{price['id']}", data)
        assert (after["nickname"], after["lookup_key"], after["active"], after["metadata"]) == ("n", "key", False, {"a": "b"})
        assert (await held.http.delete(f"/v1/prices/{price['id']}")).status_code == 404

    run(body)


def test_statement_17_a_lookup_key_is_unique_among_active_prices_and_can_be_transferred() -> None:
    async def body(held: Bench) -> None:
        old = await licensed_price(held, 1000, lookup_key="pro")
        data = {"product": "plan", "currency": "usd", "unit_amount": "2000", "recurring[interval]": "month", "lookup_key": "pro"}
        answer = await held.post("/v1/prices", data)
        assert error_of(answer)["message"] == f"A price (`{old['id']}`) already uses that lookup key."
        new = await held.make("/v1/prices", {**data, "transfer_lookup_key": "true"})
        assert (await held.get(f"/v1/prices/{old['id']}")).json()["lookup_key"] is None
        listed = await held.call(held.sdk.v1.prices.list, {"lookup_keys": ["pro"], "active": True})
        assert [price.id for price in listed.data] == [new["id"]]
        await held.make(f"/v1/prices/{new['id']}", {"active": "false"})
        third = await held.make("/v1/prices", data)
        assert third["lookup_key"] == "pro"
        assert (await held.post(f"/v1/prices/{new['id']}", {"active": "true"})).status_code == 400

    run(body)


def test_a_product_with_prices_is_not_deleted_and_one_without_is() -> None:
    async def body(held: Bench) -> None:
        await licensed_price(held)
        answer = await held.http.delete("/v1/products/plan")
        assert (answer.status_code, "user-created prices" in error_of(answer)["message"]) == (400, True)
        await held.make("/v1/products", {"id": "bare", "name": "Bare"})
        assert (await held.http.delete("/v1/products/bare")).json() == {"id": "bare", "object": "product", "deleted": True}
        assert (await held.get("/v1/products/bare")).status_code == 404

    run(body)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"unit_amount_decimal": "1.5"}, "unit_amount"),
        ({"unit_amount": ""}, "unit_amount"),
        ({"unit_amount": "-1"}, "unit_amount"),
        ({"currency": "zzz"}, "currency"),
        ({"product": "none"}, "product"),
        ({"tiers_mode": "graduated"}, "tiers_mode"),
        ({"recurring[meter]": "mtr_none"}, "recurring[meter]"),
        ({"unit_amount": "1", "billing_scheme": "tiered"}, "unit_amount"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(change: dict[str, str], param: str) -> None:
    async def body(held: Bench) -> None:
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
        data = {"product": "plan", "currency": "usd", "unit_amount": "1", "recurring[interval]": "month", **change}
        assert error_of(await held.post("/v1/prices", data))["param"] == param

    run(body)


def test_decimals_are_exact_and_tiers_show_only_when_expanded() -> None:
    async def body(held: Bench) -> None:
        await held.make("/v1/products", {"id": "plan", "name": "Plan"})
        tiers = [{"up_to": 100, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "0.123456789012"}]
        params = {"product": "plan", "currency": "usd", "recurring": {"interval": "month"}, "billing_scheme": "tiered"}
        made = await held.call(held.sdk.v1.prices.create, {**params, "tiers_mode": "graduated", "tiers": tiers})
        assert "tiers" not in made
        shown = await held.call(held.sdk.v1.prices.retrieve, made.id, {"expand": ["tiers"]})
        assert (shown.tiers[0].up_to, shown.tiers[1].up_to) == (100, None)
        assert str(shown.tiers[1].unit_amount_decimal) == "0.123456789012"
        half = await held.make("/v1/prices", {"product": "plan", "currency": "usd", "unit_amount_decimal": "0.5"})
        assert (half["unit_amount"], half["unit_amount_decimal"], half["type"]) == (None, "0.5", "one_time")
        listed = (await held.http.get("/v1/prices", params={"expand[]": "data.tiers", "limit": "1", "recurring[interval]": "month"})).json()
        assert listed["data"][0]["tiers"][0]["up_to"] == 100

    run(body)


def test_lists_page_forwards_and_backwards_newest_first() -> None:
    async def body(held: Bench) -> None:
        made = [(await customer(held, name=f"c{n}"))["id"] for n in range(25)][::-1]
        first = (await held.get("/v1/customers")).json()
        assert ([one["id"] for one in first["data"]], first["has_more"], first["url"]) == (made[:10], True, "/v1/customers")
        after = (await held.get("/v1/customers", starting_after=made[19], limit="100")).json()
        assert ([one["id"] for one in after["data"]], after["has_more"]) == (made[20:], False)
        before = (await held.get("/v1/customers", ending_before=made[15], limit="5")).json()
        assert ([one["id"] for one in before["data"]], before["has_more"]) == (made[10:15], True)
        pages = await held.call(lambda: [one.id for one in held.sdk.v1.customers.list({"limit": 7}).auto_paging_iter()])
        assert pages == made
        for params in ({"limit": "101"}, {"limit": "0"}, {"starting_after": "cus_none"}):
            assert (await held.get("/v1/customers", **params)).status_code == 400

    run(body)


def test_search_pages_by_token() -> None:
    async def body(held: Bench) -> None:
        for n in range(12):
            await customer(held, name=f"c{n}")
        found = await held.call(
            lambda: [one.id for one in held.sdk.v1.customers.search({"query": "email:'ops@acme.example'", "limit": 5}).auto_paging_iter()]
        )
        assert len(set(found)) == 12

    run(body, search_lag_s=0)


def test_lists_filter_by_creation_time() -> None:
    async def body(held: Bench) -> None:
        early = await customer(held)
        await held.clock.advance(3600)
        late = await customer(held)
        newer = (await held.get("/v1/customers", **{"created[gt]": str(early["created"])})).json()["data"]
        assert [one["id"] for one in newer] == [late["id"]]

    run(body)


def test_statement_18_events_tell_what_was_made_and_changed_for_30_days() -> None:
    async def body(held: Bench) -> None:
        answer = await held.post("/v1/customers", {"name": "Acme"}, key="k1")
        buyer = answer.json()
        await held.make(f"/v1/customers/{buyer['id']}", {"name": "Acme Ltd"})
        events = (await held.get("/v1/events", type="customer.*")).json()["data"]
        assert [event["type"] for event in events] == ["customer.updated", "customer.created"]
        assert events[0]["data"]["previous_attributes"] == {"name": "Acme"}
        assert events[1]["request"] == {"id": answer.headers["request-id"], "idempotency_key": "k1"}
        fetched = await held.call(held.sdk.v1.events.retrieve, events[1]["id"])
        assert fetched.data.object.name == "Acme"
        await held.clock.advance(31 * 86400)
        assert (await held.get("/v1/events")).json()["data"] == []
        assert (await held.get(f"/v1/events/{events[0]['id']}")).status_code == 404

    run(body)


def test_expanding_replaces_an_id_by_its_object_and_refuses_other_paths() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        data = {"customer": buyer["id"], "items[0][price]": price["id"], "expand[0]": "customer", "expand[1]": "latest_invoice"}
        made = await held.make("/v1/subscriptions", data)
        assert (made["customer"]["email"], made["latest_invoice"]["object"]) == ("ops@acme.example", "invoice")
        plain = (await held.get(f"/v1/subscriptions/{made['id']}")).json()
        assert plain["customer"] == buyer["id"]
        answer = await held.get(f"/v1/subscriptions/{made['id']}", **{"expand[]": "nothing"})
        assert "cannot be expanded" in error_of(answer)["message"]

    run(body)


def test_the_sdk_finds_no_difference_between_ids_of_kinds() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        made = await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"]})
        ids = [buyer["id"], price["id"], price["recurring"]["meter"], made["id"], made["items"]["data"][0]["id"], made["latest_invoice"]]
        assert [one.split("_")[0] for one in ids] == ["cus", "price", "mtr", "sub", "si", "in"]

    run(body)


def test_every_searchable_kind_is_found_by_its_metadata() -> None:
    async def body(held: Bench) -> None:
        mark = {"metadata[tenant]": "acme"}
        await held.make("/v1/products", {"id": "plan", "name": "Plan", **mark})
        price = await licensed_price(held, **mark)
        buyer = await customer(held, payment_method="pm_card_visa", **mark)
        made = await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"], **mark})
        await held.make(f"/v1/invoices/{made['latest_invoice']}", mark)
        query = "metadata['tenant']:'acme'"
        expected = {"products": "plan", "prices": price["id"], "subscriptions": made["id"], "invoices": made["latest_invoice"]}
        for path, object_id in expected.items():
            answer = (await held.get(f"/v1/{path}/search", query=query)).json()
            assert ([one["id"] for one in answer["data"]], answer["object"]) == ([object_id], "search_result")
            assert (await held.get(f"/v1/{path}/search", query="metadata['tenant']:'other'")).json()["data"] == []

    run(body, search_lag_s=0)


def test_subscriptions_are_listed_by_price_and_with_their_items() -> None:
    async def body(held: Bench) -> None:
        metered, licensed = await metered_price(held), await licensed_price(held)
        buyer = await customer(held, payment_method="pm_card_visa")
        one = await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": metered["id"]})
        await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": licensed["id"]})
        [found] = (await held.get("/v1/subscriptions", price=metered["id"])).json()["data"]
        assert (found["id"], found["items"]["data"][0]["price"]["id"]) == (one["id"], metered["id"])
        items = (await held.get("/v1/subscription_items", subscription=one["id"])).json()["data"]
        assert [item["id"] for item in items] == [one["items"]["data"][0]["id"]]

    run(body)


def test_a_price_shows_its_present_labels_inside_a_subscription() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        made = await held.make("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"]})
        await held.make(f"/v1/prices/{price['id']}", {"active": "false", "nickname": "old"})
        shown = (await held.get(f"/v1/subscriptions/{made['id']}")).json()["items"]["data"][0]["price"]
        assert (shown["active"], shown["nickname"]) == (False, "old")

    run(body)
