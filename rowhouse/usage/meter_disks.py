"""From what was said about volumes to steps: gigabytes provisioned and gigabytes used, each from when to when.

Does: decide for how long a reading holds. Does not: look at plans or periods. Gigabytes are whole millionths, cut off below.

Provisioned: from the first time that a volume was seen to the last; a larger size counts from when it was first seen, because a volume
only grows and when is not told (so that of a new volume the time before the first pass is free).
Used: a reading holds until the next one, and where that is lower the lower one holds, because when it fell is not known; it holds for a
week at most (a machine that sleeps writes nothing and reports nothing), then the use is not known.
"""

from __future__ import annotations

from rowhouse.usage.engines import Engine
from rowhouse.usage.model import DAY_MS, GB_MICROS

__all__ = ["HOLD_MS", "make_disks"]

HOLD_MS = 7 * DAY_MS

_GONE = "('gone', 'scheduling_destroy', 'fork_cleanup', 'waiting_for_detach', 'pending_destroy', 'destroying', 'destroyed')"
_MICROS = f"CAST(floor(CAST(value AS DECIMAL(18, 9)) * {GB_MICROS}) AS BIGINT)"


def make_disks(engine: Engine) -> None:
    """From `entries` make `volumes` (tenant, instance, volume, made, gone, seen), `volume_steps` and `storage_steps`
    (tenant, instance, volume, start_ms, end_ms, micro_gb).
    """
    engine.table("volume_sizes", _sizes(engine))
    engine.table("volumes", _VOLUMES)
    engine.table("volume_steps", _VOLUME_STEPS)
    engine.table("storage_steps", _STORAGE_STEPS)


def _sizes(engine: Engine) -> str:
    """When each size of each volume was first and last seen; folded by the raw text first, as polls of machines are."""
    return f"""
    SELECT tenant, instance, subject AS volume, state IN {_GONE} AS gone, CASE WHEN state IN {_GONE} THEN 0 ELSE {_MICROS} END AS micro_gb,
           min(lo) AS lo, max(hi) AS hi, min({engine.whole("created_at")}) AS made
    FROM (
        SELECT tenant, instance, subject, coalesce(state, '') AS state, value, data,
               min(coalesce("asof", "at")) AS lo, max(coalesce("asof", "at")) AS hi
        FROM entries WHERE kind = 'volume' AND tenant IS NOT NULL AND subject IS NOT NULL
        GROUP BY tenant, instance, subject, coalesce(state, ''), value, data
    ) AS folded
    GROUP BY tenant, instance, subject, state IN {_GONE}, CASE WHEN state IN {_GONE} THEN 0 ELSE {_MICROS} END
    """


_VOLUMES = """
SELECT tenant, instance, volume, min(coalesce(made, lo)) AS made, min(CASE WHEN gone THEN lo END) AS gone,
       max(CASE WHEN NOT gone THEN hi END) AS seen
FROM volume_sizes GROUP BY tenant, instance, volume
"""

_VOLUME_STEPS = """
WITH ordered AS (
    SELECT tenant, instance, volume, micro_gb, lo, hi,
           lead(lo) OVER (PARTITION BY tenant, instance, volume ORDER BY lo, micro_gb) AS next_lo,
           lead(micro_gb) OVER (PARTITION BY tenant, instance, volume ORDER BY lo, micro_gb) AS next_gb
    FROM volume_sizes WHERE NOT gone
),
steps AS (
    SELECT o.tenant, o.instance, o.volume, o.micro_gb, greatest(o.lo, v.made) AS start_ms,
           least(CASE WHEN o.next_lo IS NULL THEN o.hi WHEN o.next_gb > o.micro_gb THEN o.next_lo ELSE least(o.hi, o.next_lo) END,
                 v.gone) AS end_ms
    FROM ordered AS o
    JOIN volumes AS v ON o.volume = v.volume AND o.tenant = v.tenant AND o.instance IS NOT DISTINCT FROM v.instance
)
SELECT tenant, instance, volume, start_ms, end_ms, micro_gb FROM steps WHERE start_ms < end_ms
"""

_STORAGE_STEPS = f"""
WITH readings AS (
    SELECT tenant, instance, subject AS volume, "at" AS moment, min({_MICROS}) AS micro_gb
    FROM entries WHERE kind = 'storage' AND tenant IS NOT NULL AND subject IS NOT NULL AND value IS NOT NULL
    GROUP BY tenant, instance, subject, "at"
),
ordered AS (
    SELECT tenant, instance, volume, moment, micro_gb,
           lead(moment) OVER (PARTITION BY tenant, instance, volume ORDER BY moment) AS next_moment,
           lead(micro_gb) OVER (PARTITION BY tenant, instance, volume ORDER BY moment) AS next_gb
    FROM readings
),
bounded AS (
    SELECT o.tenant, o.instance, o.volume, o.moment AS start_ms,
           least(o.moment + {HOLD_MS}, coalesce(o.next_moment, h.horizon, o.moment), coalesce(v.gone, o.moment + {HOLD_MS})) AS end_ms,
           least(o.micro_gb, coalesce(o.next_gb, o.micro_gb)) AS micro_gb
    FROM ordered AS o
    CROSS JOIN (SELECT max(horizon) AS horizon FROM machines) AS h
    LEFT JOIN volumes AS v ON o.volume = v.volume AND o.tenant = v.tenant AND o.instance IS NOT DISTINCT FROM v.instance
)
SELECT tenant, instance, volume, start_ms, end_ms, micro_gb FROM bounded WHERE start_ms < end_ms
"""
