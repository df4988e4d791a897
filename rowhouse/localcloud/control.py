"""The local cloud's own port: an index page, the clock, the journal, faults, all state.

Loopback only and for one person or test: there is no token.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from rowhouse.localcloud.fly_errors import FLEET_REFUSALS, fleet_fault
from rowhouse.localcloud.kernel import Fault, FaultKind

if TYPE_CHECKING:
    from rowhouse.localcloud.cloud import LocalCloud

__all__ = ["Control"]

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=jinja2.StrictUndefined
)
_FAULT_FIELDS = set(inspect.signature(Fault).parameters) - {"hits"}
_FAULT_KINDS = list(get_args(FaultKind))
_LAST = 200  # journal lines on the page


class Control:
    """The control app of one local cloud."""

    def __init__(self, cloud: LocalCloud) -> None:
        """Steer `cloud`."""
        self._cloud = cloud
        self.app = Starlette(
            routes=[
                Route("/", self.index),
                Route("/clock", self.clock),
                Route("/clock/advance", self.advance, methods=["POST"]),
                Route("/journal", self.journal),
                Route("/faults", self.faults, methods=["GET", "POST", "DELETE"]),
                Route("/state", self.state),
                Route("/uptime", self.uptime),
                Route("/env", self.env),
                Route("/stop", self.stop, methods=["POST"]),
            ]
        )

    async def index(self, _request: Request) -> Response:
        """A page for a person."""
        cloud = self._cloud
        machines = [
            {
                "app": machine.app,
                "name": machine.name,
                "state": machine.state,
                "memory_mb": machine.config["guest"]["memory_mb"],
                "region": machine.region,
            }
            for machine in cloud.fly.machines()
            if not machine.is_gone
        ]
        hostnames = sorted(record["name"] for record in cloud.cloudflare.dump()["dns_records"])
        page = _TEMPLATES.get_template("index.html").render(
            now=cloud.clock.now().strftime("%Y-%m-%d %H:%M:%S UTC"),
            urls=cloud.urls,
            tenants=[(hostname, cloud.tenant_url(hostname)) for hostname in hostnames],
            machines=sorted(machines, key=lambda row: (row["app"], row["name"])),
            journal=cloud.journal.entries[: -_LAST - 1 : -1],
            faults=cloud.faults.rules,
        )
        return HTMLResponse(page)

    async def clock(self, _request: Request) -> Response:
        """The virtual time."""
        return JSONResponse({"now": self._cloud.clock.now().isoformat()})

    async def advance(self, request: Request) -> Response:
        """Move time on: `{"seconds": n}` or `{"to": RFC 3339}`."""
        body = await _json(request)
        clock = self._cloud.clock
        try:
            seconds = datetime.fromisoformat(body["to"]).timestamp() - clock.timestamp() if "to" in body else float(body["seconds"])
            now = await clock.advance(seconds)
        except (KeyError, TypeError, ValueError) as error:
            return JSONResponse({"error": f"give seconds (not negative) or to (a time not past): {error}"}, 400)
        return JSONResponse({"now": now.isoformat()})

    async def journal(self, request: Request) -> Response:
        """Requests seen, from number `after` on."""
        after = request.query_params.get("after", "0")
        if not after.isdigit():
            return JSONResponse({"error": "after is a number of an entry"}, 400)
        return JSONResponse(self._cloud.journal.dump()[int(after) :])

    async def faults(self, request: Request) -> Response:
        """Rules in force: GET lists, DELETE clears, POST adds one (`{"fleet": name}` for one of Fly's own refusals)."""
        rules = self._cloud.faults
        if request.method == "DELETE":
            rules.clear()
        elif request.method == "POST":
            body = await _json(request)
            fleet = body.pop("fleet", None)
            unknown = set(body) - _FAULT_FIELDS
            odd = body.get("kind") not in _FAULT_KINDS if fleet is None else fleet not in FLEET_REFUSALS
            if unknown or odd:
                allowed = {"fields": sorted(_FAULT_FIELDS), "kind": _FAULT_KINDS, "fleet": sorted(FLEET_REFUSALS)}
                return JSONResponse({"error": f"unknown fault {sorted(unknown) or fleet or body}", "allowed": allowed}, 400)
            rules.add(fleet_fault(fleet, **body) if fleet is not None else Fault(**body))
        return JSONResponse([rule.__dict__ for rule in rules.rules])

    async def state(self, _request: Request) -> Response:
        """All vendors' stores."""
        return JSONResponse(self._cloud.dump())

    async def uptime(self, _request: Request) -> Response:
        """What is true of every machine there ever was: the virtual spans in which it was started, an open one ending with null."""
        machines = [
            {"id": machine.id, "app": machine.app, "name": machine.name, "started": machine.ups, "connections": machine.connections}
            for machine in self._cloud.fly.machines()
        ]
        return JSONResponse({"now": self._cloud.clock.timestamp(), "machines": machines})

    async def env(self, _request: Request) -> Response:
        """What a client needs, and where everything is."""
        return JSONResponse({"env": self._cloud.env, "urls": self._cloud.urls})

    async def stop(self, _request: Request) -> Response:
        """End the local cloud, where it runs as a process."""
        self._cloud.stop_requested.set()
        return JSONResponse({"stopping": True})


async def _json(request: Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
