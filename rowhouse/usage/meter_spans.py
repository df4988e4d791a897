"""From what was said about machines to spans: for every millisecond of a machine's life one of running, inferred, stopped, unknown.

Does: decide what is proven. Does not: look at plans, periods or hours.

What proves a state, from strong to weak:

- A fetched event list proves [at, asof]: between two of its events the machine was as the earlier one left it. It counts only while all
  events that it says it had (`value`) are at hand and no others, so that a lost line never makes one long run of two short ones.
- Polls of the vendor's list prove what lies between the first and the last that show the same state, version and `updated_at`, because
  every change moves `updated_at`. The list may be late by as much as `asof` allows for. A run of polls that still vouched for a state
  after the next one's change was later than that, and proves nothing.
- All else is a gap: `inferred` where the machine ran on both sides of it, otherwise `unknown`.

Where two statements contradict each other, or two events of one millisecond do, the state is unknown: doubt is never `running`. An event
that stopped a machine and says that it was later than the list in which it was seen leaves the state unknown from that list's time on; one
that started it counts not earlier than it says. Lists count events by the time that each event says.
Nothing depends on the order of entries, and the same one twice is one: lists are folded into runs of equal polls before anything else.
"""

from __future__ import annotations

from rowhouse.usage.engines import Engine
from rowhouse.usage.model import Window

__all__ = ["CLASSES", "make_instance_spans", "make_spans"]

CLASSES = ("running", "inferred", "stopped", "unknown")

SKEW_MS = 5_000
"""By so much a host's clock and the vendor's central one may differ before two statements contradict each other."""

_UNKNOWN, _STOPPED, _RUNNING, _GONE = 0, 1, 2, 3
_OPEN = 8
"""Marks are numbers: time * 16 + what holds from then on, so that the latest one is the largest."""


def make_spans(engine: Engine, period: Window) -> None:
    """From `entries` make `machines` (n, tenant, instance, machine, born, died, horizon) and `spans` (tenant, instance, machine, start_ms,
    end_ms, class), clipped to the period, adjacent spans of a machine differing in class.
    """
    engine.table("polls", _polls(engine))
    engine.table("told", _told(engine))
    engine.table("lists", _LISTS)
    engine.table("machines", _MACHINES)
    engine.table("happened", _HAPPENED)
    engine.table("islands", _ISLANDS)
    engine.table("stretches", _STRETCHES)
    engine.table("spans", _spans(period))


def make_instance_spans(engine: Engine) -> None:
    """From `spans` make `instance_spans`, the same without machines: an instance with two at once runs where either runs, once."""
    engine.table("instance_spans", _INSTANCE_SPANS)


def _code(state: str) -> str:
    """A state's word, ours or Fly's, as a number. Fly bills `started` alone; a state in passing proves nothing."""
    return (
        f"CASE WHEN {state} IN ('running', 'started') THEN {_RUNNING}"
        f" WHEN {state} IN ('stopped', 'suspended', 'created', 'failed') THEN {_STOPPED}"
        f" WHEN {state} IN ('gone', 'destroyed', 'replaced', 'migrated') THEN {_GONE} ELSE {_UNKNOWN} END"
    )


def _polls(engine: Engine) -> str:
    """Runs of polls that say the same. Grouped by the raw text first: most polls change nothing, and only one of each run is parsed."""
    return f"""
    SELECT tenant, instance, subject AS machine, id AS version, {_code("state")} AS code, updated,
           min(lo) AS lo, max(hi) AS hi, min(created) AS created
    FROM (
        SELECT tenant, instance, subject, id, state, lo, hi,
               {engine.whole("updated_at")} AS updated, {engine.whole("created_at")} AS created
        FROM (
            SELECT tenant, instance, subject, id, state, data, min(coalesce("asof", "at")) AS lo, max(coalesce("asof", "at")) AS hi
            FROM entries WHERE kind = 'machine' AND tenant IS NOT NULL AND subject IS NOT NULL
            GROUP BY tenant, instance, subject, id, state, data
        ) AS folded
    ) AS parsed
    GROUP BY tenant, instance, subject, id, {_code("state")}, updated
    """


def _told(engine: Engine) -> str:
    """What events left a machine in, once for each millisecond, and how many were heard of there.

    An id that came with two times or two states is doubt: the later start, the earlier stop, no state. Of two events of one millisecond
    the later id decides (the vendor's ids grow with time), but never for running.
    """
    return f"""
    WITH events AS (
        SELECT tenant, instance, machine, id,
               CASE WHEN min(code) = max(code) THEN max(code) ELSE {_UNKNOWN} END AS code,
               CASE WHEN min(code) = {_RUNNING} THEN max(said) ELSE min(said) END AS moment,
               CASE WHEN min(code) = {_RUNNING} THEN NULL ELSE min(vouched) END AS vouched
        FROM (
            SELECT tenant, instance, subject AS machine, {_code("state")} AS code,
                   coalesce(id, concat(CAST("at" AS VARCHAR(32)), coalesce({engine.text("type")}, ''), coalesce(state, ''))) AS id,
                   "at" AS said, coalesce("asof", "at") AS vouched
            FROM entries WHERE kind = 'event' AND tenant IS NOT NULL AND subject IS NOT NULL
        ) AS lines
        GROUP BY tenant, instance, machine, id
    )
    SELECT tenant, instance, machine, moment, sum(heard) AS heard,
           CASE WHEN min(code) = max(code) THEN max(code) WHEN max(code) = {_GONE} THEN {_GONE}
                WHEN max_by(code, id) = {_RUNNING} THEN {_UNKNOWN} ELSE max_by(code, id) END AS code
    FROM (
        SELECT tenant, instance, machine, id, moment, code, 1 AS heard FROM events
        UNION ALL
        SELECT tenant, instance, machine, id, vouched, {_UNKNOWN}, 0 FROM events WHERE vouched < moment
    ) AS marks
    GROUP BY tenant, instance, machine, moment
    """


_LISTS = """
SELECT DISTINCT tenant, instance, subject AS machine, "at" AS lo, "asof" AS hi, CAST(value AS BIGINT) AS heard
FROM entries WHERE kind = 'events' AND tenant IS NOT NULL AND subject IS NOT NULL AND "asof" >= "at"
"""
"""Fetched event lists, once each: over which span each speaks, and how many events it had there."""

_CEILED = "CASE WHEN updated % 1000 = 0 THEN updated + 1000 ELSE updated END"
"""Fly may cut `updated_at` to the second: then a state surely holds from the next one on."""

_MACHINES = f"""
SELECT CAST(row_number() OVER (ORDER BY tenant, instance, machine) AS BIGINT) AS n, tenant, instance, machine,
       min(born) AS born, coalesce(min(noted), min(listed)) AS died,
       (SELECT coalesce(max(hi), (SELECT max(hi) FROM lists)) FROM polls) AS horizon
FROM (
    SELECT tenant, instance, machine, min(coalesce(created, lo)) AS born, CAST(NULL AS BIGINT) AS noted,
           min(CASE WHEN code = {_GONE} AND hi >= coalesce(seen, hi)
               THEN coalesce({_CEILED}, greatest(lo, coalesce(seen, lo))) END) AS listed
    FROM (
        SELECT *, max(CASE WHEN code <> {_GONE} THEN hi END) OVER (PARTITION BY tenant, instance, machine) AS seen FROM polls
    ) AS heard
    GROUP BY tenant, instance, machine
    UNION ALL
    SELECT tenant, instance, machine, min(moment), min(CASE WHEN code = {_GONE} THEN moment END), NULL
    FROM told WHERE heard > 0 GROUP BY tenant, instance, machine
    UNION ALL
    SELECT tenant, instance, machine, min(lo), NULL, NULL FROM lists GROUP BY tenant, instance, machine
) AS evidence
GROUP BY tenant, instance, machine
"""
"""Every machine of which anything is known. Its life ends with the event of its end or, where that is not known, with the list's word of
it, unless a later list shows it again: no id comes back, so that word was wrong. Where there is neither it is followed up to the horizon,
which is the latest moment that any poll vouches for."""

_HAPPENED = """
SELECT m.n, t.moment, t.code, t.heard
FROM told AS t JOIN machines AS m ON t.machine = m.machine AND t.tenant = m.tenant AND t.instance IS NOT DISTINCT FROM m.instance
"""

_ISLANDS = """
WITH points AS (
    SELECT n, moment AS t, 1 AS place, heard AS events,
           CAST(NULL AS BIGINT) AS lo, CAST(NULL AS BIGINT) AS hi, CAST(NULL AS BIGINT) AS claimed
    FROM happened
    UNION ALL
    SELECT m.n, CASE WHEN ends.place = 0 THEN l.lo ELSE l.hi END, ends.place, 0, l.lo, l.hi, l.heard
    FROM lists AS l
    JOIN machines AS m ON l.machine = m.machine AND l.tenant = m.tenant AND l.instance IS NOT DISTINCT FROM m.instance
    CROSS JOIN (VALUES (0), (2)) AS ends(place)
),
counted AS (
    SELECT n, place, lo, hi, claimed,
           sum(events) OVER (PARTITION BY n ORDER BY t, place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS so_far
    FROM points
),
whole AS (
    SELECT n, lo, hi FROM counted WHERE lo IS NOT NULL
    GROUP BY n, lo, hi, claimed
    HAVING claimed IS NULL OR max(CASE WHEN place = 2 THEN so_far END) - max(CASE WHEN place = 0 THEN so_far END) = claimed
),
longest AS (SELECT n, lo, max(hi) AS hi FROM whole GROUP BY n, lo),
before AS (
    SELECT n, lo, hi, max(hi) OVER (PARTITION BY n ORDER BY lo ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM longest
),
numbered AS (
    SELECT n, lo, hi, sum(CASE WHEN reached >= lo - 1 THEN 0 ELSE 1 END)
                      OVER (PARTITION BY n ORDER BY lo ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS island
    FROM before
)
SELECT n, min(lo) AS lo, max(hi) AS hi FROM numbered GROUP BY n, island
"""
"""Where event lists prove a machine's states without a break: lists of which every event is at hand, joined where they touch. One that has
all events up to a millisecond touches one that begins with the next."""

_COVERS = f"""
    SELECT n, code, updated, greatest(lo, {_CEILED}) AS lo, least(hi, coalesce(next, hi)) AS hi
    FROM (
        SELECT m.n, p.code, p.updated, p.lo, p.hi, lead(p.updated) OVER (PARTITION BY m.n ORDER BY p.updated, p.lo, p.hi, p.code) AS next
        FROM polls AS p
        JOIN machines AS m ON p.machine = m.machine AND p.tenant = m.tenant AND p.instance IS NOT DISTINCT FROM m.instance
        WHERE p.updated IS NOT NULL
    ) AS runs
    WHERE coalesce(next, hi) >= hi - {SKEW_MS}
"""
"""What runs of equal polls prove."""

_STRETCHES = f"""
WITH covers AS ({_COVERS}),
marks AS (
    SELECT n, moment AS t, moment * 16 + code AS event, 0 AS lists, CAST(NULL AS BIGINT) AS poll, CAST(NULL AS BIGINT) AS updated
    FROM happened
    UNION ALL SELECT n, lo, lo * 16 + {_UNKNOWN}, 1, NULL, NULL FROM islands
    UNION ALL SELECT n, hi, NULL, -1, NULL, NULL FROM islands
    UNION ALL SELECT n, lo, NULL, 0, lo * 16 + {_OPEN} + code, updated FROM covers WHERE lo < hi
    UNION ALL SELECT n, hi, NULL, 0, hi * 16, NULL FROM covers WHERE lo < hi
    UNION ALL SELECT n, born, NULL, 0, NULL, NULL FROM machines
    UNION ALL SELECT n, coalesce(died, horizon), NULL, 0, NULL, NULL FROM machines
),
points AS (
    SELECT n, t, max(event) AS event, sum(lists) AS lists, max(poll) AS poll, max(updated) AS updated FROM marks GROUP BY n, t
),
held AS (
    SELECT n, t, lead(t) OVER (PARTITION BY n ORDER BY t) AS until, event,
           max(event) OVER so_far AS latest, sum(lists) OVER so_far AS lists,
           coalesce(max(poll) OVER so_far, 0) % 16 AS polled, max(updated) OVER so_far AS updated
    FROM points WINDOW so_far AS (PARTITION BY n ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
known AS (
    SELECT n, t, until, event % 16 AS event, lists > 0 AS listed, polled >= {_OPEN} AS polled, polled % {_OPEN} AS code, updated,
           coalesce(latest % 16, {_UNKNOWN}) AS state, coalesce((latest - latest % 16), 0) AS since
    FROM held WHERE until IS NOT NULL
)
SELECT n, t AS start_ms, until AS end_ms, event, listed OR polled AS proven,
       CASE WHEN NOT listed AND NOT polled THEN NULL
            WHEN NOT polled THEN state
            WHEN state = {_UNKNOWN} THEN code
            WHEN listed AND state <> code AND updated * 16 > since + {16 * SKEW_MS} THEN {_UNKNOWN}
            WHEN listed THEN state
            WHEN code = {_RUNNING} AND state <> {_RUNNING} AND since >= updated * 16 THEN {_UNKNOWN}
            WHEN code = {_STOPPED} AND state = {_RUNNING} AND since > updated * 16 + {16 * SKEW_MS} THEN {_UNKNOWN}
            ELSE code END AS code
FROM known
"""
"""Each machine's time cut wherever anything is said, and what is proven of each piece; null in a gap."""


def _spans(period: Window) -> str:
    """Spans clipped to the period; what is proven does not depend on where it is cut."""
    return f"""
WITH beside AS (
    SELECT n, start_ms, end_ms, proven, code,
           CASE WHEN event IS NULL THEN lag(code) OVER (PARTITION BY n ORDER BY start_ms) ELSE event END AS before,
           lead(code) OVER (PARTITION BY n ORDER BY start_ms) AS after
    FROM stretches
),
classed AS (
    SELECT b.n, m.tenant, m.instance, m.machine,
           greatest(b.start_ms, m.born) AS start_ms, least(b.end_ms, coalesce(m.died, m.horizon)) AS end_ms,
           CASE WHEN proven AND code = {_RUNNING} THEN 'running'
                WHEN proven AND code = {_STOPPED} THEN 'stopped'
                WHEN NOT proven AND before = {_RUNNING} AND after = {_RUNNING} THEN 'inferred'
                ELSE 'unknown' END AS class
    FROM beside AS b JOIN machines AS m ON b.n = m.n
),
lived AS (
    SELECT *, CASE WHEN lag(class) OVER (PARTITION BY n ORDER BY start_ms) = class THEN 0 ELSE 1 END AS fresh
    FROM classed WHERE start_ms < end_ms
),
numbered AS (
    SELECT *, sum(fresh) OVER (PARTITION BY n ORDER BY start_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS run FROM lived
)
SELECT tenant, instance, machine, greatest(min(start_ms), {period.start}) AS start_ms, least(max(end_ms), {period.end}) AS end_ms, class
FROM numbered GROUP BY n, tenant, instance, machine, run, class
HAVING min(start_ms) < {period.end} AND max(end_ms) > {period.start}
"""


_INSTANCE_SPANS = """
WITH several AS (
    SELECT tenant, instance FROM spans GROUP BY tenant, instance HAVING count(DISTINCT machine) > 1
),
shared AS (
    SELECT s.* FROM spans AS s JOIN several AS v ON s.tenant = v.tenant AND s.instance IS NOT DISTINCT FROM v.instance
),
edges AS (
    SELECT tenant, instance, start_ms AS t, class, 1 AS step FROM shared
    UNION ALL SELECT tenant, instance, end_ms, class, -1 FROM shared
),
points AS (
    SELECT tenant, instance, t, sum(CASE WHEN class = 'running' THEN step ELSE 0 END) AS running,
           sum(CASE WHEN class = 'inferred' THEN step ELSE 0 END) AS inferred,
           sum(CASE WHEN class = 'unknown' THEN step ELSE 0 END) AS unknown,
           sum(CASE WHEN class = 'stopped' THEN step ELSE 0 END) AS stopped
    FROM edges GROUP BY tenant, instance, t
),
held AS (
    SELECT tenant, instance, t AS start_ms, lead(t) OVER (PARTITION BY tenant, instance ORDER BY t) AS end_ms,
           sum(running) OVER so_far AS running, sum(inferred) OVER so_far AS inferred,
           sum(unknown) OVER so_far AS unknown, sum(stopped) OVER so_far AS stopped
    FROM points WINDOW so_far AS (PARTITION BY tenant, instance ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
classed AS (
    SELECT tenant, instance, start_ms, end_ms,
           CASE WHEN running > 0 THEN 'running' WHEN inferred > 0 THEN 'inferred'
                WHEN unknown > 0 THEN 'unknown' ELSE 'stopped' END AS class
    FROM held WHERE end_ms IS NOT NULL AND running + inferred + unknown + stopped > 0
),
fresh AS (
    SELECT *, CASE WHEN lag(class) OVER w = class AND lag(end_ms) OVER w = start_ms THEN 0 ELSE 1 END AS first
    FROM classed WINDOW w AS (PARTITION BY tenant, instance ORDER BY start_ms)
),
numbered AS (
    SELECT *, sum(first) OVER so_far AS run
    FROM fresh WINDOW so_far AS (PARTITION BY tenant, instance ORDER BY start_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT tenant, instance, min(start_ms) AS start_ms, max(end_ms) AS end_ms, class
FROM numbered GROUP BY tenant, instance, run, class
UNION ALL
SELECT s.tenant, s.instance, s.start_ms, s.end_ms, s.class
FROM spans AS s LEFT JOIN several AS v ON s.tenant = v.tenant AND s.instance IS NOT DISTINCT FROM v.instance
WHERE v.tenant IS NULL
"""
"""Most instances have one machine and need no sweep."""
