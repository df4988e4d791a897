"""The one HTTP client: what is repeated, what never is, what is waited for, what is never told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.vendors.fly import Fly
from rowhouse.vendors.http import Buckets, Http, Limit, MissingToken, VendorError, token_from

TOKEN = "tok_planted_9b1e"
Answer = httpx.Response | Exception


class ScriptedHost(httpx.AsyncBaseTransport):
    """Gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client(host: httpx.AsyncBaseTransport, naps: list[float] | None = None) -> Http:
    async def nap(seconds: float) -> None:
        if naps is not None:
            naps.append(seconds)

    def explain(response: httpx.Response) -> tuple[str, str]:
        return "", response.text

    return Http(
        "Vend",
        "http://vend.test/v1",
        {"Authorization": f"Bearer {TOKEN}"},
        secrets=(TOKEN,),
        explain=explain,
        request_id_header="x-req",
        transport=host,
        sleep=nap,
    )


def send(host: httpx.AsyncBaseTransport, *, repeatable: bool, naps: list[float] | None = None, method: str = "POST") -> httpx.Response:
    async def body() -> httpx.Response:
        http = client(host, naps)
        try:
            return await http.send(method, "/things", repeatable=repeatable)
        finally:
            await http.close()

    return asyncio.run(body())


OK = httpx.Response(200, text="ok")


@pytest.mark.parametrize(
    "trouble", [httpx.Response(500), httpx.Response(503), httpx.ReadError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")]
)
def test_what_may_have_had_its_effect_is_repeated_only_when_that_is_safe(trouble: Answer) -> None:
    host = ScriptedHost(trouble, OK)
    assert send(host, repeatable=True).text == "ok"
    host = ScriptedHost(trouble, OK)
    with pytest.raises(VendorError) as caught:
        send(host, repeatable=False)
    assert caught.value.ambiguous
    assert len(host.requests) == 1


@pytest.mark.parametrize("trouble", [httpx.Response(429), httpx.ConnectError("x"), httpx.ConnectTimeout("x")])
def test_what_certainly_had_no_effect_is_always_repeated(trouble: Answer) -> None:
    assert send(ScriptedHost(trouble, trouble, OK), repeatable=False).text == "ok"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    host = ScriptedHost(httpx.Response(status, text="no", headers={"x-req": "r-7"}))
    with pytest.raises(VendorError, match=rf"^Vend answered {status} to POST /things: no \(request id r-7\)$") as caught:
        send(host, repeatable=True)
    assert len(host.requests) == 1
    assert not caught.value.ambiguous


def test_it_gives_up_in_the_end() -> None:
    host = ScriptedHost(httpx.Response(503))
    with pytest.raises(VendorError, match="answered 503"):
        send(host, repeatable=True)
    assert len(host.requests) == 5


def test_retry_after_is_honoured_as_seconds_and_as_a_date_and_within_a_bound() -> None:
    naps: list[float] = []
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    answers = [httpx.Response(429, headers={"retry-after": text}) for text in ("7", soon, "86400", "soon")]
    send(ScriptedHost(*answers, OK), repeatable=False, naps=naps)
    assert naps[0] == 7
    assert 17 < naps[1] <= 20
    assert naps[2] == 60
    assert 0.5 <= naps[3] <= 8


def test_no_redirect_carries_the_credential_away() -> None:
    host = ScriptedHost(httpx.Response(302, headers={"location": "http://evil.test/"}))
    with pytest.raises(VendorError, match="answered 302"):
        send(host, repeatable=True)
    assert [request.url.host for request in host.requests] == ["vend.test"]


def test_the_credential_is_in_no_error_repr_or_cause() -> None:
    for trouble in (httpx.Response(400, text=f"bad token {TOKEN}"), httpx.ReadError(f"to http://user:{TOKEN}@proxy")):
        with pytest.raises(VendorError) as caught:
            send(ScriptedHost(trouble), repeatable=False)
        error = caught.value
        assert TOKEN not in f"{error} {error!r} {error.message} {error.__cause__!r}"
        assert error.__suppress_context__ or not isinstance(trouble, Exception)
    assert TOKEN not in repr(client(ScriptedHost(OK)))


def test_a_missing_or_broken_token_is_one_clear_error() -> None:
    with pytest.raises(MissingToken, match=r"^VEND_TOKEN is not set"):
        token_from({}, "VEND_TOKEN", "Vend", "ask for one")
    with pytest.raises(MissingToken, match="not set"):
        token_from({"VEND_TOKEN": "  "}, "VEND_TOKEN", "Vend", "ask for one")
    with pytest.raises(MissingToken) as caught:
        token_from({"VEND_TOKEN": "planted\nx"}, "VEND_TOKEN", "Vend", "ask for one")
    assert "planted" not in str(caught.value)
    assert token_from({"VEND_TOKEN": " t \n"}, "VEND_TOKEN", "Vend", "x") == "t"


class Simulated:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.floats(0.5, 50), st.integers(1, 20), st.lists(st.floats(0, 3), min_size=1, max_size=40))
def test_no_more_is_asked_than_the_vendor_allows(per_s: float, burst: int, gaps: list[float]) -> None:
    time = Simulated()
    buckets = Buckets(sleep=time.sleep, clock=lambda: time.now)
    sent: list[float] = []

    async def body() -> None:
        for gap in gaps:
            time.now += gap
            await buckets.take("k", Limit(per_s, burst))
            sent.append(time.now)

    asyncio.run(body())
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + (sent[last] - sent[first]) * per_s + 1e-6


def test_buckets_of_other_keys_do_not_wait_and_are_forgotten_when_full() -> None:
    time = Simulated()
    buckets = Buckets(sleep=time.sleep, clock=lambda: time.now)

    async def body() -> None:
        for number in range(10_050):
            await buckets.take(number, Limit(1, 1))
        assert time.now == 0
        time.now = 100
        await buckets.take("one more", Limit(1, 1))
        assert len(buckets._state) == 1

    asyncio.run(body())


def with_fly(host: httpx.AsyncBaseTransport, body: Callable[[Fly], Any], token: str = TOKEN) -> Any:
    async def main() -> Any:
        async def nap(_: float) -> None:
            return None

        fly = Fly(token, base_url="http://fly.test/", transport=host, sleep=nap)
        try:
            return await body(fly)
        finally:
            await fly.close()

    return asyncio.run(main())


@pytest.mark.parametrize(("token", "header"), [("fo1_x", "Bearer fo1_x"), ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b")])
def test_a_macaroon_keeps_its_scheme(token: str, header: str) -> None:
    host = ScriptedHost(httpx.Response(200, json={"name": "a"}))
    with_fly(host, lambda fly: fly.get_app("a"), token)
    assert host.requests[0].headers["authorization"] == header
    assert str(host.requests[0].url) == "http://fly.test/v1/apps/a"


def test_fly_errors_are_read_in_each_of_their_forms() -> None:
    forms = [({"error": "no", "status": "name_taken"}, "name_taken", "no"), ({"message": "m"}, "", "m")]
    for body, code, message in forms:
        with pytest.raises(VendorError) as caught:
            with_fly(ScriptedHost(httpx.Response(422, json=body)), lambda fly: fly.create_app("a", "o", None))
        assert (caught.value.code, caught.value.message) == (code, message)
    with pytest.raises(VendorError, match="no body"):
        with_fly(ScriptedHost(httpx.Response(400)), lambda fly: fly.create_app("a", "o", None))


@pytest.mark.parametrize("answer", [{"status": "success", "data": {"nonce": "n1"}}, {"nonce": "n1"}])
def test_a_lease_is_read_wrapped_and_flat(answer: dict[str, Any]) -> None:
    assert with_fly(ScriptedHost(httpx.Response(201, json=answer)), lambda fly: fly.acquire_lease("a", "m", 60)) == "n1"


def test_waiting_in_vain_is_none_and_a_minute_is_the_most() -> None:
    host = ScriptedHost(httpx.Response(408, json={"error": "deadline_exceeded"}))
    assert with_fly(host, lambda fly: fly.wait("a", "m", ("started", "stopped"), timeout_s=900)) is None
    assert host.requests[0].url.query == b"timeout=60&state=started&state=stopped"


def test_nothing_to_delete_is_a_success() -> None:
    gone = ScriptedHost(httpx.Response(404, json={"error": "not found"}))
    with_fly(gone, lambda fly: fly.delete_app("a"))
    with_fly(gone, lambda fly: fly.delete_machine("a", "m"))
    with_fly(gone, lambda fly: fly.delete_volume("a", "v"))
    assert gone.requests[1].url.query == b"force=true"
    assert with_fly(gone, lambda fly: fly.get_volume("a", "v")) is None


def test_a_404_below_an_app_is_the_truth_even_in_its_first_minute() -> None:
    async def body(fly: Fly) -> None:
        await fly.create_app("a", "o", None)
        assert await fly.get_volume("a", "vol_1") is None

    host = ScriptedHost(httpx.Response(201, json={"id": "1"}), httpx.Response(404, json={"error": "no"}))
    with_fly(host, body)
    assert len(host.requests) == 2
