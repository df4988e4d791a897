"""What was proven of a month so far, kept so that a pass need not think it through again.

Does: fold what is settled, store it beside the ledger, take it up again. Does not: replace the ledger: from that alone everything comes
out the same, and a rollup that is missing, damaged, of other segments, or contradicted by what came since, is made anew from it.

A rollup has a cut, two days before the last word of any list. Tenants of whose machines none was in a gap there are folded: their spans,
steps and counts before it are kept as they came out, which are fewer than their hours; and of their entries only those that later ones
may refer to (opening.py picks them as for a new month) and those from the cut on. Of all others every entry is kept.
Whether that gives what the whole gives is tried before it is stored, tenant by tenant. A gap before the cut stays one: where a late list
of events or a late poll could close it, the whole month is read again.

One object `derived/<cell>/<month>/<window>-<sha256>.parquet`, named for the last window that it covers and for its own bytes, so that a
damaged one is seen. Columns: `part` (head, cut, span, storage, counted, mark) and those of an entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from rowhouse.usage.ledger import Ledger
from rowhouse.usage.meter import usage
from rowhouse.usage.meter_folds import LISTED, Outdated
from rowhouse.usage.model import HOUR_MS, SegmentUsage, Window, milliseconds
from rowhouse.usage.opening import selects
from rowhouse.usage.segments import stamp_of
from rowhouse.vendors.store import Store

__all__ = ["SETTLED_MS", "WORTH_ROWS", "Covers", "Stand", "covers_of", "fold", "metered", "store_rollup", "take_up"]

SETTLED_MS: Final = 48 * HOUR_MS
"""What is older than this, counted from the last word of any list, is not expected to be spoken of again."""

WORTH_ROWS: Final = 200_000
"""Fewer entries are metered whole in well under a second."""
_DAY_MS: Final = 24 * HOUR_MS
_VERSION: Final = 1
_EVENTS: Final = 4
"""How many of a machine's last events are kept beside those of its last list: lists are told from the last known event on, and one that
reaches farther back has the whole month read.
"""
_KEY: Final = re.compile(r"^derived/.+/\d{4}-\d\d/[0-9TZ]+-([0-9a-f]{64})\.parquet$")

Stand = Mapping[str, Mapping[str, str]]
"""Source to the windows of its chain's segments to their SHA-256."""
Covers = Mapping[str, Mapping[str, str]]
"""Source to the last covered segment of its chain: `window` and `sha256`; the chain vouches for all before it."""


def fold(connection: duckdb.DuckDBPyConnection, period: Window, *, settled_ms: int = SETTLED_MS) -> int | None:
    """Make the table `rollup` from `entries` and what `usage` of the whole period has just left behind in the session.

    Returns: the cut, in milliseconds; None where nothing is settled yet.
    """
    found = connection.execute("SELECT max(horizon) FROM machines").fetchone()
    horizon = int(found[0]) if found and found[0] is not None else 0
    cut = horizon - settled_ms
    cut -= cut % HOUR_MS
    if cut <= period.start or horizon > period.end + settled_ms:
        return None
    connection.execute(f"""
    CREATE OR REPLACE TEMP TABLE folded AS
    SELECT DISTINCT tenant FROM entries WHERE kind = 'plan' AND tenant IS NOT NULL
    AND tenant NOT IN (SELECT tenant FROM spans WHERE class NOT IN ('running', 'stopped') AND start_ms < {cut} AND end_ms >= {cut})
    """)
    whole = _summed(connection)
    for _ in range(2):  # those that do not come out the same are folded not at all, and then there is nothing left to try
        _make(connection, period, cut)
        with connection.cursor() as again:
            again.execute("CREATE OR REPLACE TABLE nothing_new AS SELECT * FROM entries LIMIT 0")
            usage(again, period, rollup="rollup", fresh="nothing_new")
            wrong = sorted(_differing(whole, _summed(again)))
            again.execute("DROP TABLE nothing_new")
        if not wrong:
            break
        connection.execute("DELETE FROM folded WHERE list_contains(CAST(? AS VARCHAR[]), tenant)", [wrong])
    return cut


def _make(connection: duckdb.DuckDBPyConnection, period: Window, cut: int) -> None:
    listed = LISTED.replace('"data"', "CAST(data AS VARCHAR) AS data")
    empty = "CAST(NULL AS VARCHAR)"
    of_time = """CASE WHEN e.kind IN ('machine', 'volume') THEN coalesce(e."asof", e."at") ELSE e."at" END"""
    carried = " UNION ALL ".join(f"SELECT * FROM ({query}) AS q WHERE q.tenant IN (FROM folded)" for query in selects(cut, _EVENTS))
    connection.execute(f"""
    CREATE OR REPLACE TABLE rollup AS
    SELECT 'cut' AS part, 'rollup' AS kind, tenant, {empty} AS instance, {empty} AS subject, CAST({cut} AS BIGINT) AS "at",
           CAST(NULL AS BIGINT) AS "asof", {empty} AS state, {empty} AS value, {empty} AS id, {empty} AS data
    FROM folded
    UNION ALL
    SELECT 'span', 'rollup', tenant, instance, machine, start_ms, least(end_ms, {cut}), class, NULL, NULL, NULL
    FROM spans WHERE tenant IN (FROM folded) AND start_ms < {cut}
    UNION ALL
    SELECT 'storage', 'rollup', s.tenant, s.instance, s.volume, s.start_ms, s.end_ms, NULL, CAST(s.micro_gb AS VARCHAR), NULL, NULL
    FROM storage_steps AS s
    JOIN (SELECT tenant, instance, subject, max("at") AS last FROM entries WHERE kind = 'storage' AND "at" < {cut} GROUP BY ALL) AS k
      ON s.tenant = k.tenant AND s.instance IS NOT DISTINCT FROM k.instance AND s.volume = k.subject AND s.start_ms < k.last
    WHERE s.tenant IN (FROM folded)
    UNION ALL
    SELECT 'counted', 'rollup', tenant, instance, counter, since_ms, at_ms, NULL, CAST(n AS VARCHAR), NULL, NULL
    FROM counted WHERE tenant IN (FROM folded) AND at_ms < {cut}
    UNION ALL
    SELECT DISTINCT 'mark', {listed} FROM (
        SELECT {LISTED} FROM ({carried})
        UNION ALL
        SELECT {LISTED} FROM entries AS e WHERE tenant NOT IN (FROM folded) OR (kind <> 'machine' AND {of_time} >= {cut})
            OR kind = 'plan' OR (kind IN ('login', 'activity') AND "at" >= {period.start - HOUR_MS})
        UNION ALL
        SELECT {LISTED} FROM (
            SELECT *, {of_time} AS spoken, min({of_time}) OVER run AS lo, max({of_time}) OVER run AS hi
            FROM entries AS e WHERE kind = 'machine' AND tenant IN (FROM folded) AND {of_time} >= {cut}
            WINDOW run AS (PARTITION BY tenant, instance, subject, id, state, data)
        ) WHERE spoken = lo OR spoken = hi
    )
    UNION ALL
    SELECT DISTINCT 'mark', {listed} FROM entries AS e
    WHERE kind = 'machine' AND tenant IN (FROM folded) AND (subject, coalesce("asof", "at")) IN (
        SELECT (subject, max(coalesce("asof", "at"))) FROM entries WHERE kind = 'machine' GROUP BY subject)
    """)


def _summed(connection: duckdb.DuckDBPyConnection) -> dict[str, list[object]]:
    """By tenant, a mark of all that bills or reports are made of, runs added up by day, because a cut leaves two of one."""
    day = 24 * HOUR_MS
    days = f"""
        SELECT tenant, instance, class, d, sum(least(end_ms, d + {day}) - greatest(start_ms, d)) AS ms
        FROM (SELECT *, unnest(range(start_ms - start_ms % {day}, end_ms, {day})) AS d FROM instance_spans) GROUP BY ALL
    """
    steps = "SELECT tenant, instance, volume, sum(micro_gb * CAST(end_ms - start_ms AS HUGEINT)) AS gb FROM {} GROUP BY ALL"
    queries = (days, steps.format("storage_steps"), steps.format("volume_steps"), "FROM counted", "FROM active")
    found: dict[str, list[object]] = {}
    for query in queries:
        for tenant, mark in connection.execute(f"SELECT tenant, bit_xor(hash(q)) FROM ({query}) AS q GROUP BY tenant").fetchall():
            found.setdefault(tenant, []).append(mark)
    return found


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    return {tenant for tenant in {*one, *other} if one.get(tenant) != other.get(tenant)}


def store_rollup(store: Store, cell: str, period: Window, connection: duckdb.DuckDBPyConnection, covers: Covers) -> str:
    """Put the table `rollup` into the store; its key. Raises: StoreError."""
    head = json.dumps({"v": _VERSION, "cell": cell, "start": period.start, "end": period.end, "covers": covers}, sort_keys=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rollup.parquet"
        chosen = f"SELECT * FROM rollup UNION ALL BY NAME SELECT 'head' AS part, '{_quoted(head)}' AS data"
        connection.execute(f"COPY ({chosen}) TO '{_quoted(str(path))}' (FORMAT parquet)")
        data = path.read_bytes()
    window = max(last["window"] for last in covers.values())
    key = f"{_prefix(cell, period)}{window[:16]}-{hashlib.sha256(data).hexdigest()}.parquet"
    store.put(key, data)
    return key


def take_up(store: Store, cell: str, period: Window, connection: duckdb.DuckDBPyConnection, stand: Stand) -> Covers | None:
    """Make the table `rollup` of the newest one that is whole, of this cell and period, and of the ledger that stands; what it covers.

    Returns: None where there is none, and then nothing is lost but time. Raises: StoreError.
    """
    for key, _ in reversed(store.list(_prefix(cell, period))):
        match, blob = _KEY.match(key), store.get(key)
        if match is None or blob is None or hashlib.sha256(blob.data).hexdigest() != match[1]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rollup.parquet"
            path.write_bytes(blob.data)
            try:
                connection.execute(f"CREATE OR REPLACE TABLE rollup AS SELECT * FROM read_parquet('{_quoted(str(path))}')")
                [(text,)] = connection.execute("SELECT data FROM rollup WHERE part = 'head'").fetchall()
                head = json.loads(text)
                covers: Covers = head["covers"]
                ours = (head["v"], head["cell"], head["start"], head["end"]) == (_VERSION, cell, *period)
                if ours and all(stand.get(source, {}).get(last["window"]) == last["sha256"] for source, last in covers.items()):
                    return covers
            except (duckdb.Error, ValueError, KeyError, TypeError, AttributeError):
                continue
    return None


def covers_of(stand: Stand) -> Covers:
    """What a rollup covers that was made of the whole ledger as it stands."""
    return {source: {"window": max(windows), "sha256": windows[max(windows)]} for source, windows in stand.items() if windows}


def metered(
    ledger: Ledger, connection: duckdb.DuckDBPyConnection, period: Window, since: str | None, *, worth: int = WORTH_ROWS
) -> list[SegmentUsage]:
    """What every tenant used in a period, as quickly as a rollup allows, and a new rollup once a day.

    The connection has the table `entries` of the ledger since that month. What `usage` leaves is left, its runs cut once where a rollup
    was used. Args: worth: with fewer rows than these the whole is read, which is quick enough.
    Raises: as `Ledger.table` does, StoreError.
    """
    [(rows,)] = connection.execute("SELECT count(*) FROM entries").fetchall()
    if rows < worth:
        return usage(connection, period)
    stand = ledger.stand(since=since)
    covers = take_up(ledger.store, ledger.cell, period, connection, stand)
    if covers is not None and not _is_old(covers, stand):
        ledger.table(connection, "fresh", since=since, after={source: last["window"] for source, last in covers.items()})
        with contextlib.suppress(Outdated):
            return usage(connection, period, rollup="rollup", fresh="fresh")
    found = usage(connection, period)
    if fold(connection, period) is not None:
        store_rollup(ledger.store, ledger.cell, period, connection, covers_of(stand))
    return found


def _is_old(covers: Covers, stand: Stand) -> bool:
    """Whether more than a day came since."""
    covered = max(last["window"] for last in covers.values())
    latest = max((window for windows in stand.values() for window in windows), default=covered)
    return _at(latest) - _at(covered) > _DAY_MS


def _at(window: str) -> int:
    return milliseconds(datetime.strptime(stamp_of(window), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))


def _prefix(cell: str, period: Window) -> str:
    return f"derived/{cell}/{datetime.fromtimestamp(period.start / 1000, UTC):%Y-%m}/"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
