"""Subscriptions, invoices and test clocks (stand-in statements 12, 14, 19)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.localcloud.stripe_support import Bench, customer, error_of, licensed_price, metered_price, run

ANCHOR = {
    f"billing_cycle_anchor_config[{name}]": value
    for name, value in (("day_of_month", "1"), ("hour", "0"), ("minute", "0"), ("second", "0"))
}
SENT = {"collection_method": "send_invoice", "days_until_due": "14"}


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())


async def subscribe(held: Bench, buyer: dict[str, Any], *prices: dict[str, Any], **more: str) -> dict[str, Any]:
    items = {f"items[{index}][price]": price["id"] for index, price in enumerate(prices)}
    return await held.make("/v1/subscriptions", {"customer": buyer["id"], **items, **more})


async def invoices_of(held: Bench, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    return (await held.get("/v1/invoices", subscription=subscription["id"])).json()["data"][::-1]


async def on_clock(held: Bench, frozen: int, **fields: str) -> tuple[str, dict[str, Any]]:
    clock = await held.make("/v1/test_helpers/test_clocks", {"frozen_time": str(frozen)})
    return clock["id"], await customer(held, test_clock=clock["id"], **fields)


async def advance(held: Bench, clock: str, moment: int) -> None:
    await held.make(f"/v1/test_helpers/test_clocks/{clock}/advance", {"frozen_time": str(moment)})
    await held.clock.advance(5)
    assert (await held.get(f"/v1/test_helpers/test_clocks/{clock}")).json()["status"] == "ready"


async def use(held: Bench, buyer: dict[str, Any], value: str, moment: int, identifier: str = "") -> None:
    data = {"event_name": "hours", "payload[stripe_customer_id]": buyer["id"], "payload[value]": value, "timestamp": str(moment)}
    await held.make("/v1/billing/meter_events", {**data, **({"identifier": identifier} if identifier else {})})


def test_statement_14_periods_stand_on_items_and_not_on_the_subscription() -> None:
    async def body(held: Bench) -> None:
        made = await subscribe(held, await customer(held), await metered_price(held), **ANCHOR)
        item = made["items"]["data"][0]
        assert (item["current_period_start"], item["current_period_end"]) == (made["created"], at(2026, 12, 1))
        assert "current_period_end" not in made
        assert "quantity" not in item
        assert made["billing_cycle_anchor"] == at(2026, 12, 1)

    run(body)


def test_the_first_invoice_is_finalized_at_once_and_prorated_to_the_anchor() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, payment_method="pm_card_visa")
        made = await subscribe(held, buyer, await licensed_price(held, 3000), await metered_price(held), **ANCHOR)
        [invoice] = await invoices_of(held, made)
        rest = (at(2026, 12, 1) - made["created"]) / (30 * 86400)
        assert (invoice["status"], invoice["total"], invoice["number"][-5:]) == ("paid", round(3000 * rest), "-0001")
        assert invoice["billing_reason"] == "subscription_create"
        assert invoice["parent"]["subscription_details"]["subscription"] == made["id"]
        assert (made["status"], made["latest_invoice"]) == ("active", invoice["id"])
        free = await subscribe(held, buyer, await licensed_price(held, 3000), proration_behavior="none", **ANCHOR)
        assert (await invoices_of(held, free))[0]["total"] == 0

    run(body)


def test_an_invoice_that_is_sent_is_open_and_the_subscription_active_until_it_is_overdue() -> None:
    async def body(held: Bench) -> None:
        made = await subscribe(held, await customer(held), await licensed_price(held), **SENT)
        [invoice] = await invoices_of(held, made)
        assert (made["status"], invoice["status"], invoice["due_date"]) == ("active", "open", made["created"] + 14 * 86400)
        await held.clock.advance(15 * 86400)
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "past_due"
        await held.make(f"/v1/invoices/{invoice['id']}/pay", {"paid_out_of_band": "true"})
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "active"

    run(body)


def test_a_customer_without_a_card_is_not_charged() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await licensed_price(held), await customer(held)
        params = {"customer": buyer["id"], "items": [{"price": price["id"]}]}
        with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
            await held.call(held.sdk.v1.subscriptions.create, params)
        assert held.vendor.dump()["subscription"] == []
        late = await subscribe(held, buyer, price, payment_behavior="default_incomplete")
        assert late["status"] == "incomplete"
        await held.clock.advance(24 * 3600)
        assert (await held.get(f"/v1/subscriptions/{late['id']}")).json()["status"] == "incomplete_expired"

    run(body)


def test_a_declined_renewal_makes_the_subscription_past_due_and_paying_makes_it_active() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, payment_method="pm_card_visa")
        made = await subscribe(held, buyer, await licensed_price(held), **ANCHOR)
        await held.make(f"/v1/customers/{buyer['id']}", {"source": "tok_chargeDeclined"})
        await held.clock.advance(21 * 86400)
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "past_due"
        renewal = (await invoices_of(held, made))[-1]
        assert (renewal["status"], renewal["attempt_count"], renewal["next_payment_attempt"] is None) == ("open", 1, False)
        assert (await held.post(f"/v1/invoices/{renewal['id']}/pay")).status_code == 402
        await held.make(f"/v1/customers/{buyer['id']}", {"source": "tok_visa"})
        await held.clock.advance(3 * 86400)
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "active"

    run(body)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"customer": "cus_none"}, "customer"),
        ({"items[0][price]": "price_none"}, "items[0][price]"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"days_until_due": "3"}, "days_until_due"),
        ({"items[0][quantity]": "2"}, "items[0][quantity]"),
        ({"billing_cycle_anchor_config[hour]": "0"}, "billing_cycle_anchor_config[day_of_month]"),
        ({"items[1][price]": "SAME"}, "items[1][price]"),
        ({"trial_period_days": "3"}, "trial_period_days"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(change: dict[str, str], param: str) -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        change_now = {name: price["id"] if value == "SAME" else value for name, value in change.items()}
        answer = await held.post("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"], **change_now})
        assert (answer.status_code, error_of(answer)["param"]) == (400, param)
        assert held.vendor.dump()["subscription_item"] == []

    run(body)


def test_an_inactive_price_cannot_be_subscribed_to() -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        await held.make(f"/v1/prices/{price['id']}", {"active": "false"})
        answer = await held.post("/v1/subscriptions", {"customer": buyer["id"], "items[0][price]": price["id"]})
        assert "inactive" in error_of(answer)["message"]

    run(body)


def test_statement_12_a_renewal_is_a_draft_for_an_hour_and_counts_usage_until_it_is_finalized() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        price = await metered_price(held, unit_amount_decimal="12.5")
        made = await subscribe(held, buyer, price, **SENT, **ANCHOR)
        await use(held, buyer, "3", at(2026, 11, 1, 0, 4))
        await advance(held, clock, at(2026, 12, 1, 0, 30))
        draft = (await invoices_of(held, made))[-1]
        assert (draft["status"], draft["total"], draft["automatically_finalizes_at"]) == ("draft", 38, at(2026, 12, 1, 1))
        await use(held, buyer, "5", at(2026, 11, 30, 23, 59))
        await advance(held, clock, at(2026, 12, 1, 1, 30))
        final = (await invoices_of(held, made))[-1]
        assert (final["status"], final["total"], final["due_date"]) == ("open", 63, at(2026, 12, 15, 1))
        await use(held, buyer, "9", at(2026, 11, 30, 23, 59))
        await advance(held, clock, at(2027, 1, 1, 2))
        invoices = await invoices_of(held, made)
        assert [invoice["total"] for invoice in invoices] == [0, 63, 0]
        line = final["lines"]["data"][0]
        assert (line["period"], line["quantity"]) == ({"start": at(2026, 11, 1), "end": at(2026, 12, 1)}, 5)
        assert line["pricing"]["price_details"] == {"price": price["id"], "product": "plan"}

    run(body)


def test_statement_12_graduated_tiers_are_rated() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        tiers = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers[0][up_to]": "100", "tiers[0][unit_amount]": "0"}
        price = await metered_price(held, formula="sum", **tiers, **{"tiers[1][up_to]": "inf", "tiers[1][unit_amount_decimal]": "0.25"})
        made = await subscribe(held, buyer, price, **SENT, **ANCHOR)
        for n in range(3):
            await use(held, buyer, "50", at(2026, 11, 1, 0, n))
        await advance(held, clock, at(2026, 12, 2))
        assert (await invoices_of(held, made))[-1]["total"] == 13

    run(body)


def test_statement_14_canceling_drops_usage_unless_it_is_invoiced_now() -> None:
    async def body(held: Bench) -> None:
        price = await metered_price(held)
        for now, totals in ((False, [0]), (True, [0, 40])):
            buyer = await customer(held)
            made = await subscribe(held, buyer, price, **ANCHOR, **SENT)
            await held.clock.advance(60)
            await use(held, buyer, "4", made["created"] + 30)
            ended = await held.call(held.sdk.v1.subscriptions.cancel, made["id"], {"invoice_now": now})
            assert (ended.status, ended.ended_at >= made["created"]) == ("canceled", True)
            assert [invoice["total"] for invoice in await invoices_of(held, made)] == totals

    run(body)


def test_a_canceled_subscription_is_listed_only_when_asked_for_and_changes_no_more() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held)
        made = await subscribe(held, buyer, await metered_price(held), **{"metadata[tenant]": "acme"})
        await held.make(f"/v1/subscriptions/{made['id']}", {"metadata[cancelled_by]": "rowhouse"})
        assert (await held.http.delete(f"/v1/subscriptions/{made['id']}")).json()["status"] == "canceled"
        assert (await held.http.delete(f"/v1/subscriptions/{made['id']}")).status_code == 404
        assert (await held.get("/v1/subscriptions", customer=buyer["id"])).json()["data"] == []
        for status in ("all", "canceled", "ended"):
            listed = (await held.get("/v1/subscriptions", customer=buyer["id"], status=status)).json()["data"]
            assert [one["metadata"] for one in listed] == [{"tenant": "acme", "cancelled_by": "rowhouse"}]
        assert (await held.post(f"/v1/subscriptions/{made['id']}", {"description": "x"})).status_code == 400
        assert (await held.post(f"/v1/subscriptions/{made['id']}", {"metadata[a]": "b"})).status_code == 200

    run(body)


def test_an_item_is_exchanged_in_place_with_prorations_on_the_next_invoice() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1), payment_method="pm_card_visa")
        cheap, dear = await licensed_price(held, 2000), await licensed_price(held, 5000)
        made = await subscribe(held, buyer, cheap, **ANCHOR)
        old = made["items"]["data"][0]["id"]
        await advance(held, clock, at(2026, 11, 16))
        data = {"items[0][id]": old, "items[0][deleted]": "true", "items[1][price]": dear["id"]}
        after = await held.make(f"/v1/subscriptions/{made['id']}", data)
        assert [item["price"]["id"] for item in after["items"]["data"]] == [dear["id"]]
        await advance(held, clock, at(2026, 12, 2))
        first, renewal = await invoices_of(held, made)
        amounts = [line["amount"] for line in renewal["lines"]["data"]]
        assert first["total"] == 2000
        assert amounts == [-1000, 2500, 5000]
        assert [line["parent"]["subscription_item_details"]["proration"] for line in renewal["lines"]["data"]] == [True, True, False]

    run(body)


def test_always_invoice_bills_a_change_at_once_and_none_never() -> None:
    async def body(held: Bench) -> None:
        price = await licensed_price(held, 3000)
        for behavior, totals in (("always_invoice", [3000, 3000]), ("none", [3000])):
            buyer = await customer(held, payment_method="pm_card_visa")
            made = await subscribe(held, buyer, price)
            data = {"items[0][id]": made["items"]["data"][0]["id"], "items[0][quantity]": "2", "proration_behavior": behavior}
            data |= {"proration_date": str(made["created"])} if behavior == "always_invoice" else {}
            await held.make(f"/v1/subscriptions/{made['id']}", data)
            assert [invoice["total"] for invoice in await invoices_of(held, made)] == totals

    run(body)


def test_a_subscription_ends_with_its_period_when_told_to() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        made = await subscribe(held, buyer, await metered_price(held), **SENT, **ANCHOR)
        told = await held.make(f"/v1/subscriptions/{made['id']}", {"cancel_at_period_end": "true"})
        assert (told["status"], told["cancel_at"]) == ("active", at(2026, 12, 1))
        await use(held, buyer, "2", at(2026, 11, 1, 0, 1))
        await advance(held, clock, at(2026, 12, 2))
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "canceled"
        assert [invoice["total"] for invoice in await invoices_of(held, made)] == [0, 20]

    run(body)


def test_statement_19_a_clock_advances_afterwards_and_at_most_two_intervals() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        made = await subscribe(held, buyer, await metered_price(held), **SENT, **ANCHOR)
        url = f"/v1/test_helpers/test_clocks/{clock}"
        far = await held.post(f"{url}/advance", {"frozen_time": str(at(2027, 1, 2))})
        assert (far.status_code, error_of(far)["param"]) == (400, "frozen_time")
        assert (await held.post(f"{url}/advance", {"frozen_time": str(at(2026, 10, 1))})).status_code == 400
        told = await held.call(held.sdk.v1.test_helpers.test_clocks.advance, clock, {"frozen_time": at(2027, 1, 1)})
        assert (told.status, told.frozen_time) == ("advancing", at(2026, 11, 1))
        assert (await held.post(f"{url}/advance", {"frozen_time": str(at(2027, 1, 1))})).status_code == 400
        assert len(await invoices_of(held, made)) == 1
        await held.clock.advance(61)
        done = (await held.get(url)).json()
        assert (done["status"], done["frozen_time"]) == ("ready", at(2027, 1, 1))
        assert [one["created"] for one in await invoices_of(held, made)] == [at(2026, 11, 1), at(2026, 12, 1), at(2027, 1, 1)]
        ready = (await held.get("/v1/events", type="test_helpers.test_clock.ready")).json()["data"]
        assert [event["data"]["object"]["id"] for event in ready] == [clock]

    run(body, advance_lag_s=60)


def test_statement_19_a_test_clocks_customers_are_hidden_from_plain_lists() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 1, 1))
        assert buyer["created"] == at(2026, 1, 1)
        assert (await held.get("/v1/customers")).json()["data"] == []
        assert len((await held.get("/v1/customers", test_clock=clock)).json()["data"]) == 1
        assert (await held.post("/v1/customers", {"test_clock": "clock_none"})).status_code == 400

    run(body)


def test_a_year_of_renewals_on_the_virtual_clock_has_an_invoice_a_month() -> None:
    async def body(held: Bench) -> None:
        made = await subscribe(held, await customer(held, payment_method="pm_card_visa"), await licensed_price(held), **ANCHOR)
        await held.clock.advance(366 * 86400)
        invoices = held.vendor.dump()["invoice"]
        assert len(invoices) == 13
        assert {invoice["status"] for invoice in invoices} == {"paid"}
        assert [invoice["number"][-4:] for invoice in invoices][-1] == "0013"
        assert (await held.get(f"/v1/subscriptions/{made['id']}")).json()["status"] == "active"

    run(body)


def test_an_open_invoice_can_be_voided_or_given_up_and_a_paid_one_cannot() -> None:
    async def body(held: Bench) -> None:
        made = await subscribe(held, await customer(held), await licensed_price(held), **SENT)
        invoice = made["latest_invoice"]
        assert (await held.make(f"/v1/invoices/{invoice}/mark_uncollectible"))["status"] == "uncollectible"
        assert (await held.make(f"/v1/invoices/{invoice}/void"))["status"] == "void"
        assert (await held.post(f"/v1/invoices/{invoice}/pay")).status_code == 400
        assert (await held.post(f"/v1/invoices/{invoice}/finalize")).status_code == 400

    run(body)


def test_an_invoice_item_waits_for_the_next_invoice() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        made = await subscribe(held, buyer, await licensed_price(held), **SENT, **ANCHOR)
        params = {"customer": buyer["id"], "amount": 500, "currency": "usd", "description": "500 credits"}
        item = await held.call(held.sdk.v1.invoice_items.create, params)
        assert item.invoice is None
        await advance(held, clock, at(2026, 12, 2))
        first, renewal = await invoices_of(held, made)
        assert (first["total"], renewal["total"]) == (2000, 2500)
        line = next(line for line in renewal["lines"]["data"] if line["description"] == "500 credits")
        assert line["parent"]["invoice_item_details"]["invoice_item"] == item.id
        assert (await held.get(f"/v1/invoiceitems/{item.id}")).json()["invoice"] == renewal["id"]
        assert (await held.http.delete(f"/v1/invoiceitems/{item.id}")).status_code == 400
        await advance(held, clock, at(2027, 1, 2))
        assert (await invoices_of(held, made))[-1]["total"] == 2000

    run(body)


def test_an_invoice_item_of_one_subscription_stays_off_the_others_invoices() -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        price = await licensed_price(held)
        one, other = [await subscribe(held, buyer, price, **SENT, **ANCHOR) for _ in range(2)]
        await held.make("/v1/invoiceitems", {"customer": buyer["id"], "amount": "7", "currency": "usd", "subscription": other["id"]})
        await advance(held, clock, at(2026, 12, 2))
        assert [(await invoices_of(held, made))[-1]["total"] for made in (one, other)] == [2000, 2007]

    run(body)


def test_an_invoice_by_hand_takes_items_when_asked_and_finalizes_to_open() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held)
        item = {"customer": buyer["id"], "currency": "usd", "unit_amount_decimal": "0.5", "quantity": "3"}
        await held.make("/v1/invoiceitems", item)
        bare = await held.make("/v1/invoices", {"customer": buyer["id"], **SENT})
        assert (bare["status"], bare["total"], bare["billing_reason"]) == ("draft", 0, "manual")
        full = await held.make("/v1/invoices", {"customer": buyer["id"], "pending_invoice_items_behavior": "include", **SENT})
        assert full["total"] == 2
        extra = await held.make("/v1/invoiceitems", {"customer": buyer["id"], "currency": "usd", "amount": "9", "invoice": full["id"]})
        assert (await held.get(f"/v1/invoices/{full['id']}")).json()["total"] == 11
        await held.http.delete(f"/v1/invoiceitems/{extra['id']}")
        done = await held.call(held.sdk.v1.invoices.finalize_invoice, full["id"])
        assert (done.status, done.total, done.number[-4:]) == ("open", 2, "0001")
        assert (await held.call(held.sdk.v1.invoices.void_invoice, full["id"])).status == "void"
        assert (await held.http.delete(f"/v1/invoices/{bare['id']}")).json()["deleted"] is True

    run(body)
