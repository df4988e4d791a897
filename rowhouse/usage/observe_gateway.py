"""The gateways' notes of use: how many requests of people each instance had, in which minutes of an hour.

Does: take each note that is new or has grown, as the total that it is. Does not: count services' requests, which are no person's use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rowhouse.usage.entries import Entry
from rowhouse.usage.notes import Note, Notes
from rowhouse.usage.observations import Part, Told, VendorTime, guarded
from rowhouse.usage.previous import Previous
from rowhouse.vendors.store import Store

__all__ = ["GatewaySource"]

LATE_MS: Final = 60_000
"""Gateways write every half minute."""


class GatewaySource:
    """The gateways of one cell."""

    name = "gateway"
    tells_time = False
    ahead_s = None

    def __init__(self, store: Store) -> None:
        """Read the notes in `store`."""
        self._notes = Notes(store, "activity")

    @property
    def calls(self) -> int:
        """Objects and lists read so far."""
        return self._notes.calls

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        """Read what is new."""
        part = told.part("activity")
        await guarded(part, self._activity(part, previous, time))

    async def _activity(self, part: Part, previous: Previous, time: VendorTime) -> None:
        now = await time.now()
        listed = await self._notes.listed(part, previous.at, now)
        changed = [key for key, (etag, _, _) in listed.items() if (key, etag) not in previous.notes]
        for note in await self._notes.read(part, listed, changed):
            part.entries.extend(_entries(part, note))
        if now is not None:
            part.vouch(now - LATE_MS)


def _entries(part: Part, note: Note) -> list[Entry]:
    totals: dict[tuple[str, str], dict[str, int]] = {}
    hosts = note.content.get("hosts")
    for host in hosts.values() if isinstance(hosts, Mapping) else ():
        read = _host(host)
        if read is None:
            part.fail(f"object {note.key} has a host that cannot be read")
            continue
        owner, minutes = read
        total = totals.setdefault(owner, {})
        for minute, count in minutes.items():
            total[minute] = total.get(minute, 0) + count
    return [
        Entry(
            "activity",
            note.hour,
            tenant,
            instance,
            note.gateway,
            value=str(sum(minutes.values())),
            id=f"{note.gateway}/{note.key.split('/')[1]}/{instance}",
            data={"minutes": dict(sorted(minutes.items())), "object": note.key, "etag": note.etag},
        )
        for (tenant, instance), minutes in sorted(totals.items())
        if minutes
    ]


def _host(host: Any) -> tuple[tuple[str, str], dict[str, int]] | None:
    if not isinstance(host, Mapping):
        return None
    tenant, instance, minutes = host.get("tenant"), host.get("instance"), host.get("minutes")
    if not all(isinstance(name, str) and name and name.isprintable() for name in (tenant, instance)) or not isinstance(minutes, Mapping):
        return None
    good = {f"{minute:02d}" for minute in range(60)}
    if any(minute not in good or type(count) is not int or count < 0 for minute, count in minutes.items()):
        return None
    return (str(tenant), str(instance)), {minute: count for minute, count in minutes.items() if count}
