"""Usage by the UTC clock hour: what each instance did in it, and in which hours a tenant was active at all.

Does: split spans and steps at hours. Does not: decide what is proven (meter_spans.py).
"""

from __future__ import annotations

from rowhouse.usage.engines import Engine
from rowhouse.usage.model import HOUR_MS, Window

__all__ = ["make_hours"]

_MINUTE_MS = 60_000


def make_hours(engine: Engine, period: Window) -> None:
    """Make the views `active` (tenant, hour, first_ms) and `usage_hours`; a view costs nothing until somebody reads it.

    `active` has each hour of the period in which a tenant had any running time (inferred only where its plan bills that), login, or
    request of a person, and when first. `usage_hours` has each hour of each instance's life in the period.
    """
    engine.table("logins", _logins(period))
    engine.table("requests", _requests(engine, period))
    engine.view("active", _active(engine))
    engine.view("usage_hours", _usage_hours(engine, period))


def _logins(period: Window) -> str:
    return f"""
    SELECT tenant, instance, id, min("at") AS at_ms FROM entries
    WHERE kind = 'login' AND tenant IS NOT NULL AND "at" >= {period.start} AND "at" < {period.end}
    GROUP BY tenant, instance, id, CASE WHEN id IS NULL THEN "at" ELSE 0 END
    """


def _requests(engine: Engine, period: Window) -> str:
    """Notes of the gateways, each hour's last total of each; a minute is a key with two digits."""
    return f"""
    SELECT tenant, instance, id, min("at") AS hour, max(CAST(floor(CAST(value AS DECIMAL(28, 9))) AS BIGINT)) AS requests,
           min("at" + CAST({engine.least_key("minutes")} AS BIGINT) * {_MINUTE_MS}) AS first_ms
    FROM entries
    WHERE kind = 'activity' AND tenant IS NOT NULL AND value IS NOT NULL AND "at" >= {period.start - HOUR_MS} AND "at" < {period.end}
    GROUP BY tenant, instance, id, CASE WHEN id IS NULL THEN "at" ELSE 0 END
    """


def _hour_of(moment: str) -> str:
    return f"{moment} - {moment} % {HOUR_MS}"


def _active(engine: Engine) -> str:
    return f"""
    WITH billable AS (
        SELECT s.tenant, greatest(s.start_ms, g.start_ms) AS start_ms, least(s.end_ms, g.end_ms) AS end_ms
        FROM instance_spans AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms
        WHERE s.class = 'running' OR (s.class = 'inferred' AND g.bill_inferred)
    ),
    cut AS (
        SELECT tenant, start_ms, {engine.hours(_hour_of("start_ms"), _hour_of("(end_ms - 1)"))} FROM billable
    ),
    marks AS (
        SELECT tenant, hour, min(greatest(start_ms, hour)) AS first_ms FROM cut GROUP BY tenant, hour
        UNION ALL SELECT tenant, {_hour_of("at_ms")}, min(at_ms) FROM logins GROUP BY tenant, {_hour_of("at_ms")}
        UNION ALL SELECT tenant, hour, min(first_ms) FROM requests WHERE first_ms IS NOT NULL GROUP BY tenant, hour
    )
    SELECT tenant, hour, min(first_ms) AS first_ms FROM marks GROUP BY tenant, hour
    """


def _usage_hours(engine: Engine, period: Window) -> str:
    """Spans, steps and notes cut at hours and put together; what a kind does not have is 0."""
    names = ("running", "inferred", "stopped", "unknown")
    by_class = ", ".join(f"CASE WHEN class = '{name}' THEN ms ELSE 0 END AS {name}_ms" for name in names)
    wide = "CAST({} AS DECIMAL(38, 0))"
    zeros = ", ".join([wide.format(0)] * 3)
    sums = ", ".join(
        [f"CAST(sum({name}_ms) AS BIGINT) AS {name}_ms" for name in names]
        + [f"CAST(sum({name}) AS BIGINT) AS {name}" for name in ("logins", "requests")]
        + [f"sum({name}) AS {name}" for name in ("volume_gb_ms", "storage_gb_ms", "storage_known_ms")]
    )
    begin, end = period

    def split(table: str, columns: str) -> str:
        """Rows of a table cut at hours, within the period, with how many milliseconds each has."""
        first, last = _hour_of(f"greatest(start_ms, {begin})"), _hour_of(f"(least(end_ms, {end}) - 1)")
        return (
            f"SELECT tenant, instance, hour, {columns},"
            f" least(end_ms, hour + {HOUR_MS}, {end}) - greatest(start_ms, hour, {begin}) AS ms"
            f" FROM (SELECT *, {engine.hours(first, last)} FROM {table} WHERE start_ms < {end} AND end_ms > {begin}) AS hourly"
        )

    gigabytes = f"{wide.format('micro_gb')} * ms"
    return f"""
    WITH parts AS (
        SELECT tenant, instance, hour, {by_class}, 0 AS logins, 0 AS requests,
               {wide.format(0)} AS volume_gb_ms, {wide.format(0)} AS storage_gb_ms, {wide.format(0)} AS storage_known_ms
        FROM ({split("instance_spans", "class")}) AS spans
        UNION ALL SELECT tenant, instance, hour, 0, 0, 0, 0, 0, 0, {gigabytes}, {wide.format(0)}, {wide.format(0)}
        FROM ({split("volume_steps", "micro_gb")}) AS volumes
        UNION ALL SELECT tenant, instance, hour, 0, 0, 0, 0, 0, 0, {wide.format(0)}, {gigabytes}, {wide.format("ms")}
        FROM ({split("storage_steps", "micro_gb")}) AS storage
        UNION ALL SELECT tenant, instance, {_hour_of("at_ms")}, 0, 0, 0, 0, 1, 0, {zeros} FROM logins
        UNION ALL SELECT tenant, instance, hour, 0, 0, 0, 0, 0, requests, {zeros} FROM requests WHERE hour >= {begin}
    )
    SELECT tenant, instance, hour, {sums} FROM parts GROUP BY tenant, instance, hour
    """
