"""usage, explain-bill: one tenant's use, and one bill from its lines down to what machines said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.table import Table

from rowhouse.cli.apply import StackOption
from rowhouse.cli.months import Months, PeriodOption, months_of, telling
from rowhouse.cli.output import JsonOption, data, emit, handled, prose
from rowhouse.spec.prices import BASE, MINIMUM
from rowhouse.usage.explain import explain
from rowhouse.usage.model import month_before
from rowhouse.usage.summary import summary

__all__ = ["explain_bill", "usage"]

_HISTORY = 5
_BAR = 20
_ROWS = 40
_SUBSECOND = re.compile(r"(\.\d{3})000Z$")
"""Vendors tell milliseconds, so the last three of six digits say nothing."""

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")]


@handled
def usage(tenant: TenantArgument, period: PeriodOption = None, stack: StackOption = "main", as_json: JsonOption = False) -> None:
    """Show what a tenant used of what its plan includes, what it costs so far, and the months before."""
    with telling(quiet=as_json) as tell:
        months = months_of(stack, tell)
        month = months.meant(period)
        bills, context = months.bills(month)
        told = summary(tenant, bills, context, _before(months, month), months.bills)
    if as_json:
        emit(told)
    else:
        _show_usage(told)


def _before(months: Months, month: str) -> list[str]:
    """Earlier months of which the ledger has anything, the latest first."""
    first = months.first()
    found: list[str] = []
    while first is not None and len(found) < _HISTORY and (month := month_before(month)) >= first:
        found.append(month)
    return found


def _show_usage(told: Mapping[str, Any]) -> None:
    until = told["observed_until"]
    data.print(f"{told['tenant']}: {told['title']} ({told['plan']})", style="bold", markup=False)
    data.print(f"{told['period']['start'][:7]}, {f'observed until {until}' if until else 'nothing vouched for yet'}", markup=False)
    table = Table(box=None)
    table.add_column("")
    for column in ("used", "included", "%"):
        table.add_column(column, justify="right")
    table.add_column("")
    for use in told["meters"]:
        each = "" if use["per"] == "period" else f" a {use['per']}"
        percent = use["percent"]
        included = "unlimited" if use["included"] is None else f"{_short(use['included'])}{each}"
        shown = _short(use["used"]) if use["per"] == "period" else f"{use['used']} (busiest {use['per']} {use['busiest']})"
        table.add_row(f"{use['meter']}", f"{shown} {use['unit']}", included, "" if percent is None else str(percent), _bar(percent))
    limit = told["limits"]["instances"]
    table.add_row("instances", str(told["usage"]["instances"]), "unlimited" if limit is None else str(limit), "", "")
    data.print(table, markup=False)
    for meter, left in told["credits_left"].items():
        data.print(f"credits left: {left} {meter}", markup=False)
    for warning in told["warnings"]:
        prose.print(warning, style="yellow", markup=False, soft_wrap=True)
    history = Table(box=None)
    for column in ("month", "plan"):
        history.add_column(column)
    for column in ("running hours", "beyond the base", "cost"):
        history.add_column(column, justify="right")
    for row in told["history"]:
        cost = f"{row['cost']} {row['currency'].upper()}"
        history.add_row(row["month"], row["plan"], row["running_hours"], row["overage_cost"], cost)
    data.print(history, markup=False)


def _short(quantity: str) -> str:
    """Two decimals at most: the document has them all."""
    return quantity if "." not in quantity else f"{Decimal(quantity):.2f}"


def _bar(percent: int | None) -> str:
    if percent is None:
        return ""
    filled = min(_BAR, percent * _BAR // 100)
    return "█" * filled + "░" * (_BAR - filled)


@handled
def explain_bill(
    tenant: TenantArgument,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="The month, such as 2026-11.")],
    line: Annotated[
        str | None, typer.Option("--line", metavar="METER", help="One line down to hours, runs, events and ledger segments.")
    ] = None,
    stack: StackOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Explain a bill: each line in sentences; one line down to the machine's own events and where they stand in the ledger."""
    with telling(quiet=as_json) as tell:
        months = months_of(stack, tell)
        bills, context = months.bills(months.meant(period))
        told = explain(
            tenant,
            bills,
            context,
            line=line,
            ledger=months.ledger,
            progress=lambda count: tell(f"looking through the ledger, {count} segments"),
        )
    if as_json:
        emit(told)
    else:
        _show_bill(told, whole=line is None)


def _show_bill(told: Mapping[str, Any], *, whole: bool) -> None:
    until = told["observed_until"]
    data.print(f"{told['tenant']}, {told['period']}: {told['total']} {told['currency'].upper()}", style="bold", markup=False)
    if until != told["end"]:
        data.print(f"The month is running: observed until {until or 'nothing yet'}.", markup=False)
    for line in told["lines"]:
        data.print()
        data.print(f"{line['meter']:<28}{line['amount']:>14} {told['currency'].upper()}", style="bold", markup=False)
        for sentence in line["sentences"]:
            data.print(f"  {sentence}", markup=False, soft_wrap=True)
    if whole:
        meters = [line for line in told["lines"] if not line["meter"].startswith("pack:") and line["meter"] not in {BASE, MINIMUM}]
        if meters:
            largest = max(meters, key=lambda line: (Decimal(line["amount"]), Decimal(line["refused"]), line["quantity"] != "0"))
            hint = f"rowhouse explain-bill {told['tenant']} {told['period']} --line {largest['meter']}"
            prose.print(f"\nDown to the machines' own events: {hint}", markup=False, soft_wrap=True)
    else:
        _show_evidence(told["evidence"])


def _show_evidence(found: Mapping[str, Any]) -> None:
    """What the auditor wants, from days to ledger segments; JSON has all rows."""
    for title, rows in (
        ("By day", found["days"]),
        ("By hour", found["hours"]),
        ("Runs and gaps", found["spans"]),
        ("What was said", [{key: value for key, value in row.items() if key not in {"segment", "line"}} for row in found["entries"]]),
    ):
        if rows:
            data.print(f"\n{title}", style="bold", markup=False)
            _print_rows(rows)
    if found["segments"]:
        data.print("\nWhere it stands in the ledger", style="bold", markup=False)
    for place in found["segments"]:
        data.print(f"  {place['key']}\n    sha256 {place['sha256']}, entries: {place['entries']}", markup=False, soft_wrap=True)
    polls = found["polls"]
    if polls["count"]:
        data.print(f"\n{polls['count']} looks at the vendor's list, from {polls['first']} to {polls['last']}, agree with it.", markup=False)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 2))
    columns = [name for name in rows[0] if any(row.get(name) not in {None, ""} for row in rows)]
    for name in columns:
        table.add_column(name.replace("_s", " s").replace("_", " "), overflow="fold")
    for row in rows[:_ROWS]:
        table.add_row(*("" if row.get(name) is None else _SUBSECOND.sub(r"\1Z", str(row[name])) for name in columns))
    data.print(table, markup=False)
    if len(rows) > _ROWS:
        data.print(f"    and {len(rows) - _ROWS} more; --json has them all", markup=False)
