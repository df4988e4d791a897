"""The API's door: envelope, tokens, limits, pages, faults, the journal."""

import asyncio

import pytest

from rowhouse.localcloud.cloudflare_state import Switches
from rowhouse.localcloud.kernel import Fault, Faults, Journal
from tests.localcloud.cloudflare_support import ACCOUNT, TOKEN, ZONE, A, Api, Z

OTHER = "another-token-00000000000000000000000000000"


def test_1_a_success_and_a_failure_have_the_vendors_envelope():
    api = Api()
    good = api.raw("GET", f"{Z}/dns_records").json()
    assert good == {
        "success": True,
        "errors": [],
        "messages": [],
        "result": [],
        "result_info": {"page": 1, "per_page": 100, "count": 0, "total_count": 0, "total_pages": 0},
    }
    bad = api.raw("GET", f"{Z}/nothing").json()
    assert bad == {"success": False, "errors": [{"code": 7003, "message": "No route for the URI"}], "messages": [], "result": None}


@pytest.mark.parametrize("path", ["nothing", f"{A}/access/nothing", f"{A}/nothing", "", "zones/x/y/z"])
def test_1_an_unknown_route_is_7003(path):
    assert Api().refused("GET", path) == (404, 7003)


def test_1_a_verb_that_a_path_does_not_have_is_7003():
    assert Api().refused("DELETE", f"{A}/access/organizations") == (404, 7003)


def test_1_an_unknown_token_is_10000():
    assert Api().refused("GET", "zones", token=OTHER) == (403, 10000)
    assert Api().refused("GET", "zones", headers={}) == (403, 10000)


@pytest.mark.parametrize("header", ["Bearer short", f"Basic {TOKEN}", f"Bearer  {TOKEN}", f"Bearer {TOKEN}!", f"Bearer {'x' * 81}"])
def test_1_a_malformed_header_is_6003(header):
    answer = Api().raw("GET", "zones", headers={"authorization": header})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == 6003
    assert answer.json()["errors"][0]["error_chain"][0]["code"] == 6111


def test_1_a_token_without_the_permission_is_9109():
    api = Api()
    api.vendor.add_token(OTHER, scopes=frozenset({"dns"}))
    assert api.raw("GET", f"{Z}/dns_records", token=OTHER).status_code == 200
    assert api.refused("GET", f"{A}/access/apps", token=OTHER) == (403, 9109)
    reader = "reader-token-000000000000000000000000000000"
    api.vendor.add_token(reader, read_only=True)
    assert api.raw("GET", f"{A}/access/apps", token=reader).status_code == 200
    assert api.refused("POST", f"{A}/cfd_tunnel", {"name": "edge"}, token=reader) == (403, 9109)


def test_1_another_account_and_another_zone_are_9109():
    assert Api().refused("GET", f"accounts/{'f' * 32}/access/apps") == (403, 9109)
    assert Api().refused("GET", f"zones/{'f' * 32}/dns_records") == (403, 9109)


@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_a_dead_token_is_verified_as_dead_and_opens_nothing(status):
    api = Api()
    api.vendor.add_token(OTHER, status=status)
    assert api.raw("GET", "user/tokens/verify", token=OTHER).json()["result"]["status"] == status
    assert api.refused("GET", "zones", token=OTHER) == (403, 10000)


def test_tokens_of_users_and_of_accounts_are_verified_apart():
    api = Api()
    api.vendor.add_token(OTHER, account_owned=True)
    assert api.ok("GET", "user/tokens/verify")["status"] == "active"
    assert api.refused("GET", "user/tokens/verify", token=OTHER) == (403, 1001)
    assert api.raw("GET", f"{A}/tokens/verify", token=OTHER).json()["result"]["status"] == "active"


def test_zones_are_found_by_name():
    api = Api()
    assert [zone["id"] for zone in api.ok("GET", "zones", name="localhost")] == [ZONE]
    assert api.ok("GET", "zones", name="example.com") == []
    assert api.ok("GET", f"zones/{ZONE}")["account"]["id"] == ACCOUNT


def test_14_a_page_past_the_end_is_empty_and_the_totals_stay_true():
    api = Api()
    for number in range(5):
        api.record(f"t{number}")
    pages = [api.raw("GET", f"{Z}/dns_records", page=page, per_page=2).json() for page in (1, 2, 3, 4)]
    assert [len(page["result"]) for page in pages] == [2, 2, 1, 0]
    assert len({record["id"] for page in pages for record in page["result"]}) == 5
    assert pages[2]["result_info"] == {"page": 3, "per_page": 2, "count": 1, "total_count": 5, "total_pages": 3}
    assert pages[3]["result_info"] == {"page": 4, "per_page": 2, "count": 0, "total_count": 5, "total_pages": 3}
    assert api.raw("GET", f"{Z}/dns_records", page=0).status_code == 400


def test_15_the_limit_of_requests_is_shared_by_all_tokens_of_a_user_and_lasts_five_minutes():
    api = Api(switches=Switches(requests=4))
    api.vendor.add_token(OTHER)
    stranger = "stranger-token-0000000000000000000000000000"
    api.vendor.add_token(stranger, user="somebody-else")
    first = api.raw("GET", "zones")
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("4", "3")
    assert [api.raw("GET", "zones", token=token).status_code for token in (OTHER, TOKEN, OTHER)] == [200, 200, 200]
    over = api.raw("GET", "zones", token=OTHER)
    assert (over.status_code, over.headers["retry-after"]) == (429, "300")
    assert api.raw("GET", "zones", token=stranger).status_code == 200
    api.advance(299)
    again = api.raw("GET", "zones")
    assert again.status_code == 429
    assert int(again.headers["retry-after"]) <= 1
    api.advance(2)
    assert api.raw("GET", "zones").status_code == 200


def test_15_requests_spread_over_more_than_the_window_are_never_limited():
    api = Api(switches=Switches(requests=3))
    for _ in range(8):
        assert api.raw("GET", "zones").status_code == 200
        api.advance(101)


def test_the_free_ceilings_are_the_documented_ones():
    free = Switches.free()
    assert (free.apps, free.policies, free.groups, free.service_tokens, free.tunnels, free.dns_records) == (500, 500, 300, 50, 1000, 200)
    assert (free.requests, free.request_window_s, free.seats, free.log_retention_s) == (1200, 300.0, 50, 86400.0)


def test_16_errors_say_whether_asking_again_helps():
    api = Api()
    api.record("acme")
    taken = api.raw("POST", f"{Z}/dns_records", {"name": "acme", "type": "A", "content": "192.0.2.1", "ttl": 1})
    assert (taken.headers["x-should-retry"], "retry-after" in taken.headers) == ("false", False)
    tunnel = api.tunnel()
    api.vendor.connect(api.ok("GET", f"{A}/cfd_tunnel/{tunnel['id']}/token"), "http://127.0.0.1:1")
    busy = api.raw("DELETE", f"{A}/cfd_tunnel/{tunnel['id']}")
    assert ("x-should-retry" in busy.headers, busy.headers["retry-after"]) == (False, "1")


def test_a_body_that_is_no_json_is_refused():
    api = Api()
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}

    async def go():
        import httpx

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api.vendor.app), base_url="http://127.0.0.1") as client:
            return await client.post(f"/client/v4/{Z}/dns_records", content=b"{", headers=headers)

    assert asyncio.run(go()).status_code == 400


def test_21_the_journal_keeps_every_request_and_no_credential():
    journal = Journal()
    api = Api(journal=journal)
    token = api.ok("POST", f"{A}/access/service_tokens", {"name": "monitor"})
    tunnel = api.tunnel(tunnel_secret="c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    opened = api.ok("GET", f"{A}/cfd_tunnel/{tunnel['id']}/token")
    api.refused("GET", "nothing")
    assert [(entry.method, entry.status) for entry in journal.entries] == [("POST", 200), ("POST", 200), ("GET", 200), ("GET", 404)]
    kept = str(journal.dump())
    for secret in (token["client_secret"], opened, "c2VjcmV0c2VjcmV0", TOKEN):
        assert secret not in kept
    assert len(journal.calls("cloudflare", "POST", "/service_tokens$")) == 1


def test_a_partial_list_leaves_out_its_second_half_and_says_nothing():
    faults = Faults()
    api = Api(faults=faults)
    for number in range(4):
        api.record(f"t{number}")
    faults.add(Fault("partial", path="dns_records"))
    document = api.raw("GET", f"{Z}/dns_records").json()
    assert ([record["name"] for record in document["result"]], document["result_info"]["total_count"]) == (
        ["t0.localhost", "t1.localhost"],
        2,
    )
    assert len(api.ok("GET", f"{Z}/dns_records")) == 4


def test_a_stale_answer_is_the_one_before_the_last_change():
    faults = Faults()
    api = Api(faults=faults)
    old = api.record("acme")
    api.ok("PATCH", f"{Z}/dns_records/{old['id']}", {"comment": "new"})
    faults.add(Fault("stale", path="dns_records", times=2))
    assert api.ok("GET", f"{Z}/dns_records/{old['id']}")["comment"] is None
    assert [record["comment"] for record in api.ok("GET", f"{Z}/dns_records")] == [None]
    assert api.ok("GET", f"{Z}/dns_records/{old['id']}")["comment"] == "new"
    fresh = api.record("beta")
    faults.add(Fault("stale", path="dns_records", times=2))
    assert [record["name"] for record in api.ok("GET", f"{Z}/dns_records")] == ["acme.localhost"]
    assert api.raw("GET", f"{Z}/dns_records/{fresh['id']}").status_code == 404


def test_an_error_after_the_effect_leaves_the_effect():
    faults = Faults()
    api = Api(faults=faults)
    faults.add(Fault("error_after", method="POST", path="cfd_tunnel"))
    assert api.raw("POST", f"{A}/cfd_tunnel", {"name": "edge"}).status_code == 500
    assert [tunnel["name"] for tunnel in api.ok("GET", f"{A}/cfd_tunnel")] == ["edge"]


def test_the_dump_holds_every_kind_and_no_secret():
    api = Api()
    token = api.ok("POST", f"{A}/access/service_tokens", {"name": "monitor"})
    tunnel = api.tunnel()
    opened = api.ok("GET", f"{A}/cfd_tunnel/{tunnel['id']}/token")
    api.vendor.connect(opened, "http://127.0.0.1:1")
    assert api.vendor.state.tunnel_secrets[tunnel["id"]] not in str(api.vendor.dump())
    api.app(policies=[api.policy()])
    api.record()
    dump = api.vendor.dump()
    assert [len(dump[kind]) for kind in ("dns_records", "access_apps", "access_policies", "service_tokens", "tunnels")] == [1] * 5
    assert token["client_secret"] not in str(dump)
    assert opened not in str(dump)
