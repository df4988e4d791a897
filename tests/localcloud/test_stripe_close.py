"""What a close leans on: held drafts, items changed on drafts, removed metered prices, long invoices, pages of thin events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localcloud.stripe_support import Bench, customer, error_of, licensed_price, metered_price, run
from tests.localcloud.test_stripe_billing import ANCHOR, SENT, advance, at, invoices_of, on_clock, subscribe, use


async def with_draft(held: Bench) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A clock a few minutes after a renewal, the subscription, and its draft."""
    clock, buyer = await on_clock(held, at(2026, 11, 1))
    made = await subscribe(held, buyer, await licensed_price(held), **SENT, **ANCHOR)
    await advance(held, clock, at(2026, 12, 1, 0, 5))
    return clock, made, (await invoices_of(held, made))[-1]


def test_a_draft_that_does_not_advance_stays_one_until_it_is_told_to() -> None:
    async def body(held: Bench) -> None:
        clock, made, draft = await with_draft(held)
        kept = await held.make(f"/v1/invoices/{draft['id']}", {"auto_advance": "false"})
        assert (kept["auto_advance"], kept["automatically_finalizes_at"]) == (False, None)
        await advance(held, clock, at(2026, 12, 3))
        assert (await invoices_of(held, made))[-1]["status"] == "draft"
        assert (await held.make(f"/v1/invoices/{draft['id']}", {"auto_advance": "true"}))["automatically_finalizes_at"] == at(2026, 12, 3)
        await advance(held, clock, at(2026, 12, 3, 0, 1))
        assert (await invoices_of(held, made))[-1]["status"] == "open"

    run(body)


def test_a_paid_invoice_advances_no_more() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held, payment_method="pm_card_visa")
        made = await subscribe(held, buyer, await licensed_price(held), **ANCHOR)
        answer = await held.post(f"/v1/invoices/{made['latest_invoice']}", {"auto_advance": "false"})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "auto_advance")

    run(body)


@pytest.mark.parametrize(("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")])
def test_a_paused_collection_does_with_renewals_what_it_says(behavior: str, status: str) -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        made = await subscribe(held, buyer, await licensed_price(held), **SENT, **ANCHOR)
        told = await held.make(f"/v1/subscriptions/{made['id']}", {"pause_collection[behavior]": behavior})
        assert (told["pause_collection"], told["status"]) == ({"behavior": behavior, "resumes_at": None}, "active")
        await advance(held, clock, at(2026, 12, 2))
        assert (await invoices_of(held, made))[-1]["status"] == status
        assert (await held.make(f"/v1/subscriptions/{made['id']}", {"pause_collection": ""}))["pause_collection"] is None
        await advance(held, clock, at(2027, 1, 2))
        assert [invoice["status"] for invoice in await invoices_of(held, made)] == ["open", status, "open"]

    run(body)


def test_an_unknown_pause_is_refused() -> None:
    async def body(held: Bench) -> None:
        made = await subscribe(held, await customer(held), await licensed_price(held), **SENT)
        answer = await held.post(f"/v1/subscriptions/{made['id']}", {"pause_collection[behavior]": "forever"})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "pause_collection[behavior]")

    run(body)


def test_an_item_on_a_draft_is_changed_and_on_a_final_invoice_it_is_not() -> None:
    async def body(held: Bench) -> None:
        _, made, draft = await with_draft(held)
        item = {
            "customer": draft["customer"],
            "invoice": draft["id"],
            "amount": "500",
            "currency": "usd",
            "metadata[rowhouse_line]": "base",
        }
        put = await held.make("/v1/invoiceitems", item)
        changed = await held.call(held.sdk.v1.invoice_items.update, put["id"], {"amount": -700, "description": "Less"})
        assert (changed.amount, changed.description) == (-700, "Less")
        now = (await invoices_of(held, made))[-1]
        assert (now["total"], now["lines"]["data"][-1]["metadata"]) == (1300, {"rowhouse_line": "base"})
        await held.make(f"/v1/invoices/{draft['id']}/finalize")
        assert (await held.post(f"/v1/invoiceitems/{put['id']}", {"amount": "1"})).status_code == 400

    run(body)


def test_an_item_by_quantity_is_changed_by_quantity() -> None:
    async def body(held: Bench) -> None:
        buyer = await customer(held)
        made = await held.make(
            "/v1/invoiceitems", {"customer": buyer["id"], "currency": "usd", "unit_amount_decimal": "2.5", "quantity": "3"}
        )
        assert (await held.make(f"/v1/invoiceitems/{made['id']}", {"quantity": "5"}))["amount"] == 13
        assert (await held.post(f"/v1/invoiceitems/{made['id']}", {"quantity": "5", "amount": "3"})).status_code == 400

    run(body)


@pytest.mark.parametrize(("advance_it", "status", "attempts"), [({}, "open", 0), ({"auto_advance": "true"}, "paid", 1)])
def test_a_finalized_invoice_is_collected_only_if_it_advances(advance_it: dict[str, str], status: str, attempts: int) -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1), payment_method="pm_card_visa")
        made = await subscribe(held, buyer, await licensed_price(held), **ANCHOR)
        await held.make(f"/v1/subscriptions/{made['id']}", {"pause_collection[behavior]": "keep_as_draft"})
        await advance(held, clock, at(2026, 12, 1, 0, 5))
        draft = (await invoices_of(held, made))[-1]
        final = await held.make(f"/v1/invoices/{draft['id']}/finalize", advance_it)
        assert (final["status"], final["attempt_count"]) == (status, attempts)

    run(body)


@pytest.mark.parametrize(
    ("mode", "proration", "totals"),
    [
        ("flexible", "create_prorations", [0, 90]),
        ("flexible", "none", [0, 0]),
        ("classic", "create_prorations", [0, 0]),
    ],
)
def test_statement_12_what_a_removed_metered_price_bills_is_the_billing_modes_and_the_prorations(
    mode: str, proration: str, totals: list[int]
) -> None:
    async def body(held: Bench) -> None:
        clock, buyer = await on_clock(held, at(2026, 11, 1))
        old, new = await metered_price(held), await metered_price(held, unit_amount_decimal="7")
        made = await subscribe(held, buyer, old, **SENT, **ANCHOR, **{"billing_mode[type]": mode})
        await use(held, buyer, "9", at(2026, 11, 1, 0, 4))
        await advance(held, clock, at(2026, 11, 16))
        data = {"items[0][id]": made["items"]["data"][0]["id"], "items[0][deleted]": "true", "items[1][price]": new["id"]}
        await held.make(f"/v1/subscriptions/{made['id']}", {**data, "proration_behavior": proration})
        await advance(held, clock, at(2026, 12, 2))
        assert [invoice["total"] for invoice in await invoices_of(held, made)] == totals

    run(body)


def test_an_invoice_shows_ten_lines_and_its_list_of_lines_all() -> None:
    async def body(held: Bench) -> None:
        _, made, draft = await with_draft(held)
        for number in range(12):
            item = {"customer": draft["customer"], "invoice": draft["id"], "amount": str(number), "currency": "usd"}
            await held.make("/v1/invoiceitems", item)
        for shown in ((await invoices_of(held, made))[-1], (await held.get(f"/v1/invoices/{draft['id']}")).json()):
            assert (len(shown["lines"]["data"]), shown["lines"]["has_more"], shown["total"]) == (10, True, 2066)
        lines = (await held.get(f"/v1/invoices/{draft['id']}/lines", limit="100")).json()
        assert (len(lines["data"]), lines["has_more"]) == (13, False)

    run(body)


def test_thin_events_come_in_pages_by_type_and_time() -> None:
    async def body(held: Bench) -> None:
        for _ in range(5):
            data = {"event_name": "none", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"}
            await held.make("/v1/billing/meter_events", data)
            await held.clock.advance(60)
        first = (await held.get("/v2/core/events", limit="2")).json()
        second = (await held.http.get(first["next_page_url"])).json()
        third = (await held.http.get(second["next_page_url"])).json()
        assert [len(page["data"]) for page in (first, second, third)] == [2, 2, 1]
        assert third["next_page_url"] is None
        ids = [event["id"] for page in (first, second, third) for event in page["data"]]
        assert len(set(ids)) == 5
        since = third["data"][0]["created"]
        assert len((await held.get("/v2/core/events", **{"created[gt]": since})).json()["data"]) == 4
        kinds = {"types[0]": "v1.billing.meter.error_report_triggered"}
        assert (await held.get("/v2/core/events", **kinds)).json()["data"] == []
        assert (await held.get("/v2/core/events", page="x")).status_code == 400

    run(body)


@pytest.mark.parametrize(("arrived", "last"), [(False, 5.0), (True, 3.0)])
def test_what_last_means_can_be_tried_both_ways(arrived: bool, last: float) -> None:
    async def body(held: Bench) -> None:
        price, buyer = await metered_price(held), await customer(held)
        now = held.vendor.state.virtual.now()
        await use(held, buyer, "5", now - 60)
        await use(held, buyer, "3", now - 120)
        query = {"customer": buyer["id"], "start_time": str(now // 60 * 60 - 600), "end_time": str(now // 60 * 60 + 60)}
        rows = (await held.get(f"/v1/billing/meters/{price['recurring']['meter']}/event_summaries", **query)).json()["data"]
        assert [row["aggregated_value"] for row in rows] == [last]

    run(body, last_arrived=arrived)
