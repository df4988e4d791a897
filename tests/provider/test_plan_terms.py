"""A plan's terms are noted when Stripe has accepted what they say, with Stripe's own time."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rowhouse.vendors.store import Blob, Store, StoreError, open_store
from tests.provider.billing_host import MemoryStripe, engine_on_stripe
from tests.provider.hosts import run
from tests.provider.support import Engine, Failed, pb

MARKS = {"managed-by": "rowhouse", "project": "shop", "stack": "dev", "tenant": "acme"}
KIND = "rowhouse:stripe:"
NOON = 1_795_262_400


def terms(price: str = "20", state: str = "active") -> str:
    return json.dumps({"cell": "main", "tenant": "acme", "state": state, "plan": {"name": "pro", "price": price}})


class DatedStripe(MemoryStripe):
    """Says in each answer when it was sent: a second later each time."""

    seconds = NOON

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seconds += 1
        answer = await super().handle_async_request(request)
        answer.headers["date"] = format_datetime(datetime.fromtimestamp(self.seconds, tz=UTC), usegmt=True)
        return answer


class BrokenStore:
    """Every write fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.broken = True

    def get(self, key: str) -> Blob | None:
        return self.store.get(key)

    def list(self, prefix: str) -> list[tuple[str, str]]:
        return self.store.list(prefix)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        if self.broken:
            raise StoreError("the store is full. Make room.")
        return self.store.put(key, data, if_none_match=if_none_match, if_match=if_match)


class HangingStore(BrokenStore):
    """Every write hangs until it is let go, and then does not happen."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.writing, self.let_go = threading.Event(), threading.Event()

    def put(self, key: str, data: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        self.writing.set()
        self.let_go.wait(20)
        raise StoreError("hung up")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


def noted(store: Store) -> list[dict[str, Any]]:
    found = []
    for key, _ in store.list("intake/plans/acme/"):
        blob = store.get(key)
        assert blob is not None
        found.append(json.loads(blob.data))
        assert key.startswith(f"intake/plans/acme/{found[-1]['at']}-")
    return found


async def price_of(engine: Engine) -> str:
    await engine.up(KIND + "Product", "product", {"productId": "shop-pro", "name": "Pro", "metadata": MARKS})
    price = {"product": "shop-pro", "currency": "usd", "unitAmountDecimal": "500", "lookupKey": "shop-pro-base", "metadata": MARKS}
    await engine.up(KIND + "Price", "base", price)
    return engine.resources["base"].outputs["priceId"]


async def subscribe(engine: Engine, said: str, *, active: bool = True) -> None:
    customer = {"name": "Acme", "email": "ops@acme.example", "metadata": MARKS}
    await engine.up(KIND + "Customer", "customer", customer)
    items = [{"price": await price_of(engine)}] if active else []
    wanted = {"collectionMethod": "send_invoice", "daysUntilDue": 14, "metadata": MARKS, "items": items, "active": active, "terms": said}
    await engine.up(KIND + "Subscription", "subscription", {**wanted, "customer": engine.resources["customer"].outputs["customerId"]})


def test_terms_are_noted_once_with_the_time_of_stripes_answer(store: Store) -> None:
    async def body() -> None:
        host = DatedStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms())
            assert [(note["at"], note["state"], note["plan"]["price"]) for note in noted(store)] == [(host.seconds * 1000, "active", "20")]
            await subscribe(engine, terms())
            assert len(noted(store)) == 1

    run(body)


def test_a_change_of_terms_alone_asks_stripe_once_and_is_noted(store: Store) -> None:
    async def body() -> None:
        host = DatedStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms())
            host.calls.clear()
            await subscribe(engine, terms("25"))
            assert [call.split("/")[0:3] for call in host.calls] == [["GET ", "v1", "subscriptions"]]
            assert [note["plan"]["price"] for note in noted(store)] == ["20", "25"]
            assert noted(store)[-1]["at"] == host.seconds * 1000

    run(body)


def test_a_free_plan_is_noted_too_and_a_change_of_it_costs_one_look(store: Store) -> None:
    async def body() -> None:
        host = DatedStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms("0"), active=False)
            assert [call for call in host.calls if "subscriptions" in call] == []
            host.calls.clear()
            await subscribe(engine, terms("0", "suspended"), active=False)
            assert len(host.calls) == 1
            assert [(note["state"], note["at"] // 1000 > NOON) for note in noted(store)] == [("active", True), ("suspended", True)]

    run(body)


@pytest.mark.parametrize("active", [True, False])
def test_a_tenant_whose_file_is_gone_is_noted_as_gone(store: Store, active: bool) -> None:
    async def body() -> None:
        host = DatedStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms(), active=active)
            await engine.delete("subscription")
            assert [note["state"] for note in noted(store)] == ["active", "gone"]
            assert noted(store)[-1]["at"] == host.seconds * 1000

    run(body)


def test_what_stripe_refuses_is_not_noted(store: Store) -> None:
    async def body() -> None:
        host = DatedStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms())
            host.objects["subscriptions"]["sub_4"]["status"] = "canceled"
            with pytest.raises(Failed, match="cancelled at Stripe"):
                await subscribe(engine, terms("25"))
            assert [note["plan"]["price"] for note in noted(store)] == ["20"]

    run(body)


@pytest.mark.parametrize("fault", ["killed before", "killed after", "lost", "down", "down after"])
def test_whatever_call_goes_wrong_the_terms_are_noted_in_the_end(store: Store, fault: str) -> None:
    async def body() -> None:
        asked = 1
        for number in range(20):
            host, state = DatedStripe(), {}
            host.strike = (number, fault)
            for _ in range(4):
                async with engine_on_stripe(host, state, store) as engine:
                    try:
                        await subscribe(engine, terms())
                        state = engine.resources
                        break
                    except Failed:
                        state = engine.resources
            notes = noted(store)
            assert {(note["state"], note["plan"]["price"]) for note in notes} == {("active", "20")}
            assert len(host.objects["subscriptions"]) == 1
            for key, _ in store.list("intake/"):
                store.delete(key)
            asked = len(host.calls)
            if number > asked:
                break
        assert asked > 3

    run(body)


def test_a_store_that_fails_keeps_the_subscription_and_the_next_run_notes_it(store: Store) -> None:
    async def body() -> None:
        host = DatedStripe()
        broken = BrokenStore(store)
        async with engine_on_stripe(host, {}, broken) as engine:
            with pytest.raises(Failed, match="Make room") as caught:
                await subscribe(engine, terms())
            assert caught.value.partial is not None
            assert noted(store) == []
            broken.broken = False
            await subscribe(engine, terms())
            assert [note["plan"]["price"] for note in noted(store)] == ["20"]
            assert len(host.objects["subscriptions"]) == 1

    run(body)


def test_cancelled_while_the_store_is_written_the_terms_are_still_to_be_noted_after_a_refresh(store: Store) -> None:
    async def body() -> None:
        host, hanging = DatedStripe(), HangingStore(store)
        async with engine_on_stripe(host, {}, hanging) as engine:
            applying = asyncio.create_task(subscribe(engine, terms()))
            assert await asyncio.to_thread(hanging.writing.wait, 20)
            await engine.stub.Cancel(pb.google_dot_protobuf_dot_empty__pb2.Empty())
            with pytest.raises(Failed, match="cancelled") as caught:
                await applying
            hanging.let_go.set()
            assert caught.value.partial is not None
            state = engine.resources
        async with engine_on_stripe(host, state, store) as engine:
            assert await engine.refresh("subscription")
            await subscribe(engine, terms())
            assert [note["plan"]["price"] for note in noted(store)] == ["20"]
            assert len(host.objects["subscriptions"]) == 1

    run(body)


@pytest.mark.parametrize(
    "wrong",
    ["no json", "[]", "{}", '{"cell":"","tenant":"acme","state":"active","plan":{}}', '{"cell":"m","tenant":"a","state":"b","plan":1}'],
)
def test_terms_that_could_not_be_read_later_are_refused_at_once(wrong: str) -> None:
    async def body() -> None:
        async with engine_on_stripe(DatedStripe(), {}) as engine:
            news = {"customer": "cus_1", "items": [], "active": False, "terms": wrong}
            _, failures = await engine.check(KIND + "Subscription", "subscription", news)
            assert list(failures) == ["terms"]

    run(body)


def test_without_any_time_from_stripe_the_objects_own_is_taken(store: Store) -> None:
    async def body() -> None:
        host = MemoryStripe()
        async with engine_on_stripe(host, {}, store) as engine:
            await subscribe(engine, terms())
            assert [note["at"] for note in noted(store)] == [next(iter(host.objects["subscriptions"].values()))["created"] * 1000]

    run(body)
