"""The proxy's autostop: machines without traffic are stopped or suspended, slowly and one at a time.

One pass every five virtual minutes stops at most one machine of an app in a region. Source: Fly docs (2026-08); the
five minutes are a field value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_lifecycle import Lifecycle
from rowhouse.localcloud.fly_model import App, Machine

__all__ = ["Autostop"]


class Autostop:
    """Looks at all apps again and again."""

    def __init__(self, clock: Clock, lifecycle: Lifecycle, apps: Callable[[], Iterable[App]]) -> None:
        """Begin; passes need the clock to run or to be advanced."""
        self.every_s = 300.0
        self.idle_s = 240.0  # without a request for so long is idle
        self._clock, self._lifecycle, self._apps = clock, lifecycle, apps
        self._timer = clock.call_later(self.every_s, self._pass)

    def close(self) -> None:
        """No further pass."""
        self._timer.cancel()

    async def _pass(self) -> None:
        self._timer = self._clock.call_later(self.every_s, self._pass)
        # All at once: each is a process that takes its time to end, and whoever advances the clock waits for the slowest, not for all.
        excess = [machine for app in self._apps() for machine in self._excess(app)]
        if excess:
            await asyncio.gather(*(self._put_to_rest(machine) for machine in excess))

    def _excess(self, app: App) -> list[Machine]:
        """The machine that has been idle longest in each region, where one may go."""
        found: dict[str, Machine] = {}
        for machine in sorted(app.live_machines(), key=lambda machine: machine.last_activity):
            if machine.region not in found and self._is_excess(app, machine):
                found[machine.region] = machine
        return list(found.values())

    def _is_excess(self, app: App, machine: Machine) -> bool:
        service = _autostop_service(machine)
        idle = self._clock.timestamp() - machine.last_activity >= self.idle_s
        if service is None or machine.state != "started" or machine.connections or not idle:
            return False
        # Only the primary region keeps a minimum; the app says which that is in PRIMARY_REGION, as flyctl does.
        primary = (machine.config.get("env") or {}).get("PRIMARY_REGION", machine.region)
        minimum = service.get("min_machines_running") or 0
        up = [other for other in app.live_machines() if other.state == "started" and other.region == machine.region]
        return machine.region != primary or len(up) > minimum

    async def _put_to_rest(self, machine: Machine) -> None:
        service = _autostop_service(machine)
        if service and service["autostop"] == "suspend":
            try:
                self._lifecycle.suspend(machine, "proxy")
            except Refusal:
                await self._lifecycle.stop(machine, source="proxy")
        else:
            await self._lifecycle.stop(machine, source="proxy")


def _autostop_service(machine: Machine) -> dict[str, Any] | None:
    if machine.skip_services:
        return None
    return next((service for service in machine.config.get("services") or [] if service.get("autostop")), None)
