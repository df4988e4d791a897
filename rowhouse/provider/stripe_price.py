"""Stripe prices. A price cannot change, so a new one takes over its lookup key, and the old one is archived.

Does: create with the lookup key moved, adopt by lookup key, rename. Does not: touch subscriptions that still use the old price; their own
update follows in the same apply.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.stripe_kit import create, idempotency_key, is_ours, metadata_change, metadata_rule, seen_metadata
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import CheckFailure, Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props
from rowhouse.wire.values import UNKNOWN, has_unknown

__all__ = ["Price"]

_PATH: Final = "/v1/prices"
_EXPAND: Final = ["tiers"]
_DECIMALS: Final = 12  # Stripe: up to 12 decimals in unit_amount_decimal (2026-10)


def _amount(value: Any) -> str | None:
    """What is wrong with an amount in minor units, given as text so that its digits are exact."""
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        number = None
    exponent = number.as_tuple().exponent if number is not None else None
    if number is None or not isinstance(exponent, int) or number < 0:
        return f"{value!r} is not an amount: a decimal in the currency's minor unit, as text, e.g. '500' or '0.25'."
    return None if -exponent <= _DECIMALS else f"'{value}' has more than {_DECIMALS} decimals, and Stripe takes no more."


def _tiers(value: list[Any]) -> str | None:
    if not value or not all(isinstance(tier, dict) for tier in value):
        return "tiers must be a list of maps with upTo and unitAmountDecimal."
    last = 0
    for index, tier in enumerate(value):
        unknown = sorted(set(tier) - {"upTo", "unitAmountDecimal", "flatAmountDecimal"})
        if unknown:
            return f"tiers[{index}] has no property '{unknown[0]}'. Properties: flatAmountDecimal, unitAmountDecimal, upTo."
        for name in ("unitAmountDecimal", "flatAmountDecimal"):
            if tier.get(name) is not None and (wrong := _amount(tier[name])):
                return f"tiers[{index}].{name}: {wrong}"
        if tier.get("unitAmountDecimal") is None and tier.get("flatAmountDecimal") is None:
            return f"tiers[{index}] has no amount: set unitAmountDecimal."
        up_to, is_last = tier.get("upTo"), index == len(value) - 1
        if is_last != (up_to == "inf"):
            return "the last tier, and only it, has upTo 'inf'."
        if not is_last:
            if not isinstance(up_to, int) or isinstance(up_to, bool) or up_to <= last:
                return f"tiers[{index}].upTo must be a whole number above {last}."
            last = up_to
    return None


def _one_of(*allowed: str) -> Any:
    return lambda value: None if value in allowed else f"'{value}' is not allowed. Allowed: {', '.join(allowed)}."


class Price(Declared):
    """A recurring Stripe price, found by its lookup key."""

    kind: ClassVar = "rowhouse:stripe:Price"
    fields: ClassVar = {
        "product": Field("string", required=True, change="replace", source="the rowhouse:stripe:Product"),
        "currency": Field("string", required=True, change="replace"),
        "unitAmountDecimal": Field("string", change="replace", rule=_amount),
        "tiers": Field("array", change="replace", rule=_tiers),
        "tiersMode": Field("string", change="replace", rule=_one_of("graduated", "volume")),
        "interval": Field("string", default="month", change="replace", rule=_one_of("day", "week", "month", "year")),
        "usageType": Field("string", default="licensed", change="replace", rule=_one_of("licensed", "metered")),
        "meter": Field("string", change="replace", source="the rowhouse:stripe:Meter"),
        "lookupKey": Field("string", required=True),
        "metadata": Field("object", default={}, rule=metadata_rule),
        "nickname": Field("string"),
    }
    computed: ClassVar = {"priceId": Computed()}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def rules(self, olds: Props, news: Props) -> list[CheckFailure]:
        """One way of pricing, and a meter for metered use."""
        del olds
        failures = []
        amount, tiers = news.get("unitAmountDecimal"), news.get("tiers")
        if (amount is None) == (tiers is None):
            failures.append(CheckFailure("unitAmountDecimal", "a price has either unitAmountDecimal or tiers."))
        if tiers is not None and news.get("tiersMode") is None:
            failures.append(CheckFailure("tiersMode", "'tiersMode' is required with tiers: graduated or volume."))
        if news["usageType"] == "metered" and news.get("meter") is None:
            text = (
                "a metered price needs a meter: 'meter' is not set, or the rowhouse:stripe:Meter failed in this run; mend that one first."
            )
            failures.append(CheckFailure("meter", text))
        if news["usageType"] == "licensed" and news.get("meter") is not None:
            failures.append(CheckFailure("meter", "only a metered price has a meter: set usageType 'metered'."))
        return failures

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """The active price of the lookup key when it is the same, else a new one that takes the key over."""
        stripe = self._clients.stripe
        params = _params(inputs)

        async def look() -> Props | None:
            query = {"lookup_keys": [inputs["lookupKey"]], "active": True, "expand": ["data.tiers"]}
            async for found in stripe.pages(_PATH, query):
                theirs = found.get("product")
                ours = is_ours(found, inputs["metadata"]) or theirs == inputs["product"]
                if not ours:
                    raise Refused(
                        f"the lookup key '{inputs['lookupKey']}' belongs to Stripe's price {found['id']} of product '{theirs}', which was "
                        f"not made by this stack. Choose another key for {ctx.name}, or archive that price."
                    )
                if _shape(_observed(found)) == _shape(inputs):
                    return found
            return None

        key = idempotency_key(ctx, "price", params)
        price, _ = await create(ctx, stripe, _PATH, params, key=key, look=look, alive=lambda found: bool(found.get("active")))
        if (price.get("metadata") or {}) != inputs["metadata"] or (price.get("nickname") or None) != inputs.get("nickname"):
            gone = dict.fromkeys(price.get("metadata") or {}, "")
            metadata = {**gone, **inputs["metadata"]}
            await stripe.post(f"{_PATH}/{price['id']}", {"metadata": metadata, "nickname": inputs.get("nickname") or ""})
        return price["id"], {"priceId": price["id"]}

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Lookup key, metadata and nickname: all that Stripe lets change."""
        del ctx, old_outputs
        params = {
            "active": True,
            "lookup_key": news["lookupKey"],
            "transfer_lookup_key": True,
            "metadata": metadata_change(old_inputs, news),
            "nickname": news.get("nickname") or "",
        }
        await self._clients.stripe.post(f"{_PATH}/{id}", params)
        return {"priceId": id}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By id; an archived price is gone."""
        del ctx, outputs
        found = await self._clients.stripe.get(f"{_PATH}/{id}", {"expand": _EXPAND})
        if found is None or not found.get("active"):
            return None
        seen = _observed(found)
        seen["metadata"] = seen_metadata(found, (inputs.get("metadata") or {}) if inputs else None)
        for name in ("unitAmountDecimal", "tiers"):
            # Stripe writes 500 where we wrote 500.0; the same amount is not a difference.
            if inputs.get(name) is not None and _shape({name: inputs[name]}) == _shape({name: seen.get(name)}):
                seen[name] = inputs[name]
        return Found(id, seen, self.outputs(seen, {"priceId": id}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Archive; Stripe deletes no price."""
        del ctx, inputs, outputs
        try:
            await self._clients.stripe.post(f"{_PATH}/{id}", {"active": False})
        except VendorError as error:
            if error.status != 404 and error.code != "resource_missing":
                raise


def _params(inputs: Props) -> Props:
    recurring: dict[str, Any] = {"interval": inputs["interval"], "usage_type": inputs["usageType"]}
    if inputs.get("meter"):
        recurring["meter"] = inputs["meter"]
    params: dict[str, Any] = {
        "product": inputs["product"],
        "currency": inputs["currency"],
        "recurring": recurring,
        "lookup_key": inputs["lookupKey"],
        "transfer_lookup_key": True,
        "metadata": inputs["metadata"],
        "nickname": inputs.get("nickname"),
    }
    if inputs.get("tiers"):
        params["billing_scheme"] = "tiered"
        params["tiers_mode"] = inputs["tiersMode"]
        params["tiers"] = [
            {
                "up_to": tier["upTo"],
                "unit_amount_decimal": tier.get("unitAmountDecimal"),
                "flat_amount_decimal": tier.get("flatAmountDecimal"),
            }
            for tier in inputs["tiers"]
        ]
    else:
        params["unit_amount_decimal"] = inputs["unitAmountDecimal"]
    return params


def _observed(price: Props) -> Props:
    """A price of Stripe's as inputs, without metadata."""
    recurring = price.get("recurring") or {}
    seen: dict[str, Any] = {
        "product": price["product"] if isinstance(price["product"], str) else price["product"]["id"],
        "currency": price["currency"],
        "interval": recurring.get("interval", "month"),
        "usageType": recurring.get("usage_type", "licensed"),
        "lookupKey": price.get("lookup_key"),
        "meter": recurring.get("meter"),
        "nickname": price.get("nickname"),
    }
    if price.get("tiers"):
        seen["tiersMode"] = price.get("tiers_mode")
        seen["tiers"] = [_tier(tier) for tier in price["tiers"]]
    else:
        seen["unitAmountDecimal"] = str(price.get("unit_amount_decimal") or price.get("unit_amount") or "0")
    return {name: value for name, value in seen.items() if value is not None}


def _tier(tier: Props) -> Props:
    up_to = tier.get("up_to")
    made: dict[str, Any] = {"upTo": "inf" if up_to is None else up_to}
    for name, key in (("unitAmountDecimal", "unit_amount"), ("flatAmountDecimal", "flat_amount")):
        value = tier.get(f"{key}_decimal")
        value = tier.get(key) if value is None else value
        if value is not None:
            made[name] = str(value)
    return made


def _shape(inputs: Props) -> tuple[Any, ...]:
    """What cannot change about a price, with amounts as numbers, for comparing."""

    def number(text: Any) -> Any:
        return None if text is None or text is UNKNOWN or has_unknown(text) else Decimal(str(text))

    tiers = [
        (tier.get("upTo"), number(tier.get("unitAmountDecimal")) or Decimal(0), number(tier.get("flatAmountDecimal")) or Decimal(0))
        for tier in inputs.get("tiers") or []
    ]
    plain = tuple(inputs.get(name) for name in ("product", "currency", "tiersMode", "interval", "usageType", "meter"))
    return (*plain, number(inputs.get("unitAmountDecimal")), tiers)
