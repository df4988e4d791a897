"""Notes of use: for each hostname the last request of a person and how many came in each minute.

Does: writes this process's own object for each hour again and again, whole, so that a repeated or lost write changes nothing.
Does not: count what was refused. Services are counted apart, because a monitor's requests are not a person's use.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowhouse.edge.hourly import Hourly
from rowhouse.vendors.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowhouse.edge.model import Route

__all__ = ["Activity"]

MAX_HOSTS = 20_000


@dataclass
class _Host:
    tenant: str
    instance: str
    last: float | None = None
    minutes: dict[int, int] = field(default_factory=dict)
    service: int = 0


class Activity(Hourly[dict[str, _Host]]):
    """What was used, until the store has it."""

    def __init__(self, store: Store, gateway_id: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(store, "activity", gateway_id, clock)

    def note(self, route: Route, *, is_service: bool = False) -> None:
        """One request, or one message, of somebody who was let in."""
        now = self._clock()
        hour, second = divmod(int(now), 3600)
        hosts = self._hours.setdefault(hour, {})
        host = hosts.get(route.hostname)
        if host is None:
            if len(hosts) >= MAX_HOSTS:
                return
            host = hosts[route.hostname] = _Host(route.tenant, route.instance)
        if is_service:
            host.service += 1
        else:
            host.last = now
            minute = second // 60
            host.minutes[minute] = host.minutes.get(minute, 0) + 1
        self._dirty.add(hour)

    def _document(self, hour: int) -> bytes:
        hosts = {
            name: {
                "tenant": host.tenant,
                "instance": host.instance,
                "last": None if host.last is None else datetime.fromtimestamp(host.last, UTC).isoformat().replace("+00:00", "Z"),
                "minutes": {f"{minute:02d}": count for minute, count in sorted(host.minutes.items())},
                "service_requests": host.service,
            }
            for name, host in sorted(self._hours[hour].items())
        }
        start = datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({"v": 1, "gateway": self._gateway, "hour": start, "hosts": hosts}).encode()
