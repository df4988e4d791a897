"""DNS records of the stand-in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.localcloud.cloudflare_dns import fqdn
from rowhouse.localcloud.cloudflare_state import Switches
from tests.localcloud.cloudflare_support import Api, Z

RECORDS = f"{Z}/dns_records"


def _body(name="acme", kind="A", content="192.0.2.1", **more):
    return {"name": name, "type": kind, "content": content, "ttl": 1, **more}


def test_2_a_record_is_echoed_with_defaults_id_and_times():
    api = Api()
    record = api.record("acme", comment="tenant=acme", tags=["a:b"], settings={"flatten_cname": False})
    assert record | {"id": "", "created_on": "", "modified_on": ""} == {
        **_body("acme.localhost", comment="tenant=acme", tags=["a:b"], settings={"flatten_cname": False}),
        "id": "",
        "proxied": False,
        "proxiable": True,
        "meta": {},
        "created_on": "",
        "modified_on": "",
    }
    assert len(record["id"]) == 32
    assert api.ok("GET", f"{RECORDS}/{record['id']}") == record


def test_2_a_field_that_nobody_knows_is_kept_and_does_no_harm():
    api = Api()
    record = api.record("acme", private_routing=True, surprise={"a": 1})
    assert (record["private_routing"], record["surprise"]) == (True, {"a": 1})


def test_3_put_replaces_and_patch_merges():
    api = Api()
    record = api.record("acme", comment="first", proxied=True)
    patched = api.ok("PATCH", f"{RECORDS}/{record['id']}", {"content": "192.0.2.9"})
    assert (patched["comment"], patched["proxied"], patched["content"]) == ("first", True, "192.0.2.9")
    api.advance(5)
    put = api.ok("PUT", f"{RECORDS}/{record['id']}", _body(content="192.0.2.9"))
    assert (put["comment"], put["proxied"], put["id"]) == (None, False, record["id"])
    assert put["created_on"] == record["created_on"]
    assert put["modified_on"] > record["modified_on"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_3_an_unknown_record_is_404(method):
    assert Api().raw(method, f"{RECORDS}/{'0' * 32}", _body()).status_code == 404


def test_4_collisions_have_the_vendors_codes():
    api = Api()
    api.record("a")
    api.record("c", "target.example.com", "CNAME")
    assert api.refused("POST", RECORDS, _body("a", "CNAME", "x.example.com")) == (400, 81053)
    assert api.refused("POST", RECORDS, _body("c", "CNAME", "target.example.com")) == (400, 81053)
    assert api.refused("POST", RECORDS, _body("c", "A", "192.0.2.1")) == (400, 81054)
    assert api.refused("POST", RECORDS, _body("a")) == (400, 81058)
    assert api.refused("POST", RECORDS, _body("a", proxied=True)) == (400, 81057)
    assert api.record("a", "192.0.2.2")["content"] == "192.0.2.2"


def test_4_a_change_collides_like_a_creation_but_not_with_itself():
    api = Api()
    one, two = api.record("a"), api.record("b")
    assert api.refused("PATCH", f"{RECORDS}/{two['id']}", {"name": "a"}) == (400, 81058)
    assert api.ok("PUT", f"{RECORDS}/{one['id']}", _body("a"))["id"] == one["id"]


@pytest.mark.parametrize(
    ("name", "stored"), [("acme", "acme.localhost"), ("Acme.Localhost.", "acme.localhost"), ("@", "localhost"), ("*", "*.localhost")]
)
def test_4_names_are_stored_in_full_and_lower_case(name, stored):
    assert Api().record(name)["name"] == stored


@given(st.text(alphabet="abc.-@*", min_size=1, max_size=20))
def test_a_full_name_stays_what_it_is(name):
    once = fqdn(name, "localhost")
    assert fqdn(once, "localhost") == once


def test_4_a_zone_holds_its_limit_of_records_when_that_is_on():
    api = Api(switches=Switches(dns_records=2))
    api.record("a")
    last = api.record("b")
    assert api.refused("POST", RECORDS, _body("c"))[0] == 400
    api.ok("DELETE", f"{RECORDS}/{last['id']}")
    api.record("c")


def test_5_a_deleted_record_answers_its_id_and_the_second_time_404():
    api = Api()
    record = api.record()
    assert api.ok("DELETE", f"{RECORDS}/{record['id']}") == {"id": record["id"]}
    assert api.raw("DELETE", f"{RECORDS}/{record['id']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"content": "not an address"}, 9005),
        ({"content": "2001:db8::1"}, 9005),
        ({"type": "CNAME", "content": "two words"}, 9007),
        ({"type": "NOPE"}, 9004),
        ({"name": ""}, 9000),
        ({"name": "bad name"}, 9000),
        ({"ttl": 5}, 9021),
        ({"proxied": True, "ttl": 300}, 9021),
        ({"type": "TXT", "content": "hello", "proxied": True}, 9041),
    ],
)
def test_an_invalid_record_is_refused_with_the_reason_in_the_chain(change, reason):
    answer = Api().raw("POST", RECORDS, {**_body(), **change})
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["error_chain"][0]["code"]) == (400, 1004, reason)


def test_targets_are_stored_in_lower_case_without_a_dot():
    assert Api().record("acme", "ABC.CFArgoTunnel.com.", "CNAME")["content"] == "abc.cfargotunnel.com"


def test_filters_find_by_every_field_alone_and_together():
    api = Api()
    api.record("a", comment="managed-by=rowhouse tenant=a", proxied=True)
    api.record("b", "192.0.2.2", tags=["team:blue"])
    api.record("c", "x.example.com", "CNAME")

    def names(**query):
        return [record["name"][0] for record in api.ok("GET", RECORDS, **query)]

    assert names(name="b.localhost") == ["b"]
    assert names(type="CNAME") == ["c"]
    assert names(**{"comment.contains": "tenant=a"}) == ["a"]
    assert names(**{"comment.absent": "true"}) == ["b", "c"]
    assert names(**{"content.startswith": "192.", "proxied": "false"}) == ["b"]
    assert names(name="a.localhost", type="CNAME", match="any") == ["a", "c"]
    assert names(tag="team:blue") == ["b"]
    assert names(search="EXAMPLE") == ["c"]
    assert names(order="name", direction="desc") == ["c", "b", "a"]


def test_20_a_batch_happens_whole():
    api = Api()
    gone, changed, put = api.record("gone"), api.record("changed"), api.record("put")
    result = api.ok(
        "POST",
        f"{RECORDS}/batch",
        {
            "deletes": [{"id": gone["id"]}],
            "patches": [{"id": changed["id"], "comment": "x"}],
            "puts": [{"id": put["id"], **_body("put", content="192.0.2.7")}],
            "posts": [_body("gone", "CNAME", "x.example.com")],
        },
    )
    assert [result[part][0]["name"] for part in ("deletes", "patches", "puts", "posts")] == [
        "gone.localhost",
        "changed.localhost",
        "put.localhost",
        "gone.localhost",
    ]
    assert len(api.ok("GET", RECORDS)) == 3


def test_20_a_batch_with_one_error_changes_nothing_and_gives_the_first():
    api = Api()
    kept = api.record("kept")
    before = api.ok("GET", RECORDS)
    body = {"deletes": [{"id": kept["id"]}], "posts": [_body("new"), _body("new", "CNAME", "x.example.com"), _body("bad", content="?")]}
    assert api.refused("POST", f"{RECORDS}/batch", body) == (400, 81053)
    assert api.ok("GET", RECORDS) == before


def test_20_a_batch_larger_than_the_plan_allows_is_refused_when_that_is_on():
    api = Api(switches=Switches(dns_batch=1))
    assert api.refused("POST", f"{RECORDS}/batch", {"posts": [_body("a"), _body("b")]})[0] == 400
    assert api.ok("GET", RECORDS) == []
