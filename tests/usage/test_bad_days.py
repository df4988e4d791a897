"""Bad days as a whole pass meets them: rows of the failure library and others, each named in its test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

from rowhouse.usage.bills import bills_of
from rowhouse.usage.close import close
from rowhouse.usage.entries import Entry
from rowhouse.usage.explain import explain
from rowhouse.usage.intake import record_purchase
from rowhouse.usage.model import Window
from rowhouse.usage.rate import rate
from rowhouse.usage.sink_csv import CsvSink
from tests.usage import books
from tests.usage.billing_support import DECEMBER, NOVEMBER, at, no_wait
from tests.usage.rating_support import HOUR, MINUTE, SECOND, plan_of, used
from tests.usage.test_passes import BORN, NOON, counted, founded, run, totals
from tests.usage.world_pipeline import DAY, World, quiet

JANUARY = Window.month("2027-01")


def hours(bill, meter="running_hours") -> Fraction:
    return sum((line.exact_quantity for line in bill.lines if line.meter == meter), Fraction(0))


# Metering


@pytest.mark.parametrize(
    ("ref", "beyond", "cents"),
    [
        ("ai-diy-roadmap/basic", 59 * MINUTE + 59 * SECOND, 500),  # by the minute, at 5.00 an hour: the whole hour
        ("ai-diy-roadmap/basic", 1 * SECOND, 8),  # a minute begun
        ("aether/pro", 59 * MINUTE + 59 * SECOND, 10),  # by the second, at 0.10 an hour: 9.997 cents
        ("aether/pro", 59 * SECOND, 0),  # 0.16 cents
    ],
)
def test_up_to_an_hour_beyond_is_billed_by_the_plans_own_rounding_and_not_cut_off(ref: str, beyond: int, cents: int) -> None:
    """Row 'wrong clock, integer division, month attribution': overageSeconds / 3600 lost up to 59m59s."""
    plan = plan_of(ref)
    [meter] = [meter for meter in plan.meters if meter.kind == "running_hours"]
    bill = rate(NOVEMBER, [used(plan, running=int(meter.included or 0) * HOUR + beyond)])
    assert next(line.amount for line in bill.lines if line.meter == "running_hours") == Decimal(cents) / 100


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process lives where clocks are put back and forth."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "moment",
    [
        at(2026, 10, 25, 0, 30),  # half past two by Berlin's clocks, for the first time
        at(2026, 10, 25, 1, 30),  # and for the second
        at(2027, 3, 28, 1),  # from two to three in no time
        at(2026, 10, 31, 23),  # the first of November in Berlin, and not in UTC
        at(2026, 12, 1) - SECOND,  # the last second of a month
        at(2028, 2, 29, 12),  # a leap day
    ],
)
def test_killbill_1987_a_plan_change_at_any_odd_hour_bills_each_second_once(tmp_path: Path, moment: int) -> None:
    """Row 'timezone and plan-change duplicates'."""
    month = time.strftime("%Y-%m", time.gmtime(moment // 1000))
    window = Window.month(month)
    born, until = window.start - DAY, window.end + HOUR
    ups = [(max(window.start, moment - 5 * HOUR), min(window.end, moment + 5 * HOUR))]
    rows = [books.plan_row("acme", born, "my-jarvis/usage"), books.plan_row("acme", moment, "ai-diy-roadmap/hourly")]
    rows += [*books.machine_rows("acme", born, ups, until), books.pass_row(until)]
    books.write(books.folder(tmp_path), rows)
    [bill], context = bills_of(books.folder(tmp_path), "main", None, window)
    segments = context.usage["acme"]
    assert [(one.start, one.end, one.plan.ref) for one in segments] == [
        (window.start, moment, "my-jarvis/usage"),
        (moment, window.end, "ai-diy-roadmap/hourly"),
    ]
    assert sum(one.running_ms for one in segments) == ups[0][1] - ups[0][0]
    assert hours(bill) == sum(
        (Fraction(-(-one.running_ms // 60_000), 60) if one.segment else Fraction(one.running_ms, HOUR)) for one in segments
    )


def test_a_refused_list_is_asked_for_again_and_a_quiet_pass_asks_little(tmp_path: Path) -> None:
    """Row '1,000 requests/h hit by polling': a budget of requests, and waiting as long as the vendor says."""
    waits: list[str] = []

    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)

        def busy(request: httpx.Request) -> httpx.Response | None:
            if request.url.path.endswith("/orgs/acme/machines") and len(waits) < 2:
                waits.append("7")
                return httpx.Response(429, json={"error": "rate limited"}, headers={"retry-after": waits[-1]})
            return None

        world.rigged = busy
        result = await world.reconcile()
        assert result.is_well, result.document()
        assert len(waits) == 2
        await world.to(NOON + HOUR)
        quiet_one = await world.reconcile()
        assert quiet_one.calls["fly"] == 3  # machines, volumes, use; nobody changed, so nobody is asked for events
        assert quiet_one.calls["cloudflare"] <= 2

    run(tmp_path, body)


# Billing


def test_press_5305_press_4958_what_is_charged_can_be_followed_down_to_the_machines_own_events(tmp_path: Path) -> None:
    """Row 'customer cannot tell when or what is charged'."""

    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        result = await world.reconcile()
        bills, context = bills_of(world.store, "main", None, NOVEMBER)
        assert bills == list(result.bills)
        told = explain("orchard", bills, context, line="running_hours", ledger=world.ledger())
        [line] = told["lines"]
        assert "30 hours x 0.1 USD = 3.00 USD" in " ".join(line["sentences"])
        text = str(told["evidence"])
        events = world.truths["orchard"].machines["main"][0].events
        assert all(event.id in text for event in events if event.status == "started")

    run(tmp_path, body)


def test_a_total_that_stripe_refused_afterwards_is_told_by_the_next_pass_and_sent_again(tmp_path: Path) -> None:
    """Row 'meter error arrives later by webhook': unknown customer or meter, and the total goes again."""

    async def body(world: World) -> None:
        await founded(world)
        meters = world.vendor.state.meters.objects.values()
        await world.to(NOON)
        for meter in meters:
            meter["status"] = "inactive"
        first = await world.reconcile()
        assert not first.is_well
        for meter in meters:
            meter["status"] = "active"
        results = []
        for step in range(1, 4):
            await world.to(NOON + step * HOUR)
            results.append(await world.reconcile())
        assert results[-1].is_well, results[-1].document()
        assert (counted(world, "orchard"), counted(world, "quill")) == (300, 3)

    run(tmp_path, body, report_lag_s=20)


@pytest.mark.long
def test_a_meter_event_written_by_hand_is_noticed_and_put_right(tmp_path: Path) -> None:
    """A Stripe object edited by hand."""

    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        await world.reconcile()
        event = next(one["event_name"] for one in world.vendor.state.meters.objects.values() if "my-jarvis" in one["event_name"])
        payload = {"stripe_customer_id": world.customers["orchard"], "value": 99_999}
        await world.stripe.post(
            "/v1/billing/meter_events", {"event_name": event, "identifier": "by-hand", "timestamp": NOON // 1000, "payload": payload}
        )
        assert counted(world, "orchard") == 99_999
        troubles = []
        for step in range(1, 4):
            await world.to(NOON + step * HOUR)
            troubles += (await world.reconcile()).troubles
        assert any("counts 99999" in str(trouble) for trouble in troubles)
        assert counted(world, "orchard") == 300

    run(tmp_path, body)


def test_a_subscription_cancelled_by_hand_is_named_by_each_pass_and_the_close_still_bills_the_use(tmp_path: Path) -> None:
    """A Stripe object edited by hand."""

    async def body(world: World) -> None:
        await founded(world)
        await world.leave("orchard")
        await world.to(NOON)
        result = await world.reconcile()
        [trouble] = result.troubles
        assert (trouble.tenant, "Run `rowhouse up`" in trouble.text) == ("orchard", True)
        assert totals(result)["orchard"] == Decimal("3.00")
        assert counted(world, "quill") == 3  # the other one's is sent
        await world.to(DECEMBER.start - 20 * HOUR)
        await world.reconcile()
        await world.to(DECEMBER.start + HOUR)
        closing = await world.close_month("2026-11")
        assert closing.state == "done", closing.document()
        charged = [line for number in range(len(await world.invoices("orchard"))) for line in await world.lines("orchard", number)]
        assert sum(cents for _, cents in charged) == 300

    run(tmp_path, body)


def test_kill_bill_a_purchase_told_after_the_close_is_an_adjustment_on_the_next_invoice(tmp_path: Path) -> None:
    """Row 'late usage ignored; deletion blocks invoicing'."""

    async def body(world: World) -> None:
        start, end = NOVEMBER.end - DAY, NOVEMBER.end
        world.lives(quiet("lila", start, JANUARY.end, [(start + HOUR, start + 2 * HOUR)]))
        await world.begins("lila", "llamasketch/starter")
        await world.to(end - HOUR)
        await world.reconcile()
        await world.to(end + HOUR)
        first = await world.close_month("2026-11")
        assert first.state == "done", first.document()
        plan = plan_of("llamasketch/starter")
        record_purchase(world.ledger(), "lila", plan.packs[0], plan.currency, "pay_late", at=end - 5 * HOUR, at_given=True)
        await world.to(end + 2 * HOUR)
        await world.reconcile()
        await world.to(DECEMBER.end - 20 * HOUR)
        await world.reconcile()
        await world.to(DECEMBER.end + HOUR)
        second = await world.close_month("2026-12")
        assert second.state == "done", second.document()
        assert [(tenant, item.period, item.cents) for tenant, item in second.adjustments] == [("lila", "2026-11", 500)]
        [correction] = [entry for entry in world.ledger().read("billing") if entry.kind == "correction"]
        assert (correction.tenant, correction.subject, correction.value) == ("lila", "2026-11", "5.00")
        [bill] = bills_of(world.store, "main", None, JANUARY)[0]
        assert bill.credits_left == {"generations": Decimal(500)}
        told = [entry.data for entry in world.ledger().read("account") if entry.kind == "opening" and entry.at == DECEMBER.start]
        assert [lot["payment"] for data in told if data for lot in data["lots"]] == ["pay_late"]  # December began with them after all

    run(tmp_path, body, start=NOVEMBER.end - DAY)


def test_lago_958_who_leaves_between_two_passes_gets_one_last_bill(tmp_path: Path) -> None:
    """Row 'subscription ends between enqueue and run'; and the machine that went with its tenant stops being billed at its last second."""

    async def body(world: World) -> None:
        truth = quiet("orchard", BORN, DECEMBER.end, [(BORN + HOUR, BORN + 5 * HOUR)])
        machine = truth.machines["main"][0]
        world.lives(truth)
        await world.begins("orchard", "my-jarvis/usage")
        await world.to(BORN + 4 * HOUR)
        await world.reconcile()
        await world.to(BORN + 6 * HOUR)
        await world.ends("orchard")
        await world.to(BORN + 7 * HOUR)
        result = await world.reconcile()
        [bill] = result.bills
        assert hours(bill) == 4
        assert machine.ups == [(BORN + HOUR, BORN + 5 * HOUR)]
        await world.to(BORN + 20 * HOUR)
        assert (await world.reconcile()).bills == result.bills

    run(tmp_path, body)


@pytest.mark.parametrize("sink", ["stripe", "csv"])
def test_a_tenant_whose_purchase_cannot_be_read_is_named_at_the_close_and_the_others_go_out(tmp_path: Path, sink: str) -> None:
    """Else who has no draft at the sink (all of them where bills are files) would be left out without a word."""

    async def body(world: World) -> None:
        start, end = NOVEMBER.end - DAY, NOVEMBER.end
        for tenant in ("lila", "orchard"):
            world.lives(quiet(tenant, start, DECEMBER.end, [(start + HOUR, start + 4 * HOUR)]))
        await world.begins("lila", "llamasketch/starter")
        await world.begins("orchard", "my-jarvis/usage")
        data = {"meter": "generations", "price": "five", "currency": "usd", "expires_at": None}
        world.ledger().remember(
            "account", start, [Entry("purchase", start, "lila", subject="credits-500", value="500", id="pay_1", data=data)]
        )
        await world.to(end - HOUR)
        await world.reconcile()
        await world.to(end + HOUR)
        with world.process(None) as pipeline:
            pipeline.sink = CsvSink(world.store) if sink == "csv" else pipeline.sink
            closing = await close("2026-11", pipeline.sink, pipeline.steps("2026-11", lambda _closing: True), sleep=no_wait)
        assert closing.state == "partial"
        assert [(trouble.tenant, "pay_1" in trouble.text) for trouble in closing.blocked] == [("lila", True)]
        assert closing.final == 1

    run(tmp_path, body, start=NOVEMBER.end - DAY)
