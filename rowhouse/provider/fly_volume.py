"""Fly volumes: a tenant's data. Nothing here replaces one, and only an explicit delete deletes one.

Does: create or adopt by name, grow in place, set the retention of snapshots. Does not: shrink, move, rename or re-encrypt: Check refuses
with what to do instead. Names are unique in their app by our own rule, since Fly has none: it is how an earlier attempt is found.
"""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.fly_app import Newborn, app_name
from rowhouse.vendors.fly import GONE_VOLUME_STATES
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import CheckFailure, Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["Volume"]

_NAME: Final = re.compile(r"^[a-z0-9_]{1,30}$")  # Fly: alphanumeric and underscore (2026-08)
_ADVICE: Final = (
    "A volume is never replaced, because its data would be lost. Put the old value back; to move, add a new instance, copy the data "
    "there and take this one through `state: offboarding` and `purge`."
)
_BUSY_S: Final = 120.0  # Fly: a volume stays bound for up to about two minutes after its machine is destroyed (2026-08)


def _name(value: str) -> str | None:
    return None if _NAME.match(value) else f"'{value}' is not a volume name: 1 to 30 lowercase letters, digits and underscores."


def _size(value: int) -> str | None:
    return None if 1 <= value <= 500 else f"sizeGb is {value}; Fly's volumes have 1 to 500 GB."


def _retention(value: int) -> str | None:
    return None if 1 <= value <= 60 else f"snapshotRetention is {value}; Fly keeps snapshots for 1 to 60 days."


class Volume(Declared):
    """A disk in one region, which one machine mounts."""

    kind: ClassVar = "rowhouse:fly:Volume"
    fields: ClassVar = {
        "app": Field("string", required=True, change="never", source="the rowhouse:fly:App", advice=_ADVICE, rule=app_name),
        "name": Field("string", required=True, change="never", advice=_ADVICE, rule=_name),
        "region": Field("string", required=True, change="never", advice=_ADVICE),
        "sizeGb": Field("integer", required=True, rule=_size),
        "snapshotRetention": Field("integer", default=5, rule=_retention),
        "encrypted": Field("boolean", default=True, change="never", advice=_ADVICE),
        "cpus": Field("integer", change="ignore"),
        "memoryMb": Field("integer", change="ignore"),
    }
    computed: ClassVar = {"volumeId": Computed(), "zone": Computed()}

    def __init__(self, clients: Clients, newborn: Newborn) -> None:
        self._clients = clients
        self._newborn = newborn
        self._claimed: dict[str, str] = {}  # volume id -> urn that got it in this process

    def rules(self, olds: Props, news: Props) -> list[CheckFailure]:
        """A volume only grows."""
        old, new = olds.get("sizeGb"), news["sizeGb"]
        if isinstance(old, int) and isinstance(new, int) and new < old:
            text = f"'sizeGb' cannot shrink from {old} to {new}: Fly's volumes only grow. Put {old} back. {_ADVICE}"
            return [CheckFailure("sizeGb", text)]
        return []

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """POST, unless an earlier attempt left one of that name."""
        app, name = inputs["app"], inputs["name"]
        fly = self._clients.fly
        body: dict[str, Any] = {
            "name": name,
            "region": inputs["region"],
            "size_gb": inputs["sizeGb"],
            "snapshot_retention": inputs["snapshotRetention"],
            "encrypted": inputs["encrypted"],
            "require_unique_zone": False,  # Fly's default, true, makes placement fail where zones are few (2026-08)
        }
        if inputs.get("cpus") and inputs.get("memoryMb"):
            body["compute"] = {"cpu_kind": "shared", "cpus": inputs["cpus"], "memory_mb": inputs["memoryMb"]}
        look = not self._newborn.is_empty_of(app, "volume", name)
        for attempt in range(4):
            if look:
                found = await self._earlier(ctx, inputs)
                if found is not None:
                    self._claimed[found["id"]] = ctx.urn
                    ctx.keep(f"{app}/{found['id']}", self.outputs(inputs, _computed(found)))
                    return f"{app}/{found['id']}", _computed(await self._fit(app, found, inputs))
            try:
                made = await fly.create_volume(app, body)
            except VendorError as error:
                if attempt == 3 or not error.ambiguous:
                    raise
                look = True  # it may have been made all the same
                await ctx.sleep(0.2 * 2**attempt)
            else:
                self._claimed[made["id"]] = ctx.urn
                return f"{app}/{made['id']}", _computed(made)
        raise AssertionError

    async def _earlier(self, ctx: Context, inputs: Props) -> Props | None:
        app, name = inputs["app"], inputs["name"]
        listed = await self._clients.fly.list_volumes(app)
        if listed is None:
            raise Refused(f"the Fly app '{app}' of {ctx.name} does not exist. Run `rowhouse refresh`, then apply again.")
        named = [v for v in listed if v.get("name") == name and v.get("state") not in GONE_VOLUME_STATES]
        ours = [v for v in named if self._claimed.get(v["id"], ctx.urn) == ctx.urn]
        if not ours:
            return None
        found = min(ours, key=lambda v: (bool(v.get("attached_machine_id")), str(v.get("created_at"))))
        wrong = [
            f"{what} '{found.get(key)}' instead of '{want}'"
            for what, key, want in (("region", "region", inputs["region"]), ("encrypted", "encrypted", inputs["encrypted"]))
            if found.get(key) is not None and found.get(key) != want
        ]
        if found.get("size_gb", 0) > inputs["sizeGb"]:
            wrong.append(f"{found['size_gb']} GB instead of {inputs['sizeGb']}")
        if wrong:
            raise Refused(
                f"the Fly app '{app}' has a volume '{name}' ({found['id']}) with {', '.join(wrong)}, and it may hold data. "
                f"Give {ctx.name} the volume's own values, or remove it at Fly by hand."
            )
        return found

    async def _fit(self, app: str, volume: Props, inputs: Props) -> Props:
        """Grow and set retention, where they differ."""
        if volume.get("size_gb", 0) < inputs["sizeGb"]:
            answered = await self._clients.fly.extend_volume(app, volume["id"], inputs["sizeGb"])
            volume = {**volume, **(answered.get("volume") or {})}
        if volume.get("snapshot_retention") != inputs["snapshotRetention"]:
            retention = {"snapshot_retention": inputs["snapshotRetention"]}
            volume = {**volume, **await self._clients.fly.set_volume(app, volume["id"], retention)}
        return volume

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Grow in place and set retention; the machine sees the new size after its next restart at the latest."""
        del old_inputs, old_outputs
        app, _, volume_id = id.partition("/")
        found = await self._clients.fly.get_volume(app, volume_id)
        if found is None:
            raise Refused(
                f"the volume {volume_id} of {ctx.name} is gone at Fly. Restore it from a snapshot or a backup; to start empty instead, run "
                "`rowhouse refresh` first, which forgets it."
            )
        ctx.keep(id, self.outputs(news, _computed(found)))
        return _computed(await self._fit(app, found, news))

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By `app/volume id`; a volume that Fly moved to another host is found again by its name."""
        del ctx, outputs
        app, _, volume_id = id.partition("/")
        found = await self._clients.fly.get_volume(app, volume_id)
        if found is None or found.get("state") in GONE_VOLUME_STATES:
            found = await self._moved(app, inputs)
        if found is None:
            return None
        seen: dict[str, Any] = {
            "app": app,
            "name": found["name"],
            "region": found["region"],
            "sizeGb": found["size_gb"],
            "snapshotRetention": found.get("snapshot_retention") or inputs.get("snapshotRetention", 5),
            "encrypted": bool(found.get("encrypted", True)),
        }
        seen.update({name: inputs[name] for name in ("cpus", "memoryMb") if inputs.get(name) is not None})
        return Found(f"{app}/{found['id']}", seen, self.outputs(seen, _computed(found)))

    async def _moved(self, app: str, inputs: Props) -> Props | None:
        # A migration between hosts changes a volume's id (Fly, 2026-08); its machine stays.
        listed = await self._clients.fly.list_volumes(app) if inputs.get("name") else None
        named = [
            v
            for v in listed or []
            if v.get("name") == inputs["name"] and v.get("attached_machine_id") and v.get("state") not in GONE_VOLUME_STATES
        ]
        return named[0] if len(named) == 1 else None

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """DELETE; waits while a machine that is being destroyed still holds it."""
        del inputs, outputs
        app, _, volume_id = id.partition("/")
        until = time.monotonic() + ctx.patience(_BUSY_S)
        pause_s = 0.25
        while True:
            try:
                await self._clients.fly.delete_volume(app, volume_id)
            except VendorError as error:
                busy = error.status == 412 and error.says("bound to machine", "claimed by machine")
                if not busy or time.monotonic() + pause_s > until:
                    raise
                await ctx.sleep(pause_s)
                pause_s = min(5.0, pause_s * 2)
            else:
                return


def _computed(volume: Props) -> Props:
    return {"volumeId": volume["id"], "zone": volume.get("zone") or ""}
