"""reconcile: one pass over every instance, remembered, rated and told to the billing sink."""

from __future__ import annotations

import asyncio
import contextlib
import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.apply import StackOption
from rowhouse.cli.output import EXIT_FINDINGS, JsonOption, data, emit, handled, prose
from rowhouse.cli.pipeline import SinkName, opened
from rowhouse.spec.money import shown
from rowhouse.usage.model import written_instant
from rowhouse.usage.passes import PassResult
from rowhouse.usage.passes import reconcile as one_pass

__all__ = ["LocalLedgerOption", "SinkOption", "reconcile"]

SinkOption = Annotated[SinkName, typer.Option("--sink", help="Where bills go: Stripe, or CSV files in the store.", envvar="ROWHOUSE_SINK")]
LocalLedgerOption = Annotated[bool, typer.Option("--local-ledger", help="Keep the ledger in a folder of this machine even so.")]
_SHOWN = 20


@handled
def reconcile(
    stack: StackOption = "main", sink: SinkOption = "stripe", local_ledger: LocalLedgerOption = False, as_json: JsonOption = False
) -> None:
    """Look at every instance, remember it, and bring bills up to date. Run it each hour, or each five minutes."""
    result = asyncio.run(_reconcile(stack, sink, local_ledger=local_ledger, quiet=as_json))
    if as_json:
        emit(result.document())
    else:
        _show(result)
    if not result.is_well:
        raise typer.Exit(EXIT_FINDINGS)


async def _reconcile(stack: str, sink: SinkName, *, local_ledger: bool, quiet: bool) -> PassResult:
    with prose.status("reading the ledger …") if prose.is_terminal and not quiet else _nothing() as status:

        def tell(what: str) -> None:
            if status is not None:
                status.update(f"{what} …")

        async with opened(Path.cwd(), stack, os.environ, sink=sink, local_ledger=local_ledger, progress=tell) as pipeline:
            return await one_pass(pipeline)


def _nothing() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def _show(result: PassResult) -> None:
    """What a person wants to know, the bad news last so that it is seen."""
    watermark = result.fresh.watermark if result.fresh is not None else None
    calls = sum(result.calls.values())
    data.print(f"pass at {written_instant(result.now)}, {calls} calls to vendors", markup=False)
    if not result.remembered:
        prose.print("Another pass of this minute, or a later one, is remembered already; this one was left out.", style="yellow")
        return
    totals: dict[str, Decimal] = {}
    for currency, total in (item for bill in result.bills for item in bill.totals.items()):
        totals[currency] = totals.get(currency, Decimal(0)) + total
    money = ", ".join(shown(total, currency) for currency, total in sorted(totals.items())) or "nothing"
    vouched = f"up to {written_instant(watermark)}" if watermark is not None else "not complete yet for any time"
    data.print(f"{len(result.bills)} tenants in {result.month}, {vouched}: {money} so far", markup=False)
    data.print(f"{result.pushed} totals sent, {result.held} invoices held", markup=False)
    for name, source in result.sources.items():
        if not source.complete:
            prose.print(f"incomplete: {name}: {source.reason}", style="yellow", markup=False, soft_wrap=True)
    for finding in result.findings[:_SHOWN]:
        prose.print(f"finding: {finding.rule}: {finding.message}", style="yellow", markup=False, soft_wrap=True)
    for trouble in result.troubles[:_SHOWN]:
        prose.print(f"trouble: {trouble}", style="red", markup=False, soft_wrap=True)
    more = max(0, len(result.findings) - _SHOWN) + max(0, len(result.troubles) - _SHOWN)
    if more:
        prose.print(f"and {more} more; --json has all of them", markup=False)
