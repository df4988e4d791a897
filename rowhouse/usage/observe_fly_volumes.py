"""Fly's volumes: how many GB are provisioned, and how many are used.

Does: the organisation's list, and one query to Prometheus for all apps at once. A volume carries no mark: whose it is says the marked
machine of its app, now or in an earlier pass. Does not: look at volumes of apps that never had a machine of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any, Final

from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Finding, Part, VendorTime, guarded
from rowhouse.usage.previous import GONE, Previous
from rowhouse.vendors.fly import GONE_VOLUME_STATES, Fly

__all__ = ["USED", "FlyVolumes"]

USED: Final = "sum by (app) (fly_volume_size_bytes * fly_volume_used_pct / 100)"
_SETTLE_MS: Final = 600_000
_GB: Final = Decimal(2**30)  # Fly provisions by 1,024 (2026-08), so that a full volume of 10 GB holds 10
_PLACES: Final = Decimal("0.000000001")
_ABSENT_MAX: Final = 20

Owner = tuple[str, str | None]
Owners = Callable[[], Mapping[str, Owner]]


class FlyVolumes:
    """The volumes of one organisation."""

    def __init__(self, fly: Fly, org: str) -> None:
        """Ask `fly` about `org`."""
        self._fly, self._org = fly, org
        self._rows: dict[str, dict[str, Any]] = {}
        self._live: dict[str, list[tuple[str, Owner, Decimal]]] = {}

    async def run(self, volumes: Part, storage: Part, previous: Previous, time: VendorTime, listed: asyncio.Event, owners: Owners) -> None:
        """Both parts at once; entries are made when `listed` says that the machines, and with them the owners, are known."""
        sorted_out = asyncio.Event()

        async def provisioned() -> None:
            try:
                await self._provisioned(volumes, previous, time, listed, owners)
            finally:
                sorted_out.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(guarded(volumes, provisioned()))
            group.create_task(guarded(storage, self._used(storage, time, sorted_out)))

    async def _provisioned(self, part: Part, previous: Previous, time: VendorTime, listed: asyncio.Event, owners: Owners) -> None:
        whole, missing_regions = True, set[str]()
        try:
            async for page in self._fly.list_org_volumes(self._org):
                time.heard(page.at_ms)
                if page.at_ms is None or page.asof_ms is None:
                    part.fail("an answer has no Date, so that it proves nothing about any time")
                    whole = False
                    continue
                part.vouch(page.asof_ms - _SETTLE_MS)
                missing_regions |= set(page.error_regions)
                for item in page.items:
                    if not item.get("id"):
                        part.fail("an item of the list has no id")
                        whole = False
                        continue
                    self._rows[str(item["id"])] = {**item, "_at": page.at_ms, "_asof": page.asof_ms - _SETTLE_MS}
        finally:
            await listed.wait()
            self._note(part, previous, owners())
        if missing_regions:
            part.fail(f"Fly could not read {', '.join(sorted(missing_regions))}; nothing is concluded about volumes there")
        elif whole:
            await self._absent(part, previous)

    def _note(self, part: Part, previous: Previous, owners: Mapping[str, Owner]) -> None:
        for key, row in self._rows.items():
            app, mark = str(row.get("app_name") or ""), previous.volumes.get(key)
            owner = owners.get(app) or ((mark.tenant, mark.instance) if mark else None)
            if owner is None:
                continue
            word = str(row.get("state") or "unknown")
            state = GONE if word in GONE_VOLUME_STATES else word
            if state == GONE and mark is not None and mark.state == GONE:
                continue
            size = row.get("size_gb")
            if type(size) is not int or size < 0:
                part.fail(f"volume {key} of {owner[0]} has no size")
                continue
            data: dict[str, Any] = {"app": app, "region": str(row.get("region") or ""), "word": word}
            data |= {name: moment for name in ("created_at", "updated_at") if (moment := _ms(row.get(name))) is not None}
            data |= {"machine": str(row["attached_machine_id"])} if row.get("attached_machine_id") else {}
            part.entries.append(Entry("volume", row["_at"], *owner, key, asof=row["_asof"], state=state, value=str(size), data=data))
            if state != GONE:
                self._live.setdefault(app, []).append((key, owner, Decimal(size)))

    async def _absent(self, part: Part, previous: Previous) -> None:
        """Ask for each known volume that the whole list has not."""
        known = {key: mark for key, mark in previous.volumes.items() if mark.state != GONE and mark.app}
        missing = {key: mark for key, mark in known.items() if key not in self._rows}
        if len(missing) > max(_ABSENT_MAX, len(known) // 10):
            part.fail(f"{len(missing)} of {len(known)} known volumes are not in the list; nothing is concluded about them")
            return
        for key, mark in sorted(missing.items()):
            there = await self._fly.get_volume(mark.app, key)
            at = self._fly.http.heard_ms
            if there is not None and there.get("state") not in GONE_VOLUME_STATES:
                part.fail(f"volume {key} of {mark.tenant} is there, but not in the list")
            elif at is not None:
                part.entries.append(
                    Entry(
                        "volume",
                        at,
                        mark.tenant,
                        mark.instance,
                        key,
                        asof=at,
                        state=GONE,
                        value=mark.size_gb or "0",
                        data={"app": mark.app, "word": "absent"},
                    )
                )

    async def _used(self, part: Part, time: VendorTime, sorted_out: asyncio.Event) -> None:
        answer = await self._fly.prometheus(self._org, USED)
        if answer.at_ms is None:
            part.fail("the answer has no Date, so that it proves nothing about any time")
            return
        time.heard(answer.at_ms)
        part.vouch(answer.asof_ms)
        await sorted_out.wait()
        for sample in answer.items:
            app = str((sample.get("metric") or {}).get("app") or "")
            volumes = sorted(self._live.get(app, ()))
            if not volumes:
                continue
            key, owner, _ = volumes[0]
            provisioned = sum((size for _, _, size in volumes), Decimal(0))
            used = _gb(sample)
            if used is None:
                part.fail(f"the use of app {app}'s volume is no number")
                continue
            if used > provisioned:
                message = (
                    f"volume {key} of {owner[0]}: {used} GB used of {provisioned} GB provisioned cannot be; {provisioned} GB are taken."
                )
                part.findings.append(Finding("fly.storage-too-much", key, message, *owner))
                used = provisioned
            part.entries.append(Entry("storage", answer.at_ms, *owner, key, value=f"{used:f}", data={"app": app}))


def _gb(sample: Mapping[str, Any]) -> Decimal | None:
    value = sample.get("value")
    try:
        number = Decimal(str(value[1])) if isinstance(value, list) and len(value) == 2 else Decimal("NaN")
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0 or number > 2**60:
        return None
    return (number / _GB).quantize(_PLACES, ROUND_DOWN)


def _ms(text: object) -> int | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
