"""Certificates of custom hostnames: active only once DNS holds the ownership record and the pointing one.

DNS is `FlyVendor.dns`, a plain mapping that a test or another stand-in fills. Source: Fly's Machines API (2026-08).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, number, route
from rowhouse.localcloud.fly_model import App, iso

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES"]

_HOSTNAME = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_LIFE_S = 90 * 86400


def _value(*words: str) -> str:
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:16]


def _requirements(app: App, hostname: str) -> dict[str, Any]:
    bare = hostname.removeprefix("*.")
    return {
        "a": [ip.ip for ip in app.ips if ip.kind in {"v4", "shared_v4"}],
        "aaaa": [ip.ip for ip in app.ips if ip.kind == "v6"],
        "cname": f"{_value(app.id, hostname)[:7]}.{app.name}.fly.dev",
        "acme_challenge": {"name": f"_acme-challenge.{bare}", "target": f"{bare}.{_value(app.id, bare)[:6]}.flydns.net"},
        "ownership": {
            "name": f"_fly-ownership.{bare}",
            "app_value": f"app-{_value(app.id, 'ownership')}",
            "org_value": f"org-{_value(app.org, 'ownership')}",
        },
    }


def _detail(vendor: FlyVendor, app: App, hostname: str) -> dict[str, Any]:
    kept = app.certificates[hostname]
    needed = _requirements(app, hostname)
    txt = vendor.dns.get(needed["ownership"]["name"], [])
    owned = needed["ownership"]["app_value"] in txt or needed["ownership"]["org_value"] in txt
    records = vendor.dns.get(hostname, [])
    points = bool(set(records) & {needed["cname"], f"{app.name}.fly.dev", *needed["a"], *needed["aaaa"]})
    status = "active" if owned and points else "pending_validation" if owned else "pending_ownership"
    active = status == "active" or kept["custom"]
    now = vendor.clock.timestamp()
    entry = {
        "source": "custom" if kept["custom"] else "fly",
        "status": status,
        "created_at": iso(kept["created_at"]),
        "expires_at": iso(kept["created_at"] + _LIFE_S),
        "issuer": "Let's Encrypt",
        "issued": [{"type": kind, "expires_at": iso(now + _LIFE_S), "certificate_authority": "Let's Encrypt"} for kind in ("rsa", "ecdsa")]
        if active
        else [],
    }
    return {
        "hostname": hostname,
        "configured": points,
        "acme_requested": not kept["custom"],
        "status": status,
        "dns_provider": "unknown",
        "rate_limited_until": None,
        "certificates": [entry],
        "validation": {
            "dns_configured": points,
            "alpn_configured": points,
            "http_configured": points,
            "ownership_txt_configured": owned,
        },
        "dns_requirements": needed,
        "validation_errors": [],
    }


def _existing(vendor: FlyVendor, request: Request) -> tuple[App, str]:
    app = vendor.app_named(request.path_params["app"])
    hostname = request.path_params["host"]
    if hostname not in app.certificates:
        raise Refusal(404, "certificate not found")
    return app, hostname


async def create(vendor: FlyVendor, request: Request) -> Any:
    """Ask for a certificate, or import one."""
    app = vendor.app_named(request.path_params["app"])
    body = await body_of(request)
    hostname, custom = body.get("hostname"), request.url.path.endswith("/custom")
    if not isinstance(hostname, str) or not _HOSTNAME.fullmatch(hostname):
        raise Refusal(422, "Validation failed: Hostname is invalid")
    if custom and not (body.get("fullchain") and body.get("private_key")):
        raise Refusal(422, "Validation failed: fullchain and private_key are required")
    if any(hostname in other.certificates for other in vendor.apps.values()):
        raise Refusal(422, "Validation failed: Hostname has already been taken")
    app.certificates[hostname] = {"created_at": vendor.clock.timestamp(), "custom": custom}
    return JSONResponse(_detail(vendor, app, hostname), 201)


async def list_all(vendor: FlyVendor, request: Request) -> Any:
    """Certificates of an app, a page at a time."""
    app = vendor.app_named(request.path_params["app"])
    names = sorted(name for name in app.certificates if name > request.query_params.get("cursor", ""))
    page = names[: number(request, "limit", 25, 1, 500)]
    rows = []
    for name in page:
        detail = _detail(vendor, app, name)
        custom = app.certificates[name]["custom"]
        rows.append(
            {
                "hostname": name,
                "status": detail["status"],
                "configured": detail["configured"],
                "acme_requested": detail["acme_requested"],
                "dns_provider": detail["dns_provider"],
                "has_custom_certificate": custom,
                "has_fly_certificate": not custom,
                "acme_dns_configured": detail["validation"]["dns_configured"],
                "acme_alpn_configured": detail["validation"]["alpn_configured"],
                "acme_http_configured": detail["validation"]["http_configured"],
                "ownership_txt_configured": detail["validation"]["ownership_txt_configured"],
                "created_at": iso(app.certificates[name]["created_at"]),
                "updated_at": iso(app.certificates[name]["created_at"]),
            }
        )
    answer: dict[str, Any] = {"certificates": rows, "total_count": len(app.certificates)}
    return answer | ({"next_cursor": page[-1]} if len(names) > len(page) else {})


async def get(vendor: FlyVendor, request: Request) -> Any:
    """One certificate."""
    return _detail(vendor, *_existing(vendor, request))


async def check(vendor: FlyVendor, request: Request) -> Any:
    """Look again, and say what DNS answers."""
    app, hostname = _existing(vendor, request)
    detail = _detail(vendor, app, hostname)
    records = vendor.dns.get(hostname, [])
    dns_records = {
        "a": [record for record in records if re.fullmatch(r"[\d.]+", record)],
        "aaaa": [record for record in records if ":" in record],
        "cname": [record for record in records if re.search(r"[g-z]", record) and ":" not in record],
        "resolved_addresses": [record for record in records if re.fullmatch(r"[\d.]+|.*:.*", record)],
        "soa": "",
        "acme_challenge_cname": next(iter(vendor.dns.get(detail["dns_requirements"]["acme_challenge"]["name"], [])), ""),
        "ownership_txt": next(iter(vendor.dns.get(detail["dns_requirements"]["ownership"]["name"], [])), ""),
    }
    return detail | {"dns_records": dns_records}


async def delete(vendor: FlyVendor, request: Request) -> Any:
    """Remove a certificate."""
    app, hostname = _existing(vendor, request)
    del app.certificates[hostname]
    return Response(status_code=204)


_ALL = "/apps/{app}/certificates"
ROUTES = [
    route(_ALL, "GET", "certificate_list", list_all),
    route(_ALL + "/acme", "POST", "certificate_create", create),
    route(_ALL + "/custom", "POST", "certificate_create", create),
    route(_ALL + "/{host}", "GET", "certificate_get", get),
    route(_ALL + "/{host}", "DELETE", "certificate_delete", delete),
    route(_ALL + "/{host}/check", "POST", "certificate_check", check),
]
