"""What was sent to the billing sink, as the ledger tells it.

Does: give the last total of each segment's meter, and whether it surely arrived, from entries or set-based from DuckDB. Does not: send.

Entries of source `billing`, kind `push`:
    planned  a total about to be sent: tenant, subject=meter, at=its event's time, asof=the watermark, value, id, data={segment, batch, ..}
    done     a batch was sent: subject=`batch`, id=the batch
    failed   one total of a batch may not have arrived: id, data={batch, reason}
    refused  one total did not count, or the sink's sum differs: id, data={reason}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rowhouse.usage.entries import Entry
from rowhouse.usage.sink import Total

if TYPE_CHECKING:
    import duckdb

__all__ = ["Key", "Sent", "announced", "batch_done", "failure", "refusal", "sent_from_entries", "sent_from_table"]

Key = tuple[str, str, int]
"""Tenant, meter, start of the segment in ms."""
_BATCH: Final = "batch"


@dataclass(frozen=True, slots=True)
class Sent:
    """The last total that was announced for one meter of one segment."""

    value: int
    at: int
    """Of its event, in seconds."""
    asof: int
    """The watermark behind it, in ms."""
    identifier: str
    certain: bool
    """Whether it surely arrived, and was not refused afterwards."""
    reason: str = ""
    """Why it does not count, where that is known."""


def announced(total: Total, watermark: int, batch: str) -> Entry:
    """The entry to write before a total is sent."""
    data = {"segment": total.start, "batch": batch, "plan": total.plan, "unit": total.unit}
    return Entry(
        "push",
        total.at * 1000,
        tenant=total.tenant,
        subject=total.meter,
        asof=watermark,
        state="planned",
        value=str(total.value),
        id=total.identifier,
        data=data,
    )


def batch_done(batch: str, now: int, count: int) -> Entry:
    """The entry to write when every total of a batch was sent or told as failed."""
    return Entry("push", now, subject=_BATCH, state="done", id=batch, value=str(count))


def failure(total: Total, batch: str, now: int, reason: str) -> Entry:
    """The entry for a total of a batch that may not have arrived."""
    return Entry(
        "push", now, tenant=total.tenant, subject=total.meter, state="failed", id=total.identifier, data={"batch": batch, "reason": reason}
    )


def refusal(tenant: str | None, meter: str | None, identifier: str, now: int, reason: str) -> Entry:
    """The entry for a total that did not count although it was received."""
    return Entry("push", now, tenant=tenant, subject=meter, state="refused", id=identifier, data={"reason": reason})


def sent_from_entries(entries: Iterable[Entry]) -> dict[Key, Sent]:
    """The last total of each segment's meter; the order of the entries changes nothing."""
    planned: dict[Key, Entry] = {}
    batches: dict[str, set[str]] = {}  # identifier -> batches that announced it
    done: set[str] = set()
    failed: set[tuple[str, str]] = set()
    refused: dict[str, str] = {}
    for entry in entries:
        if entry.kind != "push" or entry.id is None:
            continue
        data = entry.data or {}
        if entry.state == "planned" and entry.tenant is not None and entry.subject is not None:
            key = (entry.tenant, entry.subject, int(data["segment"]))
            batches.setdefault(entry.id, set()).add(str(data["batch"]))
            if key not in planned or _order(entry) > _order(planned[key]):
                planned[key] = entry
        elif entry.state == "done":
            done.add(entry.id)
        elif entry.state == "failed":
            failed.add((entry.id, str(data["batch"])))
        elif entry.state == "refused":
            refused[entry.id] = max(refused.get(entry.id, ""), str(data["reason"]))
    found: dict[Key, Sent] = {}
    for key, entry in planned.items():
        identifier = entry.id or ""
        arrived = any(batch in done and (identifier, batch) not in failed for batch in batches[identifier])
        reason = refused.get(identifier, "")
        found[key] = Sent(int(entry.number), entry.at // 1000, entry.asof or 0, identifier, arrived and not reason, reason)
    return found


def _order(entry: Entry) -> tuple[int, int, str]:
    return entry.at, entry.asof or 0, entry.id or ""


_LAST: Final = """
WITH pushed AS (
    SELECT tenant, subject AS meter, "at", coalesce("asof", 0) AS watermark, value, id, state,
           CAST(json_extract_string(data, '$.segment') AS BIGINT) AS segment,
           json_extract_string(data, '$.batch') AS batch, json_extract_string(data, '$.reason') AS reason
    FROM {table} WHERE source = 'billing' AND kind = 'push' AND id IS NOT NULL
),
finished AS (SELECT DISTINCT id AS batch FROM pushed WHERE state = 'done'),
lost AS (SELECT DISTINCT id, batch FROM pushed WHERE state = 'failed'),
refused AS (SELECT id, max(reason) AS reason FROM pushed WHERE state = 'refused' GROUP BY id),
arrived AS (
    SELECT planned.id, bool_or(finished.batch IS NOT NULL AND lost.id IS NULL) AS arrived
    FROM pushed AS planned
    LEFT JOIN finished ON finished.batch = planned.batch
    LEFT JOIN lost ON lost.id = planned.id AND lost.batch = planned.batch
    WHERE planned.state = 'planned' GROUP BY planned.id
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY tenant, meter, segment ORDER BY "at" DESC, watermark DESC, id DESC) AS rank
    FROM pushed WHERE state = 'planned'
)
SELECT ranked.tenant, ranked.meter, ranked.segment, ranked.value, ranked."at", ranked.watermark, ranked.id, arrived.arrived, refused.reason
FROM ranked JOIN arrived ON arrived.id = ranked.id LEFT JOIN refused ON refused.id = ranked.id
WHERE ranked.rank = 1
"""


def sent_from_table(connection: duckdb.DuckDBPyConnection, table: str = "entries") -> dict[Key, Sent]:
    """The same from the ledger's table, in one query: the number of rows is that of segments, not of pushes."""
    rows: Sequence[tuple[str, str, int, str, int, int, str, bool, str | None]] = connection.execute(_LAST.format(table=table)).fetchall()
    return {
        (tenant, meter, segment): Sent(int(value), at // 1000, asof, identifier, arrived and not reason, reason or "")
        for tenant, meter, segment, value, at, asof, identifier, arrived, reason in rows
    }
