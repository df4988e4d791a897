"""Leases: who alone may change a machine. Source: Fly's Machines API (2026-08)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.fly_config import duration_s
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, route
from rowhouse.localcloud.fly_model import App, Lease, Machine

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES", "grant", "held", "machine_of", "may_change"]

_OWNER = "local"


def machine_of(vendor: FlyVendor, request: Request) -> tuple[App, Machine]:
    """The machine a request names.

    Raises: Refusal when there is none, or it has been destroyed for a while.
    """
    app = vendor.app_named(request.path_params["app"])
    machine = app.machines.get(request.path_params["id"])
    if machine is None or (machine.destroyed_at is not None and vendor.clock.timestamp() > machine.destroyed_at + 60):
        raise Refusal(404, "machine not found")
    return app, machine


def held(vendor: FlyVendor, machine: Machine) -> Lease | None:
    """The lease in force."""
    if machine.lease and machine.lease.expires_at <= vendor.clock.timestamp():
        machine.lease = None
    return machine.lease


def _check(vendor: FlyVendor, machine: Machine, nonce: str | None) -> None:
    lease = held(vendor, machine)
    if lease and lease.nonce != nonce:
        until = rfc3339(vendor.clock.now().fromtimestamp(lease.expires_at, vendor.clock.now().tzinfo))
        raise Refusal(409, f"machine ID {machine.id} lease currently held by {lease.owner}@tokens.fly.io, expires at {until}")


def may_change(vendor: FlyVendor, request: Request) -> tuple[App, Machine]:
    """The machine a request wants to change.

    Raises: Refusal when another holds its lease, or it is destroyed.
    """
    app, machine = machine_of(vendor, request)
    _check(vendor, machine, request.headers.get("fly-machine-lease-nonce"))
    return app, machine


def grant(vendor: FlyVendor, machine: Machine, ttl_s: float, description: str = "") -> Lease:
    """Give a lease."""
    expires = vendor.clock.timestamp() + max(1.0, ttl_s)
    machine.lease = Lease(secrets.token_hex(6), expires, _OWNER, description, machine.version)
    return machine.lease


async def get_lease(vendor: FlyVendor, request: Request) -> Any:
    """The lease in force, without its nonce for whoever does not hold it."""
    _, machine = machine_of(vendor, request)
    lease = held(vendor, machine)
    if lease is None:
        raise Refusal(404, "lease not found")
    data = lease.json()
    if request.headers.get("fly-machine-lease-nonce") != lease.nonce:
        del data["nonce"]
    return {"status": "success", "data": data}


async def create_lease(vendor: FlyVendor, request: Request) -> Any:
    """Take a lease, or with its nonce keep it longer."""
    _, machine = may_change(vendor, request)
    body = await body_of(request)
    ttl = duration_s(request.query_params.get("ttl") or body.get("ttl"), 60.0)
    lease = held(vendor, machine)
    if lease:
        lease.expires_at = vendor.clock.timestamp() + ttl
    else:
        lease = grant(vendor, machine, ttl, str(body.get("description") or ""))
    return JSONResponse({"status": "success", "data": lease.json()}, 201)


async def release_lease(vendor: FlyVendor, request: Request) -> Any:
    """Give a lease back."""
    _, machine = may_change(vendor, request)
    if held(vendor, machine) is None:
        raise Refusal(404, "lease not found")
    machine.lease = None
    return {"status": "success"}


ROUTES = [
    route("/apps/{app}/machines/{id}/lease", "GET", "lease_get", get_lease),
    route("/apps/{app}/machines/{id}/lease", "POST", "lease_create", create_lease),
    route("/apps/{app}/machines/{id}/lease", "DELETE", "lease_release", release_lease),
]
