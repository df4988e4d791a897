"""Whatever is asked, Stripe's stand-in answers in Stripe's form and never breaks."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.stripe_schema import Amount, Arr, Bool, Enum, Int, Kind, Map, Metadata, Obj, Range, Str, Unsupported
from rowhouse.localcloud.stripe_vendor import StripeVendor
from tests.localcloud.stripe_support import KEY, START

ODD = ["", "x", "0", "-1", "1", "99999999999999999", "1e5", "NaN", "true", "inf", "usd", "☃", "x" * 600, "a'b\"c", "metadata['a']:'b'"]


def value(kind: Kind, pool: list[str], dice: random.Random, hint: str = "") -> Any:
    """Mostly sensible, sometimes odd."""
    if dice.random() < 0.08:
        return dice.choice(ODD)
    match kind:
        case Bool():
            return dice.choice(["true", "false"])
        case Int():
            return str(dice.choice([1, 2, 3, 10, 100, int(START.timestamp()) + 60, int(START.timestamp()) + 90000, *kind.words]))
        case Amount():
            return dice.choice(["1", "0.5", "100.25"])
        case Enum():
            return dice.choice(kind.words)
        case Obj():
            return {
                name: value(below, pool, dice, name)
                for name, below in kind.table.items()
                if below.required or (not isinstance(below, Unsupported) and dice.random() < 0.2)
            }
        case Arr():
            return [value(kind.item, pool, dice, hint) for _ in range(dice.randint(1, 3))]
        case Metadata() | Map():
            return {dice.choice(["a", "tenant", "value", "stripe_customer_id"]): dice.choice([*pool, "1", ""])}
        case Range():
            return {"gte": "1"}
        case Str():
            fitting = [one for one in pool if one.startswith(PREFIXES.get(hint, "none"))]
            if fitting and dice.random() < 0.9:
                return dice.choice(fitting)
            return dice.choice([*pool, "usd", "hours", "k1", "pm_card_visa"])
        case _:
            return "x"


PREFIXES = {
    "customer": "cus_",
    "price": "price_",
    "subscription": "sub_",
    "invoice": "in_",
    "meter": "mtr_",
    "product": "plan",
    "test_clock": "clock_",
    "/v1/customers": "cus_",
    "/v1/products": "plan",
    "/v1/prices": "price_",
    "/v1/billing": "mtr_",
    "/v1/subscriptions": "sub_",
    "/v1/subscription_items": "si_",
    "/v1/invoices": "in_",
    "/v1/invoiceitems": "ii_",
    "/v1/test_helpers": "clock_",
    "/v1/events": "evt_",
}


def flat(tree: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(tree, dict):
        return [pair for key, below in tree.items() for pair in flat(below, f"{name}[{key}]" if name else key)]
    if isinstance(tree, list):
        return [pair for index, below in enumerate(tree) for pair in flat(below, f"{name}[{index}]")]
    return [(name, str(tree))]


@pytest.mark.parametrize("seed", range(6))
def test_a_thousand_random_requests_get_stripes_answers(seed: int) -> None:
    async def main() -> None:
        dice = random.Random(seed)
        clock = Clock(START)
        vendor = StripeVendor(clock, limits=False, search_lag_s=0)
        endpoints, pool, good = vendor.endpoints(), ["acme"], set()
        pool += [await first(vendor, path, data) for path, data in SEEDS]
        for card, price in ((1, 4), (1, 5), (2, 5)):
            data = {"customer": pool[card + 1], "items[0][price]": pool[price + 1]}
            more = {} if card == 1 else {"collection_method": "send_invoice", "days_until_due": "3"}
            pool.append(await first(vendor, "/v1/subscriptions", {**data, **more}))
        transport = httpx.ASGITransport(app=vendor.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://stripe", headers={"Authorization": f"Bearer {KEY}"}) as http:
            for _ in range(1000):
                endpoint = dice.choice(endpoints)
                if (endpoint.method == "DELETE" or endpoint.path.endswith("deactivate")) and dice.random() < 0.8:
                    continue  # or soon nothing is left to ask about
                params = {
                    name: value(kind, pool, dice, name)
                    for name, kind in endpoint.table.items()
                    if kind.required or (not isinstance(kind, Unsupported) and dice.random() < 0.12)
                }
                form = urlencode(flat(params, ""))
                fitting = [one for one in pool if one.startswith(PREFIXES.get("/".join(endpoint.path.split("/")[:3]), "none"))]
                path = endpoint.path.replace("{id}", dice.choice(fitting or pool))
                asked = (
                    {"content": form, "headers": {"Content-Type": "application/x-www-form-urlencoded"}} if endpoint.method == "POST" else {}
                )
                url = path if endpoint.method == "POST" else f"{path}?{form}"
                answer = await http.request(endpoint.method, url, **asked)
                body = answer.json()
                assert answer.status_code in {200, 400, 402, 404}, (endpoint.path, params, answer.text)
                assert ("error" in body) == (answer.status_code != 200)
                if answer.status_code == 200:
                    good.add((endpoint.method, endpoint.path))
                    if "id" in body and len(pool) < 60:
                        pool.append(body["id"])
                if dice.random() < 0.03:
                    await clock.advance(dice.choice([60, 86400, 40 * 86400]))
        assert len(good) > len(endpoints) * 0.45, "too few requests were sensible for this to say much"

    asyncio.run(main())


SEEDS = [
    ("/v1/test_helpers/test_clocks", {"frozen_time": str(int(START.timestamp()))}),
    ("/v1/customers", {"email": "a@b.example", "payment_method": "pm_card_visa"}),
    ("/v1/customers", {"email": "c@d.example"}),
    ("/v1/products", {"id": "plan", "name": "Plan"}),
    ("/v1/prices", {"product": "plan", "currency": "usd", "unit_amount": "100", "recurring[interval]": "month", "lookup_key": "k1"}),
    ("/v1/prices", {"product": "plan", "currency": "usd", "unit_amount": "300", "recurring[interval]": "month"}),
    ("/v1/billing/meters", {"display_name": "H", "event_name": "hours", "default_aggregation[formula]": "sum"}),
]


async def first(vendor: StripeVendor, path: str, data: dict[str, str]) -> str:
    transport = httpx.ASGITransport(app=vendor.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://stripe", headers={"Authorization": f"Bearer {KEY}"}) as http:
        return (await http.post(path, data=data)).json()["id"]
