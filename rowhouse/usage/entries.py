"""One line of the ledger: what it may hold, and how it is written.

Does: check, serialise canonically, parse. Does not: know what a kind means; docs/ledger.md has the table, and each kind its owner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from rowhouse.errors import RowhouseError

__all__ = ["COLUMNS", "KINDS", "Entry", "LedgerError", "canonical", "line_of", "parse"]

COLUMNS: Final = ("kind", "tenant", "instance", "subject", "at", "asof", "state", "value", "id", "data")
"""Of a line, in the order in which they are written; what does not apply is left out."""
KINDS: Final = frozenset(
    {
        *("machine", "events", "event", "volume", "storage", "login", "activity", "counter", "pass", "plan", "purchase", "opening"),
        *("correction", "push", "close", "invoice"),
    }
)
_NUMBER: Final = re.compile(r"^-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,12})?$")
_INSTANTS: Final = range(-(2**53), 2**53)  # every JSON reader keeps these whole


class LedgerError(RowhouseError):
    """An entry or a segment is not what a ledger may hold; the text names it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact, with the vendor's own time. What does not apply is None."""

    kind: str
    """One of KINDS."""
    at: int
    """When it was so, in milliseconds UTC, by the vendor's clock."""
    tenant: str | None = None
    instance: str | None = None
    subject: str | None = None
    """What it speaks of: a machine's id, a volume's, a counter's name, a plan."""
    asof: int | None = None
    """Up to when the statement is vouched for, in milliseconds UTC."""
    state: str | None = None
    value: str | None = None
    """A plain decimal number."""
    id: str | None = None
    """The same fact told twice has the same id."""
    data: Mapping[str, Any] | None = None
    """The rest, verbatim; a JSON object."""

    @property
    def number(self) -> Decimal:
        """The value as a number. Raises LedgerError where there is none."""
        if self.value is None:
            raise LedgerError(f"an entry of kind {self.kind!r} at {self.at} has no value, and one is needed. Check who wrote it.")
        return Decimal(self.value)


def canonical(value: Any) -> str:
    """A JSON value as one line of text: keys sorted, no spaces, so that equal values give equal text.

    Raises: LedgerError for what JSON has no word for (NaN, a Decimal, a lone surrogate).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as exc:
        raise LedgerError(f"a value cannot be written to the ledger: {exc}. Give numbers that matter as decimal text.") from exc
    return text


def line_of(entry: Entry) -> str:
    """The entry as one line without its end: columns in order, absent ones left out, `data` in canonical form.

    Raises: LedgerError naming the column that is wrong.
    """
    _check(entry)
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        value = getattr(entry, name)
        if value is not None:
            columns[name] = dict(value) if name == "data" else value
    data = columns.pop("data", None)
    text = json.dumps(columns, separators=(",", ":"), ensure_ascii=False)
    return text if data is None else f'{text[:-1]},"data":{canonical(data)}}}'


def parse(line: str | bytes) -> Entry:
    """The entry of one line. Raises LedgerError when it is not one."""
    try:
        columns = json.loads(line)
    except ValueError as exc:
        raise LedgerError(f"a line is not JSON: {exc}.") from exc
    if not isinstance(columns, dict) or "kind" not in columns or "at" not in columns:
        raise LedgerError("a line is not an entry: it has no kind or no time.")
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise LedgerError(f"an entry has the unknown column {unknown[0]!r}. Columns: {', '.join(COLUMNS)}.")
    entry = Entry(**columns)
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    if entry.kind not in KINDS:
        raise LedgerError(f"an entry has the unknown kind {entry.kind!r}. Kinds: {', '.join(sorted(KINDS))}.")
    for name in ("at", "asof"):
        value = getattr(entry, name)
        absent = value is None and name == "asof"
        if not absent and (type(value) is not int or value not in _INSTANTS):
            raise LedgerError(f"{entry.kind}: {name} must be whole milliseconds UTC, not {value!r}.")
    for name in ("tenant", "instance", "subject", "state", "id"):
        value = getattr(entry, name)
        if value is not None and not (isinstance(value, str) and value and value.isprintable()):
            raise LedgerError(f"{entry.kind}: {name} must be printable text, not {value!r}.")
    if entry.value is not None and not (isinstance(entry.value, str) and _NUMBER.match(entry.value)):
        raise LedgerError(f"{entry.kind}: value must be a plain decimal number as text, not {entry.value!r}.")
    if entry.data is not None and not isinstance(entry.data, Mapping):
        raise LedgerError(f"{entry.kind}: data must be a JSON object, not {type(entry.data).__name__}.")
