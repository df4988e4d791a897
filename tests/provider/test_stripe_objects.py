"""Customers, products, prices, meters and subscriptions, with every call going wrong once in every way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.provider.billing_host import KEY, MemoryStripe, engine_on_stripe
from tests.provider.hosts import run
from tests.provider.support import Engine, Failed

MARKS = {"managed-by": "rowhouse", "project": "shop", "stack": "dev", "tenant": "acme"}
CATALOG = {**MARKS, "tenant": "catalog"}
METER = {"eventName": "hours", "displayName": "Hours"}
PRODUCT = {"productId": "shop-pro", "name": "Pro", "metadata": CATALOG}
CUSTOMER = {"name": "Acme", "email": "ops@acme.example", "metadata": MARKS}
TIERS = [{"upTo": 10, "unitAmountDecimal": "0"}, {"upTo": "inf", "unitAmountDecimal": "0.25"}]
SUBSCRIPTION: dict[str, Any] = {"collectionMethod": "send_invoice", "daysUntilDue": 14, "metadata": {**MARKS, "plan": "shop/pro"}}
KIND = "rowhouse:stripe:"
FAULTS = ("rate", "down", "down after", "lost", "killed before", "killed after")


def base_price(amount: str = "500") -> dict[str, Any]:
    return {"product": "shop-pro", "currency": "usd", "unitAmountDecimal": amount, "lookupKey": "shop-pro-base", "metadata": CATALOG}


async def up(engine: Engine, amount: str = "500") -> None:
    await engine.up(KIND + "Meter", "meter", METER)
    await engine.up(KIND + "Product", "product", PRODUCT)
    await engine.up(KIND + "Price", "base", base_price(amount))
    meter = engine.resources["meter"].outputs["meterId"]
    metered = {
        **base_price(),
        "lookupKey": "shop-pro-hours",
        "usageType": "metered",
        "meter": meter,
        "tiersMode": "graduated",
        "tiers": TIERS,
    }
    del metered["unitAmountDecimal"]
    await engine.up(KIND + "Price", "hours", metered)
    await engine.up(KIND + "Customer", "customer", CUSTOMER)
    items = [{"price": engine.resources[name].outputs["priceId"]} for name in ("base", "hours")]
    customer = engine.resources["customer"].outputs["customerId"]
    await engine.up(KIND + "Subscription", "subscription", {**SUBSCRIPTION, "customer": customer, "items": items})


async def down(engine: Engine) -> None:
    for name in ("subscription", "customer", "hours", "base", "product", "meter"):
        if name in engine.resources:
            await engine.delete(name)


async def until_done(host: MemoryStripe, state: dict[str, Any], work: Any) -> int:
    last: Failed | None = None
    for times in range(1, 6):
        before = dict(state)
        async with engine_on_stripe(host, state) as engine:
            try:
                await work(engine)
            except Failed as error:
                last = error
                if "Killed" in error.text:
                    for name in set(state) - set(before):
                        if error.partial and state[name].id == error.partial["id"]:
                            del state[name]
                continue
        return times
    raise AssertionError(f"never done: {last}")


def counts(host: MemoryStripe) -> dict[str, int]:
    return {kind: len(host.alive(kind)) for kind in host.objects}


WHOLE = {"customers": 1, "products": 1, "prices": 2, "subscriptions": 1, "meters": 1}
NOTHING = dict.fromkeys(WHOLE, 0)


def test_an_undisturbed_up_asks_little_and_a_second_one_nothing() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            assert counts(host) == WHOLE
            assert host.calls[-3:] == ["GET /v1/customers", "POST /v1/customers", "POST /v1/subscriptions"]
            host.calls.clear()
            await up(engine)
            assert host.calls == []
            for name, kept in engine.resources.items():
                found = await engine.read(kept.type, name, kept.id)
                assert found is not None
                assert dict((await engine.diff(found, kept.inputs)).detailedDiff) == {}, name
                assert await engine.refresh(name)
            await up(engine)
            await down(engine)
            assert counts(host) == NOTHING
            assert host.objects["subscriptions"].popitem()[1]["invoiced"] is True

    run(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_call_goes_wrong_the_end_is_the_same(fault: str) -> None:
    async def body() -> None:
        number = 0
        while True:
            host, state = MemoryStripe(), {}
            host.strike = (number, fault)
            times = await until_done(host, state, up)
            assert counts(host) == WHOLE, (number, host.calls)
            if len(host.calls) <= number:
                break
            assert times == (2 if fault.startswith("killed") else 1), (number, host.calls)
            host.strike = None
            await until_done(host, state, down)
            assert counts(host) == NOTHING, number
            number += 1
        assert number > 8

    run(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_call_of_a_removal_goes_wrong_nothing_is_left_over(fault: str) -> None:
    async def body() -> None:
        number = 0
        while True:
            host, state = MemoryStripe(), {}
            await until_done(host, state, up)
            host.strike = (len(host.calls) + number, fault)
            await until_done(host, state, down)
            assert counts(host) == NOTHING, (number, host.calls)
            if len(host.calls) <= host.strike[0]:
                break
            number += 1
        assert number > 5

    run(body)


def test_made_removed_and_made_again_within_a_day_is_new_and_not_a_replayed_ghost() -> None:
    async def body() -> None:
        host = MemoryStripe()
        for _ in range(3):
            async with engine_on_stripe(host) as engine:
                await up(engine)
                assert counts(host) == WHOLE
                await down(engine)
                assert counts(host) == NOTHING

    run(body)


def test_a_changed_price_is_replaced_its_key_moved_and_the_subscription_follows() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            old = engine.resources["base"].outputs["priceId"]
            subscription = engine.resources["subscription"].id
            assert await engine.up(KIND + "Price", "base", base_price("700")) == "replace"
            new = engine.resources["base"].outputs["priceId"]
            assert host.objects["prices"][old]["active"] is False
            assert host.objects["prices"][new]["lookup_key"] == "shop-pro-base"
            await up(engine, "700")
            assert engine.resources["subscription"].id == subscription
            assert new in [item["price"]["id"] for item in host.objects["subscriptions"][subscription]["items"]["data"]]
            assert host.forms[-1]["proration_behavior"] == "none"  # the close bills what ended, exactly

    run(body)


def test_a_price_written_in_another_way_is_the_same_price() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Product", "product", PRODUCT)
            await engine.up(KIND + "Price", "base", base_price("500.0"))
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Price", "base", base_price("500"))
        assert len(host.objects["prices"]) == 1

    run(body)


def test_a_lookup_key_or_product_of_somebody_else_is_refused() -> None:
    async def body() -> None:
        host = MemoryStripe()
        host.objects["products"]["shop-pro"] = {"id": "shop-pro", "name": "Theirs", "active": True, "metadata": {}}
        host.objects["prices"]["price_x"] = {
            "id": "price_x", "product": "prod_theirs", "currency": "usd", "active": True, "lookup_key": "shop-pro-base", "metadata": {}, "recurring": {}
        }  # fmt: skip
        async with engine_on_stripe(host) as engine:
            with pytest.raises(Failed, match="not made by this stack"):
                await engine.up(KIND + "Product", "product", PRODUCT)
            with pytest.raises(Failed, match="which was not made by this stack"):
                await engine.up(KIND + "Price", "base", base_price())
        assert host.objects["prices"]["price_x"]["lookup_key"] == "shop-pro-base"

    run(body)


def test_a_product_with_prices_is_archived_and_comes_back_under_its_id() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Product", "product", PRODUCT)
            await engine.up(KIND + "Price", "base", base_price())
            await engine.delete("product")
            assert host.objects["products"]["shop-pro"]["active"] is False
            await engine.up(KIND + "Product", "product", {**PRODUCT, "name": "Pro 2"})
            assert host.objects["products"]["shop-pro"]["active"] is True
            assert host.objects["products"]["shop-pro"]["name"] == "Pro 2"

    run(body)


def test_a_deactivated_meter_of_the_same_kind_is_reactivated_and_one_of_another_kind_refused() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Meter", "meter", METER)
            first = engine.resources["meter"].id
            await engine.delete("meter")
            await engine.up(KIND + "Meter", "meter", {**METER, "displayName": "Hours run"})
            assert engine.resources["meter"].id == first
            assert host.objects["meters"][first]["display_name"] == "Hours run"
        async with engine_on_stripe(host) as engine:
            with pytest.raises(Failed, match="counts in another way"):
                await engine.up(KIND + "Meter", "meter", {**METER, "aggregation": "sum"})

    run(body)


def test_a_subscription_cancelled_at_stripe_is_not_created_again() -> None:
    async def body() -> None:
        host, state = MemoryStripe(), {}
        async with engine_on_stripe(host, state) as engine:
            await up(engine)
            host.objects["subscriptions"][engine.resources["subscription"].id]["status"] = "canceled"
            wish = dict(engine.resources["subscription"].inputs)
            with pytest.raises(Failed, match="state: offboarding") as caught:
                await engine.up(KIND + "Subscription", "subscription", {**wish, "daysUntilDue": 30})
            assert caught.value.code == "FAILED_PRECONDITION"
            assert await engine.refresh("subscription") is False
            with pytest.raises(Failed, match="give it a free plan"):
                await engine.up(KIND + "Subscription", "subscription", wish)
            assert counts(host)["subscriptions"] == 0

    run(body)


def test_a_subscription_that_we_ended_may_begin_again() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            wish = dict(engine.resources["subscription"].inputs)
            await engine.delete("subscription")
            ended = next(iter(host.objects["subscriptions"].values()))
            assert ended["metadata"]["cancelled_by"] == "rowhouse"
            await engine.up(KIND + "Subscription", "subscription", wish)
            assert counts(host)["subscriptions"] == 1
            assert engine.resources["subscription"].id != ended["id"]

    run(body)


def test_not_active_ends_it_with_an_invoice_and_keeps_it_on_record_and_active_begins_another() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            wish = dict(engine.resources["subscription"].inputs)
            assert await engine.up(KIND + "Subscription", "subscription", {**wish, "active": False}) == "update"
            (ended,) = host.objects["subscriptions"].values()
            assert (ended["status"], ended["invoiced"]) == ("canceled", True)
            assert engine.resources["subscription"].outputs["status"] == "canceled"
            assert await engine.refresh("subscription")
            assert await engine.up(KIND + "Subscription", "subscription", {**wish, "active": False}) == "same"
            assert await engine.up(KIND + "Subscription", "subscription", wish) == "update"
            assert engine.resources["subscription"].outputs["status"] == "active"
            assert engine.resources["subscription"].outputs["subscriptionId"] != ended["id"]
            assert await engine.refresh("subscription")
            assert await engine.up(KIND + "Subscription", "subscription", wish) == "same"
            await engine.delete("subscription")
            assert counts(host)["subscriptions"] == 0

    run(body)


def test_a_subscription_that_was_never_active_asks_for_none_and_can_become_one() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            wish = {**engine.resources["subscription"].inputs, "metadata": {**MARKS, "tenant": "other"}}
            await engine.up(KIND + "Subscription", "other", {**wish, "active": False})
            assert engine.resources["other"].id.startswith("none/")
            assert await engine.refresh("other")
            await engine.up(KIND + "Subscription", "other", wish)
            assert counts(host)["subscriptions"] == 2

    run(body)


@pytest.mark.parametrize("left", [{}, {"deleted": True}], ids=["unknown", "deleted"])
def test_a_subscription_that_was_never_active_goes_with_its_customer(left: dict[str, Any]) -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Customer", "customer", CUSTOMER)
            customer = engine.resources["customer"].outputs["customerId"]
            await engine.up(KIND + "Subscription", "free", {**SUBSCRIPTION, "customer": customer, "items": [], "active": False})
            host.objects["customers"] = {customer: {"id": customer, **left}} if left else {}
            assert not await engine.refresh("free")

    run(body)


def test_items_by_lookup_key_find_the_catalogs_prices() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await up(engine)
            wish = {
                **engine.resources["subscription"].inputs,
                "metadata": {**MARKS, "tenant": "far"},
                "items": [{"lookupKey": "shop-pro-base"}],
            }
            await engine.up(KIND + "Subscription", "far", wish)
            assert await engine.refresh("far")
            assert await engine.up(KIND + "Subscription", "far", wish) == "same"
            with pytest.raises(Failed, match="no active price with lookup key 'nope'"):
                await engine.up(KIND + "Subscription", "far", {**wish, "items": [{"lookupKey": "nope"}]})

    run(body)


def test_a_customer_deleted_at_stripe_is_gone() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Customer", "customer", CUSTOMER)
            kept = engine.resources["customer"]
            await engine.delete("customer")
            await engine._delete(kept)
            assert await engine.read(kept.type, "customer", kept.id) is None

    run(body)


def test_two_tenants_of_one_owner_are_two_customers() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Customer", "a", CUSTOMER)
            await engine.up(KIND + "Customer", "b", {**CUSTOMER, "metadata": {**MARKS, "tenant": "beta"}})
            assert engine.resources["a"].id != engine.resources["b"].id

    run(body)


def test_removed_metadata_is_unset_and_that_of_others_left_alone() -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host) as engine:
            await engine.up(KIND + "Customer", "c", {**CUSTOMER, "metadata": {**MARKS, "old": "1"}})
            theirs = host.objects["customers"][engine.resources["c"].id]["metadata"]
            theirs["crm"] = "x9"
            await engine.up(KIND + "Customer", "c", CUSTOMER)
            await engine.refresh("c")
            assert await engine.up(KIND + "Customer", "c", CUSTOMER) == "same"
            assert host.objects["customers"][engine.resources["c"].id]["metadata"] == {**MARKS, "crm": "x9"}

    run(body)


@pytest.mark.parametrize(
    ("type_", "news", "where"),
    [
        ("Price", {**base_price(), "unitAmountDecimal": 5}, "unitAmountDecimal"),
        ("Price", {**base_price(), "unitAmountDecimal": "0.0000000000001"}, "unitAmountDecimal"),
        ("Price", {**base_price(), "unitAmountDecimal": "nan"}, "unitAmountDecimal"),
        ("Price", {**base_price(), "usageType": "metered"}, "meter"),
        ("Price", {**base_price(), "tiers": TIERS, "tiersMode": "graduated"}, "unitAmountDecimal"),
        ("Price", {k: v for k, v in {**base_price(), "tiers": TIERS}.items() if k != "unitAmountDecimal"}, "tiersMode"),
        (
            "Price",
            {k: v for k, v in {**base_price(), "tiersMode": "volume", "tiers": TIERS[:1]}.items() if k != "unitAmountDecimal"},
            "tiers",
        ),
        ("Meter", {**METER, "aggregation": "max"}, "aggregation"),
        ("Customer", {**CUSTOMER, "email": "nobody"}, "email"),
        ("Customer", {**CUSTOMER, "metadata": {"a[b]": "c"}}, "metadata"),
        ("Subscription", {"customer": "c", "items": []}, "items"),
        ("Subscription", {"customer": "c", "items": [{"price": None}]}, "items"),
        ("Subscription", {"customer": "c", "items": [{"price": "p"}], "collectionMethod": "send_invoice"}, "daysUntilDue"),
        ("Subscription", {"items": [{"price": "p"}]}, "customer"),
    ],
)
def test_check_refuses_what_stripe_would_refuse(type_: str, news: dict[str, Any], where: str) -> None:
    async def body() -> None:
        async with engine_on_stripe(MemoryStripe()) as engine:
            _, failures = await engine.check(KIND + type_, "x", news)
            assert list(failures) == [where]

    run(body)


def test_the_key_is_in_no_error() -> None:
    async def body() -> None:
        class Telltale(MemoryStripe):
            def answer(self, request: Any) -> Any:
                from tests.provider.billing_host import refusal

                return refusal(f"Invalid API Key provided: {request.headers['authorization']}", "", 401)

        async with engine_on_stripe(Telltale()) as engine:
            with pytest.raises(Failed) as caught:
                await engine.up(KIND + "Customer", "c", CUSTOMER)
            assert KEY not in caught.value.text
            assert "req_1" in caught.value.text

    run(body)
