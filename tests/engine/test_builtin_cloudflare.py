"""The built-in Cloudflare provider: the published plugin's requests, plus adoption, retries and clear errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from rowhouse.engine.builtin.cloudflare import CloudflareProvider
from rowhouse.engine.builtin.cloudflare_api import Api, ApiError
from rowhouse.engine.builtin.cloudflare_base import located
from rowhouse.engine.builtin.cloudflare_shapes import paths, sdk_name, seen, wire_name
from rowhouse.wire.contract import Context, Refused
from rowhouse.wire.values import UNKNOWN

TOKEN = "t" * 40
ENV = {"CLOUDFLARE_API_TOKEN": TOKEN, "CLOUDFLARE_BASE_URL": "http://cf.test/client/v4"}
ACCOUNT, ZONE = "a" * 32, "b" * 32
TUNNEL = "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared"
CONFIG = "cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig"
POLICY = "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy"
APP = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
DNS = "cloudflare:index/dnsRecord:DnsRecord"

Handler = Callable[[httpx.Request], httpx.Response]


def ok(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"success": True, "errors": [], "messages": [], "result": result})


def refused(status: int, code: int, message: str, **headers: str) -> httpx.Response:
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
    return httpx.Response(status, json=body, headers=headers)


class Stage:
    """The provider in front of a function from request to response, and what it asked."""

    def __init__(self, handler: Handler, env: dict[str, str] | None = None) -> None:
        self.asked: list[tuple[str, str, Any]] = []

        def note(request: httpx.Request) -> httpx.Response:
            self.asked.append((request.method, request.url.path, json.loads(request.content) if request.content else None))
            return handler(request)

        self.provider = CloudflareProvider(Api(ENV if env is None else env, httpx.MockTransport(note), pause_s=0.001))

    def ctx(self, token: str, *, preview: bool = False) -> Context:
        return Context(self.provider, urn=f"urn:pulumi:s::p::{token}::x", name="x", type=token, preview=preview)

    def create(self, token: str, inputs: dict[str, Any], *, preview: bool = False) -> tuple[str, dict[str, Any]]:
        return self.run(lambda: self.provider.resources[token].create(self.ctx(token, preview=preview), inputs))

    def run(self, work: Callable[[], Any]) -> Any:
        async def whole() -> Any:
            try:
                return await work()
            finally:
                await self.provider.api.close()

        return asyncio.run(whole())


POLICY_INPUTS = {"accountId": ACCOUNT, "name": "acme", "decision": "allow", "includes": [{"email": {"email": "a@b.c"}}]}
APP_INPUTS = {
    "accountId": ACCOUNT,
    "name": "acme",
    "domain": "acme.example.com",
    "type": "self_hosted",
    "policies": [{"id": "440bfd20-8471-4a1e-8fce-02898f409bac", "precedence": 1}],
}
DNS_INPUTS = {
    "zoneId": ZONE,
    "name": "acme.example.com",
    "type": "CNAME",
    "ttl": 1,
    "proxied": True,
    "content": "db4dd9ec-e281-4dcf-959c-e948655f5f48.cfargotunnel.com",
    "comment": "tenant=acme v1",
}


@pytest.mark.fidelity
def test_it_sends_what_the_published_plugin_was_seen_to_send() -> None:
    recorded_file = Path(__file__).parents[2] / ".." / "shared" / "reference" / "samples" / "cloudflare-plugin-traffic.json"
    if not recorded_file.exists():
        pytest.skip("the recorded traffic is not here")
    recorded = [item for item in json.loads(recorded_file.read_text()) if "method" in item]
    left = list(recorded)

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        if request.method == "GET" and not any(item["method"] == "GET" and item["path"] == request.url.path for item in recorded):
            return ok([])  # a list read for adoption: the published plugin reads none
        for index, item in enumerate(left):
            if (item["method"], item["path"]) == (request.method, request.url.path):
                assert body == item["body"]
                return ok(left.pop(index)["response"])
        raise AssertionError(f"not recorded: {request.method} {request.url.path}")

    stage = Stage(answer)

    async def life() -> None:
        resources = stage.provider.resources
        tunnel_in = {"accountId": ACCOUNT, "name": "t-acme", "configSrc": "cloudflare"}
        config_in = {
            "accountId": ACCOUNT,
            "tunnelId": "db4dd9ec-e281-4dcf-959c-e948655f5f48",
            "config": {"ingresses": [{"hostname": "acme.example.com", "service": "http://localhost:8080"}, {"service": "http_status:404"}]},
        }
        wanted = {TUNNEL: tunnel_in, POLICY: POLICY_INPUTS, CONFIG: config_in, DNS: DNS_INPUTS, APP: APP_INPUTS}
        made: dict[str, tuple[str, dict[str, Any]]] = {}
        for token, inputs in wanted.items():
            made[token] = await resources[token].create(stage.ctx(token), inputs)

        async def look() -> None:
            for token, (object_id, outputs) in made.items():
                found = await resources[token].read(stage.ctx(token), object_id, wanted[token], outputs)
                assert found is not None
                diff = await resources[token].diff(stage.ctx(token), object_id, found.inputs, found.outputs, wanted[token])
                assert diff.paths == {}, f"{token} drifts by itself"
                made[token] = (object_id, found.outputs)

        await look()
        changed = {
            TUNNEL: {**tunnel_in, "name": "t-acme2"},
            POLICY: {
                **POLICY_INPUTS,
                "sessionDuration": "12h",
                "includes": [{"email": {"email": "a@b.c"}}, {"emailDomain": {"domain": "b.c"}}],
            },
            CONFIG: {
                **config_in,
                "config": {
                    "ingresses": [{"hostname": "acme.example.com", "service": "http://localhost:9090"}, {"service": "http_status:404"}]
                },
            },
            DNS: {**DNS_INPUTS, "comment": "tenant=acme v2"},
            APP: {**APP_INPUTS, "name": "acme-2", "sessionDuration": "12h"},
        }
        for token, news in changed.items():
            object_id, outputs = made[token]
            made[token] = (object_id, await resources[token].update(stage.ctx(token), object_id, wanted[token], outputs, news))
        wanted.update(changed)
        await look()
        for token in (DNS, APP, CONFIG, TUNNEL, POLICY):
            await resources[token].delete(stage.ctx(token), made[token][0], wanted[token], made[token][1])

    stage.run(life)
    assert left == []


def test_a_tunnel_of_the_same_name_is_adopted_and_not_made_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        return ok([{"id": "t1", "name": "cell", "deleted_at": None, "config_src": "cloudflare"}])

    stage = Stage(answer)
    assert stage.create(TUNNEL, {"accountId": ACCOUNT, "name": "cell", "configSrc": "cloudflare"})[0] == "t1"


def test_a_deleted_tunnel_is_not_adopted() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return ok([{"id": "t1", "name": "cell", "deleted_at": "2026-01-01T00:00:00Z"}])
        return ok({"id": "t2", "name": "cell"})

    assert Stage(answer).create(TUNNEL, {"accountId": ACCOUNT, "name": "cell"})[0] == "t2"


def test_an_adopted_policy_is_brought_to_what_is_wanted() -> None:
    old = {"id": "p1", "name": "acme", "decision": "deny", "include": [], "session_duration": "24h"}

    def answer(request: httpx.Request) -> httpx.Response:
        return ok([old]) if request.method == "GET" else ok({**old, **json.loads(request.content)})

    stage = Stage(answer)
    assert stage.create(POLICY, POLICY_INPUTS)[0] == "p1"
    assert [(method, path.rpartition("/")[2]) for method, path, _ in stage.asked] == [("GET", "policies"), ("PUT", "p1")]


def test_two_policies_of_one_name_in_one_run_are_two_objects() -> None:
    made: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return ok(made)
        made.append({"id": f"p{len(made)}", **json.loads(request.content)})
        return ok(made[-1])

    stage = Stage(answer)

    async def both() -> list[str]:
        policy = stage.provider.resources[POLICY]
        return [(await policy.create(stage.ctx(POLICY), POLICY_INPUTS))[0] for _ in range(2)]

    assert stage.run(both) == ["p0", "p1"]
    assert [method for method, _, _ in stage.asked].count("GET") == 1, "lists are read once a run"


def test_a_server_error_after_the_effect_does_not_make_a_second_application() -> None:
    made: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return ok(made)
        made.append({"id": f"app{len(made)}", **json.loads(request.content)})
        return refused(500, 10001, "internal error")

    assert Stage(answer).create(APP, APP_INPUTS)[0] == "app0"
    assert len(made) == 1


def test_an_equal_dns_record_is_adopted_when_the_name_is_taken() -> None:
    there = {"id": "r1", "name": "acme.example.com", "type": "CNAME", "content": DNS_INPUTS["content"], "ttl": 1}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        return ok([there]) if request.method == "GET" else ok({**there, **json.loads(request.content)})

    assert Stage(answer).create(DNS, DNS_INPUTS)[0] == "r1"


def test_a_dns_record_of_somebody_else_is_left_alone_and_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        assert request.method == "GET"
        return ok([{"id": "r9", "name": "acme.example.com", "type": "A", "content": "192.0.2.1"}])

    with pytest.raises(Refused, match=r"acme\.example\.com has a DNS record already .*192\.0\.2\.1"):
        Stage(answer).create(DNS, DNS_INPUTS)


def test_deleting_what_is_gone_is_a_success() -> None:
    stage = Stage(lambda _: refused(404, 81044, "Record does not exist."))
    stage.run(lambda: stage.provider.resources[DNS].delete(stage.ctx(DNS), "r1", DNS_INPUTS, {}))


def test_a_policy_still_attached_is_asked_again_until_it_goes() -> None:
    answers = [refused(409, 12130, "policy is attached"), refused(409, 12130, "policy is attached"), ok({"id": "p"})]
    stage = Stage(lambda _: answers.pop(0))
    stage.run(lambda: stage.provider.resources[POLICY].delete(stage.ctx(POLICY), "p", POLICY_INPUTS, {}))
    assert answers == []


def test_a_tunnel_with_connections_is_cut_off_and_then_deleted() -> None:
    answers = [refused(400, 1022, "active connections"), ok(None), ok({})]
    stage = Stage(lambda _: answers.pop(0))
    stage.run(lambda: stage.provider.resources[TUNNEL].delete(stage.ctx(TUNNEL), "t", {"accountId": ACCOUNT, "name": "n"}, {}))
    assert [path.rpartition("/")[2] for _, path, _ in stage.asked] == ["t", "connections", "t"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    answers = [refused(status, 0, "busy", **{"retry-after": "0"}), ok({"id": "r", "name": "x"})]
    stage = Stage(lambda _: answers.pop(0))
    assert stage.run(lambda: stage.provider.api.get("zones/z/dns_records/r"))["id"] == "r"


def test_what_must_not_be_repeated_is_asked_once() -> None:
    stage = Stage(lambda _: refused(500, 1, "no", **{"x-should-retry": "false"}))
    with pytest.raises(ApiError):
        stage.run(lambda: stage.provider.api.get("x"))
    assert len(stage.asked) == 1


def test_an_error_carries_code_and_request_id() -> None:
    stage = Stage(lambda _: refused(403, 10000, "Authentication error", **{"cf-ray": "abc-FRA"}))
    with pytest.raises(ApiError, match=r"403 Authentication error \(10000\) \[request abc-FRA\]"):
        stage.run(lambda: stage.provider.api.get("x"))


def test_without_a_token_a_preview_works_and_the_first_request_says_what_is_missing() -> None:
    stage = Stage(lambda _: ok(None), env={})
    object_id, outputs = stage.create(APP, APP_INPUTS, preview=True)
    assert object_id == ""
    assert outputs["aud"] is UNKNOWN
    with pytest.raises(ApiError, match="CLOUDFLARE_API_TOKEN is not set"):
        stage.create(APP, APP_INPUTS)


def test_a_tunnel_that_is_only_listed_as_deleted_is_gone() -> None:
    stage = Stage(lambda _: ok({"id": "t", "name": "n", "deleted_at": "2026-01-01T00:00:00Z"}))
    assert stage.run(lambda: stage.provider.resources[TUNNEL].read(stage.ctx(TUNNEL), "t", {"accountId": ACCOUNT}, {})) is None


def test_an_import_id_is_enough_by_itself() -> None:
    stage = Stage(lambda _: ok({"id": "r", "name": "x.example", "type": "A", "ttl": 300, "content": "192.0.2.7", "proxied": False}))
    found = stage.run(lambda: stage.provider.resources[DNS].read(stage.ctx(DNS), f"{ZONE}/r", {}, {}))
    assert found.inputs == {"zoneId": ZONE, "name": "x.example", "type": "A", "ttl": 300, "content": "192.0.2.7", "proxied": False}
    with pytest.raises(Refused, match="zoneId"):
        located("r", {}, "zoneId")


@pytest.mark.parametrize(
    ("token", "inputs", "key", "value", "replaces"),
    [
        (TUNNEL, {"accountId": "x", "name": "n", "configSrc": "local"}, "configSrc", "cloudflare", True),
        (TUNNEL, {"accountId": "x", "name": "n"}, "name", "m", False),
        (DNS, DNS_INPUTS, "type", "A", True),
        (DNS, DNS_INPUTS, "content", "elsewhere", False),
        (APP, APP_INPUTS, "domain", "other.example", False),
        (POLICY, POLICY_INPUTS, "accountId", "other", True),
    ],
)
def test_only_what_cannot_change_replaces(token: str, inputs: dict[str, Any], key: str, value: str, replaces: bool) -> None:
    stage = Stage(lambda _: ok(None))
    diff = stage.run(lambda: stage.provider.resources[token].diff(stage.ctx(token), "id", inputs, {}, {**inputs, key: value}))
    assert {path: kind.replaces for path, kind in diff.paths.items()} == {key: replaces}


def test_a_proxied_record_with_a_ttl_is_refused_before_anything_is_applied() -> None:
    stage = Stage(lambda _: ok(None))
    _, failures = stage.run(lambda: stage.provider.resources[DNS].check(stage.ctx(DNS), {}, {**DNS_INPUTS, "ttl": 300}))
    assert [failure.property for failure in failures] == ["ttl"]


def test_a_default_that_is_said_is_no_change() -> None:
    stage = Stage(lambda _: ok(None))
    said = {**APP_INPUTS, "sessionDuration": "24h", "httpOnlyCookieAttribute": True}
    assert stage.run(lambda: stage.provider.resources[APP].diff(stage.ctx(APP), "id", APP_INPUTS, {}, said)).paths == {}


def test_names_go_both_ways() -> None:
    for name in ("sessionDuration", "includes", "azureAd", "githubOrganization", "serviceAuth401Redirect", "ipv4Only", "ttl"):
        assert sdk_name(wire_name(name)) == name


def test_differences_are_told_by_path() -> None:
    assert paths({"a": [1, {"b": 1}], "c": 1}, {"a": [1, {"b": 2}, 3], "d": 1}) == {
        "a[1].b": "update",
        "a[2]": "add",
        "c": "delete",
        "d": "add",
    }
    assert seen({"a": 1, "b": {"c": 1}}, {"a": 2, "b": {"c": 3, "d": 4}, "e": 5}) == {"a": 2, "b": {"c": 3}}
