"""What the instances' apps say of themselves: totals of their activity counters, read while there is traffic anyway.

Does: ask an instance right after it was used, and once more two seconds after it was last used; write this process's readings of each hour
as one object, whole, so that a repeated or lost write changes nothing. Does not: wake or keep awake anything: without traffic nothing is
asked, and a machine with traffic is up. Does not believe what it reads: a customer with a shell can forge it (docs/decisions/counters.md).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowhouse.edge.hourly import Hourly
from rowhouse.edge.upstream import Broken, Unreachable
from rowhouse.vendors.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rowhouse.edge.headers import Headers
    from rowhouse.edge.model import Route
    from rowhouse.edge.upstream import Link, Pool

__all__ = ["Asker", "Counters"]

log = logging.getLogger("rowhouse.edge.counters")

TRAIL_S = 2.0
"""So long after the last use an instance is asked once more, for what ended just then."""
EVERY_S = 15.0
"""While it is used without a pause it is asked so often."""
FRESH_S = 5.0
"""Without use for so long, by the vendor's clock, nothing is asked any more: it might wake a machine."""
SLOT_S = 300
"""Of several readings in five minutes the last one is kept."""
REFUSED_S = 3600.0
"""An app without counters is left alone for so long."""
ANSWER_S = 5.0
ANSWER_BYTES = 64 * 1024
NAMES_MAX = 50
TOTAL_MAX = 2**53
MAX_INSTANCES = 20_000
ASKING_MAX = 32

Key = tuple[str, str]


class Asker:
    """Reads an app's counters through the private network."""

    def __init__(self, pool: Pool) -> None:
        """Use the gateway's own connections to instances."""
        self._pool = pool

    async def __call__(self, route: Route) -> Mapping[str, int] | None:
        """The totals; None when the app has none to tell. Raises Unreachable, Broken or TimeoutError."""
        async with asyncio.timeout(ANSWER_S):
            link = await self._pool.take(route.target, fresh=False)
            whole = False
            try:
                status, body = await self._exchange(link, route)
                whole = True
            finally:
                if whole:
                    self._pool.give_back(link)
                else:
                    link.abort()
        return _totals(body) if status == 200 else None

    @staticmethod
    async def _exchange(link: Link, route: Route) -> tuple[int, bytes]:
        host = (route.upstream_host or route.hostname).encode()
        headers: Headers = [(b"host", host), (b"user-agent", b"rowhouse-edge"), (b"accept", b"application/json")]
        await link.begin(b"GET", route.counters_path.encode(), headers)
        await link.end()
        head = await link.head(ANSWER_S)
        body = b""
        while (data := await link.piece(ANSWER_S)) is not None:
            body += data
            if len(body) > ANSWER_BYTES:
                raise Broken("the counters' answer is too large")
        return head.status_code, body


def _totals(body: bytes) -> dict[str, int] | None:
    """Names and totals; what is no whole number that a counter could have is left out."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    good = {
        name: total
        for name, total in found.items()
        if name and len(name) <= 100 and name.isprintable() and type(total) is int and 0 <= total < TOTAL_MAX
    }
    return dict(sorted(good.items())[:NAMES_MAX])


@dataclass
class _Watched:
    route: Route
    used_at: float
    task: asyncio.Task[None] | None = None
    refused_until: float = 0.0


Readings = dict[Key, list[tuple[int, "Mapping[str, int]"]]]


class Counters(Hourly[Readings]):
    """Readings, until the store has them."""

    def __init__(
        self,
        store: Store,
        gateway_id: str,
        ask: Callable[[Route], Awaitable[Mapping[str, int] | None]],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Ask with `ask`; write to `store` under this gateway's id; `clock` tells the time of readings."""
        super().__init__(store, "counters", gateway_id, clock)
        self._ask, self._sleep = ask, sleep
        self._watched: dict[Key, _Watched] = {}
        self._slots = asyncio.Semaphore(ASKING_MAX)

    def used(self, route: Route) -> None:
        """An instance has just answered somebody."""
        now = self._clock()
        key = (route.tenant, route.instance)
        watched = self._watched.get(key)
        if watched is None:
            if len(self._watched) >= MAX_INSTANCES:
                return
            watched = self._watched[key] = _Watched(route, now)
        if watched.task is not None and now - watched.used_at > FRESH_S:
            # The time leapt while it waited to ask once more. Asking for what was before the leap might wake a machine; now it is up.
            watched.task.cancel()
            watched.task = None
        watched.route, watched.used_at = route, now
        if watched.task is None and now >= watched.refused_until:
            watched.task = asyncio.create_task(self._attend(key, watched))

    async def close(self) -> None:
        """End all asking."""
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attend(self, key: Key, watched: _Watched) -> None:
        """Ask now, every so often while it is used, and once more shortly after."""
        try:
            asked_at = self._clock()
            going = await self._read(key, watched)
            while going:
                seen = watched.used_at
                await self._sleep(TRAIL_S)
                now = self._clock()
                quiet = watched.used_at == seen
                if quiet or now - asked_at >= EVERY_S:
                    asked_at = now
                    going = now - watched.used_at <= FRESH_S and await self._read(key, watched) and not quiet
        finally:
            if watched.task is asyncio.current_task():
                watched.task = None
            if watched.task is None and watched.refused_until <= self._clock():
                self._watched.pop(key, None)

    async def _read(self, key: Key, watched: _Watched) -> bool:
        """Ask once; False when there is nothing to ask here."""
        try:
            async with self._slots:
                totals = await self._ask(watched.route)
        except (Unreachable, Broken, TimeoutError, OSError) as exc:
            log.debug("counters of %s/%s not read: %s", *key, type(exc).__name__)
            return False
        if totals is None:
            watched.refused_until = self._clock() + REFUSED_S
            return False
        self._keep(key, totals)
        return True

    def _keep(self, key: Key, totals: Mapping[str, int]) -> None:
        now = self._clock()
        hour = int(now) // 3600
        readings = self._hours.setdefault(hour, {}).setdefault(key, [])
        if readings and readings[-1][0] // 1000 // SLOT_S == int(now) // SLOT_S:
            readings.pop()
        readings.append((int(now * 1000), totals))
        self._dirty.add(hour)

    def _document(self, hour: int) -> bytes:
        instances = [
            {"tenant": tenant, "instance": instance, "readings": [[at, dict(totals)] for at, totals in readings]}
            for (tenant, instance), readings in sorted(self._hours[hour].items())
        ]
        start = datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({"v": 1, "gateway": self._gateway, "hour": start, "instances": instances}).encode()
