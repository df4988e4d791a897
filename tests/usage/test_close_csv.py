"""The same close without Stripe: one file a month, the same bytes for the same bills, corrections in the next one."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from rowhouse.usage.sink_csv import COLUMNS, CsvSink, CsvSinkError, key_of
from rowhouse.vendors.store import Store, open_store
from tests.usage.billing_support import DECEMBER, Business, Killed, at, run, running
from tests.usage.rating_support import HOUR, lot, plan_of, used

PRO, TEAM, STARTER = plan_of("aether/pro"), plan_of("aether/team"), plan_of("llamasketch/starter")
CLOSING = DECEMBER.start + 20 * 60_000
MIDDLE = at(2026, 11, 16)


async def month(shop: Business) -> None:
    shop.bill(used(PRO, end=MIDDLE, running=110 * HOUR), used(TEAM, segment=1, start=MIDDLE, running=240 * HOUR))
    shop.bill(used(STARTER, tenant="quill"), lots=[lot()])
    shop.bill(running(PRO, 1, "brook"))
    await shop.to(CLOSING)


def store_in(folder: Path) -> Store:
    return open_store(folder.as_uri())


def rows(store: Store, month: str = "2026-11") -> list[dict[str, str]]:
    blob = store.get(key_of(month))
    assert blob is not None
    return list(csv.DictReader(io.StringIO(blob.data.decode())))


def test_a_closed_month_is_a_file_whose_rows_add_up_to_the_bills(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await month(shop)
        store = store_in(tmp_path)
        done = await shop.close(sink=CsvSink(store))
        assert (done.state, done.blocked, done.totals["usd"]) == ("done", [], Decimal("69.00"))
        found = rows(store)
        assert tuple(found[0]) == COLUMNS
        assert sum(Decimal(row["amount"]) for row in found) == Decimal("69.00")
        assert [row["amount"] for row in found if row["tenant"] == "acme"] == ["35.00", "1.00"]
        assert [row["line"].partition("/")[0] for row in found if row["tenant"] == "quill"] == ["base", "pack:credits-500"]
        assert found == sorted(found, key=lambda row: row["tenant"])

    run(body)


def test_the_same_bills_give_the_same_bytes_whoever_was_killed_on_the_way(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await month(shop)
        first, second = store_in(tmp_path / "one"), store_in(tmp_path / "two")
        await shop.close(sink=CsvSink(first))
        for write in range(1, 6):
            shop.books.entries.clear()
            shop.books.die_at = shop.books.writes + write
            with pytest.raises(Killed):
                await shop.close(sink=CsvSink(second))
            shop.books.die_at = 0
            if second.get(key_of("2026-11")) is not None:
                break
        assert (await shop.close(sink=CsvSink(second))).state == "done"
        one, two = first.get(key_of("2026-11")), second.get(key_of("2026-11"))
        assert one is not None
        assert two is not None
        assert one.data == two.data

    run(body)


def test_late_usage_is_an_adjustment_row_of_the_next_file(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await month(shop)
        store = store_in(tmp_path)
        await shop.close(sink=CsvSink(store))
        before = rows(store)
        shop.bill(running(PRO, 205, "brook"))
        shop.bill(used(PRO, DECEMBER, tenant="brook"), month="2026-12")
        await shop.to(DECEMBER.end + 20 * 60_000)
        done = await shop.close("2026-12", CsvSink(store))
        assert (done.state, [item.cents for _, item in done.adjustments]) == ("done", [50])
        late = [row for row in rows(store, "2026-12") if row["month"] == "2026-11"]
        assert [(row["tenant"], row["amount"]) for row in late] == [("brook", "0.50")]
        assert late[0]["text"].startswith("Adjustment for 2026-11: ")
        assert rows(store) == before
        assert [entry.value for entry in shop.books.of_kind("correction")] == ["0.50"]

    run(body)


def test_a_file_that_somebody_edited_into_nonsense_is_named(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await month(shop)
        store = store_in(tmp_path)
        store.put(key_of("2026-10"), ",".join(COLUMNS).encode() + b"\nacme,2026-10,base,x,yesterday,today,1.00,usd\n")
        with pytest.raises(CsvSinkError, match=r"invoices/2026-10\.csv, line 2"):
            await shop.close(sink=CsvSink(store))

    run(body)


def test_another_closes_file_is_not_written_over(tmp_path: Path) -> None:
    async def body(shop: Business) -> None:
        await month(shop)
        store = store_in(tmp_path)
        sink = CsvSink(store)
        finish = sink.finish

        async def late(month: str) -> None:
            store.put(key_of(month), b"theirs")
            await finish(month)

        sink.finish = late  # type: ignore[method-assign]
        with pytest.raises(CsvSinkError, match="by another close"):
            await shop.close(sink=sink)

    run(body)
