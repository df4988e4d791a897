"""Closing a month: the last look, the last totals, bill against invoice for every tenant, and only then the invoices go out.

Does: hold drafts, freeze the month for passes, observe, push, settle, compare, ask a person for the first three months, finalize, write
down. Does not: observe or rate (both are handed in), or know a vendor (the sink does).
Killed anywhere and run again it does once what is not done: what went out is seen at the sink, what is on a draft is found by its key, and
the ledger says the rest. What becomes known after a tenant's invoice went out is an adjustment on the next one, with its reason.
Source: design.md decision 6; docs/closing.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from rowhouse.errors import RowhouseError
from rowhouse.usage.close_check import Case, Checker, Outcome
from rowhouse.usage.close_log import CLOSED, CloseLog, close_entry, correction_entry, invoice_entry
from rowhouse.usage.entries import Entry
from rowhouse.usage.matching import compare
from rowhouse.usage.model import Bill, Window, month_before
from rowhouse.usage.push import Record, note_refusals, push
from rowhouse.usage.sent import Key, Sent
from rowhouse.usage.side_by_side import each
from rowhouse.usage.sink import Item, Sink, Statement, Trouble

__all__ = ["CloseError", "Closing", "Observed", "Steps", "close"]

SETTLE_MS: Final = 600_000
"""Vendors' lists are right some minutes late; nothing is closed on a list younger than this."""
APPROVALS: Final = 3
"""So many closes ask a person before anything goes out."""
_ROUNDS: Final = 5
_PAUSE_S: Final = 2.0
_BATCH: Final = 500


class CloseError(RowhouseError):
    """A month cannot be closed now; nothing was sent out."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The last look at the vendors."""

    complete: bool
    asof: int
    """Up to when every source vouches for what it said, ms."""
    reason: str = ""
    """What is missing, where it is not complete."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What a close needs of the rest of the pipeline."""

    now: Callable[[], Awaitable[int]]
    """The vendors' clock, ms."""
    observe: Callable[[], Awaitable[Observed]]
    bills: Callable[[str], Iterable[Bill]]
    """Bills of a month in the order of tenants' names, made as they are asked for; called more than once."""
    sent: Callable[[], Mapping[Key, Sent]]
    """What the ledger says was sent, as of now."""
    history: Callable[[], Iterable[Entry]]
    """Entries of kinds close, invoice and correction of this month, the one before, and since."""
    record: Record
    approve: Callable[[Closing], bool]
    """Whether a person says that the invoices may go out."""
    observed: Callable[[], bool] = lambda: True
    """Whether anything was observed in this month, or before it."""
    began_before: Callable[[], bool] = lambda: False
    """Whether anything was observed before this month: then the month before has bills, too."""
    failed: Callable[[str], Mapping[str, str]] = lambda _month: {}
    """Tenants of which a month's bill cannot be made, and why; asked after its `bills`."""
    progress: Callable[[str, int], None] = lambda _what, _count: None
    """Told how far it is: what is being done, and how many tenants were."""


@dataclass(slots=True)
class Closing:
    """What a close did, or would do once a person says so."""

    month: str
    state: Literal["waiting", "held", "partial", "done"] = "waiting"
    why: str = ""
    number: int = 0
    """Which close this is, counted from 1."""
    tenants: int = 0
    ready: int = 0
    """Invoices that agree with their bill and have not gone out."""
    finalized: int = 0
    """Invoices that went out in this run."""
    final: int = 0
    """Tenants with nothing left to send."""
    blocked: list[Trouble] = field(default_factory=list)
    """Tenants whose draft stays, each with its reason."""
    troubles: list[Trouble] = field(default_factory=list)
    """What else needs a look."""
    items: int = 0
    """Lines that were put on drafts beside the sink's own."""
    adjustments: list[tuple[str, Item]] = field(default_factory=list)
    later: list[tuple[str, Item]] = field(default_factory=list)
    """What is missing on invoices that went out already: it goes on the next."""
    totals: dict[str, Decimal] = field(default_factory=dict)
    """Currency to the sum of all bills."""

    @property
    def is_well(self) -> bool:
        """Whether the month is closed and nothing needs a person."""
        return self.state == "done" and not self.blocked and not self.troubles

    def document(self) -> dict[str, Any]:
        """The same as JSON's own types, for `--json`."""

        def told(items: Iterable[tuple[str, Item]]) -> list[dict[str, str]]:
            found = sorted(items, key=lambda pair: (pair[0], pair[1].period, pair[1].key))
            return [
                {"tenant": tenant, "month": item.period, "line": item.key, "amount": str(Decimal(item.cents).scaleb(-2)), "text": item.text}
                for tenant, item in found
            ]

        return {
            "month": self.month,
            "state": self.state,
            "why": self.why,
            "ok": self.is_well,
            "number": self.number,
            "tenants": self.tenants,
            "totals": {currency: str(total) for currency, total in sorted(self.totals.items())},
            "ready": self.ready,
            "finalized": self.finalized,
            "items": self.items,
            "adjustments": told(self.adjustments),
            "on_the_next_invoice": told(self.later),
            "blocked": [str(trouble) for trouble in self.blocked],
            "troubles": [str(trouble) for trouble in self.troubles],
        }


async def close(
    month: str,
    sink: Sink,
    steps: Steps,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    approvals: int = APPROVALS,
) -> Closing:
    """Close one month; see the module.

    Raises: CloseError where it is too early, or the month before was observed and is not closed.
    """
    window, log = Window.month(month), CloseLog.of(steps.history())
    now = await steps.now()
    _refuse_early(month, window, now, log, steps)
    result = Closing(month, number=log.number + 1)
    if log.states.get(month) == "done":
        result.state, result.why = "done", "it was closed before"
        return result
    await sink.open()
    held = await sink.hold(now)
    result.troubles += held.troubles
    if month not in log.states:
        await steps.record([close_entry(month, "frozen", now)])
    observed = await steps.observe()
    if not observed.complete or observed.asof < window.end:
        result.why = observed.reason or f"the last observations reach only to {observed.asof} ms, before the month's end"
        await steps.record([close_entry(month, "waiting", now, why=result.why)])
        return result
    late = await _last_push(month, sink, steps, observed, result, now)
    ready = await _settle(month, sink, steps, log, late, result, sleep)
    if log.number < approvals and ready and not steps.approve(result):
        result.state = "held"
        result.why = f"the first {approvals} closes wait for a person: look at the drafts, then say so (--yes)"
        await steps.record([close_entry(month, "held", now, ready=len(ready), blocked=len(result.blocked))])
        return result
    await _finalize(month, sink, steps, ready, result, now)
    await sink.finish(month)
    result.state = "partial" if result.blocked else "done"
    counts = {"finalized": result.finalized, "final": result.final, "blocked": [str(trouble) for trouble in result.blocked[:50]]}
    await steps.record([close_entry(month, result.state, now, number=result.number, **counts)])
    return result


def _refuse_early(month: str, window: Window, now: int, log: CloseLog, steps: Steps) -> None:
    if now < window.end:
        raise CloseError(f"{month} is not over by the vendors' clock. Close it after its end.")
    if now < window.end + SETTLE_MS:
        wait = -(-(window.end + SETTLE_MS - now) // 60_000)
        raise CloseError(f"{month} has just ended, and vendors' lists need ten minutes to be right. Run the close in {wait} min.")
    if month not in log.states and not steps.observed():
        raise CloseError(f"nothing was observed in {month}, nor before it: there is nothing to close.")
    before = month_before(month)
    if before in log.states and log.states[before] not in CLOSED:
        raise CloseError(f"{before} was begun and is not closed ({log.states[before]}). Close {before} first.")
    if month not in log.states and before not in log.states and steps.began_before():
        raise CloseError(f"{before} was observed and is not closed; its invoices are held until it is. Close {before} first.")


async def _last_push(month: str, sink: Sink, steps: Steps, observed: Observed, result: Closing, now: int) -> set[Key]:
    """The month's final totals; those that cannot be sent any more."""
    window = Window.month(month)
    told, _ = await note_refusals(sink, steps.sent(), since=window.end - 2 * 86_400_000, now=now, record=steps.record)
    result.troubles += told
    pushed = await push(sink, steps.bills(month), observed.asof, steps.sent(), now=now, record=steps.record)
    result.troubles += pushed.troubles
    await steps.record([close_entry(month, "pushed", now, sent=pushed.sent, failed=pushed.failed, asof=observed.asof)])
    return set(pushed.impossible)


async def _settle(
    month: str, sink: Sink, steps: Steps, log: CloseLog, late: set[Key], result: Closing, sleep: Callable[[float], Awaitable[None]]
) -> list[Outcome]:
    """Compare every tenant, in rounds for those whose sums are not there yet; the outcomes that may go out."""
    before = month_before(month)
    statements = await sink.statements([before, month], Window.month(month))
    checker = Checker(sink, month, before, late)
    earlier = steps.bills(before) if log.states.get(before) in CLOSED else ()
    ready: list[Outcome] = []
    again: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        if outcome.state == "again":
            again.append(outcome)
            return
        _count(outcome, result)
        if outcome.state in {"ready", "settled"}:
            ready.append(outcome)

    async def first(case: Case) -> None:
        result.tenants += 1
        for currency, total in (case.bill.totals if case.bill else {}).items():
            result.totals[currency] = result.totals.get(currency, Decimal("0.00")) + total
        take(await checker.check(case))
        steps.progress("compared", result.tenants)

    bills = steps.bills(month)
    await each(_cases(bills, earlier, statements, sink, steps.failed(month)), first)
    for attempt in range(_ROUNDS):
        if not again:
            break
        await sleep(_PAUSE_S * 2**attempt)
        waiting, again = again, []

        async def once_more(outcome: Outcome) -> None:
            take(await checker.check(outcome.case))

        await each(waiting, once_more)
    for outcome in again:
        result.blocked.append(Trouble(outcome.case.tenant, outcome.reason))
    result.ready = sum(outcome.state == "ready" for outcome in ready)
    result.blocked.sort(key=str)
    return sorted(ready, key=lambda outcome: outcome.case.tenant)


def _cases(
    bills: Iterable[Bill], earlier: Iterable[Bill], statements: Mapping[str, Statement], sink: Sink, failed: Mapping[str, str]
) -> Iterator[Case]:
    """Both months' bills side by side, tenant by tenant, and at the end the tenants that failed and the drafts that no bill speaks of."""
    seen: set[str] = set()
    now, then = iter(bills), iter(earlier)
    bill, old = next(now, None), next(then, None)
    while bill is not None or old is not None:
        tenant = min(one.tenant for one in (bill, old) if one is not None)
        mine = bill if bill is not None and bill.tenant == tenant else None
        past = old if old is not None and old.tenant == tenant else None
        seen.add(tenant)
        yield Case(tenant, mine, past, statements.get(tenant) or sink.blank(tenant), failed.get(tenant, ""))
        bill = next(now, None) if mine is not None else bill
        old = next(then, None) if past is not None else old
    for tenant in sorted({*statements, *failed} - seen):
        statement = statements.get(tenant) or sink.blank(tenant)
        if statement.draft or tenant in failed:
            yield Case(tenant, None, None, statement, failed.get(tenant, ""))


def _count(outcome: Outcome, result: Closing) -> None:
    tenant = outcome.case.tenant
    result.items += len(outcome.items)
    result.adjustments += [(tenant, item) for item in outcome.adjustments]
    result.later += [(tenant, item) for item in outcome.later]
    if outcome.note:
        result.troubles.append(Trouble(tenant, outcome.note))
    if outcome.state == "blocked":
        result.blocked.append(Trouble(tenant, outcome.reason))


async def _finalize(month: str, sink: Sink, steps: Steps, ready: list[Outcome], result: Closing, now: int) -> None:
    """Send out what agrees and write it down, so many at a time; who is written down already is not written twice."""
    log = CloseLog.of(steps.history())
    written = log.invoiced.get(month, set())
    entries: list[Entry] = []

    async def one(outcome: Outcome) -> None:
        case = outcome.case
        if outcome.state == "ready":
            try:
                statement = await sink.finalize(case.statement)
            except RowhouseError as error:
                result.blocked.append(Trouble(case.tenant, str(error)))
                return
            result.finalized += bool(case.statement.draft)
            _look_again(case, statement, sink, month, result)
        result.final += 1
        entries.extend(_written(outcome, month, written, log, now))
        if len(entries) >= _BATCH:
            batch, entries[:] = list(entries), []
            await steps.record(batch)
        steps.progress("finalized", result.final)

    await each(ready, one)
    if entries:
        await steps.record(entries)


def _look_again(case: Case, statement: Statement, sink: Sink, month: str, result: Closing) -> None:
    """A draft may show old quantities; the final invoice shows what was billed."""
    if case.bill is None or statement.draft:
        return
    match = compare(case.bill, month, statement.charges, sink.label)
    for item in match.items:
        words = f"its invoice of {month} went out with {item.cents} cents less than {item.key} should have: the next one gets them"
        result.troubles.append(Trouble(case.tenant, words))
        result.later.append((case.tenant, item))


def _written(outcome: Outcome, month: str, written: set[str], log: CloseLog, now: int) -> Iterator[Entry]:
    """What the ledger is to remember of one tenant, less what it does already."""
    case, own = outcome.case, outcome.case.statement.invoices
    if case.bill is not None and case.tenant not in written and (own or any(case.bill.totals.values())):
        yield invoice_entry(case.bill, month, own[-1] if own else "none", now, outcome.later)
    before = month_before(month)
    target = next((charge.invoice for charge in case.statement.charges if charge.period == before and charge.invoice not in own), "none")
    for charge in case.statement.charges:
        if charge.source == "item" and charge.period == before and charge.invoice in own:
            item = Item(charge.label, before, charge.cents, charge.currency, charge.start, charge.end, charge.text)
            entry = correction_entry(case.tenant, item, target, charge.invoice, now)
            if entry.id not in log.corrected:
                yield entry
