"""quote: what would this use cost? No vendor is asked and nothing is written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rowhouse.cli.output import JsonOption, data, emit, handled, prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.errors import SpecError
from rowhouse.spec import Plan, times
from rowhouse.spec.load import read_fleet
from rowhouse.spec.money import shown
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.usage.model import Bill
from rowhouse.usage.quote_file import read_use

__all__ = ["quote"]


@handled
def quote(
    plan: Annotated[str, typer.Argument(metavar="CATALOG/PLAN", help="A plan in plans/.")],
    period: Annotated[str, typer.Option("--period", help="UTC calendar month, such as 2026-11.")],
    usage: Annotated[Path, typer.Option("--usage", metavar="FILE", help="JSON file of what is used; docs/rating.md has its keys.")],
    as_json: JsonOption = False,
) -> None:
    """Say what made-up use would cost on a plan in one month."""
    # Not at the top: it brings DuckDB, which takes 0.1 s of every other command's start.
    from rowhouse.usage.quote import document_of
    from rowhouse.usage.quote import quote as quoted

    held = _plan(plan)
    try:
        month = times.month(period)
    except ValueError:
        raise EnvironmentProblemError(f"--period: {show(period)} is not a month. Write year and month, such as 2026-11.") from None
    use = read_use(usage, counters={meter.counter for meter in held.meters if meter.counter}, packs={pack.name for pack in held.packs})
    bill = quoted(held, month, use)
    if as_json:
        emit(document_of(bill, held, period))
    else:
        _show(bill, held, period)


def _plan(ref: str) -> Plan:
    """A plan of the project. A mistake in a tenant's file does not matter here; one in plans/ or apps/ may be one in a price."""
    fleet, problems = read_fleet(find_root(Path.cwd()))
    wrong = [problem for problem in problems if problem.severity == "error" and not problem.file.startswith("tenants/")]
    if wrong:
        raise SpecError(wrong)
    try:
        return fleet.plan(ref)
    except KeyError:
        refs = [each.ref for catalog in fleet.catalogs for each in catalog.plans]
        raise EnvironmentProblemError(
            f"plan {show(ref)} is not defined. {did_you_mean(ref, refs)}Plans: {listed(refs)}. Add it to plans/ or pick one."
        ) from None


def _written(quantity: Decimal) -> str:
    return f"{quantity:f}"


def _show(bill: Bill, plan: Plan, period: str) -> None:
    """The bill for people."""
    table = Table(box=None, title=f"{plan.ref}, {period}", title_justify="left")
    table.add_column("line")
    for column in ("quantity", "included", "credits", "beyond", "amount"):
        table.add_column(column, justify="right")
    per = {meter.name: "" if meter.per == "period" else f" a {meter.per}" for meter in plan.meters}
    for line in bill.lines:
        is_meter = line.meter in per
        included = "" if not is_meter else "unlimited" if line.included is None else f"{_written(line.included)}{per[line.meter]}"
        beyond = f"{_written(line.refused)} refused" if line.refused else _written(line.billed) if is_meter and line.billed else ""
        quantity = f"{_written(line.quantity)} {line.unit}"
        table.add_row(
            line.meter,
            quantity,
            included,
            _written(line.credits_used) if line.credits_used else "",
            beyond,
            shown(line.amount, line.currency),
        )
    table.add_row("total", "", "", "", "", shown(bill.total, bill.currency), style="bold")
    data.print(table, markup=False)
    for meter, count in bill.credits_left.items():
        data.print(f"credits left: {_written(count)} {meter}", markup=False)
    for meter, percent in bill.warnings.items():
        prose.print(f"{meter}: {percent} % of what is included is reached", style="yellow", markup=False)
