"""Volumes: on one host, grow only, bound to one machine, visible for a day after deletion. Source: Fly docs (2026-08)."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.fly_config import REGIONS
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, route
from rowhouse.localcloud.fly_model import App, Machine, Snapshot, Volume

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES", "claim", "migrate", "zone_for"]

_NAME = re.compile(r"[A-Za-z0-9_]+")
_SOFT_DELETE_S = 24 * 3600
_SNAPSHOT_S = 5.0
_MAX_GB = 500


def zone_for(vendor: FlyVendor, region: str, taken: set[str]) -> str | None:
    """A host (zone) of a region that is not among `taken`; None when there is none."""
    base = sum(map(ord, region)) * 97
    zones = [f"{(base + index * 4099) & 0xFFFF:04x}" for index in range(vendor.zones_per_region)]
    return next((zone for zone in zones if zone not in taken), None)


def _volume(vendor: FlyVendor, request: Request) -> tuple[App, Volume]:
    app = vendor.app_named(request.path_params["app"])
    volume = app.volumes.get(request.path_params["volume"])
    if volume is None or volume.gone:
        raise Refusal(404, "volume not found")
    return app, volume


def claim(app: App, volume_id: str, region: str | None) -> Volume:
    """The volume a new machine wants to mount.

    Raises: Refusal when it is absent, elsewhere or another machine's.
    """
    volume = app.volumes.get(volume_id)
    if volume is None or volume.gone or volume.state == "pending_destroy":
        raise Refusal(400, f"invalid config.mounts: volume {volume_id} not found")
    if volume.machine_id:
        raise Refusal(412, f"failed_precondition: volume already claimed by machine {volume.machine_id}")
    if region and region in REGIONS and region != volume.region:
        raise Refusal(400, f"invalid region: volume {volume_id} is in {volume.region}")
    return volume


async def list_volumes(vendor: FlyVendor, request: Request) -> Any:
    """Volumes of an app, those pending destruction included."""
    return [volume.json() for volume in vendor.app_named(request.path_params["app"]).live_volumes()]


async def create_volume(vendor: FlyVendor, request: Request) -> Any:
    """Create a volume; names are not unique."""
    app = vendor.app_named(request.path_params["app"])
    body = await body_of(request)
    name, region, size = body.get("name"), body.get("region"), body.get("size_gb") or 3
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(422, "Validation failed: Name may only contain letters, numbers and underscores")
    if region not in REGIONS:
        raise Refusal(422, f"Validation failed: Region {region} is not a region")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _MAX_GB:
        raise Refusal(422, f"Validation failed: Size gb must be between 1 and {_MAX_GB}")
    if vendor.capacity.get(region, 1) < 1:
        raise Refusal(409, "aborted: no capacity")
    # A host that already holds a volume of this name is not taken again unless the caller says so.
    unique = body.get("require_unique_zone", True)
    taken = {volume.zone for volume in app.live_volumes() if volume.name == name and volume.region == region} if unique else set()
    zone = zone_for(vendor, region, taken)
    if zone is None:
        raise Refusal(409, "aborted: no capacity")
    now = vendor.clock.timestamp()
    volume = Volume(
        id=vendor.ids.volume(),
        app=app.name,
        name=name,
        region=region,
        zone=zone,
        size_gb=size,
        encrypted=body.get("encrypted", True),
        snapshot_retention=_retention(body.get("snapshot_retention", 5)),
        auto_backup_enabled=body.get("auto_backup_enabled", True),
        fstype=body.get("fstype") or "ext4",
        created_at=now,
        updated_at=now,
    )
    source = app.volumes.get(body.get("source_volume_id") or "")
    if source is not None:  # a fork
        shutil.copytree(vendor.runtime.volume_path(source.id), vendor.runtime.volume_path(volume.id), dirs_exist_ok=True)
    else:
        vendor.runtime.volume_path(volume.id).mkdir(parents=True, exist_ok=True)
    app.volumes[volume.id] = volume
    return volume.json()


def _retention(days: Any) -> int:
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 60:
        raise Refusal(422, "Validation failed: Snapshot retention must be between 1 and 60")
    return days


async def get_volume(vendor: FlyVendor, request: Request) -> Any:
    """One volume."""
    return _volume(vendor, request)[1].json()


async def update_volume(vendor: FlyVendor, request: Request) -> Any:
    """Change retention and backups: all else is ignored."""
    _, volume = _volume(vendor, request)
    body = await body_of(request)
    if body.get("snapshot_retention") is not None:
        volume.snapshot_retention = _retention(body["snapshot_retention"])
    if body.get("auto_backup_enabled") is not None:
        volume.auto_backup_enabled = bool(body["auto_backup_enabled"])
    volume.updated_at = vendor.clock.timestamp()
    return volume.json()


async def extend_volume(vendor: FlyVendor, request: Request) -> Any:
    """Make a volume larger; it never shrinks."""
    app, volume = _volume(vendor, request)
    size = (await body_of(request)).get("size_gb")
    if not isinstance(size, int) or isinstance(size, bool) or size > _MAX_GB:
        raise Refusal(422, f"Validation failed: Size gb must be between 1 and {_MAX_GB}")
    if size < volume.size_gb:
        raise Refusal(422, f"Validation failed: Size gb must be greater than the current size of {volume.size_gb}")
    grown = size > volume.size_gb
    volume.size_gb, volume.updated_at = size, vendor.clock.timestamp()
    machine = app.machines.get(volume.machine_id or "")
    return {"volume": volume.json(), "needs_restart": bool(grown and machine and machine.running)}


async def delete_volume(vendor: FlyVendor, request: Request) -> Any:
    """Delete a volume softly: it stays visible for a day."""
    _, volume = _volume(vendor, request)
    if volume.machine_id:
        raise Refusal(412, f"failed_precondition: volume is currently bound to machine: {volume.machine_id}")
    if volume.state != "pending_destroy":
        volume.state, volume.updated_at = "pending_destroy", vendor.clock.timestamp()

        def purge() -> None:
            volume.gone, volume.state = True, "destroyed"
            shutil.rmtree(vendor.runtime.volume_path(volume.id), ignore_errors=True)

        vendor.clock.call_later(_SOFT_DELETE_S, purge)
    return volume.json()


async def list_snapshots(vendor: FlyVendor, request: Request) -> Any:
    """Snapshots of a volume; they outlive it."""
    app = vendor.app_named(request.path_params["app"])
    volume = app.volumes.get(request.path_params["volume"])
    if volume is None:
        raise Refusal(404, "volume not found")
    return [snapshot.json() for snapshot in volume.snapshots]


async def create_snapshot(vendor: FlyVendor, request: Request) -> Any:
    """Take a snapshot; one at a time."""
    _, volume = _volume(vendor, request)
    pending = [snapshot for snapshot in volume.snapshots if snapshot.status == "pending"]
    if pending:
        at = rfc3339(vendor.clock.now())
        raise Refusal(412, f"failed_precondition: snapshot is already scheduled at {at}")
    size = sum(path.stat().st_size for path in vendor.runtime.volume_path(volume.id).rglob("*") if path.is_file())
    snapshot = Snapshot(
        vendor.ids.snapshot(), vendor.clock.timestamp(), size, volume.size_gb * 1024**3, "", "pending", volume.snapshot_retention
    )
    volume.snapshots.append(snapshot)

    def done() -> None:
        snapshot.status, snapshot.digest = "created", vendor.ids.machine()

    vendor.clock.call_later(_SNAPSHOT_S, done)
    return Response(status_code=200)


def migrate(vendor: FlyVendor, app: App, machine: Machine) -> None:
    """Move a machine and its volume to another host: the volume gets another id, the machine keeps its own."""
    old = app.volumes.get(machine.volume_id or "")
    machine.zone = zone_for(vendor, machine.region, {machine.zone}) or machine.zone
    if old is not None:
        fresh = Volume(**{**old.__dict__, "id": vendor.ids.volume(), "zone": machine.zone, "snapshots": list(old.snapshots)})
        app.volumes[fresh.id] = fresh
        old.machine_id, old.state, old.updated_at = None, "pending_destroy", vendor.clock.timestamp()
        source, target = vendor.runtime.volume_path(old.id), vendor.runtime.volume_path(fresh.id)
        # The process keeps its open files: both ids name one folder from here on.
        if source.exists():
            source.rename(target)
            source.symlink_to(target, target_is_directory=True)
        mounts = [dict(mount) for mount in machine.config["mounts"]]
        mounts[0]["volume"] = fresh.id
        machine.config = machine.config | {"mounts": mounts}
    vendor.lifecycle.move(machine, machine.state)
    vendor.lifecycle.note(machine, "launch", "created", "flyd")


ROUTES = [
    route("/apps/{app}/volumes", "GET", "volume_list", list_volumes),
    route("/apps/{app}/volumes", "POST", "volume_create", create_volume),
    route("/apps/{app}/volumes/{volume}", "GET", "volume_get", get_volume),
    route("/apps/{app}/volumes/{volume}", "PUT", "volume_update", update_volume),
    route("/apps/{app}/volumes/{volume}", "DELETE", "volume_delete", delete_volume),
    route("/apps/{app}/volumes/{volume}/extend", "PUT", "volume_extend", extend_volume),
    route("/apps/{app}/volumes/{volume}/snapshots", "GET", "snapshot_list", list_snapshots),
    route("/apps/{app}/volumes/{volume}/snapshots", "POST", "snapshot_create", create_snapshot),
]
