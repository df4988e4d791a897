"""The export: a stranger computes every invoice again from it; the same ledger gives the same bytes; only closed hours, only what is new."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rowhouse.spec.money import minor_units
from rowhouse.usage import export_tables
from rowhouse.usage.bills import NoLedgerError, bills_of
from rowhouse.usage.entries import LedgerError
from rowhouse.usage.export import Exported, ExportError, check, export, written_at
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import DAY_MS, HOUR_MS
from rowhouse.vendors.store_file import FileStore
from tests.usage.books import (
    NOVEMBER,
    at,
    counter_rows,
    folder,
    machine_rows,
    pass_row,
    plan_row,
    purchase_row,
    volume_rows,
    write,
)
from tests.usage.simulator import make_world

HERE = Path(__file__).parent
PLANS = (
    *("ai-diy/standard", "aether/pro", "aether/free", "aether/team", "llamasketch/free", "llamasketch/starter", "llamasketch/unlimited"),
    *("my-jarvis/usage", "ai-diy-roadmap/hourly", "ai-diy-roadmap/basic"),
)
BATCH = 12


def recomputed(place, month="2026-11"):
    """What a process that cannot import rowhouse makes of an export."""
    ran = subprocess.run(
        [sys.executable, HERE / "recompute_export.py", str(place), "main", month], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def told(bills):
    """Our bills in the words of the recomputation."""
    found = {}
    for bill in bills:
        cents = {}
        for line in bill.lines:
            key = (line.segment, line.meter)
            cents[key] = cents.get(key, 0) + minor_units(line.amount)
        own = sorted([segment, meter, amount] for (segment, meter), amount in cents.items() if segment is not None)
        packs = sorted([segment, meter, amount] for (segment, meter), amount in cents.items() if segment is None)
        found[bill.tenant] = {
            "cents": sum(cents.values()),
            "lines": own + packs,
            "credits_left": {meter: int(left) for meter, left in bill.credits_left.items()},
        }
    return found


def refusals(bills):
    return {(bill.tenant, meter): refused for bill in bills for meter, refused in bill.refused.items()}


def same(place, bills):
    """Whether the recomputation agrees with us to the cent."""
    theirs = recomputed(place)
    for (tenant, meter), refused in refusals(bills).items():
        top, bottom = theirs[tenant]["refused"].pop(meter)
        assert abs(Fraction(top, bottom) - Fraction(refused)) < Fraction(1, 10**8), (tenant, meter)
    assert all(not invoice.pop("refused") for invoice in theirs.values())
    assert theirs == told(bills)


def rows_of(seeds):
    """Worlds of the last days of November on many plans, with packs of credits bought in between."""
    rows = []
    for seed in seeds:
        world = make_world(seed, NOVEMBER.end - 3 * DAY_MS, NOVEMBER.end, PLANS)
        rows += world.rows
        rng = random.Random(seed)
        for number in range(rng.choice((0, 0, 1, 2))):
            when = rng.randint(NOVEMBER.end - 5 * DAY_MS, NOVEMBER.end + HOUR_MS)
            expires = rng.choice((None, when + rng.randint(1, 4 * DAY_MS)))
            rows.append(purchase_row(world.tenant, when, f"pay_{seed}_{number}", expires_at=expires))
    return [*rows, pass_row(NOVEMBER.end + 5 * HOUR_MS)]


@settings(max_examples=2, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
@given(seeds=st.lists(st.integers(0, 2**40), min_size=BATCH, max_size=BATCH, unique=True))
def test_law_7_a_process_without_our_code_computes_each_invoice_from_the_export_alone(tmp_path_factory, seeds):
    place = tmp_path_factory.mktemp("law7")
    ledger = write(folder(place), rows_of(seeds))
    export(ledger, FileStore(place / "out"))
    bills, context = bills_of(ledger.store, "main", None, NOVEMBER)
    assert context.failed == {}
    assert len(bills) == BATCH
    same(place / "out", bills)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """A dozen worlds in one ledger, among them one whose plan changed while it ran; and their bills."""
    ledger = write(folder(tmp_path_factory.mktemp("worlds")), rows_of(range(24, 36)))
    return ledger, bills_of(ledger.store, "main", None, NOVEMBER)[0]


@pytest.mark.parametrize(
    ("query", "old", "new"),
    [
        ("_usage_hours", "least(s.end_ms, g.end_ms, ", "least(s.end_ms, "),  # a plan's use goes on after it was changed
        ("_usage_hours", "THEN ms ELSE 0", "THEN ms - ms % 60000 ELSE 0"),  # hours are cut to the minute
    ],
)
def test_law_7_notices_a_mistake_in_the_export(tmp_path, monkeypatch, worlds, query, old, new):
    ledger, bills = worlds
    right = getattr(export_tables, query)
    assert old in right(NOVEMBER.end)
    monkeypatch.setattr(export_tables, query, lambda until: right(until).replace(old, new))
    export(ledger, FileStore(tmp_path / "out"), since="2026-11")
    with pytest.raises(AssertionError):
        same(tmp_path / "out", bills)


def quiet_rows(until, born=NOVEMBER.start):
    """One tenant: 22 hours, 12 GB, a hundred generations that nobody bills."""
    rows = [plan_row("acme", born, "aether/pro"), *volume_rows("acme", born, 20, "12", until)]
    rows += machine_rows("acme", born, [(at(2026, 11, 3, 23, 30), at(2026, 11, 4, 21, 30))], until)
    return [*rows, *counter_rows("acme", "builds", [(born, 0), (at(2026, 11, 5, 0, 30), 100)]), pass_row(until)]


@dataclass
class Autumn:
    """An end of October, a November and the first hour of December: what was exported of them, and from where."""

    rows: list
    ledger: Ledger
    out: Path
    done: Exported


@pytest.fixture(scope="module")
def autumn(tmp_path_factory):
    """For tests that only read it, or work on a copy."""
    place, rows = tmp_path_factory.mktemp("autumn"), quiet_rows(at(2026, 12, 1, 1), NOVEMBER.start - DAY_MS)
    ledger = write(folder(place), rows)
    return Autumn(rows, ledger, place / "out", export(ledger, FileStore(place / "out")))


def content(place):
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and ".tmp" not in path.parts and ".lock" not in path.name
    }


def test_a_month_can_be_read_with_any_tool_and_its_invoice_computed(autumn):
    assert (autumn.done.months, autumn.done.without_bill) == (["2026-10", "2026-11", "2026-12"], {})
    same(autumn.out, bills_of(autumn.ledger.store, "main", None, NOVEMBER)[0])
    month = autumn.out / "export/main/2026-11"
    ran = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=month, check=False, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    hours = duckdb.execute(
        f"SELECT hour, running_ms FROM read_parquet('{month}/usage_hours/*.parquet') WHERE running_ms > 0 ORDER BY 1"
    ).fetchall()
    assert (hours[0], len(hours)) == ((at(2026, 11, 3, 23), HOUR_MS // 2), 23)
    lines = duckdb.execute(f"SELECT meter, amount FROM '{month}/bill_lines.parquet' ORDER BY line").fetchall()
    assert [(meter, str(amount)) for meter, amount in lines] == [
        ("base", "20.00"),
        ("builds", "0.00"),
        ("running_hours", "0.00"),
        ("storage_gb", "1.00"),
    ]
    assert check(FileStore(autumn.out), "main") == []


def test_the_same_ledger_gives_the_same_bytes_from_another_process_another_order_and_with_doubled_lines(tmp_path, autumn):
    other = random.Random(7).sample([*autumn.rows, *autumn.rows], 2 * len(autumn.rows))
    write(folder(tmp_path / "b"), other)
    code = (
        "import sys; from pathlib import Path; from rowhouse.usage.export import export; from rowhouse.usage.ledger import Ledger;"
        "from rowhouse.vendors.store_file import FileStore as F; p = Path(sys.argv[1]); export(Ledger(F(p / 'store'), 'main'), F(p / 'out'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True)
    one, two = content(autumn.out), content(tmp_path / "b/out")
    roots = [json.loads(files.pop("export/main/manifest.json")) for files in (one, two)]
    assert one == two
    assert roots[0]["months"] == roots[1]["months"]
    assert roots[0]["heads"] != roots[1]["heads"]  # the lines stand in another order, so the chains differ


def test_running_again_writes_nothing_and_an_hour_later_only_that_day(tmp_path):
    store, target = folder(tmp_path), FileStore(tmp_path / "out")
    first = at(2026, 11, 5, 10, 20)
    ledger = write(store, quiet_rows(first), per=HOUR_MS)
    done = export(ledger, target)
    assert done.closed_until == at(2026, 11, 5, 10)
    assert export(ledger, target).written == []
    later = first + HOUR_MS
    write(store, [*machine_rows("acme", NOVEMBER.start, [], later)[-1:], pass_row(later)], per=HOUR_MS)
    again = export(Ledger(store, "main"), target)
    assert again.closed_until == at(2026, 11, 5, 11)
    assert {key.removeprefix("export/main/2026-11/") for key in again.written} == {
        "usage_hours/2026-11-05.parquet",
        "SHA256SUMS",
        "manifest.json",
        "export/main/manifest.json",
    }


@pytest.mark.long
def test_a_month_is_written_anew_until_the_next_one_is_closed(tmp_path):
    """The close of the next month may still adjust it, and what it adjusts must be in the export."""

    def closed(month, when, state="done"):
        return {"kind": "close", "subject": month, "state": state, "at": when, "id": f"{month}.{state}", "data": {"number": 1}}

    store, target = folder(tmp_path), FileStore(tmp_path / "out")
    until = at(2027, 1, 1, 3)
    write(store, [*quiet_rows(until), closed("2026-11", at(2026, 12, 1, 1))])
    assert export(Ledger(store, "main"), target).months == ["2026-11", "2026-12", "2027-01"]
    assert export(Ledger(store, "main"), target).months == ["2026-11", "2026-12", "2027-01"]
    write(store, [closed("2026-12", until + HOUR_MS, "partial"), pass_row(until + HOUR_MS)], per=HOUR_MS)
    for _ in range(2):
        assert export(Ledger(store, "main"), target).months == ["2026-11", "2026-12", "2027-01"]
    until += HOUR_MS
    write(store, [closed("2026-12", until + HOUR_MS), pass_row(until + HOUR_MS)], per=HOUR_MS)
    assert export(Ledger(store, "main"), target).months == ["2026-11", "2026-12", "2027-01"]
    assert export(Ledger(store, "main"), target).months == ["2026-12", "2027-01"]


def test_only_hours_that_every_source_vouches_for_are_in_it(tmp_path):
    until = at(2026, 11, 4, 20, 40)
    rows = [row for row in quiet_rows(until) if row["kind"] != "pass"]
    ledger = write(folder(tmp_path), [*rows, pass_row(until - HOUR_MS), pass_row(until, complete=False)], per=HOUR_MS)
    export(ledger, FileStore(tmp_path / "out"))
    month = tmp_path / "out/export/main/2026-11"
    assert duckdb.execute(f"SELECT max(hour) FROM read_parquet('{month}/usage_hours/*.parquet')").fetchall() == [(at(2026, 11, 4, 18),)]
    assert not (month / "bill_lines.parquet").exists()  # the month is not over
    assert json.loads((month / "manifest.json").read_bytes())["complete"] is False


def test_the_manifest_names_the_heads_of_the_ledger_and_each_month_the_one_before(autumn):
    out = autumn.out / "export/main"
    root = json.loads((out / "manifest.json").read_bytes())
    assert root["heads"] == autumn.ledger.heads()
    manifests = [(out / month / "manifest.json").read_bytes() for month in root["months"]]
    hashes = [hashlib.sha256(data).hexdigest() for data in manifests]
    assert hashes == list(root["months"].values())
    assert [json.loads(data)["before"] for data in manifests] == ["", *hashes[:-1]]


@pytest.mark.parametrize("what", ["changed", "missing"])
def test_a_file_that_was_touched_is_named_and_the_next_run_puts_it_back(tmp_path, autumn, what):
    target = FileStore(shutil.copytree(autumn.out, tmp_path / "out"))
    key = "export/main/2026-11/plans.parquet"
    if what == "changed":
        target.put(key, b"PAR1 and nothing else")
    else:
        target.delete(key)
    assert [line.split(":")[0] for line in check(target, "main")] == [key]
    assert export(autumn.ledger, target).written == [key]
    assert check(target, "main") == []


def test_what_is_killed_in_between_is_completed_by_the_next_run(tmp_path):
    ledger = write(folder(tmp_path), quiet_rows(at(2026, 11, 4, 10)))
    whole = FileStore(tmp_path / "whole")
    count = len(export(ledger, whole).written)

    class Dying(FileStore):
        left = 0

        def put(self, key, data, **conditions):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return super().put(key, data, **conditions)

    for left in (1, count - 2, count - 1):
        place = tmp_path / f"killed-{left}"
        target = Dying(place)
        target.left = left
        with pytest.raises(KeyboardInterrupt):
            export(ledger, target)
        export(ledger, FileStore(place))
        assert content(place) == content(tmp_path / "whole")


def test_a_segment_that_cannot_be_read_writes_nothing_and_is_named(tmp_path):
    store = folder(tmp_path)
    write(store, quiet_rows(at(2026, 11, 5, 10)))
    key = store.list("ledger/main/fly/2026-11/")[1][0]
    store.put(key, store.get(key).data[:-9])
    with pytest.raises(LedgerError, match=key):
        export(Ledger(store, "main"), FileStore(tmp_path / "out"))
    assert content(tmp_path / "out") == {}


def test_without_a_ledger_it_says_what_to_run(tmp_path):
    with pytest.raises(NoLedgerError, match="rowhouse reconcile"):
        export(Ledger(folder(tmp_path), "main"), FileStore(tmp_path / "out"))
    with pytest.raises(ExportError, match="rowhouse export"):
        check(FileStore(tmp_path / "out"), "main")


def test_a_folder_may_be_named_as_one(tmp_path):
    assert written_at(str(tmp_path)) == tmp_path.as_uri()
    assert written_at("s3://bucket/exports") == "s3://bucket/exports"
