"""Which plan each tenant was on, and when: the segments of a period.

Does: read the plans that the ledger recorded when they were applied. Does not: read today's files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from rowhouse.spec.model import Plan
from rowhouse.spec.terms import plan_from
from rowhouse.usage.engines import Engine, values
from rowhouse.usage.model import Window

__all__ = ["make_segments"]


def make_segments(engine: Engine, period: Window) -> Mapping[str, Plan]:
    """From `entries` make `segments` (tenant, segment, plan, terms, start_ms, end_ms, hour_any, bill_inferred), clipped to the period.

    A tenant's segment begins when other terms are recorded, and ends when the tenant leaves (`offboarding`, `purge`); a suspended tenant
    stays on its plan. Returns: the plans by `terms`, the hash of what decides a bill.
    """
    engine.table("terms", _terms(period))
    recorded = engine.rows(
        "SELECT e.id, min(e.data) FROM entries AS e JOIN (SELECT DISTINCT terms FROM terms) AS t ON e.id = t.terms"
        " WHERE e.kind = 'plan' GROUP BY e.id ORDER BY e.id"
    )
    plans = {str(terms): plan_from(json.loads(data)) for terms, data in recorded}
    flags = [(terms, plan.ref, _by_active_hour(plan), plan.bill_inferred) for terms, plan in plans.items()]
    columns = (("terms", "VARCHAR(200)"), ("plan", "VARCHAR(400)"), ("hour_any", "BOOLEAN"), ("bill_inferred", "BOOLEAN"))
    engine.table("plans", values(flags, columns))
    engine.table("segments", _SEGMENTS)
    return plans


def _by_active_hour(plan: Plan) -> bool:
    return any(meter.rounding == "hour_any" for meter in plan.meters)


def _terms(period: Window) -> str:
    """Terms in force, each from when they were recorded; the same ones again change nothing."""
    return f"""
    WITH said AS (
        SELECT tenant, "at" AS since, max(CASE WHEN state IN ('offboarding', 'purge', 'gone') THEN '' ELSE id END) AS terms
        FROM entries WHERE kind = 'plan' AND tenant IS NOT NULL AND id IS NOT NULL AND "at" < {period.end}
        GROUP BY tenant, "at"
    ),
    changed AS (
        SELECT tenant, since, terms, lag(terms) OVER (PARTITION BY tenant ORDER BY since) AS before FROM said
    ),
    spans AS (
        SELECT tenant, terms, greatest(since, {period.start}) AS start_ms,
               coalesce(lead(since) OVER (PARTITION BY tenant ORDER BY since), {period.end}) AS end_ms
        FROM changed WHERE before IS NULL OR before <> terms
    )
    SELECT tenant, terms, start_ms, end_ms FROM spans WHERE start_ms < end_ms AND terms <> ''
    """


_SEGMENTS = """
SELECT t.tenant, CAST(row_number() OVER (PARTITION BY t.tenant ORDER BY t.start_ms) - 1 AS BIGINT) AS segment, p.plan, t.terms,
       t.start_ms, t.end_ms, p.hour_any, p.bill_inferred
FROM terms AS t JOIN plans AS p ON t.terms = p.terms
"""
