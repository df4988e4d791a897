"""What became of the month: closed, invoiced, paid; a table of bills, one line explained, the report as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from rich.text import Text

from rowhouse.cli.render import table
from rowhouse.demo.narrator import Narrator, promise
from rowhouse.demo.script import Place
from rowhouse.demo.stage import Stage
from rowhouse.spec.money import minor_units, shown
from rowhouse.usage.bills import Context, month_of
from rowhouse.usage.close import close
from rowhouse.usage.explain import explain
from rowhouse.usage.model import Bill, Line, Window
from rowhouse.usage.passes import Pipeline, reconcile
from rowhouse.usage.report import report_html
from rowhouse.usage.report_data import report_data
from rowhouse.usage.sink import Statement
from rowhouse.usage.vendor_prices import book_for
from rowhouse.vendors.stripe import Stripe

__all__ = ["Money"]

_EXPLAINED = ("acme", "running_hours")
_EVENTS = 6
_CLOSE_MS = 1000.0


class Money:
    """The end of a month."""

    def __init__(
        self, stage: Stage, env: Mapping[str, str], project: Path, narrator: Narrator, pipeline: Pipeline, apps: Mapping[str, Place]
    ) -> None:
        """Args: apps: the host's own name of each instance."""
        self._stage, self._env, self._project, self._narrator, self._pipeline, self._apps = stage, env, project, narrator, pipeline, apps

    async def play(self, month: datetime) -> None:
        """Close, pay, show.

        Raises: PromiseBrokenError.
        """
        name = f"{month:%Y-%m}"
        await self._close(name)
        bills, context = await asyncio.to_thread(self._pipeline.read, name)
        await self._same_as_the_truth(bills, context)
        await self._bills(name, bills)
        self._explain(bills, context)
        await self._report(name, bills, context)
        await self._nothing_new(name, bills)

    async def _close(self, month: str) -> None:
        self._narrator.title(
            f"Close {month}", "The last look, the last totals, every bill against its invoice; in your place the demo says yes."
        )
        result = await close(month, self._pipeline.sink, self._pipeline.steps(month, lambda _closing: True), sleep=_no_time)
        ills = "; ".join(str(trouble) for trouble in (*result.blocked, *result.troubles)) or result.why
        promise(result.state == "done", f"the month is not closed but {result.state}: {ills}")
        await asyncio.to_thread(self._pipeline.open_next, month)
        money = ", ".join(shown(total, currency) for currency, total in sorted(result.totals.items()))
        self._narrator.say(f"{result.tenants} bills of {money}; {result.finalized} invoices agree with them and went out")

    async def _bills(self, month: str, bills: Sequence[Bill]) -> None:
        self._narrator.title(
            "The bills", "The customers pay at Stripe. Of an invoice this month's own lines are compared; it may hold the next base price."
        )
        statements = await self._paid(month)
        shown_bills = table("", "tenant", "plan", "used of included", "a bill of", "at Stripe")
        shown_bills.columns[1].no_wrap = True
        for bill in bills:
            found = statements.get(bill.tenant)
            charges = [charge for charge in found.charges if charge.period == month and charge.final] if found is not None else []
            cents = sum(charge.cents for charge in charges)
            promise(
                cents == minor_units(bill.total),
                f"{bill.tenant}: the bill is {bill.total} and Stripe's invoice lines are {Decimal(cents).scaleb(-2)}",
            )
            status = await self._status(found)
            for plan in dict.fromkeys(line.plan for line in bill.lines):
                lines = [line for line in bill.lines if line.plan == plan]
                last = plan == bill.lines[-1].plan
                shown_bills.add_row(
                    bill.tenant if plan == bill.lines[0].plan else "",
                    plan,
                    "\n".join(_use(line) for line in lines if not (line.is_base or line.is_minimum) and line.quantity) or "nothing",
                    shown(bill.total, bill.currency) if last else "",
                    (f"{shown(Decimal(cents).scaleb(-2), bill.currency)}, {status}" if charges else status) if last else "",
                )
        self._narrator.console.print(shown_bills)
        self._narrator.say("each bill is what Stripe invoiced for the month, to the cent")

    async def _paid(self, month: str) -> Mapping[str, Statement]:
        """Pay what is open, as customers do; everybody's invoices afterwards."""
        stripe = Stripe.from_environment(self._env)
        try:
            async for invoice in stripe.pages("/v1/invoices", {"status": "open"}):
                await stripe.post(f"/v1/invoices/{invoice['id']}/pay", {"paid_out_of_band": True})
            await self._pipeline.sink.open()
            return await self._pipeline.sink.statements([month], Window.month(month))
        finally:
            await stripe.close()

    async def _status(self, statement: Statement | None) -> str:
        if statement is None or not statement.charges:
            return "no invoice"
        stripe = Stripe.from_environment(self._env)
        try:
            invoices = [await stripe.get(f"/v1/invoices/{name}") for name in dict.fromkeys(charge.invoice for charge in statement.charges)]
        finally:
            await stripe.close()
        said = {str(invoice["status"]) for invoice in invoices if invoice is not None}
        promise(said <= {"paid"}, f"{statement.tenant} has invoices that are {sorted(said)}")
        return ", ".join(sorted(said))

    async def _same_as_the_truth(self, bills: Sequence[Bill], context: Context) -> None:
        """What was metered against what the local cloud knows of its machines."""
        start, end = context.period
        true_ms: dict[str, float] = {}
        for machine in await self._stage.uptime():
            if machine["app"] in self._apps:
                tenant, _ = self._apps[machine["app"]]
                for began, ended in machine["started"]:
                    ran = min(end, 1000 * ended if ended is not None else end) - max(start, 1000 * began)
                    true_ms[tenant] = true_ms.get(tenant, 0.0) + max(0.0, ran)
        missing_ms = unproven_ms = 0.0
        for bill in bills:
            metered = sum(segment.running_ms for segment in context.usage[bill.tenant])
            [(gaps,)] = context.connection.execute(
                "SELECT coalesce(sum(end_ms - start_ms), 0) FROM instance_spans WHERE tenant = ? AND class IN ('inferred', 'unknown')",
                [bill.tenant],
            ).fetchall()
            true = true_ms.get(bill.tenant, 0.0)
            promise(
                -_CLOSE_MS - int(gaps) <= metered - true <= _CLOSE_MS,
                f"{bill.tenant}: {metered / 1000} s metered, {true / 1000} s true, {int(gaps) / 1000} s of gaps",
            )
            missing_ms, unproven_ms = missing_ms + max(0.0, true - metered), unproven_ms + int(gaps)
        self._narrator.say(
            f"machines ran {sum(true_ms.values()) / 3_600_000:.1f} hours by the local cloud's own notes; metered is nowhere more, "
            f"and {missing_ms / 1000:.0f} s less in all: within the {unproven_ms / 1000:.0f} s that nobody could prove"
        )

    def _explain(self, bills: Sequence[Bill], context: Context) -> None:
        tenant, meter = _EXPLAINED
        self._narrator.title(
            f"rowhouse explain-bill {tenant} {month_of(context.period.start)} --line {meter}",
            "One line of a bill, down to the machine's own events.",
        )
        document = explain(tenant, bills, context, line=meter, ledger=self._pipeline.ledger)
        for line in document["lines"]:
            self._narrator.say(
                f"{line['plan']}, {line['from'][:10]} to {line['until'][:10]}: {line['amount']} {document['currency'].upper()}"
            )
            for sentence in line["sentences"]:
                self._narrator.console.print(Text(f"    {sentence}"), soft_wrap=False)
        evidence = document["evidence"]
        spans = [span for span in evidence["spans"] if span["class"] == "running"]
        longest = max(spans, key=lambda span: Decimal(span["seconds"]))
        self._narrator.say(f"{len(spans)} spans of running, the longest {longest['seconds']} s on machine {longest['machine']}:")
        told = [
            entry
            for entry in evidence["entries"]
            if entry["kind"] == "event"
            and entry["subject"] == longest["machine"]
            and longest["from"][:16] <= entry["at"][:16] <= longest["until"][:16]
        ]
        promise(bool(told), "the longest span has no event of its machine")
        for entry in told[:_EVENTS]:
            self._narrator.console.print(Text(f"    {entry['at']}  {entry['state']:8} {entry['id']}"))
        self._narrator.say(f"in {len(evidence['segments'])} segments of the ledger, such as {evidence['segments'][-1]['key']}")

    async def _report(self, month: str, bills: Sequence[Bill], context: Context) -> None:
        document = report_data(bills, context, book_for(month), cell=self._pipeline.ledger.cell, now=context.fresh.last or 0)
        page = report_html(document)
        path = self._project.parent / f"report-{month}.html"
        path.write_text(page, encoding="utf-8")
        self._narrator.title("The report", "Fleet, use against limits, revenue, vendors' cost and margin; one file, no script, no network.")
        promise(page.startswith("<!doctype html>") and "<script" not in page, "the report is no plain page")
        self._narrator.say(f"open {path}  ({len(page) / 1024:.0f} KiB)")

    async def _nothing_new(self, month: str, bills: Sequence[Bill]) -> None:
        await self._stage.advance(3600)
        result = await reconcile(self._pipeline)
        ills = "; ".join([*(finding.message for finding in result.findings), *(str(trouble) for trouble in result.troubles)])
        promise(result.is_well, f"the pass after the close was not well: {ills}")
        again, _ = await asyncio.to_thread(self._pipeline.read, month)
        changed = [bill.tenant for bill, before in zip(again, bills, strict=True) if bill.totals != before.totals]
        promise(not changed, f"one pass more changed the bills of {changed}")
        self._narrator.say("one pass more changes no bill")


def _use(line: Line) -> str:
    """Such as `140.33 of 100 hours`; rounded for the table only."""
    included = "" if not line.included else f" of {_short(line.included)}"
    refused = f", {_short(line.refused)} refused" if line.refused else ""
    return f"{_short(line.quantity)}{included} {line.unit}{'' if line.unit == 'GB-month' else 's'}{refused}"


def _short(value: Decimal) -> str:
    text = f"{value.quantize(Decimal('0.01')):f}"
    return text.rstrip("0").rstrip(".")


async def _no_time(_seconds: float) -> None:
    """A pause in which only virtual time would pass."""
    await asyncio.sleep(0.05)
