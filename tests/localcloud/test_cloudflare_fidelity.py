"""The stand-in against what the published plugin really asked and was answered, and against the vendor's own shapes."""

import json
from pathlib import Path

import pytest

from tests.localcloud.cloudflare_support import ACCOUNT, ZONE, Api

REFERENCE = Path(__file__).parents[2] / ".." / "shared" / "reference"
TRAFFIC = REFERENCE / "samples" / "cloudflare-plugin-traffic.json"
OPENAPI = REFERENCE / "cloudflare-openapi.json"
TIMES = {"created_at", "updated_at", "created_on", "modified_on", "conns_inactive_at", "conns_active_at"}
IDS = {"id", "uid", "aud", "tunnel_id"}


def _with_ids(value, ids: dict[str, str]):
    text = json.dumps(value)
    for recorded, ours in ids.items():
        text = text.replace(recorded, ours)
    return json.loads(text)


def _learn(recorded, ours, ids: dict[str, str]) -> None:
    """Pair the ids of a recorded answer with those of ours."""
    if isinstance(recorded, dict) and isinstance(ours, dict):
        for key, value in recorded.items():
            if key in IDS and isinstance(value, str):
                ids.setdefault(value, ours[key])
            else:
                _learn(value, ours.get(key), ids)
    elif isinstance(recorded, list) and isinstance(ours, list):
        for one, other in zip(recorded, ours, strict=True):
            _learn(one, other, ids)


def _without_times(value):
    if isinstance(value, dict):
        return {key: "time" if key in TIMES and item else _without_times(item) for key, item in value.items()}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


@pytest.mark.fidelity
@pytest.mark.skipif(not TRAFFIC.exists(), reason="the recorded traffic is not here")
def test_replaying_the_published_plugin_gives_the_recorded_answers():
    recorded = json.loads(TRAFFIC.read_text())
    api = Api(zone_name="example.com", account="a" * 32, zone_id="b" * 32)
    ids: dict[str, str] = {}
    replayed = 0
    for entry in recorded:
        if "phase" in entry:
            continue
        path = _with_ids(entry["path"], ids).removeprefix("/client/v4/")
        answer = api.raw(entry["method"], path, _with_ids(entry["body"], ids))
        assert answer.status_code == entry["status"], (entry["method"], path, answer.text)
        result = answer.json()["result"]
        _learn(entry["response"], result, ids)
        assert _without_times(result) == _without_times(_with_ids(entry["response"], ids)), (entry["method"], path)
        replayed += 1
    assert replayed == 24


def _model(document, schema):
    while True:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "allOf" in schema:
            schema = schema["allOf"][0]
        elif "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
            schema = next(item for item in schema["anyOf"] if item != {"type": "null"})
        else:
            return schema


def _result_models(path: str, method: str):
    document = json.loads(OPENAPI.read_text())
    schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    result = _model(document, _model(document, schema)["properties"]["result"])
    if result.get("type") == "array":
        result = _model(document, result["items"])
    kinds = result.get("anyOf") or result.get("oneOf") or [result]
    return [_model(document, kind) for kind in kinds]


def _answers(api: Api) -> list[tuple[str, str, dict]]:
    a, z = f"accounts/{ACCOUNT}", f"zones/{ZONE}"
    policy = api.policy()
    app = api.app(policies=[policy])
    tunnel = api.tunnel()
    token = api.ok("POST", f"{a}/access/service_tokens", {"name": "monitor"})
    group = api.ok("POST", f"{a}/access/groups", {"name": "staff", "include": [{"everyone": {}}]})
    provider = api.ok("POST", f"{a}/access/identity_providers", {"name": "code", "type": "onetimepin", "config": {}})
    config = api.ok("PUT", f"{a}/cfd_tunnel/{tunnel['id']}/configurations", {"config": {"ingress": [{"service": "http_status:404"}]}})
    account = "/accounts/{account_id}"
    return [
        (f"{account}/access/policies/{{policy_id}}", "get", policy),
        (f"{account}/access/apps/{{app_id}}", "get", app),
        (f"{account}/access/groups/{{group_id}}", "get", group),
        (f"{account}/access/service_tokens", "post", token),
        (f"{account}/access/identity_providers/{{identity_provider_id}}", "get", provider),
        (f"{account}/access/organizations", "get", api.ok("GET", f"{a}/access/organizations")),
        (f"{account}/cfd_tunnel/{{tunnel_id}}", "get", tunnel),
        (f"{account}/cfd_tunnel/{{tunnel_id}}/configurations", "get", config),
        (f"{account}/tokens/verify", "get", api.ok("GET", f"{a}/tokens/verify")),
        ("/user/tokens/verify", "get", api.ok("GET", "user/tokens/verify")),
        ("/zones", "get", api.ok("GET", "zones")[0]),
        ("/zones/{zone_id}/dns_records/{dns_record_id}", "get", api.ok("GET", f"{z}/dns_records/{api.record()['id']}")),
    ]


# What the vendor sends beyond the models that were derived from its SDK.
BEYOND = {"created_at", "updated_at", "uid", "client_secret_version", "expires_at", "last_seen_at"}


@pytest.mark.fidelity
@pytest.mark.skipif(not OPENAPI.exists(), reason="the vendor's shapes are not here")
def test_every_answer_has_the_fields_that_the_vendor_requires_and_no_foreign_one():
    for path, method, answer in _answers(Api()):
        models = _result_models(path, method)
        fitting = [model for model in models if not set(answer) - set(model.get("properties", {})) - BEYOND]
        assert fitting, (path, [sorted(set(answer) - set(model.get("properties", {})) - BEYOND) for model in models])
        assert any(set(model.get("required", [])) <= set(answer) for model in fitting), path
