"""Only a current token of exactly this hostname's application, signed by a published key, opens the gate."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from rowhouse.edge.keys import KeySet
from rowhouse.edge.tokens import Identity, KeysUnavailable, TokenRefused, Verifier
from tests.edge.support import ISSUER, KEY, OTHER_KEY, audience_of, jwks, token

HOST = "acme.example"


class Keys:
    """A publisher inside the process, with a clock for the rate limit."""

    def __init__(self, cache: Path | None = None) -> None:
        self.document: Any = jwks(k1=KEY)
        self.is_away = False
        self.asked = 0
        self.now = 0.0
        self.set = KeySet("http://certs.example/certs", cache, transport=httpx.MockTransport(self.answer), monotonic=lambda: self.now)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.is_away:
            raise httpx.ConnectError("away")
        return httpx.Response(200, json=self.document)


def with_keys(body: Callable[[Keys, Verifier], Awaitable[None]], cache: Path | None = None, clock: Callable[[], float] = time.time) -> None:
    async def run() -> None:
        keys = Keys(cache)
        try:
            await body(keys, Verifier(keys.set, ISSUER, clock=clock))
        finally:
            await keys.set.close()

    asyncio.run(run())


def verdict(text: str, hostname: str = HOST, clock: Callable[[], float] = time.time) -> Identity | str:
    found: list[Identity | str] = []

    async def body(_keys: Keys, verifier: Verifier) -> None:
        try:
            found.append(await verifier.verify(text, audience_of(hostname)))
        except TokenRefused as exc:
            found.append(str(exc))

    with_keys(body, clock=clock)
    return found[0]


def unsigned(header: dict[str, Any], claims: dict[str, Any] | None = None) -> str:
    claims = claims or jwt.decode(token(), options={"verify_signature": False})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)) + "."


def hs256_with_public_key() -> str:
    import hashlib
    import hmac

    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = unsigned({"alg": "HS256", "kid": "k1", "typ": "JWT"}).rstrip(".")
    return f"{head}.{base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b'=').decode()}"


NOW = int(time.time())
REFUSED = {
    "expired": lambda: token(exp=NOW - 100),
    "not yet valid": lambda: token(nbf=NOW + 600),
    "issued in the future": lambda: token(iat=NOW + 600),
    "other application": lambda: token(aud=["another-audience"]),
    "audience that only begins alike": lambda: token(aud=[audience_of(HOST) + "x"]),
    "no audience": lambda: token(aud=...),
    "other team": lambda: token(iss="https://other.example"),
    "issuer with more behind": lambda: token(iss=ISSUER + ".evil.example"),
    "no issuer": lambda: token(iss=...),
    "no expiry": lambda: token(exp=...),
    "expiry as text": lambda: unsigned({"alg": "RS256", "kid": "k1"}),
    "alg none": lambda: unsigned({"alg": "none", "kid": "k1"}),
    "alg None in capitals": lambda: unsigned({"alg": "NONE", "kid": "k1"}),
    "HS256 with the public key": hs256_with_public_key,
    "RS512": lambda: token(alg="RS512"),
    "another key with the same kid": lambda: token(key=OTHER_KEY),
    "no kid": lambda: token(kid=None),
    "empty kid": lambda: token(kid=""),
    "unknown kid": lambda: token(kid="k9"),
    "critical extension": lambda: token(headers={"crit": ["exp"]}),
    "replayed on another hostname": lambda: token("globex.example"),
    "malformed": lambda: "not.a.token!",
    "two parts": lambda: "abc.def",
    "empty": lambda: "",
    "oversized": lambda: token(padding="x" * 20_000),
    "signature cut off": lambda: token().rsplit(".", 1)[0] + ".",
    "names nobody": lambda: token(email=..., sub=""),
    "email with a line break": lambda: token(email="ana@acme.example\r\nX-Rowhouse-User: bob"),
    "person without sub": lambda: token(sub=""),
    "service token that also claims an email": lambda: token(sub="", common_name="x.access"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_with_a_flaw_is_refused(case: str) -> None:
    assert isinstance(verdict(REFUSED[case]()), str)


def test_a_good_token_names_its_person() -> None:
    assert verdict(token()) == Identity("ana@acme.example", is_service=False)


def test_a_service_token_passes_under_its_common_name() -> None:
    assert verdict(token(email=..., sub="", common_name="abc.access")) == Identity("abc.access", is_service=True)


def test_a_small_difference_of_clocks_is_forgiven() -> None:
    assert isinstance(verdict(token(nbf=NOW + 10, iat=NOW + 10)), Identity)


def test_time_is_the_gateways_own_clock() -> None:
    assert isinstance(verdict(token(), clock=lambda: time.time() + 3600), str)


def test_a_rotated_key_is_fetched_and_the_previous_one_still_counts() -> None:
    async def body(keys: Keys, verifier: Verifier) -> None:
        await verifier.verify(token(), audience_of(HOST))
        keys.document = jwks(k1=KEY, k2=OTHER_KEY)
        keys.now = 60
        await verifier.verify(token(key=OTHER_KEY, kid="k2"), audience_of(HOST))
        await verifier.verify(token(), audience_of(HOST))
        keys.document = jwks(k2=OTHER_KEY)
        await keys.set.refresh()
        with pytest.raises(TokenRefused):
            await verifier.verify(token(), audience_of(HOST))

    with_keys(body)


def test_a_flood_of_unknown_kids_costs_one_fetch() -> None:
    async def body(keys: Keys, verifier: Verifier) -> None:
        await verifier.verify(token(), audience_of(HOST))
        keys.now = 60
        results = await asyncio.gather(*(verifier.verify(token(kid=f"x{n}"), audience_of(HOST)) for n in range(20)), return_exceptions=True)
        assert all(isinstance(result, TokenRefused) for result in results)
        assert keys.asked == 2

    with_keys(body)


def test_the_last_good_keys_outlive_their_publisher() -> None:
    async def body(keys: Keys, verifier: Verifier) -> None:
        await keys.set.refresh()
        for document, away in ((None, True), ({"keys": []}, False), ({"oops": 1}, False), ([], False)):
            keys.document, keys.is_away = document, away
            await keys.set.refresh()
            await verifier.verify(token(), audience_of(HOST))

    with_keys(body)


def test_without_any_key_the_gate_stays_shut_and_says_so() -> None:
    async def body(keys: Keys, verifier: Verifier) -> None:
        keys.is_away = True
        with pytest.raises(KeysUnavailable):
            await verifier.verify(token(), audience_of(HOST))

    with_keys(body)


def test_keys_start_from_their_last_good_copy(tmp_path: Path) -> None:
    async def first(keys: Keys, _verifier: Verifier) -> None:
        await keys.set.refresh()

    async def second(keys: Keys, verifier: Verifier) -> None:
        keys.is_away = True
        assert keys.set.load_cache()
        await verifier.verify(token(), audience_of(HOST))

    with_keys(first, tmp_path)
    with_keys(second, tmp_path)


def test_weak_and_foreign_keys_are_not_taken() -> None:
    async def body(keys: Keys, verifier: Verifier) -> None:
        good = jwks(k1=KEY)["keys"][0]
        keys.document = {
            "keys": [
                good | {"use": "enc"},
                good | {"alg": "RS512"},
                {"kty": "oct", "k": "AAAA", "kid": "k1"},
                {"kid": "k1", "kty": "RSA", "n": "AQAB", "e": "AQAB"},
            ]
        }
        with pytest.raises(KeysUnavailable):
            await verifier.verify(token(), audience_of(HOST))

    with_keys(body)
