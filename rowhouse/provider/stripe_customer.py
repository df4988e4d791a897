"""Stripe customers: who pays for a tenant.

Does: adopt by email and marks (the list is current, the search is not), change in place. Does not: find customers of a test clock, which
Stripe hides from lists. Deleting one cannot be undone, so the program retains it.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.stripe_kit import create, idempotency_key, is_ours, metadata_change, metadata_rule, seen_metadata
from rowhouse.wire.contract import Context, Found
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["Customer"]

_PATH: Final = "/v1/customers"
_EMAIL: Final = re.compile(r"^[^@\s]+@[^@\s]+$")


def _email(value: str) -> str | None:
    return None if _EMAIL.match(value) and len(value) <= 512 else f"'{value}' is not an email address."


class Customer(Declared):
    """A Stripe customer."""

    kind: ClassVar = "rowhouse:stripe:Customer"
    fields: ClassVar = {
        "name": Field("string", required=True),
        "email": Field("string", required=True, rule=_email),
        "metadata": Field("object", default={}, rule=metadata_rule),
    }
    computed: ClassVar = {"customerId": Computed()}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """The customer with our marks and this email address, or a new one."""
        stripe = self._clients.stripe
        params = {"name": inputs["name"], "email": inputs["email"], "metadata": inputs["metadata"]}

        async def look() -> Props | None:
            if not inputs["metadata"]:
                return None
            # The oldest of ours, so that a repeated look finds the same one.
            ours = [found async for found in stripe.pages(_PATH, {"email": inputs["email"]}) if is_ours(found, inputs["metadata"])]
            return min(ours, key=lambda found: (found.get("created") or 0, found["id"]), default=None)

        key = idempotency_key(ctx, "customer", params)
        customer, fresh = await create(ctx, stripe, _PATH, params, key=key, look=look, alive=lambda found: not found.get("deleted"))
        if fresh:
            self._clients.newborn_customers.add(customer["id"])
        theirs = customer.get("metadata") or {}
        if customer.get("name") != inputs["name"] or any(theirs.get(name) != value for name, value in inputs["metadata"].items()):
            await stripe.post(f"{_PATH}/{customer['id']}", params)
        return customer["id"], {"customerId": customer["id"]}

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Name, email and metadata."""
        del ctx, old_outputs
        params = {"name": news["name"], "email": news["email"], "metadata": metadata_change(old_inputs, news)}
        await self._clients.stripe.post(f"{_PATH}/{id}", params)
        return {"customerId": id}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By id; Stripe goes on answering for a deleted one, and says so."""
        del ctx, outputs
        found = await self._clients.stripe.get(f"{_PATH}/{id}")
        if found is None or found.get("deleted"):
            return None
        known = (inputs.get("metadata") or {}) if inputs else None
        seen = {"name": found.get("name") or "", "email": found.get("email") or "", "metadata": seen_metadata(found, known)}
        return Found(id, seen, self.outputs(seen, {"customerId": id}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """DELETE, which also cancels its subscriptions."""
        del ctx, inputs, outputs
        await self._clients.stripe.delete(f"{_PATH}/{id}")
