"""Many passes of one process: what it keeps in mind is what it would read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import duckdb
import pytest

from rowhouse.usage import passes
from rowhouse.usage.bills import connect
from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.observations import Told, VendorTime
from rowhouse.usage.passes import Pipeline, reconcile
from rowhouse.usage.previous import Previous
from rowhouse.usage.sink_csv import CsvSink
from rowhouse.vendors.store_file import FileStore
from tests.usage.billing_support import at

NOON = at(2026, 11, 20, 12)
HOUR = 3_600_000


class Hourly:
    """A vendor with one machine that changes each hour; it notes what it was told of the past."""

    name, tells_time, calls, ahead_s = "fly", True, 0, 0.0

    def __init__(self) -> None:
        self.now = NOON
        self.knew: list[int | None] = []

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        self.knew.append(previous.at)
        data = {"updated_at": self.now, "app": "acme-main"}
        told.part("machines").entries.append(Entry("machine", self.now, "acme", "main", "m1", state="started", id=str(self.now), data=data))
        told.part("machines").vouch(self.now)
        time.heard(self.now)


def test_a_process_that_makes_many_passes_keeps_in_mind_what_the_ledger_says_and_sees_what_others_did(tmp_path: Path) -> None:
    vendor = Hourly()

    def pipeline() -> Pipeline:
        store = FileStore(tmp_path / "store", durable=False)
        return Pipeline(Ledger(store, "main", cache=tmp_path / "cache"), lambda: [vendor], CsvSink(store))

    async def body() -> None:
        one, other = pipeline(), pipeline()
        for by in (one, one, other, one, one):
            _, remembered = await by.look()
            assert remembered
            connection = connect()
            by.ledger.table(connection)
            assert by._previous() == Previous.from_table(connection)
            vendor.now += HOUR

    asyncio.run(body())
    assert vendor.knew == [None, NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]


def test_passes_leave_no_connection_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[duckdb.DuckDBPyConnection] = []

    def noted() -> duckdb.DuckDBPyConnection:
        made.append(connect())
        return made[-1]

    monkeypatch.setattr(passes, "connect", noted)
    store, vendor = FileStore(tmp_path / "store", durable=False), Hourly()
    pipeline = Pipeline(Ledger(store, "main", cache=tmp_path / "cache"), lambda: [vendor], CsvSink(store))
    assert asyncio.run(reconcile(pipeline)).remembered
    pipeline.open_next("2026-11")
    assert len(made) >= 4
    for connection in made:
        with pytest.raises(duckdb.ConnectionException):
            connection.execute("SELECT 1")
