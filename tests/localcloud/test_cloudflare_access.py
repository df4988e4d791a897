"""Access objects as the API sees them: applications, policies, groups, service tokens, people, logs, analytics."""

from datetime import timedelta

import pytest

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.cloudflare_state import Switches
from tests.localcloud.cloudflare_support import START, A, Api

APPS, POLICIES = f"{A}/access/apps", f"{A}/access/policies"


def _login(api: Api, email: str = "ana@acme.example", *, allowed: bool = True, **more) -> None:
    """A line of the Access log, as the login writes it."""
    row = {
        "user_email": email,
        "app_uid": "app",
        "allowed": allowed,
        "connection": "onetimepin",
        "created_at": api.vendor.state.stamp(),
        **more,
    }
    api.vendor.state.log_login(row)


def test_2_a_policy_is_echoed_with_defaults():
    api = Api()
    policy = api.policy(purpose_justification_prompt="why?", surprise=1)
    assert (policy["exclude"], policy["require"], policy["session_duration"], policy["reusable"]) == ([], [], "24h", True)
    assert (policy["purpose_justification_prompt"], policy["surprise"]) == ("why?", 1)
    assert api.ok("GET", f"{POLICIES}/{policy['id']}") == policy


def test_3_a_put_policy_loses_what_is_not_said_again():
    api = Api()
    policy = api.policy(session_duration="12h", approval_required=True)
    changed = api.ok("PUT", f"{POLICIES}/{policy['id']}", {"name": "x", "decision": "deny", "include": [{"everyone": {}}]})
    assert (changed["id"], changed["session_duration"], "approval_required" in changed) == (policy["id"], "24h", False)


@pytest.mark.parametrize("kind", ["apps", "policies", "groups", "service_tokens", "identity_providers"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_3_an_unknown_id_is_404_for_every_verb(kind, method):
    assert Api().raw(method, f"{A}/access/{kind}/00000000-0000-0000-0000-000000000000", {"name": "x"}).status_code == 404


def test_6_the_audience_stays_across_updates_and_is_new_after_recreation():
    api = Api()
    app = api.app()
    assert len(app["aud"]) == 64
    assert int(app["aud"], 16) >= 0
    changed = api.ok("PUT", f"{APPS}/{app['id']}", {"name": "other", "domain": "acme.localhost", "type": "self_hosted"})
    assert (changed["aud"], changed["name"], changed["uid"]) == (app["aud"], "other", app["id"])
    assert api.ok("DELETE", f"{APPS}/{app['id']}") == {"id": app["id"]}
    assert api.app()["aud"] != app["aud"]


def test_6_destinations_and_domains_are_derived_from_the_domain():
    api = Api()
    app = api.app("acme.localhost/admin")
    assert app["destinations"] == [{"type": "public", "uri": "acme.localhost/admin"}]
    assert app["self_hosted_domains"] == ["acme.localhost/admin"]
    several = [{"type": "public", "uri": "a.localhost"}, {"type": "public", "uri": "b.localhost"}]
    body = {"name": "two", "type": "self_hosted", "destinations": several}
    assert (
        api.ok("POST", APPS, body) | {"domain": "a.localhost", "self_hosted_domains": ["a.localhost", "b.localhost"]}
        == api.ok("GET", APPS)[1]
    )


def test_6_policies_given_by_id_come_back_expanded_and_in_order():
    api = Api()
    first, second = api.policy("first"), api.policy("second")
    body = {"name": "a", "domain": "acme.localhost", "type": "self_hosted"}
    body["policies"] = [{"id": second["id"], "precedence": 2}, {"id": first["id"], "precedence": 1}]
    app = api.ok("POST", APPS, body)
    assert [(policy["name"], policy["precedence"]) for policy in app["policies"]] == [("first", 1), ("second", 2)]
    assert app["policies"][0]["include"] == first["include"]
    api.ok("PUT", f"{POLICIES}/{first['id']}", {**{k: first[k] for k in ("decision", "include")}, "name": "renamed"})
    assert api.ok("GET", f"{APPS}/{app['id']}")["policies"][0]["name"] == "renamed"


def test_6_an_unknown_policy_is_12130():
    api = Api()
    body = {"name": "a", "domain": "acme.localhost", "type": "self_hosted", "policies": [{"id": "nobody", "precedence": 1}]}
    assert api.refused("POST", APPS, body) == (400, 12130)


def test_precedences_must_be_unique():
    api = Api()
    one, two = api.policy("one"), api.policy("two")
    body = {"name": "a", "domain": "acme.localhost", "type": "self_hosted"}
    assert api.refused("POST", APPS, {**body, "policies": [{"id": p["id"], "precedence": 1} for p in (one, two)]}) == (400, 12130)


def test_7_a_second_application_for_a_domain_is_refused():
    api = Api()
    app = api.app()
    body = {"name": "b", "domain": "acme.localhost", "type": "self_hosted"}
    answer = api.raw("POST", APPS, body)
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["message"] == "access.api.error.application_already_exists"
    other = api.app("other.localhost")
    assert api.raw("PUT", f"{APPS}/{other['id']}", body).status_code == 409
    assert api.ok("PUT", f"{APPS}/{app['id']}", body)["name"] == "b"


def test_7_access_that_was_never_enabled_is_9999():
    api = Api(switches=Switches(zero_trust=False))
    answer = api.raw("GET", APPS)
    assert (answer.json()["errors"][0]["code"], answer.json()["errors"][0]["message"]) == (9999, "access.api.error.not_enabled")
    assert api.tunnel()["name"] == "edge"


def test_8_a_policy_in_use_cannot_be_deleted():
    api = Api()
    policy = api.policy()
    app = api.app(policies=[policy])
    assert api.raw("DELETE", f"{POLICIES}/{policy['id']}").status_code == 409
    api.ok("DELETE", f"{APPS}/{app['id']}")
    assert api.ok("DELETE", f"{POLICIES}/{policy['id']}") == {"id": policy["id"]}


@pytest.mark.parametrize(("given", "left"), [({"policies": []}, 0), ({"policies": None}, 1), ({}, 1)])
def test_8_an_empty_list_detaches_and_null_does_nothing(given, left):
    api = Api()
    app = api.app(policies=[api.policy()])
    body = {"name": "a", "domain": "acme.localhost", "type": "self_hosted", **given}
    assert len(api.ok("PUT", f"{APPS}/{app['id']}", body)["policies"]) == left


def test_a_count_of_applications_is_kept_when_that_is_on():
    api = Api(switches=Switches(count_policy_apps=True))
    policy = api.policy()
    api.app(policies=[policy])
    assert api.ok("GET", f"{POLICIES}/{policy['id']}")["app_count"] == 1


@pytest.mark.parametrize(
    ("switch", "create"),
    [
        ("apps", lambda api, n: api.app(f"t{n}.localhost")),
        ("policies", lambda api, n: api.policy(f"p{n}")),
        ("groups", lambda api, n: api.ok("POST", f"{A}/access/groups", {"name": f"g{n}", "include": [{"everyone": {}}]})),
        ("service_tokens", lambda api, n: api.ok("POST", f"{A}/access/service_tokens", {"name": f"s{n}"})),
        ("tunnels", lambda api, n: api.tunnel(f"t{n}")),
    ],
)
def test_9_account_limits_are_kept_when_they_are_on(switch, create):
    api = Api(switches=Switches(**{switch: 2}))
    create(api, 1)
    create(api, 2)
    with pytest.raises(AssertionError, match="limit of 2"):
        create(api, 3)
    unlimited = Api()
    for number in range(5):
        create(unlimited, number)


def test_10_a_service_tokens_secret_is_shown_once_and_at_rotation():
    api = Api()
    token = api.ok("POST", f"{A}/access/service_tokens", {"name": "monitor"})
    path = f"{A}/access/service_tokens/{token['id']}"
    assert token["client_id"].endswith(".access")
    assert token["expires_at"] == rfc3339(START + timedelta(hours=8760))
    seen = [
        api.ok("GET", path),
        api.ok("PUT", path, {"name": "m2"}),
        api.ok("POST", f"{path}/refresh"),
        *api.ok("GET", f"{A}/access/service_tokens"),
    ]
    assert all("client_secret" not in answer for answer in seen)
    rotated = api.ok("POST", f"{path}/rotate")
    assert rotated["client_id"] == token["client_id"]
    assert rotated["client_secret"] != token["client_secret"]
    assert api.vendor.service_tokens.valid(token["client_id"], token["client_secret"]) is None
    assert api.vendor.service_tokens.valid(token["client_id"], rotated["client_secret"])["name"] == "m2"


def test_10_the_old_secret_lasts_as_long_as_was_asked():
    api = Api()
    token = api.ok("POST", f"{A}/access/service_tokens", {"name": "monitor"})
    until = rfc3339(START + timedelta(hours=2))
    body = {"name": "monitor", "client_secret_version": 2, "previous_client_secret_expires_at": until}
    new = api.ok("PUT", f"{A}/access/service_tokens/{token['id']}", body)
    valid = api.vendor.service_tokens.valid
    assert valid(token["client_id"], token["client_secret"])
    api.advance(2 * 3600 + 1)
    assert valid(token["client_id"], token["client_secret"]) is None
    assert valid(token["client_id"], new["client_secret"])


def test_a_service_token_ends_with_its_duration_and_when_disabled_or_deleted():
    api = Api()
    token = api.ok("POST", f"{A}/access/service_tokens", {"name": "monitor", "duration": "1h"})
    path, opened = f"{A}/access/service_tokens/{token['id']}", (token["client_id"], token["client_secret"])
    api.ok("PUT", path, {"name": "monitor", "enabled": False})
    assert api.vendor.service_tokens.valid(*opened) is None
    api.ok("PUT", path, {"name": "monitor", "enabled": True})
    assert api.vendor.service_tokens.valid(*opened)
    api.advance(3601)
    assert api.vendor.service_tokens.valid(*opened) is None
    api.ok("POST", f"{path}/refresh")
    assert api.vendor.service_tokens.valid(*opened)
    api.ok("DELETE", path)
    assert api.vendor.service_tokens.valid(*opened) is None


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "allow", "include": [{"everyone": {}}]},
        {"name": "x", "decision": "maybe", "include": [{"everyone": {}}]},
        {"name": "x", "decision": "allow", "include": []},
        {"name": "x", "decision": "allow", "include": [{"nobody": {}}]},
        {"name": "x", "decision": "allow", "include": [{"email": {"email": "a@b.c"}, "everyone": {}}]},
        {"name": "x", "decision": "allow", "include": [{"email": {}}]},
        {"name": "x", "decision": "allow", "include": [{"ip": {"ip": "not an address"}}]},
    ],
)
def test_an_invalid_policy_is_12130(body):
    assert Api().refused("POST", POLICIES, body) == (400, 12130)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "domain": "acme.example.com", "type": "self_hosted"},
        {"name": "x", "domain": "evillocalhost", "type": "self_hosted"},
        {"name": "x", "type": "self_hosted"},
        {"name": "x", "domain": "acme.localhost", "type": "selfhosted"},
        {"name": "x", "domain": "a" * 60 + ".localhost", "type": "self_hosted"},
        {"name": "x", "domain": "a.localhost", "type": "self_hosted", "auto_redirect_to_identity": True},
        {"name": "x", "type": "self_hosted", "destinations": [{"type": "public", "uri": f"{n}.localhost"} for n in range(6)]},
    ],
)
def test_an_invalid_application_is_12130(body):
    assert Api().refused("POST", APPS, body) == (400, 12130)


def test_an_applications_own_policy_is_not_a_reusable_one():
    api = Api()
    app = api.app()
    own = api.ok("POST", f"{APPS}/{app['id']}/policies", {"name": "own", "decision": "allow", "include": [{"everyone": {}}]})
    assert (own["reusable"], own["precedence"]) == (False, 1)
    assert [policy["id"] for policy in api.ok("GET", f"{APPS}/{app['id']}/policies")] == [own["id"]]
    assert api.raw("DELETE", f"{POLICIES}/{own['id']}").status_code == 404
    body = {"name": "changed", "decision": "deny", "include": [{"everyone": {}}]}
    assert api.ok("PUT", f"{APPS}/{app['id']}/policies/{own['id']}", body)["precedence"] == 1
    assert api.ok("GET", f"{APPS}/{app['id']}/policies/{own['id']}")["name"] == "changed"
    api.ok("DELETE", f"{APPS}/{app['id']}/policies/{own['id']}")
    assert api.ok("GET", f"{APPS}/{app['id']}")["policies"] == []


def test_applications_are_found_by_name_domain_and_audience():
    api = Api()
    app, other = api.app("acme.localhost"), api.app("acme2.localhost")
    assert [found["id"] for found in api.ok("GET", APPS, domain="acme.localhost")] == [app["id"]]
    assert [found["id"] for found in api.ok("GET", APPS, name="acme", exact="true")] == []
    assert [found["id"] for found in api.ok("GET", APPS, aud=other["aud"])] == [other["id"]]
    assert len(api.ok("GET", APPS, search="ACME")) == 2


def test_the_organization_is_put_and_keeps_its_domain():
    api = Api()
    domain = api.ok("GET", f"{A}/access/organizations")["auth_domain"]
    changed = api.ok("PUT", f"{A}/access/organizations", {"name": "Ours", "auth_domain": "evil", "deny_unmatched_requests": True})
    assert (changed["name"], changed["auth_domain"], changed["deny_unmatched_requests"]) == ("Ours", domain, True)
    assert "deny_unmatched_requests" not in api.ok("PUT", f"{A}/access/organizations", {"name": "Ours"})
    assert api.raw("POST", f"{A}/access/organizations", {"name": "again"}).status_code == 409
    assert api.refused("DELETE", f"{A}/access/organizations") == (404, 7003)


def test_an_identity_providers_client_secret_is_never_answered():
    api = Api()
    body = {"name": "github", "type": "github", "config": {"client_id": "x", "client_secret": "hush"}}
    provider = api.ok("POST", f"{A}/access/identity_providers", body)
    listed = api.ok("GET", f"{A}/access/identity_providers")
    assert "hush" not in str([provider, listed, api.vendor.dump()])
    assert listed == [provider]


def test_17_logs_honour_since_until_limit_and_direction():
    api = Api()
    for minute in range(5):
        _login(api, f"user{minute}@acme.example")
        api.advance(60)
    logs = f"{A}/access/logs/access_requests"

    def users(**query):
        return [row["user_email"][4] for row in api.ok("GET", logs, **query)]

    at = [rfc3339(START + timedelta(minutes=minute)) for minute in range(6)]
    assert users() == ["4", "3", "2", "1", "0"]
    assert users(direction="asc") == ["0", "1", "2", "3", "4"]
    assert users(limit=2) == ["4", "3"]
    assert users(direction="asc", limit=2, since=rfc3339(START + timedelta(seconds=30))) == ["1", "2"]
    assert users(direction="asc", until=rfc3339(START + timedelta(seconds=90))) == ["0", "1"]
    assert users(since=at[5]) == []
    assert "result_info" not in api.raw("GET", logs).json()
    assert users(direction="asc", page=2, per_page=2) == ["2", "3"]
    assert api.raw("GET", logs, since="yesterday").status_code == 400


def test_17_logs_are_filtered_by_their_fields():
    api = Api()
    _login(api, "ana@acme.example")
    _login(api, "eve@evil.example", allowed=False)
    logs = f"{A}/access/logs/access_requests"

    def users(**query):
        return [row["user_email"][:3] for row in api.ok("GET", logs, direction="asc", **query)]

    assert users(email="ana@acme.example") == ["ana"]
    assert users(email="ana@acme.example", emailOp="neq") == ["eve"]
    assert users(email="evil", emailOp="contains") == ["eve"]
    assert users(email="evil", email_exact="false") == ["eve"]
    assert users(allowed="false") == ["eve"]
    assert users(app_uid="app") == ["ana", "eve"]


def test_17_rows_older_than_a_day_are_gone_on_free_and_stay_on_standard():
    free, standard = Api(), Api(switches=Switches(log_retention_s=30 * 86400.0))
    for api, left in ((free, 1), (standard, 2)):
        _login(api)
        api.advance(86300)
        _login(api)
        api.advance(200)
        assert len(api.ok("GET", f"{A}/access/logs/access_requests")) == left


def test_18_a_seat_is_taken_once_and_freed_by_a_patch():
    api = Api(switches=Switches(seats=1))
    people = api.vendor.people
    ana = people.seat_for("ana@acme.example")
    assert people.seat_for("ana@acme.example")["id"] == ana["id"]
    assert people.seat_for("bob@acme.example") is None
    listed = api.ok("GET", f"{A}/access/users", email="ana@acme.example")
    assert [(user["seat_uid"], user["access_seat"]) for user in listed] == [(ana["seat_uid"], True)]
    seats = api.ok("PATCH", f"{A}/access/seats", [{"seat_uid": ana["seat_uid"], "access_seat": False, "gateway_seat": False}])
    assert [(seat["seat_uid"], seat["access_seat"]) for seat in seats] == [(ana["seat_uid"], False)]
    assert people.seat_for("bob@acme.example")["access_seat"] is True
    assert people.seat_for("ana@acme.example") is None
    assert api.raw("PATCH", f"{A}/access/seats", [{"seat_uid": "nobody", "access_seat": False}]).status_code == 404


def test_18_a_patch_cannot_give_a_seat():
    api = Api(switches=Switches(seats=1))
    ana = api.vendor.people.seat_for("ana@acme.example")
    free = [{"seat_uid": ana["seat_uid"], "access_seat": False, "gateway_seat": False}]
    api.ok("PATCH", f"{A}/access/seats", free)
    assert api.ok("PATCH", f"{A}/access/seats", [{**free[0], "access_seat": True}])[0]["access_seat"] is False


def _ask(api: Api, query: str, **variables):
    answer = api.raw("POST", "graphql", {"query": query, "variables": variables})
    assert answer.status_code == 200
    return answer.json()


REQUESTS = """query { viewer { zones(filter: {zoneTag: $zone}) { httpRequestsAdaptiveGroups(limit: 5000,
  filter: {datetime_geq: $since, datetime_lt: $until, requestSource: "eyeball"})
  { count dimensions { datetimeHour clientRequestHTTPHost } } } } }"""


def test_19_analytics_are_sampled_groups_by_hostname_and_hour():
    api = Api()
    for _ in range(37):
        api.vendor.state.count_request("acme.localhost")
    api.vendor.state.count_request("beta.localhost")
    api.advance(3600)
    api.vendor.state.count_request("acme.localhost")
    until = rfc3339(START + timedelta(hours=2))
    document = _ask(api, REQUESTS, since=rfc3339(START), until=until)
    rows = document["data"]["viewer"]["zones"][0]["httpRequestsAdaptiveGroups"]
    seen = [(row["dimensions"]["datetimeHour"][11:13], row["dimensions"]["clientRequestHTTPHost"], row["count"]) for row in rows]
    assert seen == [("12", "acme.localhost", 40), ("12", "beta.localhost", 10), ("13", "acme.localhost", 10)]
    assert document["errors"] is None


def test_19_analytics_reach_back_a_day_and_no_further():
    api = Api()
    late = _ask(api, REQUESTS, since=rfc3339(START - timedelta(hours=26)), until=rfc3339(START))
    assert late["data"] is None
    assert "24h" in late["errors"][0]["message"]


def test_19_logins_are_groups_too_and_other_questions_are_refused():
    api = Api()
    _login(api, user_id="u1")
    api.advance(60)
    document = _ask(api, "query { viewer { accounts { accessLoginRequestsAdaptiveGroups(limit: 10) { count } } } }")
    rows = document["data"]["viewer"]["accounts"][0]["accessLoginRequestsAdaptiveGroups"]
    assert [(row["count"], row["dimensions"]["isSuccessfulLogin"]) for row in rows] == [(1, 1)]
    assert _ask(api, "query { viewer { zones { firewallEvents { count } } } }")["errors"]
