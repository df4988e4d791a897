"""The month that a cell closed last, read from a real ledger and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from rowhouse.review.money import money_of
from rowhouse.review.money_concern import Wanted, wanted
from rowhouse.review.money_month import last_closed, months_closed
from rowhouse.usage.bills import bills_of
from rowhouse.usage.costs import costs_of
from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import Window
from rowhouse.vendors.store import Store
from tests.review.money_support import BOOK, LOOSE, acme, instance, with_plan
from tests.usage.billing_support import DECEMBER, NOVEMBER, STACK, at
from tests.usage.books import counter_rows, folder, machine_rows, pass_row, plan_row, purchase_row, volume_rows, write
from tests.usage.rating_support import plan_of, shipped
from tests.usage.world_pipeline import DAY, HOUR, MINUTE, World, quiet

START = NOVEMBER.end - 2 * DAY


def run(tmp_path: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(World(START, tmp_path / "cache"))

    asyncio.run(main())


async def two_closed_days(world: World) -> None:
    """Orchard ran 20 of the last 48 hours of November on my-jarvis/usage, Quill one on ai-diy/standard; November was closed."""
    end = NOVEMBER.end
    world.lives(quiet("orchard", START, DECEMBER.end, [(start, start + 10 * HOUR) for start in (START + HOUR, START + 25 * HOUR)]))
    world.lives(quiet("quill", START, DECEMBER.end, [(end - 2 * HOUR, end - HOUR)]))
    await world.begins("orchard", "my-jarvis/usage")
    await world.begins("quill", "ai-diy/standard")
    for hour in (-20, -1, 1, 3):
        await world.to(end + hour * HOUR + 12 * MINUTE)
        result = await world.reconcile()
        assert result.is_well, result.document()
    assert (await world.close_month("2026-11")).is_well


def fleet_of_world():
    """The files of the two."""
    size = {"memory_mb": 256, "volume_gb": 5}
    held = (("orchard", "my-jarvis/usage"), ("quill", "ai-diy/standard"))
    made = [acme(id=slug, plan=plan_of(ref), instances=(instance(hostname=slug, **size),)) for slug, ref in held]
    return replace(shipped(), tenants=tuple(made))


def test_a_month_closed_on_the_local_cloud_is_replayed_to_the_cent(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await two_closed_days(world)
        before = fleet_of_world()
        usage = plan_of("my-jarvis/usage")
        after = with_plan(
            before, replace(usage, meters=tuple(replace(one, price=Decimal("0.15")) if one.is_billed else one for one in usage.meters))
        )
        month = await asyncio.to_thread(last_closed, world.store, STACK, cache=tmp_path / "cache")
        assert month is not None
        assert month.name == "2026-11"
        billed, context = bills_of(world.store, STACK, None, NOVEMBER)
        with context:
            assert month.used == context.usage
            recorded = costs_of(billed, context, BOOK)
        found = money_of(before, after, {STACK: month}, BOOK, LOOSE)
        [row] = found.rows
        assert (row.tenant, row.basis, row.month) == ("orchard", "replayed", "2026-11")
        assert (row.before.bill, row.after.bill) == (Decimal("2.00"), Decimal("3.00"))
        assert row.before.bill == next(bill.total for bill in billed if bill.tenant == "orchard")
        # What is untouched costs what the report says, but for the seats: those are counted by members here, by logins there.
        assert row.before.cost == recorded.tenants["orchard"].total
        same = money_of(before, before, {STACK: month}, BOOK, LOOSE, full=True)
        assert len(same.rows) == 2
        assert same.is_nothing

    run(tmp_path, body)


def closed(tmp_path: Path, *extra: dict[str, object], month: str = "2026-11", state: str = "done", cell: str = "main") -> Store:
    """A ledger in a folder: acme on Pro with 212.5 hours, birch on Starter with a pack, both with a volume; the month is closed."""
    window = Window.month("2026-11")
    until = window.end + HOUR
    rows = [pass_row(window.start - HOUR), *(pass_row(window.start + day * DAY) for day in range(1, 30)), pass_row(until)]
    for slug, ref in (("acme", "aether/pro"), ("birch", "llamasketch/starter"), ("cedar", "aether/free")):
        rows += [plan_row(slug, window.start - DAY, ref)]
        rows += machine_rows(slug, window.start - DAY, [(window.start + HOUR, window.start + HOUR + int(212.5 * HOUR))], until)
        rows += volume_rows(slug, window.start - DAY, 5, "2", until)
    rows += counter_rows("birch", "generations", [(window.start - HOUR, 0), (at(2026, 11, 3, 10), 2000), (at(2026, 11, 20, 10), 2150)])
    rows += [purchase_row("birch", at(2026, 11, 19), "pay_1"), *extra]
    rows += [{"kind": "close", "at": until + HOUR, "subject": month, "state": state, "id": f"{month}.{state}"}]
    store = folder(tmp_path)
    write(store, rows, cell=cell, per=30 * DAY)
    return store


def files(**plans: str):
    """Files of the three, on the plans of the ledger unless said otherwise."""
    refs = {"acme": "aether/pro", "birch": "llamasketch/starter", "cedar": "aether/free", **plans}
    made = [
        acme(id=slug, plan=plan_of(ref), instances=(instance(hostname=slug, memory_mb=256, volume_gb=5),)) for slug, ref in refs.items()
    ]
    return replace(shipped(), tenants=tuple(made))


def test_credits_bought_in_the_month_are_replayed_with_it(tmp_path: Path) -> None:
    month = last_closed(closed(tmp_path), "main")
    assert month is not None
    found = money_of(files(), files(birch="llamasketch/pro"), {"main": month}, BOOK, LOOSE)
    [row] = found.rows
    assert (row.before.bill, row.after.bill) == (Decimal("13.00"), Decimal("25.00"))
    assert month.lots["birch"][0].payment == "pay_1"


def test_a_grown_volume_is_priced_for_the_time_in_which_there_was_one(tmp_path: Path) -> None:
    month = last_closed(closed(tmp_path), "main")
    assert month is not None
    [disk] = month.volumes["acme"]
    assert (disk.gb_ms, disk.ms) == (5_000_000 * disk.ms, month.period.length)
    after = files()
    grown = replace(after.tenants[0], instances=(replace(after.tenants[0].instances[0], volume_gb=10),))
    found = money_of(files(), replace(after, tenants=(grown, *after.tenants[1:])), {"main": month}, BOOK, LOOSE)
    [row] = found.rows
    assert (row.before.parts["volumes"], row.after.parts["volumes"]) == ("0.75", "1.50")


def test_what_is_read_for_a_change_alone_gives_the_same_rows_as_all(tmp_path: Path) -> None:
    store = closed(tmp_path)
    before, after = files(), files(acme="aether/team")
    every, some = last_closed(store, "main"), last_closed(store, "main", wanted(before, after))
    assert every is not None
    assert some is not None
    assert (every.covers, some.covers is None) == (None, False)
    assert set(every.used) == {"acme", "birch", "cedar"}
    assert set(some.used) == {"acme"}
    assert money_of(before, after, {"main": some}, BOOK, LOOSE).rows == money_of(before, after, {"main": every}, BOOK, LOOSE).rows


@pytest.mark.parametrize("narrowed", [False, True])
def test_many_small_cells_together_say_what_each_says_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrowed: bool) -> None:
    """Also where two have a tenant of one name, closed different months, or were never closed; however many are metered at once."""
    wants = Wanted(frozenset({"acme"}), frozenset({"llamasketch/starter"})) if narrowed else None
    login = {"kind": "login", "tenant": "acme", "subject": "acme", "at": at(2026, 11, 5), "id": "l1", "data": {"who": "ana"}}
    older = {"kind": "close", "at": NOVEMBER.end, "subject": "2026-10", "state": "done", "id": "2026-10.done"}
    stores = {
        "one": closed(tmp_path / "one", login, cell="one"),
        "two": closed(tmp_path / "two", purchase_row("birch", at(2026, 11, 20), "pay_2"), cell="two"),
        "three": closed(tmp_path / "three", older, state="frozen", cell="three"),
        "four": closed(tmp_path / "four", state="frozen", cell="four"),
        "five": folder(tmp_path / "five"),
    }
    ledgers = [Ledger(store, cell) for cell, store in stores.items()]
    alone = {cell: last_closed(store, cell, wants) for cell, store in stores.items()}
    assert [cell for cell, month in alone.items() if month is None] == ["four", "five"]
    assert {month.name for month in alone.values() if month is not None} == {"2026-11", "2026-10"}
    for at_once in (1, 2_000_000):
        monkeypatch.setattr("rowhouse.review.money_month._AT_ONCE", at_once)
        together = months_closed(ledgers, wants)
        assert together == {cell: month for cell, month in alone.items() if month is not None}
    assert together["one"].people
    assert {lot.payment for lot in together["two"].lots["birch"]} == {"pay_1", "pay_2"}


def test_who_was_on_a_changed_plan_in_the_month_is_read_too(tmp_path: Path) -> None:
    month = last_closed(closed(tmp_path), "main", Wanted(frozenset({"acme"}), frozenset({"aether/free"})))
    assert month is not None
    assert set(month.used) == {"acme", "cedar"}
    assert month.covers == {"acme", "cedar"}


@pytest.mark.parametrize("state", ["frozen", "pushed", "held", "waiting"])
def test_a_month_whose_close_did_not_come_to_its_end_is_none(tmp_path: Path, state: str) -> None:
    assert last_closed(closed(tmp_path, state=state), "main") is None


def test_without_a_ledger_there_is_no_month(tmp_path: Path) -> None:
    assert last_closed(folder(tmp_path), "main") is None


def test_of_several_closed_months_it_is_the_latest_also_when_that_was_long_ago(tmp_path: Path) -> None:
    store = closed(tmp_path, {"kind": "close", "at": NOVEMBER.end, "subject": "2026-10", "state": "done", "id": "2026-10.done"})
    later = at(2027, 4, 2)
    Ledger(store, "main").remember("billing", later, [Entry("close", later, subject="2027-03", state="frozen", id="x")])
    month = last_closed(store, "main")
    assert month is not None
    assert month.name == "2026-11"


def test_a_partial_close_counts_because_its_bills_are_fixed(tmp_path: Path) -> None:
    month = last_closed(closed(tmp_path, state="partial"), "main")
    assert month is not None
    assert month.name == "2026-11"
