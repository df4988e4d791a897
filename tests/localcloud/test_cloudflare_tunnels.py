"""Tunnels of the stand-in: names, configurations, tokens, live connectors."""

import base64
import json

import pytest

from rowhouse.localcloud.cloudflare_state import Switches
from tests.localcloud.cloudflare_support import ACCOUNT, A, Api

TUNNELS = f"{A}/cfd_tunnel"


def _token(api: Api, tunnel: dict) -> str:
    return api.ok("GET", f"{TUNNELS}/{tunnel['id']}/token")


def test_11_a_taken_name_is_1013_and_not_to_be_retried():
    api = Api()
    api.tunnel("edge")
    other = api.tunnel("other")
    answer = api.raw("POST", TUNNELS, {"name": "edge"})
    assert (answer.status_code, answer.json()["errors"][0]["code"], answer.headers["x-should-retry"]) == (409, 1013, "false")
    assert api.refused("PATCH", f"{TUNNELS}/{other['id']}", {"name": "edge"}) == (409, 1013)


@pytest.mark.parametrize(("reserved", "status"), [(False, 200), (True, 409)])
def test_11_a_deleted_tunnels_name_is_free_or_stays_taken_as_the_switch_says(reserved, status):
    api = Api(switches=Switches(reserve_deleted_tunnel_names=reserved))
    tunnel = api.tunnel("edge")
    api.ok("DELETE", f"{TUNNELS}/{tunnel['id']}")
    assert api.raw("POST", TUNNELS, {"name": "edge"}).status_code == status


def test_11_a_tunnel_with_live_connections_cannot_be_deleted():
    api = Api()
    tunnel = api.tunnel()
    disconnect = api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:1")
    assert api.refused("DELETE", f"{TUNNELS}/{tunnel['id']}")[1] == 1022
    disconnect()
    assert api.ok("DELETE", f"{TUNNELS}/{tunnel['id']}") == {"id": tunnel["id"]}


def test_11_connections_can_be_ended_by_the_api_one_connector_or_all():
    api = Api()
    tunnel = api.tunnel()
    for port in (1, 2, 3):
        api.vendor.connect(_token(api, tunnel), f"http://127.0.0.1:{port}")
    path = f"{TUNNELS}/{tunnel['id']}/connections"
    there = api.ok("GET", path)
    assert [len(connector["conns"]) for connector in there] == [4, 4, 4]
    api.ok("DELETE", path, client_id=there[0]["id"])
    assert [connector["id"] for connector in api.ok("GET", path)] == [there[1]["id"], there[2]["id"]]
    api.ok("DELETE", path)
    assert api.ok("GET", path) == []


def test_a_process_whose_connections_were_ended_dials_again_while_it_runs():
    api = Api()
    tunnel = api.tunnel()
    running = api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:1")
    stopped = api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:2")
    path = f"{TUNNELS}/{tunnel['id']}/connections"
    api.ok("DELETE", path)
    stopped()
    api.advance(10)
    assert [connector["origin"] for connector in api.vendor.dump()["connectors"]] == ["http://127.0.0.1:1"]
    assert len(api.ok("GET", path)) == 1
    api.ok("DELETE", path)
    api.ok("PATCH", f"{TUNNELS}/{tunnel['id']}", {"tunnel_secret": base64.b64encode(b"y" * 32).decode()})
    api.advance(10)
    assert api.ok("GET", path) == []
    running()


def test_a_tunnel_deleted_after_its_connections_were_ended_stays_deleted():
    api = Api()
    tunnel = api.tunnel()
    api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:1")
    api.ok("DELETE", f"{TUNNELS}/{tunnel['id']}/connections")
    api.ok("DELETE", f"{TUNNELS}/{tunnel['id']}")
    api.advance(10)
    assert api.ok("GET", f"{TUNNELS}/{tunnel['id']}")["status"] == "down"


def test_11_a_deleted_tunnel_stays_readable_and_lists_honour_is_deleted():
    api = Api()
    gone, kept = api.tunnel("gone"), api.tunnel("kept")
    api.advance(10)
    api.ok("DELETE", f"{TUNNELS}/{gone['id']}")
    assert api.ok("GET", f"{TUNNELS}/{gone['id']}")["deleted_at"] == "2026-11-21T12:00:10Z"

    def names(**query):
        return {tunnel["name"] for tunnel in api.ok("GET", TUNNELS, **query)}

    assert names() == {"gone", "kept"}
    assert names(is_deleted="false") == {"kept"}
    assert names(is_deleted="true") == {"gone"}
    assert names(name="kept") == {"kept"}
    assert names(include_prefix="ke", exclude_prefix="go") == {"kept"}
    assert names(uuid=kept["id"]) == {"kept"}
    for method in ("PATCH", "DELETE"):
        assert api.raw(method, f"{TUNNELS}/{gone['id']}", {"name": "back"}).status_code == 404
    assert api.raw("GET", f"{TUNNELS}/{gone['id']}/token").status_code == 404


def test_3_an_unknown_tunnel_is_404():
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/token"),
        ("GET", "/connections"),
        ("PUT", "/configurations"),
    ):
        assert Api().raw(method, f"{TUNNELS}/00000000-0000-0000-0000-000000000000{path}", {"name": "x"}).status_code == 404


def test_3_patch_changes_only_what_is_given():
    api = Api()
    tunnel = api.tunnel("edge")
    before = _token(api, tunnel)
    assert api.ok("PATCH", f"{TUNNELS}/{tunnel['id']}", {"name": "edge-2"}) | {"name": "edge"} == tunnel
    assert _token(api, tunnel) == before


def test_12_a_configuration_is_replaced_whole_and_its_version_counts_up():
    api = Api()
    path = f"{TUNNELS}/{api.tunnel()['id']}/configurations"
    assert api.ok("GET", path)["version"] == 0
    access = {"required": True, "teamName": "local", "audTag": ["x"]}
    first = {"ingress": [{"hostname": "*.localhost", "service": "http://localhost:8080"}, {"service": "http_status:404"}]}
    one = api.ok("PUT", path, {"config": {**first, "originRequest": {"access": access}}})
    assert (one["version"], one["source"], one["config"]["originRequest"]["access"]) == (1, "cloudflare", access)
    two = api.ok("PUT", path, {"config": {"ingress": [{"service": "http_status:503"}]}})
    assert (two["version"], two["config"]) == (2, {"ingress": [{"service": "http_status:503"}]})
    assert api.ok("GET", path) == two


@pytest.mark.parametrize(
    "last", [{"hostname": "a.localhost", "service": "http://x"}, {"path": "/x", "service": "http://x"}, {"hostname": "a"}]
)
def test_12_the_last_ingress_rule_must_catch_all(last):
    api = Api()
    path = f"{TUNNELS}/{api.tunnel()['id']}/configurations"
    assert api.refused("PUT", path, {"config": {"ingress": [{"service": "http_status:404"}, last]}}) == (400, 1056)
    assert api.ok("GET", path)["version"] == 0


def test_13_a_token_is_a_bare_string_of_account_tunnel_and_secret():
    api = Api()
    tunnel = api.tunnel()
    token = _token(api, tunnel)
    content = json.loads(base64.b64decode(token))
    assert isinstance(token, str)
    assert (content["a"], content["t"], len(base64.b64decode(content["s"]))) == (ACCOUNT, tunnel["id"], 32)


def test_a_new_secret_ends_the_old_token():
    api = Api()
    tunnel = api.tunnel()
    old = _token(api, tunnel)
    api.ok("PATCH", f"{TUNNELS}/{tunnel['id']}", {"tunnel_secret": base64.b64encode(b"x" * 32).decode()})
    with pytest.raises(ValueError, match="Unauthorized"):
        api.vendor.connect(old, "http://127.0.0.1:1")
    api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:1")
    assert api.raw("PATCH", f"{TUNNELS}/{tunnel['id']}", {"tunnel_secret": "c2hvcnQ="}).status_code == 400


@pytest.mark.parametrize("token", ["", "not base64!", base64.b64encode(b"{}").decode(), base64.b64encode(b"[1]").decode()])
def test_a_token_that_is_none_connects_nothing(token):
    with pytest.raises(ValueError, match="not valid"):
        Api().vendor.connect(token, "http://127.0.0.1:1")


def test_a_deleted_tunnels_token_connects_nothing():
    api = Api()
    tunnel = api.tunnel()
    token = _token(api, tunnel)
    api.ok("DELETE", f"{TUNNELS}/{tunnel['id']}")
    with pytest.raises(ValueError, match="Unauthorized"):
        api.vendor.connect(token, "http://127.0.0.1:1")


def test_a_tunnels_status_follows_its_connectors():
    api = Api()
    tunnel = api.tunnel()
    path = f"{TUNNELS}/{tunnel['id']}"
    assert api.ok("GET", path)["status"] == "inactive"
    api.advance(5)
    one = api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:1")
    two = api.vendor.connect(_token(api, tunnel), "http://127.0.0.1:2")
    live = api.ok("GET", path)
    assert (live["status"], live["conns_active_at"], len(live["connections"])) == ("healthy", "2026-11-21T12:00:05Z", 8)
    one()
    one()
    assert api.ok("GET", path)["status"] == "healthy"
    api.advance(5)
    two()
    down = api.ok("GET", path)
    assert (down["status"], down["conns_active_at"], down["conns_inactive_at"]) == ("down", None, "2026-11-21T12:00:10Z")


def test_replicas_are_limited_when_that_is_on():
    api = Api(switches=Switches(connectors=1))
    token = _token(api, api.tunnel())
    api.vendor.connect(token, "http://127.0.0.1:1")
    with pytest.raises(ValueError, match="at most 1"):
        api.vendor.connect(token, "http://127.0.0.1:2")
