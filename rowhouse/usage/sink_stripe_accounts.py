"""Who is who at Stripe: our subscriptions by tenant, meters by event name, prices by what they bill.

Does: read it once and keep little. Does not: change anything, or know of subscriptions without this stack's mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rowhouse.spec.marks import MANAGED_BY
from rowhouse.spec.prices import BASE
from rowhouse.vendors.stripe import Stripe

__all__ = ["HOLD", "Accounts", "Subscription"]

HOLD: Final = "rowhouse_hold"
"""Metadata of a subscription whose collection we paused: the end of the period, in seconds."""
_ENDED: Final = frozenset({"canceled", "incomplete_expired"})
_RENEWING: Final = frozenset({"active", "past_due", "unpaid", "trialing"})


@dataclass(slots=True)
class Subscription:
    """As much of a subscription as billing needs; times in seconds."""

    id: str
    tenant: str
    customer: str
    status: str
    created: int
    period_end: int
    currency: str
    collection: str
    days_until_due: int | None
    meters: frozenset[str]
    """Ids of the meters that its items bill."""
    paused: bool
    hold: str

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.status not in _ENDED

    @property
    def renews(self) -> bool:
        """Whether invoices are written for it."""
        return self.status in _RENEWING


@dataclass(slots=True)
class Accounts:
    """What an account at Stripe holds of one project and stack."""

    meters: Mapping[str, str] = field(default_factory=dict)
    """Event name to id, of active meters."""
    prices: Mapping[str, str] = field(default_factory=dict)
    """Price to the event name of its meter, or `base`."""
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """By id."""
    tenants: dict[str, Subscription] = field(default_factory=dict)
    """Tenant to its live subscription, or the one that ended last."""
    customers: dict[str, str] = field(default_factory=dict)
    """Customer to tenant."""

    @classmethod
    async def read(cls, stripe: Stripe, project: str, stack: str) -> Accounts:
        """Ask for all of it: one list call for a hundred of each."""
        meters = [meter async for meter in stripe.pages("/v1/billing/meters")]
        events = {meter["id"]: meter["event_name"] for meter in meters}
        found = cls(
            meters={meter["event_name"]: meter["id"] for meter in meters if meter["status"] == "active"},
            prices={price["id"]: _billed_by(price, events) async for price in stripe.pages("/v1/prices")},
        )
        wanted = {"managed-by": MANAGED_BY, "project": project, "stack": stack}
        async for raw in stripe.pages("/v1/subscriptions", {"status": "all"}):
            metadata = raw.get("metadata") or {}
            if metadata.get("tenant") and all(metadata.get(name) == value for name, value in wanted.items()):
                found.add(_subscription(raw))
        return found

    def add(self, subscription: Subscription) -> None:
        """Keep one; a live one stands for its tenant before an ended one, a newer one before an older."""
        self.subscriptions[subscription.id] = subscription
        self.customers[subscription.customer] = subscription.tenant
        other = self.tenants.get(subscription.tenant)
        rank = (subscription.is_live, subscription.created, subscription.id)
        if other is None or rank > (other.is_live, other.created, other.id):
            self.tenants[subscription.tenant] = subscription


def _billed_by(price: Mapping[str, Any], events: Mapping[str, str]) -> str:
    meter = (price.get("recurring") or {}).get("meter")
    return events.get(meter, meter) if meter else BASE


def _subscription(raw: Mapping[str, Any]) -> Subscription:
    items = list((raw.get("items") or {}).get("data") or [])
    customer = raw["customer"]
    return Subscription(
        id=raw["id"],
        tenant=raw["metadata"]["tenant"],
        customer=customer if isinstance(customer, str) else customer["id"],
        status=raw.get("status") or "",
        created=raw.get("created") or 0,
        period_end=max((item.get("current_period_end") or 0 for item in items), default=0),
        currency=raw.get("currency") or "",
        collection=raw.get("collection_method") or "charge_automatically",
        days_until_due=raw.get("days_until_due"),
        meters=frozenset(meter for item in items if (meter := (item["price"].get("recurring") or {}).get("meter"))),
        paused=raw.get("pause_collection") is not None,
        hold=(raw.get("metadata") or {}).get(HOLD) or "",
    )
