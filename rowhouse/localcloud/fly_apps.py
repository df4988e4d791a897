"""Apps and their addresses. Source: Fly's Machines API (2026-08) and field reports."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, flag, route
from rowhouse.localcloud.fly_model import App, Ip

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NETWORK = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_IP_TYPES = ("v4", "v6", "shared_v4", "private_v6", "egress_v4", "egress_v6", "egress_pair")
_TAKEN = "Validation failed: Name has already been taken"
_SHARED_V4 = "66.241.124.10"


async def list_apps(vendor: FlyVendor, request: Request) -> Any:
    """Apps of an organisation."""
    wanted = request.query_params.get("org_slug", vendor.org)
    if wanted not in {vendor.org, "personal"}:
        raise Refusal(404, "organization not found")
    apps = [app.json() for app in vendor.apps.values() if time.monotonic() >= app.hidden_until]
    return {"total_apps": len(apps), "apps": apps}


async def create_app(vendor: FlyVendor, request: Request) -> Any:
    """Create an app; the same idempotency key gives the same app again."""
    body = await body_of(request)
    name, org, network = body.get("name") or body.get("app_name"), body.get("org_slug"), body.get("network") or None
    if not org:
        raise Refusal(400, "authorization: request doesn't contain org_slug")
    if org != vendor.org:
        raise Refusal(403, "unauthorized")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Refusal(422, "Validation failed: Name under 63 chars using numbers, lowercase letters and dashes")
    if network is not None and not _NETWORK.fullmatch(network):
        raise Refusal(422, "Validation failed: Network must start with a letter and use letters, digits and dashes")
    key = body.get("idempotency_key")
    existing = vendor.apps.get(name)
    if existing and key and existing.idempotency_key == key:
        return JSONResponse(_created(existing, whole=flag(request, "wait")), 201)
    if existing or name in vendor.foreign_names:
        raise Refusal(422, _TAKEN, "name_taken")
    app = App(vendor.ids.app(), vendor.ids.number(), name, org, network, vendor.clock.timestamp(), key)
    app.hidden_until = time.monotonic() + vendor.create_window_s if vendor.create_window_s else 0.0
    vendor.apps[name] = app
    return JSONResponse(_created(app, whole=flag(request, "wait")), 201)


def _created(app: App, *, whole: bool) -> dict[str, Any]:
    # What flyctl asks for with ?wait=true is a whole App; without, the answer is short (2026-08).
    return (app.json() if whole else {"id": app.id}) | {"created_at": int(app.created_at * 1000)}


async def get_app(vendor: FlyVendor, request: Request) -> Any:
    """One app."""
    return vendor.app_named(request.path_params["app"]).json()


async def delete_app(vendor: FlyVendor, request: Request) -> Any:
    """Delete an app with its machines and volumes."""
    app = vendor.app_named(request.path_params["app"])
    up = [machine for machine in app.live_machines() if machine.state not in {"stopped", "suspended", "failed", "destroying"}]
    if up and not flag(request, "force"):
        raise Refusal(412, "failed_precondition: unable to destroy app, machines are not stopped")
    del vendor.apps[app.name]
    vendor.destroyed_apps.append(app)
    for machine in app.live_machines():
        vendor.lifecycle.destroy(machine, force=True)
    for volume in app.live_volumes():
        volume.state, volume.updated_at = "pending_destroy", vendor.clock.timestamp()
    return Response(status_code=202)


async def list_ips(vendor: FlyVendor, request: Request) -> Any:
    """Addresses of an app."""
    return {"ips": [ip.json() for ip in vendor.app_named(request.path_params["app"]).ips]}


async def assign_ip(vendor: FlyVendor, request: Request) -> Any:
    """Give an app an address; not idempotent."""
    app = vendor.app_named(request.path_params["app"])
    body = await body_of(request)
    kind, network = body.get("type"), body.get("network") or None
    if kind not in _IP_TYPES:
        raise Refusal(422, f"invalid ip type: {kind}")
    if kind == "shared_v4" and any(ip.kind == "shared_v4" for ip in app.ips):
        raise Refusal(422, "Validation failed: Shared IP has already been taken")
    number = vendor.ids.number() - 1_000_000
    address = {
        # Documentation ranges (RFC 5737, RFC 3849): no machine of anybody answers there.
        "v4": f"203.0.113.{number % 254 + 1}",
        "v6": f"2001:db8:1::{number:x}",
        "shared_v4": _SHARED_V4,
        "private_v6": vendor.ids.flycast(network or "default"),
        "egress_v4": f"198.51.100.{number % 254 + 1}",
        "egress_v6": f"2001:db8:2::{number:x}",
        "egress_pair": f"198.51.100.{number % 254 + 1}",
    }[kind]
    ip = Ip(address, kind, body.get("region") or "", network, body.get("service_name") or "", vendor.clock.timestamp())
    app.ips.append(ip)
    return ip.json()


async def release_ip(vendor: FlyVendor, request: Request) -> Any:
    """Take an address away."""
    app = vendor.app_named(request.path_params["app"])
    found = [ip for ip in app.ips if ip.ip == request.path_params["ip"]]
    if not found:
        raise Refusal(404, "ip address not found")
    app.ips.remove(found[0])
    return Response(status_code=204)


ROUTES = [
    route("/apps", "GET", "", list_apps),
    route("/apps", "POST", "", create_app),
    route("/apps/{app}", "GET", "app_get", get_app),
    route("/apps/{app}", "DELETE", "app_delete", delete_app),
    route("/apps/{app}/ip_assignments", "GET", "ip_list", list_ips),
    route("/apps/{app}/ip_assignments", "POST", "ip_assign", assign_ip),
    route("/apps/{app}/ip_assignments/{ip}", "DELETE", "ip_release", release_ip),
]
