"""Fly: every machine of the organisation, and the events of those that changed.

Does: read the list to its end, notice what makes it incomplete, ask for events and for machines that are suddenly absent, tell whose each
is by its mark. Does not: infer anything about a machine that was not seen. Volumes and their use are in observe_fly_volumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rowhouse.spec.marks import MANAGED_BY
from rowhouse.usage.entries import Entry
from rowhouse.usage.fly_events import Machine, read_events, state_of
from rowhouse.usage.observations import Finding, Part, Told, VendorTime, guarded
from rowhouse.usage.observe_fly_volumes import FlyVolumes
from rowhouse.usage.previous import GONE, MachineMark, Previous
from rowhouse.usage.side_by_side import each
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.fly_org import Page
from rowhouse.vendors.http import VendorError

__all__ = ["SETTLE_MS", "FlySource"]

SETTLE_MS: Final = 600_000
"""Organisation lists are eventually consistent: what they tell is vouched for up to ten minutes before they were read (fly.md, 2026-08)."""
_ASKING: Final = 24
"""Machines asked for their events at once: each has a rate limit of its own."""
_GIVE_UP: Final = 25
"""Refusals in a row after which no further machine is asked: Fly is down, and each refusal costs seconds."""
_SAMPLE: Final = 25
"""So many of the machines that a list lacks are asked for first: where one of them is there, it is the list that is wrong."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A machine in a list, with the answer's times."""

    machine: Machine
    data: Mapping[str, Any]
    at: int
    asof: int


class FlySource:
    """One Fly organisation, seen by one stack."""

    name = "fly"
    tells_time = True

    def __init__(self, fly: Fly, *, org: str, project: str, stack: str) -> None:
        """Ask `fly` about `org`; what carries the mark of `project` and `stack` is ours, everything else is not looked at."""
        self._fly, self._org, self._project, self._stack = fly, org, project, stack

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._fly.http.calls + self._fly.metrics.calls

    @property
    def ahead_s(self) -> float | None:
        """By how much this machine's clock is ahead of Fly's."""
        return self._fly.http.ahead_s

    async def observe(self, told: Told, previous: Previous, time: VendorTime) -> None:
        """Ask for all; each part fails alone."""
        parts = {name: told.part(name) for name in ("machines", "events", "volumes", "storage")}
        rows: dict[str, _Row] = {}
        listed = asyncio.Event()
        volumes = FlyVolumes(self._fly, self._org)

        def owners() -> dict[str, tuple[str, str | None]]:
            return {row.machine.app: (row.machine.tenant, row.machine.instance) for row in rows.values()}

        async def machines() -> None:
            try:
                await self._machines(parts["machines"], rows, previous, time)
            finally:
                listed.set()

        async def events() -> None:
            await listed.wait()
            changed = [row for row in rows.values() if _is_news(row.machine, previous.machines.get(row.machine.id))]
            await self._events(parts["events"], changed, previous, time)

        async with asyncio.TaskGroup() as group:
            group.create_task(guarded(parts["machines"], machines()))
            group.create_task(guarded(parts["events"], events()))
            group.create_task(volumes.run(parts["volumes"], parts["storage"], previous, time, listed, owners))

    async def _machines(self, part: Part, rows: dict[str, _Row], previous: Previous, time: VendorTime) -> None:
        whole = False
        strays: dict[str, str] = {}
        try:
            first = await self._list(part, rows, strays, previous, time, self._fly.list_org_machines(self._org))
            if first.moved and first.asof is not None:
                # What changes while the list is read moves to its end. Asking once more for what changed since it was begun finds it all.
                again = await self._list(
                    part, rows, strays, previous, time, self._fly.list_org_machines(self._org, updated_after_ms=first.asof - SETTLE_MS)
                )
                if again.moved:
                    part.fail("machines moved between the list's pages while it was read, and again when it was read once more")
            whole = not (first.error_regions or first.has_gaps)
        finally:
            for row in rows.values():
                mark = previous.machines.get(row.machine.id)
                if state_of(row.machine.word) == GONE and mark and mark.state == GONE:
                    continue  # said once; it is listed for as long as Fly likes
                part.entries.append(_machine_entry(row))
        if whole:
            await self._absent(part, rows, previous)
        self._unmanaged(part, strays, rows, previous)

    async def _list(
        self, part: Part, rows: dict[str, _Row], strays: dict[str, str], previous: Previous, time: VendorTime, pages: AsyncIterator[Page]
    ) -> _Listing:
        listing = _Listing()
        async for page in pages:
            time.heard(page.at_ms)
            if page.at_ms is None or page.asof_ms is None:
                part.fail("an answer has no Date, so that it proves nothing about any time")
                listing.has_gaps = True
                continue
            listing.asof = page.asof_ms if listing.asof is None else listing.asof
            part.vouch(page.asof_ms - SETTLE_MS)
            listing.error_regions |= set(page.error_regions)
            for item in page.items:
                self._take(part, rows, strays, previous, listing, item, page.at_ms, page.asof_ms - SETTLE_MS)
        if listing.error_regions:
            part.fail(f"Fly could not read {', '.join(sorted(listing.error_regions))}; nothing is concluded about machines there")
        return listing

    def _take(
        self,
        part: Part,
        rows: dict[str, _Row],
        strays: dict[str, str],
        previous: Previous,
        listing: _Listing,
        item: Mapping[str, Any],
        at: int,
        asof: int,
    ) -> None:
        try:
            key, updated = str(item["id"]), _ms(item["updated_at"])
            created = _ms(item.get("created_at") or item["updated_at"])
        except (KeyError, ValueError, TypeError):
            part.fail("an item of the list has no id or no time")
            listing.has_gaps = True
            return
        if listing.seen.setdefault(key, updated) != updated:
            listing.moved = True
        mark = previous.machines.get(key)
        config = _object(item.get("config"))
        owner = self._owner(config.get("metadata"), str(item.get("name") or key))
        if owner is None and mark is not None:
            owner = (mark.tenant, mark.instance)
            if config:
                part.findings.append(
                    Finding(
                        "fly.mark-lost", key, f"machine {key} of {mark.tenant} has lost its mark at Fly; it is metered as before.", *owner
                    )
                )
        word = str(item.get("state") or "")
        if owner is None and config and state_of(word) != GONE and not self._is_of_cell(config.get("metadata")):
            strays[key] = str(item.get("app_name") or "")
        if owner is None or (key in rows and rows[key].machine.updated_at > updated):
            return
        machine = Machine(
            key, str(item.get("app_name") or ""), *owner, str(item.get("version") or item.get("instance_id") or ""), word, created, updated
        )
        guest = _object(config.get("guest"))
        data = {name: guest[name] for name in ("cpu_kind", "cpus", "memory_mb") if name in guest}
        rows[key] = _Row(machine, {**data, "region": str(item.get("region") or ""), "app": machine.app, "word": word}, at, asof)
        if mark is not None and mark.state == GONE and state_of(word) != GONE:
            message = (
                f"machine {key} of {owner[0]} is there again, after Fly had said that it was gone; it is metered as if it had never gone."
            )
            part.findings.append(Finding("fly.came-back", key, message, *owner))
        if state_of(word) == "unknown":
            message = f"machine {key} of {owner[0]} is in the state {word!r}, which is in no documentation; its time counts as unknown."
            part.findings.append(Finding("fly.state-unknown", key, message, *owner))

    def _owner(self, metadata: object, name: str) -> tuple[str, str | None] | None:
        """Tenant and instance by the mark; what all tenants share is told apart by the machine's name."""
        if not isinstance(metadata, Mapping) or not self._is_of_cell(metadata) or not metadata.get("tenant"):
            return None
        return str(metadata["tenant"]), str(metadata.get("instance") or name)

    def _is_of_cell(self, metadata: object) -> bool:
        wanted = {"managed-by": MANAGED_BY, "project": self._project, "stack": self._stack}
        return isinstance(metadata, Mapping) and all(metadata.get(key) == value for key, value in wanted.items())

    async def _absent(self, part: Part, rows: Mapping[str, _Row], previous: Previous) -> None:
        """Ask for each known machine that the whole list has not: gone for good, or a hole in the list?"""
        known = {key: mark for key, mark in previous.machines.items() if mark.state != GONE and mark.app}
        missing = sorted(key for key in known if key not in rows)
        there = await self._ask_for(part, missing[:_SAMPLE], known)
        rest = missing[_SAMPLE:]
        if rest and there:
            words = f"{len(missing)} of {len(known)} known machines are not in the list"
            part.fail(f"{words}; nothing is concluded about the {len(rest)} others")
        elif rest:
            there = await self._ask_for(part, rest, known)
        for key in there:
            part.fail(f"machine {key} of {known[key].tenant} is there, but not in the list")

    async def _ask_for(self, part: Part, keys: Sequence[str], known: Mapping[str, MachineMark]) -> list[str]:
        """Ask Fly for these machines one by one; those that are there. The others are noted as gone."""
        found: list[str] = []

        async def ask(key: str) -> None:
            mark = known[key]
            there = await self._fly.get_machine(mark.app, key)
            at = self._fly.http.heard_ms
            if there is not None and str(there.get("state")) not in {"destroyed", "destroying"}:
                found.append(key)
            elif at is not None:
                data = {"app": mark.app, "word": "absent"}  # when it went nobody says: not before it was missed
                part.entries.append(
                    Entry("machine", at, mark.tenant, mark.instance, key, asof=at, state=GONE, id=mark.version or None, data=data)
                )

        await each(keys, ask, at_once=_ASKING)
        return sorted(found)

    def _unmanaged(self, part: Part, strays: Mapping[str, str], rows: Mapping[str, _Row], previous: Previous) -> None:
        """Name each machine without our mark that somebody put into an app of ours: it costs money, and nobody is billed for it."""
        apps = {mark.app: mark.tenant for mark in previous.machines.values() if mark.app}
        apps |= {row.machine.app: row.machine.tenant for row in rows.values()}
        for key, app in sorted(strays.items()):
            if app in apps:
                words = (
                    f"machine {key} runs in {apps[app]}'s app {app} and was not made by Rowhouse: it is neither metered nor billed. "
                    f"Destroy it, or say who needs it."
                )
                part.findings.append(Finding("fly.unmanaged", key, words, apps[app]))

    async def _events(self, part: Part, changed: Iterable[_Row], previous: Previous, time: VendorTime) -> None:
        waiting = iter(changed)
        refused: list[str] = []
        in_a_row = 0
        unasked = 0

        async def ask() -> None:
            nonlocal in_a_row, unasked
            for row in waiting:
                if in_a_row >= _GIVE_UP:
                    unasked += 1
                    continue
                machine = row.machine
                try:
                    answer = await self._fly.events(machine.app, machine.id)
                except VendorError as error:
                    in_a_row += 1
                    refused.append(str(error))
                    continue
                in_a_row = 0
                if answer is None:
                    if state_of(machine.word) != GONE:
                        refused.append(f"machine {machine.id} of {machine.tenant} is in the list, but Fly has no events of it")
                    continue
                if answer.at_ms is None or answer.asof_ms is None:
                    refused.append("an answer has no Date, so that it proves nothing about any time")
                    continue
                time.heard(answer.at_ms)
                part.vouch(answer.asof_ms)
                reading = read_events(machine, answer.items, at=answer.at_ms, asof=answer.asof_ms, mark=previous.machines.get(machine.id))
                part.entries.extend(reading.entries)
                part.findings.extend(reading.findings)

        async with asyncio.TaskGroup() as group:
            for _ in range(_ASKING):
                group.create_task(ask())
        for reason in sorted(refused):
            part.fail(reason)
        if unasked:
            part.fail(f"{unasked} more machines were not asked for their events after {_GIVE_UP} refusals in a row")


class _Listing:
    """What one reading of a list showed about itself."""

    def __init__(self) -> None:
        self.asof: int | None = None
        self.error_regions: set[str] = set()
        self.seen: dict[str, int] = {}
        self.moved = False
        self.has_gaps = False


def _is_news(machine: Machine, mark: MachineMark | None) -> bool:
    """Whether the machine changed since its events were last had."""
    if mark is None or mark.asked is None:
        return not (mark is not None and mark.state == GONE and state_of(machine.word) == GONE)
    return mark.asked != (machine.version, machine.updated_at)


def _machine_entry(row: _Row) -> Entry:
    machine = row.machine
    data = {**row.data, "updated_at": machine.updated_at, "created_at": machine.created_at}
    return Entry(
        "machine",
        row.at,
        machine.tenant,
        machine.instance,
        machine.id,
        asof=row.asof,
        state=state_of(machine.word),
        id=machine.version or None,
        data=data,
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _ms(text: object) -> int:
    moment = datetime.fromisoformat(str(text))
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
