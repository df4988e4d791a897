"""The command's verbs, the five that matter first."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from rowhouse.cli import apply, bills, ci, close, edits, files, ledger, local, quote, reconcile, report, review, status

__all__ = ["app"]

app = typer.Typer(
    name="rowhouse",
    help="Single-tenant software as a service as code: one file a customer, one reviewed change.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rowhouse {version('rowhouse')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)] = False,
) -> None:
    pass


_DAILY = "Every day"
_ALSO = "Also"

app.command(rich_help_panel=_DAILY)(files.new)
app.command(rich_help_panel=_DAILY)(apply.up)
app.command(rich_help_panel=_DAILY)(status.status)
app.command(rich_help_panel=_DAILY)(reconcile.reconcile)
app.command(rich_help_panel=_DAILY)(close.close)
app.command(rich_help_panel=_ALSO)(files.check)
app.command(rich_help_panel=_ALSO)(review.review)
app.command(name="set", rich_help_panel=_ALSO)(edits.set_keys)
app.command(rich_help_panel=_ALSO)(edits.archive)
app.command(rich_help_panel=_ALSO)(quote.quote)
app.command(rich_help_panel=_ALSO)(bills.usage)
app.command(name="explain-bill", rich_help_panel=_ALSO)(bills.explain_bill)
app.command(rich_help_panel=_ALSO)(report.report)
app.command(rich_help_panel=_ALSO)(report.export)
app.command(rich_help_panel=_ALSO)(ledger.purchase)
app.command(rich_help_panel=_ALSO)(ledger.refund)
app.add_typer(ledger.app, name="ledger", rich_help_panel=_ALSO)
app.command(rich_help_panel=_ALSO)(apply.preview)
app.command(rich_help_panel=_ALSO)(apply.refresh)
app.command(rich_help_panel=_ALSO)(apply.destroy)
app.add_typer(ci.app, name="ci", rich_help_panel=_ALSO)
app.command(rich_help_panel=_ALSO)(local.demo)
app.command(rich_help_panel=_ALSO)(local.localcloud)
