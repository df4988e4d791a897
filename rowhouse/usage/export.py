"""Everything that bills are made of, as files that need no Rowhouse: Parquet by month and day, with their checksums.

Does: write what is new or has changed, and a manifest of each month and of the whole, which holds the heads of the ledger's chains.
Does not: delete, or write what is there already. docs/export.md tells how to read it.

The same ledger gives the same bytes: rows are ordered, one thread writes, and nothing tells when or where. Files first, then the month's
manifest, then the one of the whole: killed in between, the next run completes it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.usage.bills import Context, NoLedgerError, bills_from, connect, load, month_of
from rowhouse.usage.entries import canonical
from rowhouse.usage.export_tables import TABLES, Table, is_closed, is_done, make_tables
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import DAY_MS, Bill, Window
from rowhouse.vendors.store import Store

__all__ = ["ExportError", "Exported", "check", "export", "written_at"]

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many months of how many are done."""

_ROOT: Final = "manifest.json"
_SUMS: Final = "SHA256SUMS"
_VERSION: Final = 1


class ExportError(RowhouseError):
    """An export cannot be read, or is none."""


@dataclass(slots=True)
class Exported:
    """What an export did."""

    closed_until: int | None = None
    """Up to when hours are in it, ms; None where none is closed yet."""
    months: list[str] = field(default_factory=list)
    """Those that were looked at."""
    written: list[str] = field(default_factory=list)
    """Keys that are new or have changed."""
    unchanged: int = 0
    without_bill: dict[str, str] = field(default_factory=dict)
    """`month tenant` to why there is none."""


@dataclass(frozen=True, slots=True)
class _File:
    key: str
    sha256: str
    size: int
    rows: int

    def document(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "bytes": self.size, "rows": self.rows}


def export(ledger: Ledger, target: Store, *, since: str | None = None, progress: Progress = lambda _what, _done, _all: None) -> Exported:
    """Export every month that has a plan and is not final in the target; from `since` on all of them anew.

    A month is final there when its invoices and those of the next month have gone out: the next close is the last that adjusts it.
    Raises: NoLedgerError, LedgerError (nothing is written of a month that cannot be read), StoreError (run it again), ExportError.
    """
    result = Exported()
    prefix = f"export/{ledger.cell}/"
    heads = ledger.heads()  # before anything is read: what they vouch for is in the export
    if not heads:
        raise NoLedgerError(
            f"cell {ledger.cell} has no ledger in this store yet: nothing was ever observed. Run `rowhouse reconcile` first."
        )
    with connect() as connection:
        ledger.table(connection)
        months = _months(connection)
    root = _manifest(target, f"{prefix}{_ROOT}")
    known: dict[str, str] = dict(root.get("months", {})) if root else {}
    before, until = "", None
    for number, month in enumerate(months):
        progress(month, number, len(months))
        if _is_final(target, prefix, month, known, months) and (since is None or month < since):
            before = known[month]
            until = Window.month(month).end
            continue
        bills, context = _bills(ledger, month)
        before, reached = _month(target, prefix, month, bills, context, before, result)
        known[month] = before
        until = reached if reached > context.period.start else until
    result.closed_until = until
    document = {"v": _VERSION, "cell": ledger.cell, "closed_until": _shown(until), "heads": heads}
    _put(target, f"{prefix}{_ROOT}", _text({**document, "months": {month: known[month] for month in sorted(known)}}), result)
    progress("", len(months), len(months))
    return result


def written_at(url: str) -> str:
    """A folder's path as a store's address; what is one already is left as it is. Raises: ExportError where nothing is named."""
    if not url.strip():
        raise ExportError("an export needs a place, and none was named. Name a folder, file:///folder or s3://bucket/prefix.")
    return url if "://" in url else Path(url).expanduser().resolve().as_uri()


def check(target: Store, cell: str) -> list[str]:
    """What is wrong with an export, file by file: missing, or not what its manifest says. Empty when all is well.

    Raises: ExportError where there is none.
    """
    prefix = f"export/{cell}/"
    root = _manifest(target, f"{prefix}{_ROOT}")
    if root is None:
        raise ExportError(f"there is no export of cell {cell} there: {prefix}{_ROOT} is missing. Run `rowhouse export` first.")
    wrong = []
    before = ""
    for month, sha256 in sorted(root["months"].items()):
        key = f"{prefix}{month}/{_ROOT}"
        blob = target.get(key)
        if blob is None or _sha256(blob.data) != sha256:
            wrong.append(f"{key}: {'missing' if blob is None else 'not what ' + prefix + _ROOT + ' says'}")
            before = sha256
            continue
        manifest = json.loads(blob.data)
        if manifest["before"] != before:
            wrong.append(f"{key}: it does not follow the month before it")
        before = sha256
        for name, said in sorted(manifest["files"].items()):
            found = target.get(f"{prefix}{month}/{name}")
            if found is None or _sha256(found.data) != said["sha256"]:
                wrong.append(f"{prefix}{month}/{name}: {'missing' if found is None else 'not what its manifest says'}")
    return wrong


def _bills(ledger: Ledger, month: str) -> tuple[list[Bill], Context]:
    connection, period = connect(), Window.month(month)
    load(ledger, connection, period)
    return bills_from(connection, period, ledger=ledger)


def _months(connection: Any) -> list[str]:
    """Every month from the first plan to the last word of the passes, `2026-11`."""
    first = connection.execute("SELECT min(\"at\") FROM entries WHERE kind = 'plan' AND tenant IS NOT NULL").fetchall()[0][0]
    last = connection.execute("SELECT max(\"at\") FROM entries WHERE kind = 'pass'").fetchall()[0][0]
    found = []
    at = first
    while at is not None and last is not None and at <= last:
        found.append(month_of(at))
        at = Window.month(found[-1]).end
    return found


def _is_final(target: Store, prefix: str, month: str, known: Mapping[str, str], months: list[str]) -> bool:
    if month in months[-2:]:
        return False
    for own in (month, months[months.index(month) + 1]):
        blob = target.get(f"{prefix}{own}/{_ROOT}") if own in known else None
        if blob is None or _sha256(blob.data) != known[own] or not json.loads(blob.data).get("done"):
            return False
    return True


def _month(
    target: Store, prefix: str, month: str, bills: Iterable[Bill], context: Context, before: str, result: Exported
) -> tuple[str, int]:
    """Write one month. Returns: its manifest's hash, and up to when its hours are closed."""
    try:
        until, closed, done = make_tables(list(bills), context), is_closed(context), is_done(context)
        context.connection.execute("SET threads = 1")  # the order of a file's rows must not depend on who is quicker
        files = [file for table in TABLES for file in _files(target, f"{prefix}{month}/", table, context, result)]
    finally:
        context.connection.close()
    result.months.append(month)
    result.without_bill |= {f"{month} {tenant}": why for tenant, why in sorted(context.failed.items())}
    sums = "".join(f"{file.sha256}  {file.key}\n" for file in files).encode()
    _put(target, f"{prefix}{month}/{_SUMS}", sums, result)
    document = {
        "v": _VERSION,
        "period": month,
        "closed_until": _shown(until),
        "complete": until == context.period.end,
        "closed": closed,
        "done": done,
        "before": before,
        "without_bill": dict(sorted(context.failed.items())),
        "files": {file.key: file.document() for file in files},
    }
    return _put(target, f"{prefix}{month}/{_ROOT}", _text(document), result), until


def _files(target: Store, prefix: str, table: Table, context: Context, result: Exported) -> Iterable[_File]:
    """Write a table's files, one a day or one a month."""
    source = f"export_{table.name}"
    if not table.daily:
        file = _parquet(target, prefix, f"{table.name}.parquet", table, context, "", result)
        return [file] if file else []
    days = context.connection.execute(f"SELECT DISTINCT hour - hour % {DAY_MS} AS day FROM {source} ORDER BY day").fetchall()
    found = []
    for (day,) in days:
        name = f"{table.name}/{datetime.fromtimestamp(day / 1000, tz=UTC):%Y-%m-%d}.parquet"
        file = _parquet(target, prefix, name, table, context, f"WHERE hour >= {day} AND hour < {day + DAY_MS}", result)
        found += [file] if file else []
    return found


def _parquet(target: Store, prefix: str, name: str, table: Table, context: Context, where: str, result: Exported) -> _File | None:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    order = ", ".join(f'"{column}" NULLS FIRST' for column in table.order)
    chosen = f"SELECT {columns} FROM export_{table.name} {where} ORDER BY {order}"
    with tempfile.TemporaryDirectory(prefix="rowhouse-export-") as folder:
        path = Path(folder) / "part.parquet"
        done = context.connection.execute(f"COPY ({chosen}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)").fetchall()
        rows = int(done[0][0])
        data = path.read_bytes() if rows else b""
    if not rows:
        return None
    return _File(name, _put(target, f"{prefix}{name}", data, result), len(data), rows)


def _put(target: Store, key: str, data: bytes, result: Exported) -> str:
    """Write an object unless it is there already, byte by byte. Returns: its SHA-256."""
    found = target.get(key)
    if found is not None and found.data == data:
        result.unchanged += 1
    else:
        target.put(key, data)
        result.written.append(key)
    return _sha256(data)


def _manifest(target: Store, key: str) -> dict[str, Any] | None:
    blob = target.get(key)
    if blob is None:
        return None
    try:
        found = json.loads(blob.data)
        if found["v"] != _VERSION:
            raise ExportError(f"{key} is of version {found['v']!r}, and this is version {_VERSION}. Use a newer Rowhouse.")
    except (ValueError, KeyError, TypeError) as exc:
        raise ExportError(f"{key} is no manifest of an export. Export to another place, or remove it.") from exc
    return dict(found)


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(json.loads(canonical(document)), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _shown(at: int | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at / 1000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"
