"""The meter on Spark, for a ledger that is too large for one machine.

Does: run the queries of the meter, as they are, on a Spark session. Does not: start a cluster, or read a ledger.
Needs the extra `spark` and Java 17. Ibis takes the same session (`ibis.pyspark.connect(session)`) for questions of one's own; the meter's
text is not written in Ibis, so that the default install is DuckDB alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowhouse.usage.engines import Rows
from rowhouse.usage.model import HOUR_MS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SparkEngine", "local_session"]


def local_session(*, memory_mb: int = 1024) -> SparkSession:
    """A session of this machine alone, on loopback, that keeps its files in temporary folders. Stop it when done.

    Raises: ImportError where the extra is not installed.
    """
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("rowhouse")
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": f"{memory_mb}m",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        **_DIALECT,
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


_DIALECT = {"spark.sql.ansi.enabled": "true", "spark.sql.ansi.doubleQuotedIdentifiers": "true"}
"""Double quotes name columns, as in DuckDB, and what overflows is an error."""


class SparkEngine:
    """Spark on a session of the caller's, which has a view `entries`. See Engine for its verbs."""

    def __init__(self, session: SparkSession) -> None:
        """Take the session, and have it read the dialect of the queries."""
        self._session = session
        for name, value in _DIALECT.items():
            session.conf.set(name, value)

    def table(self, name: str, query: str) -> None:
        """See Engine; rows are kept, because later queries read them more than once."""
        self._session.sql(query).cache().createOrReplaceTempView(name)

    def view(self, name: str, query: str) -> None:
        """See Engine."""
        self._session.sql(query).createOrReplaceTempView(name)

    def rows(self, query: str) -> Rows:
        """See Engine."""
        return [tuple(row) for row in self._session.sql(query).collect()]

    def whole(self, key: str) -> str:
        """See Engine."""
        return f"try_cast(get_json_object(data, '$.{key}') AS BIGINT)"

    def text(self, key: str) -> str:
        """See Engine."""
        return f"get_json_object(data, '$.{key}')"

    def least_key(self, key: str) -> str:
        """See Engine."""
        return f"array_min(json_object_keys(get_json_object(data, '$.{key}')))"

    def hours(self, first: str, last: str) -> str:
        """See Engine."""
        return f"explode(sequence({first}, {last}, {HOUR_MS}L)) AS hour"
