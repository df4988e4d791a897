"""Notes of use: for each hostname the last request of a person and how many came in each minute.

Does: writes this process's own object for each hour again and again, whole, so that a repeated or lost write changes nothing.
Does not: count what was refused. Services are counted apart, because a monitor's requests are not a person's use.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowhouse.vendors.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowhouse.edge.model import Route

__all__ = ["Activity"]

log = logging.getLogger("rowhouse.edge.activity")

MAX_HOURS = 48
MAX_HOSTS = 20_000
WRITE_TIMEOUT_S = 60.0


@dataclass
class _Host:
    tenant: str
    instance: str
    last: float | None = None
    minutes: dict[int, int] = field(default_factory=dict)
    service: int = 0


class Activity:
    """What was used, until the store has it."""

    def __init__(self, store: Store, gateway_id: str, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._gateway = gateway_id
        self._clock = clock
        self._hours: dict[int, dict[str, _Host]] = {}
        self._dirty: set[int] = set()

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

    async def flush(self) -> bool:
        """Write every hour with news; what the store does not take is kept for the next time. True when all was taken."""
        for hour in sorted(self._dirty):
            self._dirty.discard(hour)
            key = f"activity/{self._gateway}/{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H}.json"
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await asyncio.to_thread(self._store.put, key, self._document(hour))
            except (StoreError, TimeoutError) as exc:
                self._dirty.add(hour)
                log.warning("activity kept, store away: %s", exc or type(exc).__name__)
                break
        self._forget()
        return not self._dirty

    async def follow(self, every_s: float) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.flush()
            except Exception:
                log.exception("activity not written; kept")

    def _forget(self) -> None:
        current = int(self._clock()) // 3600
        for hour in [hour for hour in self._hours if hour < current and hour not in self._dirty]:
            del self._hours[hour]
        while len(self._hours) > MAX_HOURS:
            oldest = min(self._hours)
            log.error("activity of %d hosts lost: the store has been away for %d hours", len(self._hours.pop(oldest)), MAX_HOURS)
            self._dirty.discard(oldest)

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
