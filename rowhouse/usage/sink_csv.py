"""Bills as files, for a business that sends its invoices by other means: one CSV a closed month, a row for each line.

Does: what rowhouse.usage.sink names, with nothing counted outside: each line of a bill is a row, what became known after a month's file was
written is a row of the next one. Does not: replace a file. The same bills give the same bytes.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.money import minor_units
from rowhouse.usage.model import Line, Window, milliseconds
from rowhouse.usage.sink import Charge, Held, Item, Receipt, Refusals, Statement, Total
from rowhouse.vendors.store import Conflict, Store

__all__ = ["COLUMNS", "CsvSink", "CsvSinkError", "key_of"]

COLUMNS: Final = ("tenant", "month", "line", "text", "start", "end", "amount", "currency")
"""`month` is the one that a row is for: an earlier one on a row that adjusts it. `amount` is in the currency's major unit."""


class CsvSinkError(RowhouseError):
    """A month's file is not what it should be."""


def key_of(month: str) -> str:
    """Where a month's file stands in the store."""
    return f"invoices/{month}.csv"


class CsvSink:
    """Files in an object store, `invoices/2026-11.csv`."""

    name = "the CSV file"
    counts = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[str, list[Item]] = {}
        self._month = ""
        self._closed = False

    async def open(self) -> None:
        """Nothing to learn."""

    def label(self, line: Line) -> str:
        """Nothing is counted here."""
        return line.meter

    def bills(self, total: Total) -> bool:
        """Nothing is counted here."""
        del total
        return False

    async def push(self, total: Total) -> Receipt:
        """Nothing is counted here."""
        del total
        return Receipt("sent")

    async def sum_of(self, total: Total) -> int | None:
        """Nothing is counted here."""
        del total
        return None

    async def refusals(self, since: int) -> Refusals:
        """Nothing is refused."""
        return Refusals({}, until=since)

    async def hold(self, now: int) -> Held:
        """Nothing goes out by itself."""
        del now
        return Held(0)

    async def statements(self, months: Sequence[str], closing: Window) -> Mapping[str, Statement]:
        """What the files of these months say; the closing month's, once written, takes no more."""
        self._month = datetime.fromtimestamp(closing.start // 1000, tz=UTC).strftime("%Y-%m")
        self._rows = {}
        found: dict[str, list[Charge]] = {}
        for month in sorted({*months, self._month}):
            blob = await asyncio.to_thread(self._store.get, key_of(month))
            self._closed = blob is not None
            if blob is not None:
                for tenant, charge in _read(month, blob.data):
                    found.setdefault(tenant, []).append(charge)
        return {tenant: replace(self.blank(tenant), charges=tuple(charges)) for tenant, charges in found.items()}

    def blank(self, tenant: str) -> Statement:
        """A tenant without a row."""
        key = key_of(self._month)
        return Statement(tenant, customer=tenant, invoices=(key,), final=self._closed)

    async def settle(self, statement: Statement, items: Sequence[Item], month: str) -> Statement:
        """Keep rows for the file."""
        if self._closed:
            raise CsvSinkError(f"{key_of(month)} is written, and takes no more rows.")
        self._rows.setdefault(statement.tenant, []).extend(items)
        more = tuple(_charge(item, key_of(month), final=False) for item in items)
        return replace(statement, charges=(*statement.charges, *more), draft=key_of(month))

    async def finalize(self, statement: Statement) -> Statement:
        """The file is written for all at once; see `finish`."""
        charges = tuple(replace(charge, final=True) for charge in statement.charges)
        return replace(statement, charges=charges, draft="")

    async def finish(self, month: str) -> None:
        """Write the month's file, once. Raises CsvSinkError where another one stands."""
        if self._closed:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for tenant in sorted(self._rows):
            for item in sorted(self._rows[tenant], key=lambda item: (item.period, item.start, item.key)):
                span = (_time(item.start), _time(item.end))
                amount = f"{Decimal(item.cents).scaleb(-2):f}"
                writer.writerow([tenant, item.period, item.key, item.text, *span, amount, item.currency])
        data = text.getvalue().encode()
        try:
            await asyncio.to_thread(self._store.put, key_of(month), data, if_none_match=True)
        except Conflict as error:
            found = await asyncio.to_thread(self._store.get, key_of(month))
            if found is None or found.data != data:
                raise CsvSinkError(f"{key_of(month)} was written by another close with other rows. Run the close again.") from error
        self._closed = True


def _charge(item: Item, invoice: str, *, final: bool) -> Charge:
    return Charge("item", item.key, item.period, item.start, item.end, item.cents, item.currency, invoice, final, text=item.text)


def _read(month: str, data: bytes) -> list[tuple[str, Charge]]:
    """A file's rows. Raises CsvSinkError naming the row that is none of ours."""
    found = []
    for number, row in enumerate(csv.DictReader(io.StringIO(data.decode())), start=2):
        try:
            start, end = (milliseconds(datetime.fromisoformat(row[name])) for name in ("start", "end"))
            item = Item(row["line"], row["month"], minor_units(Decimal(row["amount"])), row["currency"], start, end, row["text"])
            found.append((row["tenant"], _charge(item, key_of(month), final=True)))
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise CsvSinkError(f"{key_of(month)}, line {number}, is not a row of a closed month. Put the file back as it was.") from error
    return found


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 1000, tz=UTC):%Y-%m-%dT%H:%M:%S}.{at % 1000:03}Z"
