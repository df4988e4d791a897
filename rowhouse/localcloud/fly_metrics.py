"""Fly's Prometheus: `fly_instance_up` from the same history as everything else, and volumes' sizes and use from their real folders.

So that metering can be checked against truth. The samples are 15 s apart; of a volume there is only the present one. Left out: the rest of
PromQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_model import Machine

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["routes"]

_SCRAPE_S = 15.0
_SELECTOR = r"fly_instance_up(?:\{(?P<labels>[^}]*)\})?"
_COUNT = re.compile(rf"(?:(?P<sum>sum)\()?count_over_time\({_SELECTOR}\[(?P<n>\d+)(?P<unit>[smhd])\]\)\)?\s*(?:\*\s*(?P<times>\d+))?")
_NOW = re.compile(_SELECTOR)
_VOLUME = re.compile(r"(?P<name>fly_volume_size_bytes|fly_volume_used_pct)(?:\{(?P<labels>[^}]*)\})?")
_USED = re.compile(r"sum by \((?P<by>app|id|region)\) \(fly_volume_size_bytes \* fly_volume_used_pct / 100\)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _labels(text: str | None) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', text or ""))


def _samples(machine: Machine, start: float, end: float) -> int:
    """Samples at multiples of 15 s in (start, end] while the machine was up."""
    total = 0
    for since, until in machine.ups:
        low, high = max(since, start), min(until if until is not None else end, end)
        if high > low:
            total += int(high // _SCRAPE_S) - int(low // _SCRAPE_S)
    return total


def routes(vendor: FlyVendor) -> list[Route]:
    """The endpoint."""

    def chosen(labels: dict[str, str]) -> list[Machine]:
        return [
            machine
            for machine in vendor.machines()
            if labels.get("app", machine.app) == machine.app
            and labels.get("instance", machine.id) == machine.id
            and labels.get("region", machine.region) == machine.region
        ]

    async def query(request: Request) -> Response:
        try:
            vendor.authenticate(request)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status)
        form = dict(request.query_params)
        if request.method == "POST":
            form |= {key: str(value) for key, value in (await request.form()).items()}
        text = form.get("query", "").strip()
        at = float(form.get("time") or vendor.clock.timestamp())
        result: list[dict[str, object]] = []
        if found := _COUNT.fullmatch(text):
            start, times = at - int(found["n"]) * _UNITS[found["unit"]], int(found["times"] or 1)
            counts = [(machine, _samples(machine, start, at) * times) for machine in chosen(_labels(found["labels"]))]
            if found["sum"]:
                result = [{"metric": {}, "value": [at, str(sum(count for _, count in counts))]}] if any(n for _, n in counts) else []
            else:
                result = [{"metric": _metric(machine), "value": [at, str(count)]} for machine, count in counts if count]
        elif found := _NOW.fullmatch(text):
            up = [machine for machine in chosen(_labels(found["labels"])) if _is_up(machine, at)]
            result = [{"metric": {"__name__": "fly_instance_up"} | _metric(machine), "value": [at, "1"]} for machine in up]
        elif (found := _VOLUME.fullmatch(text)) or (used := _USED.fullmatch(text)):
            volumes = await asyncio.to_thread(_volumes, vendor)
            if found:
                result = _series(volumes, found["name"], _labels(found["labels"]), at)
            else:
                assert used is not None
                result = _used_by(volumes, used["by"], at)
        else:
            return JSONResponse({"status": "error", "errorType": "bad_data", "error": f"unsupported query: {text}"}, 400)
        return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": result}})

    return [Route(f"/prometheus/{vendor.org}/api/v1/query", query, methods=["GET", "POST"])]


def _volumes(vendor: FlyVendor) -> list[tuple[dict[str, str], int, float]]:
    """Labels, size in bytes and percent used of each volume that is there, attached or not."""
    found = []
    for app in vendor.apps.values():
        for volume in app.live_volumes():
            if volume.state == "pending_destroy":
                continue
            size = volume.size_gb * 1024**3
            used = min(size, _bytes_under(vendor.runtime.volume_path(volume.id)))
            found.append(({"app": app.name, "id": volume.id, "region": volume.region}, size, 100 * used / size))
    return found


def _bytes_under(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # the machine may remove it meanwhile
                total += (Path(parent) / name).lstat().st_size
    return total


def _series(volumes: list[tuple[dict[str, str], int, float]], name: str, wanted: dict[str, str], at: float) -> list[dict[str, object]]:
    chosen = [row for row in volumes if all(row[0].get(label) == value for label, value in wanted.items())]
    values = [(metric, str(size) if name == "fly_volume_size_bytes" else repr(percent)) for metric, size, percent in chosen]
    return [{"metric": {"__name__": name} | metric, "value": [at, value]} for metric, value in values]


def _used_by(volumes: list[tuple[dict[str, str], int, float]], label: str, at: float) -> list[dict[str, object]]:
    sums: dict[str, float] = {}
    for metric, size, percent in volumes:
        sums[metric[label]] = sums.get(metric[label], 0.0) + size * percent / 100
    return [{"metric": {label: value}, "value": [at, repr(total)]} for value, total in sorted(sums.items())]


def _metric(machine: Machine) -> dict[str, str]:
    return {"app": machine.app, "instance": machine.id, "region": machine.region}


def _is_up(machine: Machine, at: float) -> bool:
    return any(since <= at and (until is None or at < until) for since, until in machine.ups)
