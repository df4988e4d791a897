"""Totals at the Stripe stand-in: names, times, keys, what is replayed, what is refused now and what is refused later."""

from __future__ import annotations

from collections.abc import Sequence

from rowhouse.localcloud.stripe_faults import dropped_after_commit, error_after_commit, lock_timeout_once
from rowhouse.spec.prices import price_specs
from rowhouse.usage.push import Pushed, note_refusals, plan_totals, push, verify
from rowhouse.usage.sent import announced, batch_done, sent_from_entries
from rowhouse.usage.sink import Total
from tests.usage.billing_support import NOVEMBER, PROJECT, Business, at, no_wait, run, running
from tests.usage.rating_support import HOUR, plan_of, used

PRO, TEAM = plan_of("aether/pro"), plan_of("aether/team")
NOON = at(2026, 11, 20, 12)


async def begin(shop: Business, hours: float = 212.5) -> list[Total]:
    """A tenant at noon of the 20th, and what is to be sent of it."""
    await shop.join("acme", PRO)
    await shop.to(NOON + 60_000)
    return list(plan_totals(shop.bill(running(PRO, hours)), NOON, {}, now=NOON).totals)


async def pushed(shop: Business, watermark: int = NOON) -> Pushed:
    sink = shop.sink()
    await sink.open()
    sent = sent_from_entries(shop.books.entries)
    return await push(sink, shop.books.bills["2026-11"], watermark, sent, now=shop.now(), record=shop.books.record)


def events(shop: Business) -> list[tuple[int, int]]:
    """(value, second) of every event that Stripe counts."""
    return [(int(reading.value), reading.timestamp) for readings in shop.vendor.usage.readings.values() for reading in readings]


def requests(shop: Business, path: str) -> list[object]:
    return [entry for entry in shop.journal.entries if entry.path == path]


def test_the_label_of_a_line_is_the_event_name_of_its_price() -> None:
    async def body(shop: Business) -> None:
        bill = shop.bill(running(PRO, 1))
        names = {spec.meter: spec.meter_event_name for spec in price_specs(PROJECT, PRO) if spec.meter_event_name}
        assert {line.meter: shop.sink().label(line) for line in bill.lines if line.stripe_quantity is not None} == names

    run(body)


def test_an_event_has_the_watermark_and_its_key_is_its_identifier() -> None:
    async def body(shop: Business) -> None:
        [total] = await begin(shop)
        assert (await pushed(shop)).sent == 1
        assert events(shop) == [(total.value, NOON // 1000)]
        [asked] = requests(shop, "/v1/billing/meter_events")
        assert f"identifier={total.identifier}" in asked.body  # type: ignore[attr-defined]

    run(body)


def test_stripe_duplicate_identifier_400_is_success() -> None:
    async def body(shop: Business) -> None:
        [total] = await begin(shop)
        sink = shop.sink()
        await sink.open()
        first = await sink.push(total)
        await shop.to(NOON + 25 * HOUR)  # the stored answer is gone, and so is the key: only the identifier could still protect
        shop.vendor.front._stored.clear()
        shop.vendor.usage._received[total.identifier] = shop.clock.timestamp()
        again = await sink.push(total)
        assert (first.state, again.state, len(events(shop))) == ("sent", "sent", 1)

    run(body)


def test_an_answer_that_was_lost_or_a_500_is_followed_by_the_same_name_and_counts_once() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        for fault in (error_after_commit, dropped_after_commit, lock_timeout_once):
            shop.faults.add(fault("/v1/billing/meter_events$"))
        assert (await pushed(shop)).sent == 1
        assert len(events(shop)) == 1

    run(body)


def test_a_stale_late_pass_changes_nothing_at_stripe() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        await pushed(shop, NOON)
        shop.bill(running(PRO, 205))
        assert (await pushed(shop, NOON - 3 * HOUR)).sent == 0
        assert len(events(shop)) == 1

    run(body)


def test_where_last_means_last_to_arrive_the_sums_tell_and_the_total_is_sent_again() -> None:
    """Two passes overlapped: the stale one read the ledger before the newer one wrote to it."""

    async def body(shop: Business) -> None:
        [total] = await begin(shop)
        await pushed(shop)
        sink = shop.sink()
        await sink.open()
        stale = plan_totals(shop.bill(running(PRO, 205)), NOON - HOUR, {}, now=NOON).totals
        assert [(await sink.push(one)).state for one in stale] == ["sent"]
        shop.bill(running(PRO, 212.5))
        checked = await verify(sink, [total], now=NOON, record=shop.books.record, sleep=no_wait)
        assert "were sent" in str(checked.troubles[0])
        await shop.to(NOON + HOUR + 60_000)
        assert (await pushed(shop, NOON + HOUR)).sent == 1
        assert (await verify(sink, [total], now=NOON, record=shop.books.record, sleep=no_wait)).equal == 1

    run(body, last_arrived=True)


def test_summaries_that_lag_are_not_a_difference_until_they_had_their_time() -> None:
    async def body(shop: Business) -> None:
        [total] = await begin(shop)
        await pushed(shop)
        sink = shop.sink()
        await sink.open()

        async def wait(_seconds: float) -> None:
            await shop.to(shop.now() + 30_000)

        checked = await verify(sink, [total], now=NOON, record=shop.books.record, sleep=wait)
        assert (checked.equal, checked.troubles) == (1, [])

    run(body, summary_lag_s=45)


def test_a_meter_error_that_arrives_later_is_a_trouble_and_the_total_goes_again() -> None:
    async def body(shop: Business) -> None:
        [total] = await begin(shop)
        name = shop.sink().label(next(line for line in shop.books.bills["2026-11"][0].lines if line.meter == total.meter))
        meter = next(one for one in shop.vendor.state.meters.objects.values() if one["event_name"] == name)
        meter["status"] = "inactive"
        sink = shop.sink()
        await sink.open()
        await sink.push(total)  # a 200: received, and lost
        await _announce(shop, [total])
        await shop.to(shop.now() + 60_000)
        meter["status"] = "active"
        sent = sent_from_entries(shop.books.entries)
        troubles, complete = await note_refusals(sink, sent, since=NOON, now=shop.now(), record=shop.books.record)
        assert ("archived_meter" in str(troubles[0]), complete) == (True, True)
        await shop.to(NOON + 2 * HOUR + 60_000)
        assert (await pushed(shop, NOON + 2 * HOUR)).sent == 1
        assert events(shop) == [(total.value, NOON // 1000 + 7200)]

    run(body, report_lag_s=20)


async def _announce(shop: Business, totals: Sequence[Total]) -> None:
    await shop.books.record([*(announced(total, NOON, "b1") for total in totals), batch_done("b1", NOON, len(totals))])


def test_error_reports_are_read_page_by_page_until_an_older_one() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        sink = shop.sink()
        await sink.open()
        for number in range(230):
            key = {"Idempotency-Key": f"t{number}:1"}
            data = {"event_name": "none", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1", "identifier": f"t{number}"}
            await shop.stripe.http.send("POST", "/v1/billing/meter_events", repeatable=False, data=data, headers=key)
            await shop.to(shop.now() + 1000)
        everything = await sink.refusals(NOON)
        assert (len(everything.reasons), everything.complete) == (230, True)
        assert everything.reasons["t7"].startswith("no_meter")
        later = await sink.refusals(everything.until - 20_000)
        assert 15 <= len(later.reasons) <= 25

    run(body)


def test_a_report_that_names_only_some_says_so() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        sink = shop.sink()
        await sink.open()
        for number in range(15):
            data = {"event_name": "none", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1", "identifier": f"t{number}"}
            await shop.stripe.http.send("POST", "/v1/billing/meter_events", repeatable=False, data=data)
        await shop.to(shop.now() + 60_000)
        told = await sink.refusals(NOON)
        assert (len(told.reasons), told.complete) == (10, False)

    run(body, report_lag_s=30)


def test_a_tenant_whose_subscription_was_cancelled_by_hand_is_named() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        await shop.stripe.delete(f"/v1/subscriptions/{shop.subscriptions['acme']['id']}")
        result = await pushed(shop)
        assert (result.sent, "no live item" in str(result.troubles[0])) == (0, True)

    run(body)


def test_the_first_total_after_a_plan_change_is_said_even_if_it_is_zero() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        await pushed(shop)
        await shop.move("acme", TEAM)
        middle = NOON + 60_000
        shop.bill(used(PRO, end=middle, running=212 * HOUR), used(TEAM, segment=1, start=middle))
        await shop.to(middle + HOUR)
        assert (await pushed(shop, middle + HOUR // 2)).sent == 2  # hours and storage share their meters with the old plan
        assert {value for value, second in events(shop) if second > middle // 1000} == {0}

    run(body)


def test_many_tenants_are_sent_side_by_side_within_stripes_locks() -> None:
    async def body(shop: Business) -> None:
        for number in range(40):
            await shop.join(f"t{number:03}", PRO)
            shop.bill(running(PRO, 201 + number, f"t{number:03}", storage=12))
        await shop.to(NOON + 60_000)
        result = await pushed(shop)
        assert (result.sent, result.failed, result.troubles) == (80, 0, [])

    run(body, limits=True, rate_per_s=1_000_000)


def test_a_watermark_ahead_of_stripes_clock_is_never_a_time_in_the_future() -> None:
    async def body(shop: Business) -> None:
        await begin(shop)
        assert (await pushed(shop, NOON + HOUR)).sent == 1
        assert [second for _, second in events(shop)] == [(NOON + 60_000) // 1000]

    run(body)


def test_nothing_is_pushed_twice_within_one_run_of_passes() -> None:
    async def body(shop: Business) -> None:
        await begin(shop, 212)
        for step in range(5):
            await shop.to(NOON + step * HOUR + 120_000)
            shop.bill(running(PRO, 212 + (step >= 3)))
            await pushed(shop, NOON + step * HOUR)
        assert [second for _, second in events(shop)] == [NOON // 1000, NOON // 1000 + 3 * 3600]
        assert NOVEMBER.start // 1000 < events(shop)[0][1]

    run(body)
