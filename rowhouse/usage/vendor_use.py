"""What of a month a vendor charges for: how long machines ran and stood at which size and where, volumes, people, writes.

Does: read it off the meter's tables of the period. Does not: price it (costs.py). Time that is not known is in none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rowhouse.spec.fields import Host
from rowhouse.usage.model import Window

if TYPE_CHECKING:
    import duckdb

__all__ = ["DiskTime", "MachineTime", "VendorUse", "people_in", "vendor_use", "writes_in"]


@dataclass(frozen=True, slots=True)
class MachineTime:
    """How long the machines of one instance of one size ran, and stood stopped."""

    tenant: str
    instance: str
    host: Host
    region: str
    cpu_kind: str
    cpus: int
    memory_mb: int
    ran_ms: int
    stopped_ms: int


@dataclass(frozen=True, slots=True)
class DiskTime:
    """What the volumes of one instance held ready."""

    tenant: str
    instance: str
    host: Host
    gb_ms: int
    """GB provisioned: micro-GB times milliseconds."""
    ms: int
    """For how long there was any."""


@dataclass(frozen=True, slots=True)
class VendorUse:
    """A month of all tenants together, or of some."""

    machines: Sequence[MachineTime] = ()
    disks: Sequence[DiskTime] = ()
    people: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Who passed a gate (a mark, not a name) to the tenants at which."""
    writes: int = 0
    """Into the object store, to write down what was seen."""


def vendor_use(connection: duckdb.DuckDBPyConnection, period: Window, sources: int, *, logins: str = "entries") -> VendorUse:
    """The use of a period that was metered on this connection.

    Args: sources: how many each pass hears. logins: the table in which they stand, where `entries` has those of some tenants only.
    """
    machines = [
        MachineTime(tenant, instance or "", "fly", region, kind, cpus, memory_mb, int(ran), int(stopped))
        for tenant, instance, region, kind, cpus, memory_mb, ran, stopped in connection.execute(_SIZES).fetchall()
    ]
    disks = [
        DiskTime(tenant, instance or "", "fly", int(gb_ms), min(int(ms), period.length))
        for tenant, instance, gb_ms, ms in connection.execute(_DISKS, {"start": period.start, "end": period.end}).fetchall()
    ]
    return VendorUse(machines, disks, people_in(connection, period, logins), writes_in(connection, period, sources))


def people_in(connection: duckdb.DuckDBPyConnection, period: Window, logins: str = "entries") -> dict[str, list[str]]:
    """Who passed a gate (a mark, not a name) to the tenants at which."""
    people: dict[str, list[str]] = {}
    for who, tenant in connection.execute(_PEOPLE.format(logins), list(period)).fetchall():
        people.setdefault(who, []).append(tenant)
    return people


def writes_in(connection: duckdb.DuckDBPyConnection, period: Window, sources: int) -> int:
    """Writes into the object store, to write down what passes saw of so many sources."""
    passes = connection.execute(_WRITES, list(period)).fetchall()[0][0]
    return 2 * int(passes) * (sources + 1)


_SIZES: Final = """
WITH folded AS (
    SELECT tenant, subject AS machine, CAST(data AS VARCHAR) AS text, min("at") AS first_at
    FROM entries WHERE kind = 'machine' AND tenant IS NOT NULL AND subject IS NOT NULL
    GROUP BY tenant, subject, CAST(data AS VARCHAR), CASE WHEN contains(CAST(data AS VARCHAR), '"updated_at"') THEN 0 ELSE "at" END
),
sizes AS (
    SELECT tenant, machine, coalesce(TRY_CAST(text->>'updated_at' AS BIGINT), first_at) AS since,
           max(coalesce(text->>'region', '')) AS region, max(coalesce(text->>'cpu_kind', 'shared')) AS cpu_kind,
           max(coalesce(TRY_CAST(text->>'cpus' AS BIGINT), 1)) AS cpus, max(TRY_CAST(text->>'memory_mb' AS BIGINT)) AS memory_mb
    FROM folded GROUP BY 1, 2, 3
),
known AS (SELECT * FROM sizes WHERE memory_mb IS NOT NULL),
first AS (SELECT tenant, machine, min(since) AS since FROM known GROUP BY tenant, machine),
spans AS (SELECT s.*, greatest(s.start_ms, f.since) AS asked FROM spans AS s JOIN first AS f USING (tenant, machine))
SELECT s.tenant, s.instance, k.region, k.cpu_kind, k.cpus, k.memory_mb,
       sum(CASE WHEN s.class IN ('running', 'inferred') THEN s.end_ms - s.start_ms ELSE 0 END),
       sum(CASE WHEN s.class = 'stopped' THEN s.end_ms - s.start_ms ELSE 0 END)
FROM spans AS s ASOF JOIN known AS k ON s.tenant = k.tenant AND s.machine = k.machine AND s.asked >= k.since
GROUP BY ALL ORDER BY ALL
"""
"""Each span at the size that the machine had when it began; before the first word of it, at that first size. Only Fly's are observed.
Folded by the raw text first: most polls change nothing, and only one of each kind is parsed."""

_DISKS: Final = """
SELECT tenant, instance, sum(CAST(micro_gb AS DECIMAL(38, 0)) * ms), sum(ms) FROM (
    SELECT tenant, instance, micro_gb, least(end_ms, $end) - greatest(start_ms, $start) AS ms
    FROM volume_steps WHERE start_ms < $end AND end_ms > $start
) AS clipped GROUP BY ALL ORDER BY ALL
"""

_PEOPLE: Final = """
SELECT DISTINCT data->>'who' AS who, tenant FROM {} WHERE kind = 'login' AND tenant IS NOT NULL
AND json_extract_string(data, '$.who') IS NOT NULL AND "at" >= ? AND "at" < ? ORDER BY ALL
"""

_WRITES: Final = 'SELECT count(DISTINCT "at") FROM entries WHERE kind = \'pass\' AND "at" >= ? AND "at" < ?'
