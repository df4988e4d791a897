"""Totals to the billing sink: what is to be sent, sending it, and looking whether it counts.

Does: plan from bills and from what was sent before, write down what is about to be sent, send (one tenant's totals one after the other,
tenants side by side), write down what failed, compare the sink's sums, and take note of what the sink refused afterwards. Does not:
compute a quantity (rate.py) or know a vendor (sink_*.py).

A total is absolute, so one too many, one too late and one twice are harmless; its time is the observations' watermark, so that a stale
pass cannot lower a newer one. What is about to be sent is written down first: after a crash between sending and writing the same total
goes out again under the same name, and a different one gets a later second.
Source: design.md decision 6; Stripe takes events up to 35 days old and 5 minutes ahead (2026-10).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rowhouse.errors import RowhouseError
from rowhouse.usage.entries import Entry
from rowhouse.usage.model import Bill, Line
from rowhouse.usage.sent import Key, Sent, announced, batch_done, failure, refusal
from rowhouse.usage.side_by_side import each
from rowhouse.usage.sink import Receipt, Sink, Total, Trouble

__all__ = [
    "RESERVE_S",
    "Checked",
    "Planned",
    "Pushed",
    "Record",
    "due_for_check",
    "identifier_for",
    "note_refusals",
    "plan_totals",
    "push",
    "total_of",
    "verify",
]

RESERVE_S: Final = 900
"""A period's last seconds are kept for corrections: of two totals the one with the later second counts."""
_OLDEST_MS: Final = 34 * 86_400_000
_BATCH: Final = 1000
"""How many totals are announced together: few enough for bounded memory, many enough for few segments of the ledger."""

Record = Callable[[Sequence[Entry]], Awaitable[None]]
"""Writes entries of the source `billing`, durably, before it returns."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be sent for one bill."""

    totals: tuple[Total, ...] = ()
    impossible: Mapping[Key, str] = field(default_factory=dict)
    """Totals that can no longer be sent, and why; the close bills them as items."""


@dataclass(slots=True)
class Pushed:
    """What a push did."""

    sent: int = 0
    failed: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    impossible: dict[Key, str] = field(default_factory=dict)


@dataclass(slots=True)
class Checked:
    """What comparing the sink's sums gave."""

    equal: int = 0
    unknown: int = 0
    """Of these the sink could not say its sum."""
    troubles: list[Trouble] = field(default_factory=list)


def identifier_for(tenant: str, meter: str, start: int, at: int, value: int) -> str:
    """The name of one total, at most 100 characters: tenant and meter readable, and a hash of all that makes it this one."""
    digest = hashlib.sha256(f"{tenant}\n{meter}\n{start}\n{at}\n{value}".encode()).hexdigest()[:32]
    return f"{tenant[:40]}.{meter[:26]}.{digest}"


def total_of(line: Line, tenant: str, at: int) -> Total:
    """A bill's line as a total, at a second of its segment."""
    assert line.stripe_quantity is not None
    assert line.stripe_unit is not None
    value = line.stripe_quantity
    name = identifier_for(tenant, line.meter, line.start, at, value)
    return Total(tenant, line.plan, line.meter, line.stripe_unit, line.start, line.end, value, at, name)


def plan_totals(bill: Bill, watermark: int, sent: Mapping[Key, Sent], *, now: int) -> Planned:
    """What to send for one bill: totals of the plan in force until the period's end. What ended before is an item at the close.

    Args: watermark: up to when the observations behind the bill are complete. now: the sink's clock. Both in ms.
    """
    totals: list[Total] = []
    impossible: dict[Key, str] = {}
    for line in bill.lines:
        if line.stripe_quantity is None or line.end != bill.period.end or watermark <= line.start:
            continue
        before = sent.get((bill.tenant, line.meter, line.start))
        if before is None:
            if line.stripe_quantity == 0 and not _follows(bill, line):
                continue  # nothing was said, and nothing is zero
        elif before.asof > watermark or (before.certain and before.value == line.stripe_quantity):
            continue  # a newer pass has spoken; or the sink has it
        elif not before.certain and not before.reason and before.value == line.stripe_quantity:
            totals.append(total_of(line, bill.tenant, before.at))  # perhaps sent, perhaps not: the very same again
            continue
        at = _second(line, min(watermark, now), before)
        if at * 1000 >= line.end:
            impossible[bill.tenant, line.meter, line.start] = "every second that was kept for corrections is used"
        elif at * 1000 < now - _OLDEST_MS:
            impossible[bill.tenant, line.meter, line.start] = "it is more than 34 days old, and no total that old is taken"
        else:
            totals.append(total_of(line, bill.tenant, at))
    return Planned(tuple(totals), impossible)


def _follows(bill: Bill, line: Line) -> bool:
    """Whether an earlier segment of the period may have spoken on the same meter: then a zero must be said, else its total would stand."""
    catalog = line.plan.partition("/")[0]
    return any(
        other.meter == line.meter
        and other.start < line.start
        and other.stripe_unit == line.stripe_unit
        and other.plan.partition("/")[0] == catalog
        for other in bill.lines
    )


def _second(line: Line, watermark: int, before: Sent | None) -> int:
    """The event's second: the watermark's, inside the segment, before the reserve, and after the total before it."""
    first = -(-line.start // 1000)
    at = min(max(first, watermark // 1000), max(first, line.end // 1000 - RESERVE_S))
    return at if before is None else max(at, before.at + 1)


async def push(sink: Sink, bills: Iterable[Bill], watermark: int, sent: Mapping[Key, Sent], *, now: int, record: Record) -> Pushed:
    """Send what changed. One tenant's failure is told and stops nobody else's.

    Raises: what `record` raises; then nothing of that batch was sent.
    """
    result = Pushed()
    if not sink.counts:
        return result
    batch: list[Total] = []
    for bill in bills:
        planned = plan_totals(bill, watermark, sent, now=now)
        result.impossible |= planned.impossible
        batch += [total for total in planned.totals if _is_billed(sink, total, result)]
        if len(batch) >= _BATCH:
            await _send(sink, batch, watermark, result, now=now, record=record)
            batch = []
    if batch:
        await _send(sink, batch, watermark, result, now=now, record=record)
    return result


def _is_billed(sink: Sink, total: Total, result: Pushed) -> bool:
    if sink.bills(total):
        return True
    result.impossible[total.tenant, total.meter, total.start] = "its subscription has no live item for it"
    if total.value:
        missing = f"{sink.name} has no live item for {total.plan} {total.meter}, so its use is billed as an item at the close."
        result.troubles.append(Trouble(total.tenant, f"{missing} Run `rowhouse up`, and look who changed the subscription."))
    return False


async def _send(sink: Sink, batch: Sequence[Total], watermark: int, result: Pushed, *, now: int, record: Record) -> None:
    """Announce, send, tell."""
    name = hashlib.sha256("\n".join([str(now), *(total.identifier for total in batch)]).encode()).hexdigest()[:24]
    await record([announced(total, watermark, name) for total in batch])
    by_tenant: dict[str, list[Total]] = {}
    for total in batch:
        by_tenant.setdefault(total.tenant, []).append(total)
    notes: list[Entry] = []

    async def one(totals: Sequence[Total]) -> None:
        for total in totals:
            receipt = await _pushed(sink, total)
            if receipt.state == "sent":
                result.sent += 1
                continue
            result.failed += 1
            result.troubles.append(Trouble(total.tenant, f"{total.meter}: {receipt.reason}"))
            if receipt.state == "failed":
                notes.append(failure(total, name, now, receipt.reason))
            else:
                notes.append(refusal(total.tenant, total.meter, total.identifier, now, receipt.reason))

    await each(by_tenant.values(), one)
    await record([*notes, batch_done(name, now, len(batch))])


async def _pushed(sink: Sink, total: Total) -> Receipt:
    try:
        return await sink.push(total)
    except RowhouseError as error:
        return Receipt("failed", str(error))


async def verify(
    sink: Sink,
    totals: Iterable[Total],
    *,
    now: int,
    record: Record,
    tries: int = 3,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    pause_s: float = 2.0,
) -> Checked:
    """Compare the sink's own sums with totals that were sent. Sums lag, so a difference is looked at again before it is told.

    What differs is written down as not counted: the next push sends it again, a second later.
    """
    result = Checked()
    notes: list[Entry] = []

    async def one(total: Total) -> None:
        found: int | None = None
        for attempt in range(tries):
            if attempt:
                await sleep(pause_s * 2 ** (attempt - 1))
            try:
                found = await sink.sum_of(total)
            except RowhouseError as error:
                result.unknown += 1
                result.troubles.append(Trouble(total.tenant, f"{total.meter}: {error}"))
                return
            if found == total.value:
                result.equal += 1
                return
            if found is None:
                result.unknown += 1
                return
        reason = f"{sink.name} counts {found} {total.unit}s of {total.meter}, and {total.value} were sent"
        result.troubles.append(Trouble(total.tenant, reason))
        notes.append(refusal(total.tenant, total.meter, total.identifier, now, reason))

    await each(totals, one)
    if notes:
        await record(notes)
    return result


def due_for_check(bills: Iterable[Bill], sent: Mapping[Key, Sent], *, since: int, until: int) -> Iterator[Total]:
    """Totals that stand at the sink and were sent behind a watermark in `[since, until)`: the passes before this one, whose sums have had
    their time. Checking each once keeps a pass at one question for each total that changed.
    """
    for bill in bills:
        for line in bill.lines:
            last = sent.get((bill.tenant, line.meter, line.start))
            if line.stripe_unit is None or line.stripe_quantity is None or line.end != bill.period.end or last is None:
                continue
            if last.certain and since <= last.asof < until:
                span = (line.start, line.end, last.value, last.at, last.identifier)
                yield Total(bill.tenant, line.plan, line.meter, line.stripe_unit, *span)


async def note_refusals(sink: Sink, sent: Mapping[Key, Sent], *, since: int, now: int, record: Record) -> tuple[list[Trouble], bool]:
    """Ask the sink what did not count, and write it down for totals that still stand; whether it named all of them."""
    if not sink.counts:
        return [], True
    try:
        told = await sink.refusals(since)
    except RowhouseError as error:
        return [Trouble(None, f"what {sink.name} refused afterwards cannot be read: {error}")], False
    troubles: list[Trouble] = []
    notes: list[Entry] = []
    for (tenant, meter, _), last in sorted(sent.items()):
        reason = told.reasons.get(last.identifier)
        if reason is not None and last.reason != reason:
            troubles.append(Trouble(tenant, f"{sink.name} did not count a total of {meter}: {reason}. It is sent again."))
            notes.append(refusal(tenant, meter, last.identifier, now, reason))
    if notes:
        await record(notes)
    return troubles, told.complete
