"""Metering on top of what was metered before: proven spans of the past come from a rollup, and only what came since is thought through.

Does: join the two at the rollup's cut, and refuse where anything that came since speaks of the time before it. Does not: make or keep a
rollup (rollup.py). DuckDB only: a cluster reads the whole month.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rowhouse.errors import RowhouseError
from rowhouse.usage.engines import DuckEngine
from rowhouse.usage.entries import COLUMNS

if TYPE_CHECKING:
    import duckdb

__all__ = ["LISTED", "Outdated", "graft_counted", "graft_spans", "graft_storage", "on_top_of"]

LISTED = ", ".join(f'"{name}"' for name in COLUMNS)
"""The columns of an entry, as a list to select."""


class Outdated(RowhouseError):  # noqa: N818  a state of things, not a mistake
    """What came since the rollup changes the time before its cut: read the whole period."""


@contextmanager
def on_top_of(connection: duckdb.DuckDBPyConnection, rollup: str, fresh: str) -> Iterator[None]:
    """For a while, `entries` are those that the rollup keeps and the fresh ones.

    Raises: Outdated where a fresh one changes what was folded.
    """
    _check_fresh(DuckEngine(connection), fresh, rollup)
    found = connection.execute("SELECT current_database()").fetchone()
    assert found is not None
    own = f'"{found[0]}".main.{fresh}'
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW entries AS SELECT {LISTED} FROM {rollup} WHERE part = 'mark' UNION ALL SELECT {LISTED} FROM {own}"
    )
    try:
        yield
    finally:
        connection.execute("DROP VIEW temp.entries")


def _check_fresh(engine: DuckEngine, fresh: str, rollup: str) -> None:
    """Raise Outdated where an entry of `fresh` speaks of the folded time of a folded tenant, and of something that was not known then.

    A poll of a state that began before the cut is known when an earlier one that the rollup keeps says the same; an event when it is kept;
    a list of events when all that it may have had are kept and no gap is left for it to close; a reading when the same one is kept.
    """
    updated, spoken = engine.whole("updated_at"), 'coalesce("asof", "at")'
    marks = f"(SELECT *, {updated} AS updated FROM {rollup} WHERE part = 'mark')"
    same = "{0}.tenant = f.tenant AND {0}.instance IS NOT DISTINCT FROM f.instance AND {0}.subject = f.subject"
    found = engine.rows(f"""
    WITH late AS (
        SELECT DISTINCT f.kind, f.tenant, f.instance, f.subject, f."at", f.spoken, f.id, f.state, f.updated
        FROM (SELECT kind, tenant, instance, subject, "at", {spoken} AS spoken, id, state, {updated} AS updated FROM {fresh}
              WHERE kind IN ('machine', 'event', 'events', 'storage', 'counter')) AS f
        JOIN {rollup} AS c ON c.part = 'cut' AND c.tenant = f.tenant
        WHERE f."at" < c."at" OR (f.kind = 'machine' AND least(f.updated, f.spoken) < c."at")
    ),
    kept AS (
        SELECT tenant, instance, subject, min("at") AS since FROM {rollup} WHERE part = 'mark' AND kind = 'event' GROUP BY ALL
    ),
    gaps AS (
        SELECT tenant, instance, subject, max("asof") AS until FROM {rollup}
        WHERE part = 'span' AND state NOT IN ('running', 'stopped') GROUP BY ALL
    )
    SELECT f.tenant, f.kind FROM late AS f
    WHERE CASE WHEN f.kind = 'events' THEN NOT EXISTS (SELECT 1 FROM kept AS k WHERE {same.format("k")} AND k.since <= f."at")
                                           OR EXISTS (SELECT 1 FROM gaps AS g WHERE {same.format("g")} AND g.until > f."at")
               ELSE NOT EXISTS (
                   SELECT 1 FROM {marks} AS m WHERE m.kind = f.kind AND {same.format("m")}
                   AND CASE f.kind WHEN 'machine' THEN m.id IS NOT DISTINCT FROM f.id AND m.state = f.state AND m.updated = f.updated
                                                       AND coalesce(m."asof", m."at") <= f.spoken
                       WHEN 'event' THEN m.id = f.id AND m."at" = f."at" AND m.state = f.state
                       ELSE m."at" = f."at" END)
               END
    ORDER BY f.tenant, f.kind LIMIT 1
    """)
    if found:
        tenant, kind = found[0]
        raise Outdated(f"{tenant}: an entry of kind {kind!r} that came late speaks of time that was folded. Read the whole period.")


def graft_spans(engine: DuckEngine, rollup: str) -> None:
    """Have `spans` of folded tenants from the rollup before its cut."""
    engine.table("late_spans", "FROM spans")
    engine.table(
        "spans",
        f"""
        SELECT s.tenant, s.instance, s.machine, greatest(s.start_ms, coalesce(c."at", s.start_ms)) AS start_ms, s.end_ms, s.class
        FROM late_spans AS s LEFT JOIN {rollup} AS c ON c.part = 'cut' AND c.tenant = s.tenant
        WHERE c."at" IS NULL OR s.end_ms > c."at"
        UNION ALL SELECT tenant, instance, subject, "at", "asof", state FROM {rollup} WHERE part = 'span'
        """,
    )


def graft_storage(engine: DuckEngine, rollup: str) -> None:
    """Have `storage_steps` before each volume's last folded reading from the rollup."""
    engine.table("late_steps", "FROM storage_steps")
    engine.table(
        "storage_steps",
        f"""
        SELECT * FROM late_steps UNION ALL
        SELECT tenant, instance, subject, "at", "asof", CAST(value AS BIGINT) FROM {rollup} WHERE part = 'storage'
        """,
    )


def graft_counted(engine: DuckEngine, rollup: str) -> None:
    """Have `counted` of folded tenants from the rollup before its cut."""
    engine.table("late_counted", "FROM counted")
    engine.table(
        "counted",
        f"""
        SELECT n.* FROM late_counted AS n LEFT JOIN {rollup} AS c ON c.part = 'cut' AND c.tenant = n.tenant
        WHERE c."at" IS NULL OR n.at_ms >= c."at"
        UNION ALL SELECT tenant, instance, subject, "at", "asof", CAST(value AS BIGINT) FROM {rollup} WHERE part = 'counted'
        """,
    )
