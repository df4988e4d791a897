"""What passes tell Stripe over a month's end, with a real ledger between them; what they saw and rated is given."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rowhouse.usage.bills import Context, Freshness, connect
from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import Bill, Window
from rowhouse.usage.passes import PassResult, Pipeline, reconcile
from rowhouse.usage.segments import window_of
from rowhouse.vendors.store import open_store
from tests.usage.billing_support import DECEMBER, Business, at, run, running
from tests.usage.rating_support import HOUR, plan_of, used

PRO = plan_of("aether/pro")


class Desk(Pipeline):
    """A pipeline whose looks and bills are those of the test."""

    def __init__(self, shop: Business, folder: Path) -> None:
        super().__init__(ledger=Ledger(open_store(folder.as_uri()), "main"), sources=list, sink=shop.sink())
        self.shop = shop

    async def look(self) -> tuple[Any, bool]:
        now = self.shop.now()
        self.ledger.append("pass", window_of(now, 60), [Entry("pass", now, state="complete")])
        return SimpleNamespace(now=now, completeness={}, findings=(), machine_clock_off_s=0.0, calls={}), True

    def read(self, month: str) -> tuple[list[Bill], Context]:
        connection, period = connect(), Window.month(month)
        self.ledger.table(connection)  # as long as the month before is not closed, all of it is read
        fresh = Freshness(self.shop.now() - 600_000, None, None, {}, {}, None)
        return self.shop.books.bills.get(month, []), Context(period, connection, {}, {}, fresh)


def hour(shop: Business, folder: Path) -> Any:
    """A new process's pass."""
    return reconcile(Desk(shop, folder))


def events(shop: Business) -> list[tuple[int, int]]:
    return sorted((one.timestamp, int(one.value)) for found in shop.vendor.usage.readings.values() for one in found)


def test_corrections_after_a_months_end_each_take_a_second_of_their_own(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        for moment, hours in (
            (at(2026, 11, 30, 23), 210),
            (at(2026, 12, 1, 0, 30), 211),
            (at(2026, 12, 1, 1, 30), 212),
            (at(2026, 12, 1, 2, 30), 213),
        ):
            await shop.to(moment)
            shop.bill(running(PRO, hours))
            shop.bill(used(PRO, DECEMBER), month="2026-12")
            result: PassResult = await hour(shop, tmp_path)
            assert (result.pushed, result.troubles) == (1, [])
        seconds = [second for second, _ in events(shop)]
        assert len(set(seconds)) == len(seconds) == 4
        assert [value for _, value in events(shop)] == sorted(value for _, value in events(shop))

    run(body)


def test_a_pass_checks_what_the_one_before_sent_and_the_next_sends_it_again(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        noon = at(2026, 11, 20, 12)
        shop.bill(running(PRO, 210))
        await shop.to(noon)
        await hour(shop, tmp_path)
        for readings in shop.vendor.usage.readings.values():
            readings.clear()  # Stripe lost it
        pushed = []
        for step in range(1, 6):
            await shop.to(noon + step * HOUR)
            result = await hour(shop, tmp_path)
            pushed.append((result.pushed, len(result.troubles)))
        assert pushed[0] == (0, 1)
        assert pushed[1:] == [(1, 0), (0, 0), (0, 0), (0, 0)]

    run(body)


def test_an_idle_fleet_is_not_asked_about_again_and_again(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 210))
        asked = []
        for step in range(6):
            await shop.to(at(2026, 11, 20, 12 + step))
            await hour(shop, tmp_path)
            asked.append(sum("event_summaries" in entry.path for entry in shop.journal.entries))
        assert asked[-1] == asked[-3] <= 2

    run(body)


def test_a_frozen_month_is_left_to_its_close(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await shop.join("acme", PRO)
        shop.bill(running(PRO, 210))
        await shop.to(at(2026, 11, 30, 12))
        await hour(shop, tmp_path)
        await shop.to(at(2026, 12, 1, 1))
        desk = Desk(shop, tmp_path)
        await asyncio.to_thread(
            desk.ledger.remember, "billing", shop.now(), [Entry("close", shop.now(), subject="2026-11", state="frozen")]
        )
        shop.bill(running(PRO, 250))
        assert (await hour(shop, tmp_path)).pushed == 0

    run(body)
