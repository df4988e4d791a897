"""Who pays: a Stripe customer, and a subscription unless the plan is free.

The customer outlives the tenant (invoices hang on it). The subscription is protected: ending one is said in the
tenant's file, not by deleting a resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pulumi

from components.cell import Cell
from components.labels import marks
from rowhouse.provider.sdk import billing

__all__ = ["Billing", "BillingArgs"]


@dataclass(frozen=True)
class BillingArgs:
    """What billing needs to know about its tenant."""

    cell: Cell
    tenant: str
    owner_name: str
    owner_email: str
    plan: str
    items: Sequence[Mapping[str, pulumi.Input[str]]]
    """Prices of the plan, `{"price": id}` or `{"lookupKey": key}`; none for a free plan."""
    terms: str
    """Canonical JSON of the plan's terms and the tenant's state, noted for the ledger when they are applied."""
    active: bool
    """False: the subscription is cancelled, its last use invoiced, and kept on record."""
    after: Sequence[pulumi.Resource] = ()
    """What must be as the tenant's file says before it is paid for."""


class Billing(pulumi.ComponentResource):
    """A tenant's customer and subscription."""

    TOKEN = "rowhouse:index:Billing"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, args: BillingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register who pays for the tenant."""
        super().__init__(self.TOKEN, name, None, opts)
        metadata = marks(args.cell, args.tenant)
        customer = billing.Customer(
            f"{name}-customer",
            name=args.owner_name,
            email=args.owner_email,
            metadata=metadata,
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after, retain_on_delete=True),
        )
        self.customer_id = customer.customer_id
        active = args.active and bool(args.items)
        # A free plan has one that is not active, of which Stripe never hears: a tenant that comes from a paid plan must end
        # the paid one, and no program can know where a tenant comes from. Only an active one is protected.
        subscription = billing.Subscription(
            f"{name}-subscription",
            customer=customer.customer_id,
            items=[dict(item) for item in args.items],
            collection_method="send_invoice",
            days_until_due=14,
            metadata={**metadata, "plan": args.plan},
            active=active,
            terms=args.terms,
            store=None if args.cell.store_url.startswith("file:") else args.cell.store_url,
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after, protect=active),
        )
        self.subscription_id: pulumi.Output[str | None] = (
            cast("pulumi.Output[str | None]", subscription.subscription_id) if args.items else pulumi.Output.from_input(None)
        )
        self.settled = subscription.id
        self.register_outputs({"customer_id": self.customer_id, "subscription_id": self.subscription_id})
