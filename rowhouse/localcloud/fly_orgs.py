"""What spans apps: organisation lists, regions, placements, the token. Source: Fly's Machines API (2026-08).

Organisation lists are eventually consistent and advisory about their length, and say which regions they could not
read: whoever polls must cope.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from rowhouse.localcloud.fly_config import REGIONS
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, flag, number, route
from rowhouse.localcloud.fly_model import Machine, Volume, iso

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES"]


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        raise Refusal(400, f"invalid updated_after: {text}") from None


def _position(request: Request) -> tuple[float, str]:
    """Where to go on: the cursor wins over updated_after."""
    cursor, since = request.query_params.get("cursor"), request.query_params.get("updated_after")
    if cursor:
        try:
            at, one = base64.urlsafe_b64decode(cursor).decode().split("/")
            return float(at), one
        except (ValueError, binascii.Error):
            raise Refusal(400, "invalid cursor") from None
    return (_moment(since), "~") if since else (0.0, "")


def _cursor(at: float, one: str) -> str:
    return base64.urlsafe_b64encode(f"{at!r}/{one}".encode()).decode()


def _check_org(vendor: FlyVendor, request: Request) -> None:
    if request.path_params["org"] not in {vendor.org, "personal"}:
        raise Refusal(404, "organization not found")


def _seen(vendor: FlyVendor, machine: Machine, *, stale: bool) -> dict[str, Any] | None:
    """What a lagging list knows of a machine."""
    until = vendor.clock.timestamp() - vendor.org_lag_s
    known = [overview for overview in machine.overviews if _moment(overview["updated_at"]) <= until]
    if stale:
        known = known[:-1]
    return known[-1] if known else None


async def org_machines(vendor: FlyVendor, request: Request) -> Any:
    """Machines of the organisation, oldest change first."""
    _check_org(vendor, request)
    fault = request.scope.get("fault")
    missing = list(vendor.error_regions)
    query = request.query_params
    states = {state for text in query.getlist("state") for state in text.split(",") if state}
    rows = [row for machine in vendor.machines() if (row := _seen(vendor, machine, stale=bool(fault and fault.kind == "stale")))]
    if fault and fault.kind == "partial" and not missing:
        missing = sorted({row["region"] for row in rows})[:1]
    start = _position(request)
    rows = sorted(
        (
            row
            for row in rows
            if row["region"] not in missing
            and (flag(request, "include_deleted") or row["state"] != "destroyed")
            and (not query.get("region") or row["region"] == query["region"])
            and (not states or row["state"] in states)
            and (_moment(row["updated_at"]), row["id"]) > start
        ),
        key=lambda row: (_moment(row["updated_at"]), row["id"]),
    )
    page = rows[: min(number(request, "limit", 1000, 1, 1000), vendor.org_page)]
    if flag(request, "summary"):
        page = [{key: value for key, value in row.items() if key != "config"} for row in page]
    answer: dict[str, Any] = {"machines": page, "error_regions": missing}
    if page:
        last = page[-1]
        answer |= {"last_machine_id": last["id"], "last_updated_at": last["updated_at"]}
        if len(rows) > len(page):
            answer["next_cursor"] = _cursor(_moment(last["updated_at"]), last["id"])
    return answer


async def org_volumes(vendor: FlyVendor, request: Request) -> Any:
    """Volumes of the organisation, oldest change first."""
    _check_org(vendor, request)
    query, start = request.query_params, _position(request)
    states = {state for text in query.getlist("state") for state in text.split(",") if state}
    rows: list[Volume] = sorted(
        (
            volume
            for app in (*vendor.apps.values(), *vendor.destroyed_apps)
            for volume in app.volumes.values()
            if (flag(request, "include_deleted") or not (volume.gone or volume.state == "pending_destroy"))
            and (not query.get("region") or volume.region == query["region"])
            and (not states or volume.state in states)
            and (volume.updated_at, volume.id) > start
        ),
        key=lambda volume: (volume.updated_at, volume.id),
    )
    page = rows[: min(number(request, "limit", 1000, 1, 1000), vendor.org_page)]
    answer: dict[str, Any] = {"volumes": [row.json() | {"app_name": row.app, "updated_at": iso(row.updated_at)} for row in page]}
    if page:
        answer |= {"last_volume_id": page[-1].id, "last_updated_at": iso(page[-1].updated_at)}
        if len(rows) > len(page):
            answer["next_cursor"] = _cursor(page[-1].updated_at, page[-1].id)
    return answer


async def regions(vendor: FlyVendor, _request: Request) -> Any:
    """Where machines can be placed."""
    rows = [
        {
            "code": code,
            "name": name,
            "geo_region": group,
            "deprecated": False,
            "gateway_available": True,
            "requires_paid_plan": False,
        }
        for code, (name, group) in REGIONS.items()
    ]
    return {"nearest": vendor.region, "regions": rows}


async def placements(vendor: FlyVendor, request: Request) -> Any:
    """Where there would be room; a region without is absent."""
    body = await body_of(request)
    if not body.get("org_slug"):
        raise Refusal(400, "authorization: request doesn't contain org_slug")
    if body["org_slug"] != vendor.org:
        raise Refusal(403, "unauthorized")
    wanted = body.get("region") or "any"
    count = body.get("count") or 1
    rows = []
    for code, (_, group) in REGIONS.items():
        room = vendor.capacity.get(code, 100)
        if room >= 1 and (wanted == "any" or code in wanted.split(",") or group in wanted.split(",")):
            rows.append({"region": code, "count": min(count, room), "concurrency": room})
    # fly.md writes these keys capitalised (Go's own names); the official spec in lower case, which is followed here.
    return {"regions": rows}


async def current_token(vendor: FlyVendor, _request: Request) -> Any:
    """Whose token this is."""
    return {"tokens": [{"token_id": "local", "organization": vendor.org, "org_slug": vendor.org, "apps": None, "user": "local"}]}


async def deploy_token(vendor: FlyVendor, request: Request) -> Any:
    """A token for one app: here the same that every request carries."""
    vendor.app_named(request.path_params["app"])
    await body_of(request)
    return {"token": vendor.token}


ROUTES = [
    route("/orgs/{org}/machines", "GET", "org_machines", org_machines),
    route("/orgs/{org}/volumes", "GET", "org_volumes", org_volumes),
    route("/platform/regions", "GET", "", regions),
    route("/platform/placements", "POST", "", placements),
    route("/tokens/current", "GET", "", current_token),
    route("/apps/{app}/deploy_token", "POST", "deploy_token", deploy_token),
]
