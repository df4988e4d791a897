"""Stripe subscriptions: what a tenant pays each month. Stripe is the truth about their end.

Does: adopt a live one with our marks, change items in place, cancel with a last invoice; note the plan's terms for the ledger once Stripe
has accepted what they say. Does not: create one again where somebody cancelled it at Stripe; that is a decision about the tenant, and
belongs in its file.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.plan_terms import note_terms, terms_rule
from rowhouse.provider.stripe_kit import create, idempotency_key, is_ours, metadata_change, metadata_rule, seen_metadata
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import CheckFailure, Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["CANCELLED_BY", "Subscription"]

_PATH: Final = "/v1/subscriptions"
_ENDED: Final = frozenset({"canceled", "incomplete_expired"})
CANCELLED_BY: Final = "cancelled_by"
_OURS: Final = "rowhouse"
_NONE: Final = "none/"
"""Begins the id of a subscription that is not wanted and never was."""
_NEVER: Final[Props] = {"status": "never"}
_ADVICE: Final = "The day on which a subscription renews is fixed when it starts. Put the old day back."


def _items(value: list[Any]) -> str | None:
    if len(value) > 20:  # Stripe: 20 items (2026-10)
        return f"a subscription has at most 20 items, and this one has {len(value)}."
    for index, item in enumerate(value):
        if not isinstance(item, dict) or set(item) not in ({"price"}, {"lookupKey"}) or not all(isinstance(v, str) for v in item.values()):
            return (
                f"items[{index}] must be a map with one key, price or lookupKey. A price without a value comes from one that failed in "
                "this run: mend that one first."
            )
    named = [next(iter(item.items())) for item in value]
    return None if len(set(named)) == len(named) else "items: each price once."


def _collection(value: str) -> str | None:
    allowed = ("charge_automatically", "send_invoice")
    return None if value in allowed else f"'{value}' is not allowed. Allowed: {', '.join(allowed)}."


def _day(value: int) -> str | None:
    return None if 1 <= value <= 31 else f"{value} is not a day of a month."


class Subscription(Declared):
    """A Stripe subscription of one customer."""

    kind: ClassVar = "rowhouse:stripe:Subscription"
    fields: ClassVar = {
        "customer": Field("string", required=True, change="replace", source="the rowhouse:stripe:Customer"),
        "items": Field("array", required=True, source="the prices", rule=_items),
        "collectionMethod": Field("string", default="charge_automatically", rule=_collection),
        "daysUntilDue": Field("integer"),
        "metadata": Field("object", default={}, rule=metadata_rule),
        "active": Field("boolean", default=True),
        "anchorDayOfMonth": Field("integer", default=1, change="never", advice=_ADVICE, rule=_day),
        # Of the plan, as canonical JSON. Stripe never sees them; a change of them alone is noted all the same.
        "terms": Field("string", rule=terms_rule),
        # Where they are noted; absent: the project's own folder, whose path differs from machine to machine and stays out of the state.
        "store": Field("string", change="ignore"),
    }
    computed: ClassVar = {
        "subscriptionId": Computed(),
        "status": Computed(stable=False),
        "currentPeriodEnd": Computed("integer", stable=False),
    }

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def rules(self, olds: Props, news: Props) -> list[CheckFailure]:
        """Invoices that are sent have a term, and what is active costs something."""
        del olds
        if news["active"] is True and news["items"] == []:
            return [CheckFailure("items", "an active subscription has at least one item. A free plan has none: set `active` to false.")]
        sends = news["collectionMethod"] == "send_invoice"
        if sends and news.get("daysUntilDue") is None:
            return [CheckFailure("daysUntilDue", "'daysUntilDue' is required when invoices are sent.")]
        if not sends and isinstance(news["collectionMethod"], str) and news.get("daysUntilDue") is not None:
            return [CheckFailure("daysUntilDue", "'daysUntilDue' is only for collectionMethod 'send_invoice'.")]
        return []

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """The live subscription with our marks, or a new one, unless somebody cancelled the last one at Stripe.

        Not `active`: nothing is begun; the last one is named, or `none/<customer>` where there never was one.
        """
        made, found = await self._made(ctx, inputs)
        return made, await self._noted(ctx, made, inputs, found)

    async def _noted(self, ctx: Context, id: str, inputs: Props, found: Props | None) -> Props:  # noqa: A002
        """The computed outputs, after the terms that Stripe accepted are noted."""
        computed = _NEVER if found is None else _computed(found)
        self._keep(ctx, id, inputs, computed)
        await note_terms(self._clients, inputs, created=None if found is None else found.get("created"))
        return computed

    def _keep(self, ctx: Context, id: str, inputs: Props, computed: Props) -> None:  # noqa: A002
        """What is kept if the call ends here, whatever the reason.

        Without the terms: so whoever looks next sees that they are still to be noted, a refresh in between or not.
        """
        kept = {name: value for name, value in inputs.items() if name != "terms"}
        ctx.keep(id, self.outputs(kept, computed), kept)

    async def _made(self, ctx: Context, inputs: Props) -> tuple[str, Props | None]:
        """The id, and the subscription where there is one."""
        newborn = self._clients.newborn_customers
        ours = [] if inputs["customer"] in newborn else await self._ours(inputs)
        newborn.discard(inputs["customer"])  # a second attempt looks, as a new process does
        live = _live(ours)
        if not inputs["active"]:
            if live is not None:
                await self._end(live)
                live = await self._clients.stripe.get(f"{_PATH}/{live['id']}")
            last = live or max(ours, key=lambda found: found.get("created") or 0, default=None)
            return (last["id"] if last is not None else f"{_NONE}{inputs['customer']}"), last
        if live is None:
            live = await self._begin(ctx, inputs, ours)
        self._keep(ctx, live["id"], inputs, _computed(live))
        return live["id"], await self._fit(ctx, live, inputs, {})

    async def _begin(self, ctx: Context, inputs: Props, ours: list[Props]) -> Props:
        stripe = self._clients.stripe
        self._refuse_return(ctx, ours)
        params: dict[str, Any] = {
            "customer": inputs["customer"],
            "items": [{"price": price} for price in await self._prices(ctx, inputs)],
            "metadata": inputs["metadata"],
            "collection_method": inputs["collectionMethod"],
            "days_until_due": inputs.get("daysUntilDue"),
            # Periods begin at midnight UTC, so that hours of use never cross their edges.
            "billing_cycle_anchor_config": {"day_of_month": inputs["anchorDayOfMonth"], "hour": 0, "minute": 0, "second": 0},
        }

        async def look() -> Props | None:
            return _live(await self._ours(inputs))

        # The number of those that came before makes the key of a return different from that of the first time.
        key = idempotency_key(ctx, "subscription", params, len(ours))
        begun, _ = await create(
            ctx, stripe, _PATH, params, key=key, look=look, alive=lambda found: found.get("status") not in _ENDED, look_first=False
        )
        return begun

    async def _prices(self, ctx: Context, inputs: Props) -> list[str]:
        """The ids of the items' prices; a lookup key is resolved to the active price that holds it now."""
        keys = sorted(item["lookupKey"] for item in inputs["items"] if "lookupKey" in item)
        found: dict[str, str] = {}
        for start in range(0, len(keys), 10):  # Stripe: 10 lookup keys a request (2026-10)
            query = {"lookup_keys": keys[start : start + 10], "active": True}
            found |= {price["lookup_key"]: price["id"] async for price in self._clients.stripe.pages("/v1/prices", query)}
        missing = [key for key in keys if key not in found]
        if missing:
            raise Refused(
                f"{ctx.name}: Stripe has no active price with lookup key '{missing[0]}'. The catalog is registered by the cell "
                "`main`: apply that one first (`rowhouse up --stack main`), then this one again."
            )
        return [item["price"] if "price" in item else found[item["lookupKey"]] for item in inputs["items"]]

    async def _ours(self, inputs: Props) -> list[Props]:
        query = {"customer": inputs["customer"], "status": "all"}
        return [found async for found in self._clients.stripe.pages(_PATH, query) if is_ours(found, inputs["metadata"])]

    def _refuse_return(self, ctx: Context, ours: list[Props]) -> None:
        ended = [found for found in ours if found.get("status") == "canceled"]
        newest = max(ended, key=lambda found: (found.get("created") or 0, found.get("canceled_at") or 0), default=None)
        if newest is not None and (newest.get("metadata") or {}).get(CANCELLED_BY) != _OURS:
            tenant = (newest.get("metadata") or {}).get("tenant") or ctx.name
            raise Refused(
                f"the subscription {newest['id']} of {tenant} was cancelled at Stripe, and is not created again by itself. If {tenant} "
                f"leaves, set `state: offboarding` in its file; if it stays without paying, give it a free plan; if it comes back, set the "
                f"metadata `{CANCELLED_BY}` of {newest['id']} to `{_OURS}` at Stripe and apply again."
            )

    async def _wanted(self, ctx: Context, found: Props, news: Props) -> list[str]:
        """The ids of the prices that should be there; a lookup key that the subscription already has costs no request."""
        held = {item["price"]["lookup_key"]: item["price"]["id"] for item in _entries(found) if item["price"].get("lookup_key")}
        known = {**news, "items": [{"price": held[i["lookupKey"]]} if i.get("lookupKey") in held else i for i in news["items"]]}
        return await self._prices(ctx, known)

    async def _fit(self, ctx: Context, found: Props, news: Props, olds: Props) -> Props:
        """Make a live subscription as wished; what is so already is not asked for."""
        stripe = self._clients.stripe
        for attempt in range(4):
            params = _difference(found, await self._wanted(ctx, found, news), news, olds)
            if not params:
                return found
            try:
                # Items are added and removed by this request, so it is repeated only after a new look.
                return await stripe.post(f"{_PATH}/{found['id']}", params, repeatable=False)
            except VendorError as error:
                if attempt == 3 or not error.ambiguous:
                    raise
            await stripe.http.sleep(0.25 * 2**attempt)
            again = await stripe.get(f"{_PATH}/{found['id']}")
            found = again if again is not None else found
        raise AssertionError

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Items, way of collection and metadata; what was used under a price taken out is billed at the close. `active` ends or begins one.

        Another one has another id, which the outputs tell; the resource keeps the id of its first until it is refreshed.
        """
        current = _current_id(id, old_outputs)
        found = None if current.startswith(_NONE) else await self._clients.stripe.get(f"{_PATH}/{current}")
        if found is not None and found.get("status") in _ENDED and news["active"]:
            self._refuse_return(ctx, [found])
            found = None
        if found is None:
            _, found = await self._made(ctx, news)
        elif news["active"]:
            found = await self._fit(ctx, found, news, old_inputs)
        elif found.get("status") not in _ENDED:
            await self._end(found)
            found = await self._clients.stripe.get(f"{_PATH}/{current}") or found
        return await self._noted(ctx, id, news, found)

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By id; one that has ended is gone, unless it is meant to have ended; one that never began goes with its customer."""
        del ctx
        current = _current_id(id, outputs)
        meant_to_end = inputs.get("active") is False
        if current.startswith(_NONE):
            customer = await self._clients.stripe.get(f"/v1/customers/{current.removeprefix(_NONE)}") if meant_to_end else None
            gone = customer is None or customer.get("deleted")
            return None if gone else Found(current, inputs, self.outputs(inputs, _NEVER))
        found = await self._clients.stripe.get(f"{_PATH}/{current}")
        if found is None:
            return None
        if found.get("status") in _ENDED:
            return Found(current, inputs, self.outputs(inputs, _computed(found))) if meant_to_end else None
        held = {item["price"]["id"]: item["price"].get("lookup_key") for item in _entries(found)}
        by_key = {key: price for price, key in held.items() if key}
        known = [item.get("price") or by_key.get(item.get("lookupKey", "")) for item in inputs.get("items") or []]
        same = len(known) == len(held) and set(known) == set(held)
        anchor = (found.get("billing_cycle_anchor_config") or {}).get("day_of_month") or inputs.get("anchorDayOfMonth") or 1
        seen: dict[str, Any] = {
            "customer": found["customer"] if isinstance(found["customer"], str) else found["customer"]["id"],
            "items": inputs["items"] if same else [{"price": price} for price in held],
            "collectionMethod": found.get("collection_method") or "charge_automatically",
            "metadata": seen_metadata(found, (inputs.get("metadata") or {}) if inputs else None),
            "active": True,
            "anchorDayOfMonth": anchor,
        }
        if found.get("days_until_due") is not None:
            seen["daysUntilDue"] = found["days_until_due"]
        seen |= {name: inputs[name] for name in ("terms", "store") if inputs.get(name) is not None}  # of which Stripe knows nothing
        return Found(current, seen, self.outputs(seen, _computed(found)))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Cancel; what has ended already, or never began, is a success."""
        del ctx
        current = _current_id(id, outputs)
        path = f"/v1/customers/{current.removeprefix(_NONE)}" if current.startswith(_NONE) else f"{_PATH}/{current}"
        # Of a free plan only the time of the answer matters.
        found = await self._clients.stripe.get(path) if inputs.get("terms") or not current.startswith(_NONE) else None
        if found is not None and not current.startswith(_NONE) and found.get("status") not in _ENDED:
            await self._end(found)
        await note_terms(self._clients, inputs, created=(found or {}).get("created"), gone=True)

    async def _end(self, found: Props) -> None:
        """Mark that the end is ours, then cancel with an invoice of what was used; without that invoice the use would be lost."""
        stripe, path = self._clients.stripe, f"{_PATH}/{found['id']}"
        if (found.get("metadata") or {}).get(CANCELLED_BY) != _OURS:
            await stripe.post(path, {"metadata": {CANCELLED_BY: _OURS}})
        try:
            await stripe.delete(path, {"invoice_now": True})
        except VendorError as error:
            now = await stripe.get(path) if error.status == 400 else {"status": "unknown"}
            if now is not None and now.get("status") not in _ENDED:
                raise


def _live(ours: list[Props]) -> Props | None:
    living = [found for found in ours if found.get("status") not in _ENDED]
    return min(living, key=lambda found: (found.get("created") or 0, found["id"]), default=None)


def _entries(subscription: Props) -> list[Props]:
    return list((subscription.get("items") or {}).get("data") or [])


def _current_id(id: str, outputs: Props) -> str:  # noqa: A002
    """The id of the subscription that is meant now: a return after an end has another than the resource."""
    return str(outputs.get("subscriptionId") or id)


def _difference(found: Props, wanted: list[str], news: Props, olds: Props) -> Props:
    """The parameters that make the subscription as wished; empty when it is."""
    params: dict[str, Any] = {}
    there = {item["price"]["id"]: item["id"] for item in _entries(found)}
    items: list[Props] = [{"price": price} for price in wanted if price not in there]
    items += [{"id": item_id, "deleted": True} for price, item_id in there.items() if price not in wanted]
    if items:
        params["items"] = items
        # Stripe would count the use of a removed metered price now, before the last of it was seen, and round shares of a base by its own
        # rules. The close bills both exactly (docs/decisions/billing.md).
        params["proration_behavior"] = "none"
    if found.get("collection_method") not in {None, news["collectionMethod"]} or (
        news.get("daysUntilDue") is not None and found.get("days_until_due") != news["daysUntilDue"]
    ):
        params["collection_method"] = news["collectionMethod"]
        params["days_until_due"] = news.get("daysUntilDue")
    theirs = found.get("metadata") or {}
    metadata = {key: value for key, value in metadata_change(olds, news).items() if theirs.get(key, "") != value}
    if metadata:
        params["metadata"] = metadata
    return params


def _computed(found: Props) -> Props:
    ends = [item["current_period_end"] for item in _entries(found) if item.get("current_period_end")]
    end = max(ends, default=found.get("current_period_end"))
    return {"subscriptionId": found["id"], "status": found.get("status"), "currentPeriodEnd": end}
