"""The ledger's entries as a table of DuckDB, quickly.

Does: turn each day of a chain into one Parquet file of this machine, once, and put all of them together; small days of a month share one
file, because a file costs more to open than a few thousand rows to read. Does not: keep anything that could not be made again from the
segments.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, Self

import duckdb

from rowhouse.usage.entries import LedgerError
from rowhouse.usage.reading import Link
from rowhouse.usage.segments import sha256_of

__all__ = ["TYPES", "make_table"]

TYPES: Final = {
    "source": "VARCHAR",
    "kind": "VARCHAR",
    "tenant": "VARCHAR",
    "instance": "VARCHAR",
    "subject": "VARCHAR",
    "at": "BIGINT",
    "asof": "BIGINT",
    "state": "VARCHAR",
    "value": "VARCHAR",
    "id": "VARCHAR",
    "data": "JSON",
}
"""Columns and their types; `at` and `asof` are words of DuckDB's own and need quotes in its SQL."""
_READ: Final = {name: kind for name, kind in TYPES.items() if name != "source"}
_LONGEST: Final = 16 << 20
"""Bytes of a line."""
_IN_MEMORY: Final = 500_000
"""More rows than this stay in their files, and are read column by column."""
_KEPT: Final = 3
"""Files of one day that are kept while the day grows, for those who are reading."""
_SMALL: Final = 5000
"""Rows of a day that goes into its month's file: that one is made anew each day from the segments."""


def make_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    chains: Mapping[str, Sequence[Link]],
    path_of: Callable[[Link], Path],
    folder: Path,
) -> int:
    """Make a table or a view of that name with the entries of these segments; the count of its rows.

    Raises: LedgerError naming the segment that DuckDB cannot read.
    """

    def made() -> list[Path]:
        with _Maker(path_of, folder) as maker:
            return [maker.file(source, name, links) for source, chain in chains.items() for name, links in _stretches(chain)]

    files = made()
    rows = sum(link.header.n for links in chains.values() for link in links)
    _drop(connection, name)
    if not files:
        columns = ", ".join(f'"{column}" {kind}' for column, kind in TYPES.items())
        connection.execute(f"CREATE TABLE {name} ({columns})")
        return 0
    what = "TABLE" if rows <= _IN_MEMORY else "VIEW"
    try:
        connection.execute(f"CREATE {what} {name} AS SELECT * FROM read_parquet({_listed(files)})")
    except duckdb.Error:  # a file that lost its end with the machine's power; all of them can be made again
        for file in files:
            file.unlink(missing_ok=True)
        connection.execute(f"CREATE {what} {name} AS SELECT * FROM read_parquet({_listed(made())})")
    return rows


def _stretches(links: Sequence[Link]) -> Iterator[tuple[str, Sequence[Link]]]:
    """A chain cut into what makes one file each, and its name: a month's small days that are over, and each other day."""
    last = links[-1].header.window[:8] if links else ""
    for month, of_month in groupby(links, key=lambda link: link.header.window[:6]):
        days = [(day, list(group)) for day, group in groupby(of_month, key=lambda link: link.header.window[:8])]
        over: list[Link] = []
        if not days[0][1][0].header.after.startswith(month):  # a list that begins within a month is somebody's own choice, and changes
            over = [link for day, group in days if day != last and _rows(group) <= _SMALL for link in group]
            days = [(day, group) for day, group in days if day == last or _rows(group) > _SMALL]
        if over:
            yield month, over
        yield from days


def _rows(links: Iterable[Link]) -> int:
    return sum(link.header.n for link in links)


class _Maker:
    """Makes files of stretches where they are missing, all with one database of its own."""

    def __init__(self, path_of: Callable[[Link], Path], folder: Path) -> None:
        self._path_of, self._days = path_of, folder
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def file(self, source: str, name: str, links: Sequence[Link]) -> Path:
        """The Parquet file of one stretch of a chain."""
        hashed = sha256_of("".join(link.sha256 for link in links).encode())[:32]
        path = self._days / f"{source}-{name}-{hashed}.parquet"
        if path.exists():
            return path
        temporary = self._days / f".{path.name}.{secrets.token_hex(6)}"
        try:
            self._days.mkdir(parents=True, exist_ok=True)
            self._convert(source, [self._path_of(link) for link in links], temporary, _rows(links))
            older = sorted(self._days.glob(f"{source}-{name}-*.parquet"), key=lambda file: file.stat().st_mtime_ns)
            _put(temporary, path)
            for file in older[: -_KEPT + 1]:
                file.unlink(missing_ok=True)
        except (duckdb.Error, OSError) as exc:
            raise LedgerError(
                f"the ledger's segments {links[0].key} to {links[-1].key} cannot be put into a table in the cache {self._days}: {exc}. "
                "The ledger is as it was: make room there, or run `rowhouse ledger verify`."
            ) from exc
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        return path

    def _convert(self, source: str, files: Sequence[Path], path: Path, rows: int) -> None:
        columns = ", ".join(f"\"{name}\": '{kind}'" for name, kind in _READ.items())
        names = ", ".join(f'"{name}"' for name in _READ)
        options = f"format = 'newline_delimited', compression = 'gzip', maximum_object_size = {_LONGEST}, columns = {{{columns}}}"
        if self._connection is None:
            self._connection = duckdb.connect()
            self._connection.execute("SET preserve_insertion_order = false")
        # The header line has none of the columns; `kind` is what every entry has.
        chosen = f"SELECT '{source}' AS source, {names} FROM read_json({_listed(files)}, {options}) WHERE kind IS NOT NULL"
        done = self._connection.execute(f"COPY ({chosen}) TO {_text(path)} (FORMAT parquet, COMPRESSION snappy)").fetchone()
        if done is None or done[0] != rows:
            read = done and done[0]
            raise LedgerError(
                f"{read} entries were read of {files[0]} and others, and their headers say {rows}. Run `rowhouse ledger verify`."
            )


def _put(temporary: Path, path: Path) -> None:
    """Give the file its name unless another run did so meanwhile: who has begun to read that one finds its metadata true to the end."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without a second name for a file
        temporary.replace(path)


def _drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    found = connection.execute("SELECT table_type FROM information_schema.tables WHERE table_name = ?", [name]).fetchone()
    if found is not None:
        connection.execute(f"DROP {'VIEW' if found[0] == 'VIEW' else 'TABLE'} {name}")


def _listed(files: Iterable[Path]) -> str:
    return f"[{', '.join(_text(file) for file in files)}]"


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
