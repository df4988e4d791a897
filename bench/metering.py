"""From a month of hourly observations of 10,000 tenants to their bills: seconds, CPU seconds and memory on two cores, against the same in
plain Python on a tenth of them; JSON on standard output.

The observations lie in Parquet files, one a day, as the ledger keeps them on this machine once it has read them. Each tenant's machine runs
once a day; lists of its events are fetched when it has changed.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from rowhouse.spec import load_fleet
from rowhouse.spec.terms import billed_id, terms_of, terms_text
from rowhouse.usage.meter import usage
from rowhouse.usage.model import DAY_MS, HOUR_MS, Window
from rowhouse.usage.rate import rate

TENANTS = 10_000
SETTLE_MS = 600_000
PERIOD = Window.month("2026-11")
PLANS = ("aether/pro", "ai-diy/standard", "my-jarvis/usage", "ai-diy-roadmap/basic")
WANTED = {"seconds": 15, "memory_gb": 2}


def made(connection: duckdb.DuckDBPyConnection, folder: Path) -> int:
    """Write the observations, a file a day (and one more pass after the month); how many there are."""
    start, day = PERIOD.start, DAY_MS
    connection.execute(f"""
    CREATE TABLE sessions AS
    SELECT i, d, {start} + d * {day} + 7 * {HOUR_MS} + CAST(hash(i, d) % {4 * HOUR_MS} AS BIGINT) AS up,
           {start} + d * {day} + 12 * {HOUR_MS} + CAST(hash(d, i) % {9 * HOUR_MS} AS BIGINT) AS down
    FROM range({TENANTS}) AS t(i), range(-1, 31) AS u(d)
    """)
    connection.execute("""
    CREATE TABLE changes AS
    SELECT i, up AS moment, 'running' AS state, '"start","status":"started"' AS words FROM sessions
    UNION ALL SELECT i, down, 'stopped', '"exit","status":"stopped"' FROM sessions
    """)
    _write(connection, folder / "before.parquet", _events(start - day, start))  # what the month before carries over
    for number in range(31):
        first, hours = start + number * day, 24 if number < 30 else 1
        _write(connection, folder / f"{number:02}.parquet", f"{_polls(first, hours)} UNION ALL {_events(first, first + hours * HOUR_MS)}")
    fleet = load_fleet(Path(__file__).resolve().parents[1])
    terms = [(terms_of(fleet.plan(ref)), ref) for ref in PLANS]
    listed = ", ".join(f"({number}, '{billed_id(found)}', '{terms_text(found)}', '{ref}')" for number, (found, ref) in enumerate(terms))
    _write(
        connection,
        folder / "plans.parquet",
        f"SELECT 'account' AS source, 'plan' AS kind, {_TENANT}, NULL AS instance, ref AS subject, {start - 40 * day} AS \"at\","
        " NULL::BIGINT AS \"asof\", 'active' AS state, NULL AS value, hashed AS id, text AS data"
        f" FROM range({TENANTS}) AS t(i) JOIN (VALUES {listed}) AS p(k, hashed, text, ref) ON i % {len(PLANS)} = k",
    )
    counted = connection.execute(f"SELECT count(*) FROM read_parquet('{folder}/*.parquet')").fetchone()
    assert counted is not None
    return int(counted[0])


_TENANT = "'t' || lpad(CAST(i AS VARCHAR), 5, '0') AS tenant"
_ABOUT = f"{_TENANT}, 'main' AS instance, 'm' || CAST(i AS VARCHAR) AS subject"


def _write(connection: duckdb.DuckDBPyConnection, path: Path, query: str) -> None:
    names = ("source", "kind", "tenant", "instance", "subject", "at", "asof", "state", "value", "id", "data")
    kinds = {"at": "BIGINT", "asof": "BIGINT"}
    columns = ", ".join(f'CAST("{name}" AS {kinds.get(name, "VARCHAR")}) AS "{name}"' for name in names)
    connection.execute(f"COPY (SELECT {columns} FROM ({query})) TO '{path}' (FORMAT parquet, COMPRESSION snappy)")


def _polls(first: int, hours: int) -> str:
    """Hourly lists, five minutes late."""
    fixed = f'"created_at":{PERIOD.start - 40 * DAY_MS},"region":"fra","cpu_kind":"shared","cpus":1,"memory_mb":256'
    return f"""
    SELECT 'fly' AS source, 'machine' AS kind, {_ABOUT}, now AS "at", now - {SETTLE_MS} AS "asof", state, NULL AS value, 'v1' AS id,
           '{{"updated_at":' || updated || ',{fixed}}}' AS data
    FROM (
        SELECT s.i, now, CASE WHEN seen >= s.up AND seen < s.down THEN 'running' ELSE 'stopped' END AS state,
               CASE WHEN seen >= s.down THEN s.down WHEN seen >= s.up THEN s.up ELSE before.down END AS updated
        FROM (SELECT {first} + h * {HOUR_MS} AS now, {first} + h * {HOUR_MS} - 300000 AS seen FROM range({hours}) AS p(h)) AS passes
        JOIN sessions AS s ON s.d = (seen - {PERIOD.start} + {DAY_MS}) // {DAY_MS} - 1
        JOIN sessions AS before ON before.i = s.i AND before.d = greatest(s.d - 1, -1)
    )
    """


def _events(first: int, last: int) -> str:
    """At each full hour the events since the last one, and the list that they were in, told from the last known event on."""
    return f"""
    SELECT 'fly' AS source, 'event' AS kind, {_ABOUT}, moment AS "at", NULL AS "asof", state, NULL AS value, subject || '-' || moment AS id,
           '{{"source":"flyd","type":' || words || '}}' AS data
    FROM changes WHERE moment >= {first} AND moment < {last}
    UNION ALL
    SELECT 'fly', 'events', {_ABOUT}, min(coalesce(before, moment)), now, max_by(state, moment), CAST(count(*) + 1 AS VARCHAR), NULL,
           '{{"app":"a"}}'
    FROM (
        SELECT i, moment, state, lag(moment) OVER (PARTITION BY i ORDER BY moment) AS before,
               moment + {HOUR_MS} - moment % {HOUR_MS} AS now
        FROM changes
    ) WHERE moment >= {first} AND moment < {last} GROUP BY i, now
    """


def measured(folder: Path, scratch: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Observations to bills with the meter and the rates: seconds and CPU seconds (which other load of the machine does not lengthen)
    until metered and in all; running time by tenant.
    """
    began, worked = time.monotonic(), time.process_time()
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1200MB", "temp_directory": str(scratch)})
    connection.execute(f"CREATE VIEW entries AS SELECT * FROM read_parquet('{folder}/*.parquet')")
    by_tenant = defaultdict(list)
    for segment in usage(connection, PERIOD):
        by_tenant[segment.tenant].append(segment)
    taken = {"metering_s": time.monotonic() - began, "metering_cpu_s": time.process_time() - worked}
    bills = [rate(PERIOD, segments) for segments in by_tenant.values()]
    assert len(bills) == TENANTS
    taken |= {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - worked}
    return taken, {tenant: sum(one.running_ms for one in found) for tenant, found in by_tenant.items()}


def naive(folder: Path, share: int) -> tuple[float, float, dict[str, int]]:
    """Running time of each `share`-th tenant, as one would write it first: rows as objects, a list a machine, sorted, walked through.
    Seconds, CPU seconds, running time.
    """
    began, worked = time.monotonic(), time.process_time()
    connection = duckdb.connect(config={"threads": 2})
    cursor = connection.execute(
        f'SELECT kind, tenant, subject, "at", "asof", state, value, id, data FROM read_parquet(\'{folder}/*.parquet\')'
        f" WHERE kind <> 'plan' AND CAST(substr(tenant, 2) AS INTEGER) % {share} = 0"
    )
    names = ("kind", "tenant", "subject", "at", "asof", "state", "value", "id", "data")
    machines: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    while rows := cursor.fetchmany(10_000):
        for row in rows:
            entry = dict(zip(names, row, strict=True))
            entry["data"] = json.loads(entry["data"])
            machines[entry["tenant"], entry["subject"]].append(entry)
    running: dict[str, int] = defaultdict(int)
    for (tenant, _), entries in machines.items():
        running[tenant] += _walked(entries)
    return time.monotonic() - began, time.process_time() - worked, running


def _walked(entries: list[dict[str, Any]]) -> int:
    """Proven running time of one machine: by its lists of events, and by polls between which nothing changed."""
    events = sorted({(entry["at"], entry["state"]) for entry in entries if entry["kind"] == "event"})
    polls = sorted((entry for entry in entries if entry["kind"] == "machine"), key=lambda entry: int(entry["asof"]))
    proven = [(entry["at"], entry["asof"]) for entry in entries if entry["kind"] == "events"]
    for before, after in pairwise(polls):
        same = all(before[name] == after[name] for name in ("id", "state")) and before["data"]["updated_at"] == after["data"]["updated_at"]
        if same:
            proven.append((max(before["asof"], before["data"]["updated_at"]), after["asof"]))
    proven.sort()
    total = reached = 0
    for start, end in proven:
        start, reached = max(start, reached, PERIOD.start), max(reached, end)
        for (at, state), until in zip(events, [*(at for at, _ in events[1:]), PERIOD.end], strict=True):
            if state == "running":
                total += max(0, min(end, until, PERIOD.end) - max(start, at))
    return total


def main() -> None:
    """Make the month, meter it, meter a tenth of it naively."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "observations"
        folder.mkdir()
        with duckdb.connect() as connection:
            entries = made(connection, folder)
        taken, running = measured(folder, Path(text) / "spill")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        slow, slow_cpu, expected = naive(folder, 10)
    assert expected == {tenant: running[tenant] for tenant in expected}, "the two ways differ"
    found = {
        "tenants": TENANTS,
        "entries": entries,
        **{name: round(value, 2) for name, value in taken.items()},
        "memory_gb": round(memory, 2),
        "naive_seconds_for_a_tenth": round(slow, 2),
        "naive_cpu_seconds_for_a_tenth": round(slow_cpu, 2),
        "times_as_fast_as_naive": round(slow * 10 / taken["metering_s"], 1),
        "wanted_at_most": WANTED,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
