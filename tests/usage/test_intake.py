"""What others noted is taken into the ledger once, whoever is killed where."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from rowhouse.spec.model import Pack
from rowhouse.spec.terms import billed_id, plan_from, terms_of
from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.intake import collect, record_purchase, undo_purchase
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.lots import lots_of
from rowhouse.usage.segments import window_of
from rowhouse.vendors.store import StoreError
from tests.support import plan
from tests.usage.stores import HOUR, START, FaultyStore, Killed, MemoryStore

PACK = Pack("credits-500", "generations", 500, Decimal("5.00"), 365)


def note(store: MemoryStore, tenant: str, at: int, *, cell: str = "main", state: str = "active", price: str = "20") -> str:
    """As the provider writes it."""
    noted = {"v": 1, "at": at, "cell": cell, "tenant": tenant, "state": state, "plan": terms_of(plan(price=Decimal(price)))}
    key = f"intake/plans/{tenant}/{at}-{price}.json"
    store.objects[key] = json.dumps(noted).encode()
    return key


def account(store: MemoryStore) -> list[Entry]:
    return list(Ledger(store, "main").read("account"))


def left(store: MemoryStore) -> list[str]:
    return [key for key, _ in store.list("intake/")]


def test_noted_terms_become_entries_in_the_order_in_which_they_were_applied():
    store = MemoryStore()
    note(store, "acme", START + HOUR, price="25")
    note(store, "fern", START)
    note(store, "acme", START - HOUR)
    collected = collect(store, Ledger(store, "main"))
    assert (collected.taken, collected.problems, left(store)) == (3, (), [])
    first, second, third = account(store)
    assert [(e.kind, e.tenant, e.at, e.subject, e.state) for e in (first, second, third)] == [
        ("plan", "acme", START - HOUR, "aether/pro", "active"),
        ("plan", "fern", START, "aether/pro", "active"),
        ("plan", "acme", START + HOUR, "aether/pro", "active"),
    ]
    assert third.data is not None
    assert plan_from(third.data).price == Decimal(25)
    assert third.id == billed_id(terms_of(plan(price=Decimal(25))))
    assert first.id == second.id != third.id


def test_nothing_noted_writes_nothing():
    store = MemoryStore()
    assert collect(store, Ledger(store, "main")).taken == 0
    assert store.objects == {}


def test_another_cells_notes_are_left_to_it():
    store = MemoryStore()
    key = note(store, "acme", START, cell="eu")
    assert collect(store, Ledger(store, "main")).taken == 0
    assert left(store) == [key]
    assert collect(store, Ledger(store, "eu")).taken == 1


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"v":2}', b'{"v":1,"at":1,"cell":"main","tenant":"a","state":"active","plan":{}}']
)
def test_a_note_that_cannot_be_read_is_named_and_left_and_holds_up_no_other(data: bytes):
    store = MemoryStore()
    note(store, "acme", START)
    store.objects["intake/plans/bad/1-x.json"] = data
    collected = collect(store, Ledger(store, "main"))
    assert collected.taken == 1
    assert left(store) == ["intake/plans/bad/1-x.json"]
    (problem,) = collected.problems
    assert "intake/plans/bad/1-x.json" in problem


@pytest.mark.parametrize("fault", ["killed before", "killed after", "refused", "lost"])
def test_wherever_taking_in_is_killed_each_note_counts_once(fault: str):
    number = 0
    while True:
        broken = FaultyStore({}, number, fault)
        whole = MemoryStore()
        whole.objects = broken.objects
        record_purchase(Ledger(whole, "main"), "acme", PACK, "usd", "pi_1", at=START)
        note(whole, "acme", START)
        note(whole, "fern", START)
        with contextlib.suppress(Killed, StoreError):
            collect(broken, Ledger(broken, "main"))
        note(whole, "hazel", START)
        collect(whole, Ledger(whole, "main"))
        assert sorted((entry.kind, entry.tenant) for entry in account(whole)) == [
            *(("plan", tenant) for tenant in ("acme", "fern", "hazel")),
            ("purchase", "acme"),
        ]
        assert left(whole) == []
        if broken.count < number:
            break
        number += 1
    assert number > 10


def test_the_same_note_that_comes_back_counts_once():
    store = MemoryStore()
    for _ in range(3):
        note(store, "acme", START)
        collect(store, Ledger(store, "main"))
    assert len(account(store)) == 1


class TestPurchases:
    def buy(
        self, store: MemoryStore, payment: str = "pi_1", *, tenant: str = "acme", pack: Pack = PACK, at: int = START, given: bool = True
    ) -> str:
        return record_purchase(Ledger(store, "main"), tenant, pack, "usd", payment, at=at, at_given=given)

    def test_a_purchase_becomes_an_entry_with_what_the_pack_was_then(self):
        store = MemoryStore()
        assert self.buy(store) == "recorded"
        collect(store, Ledger(store, "main"))
        (entry,) = account(store)
        expires = START + 365 * 24 * HOUR
        assert entry == Entry(
            "purchase",
            START,
            "acme",
            subject="credits-500",
            value="500",
            id="pi_1",
            data={"currency": "usd", "expires_at": expires, "meter": "generations", "price": "5.00"},
        )

    def test_the_same_id_again_is_nothing_new_before_and_after_it_was_taken_in(self):
        store = MemoryStore()
        self.buy(store)
        assert self.buy(store) == "known"
        collect(store, Ledger(store, "main"))
        before = dict(store.objects)
        assert self.buy(store) == "known"
        assert self.buy(store, at=START + HOUR, given=False) == "known"
        assert store.objects == before

    def test_a_pack_that_costs_more_today_is_still_the_same_purchase(self):
        store = MemoryStore()
        self.buy(store)
        assert self.buy(store, pack=replace(PACK, price=Decimal(7))) == "known"
        collect(store, Ledger(store, "main"))
        assert (account(store)[0].data or {})["price"] == "5.00"

    @pytest.mark.parametrize("other", [{"tenant": "fern"}, {"pack": replace(PACK, name="credits-9")}, {"at": START + 1}])
    def test_the_same_id_for_another_purchase_is_refused(self, other: dict):
        store = MemoryStore()
        self.buy(store)
        before = dict(store.objects)
        with pytest.raises(LedgerError, match=r"pi_1 is recorded already: pack credits-500 of acme, at 2026-11-01T00:00:00"):
            self.buy(store, **other)
        assert store.objects == before

    def test_a_pack_without_an_end_never_expires(self):
        store = MemoryStore()
        self.buy(store, pack=replace(PACK, expires_days=None))
        collect(store, Ledger(store, "main"))
        assert (account(store)[0].data or {})["expires_at"] is None

    @pytest.mark.parametrize("payment", ["", "a/b", "../x", "a b", "x" * 201, ".x", "é"])
    def test_an_id_that_could_leave_its_place_is_refused(self, payment: str):
        with pytest.raises(LedgerError, match="payment"):
            self.buy(MemoryStore(), payment)

    def test_a_time_that_no_close_looks_at_any_more_is_refused(self):
        store, known = MemoryStore(), MemoryStore()
        self.buy(known)
        for each in (store, known):
            done = Entry("close", START + 62 * 24 * HOUR, subject="2026-12", state="done")
            Ledger(each, "main").remember("billing", done.at, [done])
        with pytest.raises(LedgerError, match="paid in 2026-11 is on no invoice any more: 2026-12 is closed"):
            self.buy(store)
        assert self.buy(store, at=START + 40 * 24 * HOUR) == "recorded"
        assert self.buy(known) == "known"

    def test_a_time_far_ahead_of_all_passes_is_refused(self):
        store = MemoryStore()
        Ledger(store, "main").append("pass", "20261105T000000Z", [Entry("pass", START, state="complete")])
        with pytest.raises(LedgerError, match="2027-01 is more than a month after the last pass"):
            self.buy(store, at=START + 62 * 24 * HOUR)
        assert self.buy(store, at=START + 50 * 24 * HOUR) == "recorded"

    @pytest.mark.parametrize("fault", ["killed before", "killed after", "refused", "lost"])
    def test_wherever_it_is_killed_saying_it_again_records_it_once(self, fault: str):
        for number in range(8):
            broken = FaultyStore({}, number, fault)
            with contextlib.suppress(Killed, StoreError):
                self.buy(broken)
            whole = MemoryStore()
            whole.objects = broken.objects
            self.buy(whole)
            collect(whole, Ledger(whole, "main"))
            self.buy(whole)
            collect(whole, Ledger(whole, "main"))
            assert [entry.id for entry in account(whole)] == ["pi_1"]


def test_a_purchase_that_was_taken_back_stays_in_the_ledger_with_the_reason_and_counts_as_never_made():
    store = MemoryStore()
    ledger = Ledger(store, "main")
    record_purchase(ledger, "quill", PACK, "usd", "pi_1", at=START)
    record_purchase(ledger, "quill", PACK, "usd", "pi_2", at=START)
    collect(store, ledger)
    assert [len(lots) for lots in lots_of(account(store)).values()] == [2]
    assert undo_purchase(ledger, "pi_1", "charged back", at=START + HOUR) == ("recorded", "quill")
    assert undo_purchase(ledger, "pi_1", "again", at=START + 2 * HOUR) == ("known", "quill")
    assert len(left(store)) == 1
    collect(store, ledger)
    assert undo_purchase(ledger, "pi_1", "and again", at=START + 3 * HOUR) == ("known", "quill")
    assert left(store) == []
    undone = account(store)[-1]
    assert (undone.kind, undone.id, undone.state, undone.at) == ("purchase", "pi_1", "undone", START + HOUR)
    assert undone.data is not None
    assert undone.data["reason"] == "charged back"
    assert [lot.payment for lot in lots_of(account(store))["quill"]] == ["pi_2"]


def test_a_payment_that_was_taken_back_is_recorded_under_another_id():
    store = MemoryStore()
    ledger = Ledger(store, "main")
    record_purchase(ledger, "quill", PACK, "usd", "pi_1", at=START)
    undo_purchase(ledger, "pi_1", "it was brook's", at=START + HOUR)
    for tenant in ("quill", "brook"):
        with pytest.raises(LedgerError, match="Record it under another one, such as pi_1-2"):
            record_purchase(ledger, tenant, PACK, "usd", "pi_1", at=START)
    assert record_purchase(ledger, "brook", PACK, "usd", "pi_1-2", at=START) == "recorded"


@pytest.mark.parametrize(
    ("when", "words"), [(START - HOUR, "later than it is to be taken back"), (START + 3650 * 24 * HOUR, "more than a month")]
)
def test_a_time_that_cannot_be_that_of_a_refund_is_refused(when: int, words: str):
    store = MemoryStore()
    ledger = Ledger(store, "main")
    record_purchase(ledger, "quill", PACK, "usd", "pi_1", at=START)
    collect(store, ledger)
    ledger.append("pass", window_of(START + HOUR, 60), [Entry("pass", START + HOUR, state="complete")])
    with pytest.raises(LedgerError, match=words):
        undo_purchase(ledger, "pi_1", "x", at=when)
    assert left(store) == []


@pytest.mark.parametrize("payment", ["pi_9", "../pi_1", "undone/pi_1", ""])
def test_what_was_never_bought_cannot_be_taken_back(payment: str):
    store = MemoryStore()
    with pytest.raises(LedgerError, match="no pack was recorded under payment"):
        undo_purchase(Ledger(store, "main"), payment, "x", at=START)
    assert store.objects == {}


@pytest.mark.parametrize("fault", ["killed before", "killed after", "lost", "refused"])
@pytest.mark.parametrize("number", range(9))
def test_one_killed_while_it_is_taken_back_is_taken_back_by_the_next_try(fault: str, number: int):
    store = MemoryStore()
    record_purchase(Ledger(store, "main"), "quill", PACK, "usd", "pi_1", at=START)
    collect(store, Ledger(store, "main"))
    faulty = FaultyStore(store.objects, number, fault)
    with contextlib.suppress(Killed, StoreError, LedgerError):
        undo_purchase(Ledger(faulty, "main"), "pi_1", "mistake", at=START + 1)
    undo_purchase(Ledger(store, "main"), "pi_1", "mistake", at=START + 9)
    collect(store, Ledger(store, "main"))
    assert lots_of(account(store)) == {}
    assert [entry.state for entry in account(store)] == [None, "undone"]
