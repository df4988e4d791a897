"""What the account holds: shelves of wire objects, events, cards, test clocks, and whose time it is.

Objects are kept as the dicts that go over the wire. Private facts (a customer's card, what an invoice has still to
count) stand beside them, never inside.
"""

from __future__ import annotations

import fnmatch
import secrets
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.stripe_errors import no_such
from rowhouse.localcloud.stripe_time import TestTimeline, Timeline, VirtualTimeline

__all__ = ["API_VERSION", "Json", "Shelf", "State", "clone", "merge_metadata", "new_id"]

API_VERSION = "2026-10-28.endive"
Json = dict[str, Any]
T = TypeVar("T")
_BASE62 = string.ascii_letters + string.digits
_EVENTS_KEPT_S = 30 * 86400  # Stripe: GET /v1/events goes back 30 days (API reference, 2026-08)


def clone(value: T) -> T:
    """A copy of plain JSON data. (copy.deepcopy looks for cycles that JSON cannot have, and takes five times as long.)"""
    if isinstance(value, dict):
        return cast("T", {key: clone(item) for key, item in value.items()})
    return cast("T", [clone(item) for item in value]) if isinstance(value, list) else value


def new_id(prefix: str) -> str:
    """An id as Stripe makes them: a short random tail, or a long one for the newer kinds."""
    if prefix in {"cus", "prod", "si", "req"}:
        return f"{prefix}_" + "".join(secrets.choice(_BASE62) for _ in range(14))
    if prefix in {"mtr", "mtrusg"}:
        return f"{prefix}_test_61" + "".join(secrets.choice(_BASE62) for _ in range(30))
    return f"{prefix}_1" + "".join(secrets.choice(_BASE62) for _ in range(23))


def merge_metadata(old: dict[str, str], change: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: named keys change, empty values go, `None` empties it."""
    if change is None:
        return {}
    return {key: value for key, value in {**old, **change}.items() if value != ""}


@dataclass
class Shelf:
    """All objects of one kind, oldest first, with the past that a lagging search still sees."""

    kind: str
    prefix: str
    objects: dict[str, Json] = field(default_factory=dict)
    gone: dict[str, Json] = field(default_factory=dict)  # deleted ones, as a later GET answers them
    past: dict[str, list[tuple[float, Json | None]]] = field(default_factory=dict)

    def get(self, object_id: str, param: str = "id") -> Json:
        """The object.

        Raises: StripeError `resource_missing`.
        """
        found = self.objects.get(object_id)
        if found is None:
            raise no_such(self.kind, object_id, param)
        return found

    def newest_first(self) -> Iterator[Json]:
        """Every object, as lists give them."""
        return reversed(self.objects.values())

    def note(self, object_id: str, seen: Json | None, moment: float, lag_s: float) -> None:
        """Remember for searches how the object looks from `moment` on; `seen` is a copy that nobody changes, None is gone."""
        versions = self.past.setdefault(object_id, [])
        versions.append((moment, seen))
        while len(versions) > 1 and versions[1][0] <= moment - lag_s:
            versions.pop(0)

    def as_of(self, moment: float) -> list[Json]:
        """Every object as it was at `moment`, newest first."""
        seen = []
        for versions in self.past.values():
            current = [version for at, version in versions if at <= moment]
            if current and current[-1] is not None:
                seen.append(current[-1])
        return seen[::-1]


class State:
    """One Stripe account."""

    def __init__(self, clock: Clock, *, search_lag_s: float, livemode: bool) -> None:
        """Begin empty, in the time of `clock`."""
        self.clock, self.search_lag_s, self.livemode = clock, search_lag_s, livemode
        self.account_id = "acct_1" + "0" * 15 + "A"
        self.virtual = VirtualTimeline(clock)
        self.timelines: dict[str, TestTimeline] = {}
        self.customers = Shelf("customer", "cus")
        self.products = Shelf("product", "prod")
        self.prices = Shelf("price", "price")
        self.meters = Shelf("billing.meter", "mtr")
        self.subscriptions = Shelf("subscription", "sub")
        self.items = Shelf("subscription_item", "si")
        self.invoices = Shelf("invoice", "in")
        self.invoice_items = Shelf("invoiceitem", "ii")
        self.test_clocks = Shelf("test_helpers.test_clock", "clock")
        self.events = Shelf("event", "evt")
        self.thin_events = Shelf("v2.core.event", "evt")
        self.cards: dict[str, str] = {}  # customer -> payment method
        self.request: Json = {"id": None, "idempotency_key": None}  # of the request being served
        self.listeners: list[Callable[[Json], None]] = []

    @property
    def shelves(self) -> list[Shelf]:
        """Every shelf."""
        return [value for value in vars(self).values() if isinstance(value, Shelf)]

    def timeline(self, test_clock: str | None) -> Timeline:
        """The time in which an object of that test clock (or none) lives."""
        return self.timelines[test_clock] if test_clock else self.virtual

    def timeline_of(self, customer_id: str) -> Timeline:
        """The time of a customer, living or deleted."""
        customer = self.customers.objects.get(customer_id)
        return self.timeline(customer["test_clock"] if customer else None)

    def put(self, shelf: Shelf, thing: Json, event: str | None = None, before: Json | None = None) -> Json:
        """Keep an object and tell that it was made or changed."""
        shelf.objects[thing["id"]] = thing
        seen = clone(thing)
        shelf.note(thing["id"], seen, self.clock.timestamp(), self.search_lag_s)
        if event:
            self._record(event, seen, before)
        return thing

    def remove(self, shelf: Shelf, object_id: str, event: str) -> Json:
        """Take an object away, leaving the stub that Stripe answers with."""
        thing = shelf.objects.pop(object_id)
        shelf.note(object_id, None, self.clock.timestamp(), self.search_lag_s)
        self.emit(event, thing)
        stub: Json = {"id": object_id, "object": shelf.kind, "deleted": True}
        shelf.gone[object_id] = stub
        return stub

    def emit(self, event: str, thing: Json, before: Json | None = None) -> None:
        """Record an event with a copy of the object, and what an update changed."""
        self._record(event, clone(thing), before)

    def _record(self, event: str, thing: Json, before: Json | None) -> None:
        data: Json = {"object": thing}
        if before is not None:
            data["previous_attributes"] = {key: clone(old) for key, old in before.items() if thing.get(key) != old}
        test_clock: str | None = thing.get("test_clock")
        record: Json = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": int(self.timeline(test_clock if test_clock in self.timelines else None).now()),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": dict(self.request),
            "type": event,
        }
        self.events.objects[record["id"]] = record
        for listener in self.listeners:
            listener(record)

    def recent_events(self, patterns: list[str]) -> list[Json]:
        """Events of the last 30 days of the clock, newest first; a pattern may end in `*`."""
        floor = self.clock.timestamp() - _EVENTS_KEPT_S
        return [
            event
            for event in self.events.newest_first()
            if event["created"] >= floor and (not patterns or any(fnmatch.fnmatchcase(event["type"], pattern) for pattern in patterns))
        ]

    def dump(self) -> dict[str, list[Json]]:
        """Every object by kind, oldest first."""
        return {shelf.kind: clone(list(shelf.objects.values())) for shelf in self.shelves}
