"""An app's secrets: kept, digested, versioned. Source: Fly's Machines API (2026-08)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, flag, number, route
from rowhouse.localcloud.fly_model import App, Secret

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES", "check_version"]


def check_version(vendor: FlyVendor, app: App, wanted: Any) -> None:
    """Hold a machine back until the secrets it needs are there.

    Raises: Refusal (412; text unverified).
    """
    available = app.secrets_version - (1 if vendor.secrets_lag else 0)
    if isinstance(wanted, int) and wanted > available:
        raise Refusal(412, f"failed_precondition: min_secrets_version {wanted} is not yet available")


def _put(vendor: FlyVendor, app: App, name: str, value: str) -> Secret:
    now = vendor.clock.timestamp()
    before = app.secrets.get(name)
    # Opaque: the app's id keeps equal values of two apps apart.
    digest = hashlib.sha256(f"{app.id}/{value}".encode()).hexdigest()[:16]
    app.secrets[name] = Secret(name, value, digest, before.created_at if before else now, now)
    return app.secrets[name]


async def list_secrets(vendor: FlyVendor, request: Request) -> Any:
    """Names and digests."""
    app = vendor.app_named(request.path_params["app"])
    check_version(vendor, app, number(request, "min_version", 0, 0, 2**53))
    show = flag(request, "show_secrets")
    return {"secrets": [app.secrets[name].json(show=show) for name in sorted(app.secrets)]}


async def update_secrets(vendor: FlyVendor, request: Request) -> Any:
    """Set several at once; null unsets."""
    app = vendor.app_named(request.path_params["app"])
    values = (await body_of(request)).get("values")
    if not isinstance(values, dict) or any(value is not None and not isinstance(value, str) for value in values.values()):
        raise Refusal(400, "invalid request: values must map names to strings")
    for name, value in values.items():
        if value is None:
            app.secrets.pop(name, None)
        else:
            _put(vendor, app, name, value)
    app.secrets_version += 1
    secrets = [app.secrets[name].json() for name in sorted(app.secrets)]
    return {"secrets": secrets, "version": app.secrets_version, "Version": app.secrets_version}


def _existing(app: App, name: str) -> Secret:
    if name not in app.secrets:
        raise Refusal(404, f"secret {name} not found")
    return app.secrets[name]


async def get_secret(vendor: FlyVendor, request: Request) -> Any:
    """One name and digest."""
    app = vendor.app_named(request.path_params["app"])
    return _existing(app, request.path_params["name"]).json(show=flag(request, "show_secrets"))


async def set_secret(vendor: FlyVendor, request: Request) -> Any:
    """Set one."""
    app = vendor.app_named(request.path_params["app"])
    value = (await body_of(request)).get("value")
    if not isinstance(value, str):
        raise Refusal(400, "invalid request: value must be a string")
    secret = _put(vendor, app, request.path_params["name"], value)
    app.secrets_version += 1
    return JSONResponse(secret.json() | {"version": app.secrets_version, "Version": app.secrets_version}, 201)


async def delete_secret(vendor: FlyVendor, request: Request) -> Any:
    """Unset one."""
    app = vendor.app_named(request.path_params["app"])
    del app.secrets[_existing(app, request.path_params["name"]).name]
    app.secrets_version += 1
    return {"version": app.secrets_version, "Version": app.secrets_version}


ROUTES = [
    route("/apps/{app}/secrets", "GET", "secret_list", list_secrets),
    route("/apps/{app}/secrets", "POST", "secret_update", update_secrets),
    route("/apps/{app}/secrets/{name}", "GET", "secret_get", get_secret),
    route("/apps/{app}/secrets/{name}", "POST", "secret_set", set_secret),
    route("/apps/{app}/secrets/{name}", "DELETE", "secret_delete", delete_secret),
]
