"""The gateway's view of routes and holds: polled, kept on disk, never worse than the last good one.

Does: lists the store every few seconds, fetches only what changed, keeps an entry's last good value while its object is unreadable,
keeps everything while the store is away. Does not: write routes or holds.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from rowhouse.edge.model import BadObject, Hold, Route, parse_hold, parse_route
from rowhouse.vendors.store import Store, StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Directory", "Mirror"]

log = logging.getLogger("rowhouse.edge.routes")
T = TypeVar("T")

LOSS_MIN = 5
LOSS_GRACE_S = 60.0
FETCHES = 8
LIST_TIMEOUT_S = 60.0


@dataclass
class Mirror(Generic[T]):
    """The objects below one prefix, each with its last good value."""

    prefix: str
    parse: Callable[[str, bytes], T]
    entries: dict[str, T] = field(default_factory=dict)
    raw: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Last good (etag, data) of each key."""
    bad: dict[str, str] = field(default_factory=dict)
    """Etag of each object that could not be parsed, so that it is fetched once and reported once."""
    loss_since: float | None = None

    async def refresh(self, store: Store, now: float) -> bool:
        """Follow the store once; True when something changed. Raises StoreError when the list itself failed."""
        async with asyncio.timeout(LIST_TIMEOUT_S):
            listed = dict(await asyncio.to_thread(store.list, self.prefix))
        changed = False
        gone = [key for key in self.raw if key not in listed]
        if self._is_believable(len(gone), now):
            for key in gone:
                self._drop(key)
            changed = bool(gone)
        wanted = [key for key, etag in listed.items() if self.bad.get(key) != etag and (key not in self.raw or self.raw[key][0] != etag)]
        gate = asyncio.Semaphore(FETCHES)

        async def fetch(key: str) -> bool:
            async with gate:
                try:
                    blob = await asyncio.to_thread(store.get, key)
                except StoreError as exc:
                    log.warning("object %s unreadable, last good one kept: %s", key, exc)
                    return False
            if blob is None:
                self._drop(key)
                return True
            return self.take(key, blob.etag, blob.data)

        results = await asyncio.gather(*(fetch(key) for key in wanted))
        for key in [key for key in self.bad if key not in listed]:
            del self.bad[key]
        return changed or any(results)

    def take(self, key: str, etag: str, data: bytes) -> bool:
        """Adopt one object when it is valid; otherwise report it and keep the last good one."""
        try:
            value = self.parse(key, data)
        except BadObject as exc:
            self.bad[key] = etag
            log.warning("object %s invalid, last good one kept: %s", key, exc)
            return False
        self.bad.pop(key, None)
        self.entries[key] = value
        self.raw[key] = (etag, data)
        return True

    def _drop(self, key: str) -> None:
        self.entries.pop(key, None)
        self.raw.pop(key, None)
        self.bad.pop(key, None)

    def _is_believable(self, gone: int, now: float) -> bool:
        """A list that lost most of what it had is a wrong or emptied store until it has said so for a while."""
        if gone < LOSS_MIN or gone * 2 <= len(self.raw):
            self.loss_since = None
            return True
        if self.loss_since is None:
            self.loss_since = now
            log.warning("%s: %d of %d objects vanished at once; kept for %.0f s", self.prefix, gone, len(self.raw), LOSS_GRACE_S)
        return now - self.loss_since >= LOSS_GRACE_S


class Directory:
    """Who answers for a hostname, and who is held."""

    def __init__(
        self,
        store: Store,
        cache: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._file = cache / "directory.json" if cache else None
        self._clock = clock
        self._monotonic = monotonic
        self._routes: Mirror[Route] = Mirror("routes/", parse_route)
        self._holds: Mirror[Hold] = Mirror("holds/", parse_hold)
        self._by_hostname: dict[str, Route] = {}
        self._by_instance: dict[tuple[str, str], Hold] = {}
        self._fresh_at: float | None = None
        self._failing = False
        self.is_loaded = False
        """Whether routes are known at all, from the store or from the last good copy."""

    @property
    def counts(self) -> tuple[int, int]:
        """(routes, holds)."""
        return len(self._by_hostname), len(self._by_instance)

    @property
    def age_s(self) -> float | None:
        """Seconds since the store was last followed completely; None before the first time."""
        return None if self._fresh_at is None else self._monotonic() - self._fresh_at

    def route_for(self, hostname: str) -> Route | None:
        """The route of exactly this hostname."""
        return self._by_hostname.get(hostname)

    def hold_on(self, route: Route) -> Hold | None:
        """The hold that stands now on the route's instance."""
        hold = self._by_instance.get((route.tenant, route.instance))
        return hold if hold is not None and hold.is_active(self._clock()) else None

    def load_cache(self) -> bool:
        """Start from the last good copy; True when there was a usable one. Never raises: a bad copy is as good as none."""
        if self._file is None:
            return False
        try:
            doc = json.loads(self._file.read_bytes())
            for mirror in (self._routes, self._holds):
                for key, (etag, data) in doc[mirror.prefix].items():
                    mirror.take(str(key), str(etag), base64.b64decode(data))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            log.warning("last good copy %s is unusable and ignored: %s", self._file, type(exc).__name__)
            return False
        self._index()
        self.is_loaded = True
        return True

    async def refresh(self) -> bool:
        """Follow the store once; False when it could not be listed. Never raises for the store's sake."""
        changed = failed = False
        for mirror in (self._holds, self._routes):
            try:
                changed |= await mirror.refresh(self._store, self._monotonic())
            except (StoreError, TimeoutError) as exc:
                failed = True
                if not self._failing:
                    log.warning("object store away, last good copy kept: %s", exc or type(exc).__name__)
        if changed:
            self._index()
            await asyncio.to_thread(self._save)
        if not failed:
            if self._failing:
                log.info("object store is back")
            self._fresh_at = self._monotonic()
            self.is_loaded = True
        self._failing = failed
        return not failed

    async def follow(self, poll_s: float) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(poll_s)
            try:
                await self.refresh()
            except Exception:
                log.exception("refresh failed; last good copy kept")

    def _index(self) -> None:
        before = self._by_hostname
        routes = sorted(self._routes.entries.values(), key=lambda route: route.hostname)
        # One audience or one address under two tenants would let one tenant's people into the other's instance.
        # The hostname that had it first keeps it; where nobody was first, nobody gets it.
        claims: dict[tuple[object, ...], set[str]] = {}
        for route in routes:
            for claim in _claims(route):
                claims.setdefault(claim, set()).add(route.tenant)
        after: dict[str, Route] = {}
        for route in routes:
            disputed = [claim for claim in _claims(route) if len(claims[claim]) > 1]
            known = before.get(route.hostname)
            if disputed and not (known is not None and known.tenant == route.tenant and set(disputed) <= set(_claims(known))):
                log.error("route %s refused: another tenant's route has the same audience or upstream", route.hostname)
                continue
            after[route.hostname] = route
        self._by_hostname = after
        self._by_instance = {(hold.tenant, hold.instance): hold for hold in self._holds.entries.values()}

    def _save(self) -> None:
        if self._file is None:
            return
        doc = {
            mirror.prefix: {key: (etag, base64.b64encode(data).decode()) for key, (etag, data) in list(mirror.raw.items())}
            for mirror in (self._routes, self._holds)
        }
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(json.dumps(doc).encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        except OSError as exc:
            log.warning("last good copy not written: %s", exc)


def _claims(route: Route) -> tuple[tuple[object, ...], ...]:
    return ("audience", route.audience), ("upstream", route.target, route.upstream_host)
