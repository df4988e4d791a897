"""What the commands that read bills share: the ledger of a cell, which month is meant, what time it is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rowhouse.cli.ledger import open_ledger, stripes_time
from rowhouse.cli.output import prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.errors import RowhouseError
from rowhouse.spec import times
from rowhouse.spec.accounts import vendors_in
from rowhouse.spec.load import read_fleet
from rowhouse.spec.slug import show
from rowhouse.usage.bills import Context, NoLedgerError, bills_in
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import Bill, Window
from rowhouse.usage.segments import month_of, prefix_of

__all__ = ["Months", "PeriodOption", "months_of", "now_ms", "telling"]

PeriodOption = Annotated[
    str | None, typer.Option("--period", metavar="MONTH", help="UTC calendar month, such as 2026-11; default: the one of the last pass.")
]


class Months:
    """A cell's months, each computed when it is asked for."""

    def __init__(self, root: Path, stack: str, ledger: Ledger, tell: Callable[[str], None]) -> None:
        self.root, self.stack, self.ledger, self._tell = root, stack, ledger, tell

    def bills(self, month: str) -> tuple[Sequence[Bill], Context]:
        """Bills and what they were made of. A wrong file of a tenant stops nobody's bill."""
        fleet, _ = read_fleet(self.root)
        own = replace(fleet, tenants=fleet.in_cell(self.stack))
        return bills_in(self.ledger, Window.month(month), own, progress=self._tell)

    def first(self) -> str | None:
        """The month in which the ledger begins; None where there is none."""
        prefix = prefix_of(self.stack, "account")
        found = (key.removeprefix(prefix).partition("/")[0] for key, _ in self.ledger.store.list(prefix))
        return min((month for month in found if month[:1].isdigit()), default=None)

    def meant(self, period: str | None) -> str:
        """The month that was said, or that of the last pass. Raises: EnvironmentProblemError, NoLedgerError."""
        if period is not None:
            try:
                times.month(period)
            except ValueError:
                raise EnvironmentProblemError(f"{show(period)} is not a month. Write year and month, such as 2026-11.") from None
        last = self.ledger.last_window("pass")
        if last is None:
            raise NoLedgerError(f"cell {self.stack} has no ledger yet: nothing was ever observed. Run `rowhouse reconcile` first.")
        if period is not None and period > month_of(last):
            raise EnvironmentProblemError(f"{period} had not begun when the last pass was made, in {month_of(last)}. Name an earlier one.")
        return period or month_of(last)


@contextmanager
def telling(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A live line on standard error that says what is being done; nothing where that is no terminal."""
    if quiet or not prose.is_terminal:
        yield lambda _what: None
        return
    with prose.status("reading the ledger …") as status:
        yield lambda what: status.update(f"{what} …")


def months_of(stack: str, tell: Callable[[str], None]) -> Months:
    """The months of the project in the working directory."""
    root = find_root(Path.cwd())
    return Months(root, stack, open_ledger(root, stack, os.environ), tell)


def now_ms(env: Mapping[str, str]) -> int:
    """What time it is: the stand-ins' own where they run, because their clock is moved; else this machine's, for freshness alone."""
    if vendors_in(env) == "loopback" and env.get("STRIPE_API_KEY"):
        try:
            return asyncio.run(stripes_time())
        except RowhouseError:
            pass
    return int(time.time() * 1000)
