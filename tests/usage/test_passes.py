"""One pass from end to end over a business in one process: what it remembers, bills and tells; and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rowhouse.usage.bills import bills_of
from rowhouse.usage.close import CloseError
from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import Window
from rowhouse.usage.passes import NoTimeError, PassResult
from rowhouse.vendors.store import StoreError
from rowhouse.vendors.store_file import FileStore
from tests.usage.billing_support import DECEMBER, NOVEMBER, at
from tests.usage.rating_support import plan_of
from tests.usage.stores import MemoryStore
from tests.usage.world_pipeline import DAY, HOUR, MINUTE, Strike, World, quiet

BORN = at(2026, 11, 18)
NOON = BORN + 36 * HOUR + 5 * MINUTE


def run(tmp_path: Path, body: Callable[[World], Awaitable[None]], start: int = BORN, **options: Any) -> World:
    """A test's body with a new world."""

    async def main() -> World:
        world = World(start, tmp_path / "cache", **options)
        await body(world)
        return world

    return asyncio.run(main())


async def founded(world: World) -> None:
    """Orchard ran 30 hours on my-jarvis/usage, and Quill was active in three clock hours on ai-diy/standard."""
    until = DECEMBER.end
    world.lives(quiet("orchard", BORN, until, [(BORN + HOUR, BORN + 31 * HOUR)]))
    world.lives(quiet("quill", BORN, until, [(BORN + 5 * HOUR, BORN + 5 * HOUR + MINUTE)]))
    world.truths["quill"].logins = [(BORN + 8 * HOUR, "ray-1")]
    world.truths["quill"].requests = [BORN + 8 * HOUR + 3 * MINUTE, BORN + 20 * HOUR]
    world.truths["orchard"].completions = [BORN + number * HOUR for number in range(1, 30)]
    await world.begins("orchard", "my-jarvis/usage")
    await world.begins("quill", "ai-diy/standard")
    for hour in (9, 21):
        await world.to(BORN + hour * HOUR)
        result = await world.reconcile()
        assert result.is_well, result.document()


def totals(result: PassResult) -> dict[str, Decimal]:
    return {bill.tenant: bill.total for bill in result.bills}


def kinds(world: World) -> set[tuple[str | None, str]]:
    return {(entry.tenant, entry.kind) for entry in world.ledger().read()}


BASE = (Decimal("5.00") * 13 / 30).quantize(Decimal("0.01"))
"""Quill's base price from the eighteenth of November on."""


def counted(world: World, tenant: str) -> int:
    """What Stripe counts of a tenant's running time."""
    return next(
        value for (customer, event), value in world.counted().items() if customer == world.customers[tenant] and "running_hours" in event
    )


def test_one_pass_remembers_what_everybody_said_bills_it_and_tells_stripe(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        result = await world.reconcile()
        assert result.is_well, result.document()
        assert {name: source.complete for name, source in result.sources.items()} == dict.fromkeys(
            ("fly", "cloudflare", "gateway", "app"), True
        )
        wanted = ("plan", "machine", "events", "event", "volume", "storage")
        assert {("orchard", kind) for kind in (*wanted, "counter")} | {("quill", kind) for kind in (*wanted, "login", "activity")} | {
            (None, "pass"),
            ("orchard", "push"),
            ("quill", "push"),
        } <= kinds(world)
        # thirty hours at 0.10, and three clock hours at 1.00
        assert totals(result) == {"orchard": Decimal("3.00"), "quill": BASE + Decimal("3.00")}
        assert (counted(world, "orchard"), counted(world, "quill")) == (300, 3)
        assert result.fresh is not None
        assert result.fresh.watermark == NOON - 10 * MINUTE - 1000

    run(tmp_path, body)


def test_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        first = await world.reconcile()
        sent, state = world.sent(), world.counted()
        await world.to(NOON + MINUTE)
        second = await world.reconcile()
        assert (second.is_well, second.pushed, second.bills) == (True, 0, first.bills)
        assert (world.sent(), world.counted()) == (sent, state)

    run(tmp_path, body)


def test_press_2407_two_passes_at_once_leave_one_line_and_send_once(tmp_path: Path) -> None:
    """Row 'duplicate usage record (check-then-insert)'."""

    async def body(world: World) -> None:
        await founded(world)
        before = len(world.sent())
        world.truths["quill"].logins.append((NOON - HOUR, "ray-2"))
        await world.to(NOON)
        both = await asyncio.gather(world.reconcile(), world.reconcile())
        assert sorted(result.remembered for result in both) == [False, True]
        assert sorted(result.pushed for result in both) == [0, 2]
        assert len(world.sent()) == before + 2
        windows = [segment.header.window for segment in world.ledger().segments("pass")]
        assert len(windows) == len(set(windows)) == 3
        assert sum(entry.at == NOON for entry in world.ledger().read("pass")) == 1

    run(tmp_path, body)


@pytest.mark.long
def test_killed_at_each_write_and_each_call_and_run_again_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Each hour a pass dies one call later than the one before it, and another one runs a minute after that."""

    async def body(world: World) -> None:
        born, hours = BORN, 60
        runs = [(born + n * HOUR + 7 * MINUTE + n, born + n * HOUR + 50 * MINUTE + 333) for n in range(hours)]
        world.lives(quiet("orchard", born, DECEMBER.end, runs))
        truth = world.truths["orchard"]
        truth.requests = [born + n * HOUR + 20 * MINUTE for n in range(hours)]
        truth.completions = truth.requests
        await world.begins("orchard", "my-jarvis/usage")  # 0.10 an hour, by the second
        number, when = 0, born
        while True:
            number, when = number + 1, when + HOUR
            await world.to(when)
            died = await world.killed(number)
            await world.to(when + MINUTE)
            result = await world.reconcile()
            assert result.is_well, (number, result.document())
            assert result.fresh is not None
            assert result.fresh.watermark is not None
            [bill] = result.bills
            ran = truth.running(born, result.fresh.watermark) // 1000
            line = next(line for line in bill.lines if line.meter == "running_hours")
            assert line.exact_quantity * 3600 == ran, number
            if line.stripe_quantity:
                assert set(world.counted().values()) == {line.stripe_quantity}, number
            if not died:
                break
        assert number > 15
        for source in ("fly", "gateway", "app"):
            entries = list(world.ledger().read(source))
            seen = {(entry.id, entry.at) for entry in entries if entry.kind == "event"}
            assert len(seen) == sum(entry.kind == "event" for entry in entries)  # each event was remembered once
        assert world.ledger().verify() == []
        assert len({second for second, _ in world.sent()}) == len(world.sent())

    run(tmp_path, body)


@pytest.mark.parametrize("vendor", ["fly", "cloudflare", "prometheus", "stripe"])
def test_one_vendor_down_the_others_are_remembered_and_success_is_not_said(tmp_path: Path, vendor: str) -> None:
    async def body(world: World) -> None:
        await founded(world)
        truth = world.truths["quill"]
        truth.requests.append(NOON - 3 * HOUR)
        truth.logins.append((NOON - 2 * HOUR, "ray-9"))
        await world.to(NOON)
        world.down.add(vendor)
        seen = len(world.entries())
        result = await world.reconcile()
        assert not result.is_well
        assert result.remembered
        fresh = [entry for entry in world.ledger().read() if entry.at >= NOON - 3 * HOUR]
        assert len(world.entries()) > seen
        assert any(entry.kind == "activity" for entry in world.ledger().read("gateway") if entry.at >= NOON - 4 * HOUR)
        assert any(entry.kind == "machine" and entry.at == NOON for entry in fresh) == (vendor != "fly")
        assert any(entry.id == "ray-9" for entry in fresh) == (vendor != "cloudflare")
        assert any(entry.kind == "storage" and entry.at == NOON for entry in fresh) == (vendor not in {"fly", "prometheus"})
        said = next(entry for entry in fresh if entry.kind == "pass" and entry.at == NOON)
        assert said.state == ("complete" if vendor == "stripe" else "incomplete")
        assert ("Stripe" in str(result.troubles)) == (vendor == "stripe")
        world.down.clear()
        await world.to(NOON + HOUR)
        after = await world.reconcile()
        assert after.is_well, after.document()
        assert totals(after)["quill"] == BASE + Decimal("5.00")  # two clock hours more, nothing lost by the bad one
        assert counted(world, "quill") == 5

    run(tmp_path, body)


def test_with_no_vendor_at_all_nothing_is_remembered_and_it_says_so(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        world.down |= {"fly", "cloudflare", "stripe"}
        before = world.entries()
        with pytest.raises(NoTimeError, match="no vendor answered"):
            await world.reconcile()
        assert world.entries() == before

    run(tmp_path, body)


@pytest.mark.parametrize("source", ["fly", "account", "billing", "pass"])
def test_an_unreadable_segment_stops_the_pass_names_itself_and_nothing_is_sent(tmp_path: Path, source: str) -> None:
    async def body(world: World) -> None:
        await founded(world)
        key = world.store.list(f"ledger/main/{source}/2026-11/")[0][0]
        blob = world.store.get(key)
        assert blob is not None
        world.store.put(key, blob.data[:-3] + b"???")
        world.truths["quill"].logins.append((NOON - HOUR, "ray-2"))
        await world.to(NOON)
        sent, calls = world.sent(), Strike()
        with pytest.raises(LedgerError, match=key.replace(".", r"\.")):
            await world.reconcile(strike=calls)
        assert world.sent() == sent
        assert not [call for call in calls.seen if call.startswith("POST")]
        world.store.put(key, blob.data)
        await world.to(NOON + MINUTE)
        result = await world.reconcile()
        assert result.is_well
        assert totals(result)["quill"] == BASE + Decimal("4.00")

    run(tmp_path, body)


def test_on_a_full_disk_nothing_is_sent_and_the_next_pass_makes_it_good(tmp_path: Path) -> None:
    """The file size limit of this process stands for the disk's end: a write beyond it fails in the same place."""

    async def body(world: World) -> None:
        await founded(world)
        world.truths["quill"].logins.append((NOON - HOUR, "ray-2"))
        await world.to(NOON)
        sent = world.sent()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
        try:
            with pytest.raises((StoreError, LedgerError), match=r"space|make room"):
                await world.reconcile()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert world.sent() == sent
        await world.to(NOON + MINUTE)
        result = await world.reconcile()
        assert result.is_well, result.document()
        assert totals(result)["quill"] == BASE + Decimal("4.00")

    run(tmp_path, body, store=FileStore(tmp_path / "store"))


@pytest.mark.parametrize("hours", [-1, 1])
def test_this_machines_clock_off_by_an_hour_changes_nothing_in_ledger_or_bills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Row 'wrong clock, integer division, month attribution'."""
    told: list[Any] = []

    async def body(world: World) -> None:
        await founded(world)
        await world.to(NOON)
        result = await world.reconcile()
        entries = [(entry.kind, entry.tenant, entry.subject, entry.at, entry.asof, entry.value) for entry in world.ledger().read()]
        told.append((result.now, result.bills, world.sent(), sorted(entries, key=str)))

    run(tmp_path / "right", body)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + hours * 3600)
    run(tmp_path / "wrong", body)
    assert told[0] == told[1]


def test_a_pass_after_three_days_of_silence_bills_what_is_proven_and_says_what_is_not(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        runs = [(BORN + HOUR, BORN + 2 * HOUR), (BORN + 30 * HOUR, BORN + 55 * HOUR), (BORN + 60 * HOUR, DECEMBER.end)]
        world.lives(quiet("orchard", BORN, DECEMBER.end, runs))
        world.truths["orchard"].requests = [BORN + 40 * HOUR]
        await world.begins("orchard", "my-jarvis/usage")
        await world.to(BORN + 3 * HOUR)
        assert (await world.reconcile()).is_well
        await world.to(BORN + 75 * HOUR)
        result = await world.reconcile()
        [bill] = result.bills
        assert result.fresh is not None
        assert result.fresh.watermark is not None
        line = next(line for line in bill.lines if line.meter == "running_hours")
        ran = world.truths["orchard"].running(BORN, BORN + 75 * HOUR - 10 * MINUTE - 1000)
        assert line.exact_quantity * 3600 == ran // 1000  # Fly's own events prove all of it
        assert not result.is_well
        assert "may be lost" in result.sources["cloudflare"].reason  # the log of logins does not reach back so far
        assert counted(world, "orchard") == line.stripe_quantity
        await world.to(BORN + 76 * HOUR)
        assert (await world.reconcile()).is_well

    run(tmp_path, body)


def test_over_a_months_end_each_month_gets_its_own_seconds_and_the_opening_equals_the_whole_ledger(tmp_path: Path) -> None:
    """Row 'wrong clock, integer division, month attribution': a run over midnight is split."""

    async def body(world: World) -> None:
        start, end = NOVEMBER.end - 2 * DAY, NOVEMBER.end
        world.lives(quiet("orchard", start, DECEMBER.end, [(end - 3 * HOUR, end + 2 * HOUR), (end + 30 * HOUR, end + 31 * HOUR)]))
        world.lives(quiet("quill", start, DECEMBER.end, [(end - HOUR, end + HOUR)]))
        world.truths["quill"].completions = [end - 40 * MINUTE, end + 40 * MINUTE]
        await world.begins("orchard", "my-jarvis/usage")
        await world.begins("quill", "ai-diy/standard")
        for hour in (-5, -1, 1, 3):
            await world.to(end + hour * HOUR + 12 * MINUTE)
            assert (await world.reconcile()).is_well
        before = {month: bills_of(world.store, "main", None, Window.month(month))[0] for month in ("2026-11", "2026-12")}
        assert _seconds(before["2026-11"], "orchard") == 3 * 3600
        assert _seconds(before["2026-12"], "orchard") == 2 * 3600
        closing = await world.close_month("2026-11")
        assert closing.is_well, closing.document()
        opening = [entry for entry in world.ledger().read("account") if entry.kind == "opening"]
        assert opening
        await world.to(end + 32 * HOUR)
        result = await world.reconcile()
        assert {source: one.reason for source, one in result.sources.items() if not one.complete}.keys() <= {"cloudflare"}
        whole = _without_openings(world)
        assert result.bills == bills_of(whole, "main", None, DECEMBER)[0]
        assert _seconds(result.bills, "orchard") == 3 * 3600

    run(tmp_path, body, start=NOVEMBER.end - 2 * DAY)


def _seconds(bills: Any, tenant: str) -> int:
    [line] = [line for bill in bills if bill.tenant == tenant for line in bill.lines if line.meter == "running_hours"]
    return int(line.exact_quantity * 3600) if line.plan == "my-jarvis/usage" else int(line.exact_quantity)


def _without_openings(world: World) -> Any:
    """The same ledger as if no month had ever been opened."""
    store = MemoryStore()
    ledger = Ledger(store, "main")
    for source in ("account", "app", "billing", "cloudflare", "fly", "gateway", "pass"):
        for segment in world.ledger().segments(source):
            entries = list(segment.entries())
            if not any(entry.kind == "opening" for entry in entries):
                ledger.remember(source, entries[0].at, entries)
    return store


def test_the_first_pass_of_a_month_before_the_close_still_tells_of_the_month_before(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        start, end = NOVEMBER.end - DAY, NOVEMBER.end
        world.lives(quiet("orchard", start, DECEMBER.end, [(start + HOUR, end + HOUR)]))
        await world.begins("orchard", "my-jarvis/usage")
        await world.to(end - 2 * HOUR)
        await world.reconcile()
        await world.to(end + 20 * MINUTE)
        result = await world.reconcile()
        assert result.month == "2026-12"
        assert result.pushed == 2  # November's last two hours, and December's first minutes
        assert sorted(value for _, value in world.sent()) == [2, 208, 230]
        [invoice, *_] = [one for one in await world.invoices("orchard") if one["billing_reason"] == "subscription_cycle"]
        assert (invoice["status"], invoice["auto_advance"]) == ("draft", False)  # held, so that it does not go out by itself
        assert not result.troubles
        await world.to(end + 4 * DAY)
        assert [str(trouble) for trouble in (await world.reconcile()).troubles] == [
            "2026-11 is over and not closed, and until it is, its invoices are held. Run `rowhouse close 2026-11`."
        ]

    run(tmp_path, body, start=NOVEMBER.end - DAY)


def test_a_frozen_month_is_left_alone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        start, end = NOVEMBER.end - DAY, NOVEMBER.end
        world.lives(quiet("orchard", start, DECEMBER.end, [(start + HOUR, end - HOUR)]))
        await world.begins("orchard", "my-jarvis/usage")
        await world.to(end - 5 * HOUR)
        await world.reconcile()
        await world.to(end + 20 * MINUTE)
        world.ledger().remember("billing", world.now(), [Entry("close", world.now(), subject="2026-11", state="frozen", id="by-hand")])
        sent = world.sent()
        result = await world.reconcile()
        assert (result.pushed, world.sent()) == (0, sent)
        assert result.remembered

    run(tmp_path, body, start=NOVEMBER.end - DAY)


def test_a_machine_of_somebody_without_a_plan_is_remembered_is_on_nobodys_bill_and_stops_nobody(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await founded(world)
        world.lives(quiet("stranger", BORN, DECEMBER.end, [(BORN, BORN + HOUR)]))
        await world.join("stranger", plan_of("aether/pro"))
        await world.to(NOON)
        result = await world.reconcile()
        assert set(totals(result)) == {"orchard", "quill"}
        assert any(entry.tenant == "stranger" for entry in world.ledger().read("fly"))  # remembered, for when it is noted

    run(tmp_path, body)


def test_months_are_closed_from_the_first_that_was_observed_on_and_in_their_order(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        start, end = NOVEMBER.end - DAY, NOVEMBER.end
        world.lives(quiet("orchard", start, DECEMBER.end + DAY, [(end - 3 * HOUR, end - HOUR)]))
        await world.begins("orchard", "my-jarvis/usage")
        for moment in (end - 2 * HOUR, end + HOUR, DECEMBER.end - HOUR, DECEMBER.end + HOUR):
            await world.to(moment)
            await world.reconcile()
        with pytest.raises(CloseError, match="nothing was observed in 2026-10"):
            await world.close_month("2026-10")
        with pytest.raises(CloseError, match="2026-11 was observed and is not closed"):
            await world.close_month("2026-12")
        assert [(await world.close_month(month)).state for month in ("2026-11", "2026-12")] == ["done", "done"]

    run(tmp_path, body, start=NOVEMBER.end - DAY)
