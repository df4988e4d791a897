"""Machines: created, changed, listed, read. What is done to a running one is in fly_actions.py."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from rowhouse.localcloud import fly_actions
from rowhouse.localcloud.fly_config import normalise, pick_region
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, flag, number, route
from rowhouse.localcloud.fly_leases import grant, machine_of, may_change
from rowhouse.localcloud.fly_model import Machine
from rowhouse.localcloud.fly_secrets import check_version
from rowhouse.localcloud.fly_volumes import claim, zone_for
from rowhouse.localcloud.images import Image

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES"]

_CURSOR_LIFE_S = 1800


def _image(vendor: FlyVendor, text: str) -> Image:
    image = vendor.images.find(text)
    if image is None:
        raise Refusal(400, f"failed to get manifest {text}: request failed: not found")
    return image


async def create_machine(vendor: FlyVendor, request: Request) -> Any:
    """Create a machine and, unless skip_launch, start it; not idempotent."""
    app = vendor.app_named(request.path_params["app"])
    body = await body_of(request)
    config = normalise(body.get("config"))
    image = _image(vendor, config["image"])
    check_version(vendor, app, body.get("min_secrets_version"))
    machine_id = vendor.ids.machine()
    name = body.get("name") or f"local-{machine_id[:8]}"
    for other in app.live_machines():
        if other.name == name:
            text = f'already_exists: unique machine name violation, machine ID {other.id} already exists with name "{name}"'
            raise Refusal(409, text)
    wanted = body.get("region")
    mounts = config.get("mounts") or []
    volume = claim(app, mounts[0].get("volume") or "", wanted) if mounts else None
    region = volume.region if volume else pick_region(wanted)
    if vendor.capacity.get(region, 1) < 1:
        raise Refusal(422, "insufficient capacity in the region to create the machine", "insufficient_capacity")
    if region in vendor.capacity:
        vendor.capacity[region] -= 1
    now = vendor.clock.timestamp()
    machine = Machine(
        id=machine_id,
        app=app.name,
        name=name,
        region=region,
        zone=volume.zone if volume else zone_for(vendor, region, set()) or "0000",
        version=vendor.ids.ulid(),
        config=config,
        image_ref=vendor.images.ref_json(config["image"], image),
        private_ip=vendor.ids.private_ip(app.network_name),
        created_at=now,
        updated_at=now,
        skip_services=bool(body.get("skip_service_registration")),
    )
    if volume:
        volume.machine_id, volume.updated_at = machine.id, now
    vendor.adopt_machine(app, machine)
    vendor.lifecycle.launch(machine, skip_launch=bool(body.get("skip_launch")) or bool(config.get("schedule")))
    answer = machine.json()
    if body.get("lease_ttl"):
        answer["nonce"] = grant(vendor, machine, float(body["lease_ttl"])).nonce
    return answer


async def update_machine(vendor: FlyVendor, request: Request) -> Any:
    """Replace a machine's whole configuration, which restarts it."""
    app, machine = may_change(vendor, request)
    body = await body_of(request)
    if machine.state in {"destroying", "destroyed"}:
        raise Refusal(412, f"failed_precondition: unable to update machine from current state: '{machine.state}'")
    if body.get("current_version") not in {None, "", machine.version}:
        raise Refusal(409, f"aborted: current machine version is {machine.version}, not {body['current_version']}")
    if machine.state in {"replacing", "updating", "restarting"}:
        raise Refusal(409, "aborted: machine update failed due to concurrent update")
    config = normalise(body.get("config"))
    image = _image(vendor, config["image"])
    check_version(vendor, app, body.get("min_secrets_version"))
    if body.get("name") not in {None, "", machine.name}:
        raise Refusal(400, "invalid request: machine name cannot be changed")
    if body.get("region") not in {None, "", machine.region}:
        raise Refusal(400, "invalid request: machine region cannot be changed")
    wanted = (config.get("mounts") or [{}])[0].get("volume")
    if wanted and wanted != machine.volume_id:
        volume = claim(app, wanted, machine.region)
        if machine.volume_id or volume.zone != machine.zone:
            raise Refusal(400, "invalid config.mounts: the volume of a machine cannot be replaced")
        volume.machine_id = machine.id
    if machine.volume_id and not wanted:
        app.volumes[machine.volume_id].machine_id = None
    image_ref = vendor.images.ref_json(config["image"], image)
    vendor.lifecycle.update(machine, config, image_ref, skip_launch=bool(body.get("skip_launch")))
    answer = machine.json()
    if body.get("lease_ttl"):
        answer["nonce"] = grant(vendor, machine, float(body["lease_ttl"])).nonce
    return answer


async def list_machines(vendor: FlyVendor, request: Request) -> Any:
    """Machines of an app, filtered; one page of them where `limit` is given."""
    app = vendor.app_named(request.path_params["app"])
    query = request.query_params
    states = {state for text in query.getlist("state") for state in text.split(",") if state}
    metadata = {key.removeprefix("metadata."): value for key, value in query.items() if key.startswith("metadata.")}
    found = [
        machine
        for machine in sorted(app.machines.values(), key=lambda machine: (machine.created_at, machine.id))
        if (flag(request, "include_deleted") or not machine.is_gone)
        and (not query.get("region") or machine.region == query["region"])
        and (not states or machine.state in states)
        and all((machine.config.get("metadata") or {}).get(key) == value for key, value in metadata.items())
    ]
    found = _after(vendor, query.get("cursor"), found)
    limit = number(request, "limit", 1000, 1, 1000)
    page = found[:limit]
    answer = JSONResponse([machine.json(summary=flag(request, "summary"), lease=flag(request, "include_leases")) for machine in page])
    if len(found) > limit:
        cursor = f"{int(vendor.clock.timestamp())}/{page[-1].created_at!r}/{page[-1].id}"
        answer.headers["fly-next-cursor"] = base64.urlsafe_b64encode(cursor.encode()).decode()
    return answer


def _after(vendor: FlyVendor, cursor: str | None, machines: list[Machine]) -> list[Machine]:
    if not cursor:
        return machines
    try:
        made, created, machine_id = base64.urlsafe_b64decode(cursor).decode().split("/")
        position = (float(created), machine_id)
        if float(made) + _CURSOR_LIFE_S < vendor.clock.timestamp():
            raise Refusal(400, "cursor has expired")
    except (ValueError, binascii.Error):
        raise Refusal(400, "invalid cursor") from None
    return [machine for machine in machines if (machine.created_at, machine.id) > position]


async def get_machine(vendor: FlyVendor, request: Request) -> Any:
    """One machine."""
    return machine_of(vendor, request)[1].json()


async def delete_machine(vendor: FlyVendor, request: Request) -> Any:
    """Destroy a machine, in its own time."""
    _, machine = may_change(vendor, request)
    vendor.lifecycle.destroy(machine, force=flag(request, "force") or flag(request, "kill"))
    return {"ok": True}


async def list_events(vendor: FlyVendor, request: Request) -> Any:
    """Events of this version, newest first, 20 unless asked and 50 at most."""
    _, machine = machine_of(vendor, request)
    limit = number(request, "limit", 20, 1, 50)
    return [event.json() for event in machine.events[:limit]]


async def list_versions(vendor: FlyVendor, request: Request) -> Any:
    """Configurations this machine had, newest first."""
    _, machine = machine_of(vendor, request)
    versions = [(machine.version, machine.config), *machine.versions]
    return [{"version": version, "user_config": config} for version, config in versions]


def _metadata(machine: Machine) -> dict[str, str]:
    return dict(machine.config.get("metadata") or {})


def _keep_metadata(vendor: FlyVendor, machine: Machine, metadata: dict[str, str]) -> Any:
    # Neither a restart nor a new version.
    machine.config = machine.config | {"metadata": metadata}
    vendor.lifecycle.move(machine, machine.state)
    return fly_actions.no_content()


async def get_metadata(vendor: FlyVendor, request: Request) -> Any:
    """All metadata."""
    return _metadata(machine_of(vendor, request)[1])


async def change_metadata(vendor: FlyVendor, request: Request) -> Any:
    """PATCH changes some keys (null and an empty value remove one), PUT all."""
    _, machine = may_change(vendor, request)
    body = await body_of(request)
    changes = body.get("metadata")
    if not isinstance(changes, dict) or any(value is not None and not isinstance(value, str) for value in changes.values()):
        raise Refusal(400, "invalid request: metadata must map keys to strings")
    if body.get("machine_version") not in {None, "", machine.version}:
        raise Refusal(412, f"failed_precondition: machine version is {machine.version}, not {body['machine_version']}")
    metadata = _metadata(machine) if request.method == "PATCH" else {}
    for key, value in changes.items():
        if value:
            metadata[key] = value
        else:
            metadata.pop(key, None)
    return _keep_metadata(vendor, machine, metadata)


async def get_metadata_key(vendor: FlyVendor, request: Request) -> Any:
    """One value."""
    metadata = _metadata(machine_of(vendor, request)[1])
    if request.path_params["key"] not in metadata:
        raise Refusal(404, "metadata key not found")
    return {"value": metadata[request.path_params["key"]]}


async def set_metadata_key(vendor: FlyVendor, request: Request) -> Any:
    """Set one."""
    _, machine = may_change(vendor, request)
    value = (await body_of(request)).get("value")
    if not isinstance(value, str):
        raise Refusal(400, "invalid request: value must be a string")
    return _keep_metadata(vendor, machine, _metadata(machine) | {request.path_params["key"]: value})


async def delete_metadata_key(vendor: FlyVendor, request: Request) -> Any:
    """Remove one."""
    _, machine = may_change(vendor, request)
    metadata = _metadata(machine)
    metadata.pop(request.path_params["key"], None)
    return _keep_metadata(vendor, machine, metadata)


_ONE = "/apps/{app}/machines/{id}"
ROUTES = [
    route("/apps/{app}/machines", "GET", "machine_list", list_machines),
    route("/apps/{app}/machines", "POST", "machine_create", create_machine),
    route(_ONE, "GET", "machine_get", get_machine),
    route(_ONE, "POST", "machine_update", update_machine),
    route(_ONE, "DELETE", "machine_delete", delete_machine),
    route(_ONE + "/events", "GET", "machine_events", list_events),
    route(_ONE + "/versions", "GET", "machine_versions", list_versions),
    route(_ONE + "/metadata", "GET", "metadata_get", get_metadata),
    route(_ONE + "/metadata", "PATCH", "metadata_change", change_metadata),
    route(_ONE + "/metadata", "PUT", "metadata_change", change_metadata),
    route(_ONE + "/metadata/{key}", "GET", "metadata_key_get", get_metadata_key),
    route(_ONE + "/metadata/{key}", "POST", "metadata_key_set", set_metadata_key),
    route(_ONE + "/metadata/{key}", "DELETE", "metadata_key_delete", delete_metadata_key),
    *fly_actions.ROUTES,
]
