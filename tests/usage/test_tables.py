"""The ledger's entries as a table, by way of files on this machine that may be lost, shared or cut at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rowhouse.usage import tables
from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.segments import window_of
from tests.usage.stores import HOUR, START, MemoryStore, filled, poll, rows


def test_a_full_disk_for_the_cache_is_told_and_the_ledger_is_as_it_was(tmp_path: Path):
    full = tmp_path / "cache"
    full.write_text("a file where the folder should be")
    ledger = Ledger(filled(MemoryStore(), 2).store, "main", cache=full / "ledger")
    with pytest.raises(LedgerError, match="cache"):
        rows(ledger)


def test_a_table_that_was_made_once_is_made_again_without_fetching(tmp_path: Path):
    store = MemoryStore()
    first = rows(filled(store, 6, step=6))
    with_cache = Ledger(store, "main", cache=tmp_path)
    assert rows(with_cache) == first
    store.calls.clear()
    assert rows(with_cache) == first
    assert [call for call in store.calls if call.startswith("get") and "head" not in call] == []
    assert rows(Ledger(store, "main", cache=tmp_path)) == first


def test_two_runs_that_make_one_file_at_once_leave_the_one_that_was_there_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever has read its metadata reads its rows a moment later, by its name: another file there, with its rows in another order, is none."""
    store = MemoryStore()
    first = rows(filled(store, 6, step=6))
    convert = tables._Maker._convert

    def slow(maker: Any, source: str, files: Any, path: Path, count: int) -> None:
        convert(maker, source, files, path, count)
        if not any(tmp_path.glob("days/*/*.parquet")):
            monkeypatch.undo()
            Ledger(store, "main", cache=tmp_path).table(duckdb.connect())
            taken.update({file: file.stat().st_ino for file in tmp_path.glob("days/*/*.parquet")})

    taken: dict[Path, int] = {}
    monkeypatch.setattr(tables._Maker, "_convert", slow)
    assert rows(Ledger(store, "main", cache=tmp_path)) == first
    assert taken
    assert {file: file.stat().st_ino for file in tmp_path.glob("days/*/*.parquet")} == taken


def test_a_file_of_the_cache_that_lost_its_end_is_made_again(tmp_path: Path):
    store = MemoryStore()
    first = rows(filled(store, 6, step=6))
    ledger = Ledger(store, "main", cache=tmp_path)
    assert rows(ledger) == first
    for file in tmp_path.glob("days/*/*.parquet"):
        file.write_bytes(file.read_bytes()[:-20])
    assert rows(ledger) == first


def test_cells_that_share_a_cache_leave_each_others_files_alone(tmp_path: Path):
    store, ledgers = MemoryStore(), []
    for number in range(6):
        at = START + number * HOUR
        ledger = Ledger(store, f"cell-{number}", cache=tmp_path)
        ledger.append("fly", window_of(at, 3600), [poll(at, f"t-{number}")])
        ledgers.append(ledger)
    assert [len(rows(ledger)) for ledger in ledgers] == [1] * 6
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("days/*/*.parquet")}
    assert [len(rows(ledger)) for ledger in ledgers] == [1] * 6
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("days/*/*.parquet")} == made


def test_a_day_that_grows_is_read_anew_and_its_old_files_go(tmp_path: Path):
    store = MemoryStore()
    ledger = Ledger(store, "main", cache=tmp_path)
    for hour in range(8):
        at = START + hour * HOUR
        ledger.append("fly", window_of(at, 3600), [poll(at, f"t-{hour}")])
        assert len(rows(ledger)) == hour + 1
    assert len(list((tmp_path / "days/main").iterdir())) <= 3


def test_many_rows_stay_in_their_files_and_answer_the_same(monkeypatch: pytest.MonkeyPatch):
    ledger = filled(MemoryStore(), 3)
    few = rows(ledger)
    monkeypatch.setattr("rowhouse.usage.tables._IN_MEMORY", 1)
    with duckdb.connect() as connection:
        ledger.table(connection)
        assert connection.execute("SELECT table_type FROM information_schema.tables WHERE table_name = 'entries'").fetchone() == ("VIEW",)
        monkeypatch.undo()
        ledger.table(connection)  # a view makes way for a table
    monkeypatch.setattr("rowhouse.usage.tables._IN_MEMORY", 1)
    assert rows(ledger) == few


def test_every_column_comes_back_as_it_went_in():
    store = MemoryStore()
    odd = Entry(
        "correction",
        1,
        "t",
        "i",
        'quote" back\\slash é 漢',
        asof=-5,
        state="s",
        value="-0.000000001",
        id="x",
        data={"k": ['"', "\n", 2**60, None]},
    )
    Ledger(store, "main").append("billing", window_of(START, 3600), [odd, Entry("pass", 2)])
    with duckdb.connect() as connection:
        Ledger(store, "main").table(connection)
        found = connection.execute(
            'SELECT tenant, instance, subject, "at", "asof", state, value, id, data FROM entries ORDER BY "at"'
        ).fetchall()
    assert found[0][:8] == ("t", "i", odd.subject, 1, -5, "s", "-0.000000001", "x")
    assert json.loads(found[0][8]) == odd.data
    assert found[1] == (None, None, None, 2, None, None, None, None, None)
