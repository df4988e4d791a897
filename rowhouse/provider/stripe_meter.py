"""Stripe meters: what usage is counted under. They cannot be deleted, only deactivated.

Does: adopt by event name (reactivating), rename. Does not: change how it counts; that is another meter.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.stripe_kit import create, idempotency_key
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["Meter"]

_PATH: Final = "/v1/billing/meters"
_FORMULAS: Final = ("last", "sum", "count")


def _short(limit: int) -> Any:
    return lambda value: None if 1 <= len(value) <= limit else f"it must have 1 to {limit} characters, and has {len(value)}."


def _formula(value: str) -> str | None:
    return None if value in _FORMULAS else f"'{value}' is not an aggregation of Stripe's. Aggregations: {', '.join(_FORMULAS)}."


class Meter(Declared):
    """A Stripe billing meter."""

    kind: ClassVar = "rowhouse:stripe:Meter"
    fields: ClassVar = {
        "eventName": Field("string", required=True, change="replace", rule=_short(100)),
        "displayName": Field("string", required=True, rule=_short(250)),
        "customerKey": Field("string", default="stripe_customer_id", change="replace"),
        "valueKey": Field("string", default="value", change="replace"),
        "aggregation": Field("string", default="last", change="replace", rule=_formula),
    }
    computed: ClassVar = {"meterId": Computed()}
    delete_before_replace: ClassVar = True  # one active meter for each event name

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """The active meter of that event name, an inactive one of the same kind reactivated, or a new one."""
        stripe = self._clients.stripe
        params = {
            "display_name": inputs["displayName"],
            "event_name": inputs["eventName"],
            "default_aggregation": {"formula": inputs["aggregation"]},
            "customer_mapping": {"type": "by_id", "event_payload_key": inputs["customerKey"]},
            "value_settings": {"event_payload_key": inputs["valueKey"]},
        }

        async def look() -> Props | None:
            named = [meter async for meter in stripe.pages(_PATH) if meter.get("event_name") == inputs["eventName"]]
            active = next((meter for meter in named if meter.get("status") == "active"), None)
            if active is not None:
                if _settings(active) != _settings_of(inputs):
                    raise Refused(
                        f"Stripe has an active meter for the event '{inputs['eventName']}' that counts in another way "
                        f"({active['id']}: {_settings(active)}). Deactivate it, or choose another eventName for {ctx.name}."
                    )
                return active
            same = next((meter for meter in named if _settings(meter) == _settings_of(inputs)), None)
            return await stripe.post(f"{_PATH}/{same['id']}/reactivate", {}) if same is not None else None

        key = idempotency_key(ctx, "meter", params)
        meter, _ = await create(ctx, stripe, _PATH, params, key=key, look=look, alive=lambda found: found.get("status") == "active")
        await self._name(meter, inputs)
        return meter["id"], {"meterId": meter["id"]}

    async def _name(self, meter: Props, inputs: Props) -> None:
        if meter.get("display_name") != inputs["displayName"]:
            await self._clients.stripe.post(f"{_PATH}/{meter['id']}", {"display_name": inputs["displayName"]})

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Its display name is all that can change."""
        del ctx, old_inputs, old_outputs
        await self._clients.stripe.post(f"{_PATH}/{id}", {"display_name": news["displayName"]})
        return {"meterId": id}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By id; a deactivated meter is gone."""
        del ctx, inputs, outputs
        found = await self._clients.stripe.get(f"{_PATH}/{id}")
        if found is None or found.get("status") != "active":
            return None
        customer_key, value_key, formula = _settings(found)
        seen = {
            "eventName": found["event_name"],
            "displayName": found["display_name"],
            "customerKey": customer_key,
            "valueKey": value_key,
            "aggregation": formula,
        }
        return Found(id, seen, self.outputs(seen, {"meterId": id}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Deactivate; Stripe deletes no meter."""
        del ctx, inputs, outputs
        try:
            await self._clients.stripe.post(f"{_PATH}/{id}/deactivate", {})
        except VendorError as error:
            if error.status == 404 or error.code == "resource_missing":
                return
            found = await self._clients.stripe.get(f"{_PATH}/{id}") if error.status == 400 else {"status": "active"}
            if found is not None and found.get("status") == "active":
                raise


def _settings(meter: Props) -> tuple[str, str, str]:
    return (
        (meter.get("customer_mapping") or {}).get("event_payload_key", "stripe_customer_id"),
        (meter.get("value_settings") or {}).get("event_payload_key", "value"),
        (meter.get("default_aggregation") or {}).get("formula", ""),
    )


def _settings_of(inputs: Props) -> tuple[str, str, str]:
    return inputs["customerKey"], inputs["valueKey"], inputs["aggregation"]
