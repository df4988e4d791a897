"""report, export: a month of the whole fleet on one page, and everything that bills are made of as files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from rowhouse.cli.apply import StackOption
from rowhouse.cli.ledger import open_ledger
from rowhouse.cli.months import PeriodOption, months_of, now_ms, telling
from rowhouse.cli.output import EXIT_FINDINGS, JsonOption, data, emit, fail, handled, prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.spec.slug import show
from rowhouse.usage.export import check, written_at
from rowhouse.usage.export import export as exported
from rowhouse.usage.model import Window, written_instant
from rowhouse.usage.report import report_csv, report_html
from rowhouse.usage.report_data import report_data
from rowhouse.usage.vendor_prices import book_for, read_book
from rowhouse.vendors.store import open_store

__all__ = ["export", "report"]

_SHOWN = 20


@handled
def report(
    period: PeriodOption = None,
    stack: StackOption = "main",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write the page; default: .rowhouse/reports/<stack>-<month>.html.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE", help="A price book of your own; docs/reading-bills.md has its keys.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="The same numbers as CSV on standard output, no page.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a month's report: use against limits, revenue, cost and margin, gaps, freshness; exit code 1 when anything needs a look."""
    if as_csv and as_json:
        raise EnvironmentProblemError("--csv and --json are two documents, and standard output takes one. Choose one of them.")
    own = read_book(prices) if prices is not None else None
    with telling(quiet=as_json or as_csv) as tell:
        months = months_of(stack, tell)
        month = months.meant(period)
        bills, context = months.bills(month)
        tell("putting it together")
        document = report_data(bills, context, own or book_for(month), cell=stack, now=now_ms(os.environ))
        if as_json:
            emit(document)
        elif as_csv:
            sys.stdout.write(report_csv(document))
        else:
            tell("drawing")
            path = out or months.root / ".rowhouse" / "reports" / f"{stack}-{month}.html"
            _write(path, report_html(document))
    if not as_json and not as_csv:
        totals = document["totals"]
        until = document["observed_until"] or "never yet"
        data.print(f"{path}", markup=False, soft_wrap=True)
        money = ", ".join(f"{amount} {currency.upper()}" for currency, amount in totals["revenue"].items())
        data.print(f"{month}: {totals['tenants']} tenants, revenue {money}, observed until {until}", markup=False)
    for problem in document["problems"][:_SHOWN]:
        prose.print(problem["text"], style="yellow", markup=False, soft_wrap=True)
    if len(document["problems"]) > _SHOWN:
        prose.print(f"and {len(document['problems']) - _SHOWN} more; the report has them all", style="yellow")
    if not document["ok"]:
        raise typer.Exit(EXIT_FINDINGS)


def _write(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        fail(f"{path}: {os.strerror(error.errno or 0)}. Name another file with --out.")


@handled
def export(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="A folder, file:///folder or s3://bucket/prefix?endpoint=URL.")],
    stack: StackOption = "main",
    since: Annotated[
        str | None, typer.Option("--since", metavar="MONTH", help="Compute every month from this one on anew, closed ones too.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Write nothing: compare the files there with their checksums.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write closed hours, plans, credits and bills as Parquet with checksums; from that alone every invoice can be computed."""
    root = find_root(Path.cwd())
    target = open_store(written_at(to))
    if verify:
        _verify(target, stack, as_json=as_json)
        return
    if since is not None:
        try:
            Window.month(since)
        except ValueError:
            raise EnvironmentProblemError(f"--since: {show(since)} is not a month. Write year and month, such as 2026-11.") from None
    ledger = open_ledger(root, stack, os.environ)
    with Progress(console=prose, transient=True, disable=as_json or not prose.is_terminal) as progress:
        bar = progress.add_task("reading the ledger", total=None)
        done = exported(
            ledger,
            target,
            since=since,
            progress=lambda what, of, count: progress.update(bar, description=f"exporting {what}", completed=of, total=count),
        )
    until = None if done.closed_until is None else written_instant(done.closed_until)
    if as_json:
        emit(
            {
                "cell": stack,
                "closed_until": until,
                "months": done.months,
                "written": done.written,
                "unchanged": done.unchanged,
                "without_bill": done.without_bill,
            }
        )
    else:
        closed = f"hours until {until}" if until else "no hour is closed yet"
        data.print(f"{len(done.written)} files written, {done.unchanged} unchanged; {closed}", markup=False)
    for who, why in list(done.without_bill.items())[:_SHOWN]:
        prose.print(f"{who} has no bill: {why}", style="yellow", markup=False, soft_wrap=True)
    if done.without_bill:
        raise typer.Exit(EXIT_FINDINGS)


def _verify(target: object, stack: str, *, as_json: bool) -> None:
    wrong = check(target, stack)  # type: ignore[arg-type]
    if as_json:
        emit({"cell": stack, "wrong": wrong})
    else:
        for line in wrong:
            data.print(line, markup=False, soft_wrap=True)
        if not wrong:
            data.print("every file is what its manifest says", markup=False)
    if wrong:
        prose.print("Run `rowhouse export` again: it writes what is missing or differs.", style="red")
        raise typer.Exit(EXIT_FINDINGS)
