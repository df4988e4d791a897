"""Rows of a ledger as the meter's table `entries`, without a ledger, and what was metered of them."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import duckdb

from rowhouse.spec.terms import billed_id, terms_of
from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.entries import COLUMNS
from rowhouse.usage.meter import measured
from tests.usage.rating_support import plan_of

NUMBERS = ("at", "asof")


@cache
def recorded(ref: str) -> dict[str, object]:
    """A shipped plan's terms, as a plan entry's id and data."""
    terms = terms_of(plan_of(ref))
    return {"id": billed_id(terms), "data": terms}


def with_terms(row: Mapping[str, object]) -> dict[str, object]:
    """A row with its plan's terms, where it speaks of a plan."""
    if row["kind"] != "plan":
        return dict(row)
    return {**row, **recorded(str(row["subject"]))}


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory that uses one core, as tests run side by side."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    return connection


def load(connection: duckdb.DuckDBPyConnection, rows: Iterable[Mapping[str, object]], name: str = "entries") -> None:
    """Make the table of these rows; absent columns are null."""
    types = {column: "BIGINT" if column in NUMBERS else "JSON" if column == "data" else "VARCHAR" for column in ("source", *COLUMNS)}
    columns = ", ".join(f"\"{column}\": '{kind}'" for column, kind in types.items())
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write('{"kind": null}\n')
        for row in rows:
            json.dump({"source": "fly", **{column: value for column, value in with_terms(row).items() if column != "seen"}}, file)
            file.write("\n")
        file.flush()
        connection.execute(
            f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM read_json('{Path(file.name)}', format = 'newline_delimited',"
            f" columns = {{{columns}}}) WHERE kind IS NOT NULL"
        )


class Mutant(DuckEngine):
    """The engine with one fragment of one query replaced: a mistake that a law must notice."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: str, old: str, new: str) -> None:
        super().__init__(connection)
        self._mutation = (table, old, new)
        self.applied = False

    def table(self, name: str, query: str) -> None:
        super().table(name, self._mutated(name, query))

    def view(self, name: str, query: str) -> None:
        super().view(name, self._mutated(name, query))

    def _mutated(self, name: str, query: str) -> str:
        table, old, new = self._mutation
        if name != table:
            return query
        assert old in query, f"{name} has no {old!r} any more"
        self.applied = True
        return query.replace(old, new)


def metered(rows, period, mutation=None):
    """The connection and the usage of these rows; with a mutation (table, old, new) of a query, where one is given."""
    connection = connect()
    load(connection, rows)
    engine = DuckEngine(connection) if mutation is None else Mutant(connection, *mutation)
    found = measured(engine, period)
    assert mutation is None or engine.applied
    return connection, found
