"""Where the meter's queries run: DuckDB here, Spark in spark.py.

Does: keep the few words apart in which the two dialects differ, and run one statement. Does not: know a query.

The queries are plain SQL text in the subset that both engines speak (WITH, GROUP BY, window functions with ROWS frames, equi-joins with
range conditions). Ibis would compile one expression for both, but then the default install would need it for every pass, and its text is
not what one would paste into a console to see why a second is billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from rowhouse.usage.model import HOUR_MS

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckEngine", "Engine", "Rows", "values"]

Rows = list[tuple[Any, ...]]


class Engine(Protocol):
    """Runs statements over the table `entries` and the tables made from it. Text is compared byte by byte, integers are 64 bits wide."""

    def table(self, name: str, query: str) -> None:
        """Make or replace a table (kept for this session only) of a query's rows."""

    def view(self, name: str, query: str) -> None:
        """Make or replace a name for a query, run when it is read."""

    def rows(self, query: str) -> Rows:
        """A query's rows."""

    def whole(self, key: str) -> str:
        """The whole number under a key of the column `data`; null where there is none."""

    def text(self, key: str) -> str:
        """The text under a key of the column `data`; null where there is none."""

    def least_key(self, key: str) -> str:
        """The first, in the order of text, of the keys of the object under a key of the column `data`; null where there is none."""

    def hours(self, first: str, last: str) -> str:
        """One row for each whole hour (ms) from `first` to `last`, both included, as the select item of that name."""


class DuckEngine:
    """DuckDB on a connection of the caller's."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def table(self, name: str, query: str) -> None:
        """See Engine."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def view(self, name: str, query: str) -> None:
        """See Engine."""
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")

    def rows(self, query: str) -> Rows:
        """See Engine."""
        return self._connection.execute(query).fetchall()

    def whole(self, key: str) -> str:
        """See Engine."""
        return f"TRY_CAST(json_extract_string(data, '$.{key}') AS BIGINT)"

    def text(self, key: str) -> str:
        """See Engine."""
        return f"json_extract_string(data, '$.{key}')"

    def least_key(self, key: str) -> str:
        """See Engine."""
        return f"list_min(json_keys(data, '$.{key}'))"

    def hours(self, first: str, last: str) -> str:
        """See Engine."""
        return f"unnest(range({first}, {last} + 1, {HOUR_MS})) AS hour"


def values(rows: Iterable[Sequence[object]], columns: Sequence[tuple[str, str]]) -> str:
    """A query whose rows are these. Args: columns: name and SQL type of each."""
    selects = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns)
    names = ", ".join(name for name, _ in columns)
    listed = ", ".join("(" + ", ".join(map(_literal, row)) + ")" for row in rows)
    if not listed:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in columns)
        return f"SELECT {nulls} WHERE 1 = 0"
    return f"SELECT {selects} FROM (VALUES {listed}) AS given({names})"


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if "\\" in text:
        raise ValueError(f"{text[:40]!r} has a backslash, which the two dialects read differently")
    return "'" + text.replace("'", "''") + "'"
