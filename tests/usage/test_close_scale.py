"""Ten thousand tenants: few calls for those that agree, one more for those that go out, memory that does not follow the bills."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rowhouse.spec.money import minor_units
from rowhouse.usage.close import Observed, Steps, close
from rowhouse.usage.entries import Entry
from rowhouse.usage.model import Bill, Line, Window
from rowhouse.usage.rate import rate
from rowhouse.usage.sent import sent_from_entries
from rowhouse.usage.sink import Charge, Held, Item, Receipt, Refusals, Statement, Total
from tests.usage.billing_support import DECEMBER, NOVEMBER, no_wait, running
from tests.usage.rating_support import HOUR, plan_of

PRO = plan_of("aether/pro")
TENANTS = 10_000


class CountingSink:
    """A sink in memory that agrees, but for every tenth tenant, which misses an item."""

    name, counts = "Memory", True

    def __init__(self, bill: Bill) -> None:
        self.bill, self.pushed, self.settled, self.finalized = bill, 0, 0, 0

    async def open(self) -> None: ...

    def label(self, line: Line) -> str:
        return line.meter

    def bills(self, total: Total) -> bool:
        return bool(total)

    async def push(self, total: Total) -> Receipt:
        self.pushed += total.value > 0
        return Receipt("sent")

    async def sum_of(self, total: Total) -> int | None:
        return total.value

    async def refusals(self, since: int) -> Refusals:
        return Refusals({}, until=since)

    async def hold(self, now: int) -> Held:
        return Held(now * 0)

    async def statements(self, months: Sequence[str], closing: Window) -> Mapping[str, Statement]:
        del closing
        found = {}
        for number in range(TENANTS):
            tenant = f"t{number:05}"
            charges = [self._charge(line, f"in_{number}", months[-1]) for line in self.bill.lines if line.amount or line.is_base]
            found[tenant] = Statement(tenant, charges[number % 10 == 0 :], "cus", f"in_{number}", currency="usd")
        return found

    def _charge(self, line: Line, invoice: str, month: str) -> Charge:
        source = "base" if line.is_base else "meter"
        label = "" if line.is_base else line.meter
        return Charge(source, label, month, line.start, line.end, minor_units(line.amount), "usd", invoice, line.is_base)  # type: ignore[arg-type]

    def blank(self, tenant: str) -> Statement:
        return Statement(tenant)

    async def settle(self, statement: Statement, items: Sequence[Item], month: str) -> Statement:
        self.settled += 1
        more = [
            Charge("item", item.key, month, item.start, item.end, item.cents, "usd", statement.draft, False, text=item.text)
            for item in items
        ]
        return replace(statement, charges=(*statement.charges, *more))

    async def finalize(self, statement: Statement) -> Statement:
        self.finalized += 1
        return replace(statement, draft="")

    async def finish(self, month: str) -> None:
        assert month == "2026-11"


def test_lago_api_3154_ten_thousand_drafts_close_in_bounded_memory() -> None:
    pattern = rate(NOVEMBER, [running(PRO, 212.5)])
    made = 0

    def bills(month: str) -> Iterator[Bill]:
        nonlocal made
        assert month == "2026-11"
        for number in range(TENANTS):
            made += 1
            yield replace(pattern, tenant=f"t{number:05}")

    entries: list[Entry] = []
    largest = ahead = 0

    async def record(batch: Sequence[Entry]) -> None:
        nonlocal largest
        largest = max(largest, len(batch))
        entries.extend(entry for entry in batch if entry.kind == "close")

    def progress(what: str, count: int) -> None:
        nonlocal ahead
        if what == "compared":
            ahead = max(ahead, made - TENANTS - count)

    async def now() -> int:
        return DECEMBER.start + HOUR

    async def observe() -> Observed:
        return Observed(True, DECEMBER.start + HOUR // 2)

    sink = CountingSink(pattern)
    steps = Steps(now, observe, bills, lambda: sent_from_entries([]), lambda: entries, record, lambda _closing: True, progress=progress)
    done = asyncio.run(close("2026-11", sink, steps, sleep=no_wait))
    assert (done.state, done.finalized, done.items, done.blocked) == ("done", TENANTS, TENANTS // 10, [])
    assert (sink.pushed, sink.settled, sink.finalized) == (TENANTS, TENANTS // 10, TENANTS)
    assert made == 2 * TENANTS  # once to send, once to compare: no list of bills is ever kept
    assert largest <= 1100
    assert ahead <= 100  # bills are made as they are compared
