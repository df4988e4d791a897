"""Closing a month at the Stripe stand-in: bill and invoice agree to the cent, once, whatever went wrong before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from rowhouse.spec.model import Tier
from rowhouse.usage.close import CloseError, Observed, close
from rowhouse.usage.model import Window, month_before
from rowhouse.usage.push import push
from tests.support import meter, plan
from tests.usage.billing_support import DECEMBER, NOVEMBER, Business, at, run, running
from tests.usage.rating_support import HOUR, lot, plan_of, used

PRO, TEAM, STARTER, FREE = (plan_of(f"{ref}") for ref in ("aether/pro", "aether/team", "llamasketch/starter", "llamasketch/free"))
CLOSING = DECEMBER.start + 20 * 60_000
JANUARY = Window.month("2027-01")


async def one_tenant(shop: Business, hours: float = 212.5, storage: int = 12) -> None:
    """A tenant on a plan through November, and twenty minutes into December."""
    await shop.join("acme", PRO)
    shop.bill(running(PRO, hours, storage=storage))
    await shop.to(CLOSING)


def test_a_month_is_pushed_compared_and_finalized() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        done = await shop.close()
        assert (done.state, done.finalized, done.blocked, done.troubles, done.items) == ("done", 1, [], [], 0)
        assert [invoice["status"] for invoice in await shop.invoices("acme")] == ["open", "open"]
        assert sum(cents for _, cents in await shop.lines("acme")) == 2000 + 225  # December's base, November's use
        [invoice] = shop.books.of_kind("invoice")
        assert (invoice.tenant, invoice.value, invoice.subject) == ("acme", "22.25", "2026-11")
        assert [entry.state for entry in shop.books.of_kind("close")] == ["frozen", "pushed", "done"]

    run(body)


def test_a_second_close_of_a_closed_month_does_nothing() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        await shop.close()
        before, calls = len(shop.books.entries), shop.calls
        again = await shop.close()
        assert (again.state, again.finalized, len(shop.books.entries), shop.calls) == ("done", 0, before, calls)

    run(body)


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize("arrived", [False, True])
def test_killbill_1987_a_plan_change_bills_each_segment_once_under_every_billing_mode(mode: str, arrived: bool) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO, billing_mode={"type": mode})
        middle = at(2026, 11, 16)
        await shop.to(middle)
        await shop.move("acme", TEAM)
        before = used(PRO, end=middle, running=110 * HOUR)
        after = used(TEAM, segment=1, start=middle, running=240 * HOUR)
        assert shop.bill(before, after).total == Decimal("36.00")  # design.md, section 6
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.items) == ("done", 2)
        december, *rest = sorted(await shop.lines("acme"), key=lambda line: line[1], reverse=True)
        assert december[1] == 5000  # the new plan, in advance
        assert sorted(cents for _, cents in rest) == [100, 1500]  # ten hours of the first half; 35.00 of base less 20.00 paid before
        total = sum([sum(cents for _, cents in await shop.lines("acme", number)) for number in (0, 1)])
        assert total == 5000 + 3600

    run(body, last_arrived=arrived)


@pytest.mark.parametrize("middle", [at(2026, 11, 1, 0, 0, 1), at(2026, 11, 15, 13, 37, 11), at(2026, 11, 30, 23, 59, 58)])
def test_killbill_1987_a_change_at_any_second_adds_up(middle: int) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        await shop.to(middle)
        await shop.move("acme", TEAM)
        hours = (middle - NOVEMBER.start) // 1000 * 1000
        bill = shop.bill(used(PRO, end=middle, running=hours), used(TEAM, segment=1, start=middle, running=NOVEMBER.end - middle))
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.blocked) == ("done", [])
        billed = sum([sum(cents for _, cents in await shop.lines("acme", number)) for number in (0, 1)])
        assert billed - 5000 == bill.total * 100

    run(body)


def test_there_and_back_again_within_a_month_is_three_segments_each_billed_once() -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        first, second = at(2026, 11, 11), at(2026, 11, 21)
        await shop.to(first)
        await shop.move("acme", TEAM)
        await shop.to(second)
        await shop.move("acme", PRO)
        segments = [
            used(PRO, end=first, running=100 * HOUR),
            used(TEAM, segment=1, start=first, end=second, running=200 * HOUR),
            used(PRO, segment=2, start=second, running=90 * HOUR),
        ]
        bill = shop.bill(*segments)
        await shop.to(CLOSING)
        assert (await shop.close()).state == "done"
        billed = sum([sum(cents for _, cents in await shop.lines("acme", number)) for number in (0, 1)])
        assert billed - 2000 == bill.total * 100

    run(body)


def test_a_graduated_price_is_sent_as_money_and_what_lacks_to_the_minimum_is_an_item() -> None:
    tiers = (Tier(Decimal(100), Decimal("0.10")), Tier(None, Decimal("0.05")))
    hours = meter(included=Decimal(50), price=None, tiers=tiers, warn_at=())
    dear, quiet = plan(meters=(hours,), minimum=Decimal("50.00")), plan(name="quiet", meters=(hours,), minimum=Decimal("50.00"))

    async def body(shop: Business) -> None:
        await shop.join("acme", dear)
        await shop.join("brook", quiet)
        assert shop.bill(used(dear, running=710 * HOUR)).total == Decimal("58.00")  # 20 + 10 + 28: more than the minimum
        assert shop.bill(used(quiet, tenant="brook", running=60 * HOUR)).total == Decimal("50.00")
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.items) == ("done", 1)
        assert sorted(cents for _, cents in await shop.lines("acme")) == [2000, 3800]  # December's base, November's use
        lines = await shop.lines("brook")
        assert sorted(cents for _, cents in lines) == [100, 2000, 2900]
        assert [cents for text, cents in lines if text.startswith("minimum/")] == [2900]

    run(body)


def test_packs_are_an_item_each() -> None:
    async def body(shop: Business) -> None:
        await shop.join("quill", STARTER)
        lots = [lot(), lot(payment="pay_2", at=at(2026, 11, 20))]
        shop.bill(used(STARTER, tenant="quill"), lots=lots)
        await shop.to(CLOSING)
        assert (await shop.close()).items == 2
        assert [cents for text, cents in await shop.lines("quill") if text.startswith("pack:credits-500/")] == [500, 500]

    run(body)


def test_lago_api_958_a_tenant_that_left_before_the_close_gets_one_last_invoice() -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        gone = at(2026, 11, 16)
        await shop.to(gone)
        await shop.leave("acme")
        bill = shop.bill(used(PRO, end=gone, running=110 * HOUR))
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.finalized) == ("done", 1)
        first, last = await shop.invoices("acme")
        assert (first["total"], last["total"], last["billing_reason"]) == (2000, -900, "manual")  # a dollar of use, ten of base back
        assert first["total"] + last["total"] == bill.total * 100
        again = await shop.close("2026-11")
        assert (again.finalized, len(await shop.invoices("acme"))) == (0, 2)

    run(body)


@pytest.mark.parametrize("sent", [210, 0])
def test_a_tenant_that_leaves_while_its_invoices_are_held_is_billed_to_its_last_second(sent: int) -> None:
    """What it used after its last total can no longer be sent: the total's segment is over."""

    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        await shop.to(at(2026, 11, 29, 12))
        sink = shop.sink()
        await sink.open()
        if sent:
            bill = shop.bill(running(PRO, sent))
            await push(sink, [bill], shop.now(), {}, now=shop.now(), record=shop.books.record)
        assert (await sink.hold(shop.now())).held == 1
        gone = at(2026, 11, 30, 12)
        await shop.to(gone)
        await shop.leave("acme")
        bill = shop.bill(used(PRO, end=gone, running=212 * HOUR))
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.blocked) == ("done", [])
        invoices = await shop.invoices("acme")
        assert {one["status"] for one in invoices} <= {"open", "paid"}
        assert sum(one["total"] for one in invoices) == bill.total * 100
        assert (await shop.close("2026-11")).finalized == 0

    run(body)


@pytest.mark.parametrize(("hours", "more"), [(220, "0.80"), (190, "-1.20")])
@pytest.mark.parametrize("then", ["leaves", "moves"])
def test_what_is_known_of_a_month_after_its_plan_left_the_subscription_is_an_item(then: str, hours: int, more: str) -> None:
    """No total of it is taken any more, so what Stripe counts stays behind for ever."""

    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        await shop.to(NOVEMBER.end - HOUR)
        early = shop.bill(running(PRO, 212))
        sink = shop.sink()
        await sink.open()
        await push(sink, [early], shop.now(), {}, now=shop.now(), record=shop.books.record)
        await shop.to(DECEMBER.start + 5 * 60_000)
        await (shop.leave("acme") if then == "leaves" else shop.move("acme", TEAM))
        whole = shop.bill(running(PRO, hours))
        assert whole.total - early.total == Decimal(more)
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.blocked) == ("done", [])
        cents = 0
        for invoice in await shop.invoices("acme"):
            lines = [line async for line in shop.stripe.pages(f"/v1/invoices/{invoice['id']}/lines")]
            cents += sum(line["amount"] for line in lines if line["period"]["start"] < DECEMBER.start // 1000)
        assert cents == whole.total * 100

    run(body)


def test_lago_api_958_a_tenant_deleted_while_the_close_waits_is_billed_once() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        shop.books.approved = False
        assert (await shop.close()).state == "held"
        await shop.leave("acme")
        shop.books.approved = True
        assert (await shop.close()).state == "done"
        use = [cents for number in range(len(await shop.invoices("acme"))) for _, cents in await shop.lines("acme", number)]
        assert sorted(use) == [100, 125, 2000, 2000]  # overage and storage once; December's base was invoiced before it left

    run(body)


def test_a_free_tenant_without_use_is_nobodys_invoice() -> None:
    async def body(shop: Business) -> None:
        await shop.join("fern", FREE)
        shop.bill(used(FREE, tenant="fern"))
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.finalized, done.final, await shop.invoices("fern")) == ("done", 0, 1, [])

    run(body)


def test_a_free_tenant_that_bought_credits_gets_an_invoice_of_its_own() -> None:
    async def body(shop: Business) -> None:
        await shop.join("fern", FREE)
        shop.bill(used(FREE, tenant="fern"), lots=[lot()])
        await shop.to(CLOSING)
        assert (await shop.close()).finalized == 1
        [invoice] = await shop.invoices("fern")
        assert (invoice["total"], invoice["status"], invoice["collection_method"]) == (500, "open", "send_invoice")

    run(body)


def test_a_customer_deleted_at_stripe_is_named_and_stops_nobody_else() -> None:
    async def body(shop: Business) -> None:
        await shop.join("quill", PRO)
        shop.bill(running(PRO, 201, "quill"))
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 212.5))
        await shop.to(at(2026, 11, 28))
        await shop.stripe.delete(f"/v1/customers/{shop.customers['acme']}")
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.finalized, [trouble.tenant for trouble in done.blocked]) == ("partial", 1, ["acme"])
        assert "No such customer" in str(done.blocked[0])

    run(body)


def test_a_tenant_that_joins_at_an_odd_second_pays_its_share_to_the_cent() -> None:
    async def body(shop: Business) -> None:
        start = NOVEMBER.start + 648_000  # a share of 20.00 that ends in half a cent: Stripe rounds it up, Rowhouse to even
        await shop.to(start)
        await shop.join("acme", PRO)
        bill = shop.bill(used(PRO, start=start))
        await shop.to(CLOSING)
        assert (await shop.close()).state == "done"
        totals = [sum(cents for _, cents in await shop.lines("acme", number)) for number in (0, 1)]
        assert sum(totals) - 2000 == bill.total * 100

    run(body)


# Holding


def test_a_subscription_is_held_before_it_renews_and_a_job_days_late_loses_nothing() -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 212.5))
        await shop.to(at(2026, 11, 29, 12))
        sink = shop.sink()
        await sink.open()
        assert (await sink.hold(shop.now())).held == 1
        assert (await sink.hold(shop.now())).held == 0
        await shop.to(at(2026, 12, 9))
        assert (await shop.invoices("acme"))[-1]["status"] == "draft"
        done = await shop.close()
        assert (done.state, (await shop.invoices("acme"))[-1]["status"]) == ("done", "open")
        subscription = await shop.stripe.get(f"/v1/subscriptions/{shop.subscriptions['acme']['id']}")
        assert subscription is not None
        assert (subscription["pause_collection"], subscription["metadata"].get("rowhouse_hold")) == (None, None)

    run(body)


def test_a_draft_that_nobody_held_before_is_held_as_soon_as_a_pass_sees_it() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        sink = shop.sink()
        await sink.open()
        assert (await sink.hold(shop.now())).held == 1
        await shop.to(at(2026, 12, 5))
        assert (await shop.invoices("acme"))[-1]["status"] == "draft"

    run(body)


def test_what_stripe_finalized_before_anybody_came_is_completed_on_the_next_invoice() -> None:
    """The one-hour finalization of docs.stripe.com: no pass ran for two days around the month's end."""

    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        november = shop.bill(running(PRO, 212.5, storage=12))
        await shop.to(at(2026, 12, 1, 3))
        late = await shop.close()
        assert (late.state, late.finalized) == ("done", 0)
        assert sum(item.cents for _, item in late.later) == 225
        december = shop.bill(used(PRO, DECEMBER), month="2026-12")
        await shop.to(JANUARY.start + 20 * 60_000)
        done = await shop.close("2026-12")
        assert (done.state, sum(item.cents for _, item in done.adjustments)) == ("done", 225)
        texts = [line["description"] for line in (await shop.invoices("acme"))[-1]["lines"]["data"]]
        assert sum(text.startswith("Adjustment for 2026-11: ") for text in texts) == 2
        billed = sum([invoice["total"] for invoice in await shop.invoices("acme")])
        assert billed - 2000 == (november.total + december.total) * 100
        assert {entry.subject for entry in shop.books.of_kind("correction")} == {"2026-11"}

    run(body)


def test_a_collection_that_somebody_paused_is_not_resumed_and_its_draft_stays() -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 1))
        await shop.stripe.post(f"/v1/subscriptions/{shop.subscriptions['acme']['id']}", {"pause_collection": {"behavior": "keep_as_draft"}})
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 0)
        assert "somebody paused the collection" in str(done.blocked[0])

    run(body)


# Late usage


def test_kill_bill_late_usage_after_the_close_becomes_an_adjustment_line_and_a_correction() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop, hours=210)
        await shop.close()
        shop.bill(running(PRO, 212.5, storage=12))  # 2.5 hours became known afterwards
        shop.bill(used(PRO, DECEMBER), month="2026-12")
        await shop.to(JANUARY.start + 20 * 60_000)
        done = await shop.close("2026-12")
        [(tenant, item)] = done.adjustments
        assert (tenant, item.cents, item.period) == ("acme", 25, "2026-11")
        [entry] = shop.books.of_kind("correction")
        assert (entry.tenant, entry.subject, entry.value) == ("acme", "2026-11", "0.25")
        assert (entry.data or {})["reason"].startswith("Adjustment for 2026-11: aether/pro")
        await shop.to(at(2027, 2, 1, 1))
        shop.bill(used(PRO, JANUARY), month="2027-01")
        assert (await shop.close("2027-01")).adjustments == []

    run(body)


def test_lago_late_usage_of_somebody_who_left_goes_on_an_invoice_of_its_own() -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        await shop.to(at(2026, 11, 16))
        await shop.leave("acme")
        shop.bill(used(PRO, end=at(2026, 11, 16), running=110 * HOUR))
        await shop.to(CLOSING)
        await shop.close()
        november = shop.bill(used(PRO, end=at(2026, 11, 16), running=112 * HOUR))
        await shop.to(JANUARY.start + 20 * 60_000)
        assert (await shop.close("2026-12")).finalized == 1
        assert sum([invoice["total"] for invoice in await shop.invoices("acme")]) == november.total * 100

    run(body)


# Doubt


def test_the_first_three_closes_ask_a_person_and_leave_drafts_until_one_says_so() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        shop.books.approved = False
        held = await shop.close()
        assert (held.state, held.ready, held.finalized) == ("held", 1, 0)
        assert "wait for a person" in held.why
        assert (await shop.invoices("acme"))[-1]["status"] == "draft"
        shop.books.approved = True
        assert (await shop.close()).state == "done"
        for month, period in (("2026-12", DECEMBER), ("2027-01", JANUARY)):
            shop.bill(used(PRO, period), month=month)
            await shop.to(period.end + 20 * 60_000)
            await shop.close(month)
        assert shop.books.asked == 4
        february = Window.month("2027-02")
        shop.bill(used(PRO, february), month="2027-02")
        await shop.to(february.end + 20 * 60_000)
        assert ((await shop.close("2027-02")).number, shop.books.asked) == (4, 4)

    run(body)


@pytest.mark.parametrize("short", [Observed(False, CLOSING, "Fly: 3 machines"), Observed(True, NOVEMBER.end - 1)])
def test_without_a_complete_look_after_the_months_end_nothing_goes_out(short: Observed) -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        shop.books.observed = short
        waiting = await shop.close()
        assert (waiting.state, waiting.finalized) == ("waiting", 0)
        assert waiting.why
        assert [entry.state for entry in shop.books.of_kind("close")] == ["frozen", "waiting"]
        shop.books.observed = None
        assert (await shop.close()).state == "done"

    run(body)


@pytest.mark.parametrize(("moment", "words"), [(at(2026, 11, 30, 23), "not over"), (at(2026, 12, 1, 0, 4), "in 6 min")])
def test_a_month_is_not_closed_before_the_vendors_lists_are_right(moment: int, words: str) -> None:
    async def body(shop: Business) -> None:
        await shop.to(moment)
        with pytest.raises(CloseError, match=words):
            await shop.close()
        assert shop.books.entries == []

    run(body)


def test_a_month_in_which_nothing_was_observed_is_no_close() -> None:
    """Else empty months would use up the first closes, which ask a person."""

    async def body(shop: Business) -> None:
        await one_tenant(shop)
        with pytest.raises(CloseError, match="nothing was observed in 2026-11"):
            await close("2026-11", shop.sink(), shop.steps(observed=lambda: False))
        assert shop.books.of_kind("close") == []

    run(body)


def test_a_month_waits_for_the_one_before_that_was_observed_and_never_closed() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        before = len(shop.books.entries)
        with pytest.raises(CloseError, match="2026-10 was observed and is not closed"):
            await close("2026-11", shop.sink(), shop.steps(began_before=lambda: True))
        assert len(shop.books.entries) == before
        assert (await shop.close()).state == "done"

    run(body)


def test_a_month_waits_for_the_one_before_that_was_begun() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        shop.books.approved = False
        await shop.close()
        await shop.to(JANUARY.start + 20 * 60_000)
        with pytest.raises(CloseError, match="2026-11 was begun and is not closed"):
            await shop.close("2026-12")

    run(body)


def test_a_line_that_somebody_put_on_a_draft_keeps_that_one_draft_and_no_other() -> None:
    async def body(shop: Business) -> None:
        await shop.join("quill", PRO)
        shop.bill(running(PRO, 1, "quill"))
        await one_tenant(shop)
        draft = (await shop.invoices("acme"))[-1]
        item = {"customer": shop.customers["acme"], "invoice": draft["id"], "amount": -500, "currency": "usd", "description": "Sorry"}
        made = await shop.stripe.post("/v1/invoiceitems", item)
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 1)
        assert "'Sorry' of -5.00 USD was not put there by Rowhouse" in str(done.blocked[0])
        await shop.stripe.delete(f"/v1/invoiceitems/{made['id']}")
        assert (await shop.close()).state == "done"

    run(body)


def test_unkey_last_freezes_an_under_report_so_a_failed_final_push_keeps_the_draft() -> None:
    async def body(shop: Business) -> None:
        await shop.join("quill", PRO)
        shop.bill(running(PRO, 1, "quill"))
        await one_tenant(shop)
        shop.vendor.usage.readings = _Deaf()  # received with a 200, and never counted
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 1)
        assert "Stripe counts 0 seconds" in str(done.blocked[0]) or "Stripe counts 0" in str(done.blocked[0])
        assert (await shop.invoices("acme"))[-1]["status"] == "draft"

    run(body)


class _Deaf(dict):  # type: ignore[type-arg]
    def setdefault(self, _key: object, _default: object = None) -> list[object]:  # type: ignore[override]
        return []


def test_a_renewal_that_is_not_written_yet_is_waited_for() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        draft = (await shop.invoices("acme"))[-1]
        del shop.vendor.state.invoices.objects[draft["id"]]
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 0)
        assert "has not written its invoice of 2026-11 yet" in str(done.blocked[0])

    run(body)


def test_a_renewal_that_somebody_deleted_is_billed_on_an_invoice_of_its_own_after_three_days() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        draft = (await shop.invoices("acme"))[-1]
        del shop.vendor.state.invoices.objects[draft["id"]]
        await shop.to(DECEMBER.start + 3 * 86_400_000)
        done = await shop.close()
        assert (done.state, done.finalized, done.is_well) == ("done", 1, False)
        assert "no invoice of its renewal" in str(done.troubles[0])
        assert [cents for _, cents in await shop.lines("acme")] == [125, 100]  # November's use; its base was paid in advance
        shop.bill(used(PRO, DECEMBER), month="2026-12")
        await shop.to(JANUARY.start + 20 * 60_000)
        assert (await shop.close("2026-12")).state == "done"
        assert sorted(cents for _, cents in await shop.lines("acme")) == [2000, 2000]  # December's base, and January's in advance

    run(body)


def test_what_stands_on_an_invoice_that_somebody_voided_is_waived_and_told() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop, 10, 1)
        draft = (await shop.invoices("acme"))[-1]
        await shop.stripe.post(f"/v1/invoices/{draft['id']}/finalize", {})
        await shop.stripe.post(f"/v1/invoices/{draft['id']}/void", {})
        done = await shop.close()
        assert (done.state, done.finalized, done.items, done.later) == ("done", 0, 0, [])
        assert "was voided: what stands on it counts as waived" in str(done.troubles[0])
        shop.bill(used(PRO, DECEMBER), month="2026-12")
        await shop.to(JANUARY.start + 20 * 60_000)
        assert (await shop.close("2026-12")).state == "done"
        assert [cents for _, cents in await shop.lines("acme")] == [2000]

    run(body)


@pytest.mark.parametrize("then", ["leaves", "moves", "begins anew"])
def test_nothing_is_given_back_for_a_voided_invoice_that_nobody_paid(then: str) -> None:
    async def body(shop: Business) -> None:
        middle = at(2026, 11, 16)
        await shop.join("acme", TEAM)
        first = (await shop.invoices("acme"))[-1]
        await shop.stripe.post(f"/v1/invoices/{first['id']}/void", {})
        await shop.to(middle)
        if then == "leaves":
            await shop.leave("acme")
            shop.bill(used(TEAM, end=middle))
        elif then == "moves":
            await shop.move("acme", PRO)
            shop.bill(used(TEAM, end=middle), used(PRO, start=middle, segment=1))
        else:
            await shop.leave("acme")
            await shop.join("acme", PRO)
            shop.bill(used(PRO, start=middle))
        await shop.to(CLOSING)
        done = await shop.close()
        assert (done.state, done.items, done.later) == ("done", 0, [])
        charged = [
            cents
            for n, one in enumerate(await shop.invoices("acme"))
            if one["status"] != "void"
            for _, cents in await shop.lines("acme", n)
        ]
        assert sorted(charged) == {"leaves": [], "moves": [2000], "begins anew": [1000, 2000]}[then]

    run(body)


def test_a_draft_without_a_bill_stays_and_is_named() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        shop.books.bills.clear()
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 0)
        assert "no plan of this month is in the ledger" in str(done.blocked[0])

    run(body)


def test_drafts_that_show_old_quantities_are_finalized_when_stripes_sums_are_right() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        done = await shop.close()
        assert (done.state, done.troubles) == ("done", [])
        assert sum(cents for _, cents in await shop.lines("acme")) == 2225

    run(body, live_drafts=False)


def test_sums_that_lag_are_waited_for_and_then_told() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        done = await shop.close()
        assert (done.state, done.finalized) == ("partial", 0)
        assert "Stripe counts 0" in str(done.blocked[0])
        await shop.to(CLOSING + 3_600_000)
        assert (await shop.close()).state == "done"

    run(body, live_drafts=False, summary_lag_s=600)


def test_a_base_price_changed_by_hand_at_stripe_is_set_right_by_an_item() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop, hours=1, storage=0)
        await shop.close()
        held = shop.subscriptions["acme"]
        dear = await shop.stripe.post(
            "/v1/prices", {"product": "p-aether-pro", "currency": "usd", "unit_amount": 2500, "recurring": {"interval": "month"}}
        )
        base = next(item for item in held["items"]["data"] if item["price"]["id"] == shop.prices[PRO.ref, "base"])
        await shop.stripe.post(
            f"/v1/subscriptions/{held['id']}", {"items": [{"id": base["id"], "price": dear["id"]}], "proration_behavior": "none"}
        )
        shop.bill(used(PRO, DECEMBER), month="2026-12")
        shop.bill(used(PRO, JANUARY), month="2027-01")
        await shop.to(JANUARY.start + 20 * 60_000)
        await shop.close("2026-12")
        await shop.to(JANUARY.end + 20 * 60_000)
        done = await shop.close("2027-01")
        assert (done.state, [cents for line, cents in await shop.lines("acme") if line == "base"]) == ("done", [-500])
        assert "although its plan did not change" in str(done.troubles[0])

    run(body)


def test_the_month_before_january_is_december() -> None:
    assert [month_before(month) for month in ("2027-01", "2026-12", "2026-10")] == ["2026-12", "2026-11", "2026-09"]


def test_a_total_that_is_too_old_to_be_sent_is_billed_as_an_item() -> None:
    """35 days of docs.stripe.com: the close comes in January for November."""

    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 212.5, storage=12))
        await shop.to(at(2026, 11, 30))
        sink = shop.sink()
        await sink.open()
        await sink.hold(shop.now())
        await shop.to(at(2027, 1, 20))
        done = await shop.close()
        assert (done.state, done.items) == ("done", 2)
        november = next(one for one in await shop.invoices("acme") if one["created"] == DECEMBER.start // 1000)
        assert (november["status"], november["total"]) == ("open", 2225)

    run(body)


def test_a_bill_in_another_currency_than_the_draft_is_left_to_a_person() -> None:
    async def body(shop: Business) -> None:
        await one_tenant(shop)
        [bill] = shop.books.bills["2026-11"]
        euros = replace(bill.lines[0], currency="eur")
        shop.books.bills["2026-11"] = [replace(bill, lines=(*bill.lines, euros))]
        done = await shop.close()
        assert (done.state, done.totals) == ("partial", {"usd": Decimal("22.25"), "eur": Decimal("20.00")})
        assert "EUR cannot go on an invoice in USD" in str(done.blocked[0])

    run(body)
