"""One pass: look at everything, remember it, turn it into use and money, tell the billing sink. And what a close needs of the same.

Does: put the steps in order, and say what became of each. Does not: observe, rate or bill by itself, or enforce anything.
Whatever step a pass is killed in, the next one goes on from the ledger: observations are there whole or not at all, and totals are
absolute. Of two passes at once one is remembered. A pass that cannot remember what it saw tells the sink nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.model import Fleet
from rowhouse.usage.bills import Context, Freshness, bills_from, connect, entries_in, is_opened, load, month_of, openings, reopenings
from rowhouse.usage.close import Closing, Observed, Steps
from rowhouse.usage.close_log import CLOSED, CloseLog, is_frozen
from rowhouse.usage.entries import Entry, LedgerError
from rowhouse.usage.intake import collect
from rowhouse.usage.ledger import Appended, Ledger
from rowhouse.usage.model import Bill, Window, month_before, written_instant
from rowhouse.usage.observations import Completeness, Finding, Observations, Source
from rowhouse.usage.observe import observe
from rowhouse.usage.opening import carried
from rowhouse.usage.previous import Previous
from rowhouse.usage.push import due_for_check, note_refusals, push, verify
from rowhouse.usage.segments import month_of as month_of_window
from rowhouse.usage.segments import window_of
from rowhouse.usage.sent import Key, Sent, sent_from_table
from rowhouse.usage.sink import Sink, Trouble

if TYPE_CHECKING:
    pass

__all__ = ["NoTimeError", "PassResult", "Pipeline", "reconcile"]

_WINDOW_S: Final = 60
"""Passes that begin within the same minute are the same pass: one of them is remembered."""
_DELAY_MS: Final = 1_200_000
_CLOSE_BY_MS: Final = 3 * 86_400_000
"""When a month that is over and not closed is told as trouble: passes hold its invoices, so nobody else would notice."""
_OVERLAP_MS: Final = 3_600_000
"""Reports of totals that did not count come late: each pass looks back one hour more."""


class NoTimeError(RowhouseError):
    """No vendor answered, so nobody knows what time it is, and nothing can be remembered."""


@dataclass(slots=True)
class PassResult:
    """What one pass did. Instants are milliseconds UTC by the vendors' clocks."""

    now: int
    month: str
    remembered: bool
    """False: another pass wrote this minute, or a later one; what this one saw was left out, and nothing was pushed."""
    sources: Mapping[str, Completeness]
    findings: Sequence[Finding]
    machine_clock_off_s: float | None
    bills: Sequence[Bill] = ()
    """Of the running month, up to the watermark."""
    fresh: Freshness | None = None
    pushed: int = 0
    """Totals that the sink took."""
    held: int = 0
    """Invoices or subscriptions newly kept from going out by themselves."""
    troubles: list[Trouble] = field(default_factory=list)
    calls: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether everything was complete and nothing needs a person: only then may a heartbeat say success."""
        return self.remembered and all(source.complete for source in self.sources.values()) and not self.findings and not self.troubles

    def document(self) -> dict[str, Any]:
        """The same as JSON's own types, for `--json`."""
        return {
            "at": written_instant(self.now),
            "month": self.month,
            "ok": self.is_well,
            "remembered": self.remembered,
            "watermark": None if self.fresh is None or self.fresh.watermark is None else written_instant(self.fresh.watermark),
            "sources": {name: _told(source) for name, source in self.sources.items()},
            "calls": dict(self.calls),
            "machine_clock_off_s": self.machine_clock_off_s,
            "findings": [{"rule": f.rule, "subject": f.subject, "tenant": f.tenant, "message": f.message} for f in self.findings],
            "tenants": len(self.bills),
            "pushed": self.pushed,
            "held": self.held,
            "troubles": [str(trouble) for trouble in self.troubles],
        }


def _told(source: Completeness) -> dict[str, Any]:
    """A source's completeness for people: times in words."""
    document = {"complete": source.complete, "asof": None if source.asof is None else written_instant(source.asof), "reason": source.reason}
    return document | ({"parts": {name: _told(part) for name, part in source.parts.items()}} if source.parts else {})


@dataclass(slots=True)
class Pipeline:
    """What passes and closes of one cell work with."""

    ledger: Ledger
    sources: Callable[[], Sequence[Source]]
    """New ones for each look: a source counts its own calls."""
    sink: Sink
    fleet: Fleet | None = None
    """Today's files, only to say whose plan was never recorded."""
    progress: Callable[[str], None] = lambda _what: None
    own_time: bool = True
    """Whether the vendors live in the same time as this machine; stand-ins on a virtual clock do not, and then clocks are not compared."""
    _known: tuple[str, Previous] | None = None
    """The window of this pipeline's last pass and what was known after it, for whoever makes many passes in one process."""

    # -- looking ------------------------------------------------------------------------------------------------------------------------

    async def look(self) -> tuple[Observations, bool]:
        """Ask everybody and remember it; whether it is in the ledger.

        Raises: NoTimeError when no vendor answered; LedgerError and StoreError when it cannot be remembered.
        """
        previous = await asyncio.to_thread(self._previous)
        self.progress("asking the vendors")
        seen = await observe(self.sources(), previous)
        if seen.now is None:
            reasons = "; ".join(f"{name}: {source.reason}" for name, source in seen.completeness.items() if source.reason)
            raise NoTimeError(f"no vendor answered, so nothing was observed and nothing was changed. {reasons}")
        self.progress("remembering")
        return seen, await asyncio.to_thread(self._remember, seen, seen.now, previous)

    def _previous(self) -> Previous:
        if self._known is not None and self._known[0] == self.ledger.last_window("pass"):
            return self._known[1]  # nobody else made a pass in between
        last = self.ledger.last_window("pass")
        connection = connect()
        try:
            if last is None:
                self.ledger.table(connection)
            else:
                month = month_of_window(last)
                self.ledger.table(connection, since=month)
                if not is_opened(connection, Window.month(month)):
                    self.ledger.table(connection, since=month_before(month))
            return Previous.from_table(connection)
        finally:
            connection.close()

    def _remember(self, seen: Observations, now: int, previous: Previous) -> bool:
        self._known = None
        window = window_of(now, _WINDOW_S)
        # The pass's own line comes last: it vouches for the others, so they must stand when it does.
        lines = {source: entries for source, entries in seen.entries.items() if entries}
        done: list[Appended] = [self.ledger.append(source, window, entries) for source, entries in sorted(lines.items())]
        collected = collect(self.ledger.store, self.ledger)
        problems = [Finding("intake.unreadable", "intake", text) for text in collected.problems]
        told = [*seen.findings, *problems]
        data = {
            "sources": {name: source.document() for name, source in sorted(seen.completeness.items())},
            "machine_clock_off_s": seen.machine_clock_off_s if self.own_time else None,
            "findings": [[f.rule, f.subject, f.tenant, f.message] for f in told],
        }
        if not all(one.written for one in done):
            return False
        done_pass = Entry("pass", now, state="complete" if seen.complete else "incomplete", data=data)
        if not self.ledger.append("pass", window, [done_pass]).written:
            return False
        for entry in (*(entry for told in lines.values() for entry in told), done_pass):
            previous.add(entry)
        self._known = window, previous
        return True

    # -- money --------------------------------------------------------------------------------------------------------------------------

    def read(self, month: str) -> tuple[list[Bill], Context]:
        """One month's bills as of what is remembered; the context is the caller's to close."""
        connection = connect()
        period = Window.month(month)
        load(self.ledger, connection, period)
        return bills_from(connection, period, self.fleet, ledger=self.ledger, progress=self.progress)

    async def record(self, entries: Sequence[Entry]) -> None:
        """Write entries of the billing sink down before anything else happens."""
        if entries:
            await asyncio.to_thread(self.ledger.remember, "billing", max(entry.at for entry in entries), entries)

    def steps(
        self,
        month: str,
        approve: Callable[[Closing], bool],
        progress: Callable[[str, int], None] = lambda _what, _count: None,
    ) -> Steps:
        """What `close` needs for one month."""
        looked: list[Observations] = []
        failed: dict[str, Mapping[str, str]] = {}

        async def now() -> int:
            seen, _ = await self.look()
            looked.append(seen)
            assert seen.now is not None
            return seen.now

        async def last_look() -> Observed:
            await asyncio.to_thread(self._reopen, month)
            seen = looked[-1]
            incomplete = "; ".join(f"{name}: {one.reason}" for name, one in seen.completeness.items() if not one.complete)
            with (await asyncio.to_thread(self.read, month))[1] as context:
                watermark = context.fresh.watermark
            return Observed(seen.complete, watermark or 0, incomplete)

        def bills(wanted: str) -> Iterable[Bill]:
            found, context = self.read(wanted)
            with context:
                failed[wanted] = context.failed
            return found

        return Steps(
            now,
            last_look,
            bills,
            lambda: self.sent(month),
            lambda: self.history(month_before(month)),
            self.record,
            approve,
            observed=lambda: not self.ledger.begins_in(month_of(Window.month(month).end)),
            began_before=lambda: not self.ledger.begins_in(month),
            failed=lambda wanted: failed.get(wanted, {}),
            progress=progress,
        )

    def sent(self, month: str) -> Mapping[Key, Sent]:
        """What was sent of a month."""
        connection = connect()
        try:
            self.ledger.table(connection, since=month, sources=("billing",))
            return sent_from_table(connection)
        finally:
            connection.close()

    def history(self, since: str) -> list[Entry]:
        """What the billing chain tells of closes, invoices and corrections since a month."""
        connection = connect()
        try:
            self.ledger.table(connection, since=since, sources=("billing",))
            return entries_in(connection, "kind <> 'push'")
        finally:
            connection.close()

    def open_next(self, month: str) -> None:
        """Write down what the month after a closed one carries over, so that no pass need read further back."""
        bills, context = self.read(month)
        with context:
            at = context.fresh.watermark or context.period.end
            entries = [*carried(context.connection, context.period.end), *openings(bills, context, at)]
        self.ledger.remember("account", at, entries)

    def _reopen(self, month: str) -> None:
        """Have a month that is to be closed begin with the credits that the closed one before it left, late use and purchases included."""
        before = month_before(month)
        if CloseLog.of(self.history(before)).states.get(before) not in CLOSED:
            return
        bills, context = self.read(before)
        with context:
            at = context.fresh.watermark or context.period.end
            entries = reopenings(bills, context, at)
        if entries:
            self.ledger.remember("account", at, entries)


async def reconcile(pipeline: Pipeline) -> PassResult:
    """Look, remember, compute, push.

    Raises: NoTimeError, LedgerError, StoreError: then nothing was pushed. A failure of one tenant or one vendor is told in the result.
    """
    seen, remembered = await pipeline.look()
    assert seen.now is not None
    now = seen.now
    month = month_of(now)
    off = seen.machine_clock_off_s if pipeline.own_time else None
    result = PassResult(now, month, remembered, seen.completeness, seen.findings, off, calls=seen.calls)
    if not remembered:
        return result
    bills, context = await asyncio.to_thread(pipeline.read, month)
    with context:
        result.bills, result.fresh = bills, context.fresh
        result.troubles += [Trouble(tenant, reason) for tenant, reason in sorted(context.failed.items())]
        await _tell(pipeline, month, bills, context, result)
    return result


async def _tell(pipeline: Pipeline, month: str, bills: Sequence[Bill], context: Context, result: PassResult) -> None:
    """Push what changed, of the running month and of one before that is not closed yet, and keep invoices from going out by themselves."""
    sink, now = pipeline.sink, result.now
    sent = sent_from_table(context.connection)
    before = month_before(month)
    log = CloseLog.of(await asyncio.to_thread(pipeline.history, before))
    pipeline.progress(f"telling {sink.name}")
    try:
        await sink.open()
        held = await sink.hold(now)
        result.held = held.held
        result.troubles += held.troubles
        told, _ = await note_refusals(sink, sent, since=now - 2 * _OVERLAP_MS, now=now, record=pipeline.record)
        result.troubles += told
        watermark = context.fresh.watermark or 0
        began_before = _began_before(context)
        if began_before and log.states.get(before) not in CLOSED and now >= context.period.start + _CLOSE_BY_MS:
            words = f"{before} is over and not closed, and until it is, its invoices are held. Run `rowhouse close {before}`."
            result.troubles.append(Trouble(None, words))
        if began_before and not is_frozen(log, before):
            late, of_late = await asyncio.to_thread(pipeline.read, before)
            of_late.close()
            # What was sent of that month stands in its own part of the ledger; without it a correction would take a second that is taken.
            await _push(pipeline, late, watermark, await asyncio.to_thread(pipeline.sent, before), result)
        if not is_frozen(log, month):
            # The sums of what the last passes sent have had their time; what differs is sent again by the next pass.
            due = due_for_check(bills, sent, since=_two_passes_back(context, now), until=watermark) if sink.counts else ()
            result.troubles += (await verify(sink, due, now=now, record=pipeline.record, tries=1)).troubles
            await _push(pipeline, bills, watermark, sent, result)
    except LedgerError:
        raise
    except RowhouseError as error:
        result.troubles.append(Trouble(None, f"{sink.name}: {error}"))


async def _push(pipeline: Pipeline, bills: Sequence[Bill], watermark: int, sent: Mapping[Key, Sent], result: PassResult) -> None:
    pushed = await push(pipeline.sink, bills, watermark, sent, now=result.now, record=pipeline.record)
    result.pushed += pushed.sent
    result.troubles += pushed.troubles


def _two_passes_back(context: Context, now: int) -> int:
    """Before the watermark of the pass before this one, however often passes run: a watermark lags behind its pass by some minutes."""
    [(last,)] = context.connection.execute('SELECT max("at") FROM entries WHERE kind = \'pass\' AND "at" < ?', [now]).fetchall()
    return now if last is None else int(last) - (now - int(last)) - _DELAY_MS


def _began_before(context: Context) -> bool:
    """Whether anything was observed before the month: else there is no earlier one to tell of."""
    rows = context.connection.execute("SELECT 1 FROM entries WHERE kind = 'pass' AND \"at\" < ? LIMIT 1", [context.period.start]).fetchall()
    return bool(rows)
