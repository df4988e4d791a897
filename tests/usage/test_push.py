"""What is sent to the billing sink, when, and under what name: pure planning, and the ledger's memory of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from rowhouse.errors import RowhouseError
from rowhouse.usage.entries import Entry, LedgerError, canonical
from rowhouse.usage.model import Bill
from rowhouse.usage.push import RESERVE_S, due_for_check, identifier_for, note_refusals, plan_totals, push, verify
from rowhouse.usage.rate import rate
from rowhouse.usage.sent import Sent, refusal, sent_from_entries, sent_from_table
from rowhouse.usage.side_by_side import each
from rowhouse.usage.sink import Receipt, Refusals, Total
from rowhouse.usage.sink_csv import CsvSink
from rowhouse.vendors.store import open_store
from tests.usage.billing_support import NOVEMBER, Books, Killed, at, no_wait, running
from tests.usage.rating_support import HOUR, plan_of, used

PRO, TEAM = plan_of("aether/pro"), plan_of("aether/team")
NOON = at(2026, 11, 20, 12)
KEY = ("acme", "hours", NOVEMBER.start)


def bill(hours: float = 210, tenant: str = "acme") -> Bill:
    return rate(NOVEMBER, [running(PRO, hours, tenant)])


def hours_meter() -> str:
    return next(meter.name for meter in PRO.meters if meter.kind == "running_hours")


HOURS = hours_meter()


def known(value: int, moment: int = NOON, *, certain: bool = True, reason: str = "", asof: int = NOON) -> dict[tuple[str, str, int], Sent]:
    return {("acme", HOURS, NOVEMBER.start): Sent(value, moment // 1000, asof, "x", certain, reason)}


def hours_of(totals: Sequence[Total]) -> list[tuple[int, int]]:
    return [(total.value, total.at) for total in totals if total.meter == HOURS]


class MemorySink:
    """A sink that counts the last total by time, in memory, and misbehaves as told."""

    name, counts = "Memory", True

    def __init__(self) -> None:
        self.totals: list[Total] = []
        self.under_way: set[tuple[str, str]] = set()
        self.fails: dict[str, RowhouseError] = {}
        self.die_after = 0
        self.told = Refusals({})
        self.lag = 0

    def bills(self, total: Total) -> bool:
        return not total.tenant.startswith("free")

    async def push(self, total: Total) -> Receipt:
        lane = (total.tenant, total.meter)
        assert lane not in self.under_way, "two calls at once for one customer and meter"
        self.under_way.add(lane)
        await asyncio.sleep(0)
        self.under_way.discard(lane)
        if total.tenant in self.fails:
            raise self.fails[total.tenant]
        if all(total.identifier != other.identifier for other in self.totals):
            self.totals.append(total)
        if len(self.totals) == self.die_after:
            raise Killed
        return Receipt("sent")

    async def sum_of(self, total: Total) -> int | None:
        if self.lag:
            self.lag -= 1
            return 0
        mine = [one for one in self.totals if (one.tenant, one.meter, one.start) == (total.tenant, total.meter, total.start)]
        return max(mine, key=lambda one: one.at).value if mine else 0

    async def refusals(self, since: int) -> Refusals:
        del since
        return self.told


async def pushed(sink: MemorySink, books: Books, bills: Sequence[Bill], watermark: int = NOON):
    sent = sent_from_entries(books.entries)
    return await push(sink, bills, watermark, sent, now=watermark + 60_000, record=books.record)  # type: ignore[arg-type]


# Planning


def test_a_total_carries_the_watermark_and_its_name_says_whose_it_is() -> None:
    [total] = [one for one in plan_totals(bill(), NOON, {}, now=NOON).totals if one.meter == HOURS]
    assert (total.at, total.value, total.unit) == (NOON // 1000, 10 if total.unit == "hour" else total.value, total.unit)
    assert total.identifier.startswith(f"acme.{HOURS}.")
    assert len(identifier_for("t" * 80, "m" * 80, 0, 0, 0)) <= 100


def test_what_the_sink_has_is_not_sent_and_nothing_is_said_of_nothing() -> None:
    value = hours_of(plan_totals(bill(), NOON, {}, now=NOON).totals)[0][0]
    assert hours_of(plan_totals(bill(), NOON + HOUR, known(value), now=NOON).totals) == []
    assert plan_totals(bill(0), NOON, {}, now=NOON).totals == ()


def test_a_correction_at_the_same_watermark_goes_one_second_later() -> None:
    assert hours_of(plan_totals(bill(), NOON, known(7), now=NOON).totals)[0][1] == NOON // 1000 + 1


def test_a_stale_pass_says_nothing_once_a_newer_one_has_spoken() -> None:
    assert hours_of(plan_totals(bill(), NOON - HOUR, known(7), now=NOON).totals) == []


def test_a_total_that_perhaps_arrived_goes_out_again_as_the_very_same() -> None:
    first = next(one for one in plan_totals(bill(), NOON, {}, now=NOON).totals if one.meter == HOURS)
    again = plan_totals(bill(), NOON + HOUR, known(first.value, certain=False), now=NOON).totals
    assert [one.identifier for one in again if one.meter == HOURS] == [first.identifier]


def test_a_refused_total_goes_out_again_under_another_name() -> None:
    first = next(one for one in plan_totals(bill(), NOON, {}, now=NOON).totals if one.meter == HOURS)
    again = plan_totals(bill(), NOON, known(first.value, certain=False, reason="no_meter"), now=NOON).totals
    [second] = [one for one in again if one.meter == HOURS]
    assert (second.at, second.identifier != first.identifier) == (first.at + 1, True)


def test_a_periods_last_seconds_are_kept_for_corrections_until_none_is_left() -> None:
    last = NOVEMBER.end // 1000
    late = NOVEMBER.end + HOUR
    assert hours_of(plan_totals(bill(), late, {}, now=late).totals)[0][1] == last - RESERVE_S
    assert hours_of(plan_totals(bill(), late, known(7, (last - 2) * 1000), now=late).totals)[0][1] == last - 1
    spent = plan_totals(bill(), late, known(7, (last - 1) * 1000), now=late)
    assert (hours_of(spent.totals), "every second" in spent.impossible["acme", HOURS, NOVEMBER.start]) == ([], True)


def test_stripe_35_days_a_total_that_is_too_old_is_not_sent() -> None:
    now = NOVEMBER.end + 35 * 86_400_000
    old = plan_totals(bill(), NOVEMBER.end, {}, now=now)
    assert (old.totals, "34 days" in old.impossible["acme", HOURS, NOVEMBER.start]) == ((), True)


def test_only_the_plan_in_force_last_speaks_and_its_zero_is_said_because_another_spoke_before() -> None:
    middle = at(2026, 11, 16)
    changed = rate(NOVEMBER, [used(PRO, end=middle, running=150 * HOUR), used(TEAM, segment=1, start=middle)])
    totals = plan_totals(changed, middle + HOUR, {}, now=NOON).totals
    assert {(total.plan, total.value) for total in totals} == {("aether/team", 0)}
    assert all(total.at >= middle // 1000 for total in totals)
    assert plan_totals(changed, middle, {}, now=NOON).totals == ()  # nothing is known of the new segment yet


def test_a_tenant_that_left_says_no_more() -> None:
    assert plan_totals(rate(NOVEMBER, [used(PRO, end=NOON, running=300 * HOUR)]), NOON + HOUR, {}, now=NOON).totals == ()


# Sending


def test_only_what_changed_is_sent_and_one_call_at_a_time_for_each_meter() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        bills = [bill(200 + number, f"t{number:03}") for number in range(50)]
        first = await pushed(sink, books, bills)
        assert (first.sent, first.troubles) == (len(sink.totals), [])
        again = await pushed(sink, books, bills, NOON + HOUR)
        assert again.sent == 0
        bills[7] = bill(230, "t007")
        assert (await pushed(sink, books, bills, NOON + 2 * HOUR)).sent == 1

    asyncio.run(body())


def test_one_tenants_failure_is_named_and_stops_nobody_else() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        sink.fails["t003"] = RowhouseError("Stripe answered 500")
        bills = [bill(210, f"t{number:03}") for number in range(9)]
        result = await pushed(sink, books, bills)
        assert ({trouble.tenant for trouble in result.troubles}, result.sent) == ({"t003"}, 8)
        del sink.fails["t003"]
        assert (await pushed(sink, books, bills, NOON + HOUR)).sent == 1
        assert (await pushed(sink, books, bills, NOON + 2 * HOUR)).sent == 0

    asyncio.run(body())


def test_openmeter_5118_a_crash_between_sending_and_writing_sends_the_same_again() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        sink.die_after = 5
        bills = [bill(210, f"t{number:03}") for number in range(9)]
        with pytest.raises(Killed):
            await pushed(sink, books, bills)
        before = {total.tenant: total.identifier for total in sink.totals}
        sink.die_after = 0
        await pushed(sink, books, bills, NOON + HOUR)
        assert sorted(total.tenant for total in sink.totals) == sorted(one.tenant for one in bills)
        assert {total.tenant: total.identifier for total in sink.totals}.items() >= before.items()

    asyncio.run(body())


def test_flexprice_612_after_a_crash_another_total_never_takes_the_same_name_or_second() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        sink.die_after = 1
        with pytest.raises(Killed):
            await pushed(sink, books, [bill(210)])
        sink.die_after = 0
        await pushed(sink, books, [bill(211)])
        first, second = [total for total in sink.totals if total.meter == HOURS]
        assert (first.identifier != second.identifier, second.at > first.at, second.value > first.value) == (True, True, True)

    asyncio.run(body())


def test_press_2407_two_passes_at_once_leave_one_total() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        await pushed(sink, books, [bill(210)])
        mine = sent_from_entries([])
        await push(sink, [bill(210)], NOON, mine, now=NOON, record=books.record)  # type: ignore[arg-type]
        assert len([total for total in sink.totals if total.meter == HOURS]) == 1
        assert (await pushed(sink, books, [bill(210)], NOON + HOUR)).sent == 0

    asyncio.run(body())


def test_nothing_is_sent_that_could_not_be_written_down_first() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books(die_at=1)
        with pytest.raises(Killed):
            await pushed(sink, books, [bill(210)])
        assert sink.totals == []

    asyncio.run(body())


def test_a_total_without_an_item_at_the_sink_is_named_and_left_to_the_close() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        result = await pushed(sink, books, [bill(210, "free-rider")])
        assert (result.sent, "no live item" in str(result.troubles[0])) == (0, True)

    asyncio.run(body())


def test_a_sink_that_counts_nothing_is_told_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        books = Books()
        sink = CsvSink(open_store(tmp_path.as_uri()))
        result = await push(sink, [bill(210)], NOON, {}, now=NOON, record=books.record)
        assert (result.sent, books.entries, (await note_refusals(sink, {}, since=0, now=0, record=books.record))) == (0, [], ([], True))

    asyncio.run(body())


def test_a_ledger_that_cannot_be_written_says_so_in_its_own_words() -> None:
    async def fails(_number: int) -> None:
        raise LedgerError("disk full")

    with pytest.raises(LedgerError, match="disk full"):
        asyncio.run(each(range(100), fails))


# Looking whether it counts


@pytest.mark.parametrize(("lag", "told"), [(0, 0), (2, 0), (5, 1)])
def test_sums_that_lag_are_looked_at_again_before_a_difference_is_told(lag: int, told: int) -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        await pushed(sink, books, [bill(210)])
        sink.lag = lag
        totals = [total for total in sink.totals if total.meter == HOURS]
        checked = await verify(sink, totals, now=NOON, record=books.record, sleep=no_wait)  # type: ignore[arg-type]
        assert (len(checked.troubles), checked.equal) == (told, 1 - told)
        sink.lag = 0
        assert (await pushed(sink, books, [bill(210)], NOON + HOUR)).sent == told

    asyncio.run(body())


def test_a_pass_checks_what_the_passes_before_it_sent_and_each_total_once() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        bills = [bill(210, "acme"), bill(220, "brook")]
        await pushed(sink, books, bills, NOON)
        bills[1] = bill(221, "brook")
        await pushed(sink, books, bills, NOON + HOUR)
        sent = sent_from_entries(books.entries)

        def due(since: int, until: int) -> list[tuple[str, int]]:
            return [(total.tenant, total.at) for total in due_for_check(bills, sent, since=since, until=until) if total.meter == HOURS]

        assert due(NOON, NOON + HOUR) == [("acme", NOON // 1000)]
        assert due(NOON + HOUR, NOON + 2 * HOUR) == [("brook", (NOON + HOUR) // 1000)]
        sink.totals.clear()
        totals = due_for_check(bills, sent, since=NOON, until=NOON + 2 * HOUR)
        checked = await verify(sink, totals, now=NOON, record=books.record, tries=1, sleep=no_wait)  # type: ignore[arg-type]
        assert {trouble.tenant for trouble in checked.troubles} == {"acme", "brook"}
        assert (await pushed(sink, books, bills, NOON + 2 * HOUR)).sent == 2

    asyncio.run(body())


def test_a_sum_that_cannot_be_asked_is_told_and_nothing_is_sent_again_for_it() -> None:
    class Mute(MemorySink):
        async def sum_of(self, total: Total) -> int | None:
            raise RowhouseError("Stripe did not answer")

    async def body() -> None:
        sink, books = Mute(), Books()
        await pushed(sink, books, [bill(210)])
        checked = await verify(sink, list(sink.totals), now=NOON, record=books.record, sleep=no_wait)  # type: ignore[arg-type]
        assert (checked.unknown, len(checked.troubles)) == (1, 1)
        assert (await pushed(sink, books, [bill(210)], NOON + HOUR)).sent == 0

    asyncio.run(body())


def test_stripe_meter_error_a_total_that_did_not_count_is_told_once_and_sent_again() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        await pushed(sink, books, [bill(210)])
        name = next(total.identifier for total in sink.totals if total.meter == HOURS)
        sink.told = Refusals({name: "archived_meter"})
        for expected in (1, 0):
            sent = sent_from_entries(books.entries)
            troubles, complete = await note_refusals(sink, sent, since=0, now=NOON, record=books.record)  # type: ignore[arg-type]
            assert (len(troubles), complete) == (expected, True)
        assert (await pushed(sink, books, [bill(210)], NOON + HOUR)).sent == 1
        assert sent_from_entries(books.entries)["acme", HOURS, NOVEMBER.start].certain

    asyncio.run(body())


def test_refusals_that_cannot_be_read_are_told_and_stop_nothing() -> None:
    class Mute(MemorySink):
        async def refusals(self, since: int) -> Refusals:
            raise RowhouseError("this key may not read events")

    async def body() -> None:
        troubles, complete = await note_refusals(Mute(), {}, since=0, now=0, record=Books().record)  # type: ignore[arg-type]
        assert ("may not read events" in str(troubles[0]), complete) == (True, False)

    asyncio.run(body())


# The ledger's memory


def test_duckdb_and_python_remember_the_same_whatever_the_order() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        sink.fails["t003"] = RowhouseError("lost")
        for step in range(4):
            await pushed(sink, books, [bill(205 + step + number, f"t{number:03}") for number in range(6)], NOON + step * HOUR)
            if step == 2:
                sink.fails.clear()
        one = next(entry for entry in books.entries if entry.tenant == "t001" and entry.state == "planned")
        books.entries.append(refusal("t001", HOURS, one.id or "", NOON, "no_meter"))
        random.Random(7).shuffle(books.entries)
        expected = sent_from_entries(books.entries)
        assert len(expected) >= 6
        assert sent_from_table(_table([*books.entries, Entry("login", NOON, id="x")])) == expected

    asyncio.run(body())


def _table(entries: Sequence[Entry]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    columns = 'tenant VARCHAR, subject VARCHAR, "at" BIGINT, "asof" BIGINT, state VARCHAR, value VARCHAR, id VARCHAR, data JSON'
    connection.execute(f"CREATE TABLE entries (source VARCHAR, kind VARCHAR, {columns})")
    rows = [
        ("billing", one.kind, one.tenant, one.subject, one.at, one.asof, one.state, one.value, one.id, canonical(dict(one.data or {})))
        for one in entries
    ]
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return connection


def test_a_retried_total_counts_as_arrived_although_its_first_attempt_failed() -> None:
    async def body() -> None:
        sink, books = MemorySink(), Books()
        sink.fails["acme"] = RowhouseError("lost")
        await pushed(sink, books, [bill(210)])
        assert not sent_from_entries(books.entries)["acme", HOURS, NOVEMBER.start].certain
        sink.fails.clear()
        await pushed(sink, books, [bill(210)], NOON + HOUR)
        found = sent_from_entries(books.entries)["acme", HOURS, NOVEMBER.start]
        assert (found.certain, found.at) == (True, NOON // 1000)
        assert replace(found, asof=0) == replace(sent_from_table(_table(books.entries))["acme", HOURS, NOVEMBER.start], asof=0)

    asyncio.run(body())
