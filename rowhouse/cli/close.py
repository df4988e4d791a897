"""close: a month's invoices go out when they agree with its bills."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.apply import StackOption
from rowhouse.cli.output import EXIT_FINDINGS, JsonOption, data, emit, fail, handled, prose
from rowhouse.cli.pipeline import SinkName, opened
from rowhouse.cli.reconcile import LocalLedgerOption, SinkOption
from rowhouse.spec import times
from rowhouse.spec.money import shown
from rowhouse.usage.close import Closing
from rowhouse.usage.close import close as close_month

__all__ = ["close", "summary"]

PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="The month to close, such as 2026-11.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Let the invoices go out; the first three closes ask otherwise.")]
_SHOWN = 20


@handled
def close(
    period: PeriodArgument,
    stack: StackOption = "main",
    sink: SinkOption = "stripe",
    yes: YesOption = False,
    local_ledger: LocalLedgerOption = False,
    as_json: JsonOption = False,
) -> None:
    """Close a month: the last look, the last totals, every bill against its invoice, and only then the invoices go out."""
    try:
        times.month(period)
    except ValueError as error:
        fail(f"PERIOD: {error}. Write the month that is over.")
    result = asyncio.run(_close(period, stack, sink, yes=yes, local_ledger=local_ledger, quiet=as_json))
    if as_json:
        emit(result.document())
    else:
        for text, style in summary(result):
            (prose if style else data).print(text, style=style or None, markup=False, soft_wrap=True)
    if not result.is_well:
        raise typer.Exit(EXIT_FINDINGS)


async def _close(month: str, stack: str, sink: SinkName, *, yes: bool, local_ledger: bool, quiet: bool) -> Closing:
    asks = not yes and not quiet and prose.is_terminal
    status = prose.status(f"closing {month} …") if prose.is_terminal and not quiet else None

    def tell(what: str) -> None:
        if status is not None:
            status.update(f"{what} …")

    def approve(closing: Closing) -> bool:
        if not asks:
            return yes
        if status is not None:
            status.stop()
        for text, style in summary(closing):
            prose.print(text, style=style or None, markup=False, soft_wrap=True)
        said = typer.confirm(f"Let {closing.ready} invoices of {closing.month} go out?", err=True)
        if status is not None:
            status.start()
        return said

    if status is not None:
        status.start()
    try:
        async with opened(Path.cwd(), stack, os.environ, sink=sink, local_ledger=local_ledger, progress=tell) as pipeline:
            steps = pipeline.steps(month, approve, _counting(tell))
            result = await close_month(month, pipeline.sink, steps)
            if result.state in {"partial", "done"}:
                await asyncio.to_thread(pipeline.open_next, month)
            return result
    finally:
        if status is not None:
            status.stop()


def _counting(tell: Callable[[str], None]) -> Callable[[str, int], None]:
    """Progress in words, each hundred tenants."""
    return lambda what, count: tell(f"{count} tenants {what}") if count % 100 == 0 else None


def summary(closing: Closing) -> list[tuple[str, str]]:
    """What a person wants to know, as (text, style), the bad news last; without a style it is data."""
    money = ", ".join(shown(total, currency) for currency, total in sorted(closing.totals.items())) or "nothing"
    states = {
        "waiting": "not closed: it waits for a complete look at the vendors",
        "held": "not closed: invoices are drafts until a person says so",
        "partial": "closed, but for the tenants named below",
        "done": "closed",
    }
    lines = [(f"{closing.month}: {states[closing.state]}", "")]
    if closing.why:
        lines.append((closing.why, ""))
    if not closing.tenants:
        return [*lines, *((f"trouble: {trouble}", "yellow") for trouble in closing.troubles[:_SHOWN])]
    lines.append((f"{closing.tenants} tenants, bills of {money}", ""))
    lines.append((f"{closing.ready} invoices agree with their bill, {closing.finalized} of them went out now", ""))
    if closing.items:
        lines.append((f"{closing.items} lines were put beside the sink's own: ended plans, shared base prices, packs", ""))
    for title, items in (("adjustment", closing.adjustments), ("on the next invoice", closing.later)):
        for tenant, item in items[:_SHOWN]:
            amount = shown(Decimal(item.cents).scaleb(-2), item.currency)
            lines.append((f"{title}: {tenant}, {amount}: {item.text}", "yellow"))
        if len(items) > _SHOWN:
            lines.append((f"{title}: and {len(items) - _SHOWN} more; --json has all of them", "yellow"))
    lines += [(f"trouble: {trouble}", "yellow") for trouble in closing.troubles[:_SHOWN]]
    lines += [(f"stays a draft: {trouble}", "red") for trouble in closing.blocked[:_SHOWN]]
    more = max(0, len(closing.troubles) - _SHOWN) + max(0, len(closing.blocked) - _SHOWN)
    if more:
        lines.append((f"and {more} more; --json has all of them", "red"))
    return lines
