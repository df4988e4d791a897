"""Stripe's client: form encoding, pages, keys, and when a request is repeated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.vendors.http import MissingToken, VendorError
from rowhouse.vendors.stripe import Stripe, form
from tests.vendors.test_http import ScriptedHost

KEY = "sk_test_abc123"


def with_stripe(host: httpx.AsyncBaseTransport, body: Callable[[Stripe], Any]) -> Any:
    async def main() -> Any:
        async def nap(_: float) -> None:
            return None

        stripe = Stripe(KEY, base_url="http://stripe.test", transport=host, sleep=nap)
        try:
            return await body(stripe)
        finally:
            await stripe.close()

    return asyncio.run(main())


def refused(status: int, **error: Any) -> httpx.Response:
    return httpx.Response(status, json={"error": error}, headers={"request-id": "req_9"})


def test_nested_parameters_are_encoded_as_stripe_reads_them() -> None:
    params = {"items": [{"price": "p1"}, {"id": "si", "deleted": True}], "metadata": {"a": "b", "gone": ""}, "n": 3, "nothing": None}
    assert form(params) == {
        "items[0][price]": "p1",
        "items[1][id]": "si",
        "items[1][deleted]": "true",
        "metadata[a]": "b",
        "metadata[gone]": "",
        "n": "3",
    }


def test_a_float_is_never_sent_as_money() -> None:
    with pytest.raises(TypeError, match=r"tiers\[0\]\[unit_amount_decimal\]"):
        form({"tiers": [{"unit_amount_decimal": 0.1}]})


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.text(max_size=5), max_size=4))
def test_plain_text_survives_the_wire(params: dict[str, str]) -> None:
    request = httpx.Request("POST", "http://x", data=form(params))
    assert dict(parse_qsl(request.content.decode(), keep_blank_values=True)) == params


def test_every_page_of_a_list_is_read() -> None:
    pages = [
        httpx.Response(200, json={"data": [{"id": "a"}, {"id": "b"}], "has_more": True}),
        httpx.Response(200, json={"data": [{"id": "c"}], "has_more": False}),
    ]
    host = ScriptedHost(*pages)

    async def body(stripe: Stripe) -> list[str]:
        return [item["id"] async for item in stripe.pages("/v1/customers", {"email": "a@b"})]

    assert with_stripe(host, body) == ["a", "b", "c"]
    assert [request.url.query for request in host.requests] == [b"limit=100&email=a%40b", b"limit=100&email=a%40b&starting_after=b"]


def test_a_page_that_says_more_and_holds_nothing_ends_the_list() -> None:
    async def body(stripe: Stripe) -> list[str]:
        return [item["id"] async for item in stripe.pages("/v1/customers")]

    assert with_stripe(ScriptedHost(httpx.Response(200, json={"data": [], "has_more": True})), body) == []


def test_the_key_and_the_version_are_sent_and_the_request_id_is_told() -> None:
    host = ScriptedHost(refused(400, type="invalid_request_error", message="bad", param="email"))
    with pytest.raises(VendorError, match=r"bad \(parameter email\) \(request id req_9\)") as caught:
        with_stripe(host, lambda stripe: stripe.post("/v1/customers", {}, key="k1"))
    request = host.requests[0]
    assert request.headers["idempotency-key"] == "k1"
    assert request.headers["stripe-version"] == "2026-10-28.endive"
    assert caught.value.code == "invalid_request_error"


@pytest.mark.parametrize("body", [{"error": "down"}, {"error": None}, ["down"], "down"])
def test_an_error_in_the_words_of_somebody_in_between_is_stripes_error_all_the_same(body: Any) -> None:
    with pytest.raises(VendorError, match="Stripe answered 403"):
        with_stripe(ScriptedHost(httpx.Response(403, json=body)), lambda stripe: stripe.get("/v1/account"))


def test_a_500_for_a_key_is_not_repeated_because_stripe_would_replay_it() -> None:
    host = ScriptedHost(httpx.Response(500, json={"error": {"message": "sorry"}}))
    with pytest.raises(VendorError):
        with_stripe(host, lambda stripe: stripe.post("/v1/customers", {}, key="k1"))
    assert len(host.requests) == 1


def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    host = ScriptedHost(httpx.ReadError("x"), httpx.Response(200, json={"id": "c"}))
    with_stripe(host, lambda stripe: stripe.post("/v1/customers", {"a": "b"}, key="k1"))
    assert [request.headers["idempotency-key"] for request in host.requests] == ["k1", "k1"]


@pytest.mark.parametrize(
    "busy", [refused(409, code="idempotency_key_in_use", message="in progress"), refused(429, code="lock_timeout", message="lock")]
)
def test_a_busy_object_is_waited_for(busy: httpx.Response) -> None:
    host = ScriptedHost(busy, busy, httpx.Response(200, json={"id": "c"}))
    assert with_stripe(host, lambda stripe: stripe.post("/v1/x", {}, key="k"))["id"] == "c"


def test_a_replayed_answer_is_told_from_a_fresh_one() -> None:
    now = int(time.time())
    date = {"date": formatdate(now, usegmt=True)}
    cases = [
        (httpx.Response(200, json={"id": "c", "created": now}, headers=date), False),
        (httpx.Response(200, json={"id": "c", "created": now}, headers={"idempotent-replayed": "true"}), True),
        (httpx.Response(200, json={"id": "c", "created": now - 3600}, headers=date), True),
    ]
    for answer, replayed in cases:
        assert with_stripe(ScriptedHost(answer), lambda stripe: stripe.post_once("/v1/x", {}, key="k"))[1] is replayed


def test_what_is_not_there_is_none() -> None:
    host = ScriptedHost(refused(404, code="resource_missing", message="No such customer"))
    assert with_stripe(host, lambda stripe: stripe.get("/v1/customers/c")) is None
    assert with_stripe(host, lambda stripe: stripe.delete("/v1/customers/c")) is None


def test_the_environment_decides_key_and_address() -> None:
    with pytest.raises(MissingToken, match="STRIPE_API_KEY is not set"):
        Stripe.from_environment({})
    stripe = Stripe.from_environment({"STRIPE_API_KEY": "rk_live_x"})
    assert stripe.live
    assert "api.stripe.com" in repr(stripe.http)
    assert "rk_live_x" not in repr(stripe.http)
    asyncio.run(stripe.close())
