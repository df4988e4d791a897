"""From the ledger to bills, with what earlier months left."""

from decimal import Decimal

import pytest

from rowhouse.usage.bills import NoLedgerError, bills_of, connect, load, openings, reopenings
from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from tests.usage.books import (
    DECEMBER,
    NOVEMBER,
    at,
    counter_rows,
    folder,
    machine_rows,
    pass_row,
    plan_row,
    purchase_row,
    write,
)
from tests.usage.metering import with_terms

OCTOBER = Window.month("2026-10")
UNTIL = at(2026, 12, 1, 1)


def test_before_the_first_pass_it_says_what_to_run(tmp_path):
    with pytest.raises(NoLedgerError, match="Run `rowhouse reconcile`"):
        bills_of(folder(tmp_path), "main", None, NOVEMBER)


def test_running_time_becomes_a_bill(tmp_path):
    store = folder(tmp_path)
    ups = [(NOVEMBER.start + day * DAY_MS, NOVEMBER.start + day * DAY_MS + 4 * HOUR_MS) for day in range(30)]
    born = NOVEMBER.start - DAY_MS
    write(store, [plan_row("acme", born, "my-jarvis/usage"), *machine_rows("acme", born, ups, UNTIL), pass_row(UNTIL)])
    bills, context = bills_of(store, "main", None, NOVEMBER)
    assert [(bill.tenant, bill.total) for bill in bills] == [("acme", Decimal("12.00"))]
    assert context.fresh.watermark == UNTIL


def credits_world():
    """2,150 generations in October and 2,200 in November, one pack in October."""
    born = OCTOBER.start - HOUR_MS
    rows = [plan_row("acme", born, "llamasketch/starter"), purchase_row("acme", at(2026, 10, 2), "pay_1")]
    rows += machine_rows("acme", born, [], UNTIL)
    totals = [(born + 60_000, 0), (at(2026, 10, 3), 2150), (at(2026, 11, 3), 4350)]
    return [*rows, *counter_rows("acme", "generations", totals), pass_row(UNTIL)]


def test_credits_that_an_earlier_month_left_are_computed_where_no_opening_tells(tmp_path):
    store = folder(tmp_path)
    write(store, credits_world())
    bills, _ = bills_of(store, "main", None, NOVEMBER)
    assert bills[0].credits_left == {"generations": Decimal(150)}


def test_an_opening_says_the_same_as_all_the_months_before(tmp_path):
    store = folder(tmp_path)
    ledger = write(store, credits_world())
    bills, _ = bills_of(store, "main", None, NOVEMBER)
    december, _ = bills_of(store, "main", None, DECEMBER)
    opened = openings(bills, bills_of(store, "main", None, NOVEMBER)[1], UNTIL)
    plans = [plan_row("acme", OCTOBER.start - HOUR_MS, "llamasketch/starter")]
    ledger.remember("account", UNTIL, [*opened, *(Entry(**with_terms(row)) for row in plans)])
    again, context = bills_of(store, "main", None, DECEMBER)
    assert context.connection.execute("SELECT count(*) FROM entries WHERE kind = 'purchase'").fetchall() == [(0,)]
    assert [(bill.total, bill.credits_left) for bill in again] == [(bill.total, bill.credits_left) for bill in december]
    assert again[0].credits_left == {"generations": Decimal(150)}


def test_a_later_opening_takes_back_credits_that_an_earlier_one_told_of(tmp_path):
    """Use that is known after a month was opened draws on credits in its own month; the next one must not have them once more."""
    store = folder(tmp_path)
    rows = credits_world()
    ledger = write(store, [row for row in rows if row["kind"] != "counter"])
    first = openings(*bills_of(store, "main", None, NOVEMBER), UNTIL)
    ledger.remember("account", UNTIL, first)
    write(store, counter_rows("acme", "generations", [(at(2026, 10, 2), 0), (at(2026, 10, 3), 2150), (at(2026, 11, 3), 4850)]))
    bills, context = bills_of(store, "main", None, NOVEMBER)
    assert bills[0].credits_left == {"generations": Decimal(0)}
    plans = [Entry(**with_terms(plan_row("acme", OCTOBER.start - HOUR_MS, "llamasketch/starter")))]
    ledger.remember("account", UNTIL + 1, [*openings(bills, context, UNTIL + 1), *plans])
    [december], _ = bills_of(store, "main", None, DECEMBER)
    assert december.credits_left == {}


def test_credits_that_were_bought_late_are_not_used_in_the_closed_month_and_in_the_next_one_too(tmp_path):
    store = folder(tmp_path)
    ledger = write(store, [row for row in credits_world() if row["kind"] != "purchase"])
    ledger.remember("account", UNTIL, openings(*bills_of(store, "main", None, NOVEMBER), UNTIL))
    plans = [Entry(**with_terms(plan_row("acme", OCTOBER.start - HOUR_MS, "llamasketch/starter")))]
    ledger.remember("account", UNTIL, plans)
    late = Entry(**purchase_row("acme", at(2026, 11, 2), "pay_late"))
    ledger.remember("account", at(2026, 12, 2), [late])
    bills, context = bills_of(store, "main", None, NOVEMBER)
    assert bills[0].credits_left == {"generations": Decimal(300)}
    again = reopenings(bills, context, at(2026, 12, 3))
    assert [(entry.tenant, entry.subject) for entry in again] == [("acme", "credits")]
    ledger.remember("account", at(2026, 12, 3), again)
    [december], _ = bills_of(store, "main", None, DECEMBER)
    assert december.credits_left == {"generations": Decimal(300)}
    assert reopenings(*bills_of(store, "main", None, NOVEMBER), at(2026, 12, 4)) == []


def test_a_pack_that_was_taken_back_is_on_no_bill_and_pays_for_nothing_even_where_an_opening_told_of_it(tmp_path):
    store = folder(tmp_path)
    ledger = write(store, credits_world())
    bought, context = bills_of(store, "main", None, OCTOBER)
    assert bought[0].total - Decimal("5.00") == bills_of(store, "main", None, NOVEMBER)[0][0].total  # the pack is October's
    plans = [Entry(**with_terms(plan_row("acme", OCTOBER.start - HOUR_MS, "llamasketch/starter")))]
    totals = [Entry(**row) for row in counter_rows("acme", "generations", [(at(2026, 10, 3), 2150)])]
    ledger.remember("account", UNTIL, [*openings(bought, context, UNTIL), *plans])
    ledger.remember("app", UNTIL, totals)  # what opening.carried would give
    undone = Entry(**{**purchase_row("acme", UNTIL, "pay_1"), "state": "undone"})
    ledger.remember("account", at(2026, 12, 1, 2), [undone])
    [october], _ = bills_of(store, "main", None, OCTOBER)
    [november], _ = bills_of(store, "main", None, NOVEMBER)
    assert (october.total, october.refused) == (bought[0].total - Decimal("5.00"), {"generations": Decimal(150)})
    assert (november.refused, november.credits_left) == ({"generations": Decimal(200)}, {})


def test_until_a_month_is_closed_the_next_one_reads_no_further_back_than_to_the_last_that_was_opened(tmp_path):
    """Else each pass of a month's first hours would read the whole ledger, and longer each month."""
    store = folder(tmp_path)
    rows = credits_world()
    ledger = write(store, [row for row in rows if row["at"] < NOVEMBER.start])
    bills, context = bills_of(store, "main", None, OCTOBER)
    plans = [Entry(**with_terms(plan_row("acme", OCTOBER.start - HOUR_MS, "llamasketch/starter")))]
    totals = [Entry(**row) for row in counter_rows("acme", "generations", [(at(2026, 10, 3), 2150)])]
    ledger.remember("account", NOVEMBER.start, [*openings(bills, context, NOVEMBER.start), *plans])
    ledger.remember("app", NOVEMBER.start, totals)  # what opening.carried would give
    write(store, [row for row in rows if row["at"] >= NOVEMBER.start])
    december, context = bills_of(store, "main", None, DECEMBER)  # November is not closed
    assert load(ledger, context.connection, DECEMBER) == "2026-11"
    assert context.connection.execute("SELECT count(*) FROM entries WHERE kind = 'purchase'").fetchall() == [(0,)]
    assert december[0].credits_left == {"generations": Decimal(150)}


def test_an_opening_that_was_written_down_months_late_does_not_stand_for_the_months_since(tmp_path):
    store = folder(tmp_path)
    ledger = write(store, [row for row in credits_world() if row["kind"] != "pass"])
    late = at(2027, 1, 5)
    write(store, [pass_row(late)])
    ledger.remember("account", late, openings(*bills_of(store, "main", None, NOVEMBER), late))
    connection = bills_of(store, "main", None, DECEMBER)[1].connection
    assert load(ledger, connection, Window.month("2027-01")) == "2026-12"
    assert connection.execute("SELECT count(*) FROM entries WHERE kind = 'machine'").fetchall() == [(2,)]


def test_the_first_month_is_read_once(tmp_path, monkeypatch):
    store = folder(tmp_path)
    ledger = write(store, [plan_row("acme", NOVEMBER.start, "aether/pro"), pass_row(NOVEMBER.start + HOUR_MS)])
    asked = []
    table = Ledger.table
    monkeypatch.setattr(Ledger, "table", lambda self, *args, **more: asked.append(more) or table(self, *args, **more))
    assert load(ledger, connect(), NOVEMBER) is None
    assert asked == [{"since": "2026-11"}]


def test_one_tenants_mistake_leaves_the_others_their_bills(tmp_path):
    store = folder(tmp_path)
    born = NOVEMBER.start
    rows = [plan_row(tenant, born, "llamasketch/starter") for tenant in ("acme", "bad")]
    write(store, [*rows, purchase_row("bad", born, "pay_1", price="five"), pass_row(UNTIL)])
    bills, context = bills_of(store, "main", None, NOVEMBER)
    assert [bill.tenant for bill in bills] == ["acme"]
    assert "pay_1" in context.failed["bad"]


def test_a_segment_that_cannot_be_read_ends_everything_and_is_named(tmp_path):
    store = folder(tmp_path)
    write(store, [plan_row("acme", NOVEMBER.start, "aether/pro"), pass_row(UNTIL)])
    key = store.list("ledger/main/account/2026-11/")[0][0]
    store.put(key, b"not a segment")
    with pytest.raises(LedgerError, match=key):
        bills_of(store, "main", None, NOVEMBER)


def test_nothing_is_vouched_for_until_each_source_was_complete_once(tmp_path):
    store = folder(tmp_path)
    first, second = NOVEMBER.start + HOUR_MS, NOVEMBER.start + 2 * HOUR_MS
    write(store, [plan_row("acme", NOVEMBER.start, "aether/pro"), pass_row(first, complete=False)], per=HOUR_MS)
    assert bills_of(store, "main", None, NOVEMBER)[1].fresh.watermark is None
    write(store, [pass_row(second)], per=HOUR_MS)
    assert bills_of(store, "main", None, NOVEMBER)[1].fresh.watermark == second
