"""The same objects against the local cloud's Stripe, which refuses what Stripe refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.stripe_vendor import StripeVendor
from tests.provider.billing_host import KEY, engine_on_stripe
from tests.provider.hosts import Killed, run
from tests.provider.support import Failed
from tests.provider.test_stripe_objects import FAULTS, KIND, base_price, down, up


class LoopbackStripe(httpx.AsyncBaseTransport):
    """The way to the stand-in; one call may go wrong."""

    def __init__(self) -> None:
        self.vendor = StripeVendor(Clock(), api_key=KEY, limits=False)
        self.inner = httpx.ASGITransport(app=self.vendor.app)
        self.calls: list[str] = []
        self.refusals: list[str] = []
        self.strike: tuple[int, str] = (-1, "")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self.strike[1] if self.strike[0] == len(self.calls) else ""
        self.calls.append(f"{request.method} {request.url.path}")
        if fault == "killed before":
            raise Killed
        if fault == "rate":
            return httpx.Response(429, json={"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "slow"}})
        if fault == "down":
            return httpx.Response(500, json={"error": {"type": "api_error", "message": "sorry"}})
        answer = await self.inner.handle_async_request(request)
        await answer.aread()
        if answer.status_code >= 400:
            self.refusals.append(f"{self.calls[-1]} {answer.status_code} {answer.text}")
        if fault == "down after":
            return httpx.Response(500, json={"error": {"type": "api_error", "message": "sorry"}})
        if fault == "killed after":
            raise Killed
        if fault == "lost":
            raise httpx.ReadError("lost")
        return answer

    def counts(self) -> dict[str, int]:
        """Objects that are not deleted, archived or ended."""
        kinds = self.vendor.dump()
        found = {}
        for name in ("customer", "product", "price", "subscription", "billing.meter"):
            objects = next((kinds[kind] for kind in (name, f"{name}s") if kind in kinds), [])
            alive = [o for o in objects if not o.get("deleted") and o.get("active", True)]
            found[name] = len([o for o in alive if o.get("status") not in {"canceled", "inactive"}])
        return found


WHOLE = {"customer": 1, "product": 1, "price": 2, "subscription": 1, "billing.meter": 1}


async def until_done(host: LoopbackStripe, state: dict[str, Any], work: Any) -> None:
    last: Failed | None = None
    for _ in range(5):
        before = set(state)
        async with engine_on_stripe(host, state) as engine:  # type: ignore[arg-type]
            try:
                await work(engine)
            except Failed as error:
                last = error
                if "Killed" in error.text:
                    for name in set(state) - before:
                        if error.partial and state[name].id == error.partial["id"]:
                            del state[name]
                continue
        return
    raise AssertionError(f"never done: {last}")


def test_made_unchanged_found_by_id_changed_and_removed_three_times_over() -> None:
    async def body() -> None:
        host = LoopbackStripe()
        for _ in range(3):
            async with engine_on_stripe(host) as engine:  # type: ignore[arg-type]
                await up(engine)
                assert host.counts() == WHOLE
                host.calls.clear()
                await up(engine)
                assert host.calls == []
                for name, kept in list(engine.resources.items()):
                    found = await engine.read(kept.type, name, kept.id)
                    assert found is not None
                    assert dict((await engine.diff(found, kept.inputs)).detailedDiff) == {}, name
                    before = (kept.inputs, kept.outputs)
                    assert await engine.refresh(name)
                    assert (engine.resources[name].inputs, engine.resources[name].outputs) == before
                assert await engine.up(KIND + "Price", "base", base_price("700")) == "replace"
                await up(engine, "700")
                assert host.counts() == WHOLE
                wish = dict(engine.resources["subscription"].inputs)
                await engine.up(KIND + "Subscription", "subscription", {**wish, "active": False})
                await engine.up(KIND + "Subscription", "subscription", wish)
                assert host.counts() == WHOLE
                await down(engine)
                assert host.counts() == dict.fromkeys(WHOLE, 0)

    run(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_call_goes_wrong_the_end_is_the_same(fault: str) -> None:
    async def body() -> None:
        number = 0
        while True:
            host, state = LoopbackStripe(), {}
            host.strike = (number, fault)
            await until_done(host, state, up)
            assert host.counts() == WHOLE, (number, host.calls)
            if len(host.calls) <= number:
                break
            host.strike = (-1, "")
            await until_done(host, state, down)
            assert host.counts() == dict.fromkeys(WHOLE, 0), number
            number += 1
        assert number > 8

    run(body)
