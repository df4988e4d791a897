"""Fly's Machines API on loopback: keeps state, runs machines as processes, refuses what Fly refuses.

This module is the vendor as a whole; endpoints and rules live in the fly_*.py modules beside it. Left out: Postgres,
secret keys, tokens beyond one, GraphQL.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request

from rowhouse.localcloud import fly_apps, fly_certificates, fly_leases, fly_machines, fly_metrics, fly_orgs, fly_secrets, fly_volumes
from rowhouse.localcloud.clock import Clock, Timer
from rowhouse.localcloud.dates import Dated
from rowhouse.localcloud.fly_autostop import Autostop
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import Limits, build
from rowhouse.localcloud.fly_ids import Ids
from rowhouse.localcloud.fly_lifecycle import Delays, Lifecycle
from rowhouse.localcloud.fly_model import App, Machine
from rowhouse.localcloud.images import Images
from rowhouse.localcloud.runtime import Connect, Runtime

__all__ = ["FlyVendor"]


class FlyVendor:
    """One Fly account with one organisation."""

    name = "fly"

    def __init__(
        self,
        clock: Clock,
        directory: Path,
        *,
        images: Images | None = None,
        connect: Connect | None = None,
        token: str = "fm2_local",  # noqa: S107 - the local cloud's published token
        org: str = "local",
        limits: bool = True,
    ) -> None:
        """Keep machines' and volumes' folders in `directory`; `connect` registers an edge at Cloudflare."""
        self.clock, self.token, self.org = clock, token, org
        self.region = "fra"
        self.images = images or Images()
        self.ids = Ids(clock)
        self.runtime = Runtime(directory, connect=connect)
        self.lifecycle = Lifecycle(clock, self.ids, self.images, self.runtime, lambda machine: self._owners[machine.id])
        self.autostop = Autostop(clock, self.lifecycle, lambda: self.apps.values())  # noqa: PLW0108 - apps are bound below
        self.limits, self.limits_enforced = Limits(), limits
        self.apps: dict[str, App] = {}
        self.foreign_names: set[str] = set()  # names that belong to other organisations
        self.capacity: dict[str, int] = {}  # machines that still fit into a region; absent: plenty
        self.zones_per_region = 6
        self.create_window_s = 0.0  # real seconds in which a new app is not found yet
        self.create_window_status = 404
        self.org_lag_s = 0.0  # virtual seconds by which organisation lists lag
        self.org_page = 1000  # what a page of an organisation list holds at most
        self.error_regions: list[str] = []  # regions that organisation lists cannot read
        self.secrets_lag = False  # whether the newest version of secrets is not available to machines yet
        self.dns: dict[str, list[str]] = {}  # what certificates' checks resolve: name -> values
        self._owners: dict[str, App] = {}
        self.destroyed_apps: list[App] = []
        endpoints = [
            *fly_apps.ROUTES,
            *fly_secrets.ROUTES,
            *fly_volumes.ROUTES,
            *fly_leases.ROUTES,
            *fly_machines.ROUTES,
            *fly_certificates.ROUTES,
            *fly_orgs.ROUTES,
        ]
        routes = [build(self, *endpoint) for endpoint in endpoints] + fly_metrics.routes(self)
        self.app = Starlette(routes=routes, middleware=[Middleware(Dated, clock=clock)])

    @property
    def delays(self) -> Delays:
        """How long things take; may be changed."""
        return self.lifecycle.delays

    async def close(self) -> None:
        """End every machine's process and all work."""
        self.autostop.close()
        await self.lifecycle.close()
        await self.runtime.close()

    def authenticate(self, request: Request) -> None:
        """Check the bearer token.

        Raises: Refusal (401).
        """
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in {"bearer", "flyv1"} or value.strip() != self.token:
            raise Refusal(401, "Authenticate: token validation error")

    def app_named(self, name: str) -> App:
        """An app that may be seen.

        Raises: Refusal when there is none, it is another organisation's, or too new to be seen.
        """
        if name in self.foreign_names:
            raise Refusal(403, "unauthorized")
        app = self.apps.get(name)
        if app is None:
            raise Refusal(404, f"Could not find App {name!r}".replace("'", '"'))
        if time.monotonic() < app.hidden_until:
            raise Refusal(self.create_window_status, f'Could not find App "{name}"')
        return app

    def adopt_machine(self, app: App, machine: Machine) -> None:
        """Make a new machine the app's."""
        app.machines[machine.id] = machine
        self._owners[machine.id] = app

    def machine(self, machine_id: str) -> Machine | None:
        """A machine of any app."""
        app = self._owners.get(machine_id)
        return app.machines.get(machine_id) if app else None

    def app_of(self, machine: Machine) -> App:
        """The app of a machine."""
        return self._owners[machine.id]

    def machines(self) -> list[Machine]:
        """Every machine of every app, destroyed ones included."""
        return [machine for app in (*self.apps.values(), *self.destroyed_apps) for machine in app.machines.values()]

    def call_later(self, seconds: float, callback: Any) -> Timer:
        """A timer on the virtual clock."""
        return self.clock.call_later(seconds, callback)

    def migrate(self, machine_id: str) -> None:
        """Move a machine to another host, as Fly does on its own: same machine, another volume id, one event."""
        machine = self.machine(machine_id)
        if machine is None:
            raise KeyError(machine_id)
        fly_volumes.migrate(self, self.app_of(machine), machine)

    def set_host_status(self, machine_id: str, status: str) -> None:
        """Say that a machine's host is `ok`, `unknown` or `unreachable`."""
        machine = self.machine(machine_id)
        if machine is None:
            raise KeyError(machine_id)
        machine.host_status = status
        self.lifecycle.touch(machine)

    def dump(self) -> dict[str, Any]:
        """All that is kept, as plain data, without secrets' values; destroyed machines and gone volumes left out."""
        return {
            "apps": {
                app.name: app.json()
                | {
                    "ips": [ip.json() | {"type": ip.kind} for ip in app.ips],
                    "secrets": {name: secret.digest for name, secret in app.secrets.items()},
                    "secrets_version": app.secrets_version,
                    "volumes": {volume.id: volume.json() for volume in app.live_volumes()},
                    "machines": {machine.id: machine.json() for machine in app.live_machines()},
                    "certificates": sorted(app.certificates),
                }
                for app in self.apps.values()
            }
        }
