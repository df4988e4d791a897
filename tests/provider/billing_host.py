"""A small Stripe in memory: ids, lists, lookup keys, idempotency with replay; and one call that goes wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import httpx

from rowhouse.provider.clients import Clients
from rowhouse.provider.plugin import Rowhouse
from rowhouse.vendors.store import Store
from tests.provider.hosts import Killed
from tests.provider.support import Engine, engine_for

KEY = "sk_test_planted4242"
PREFIX = {"customers": "cus", "products": "prod", "prices": "price", "subscriptions": "sub", "meters": "mtr"}


def unflatten(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`items[0][price]=x` back to nested maps; lists stay maps by index."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        keys = re.findall(r"[^\[\]]+", name)
        place = made
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
    return made


def refusal(message: str, code: str = "", status: int = 400) -> httpx.Response:
    error = {"type": "invalid_request_error", "message": message, **({"code": code} if code else {})}
    return httpx.Response(status, json={"error": error}, headers={"request-id": "req_1"})


class MemoryStripe(httpx.AsyncBaseTransport):
    """What Stripe keeps, and what it was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in PREFIX}
        self.answers: dict[str, tuple[str, int, bytes]] = {}
        self.calls: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self.numbers = itertools.count(1)
        self.strike: tuple[int, str] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = len(self.calls)
        self.calls.append(f"{request.method} {request.url.path}")
        fault = self.strike[1] if self.strike and self.strike[0] == number else ""
        if fault == "killed before":
            raise Killed
        if fault == "rate":
            return httpx.Response(429, json={"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "slow"}})
        if fault == "down":
            return httpx.Response(500, json={"error": {"type": "api_error", "message": "sorry"}})
        assert request.headers["authorization"] == f"Bearer {KEY}"
        answer = self.keyed(request)
        if fault == "down after":
            self.remember(request, 500, b'{"error":{"type":"api_error","message":"sorry"}}')
            return httpx.Response(500, json={"error": {"type": "api_error", "message": "sorry"}})
        if fault == "killed after":
            raise Killed
        if fault == "lost":
            raise httpx.ReadError("lost")
        return answer

    def remember(self, request: httpx.Request, status: int, body: bytes) -> None:
        key = request.headers.get("idempotency-key")
        if key:
            self.answers[key] = (request.content.decode(), status, body)

    def keyed(self, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        if key in self.answers:
            params, status, body = self.answers[key]
            if params != request.content.decode():
                return refusal("Keys for idempotent requests can only be used with the same parameters", "", 400)
            return httpx.Response(status, content=body, headers={"idempotent-replayed": "true"})
        answer = self.answer(request)
        if answer.status_code < 400:
            self.remember(request, answer.status_code, answer.content)
        return answer

    def answer(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.removeprefix("/v1/").removeprefix("billing/").split("/")
        kind, table = parts[0], self.objects[parts[0]]
        params = unflatten(parse_qsl(request.content.decode() or request.url.query.decode(), keep_blank_values=True))
        self.forms.append(params)
        if len(parts) == 1:
            return self.list(kind, params) if request.method == "GET" else self.create(kind, params)
        found = table.get(parts[1])
        if found is None:
            return refusal(f"No such {kind}: '{parts[1]}'", "resource_missing", 404)
        if len(parts) == 3:
            found["status"] = {"deactivate": "inactive", "reactivate": "active"}[parts[2]]
        elif request.method == "POST":
            refused = self.change(kind, found, params)
            if refused:
                return refused
        elif request.method == "DELETE":
            if kind == "products" and any(p["product"] == found["id"] for p in self.objects["prices"].values()):
                return refusal("This product cannot be deleted because it has one or more user-created prices.")
            if kind == "subscriptions":
                found["status"], found["invoiced"] = "canceled", params.get("invoice_now") == "true"
            elif kind == "customers":
                table[parts[1]] = {"id": parts[1], "deleted": True}
            else:
                del table[parts[1]]
        return httpx.Response(200, json=self.shown(found))

    def shown(self, found: dict[str, Any]) -> dict[str, Any]:
        return json.loads(json.dumps(found))

    def list(self, kind: str, params: dict[str, Any]) -> httpx.Response:
        found = [o for o in self.objects[kind].values() if not o.get("deleted")]
        for name in ("email", "customer"):
            found = [o for o in found if name not in params or o.get(name) == params[name]]
        if "lookup_keys" in params:
            found = [o for o in found if o.get("lookup_key") in params["lookup_keys"].values() and o["active"]]
        ids = [o["id"] for o in found]
        start = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
        page = found[start : start + 2]  # small pages, so that paging is always in play
        return httpx.Response(200, json={"data": [self.shown(o) for o in page], "has_more": len(found) > start + 2})

    def create(self, kind: str, params: dict[str, Any]) -> httpx.Response:
        number = next(self.numbers)
        made: dict[str, Any] = {"id": params.pop("id", f"{PREFIX[kind]}_{number}"), "active": True, "metadata": {}, **params}
        if made["id"] in self.objects[kind]:
            return refusal("Product already exists.", "resource_already_exists")
        if kind in {"subscriptions", "meters"}:
            made["status"] = "active"
            made["created"] = number
        if kind == "meters" and any(m["event_name"] == made["event_name"] and m["status"] == "active" for m in self.objects[kind].values()):
            return refusal("There is already an active meter with this event name")
        if kind == "subscriptions":
            made["billing_cycle_anchor_config"] = {k: int(v) for k, v in params["billing_cycle_anchor_config"].items()}
            made["items"] = {"data": []}
            self.change(kind, made, {"items": params["items"]})
            made["days_until_due"] = int(params["days_until_due"]) if "days_until_due" in params else None
        if kind == "prices":
            made["recurring"] = params["recurring"]
            if "tiers" in params:
                made["tiers"] = [{**t, "up_to": None if t["up_to"] == "inf" else int(t["up_to"])} for t in params["tiers"].values()]
            refused = self.move_key(made)
            if refused:
                return refused
        self.objects[kind][made["id"]] = made
        return httpx.Response(200, json=self.shown(made))

    def move_key(self, price: dict[str, Any]) -> httpx.Response | None:
        transfer = price.pop("transfer_lookup_key", None) == "true"
        for other in self.objects["prices"].values():
            if other is not price and other.get("lookup_key") == price.get("lookup_key") and other["active"]:
                if not transfer:
                    return refusal("A price already uses that lookup key.")
                other["lookup_key"] = None
        return None

    def change(self, kind: str, found: dict[str, Any], params: dict[str, Any]) -> httpx.Response | None:
        for key, value in params.pop("metadata", {}).items():
            found["metadata"] = {**found["metadata"], key: value}
            if value == "":
                del found["metadata"][key]
        if kind == "subscriptions":
            if found["status"] == "canceled":
                return refusal("A canceled subscription can only update its cancellation_details and metadata.") if params else None
            for item in params.pop("items", {}).values():
                data = found["items"]["data"]
                if item.get("deleted") == "true":
                    found["items"]["data"] = [i for i in data if i["id"] != item["id"]]
                elif any(i["price"]["id"] == item["price"] for i in data):
                    return refusal("duplicate price")
                else:
                    price = self.objects["prices"].get(item["price"], {})
                    shown = {"id": item["price"], "lookup_key": price.get("lookup_key")}
                    data.append({"id": f"si_{next(self.numbers)}", "price": shown, "current_period_end": 1_800_000_000})
            if "days_until_due" in params:
                found["days_until_due"] = int(params.pop("days_until_due"))
        if kind == "prices" and set(params) - {"active", "lookup_key", "transfer_lookup_key", "nickname"}:
            return refusal("a price cannot change")
        if params.get("active") in {"true", "false"}:
            params["active"] = params["active"] == "true"
        found.update({k: v for k, v in params.items() if v != ""})
        return self.move_key(found) if kind == "prices" else None

    def alive(self, kind: str) -> list[dict[str, Any]]:
        """Objects that are not deleted, archived or ended."""
        return [
            o
            for o in self.objects[kind].values()
            if not o.get("deleted") and o.get("active", True) and o.get("status") not in {"canceled", "inactive"}
        ]


@contextlib.asynccontextmanager
async def engine_on_stripe(host: MemoryStripe, state: dict[str, Any] | None = None, store: Store | None = None) -> AsyncIterator[Engine]:
    """An engine with a fresh plugin in front of this Stripe."""
    clients = Clients({"STRIPE_API_KEY": KEY, "ROWHOUSE_STRIPE_BASE_URL": "http://stripe.test"}, stripe_transport=host, store=store)

    async def nap(_: float) -> None:
        return None

    clients.stripe.http.sleep = nap
    clients.stripe.http.buckets._sleep = nap
    async with engine_for(Rowhouse(clients)) as engine:
        if state is not None:
            engine.resources = state
        yield engine
