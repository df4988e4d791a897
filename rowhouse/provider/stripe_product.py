"""Stripe products, under an id that we choose, so that creating one twice is refused by Stripe itself.

Does: create, adopt, reactivate, rename. Does not: delete one that has prices; it is archived, as Stripe asks.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.stripe_kit import IDENTITY, create, idempotency_key, metadata_change, metadata_rule, seen_metadata
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Found, Refused
from rowhouse.wire.fields import Declared, Field, Props

__all__ = ["Product"]

_PATH: Final = "/v1/products"
_ID: Final = re.compile(r"^[A-Za-z0-9_-]{1,255}$")


def _id(value: str) -> str | None:
    return None if _ID.match(value) else f"'{value}' is not a product id: letters, digits, dashes and underscores."


class Product(Declared):
    """A Stripe product: what prices are of."""

    kind: ClassVar = "rowhouse:stripe:Product"
    fields: ClassVar = {
        "productId": Field("string", required=True, change="replace", rule=_id),
        "name": Field("string", required=True),
        "metadata": Field("object", default={}, rule=metadata_rule),
    }

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """POST; a taken id is ours (adopted, made active again) or refused."""
        stripe, product_id = self._clients.stripe, inputs["productId"]
        path = f"{_PATH}/{product_id}"
        params = {"id": product_id, "name": inputs["name"], "metadata": inputs["metadata"]}

        async def look() -> Props | None:
            found = await stripe.get(path)
            return None if found is None or found.get("deleted") else found

        key = idempotency_key(ctx, "product", params)
        try:
            # Stripe refuses a second product of the id, so there is no need to look first.
            found, _ = await create(
                ctx, stripe, _PATH, params, key=key, look=look, alive=lambda one: not one.get("deleted"), look_first=False
            )
        except VendorError as error:
            taken = await look() if error.status in {400, 409} else None
            if taken is None:
                raise
            found = taken
        theirs = found.get("metadata") or {}
        foreign = [name for name in IDENTITY if inputs["metadata"].get(name) != theirs.get(name)]
        if foreign:
            raise Refused(
                f"Stripe has a product '{product_id}' that was not made by this stack ({foreign[0]} is {theirs.get(foreign[0])!r}). "
                f"Choose another product id for {ctx.name}."
            )
        await self._activate(path, inputs, found)
        return product_id, {}

    async def _activate(self, path: str, inputs: Props, adopted: Props) -> None:
        metadata = {**dict.fromkeys(adopted.get("metadata") or {}, ""), **inputs["metadata"]}
        same = adopted.get("active") and adopted.get("name") == inputs["name"] and (adopted.get("metadata") or {}) == inputs["metadata"]
        if not same:
            await self._clients.stripe.post(path, {"active": True, "name": inputs["name"], "metadata": metadata})

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Name and metadata."""
        del ctx, old_outputs
        await self._clients.stripe.post(
            f"{_PATH}/{id}", {"active": True, "name": news["name"], "metadata": metadata_change(old_inputs, news)}
        )
        return {}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By id; an archived product is gone."""
        del ctx, outputs
        found = await self._clients.stripe.get(f"{_PATH}/{id}")
        if found is None or found.get("deleted") or not found.get("active", True):
            return None
        known = (inputs.get("metadata") or {}) if inputs else None
        seen = {"productId": id, "name": found["name"], "metadata": seen_metadata(found, known)}
        return Found(id, seen, self.outputs(seen, {}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """DELETE; Stripe refuses it for one that ever had a price, which is archived instead."""
        del ctx, inputs, outputs
        path = f"{_PATH}/{id}"
        try:
            await self._clients.stripe.delete(path)
        except VendorError as error:
            if error.status != 400:
                raise
            await self._clients.stripe.post(path, {"active": False})
