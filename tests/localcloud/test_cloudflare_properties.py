"""What holds for the stand-in whatever is done to it."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from rowhouse.localcloud.cloudflare_directory import duration_s
from rowhouse.localcloud.cloudflare_reply import ApiError, paged
from rowhouse.localcloud.cloudflare_rules import Caller, judge
from rowhouse.localcloud.cloudflare_state import Switches
from tests.localcloud.cloudflare_support import Api

NAMES = st.sampled_from(["a", "b", "c.localhost"])
BODIES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("A"), "name": NAMES, "content": st.sampled_from(["192.0.2.1", "192.0.2.2", "bad"]), "ttl": st.just(1)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("CNAME"), "name": NAMES, "content": st.sampled_from(["x.example.com", "y.example.com"]), "ttl": st.just(1)}
    ),
    st.fixed_dictionaries({"type": st.just("TXT"), "name": NAMES, "content": st.sampled_from(["one", "two"]), "ttl": st.just(1)}),
)
VERBS = st.sampled_from(["create", "replace", "merge", "delete"])


def _do(dns, verb: str, position: int, body: dict) -> int:
    """The status of one change."""
    there = [record["id"] for record in dns.state.dns] or ["nobody"]
    key = there[position % len(there)]
    verbs = {
        "create": lambda: dns.create(body),
        "replace": lambda: dns.replace(key, body),
        "merge": lambda: dns.merge(key, {"content": body["content"]}),
        "delete": lambda: dns.delete(key),
    }
    try:
        verbs[verb]()
    except ApiError as refused:
        return refused.status
    return 200


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VERBS, st.integers(0, 5), BODIES), max_size=20))
def test_no_sequence_of_changes_leaves_two_records_that_collide(steps):
    dns = Api().vendor.dns
    for step in steps:
        assert _do(dns, *step) in {200, 400, 404}
        by_name: dict[str, list[dict]] = {}
        for record in dns.state.dns:
            by_name.setdefault(record["name"], []).append(record)
        for records in by_name.values():
            kinds = [record["type"] for record in records]
            assert kinds.count("CNAME") <= 1
            assert "CNAME" not in kinds or not {"A", "AAAA"} & set(kinds)
            assert len({(record["type"], record["content"]) for record in records}) == len(records)


@settings(max_examples=60, deadline=None)
@given(st.lists(BODIES, max_size=4), st.lists(BODIES, min_size=1, max_size=5), st.lists(st.integers(0, 3), max_size=2, unique=True))
def test_a_batch_happens_whole_or_not_at_all(before, posts, deleted):
    dns = Api().vendor.dns
    for body in before:
        _do(dns, "create", 0, body)
    there = dns.state.dns.all()
    deletes = [{"id": there[position]["id"]} for position in deleted if position < len(there)]
    try:
        dns.batch({"posts": posts, "deletes": deletes})
    except ApiError:
        assert dns.state.dns.all() == there
    else:
        assert len(dns.state.dns) == len(there) - len(deletes) + len(posts)


@given(st.integers(0, 30), st.integers(1, 12))
def test_pages_together_are_the_whole_in_order(total, size):
    items = list(range(total))
    seen: list[int] = []
    page = 1
    while (part := paged(items, {"page": str(page), "per_page": str(size)})).items:
        assert part.info is not None
        assert (part.info["total_count"], part.info["count"]) == (total, len(part.items))
        seen += part.items
        page += 1
    assert seen == items


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=25), st.integers(1, 6))
def test_no_window_ever_holds_more_requests_than_the_limit(gaps, limit):
    api = Api(switches=Switches(requests=limit))
    now = [api.clock.timestamp()]
    api.vendor.state.clock = api.vendor.guard.state.clock = type("At", (), {"timestamp": lambda _: now[0]})()
    admitted: list[float] = []
    waits: list[float | None] = []
    for gap in gaps:
        now[0] += gap
        try:
            api.vendor.guard._count("owner")
            admitted.append(now[0])
        except ApiError as refused:
            waits.append(refused.retry_after)
        assert sum(at > now[0] - 300 for at in admitted) <= limit
    assert all(wait is not None and 0 < wait <= 300 for wait in waits)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds):
    assert duration_s(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


RULES = st.sampled_from(
    [
        {"everyone": {}},
        {"email": {"email": "a@x.example"}},
        {"email": {"email": "b@y.example"}},
        {"email_domain": {"domain": "x.example"}},
        {"ip": {"ip": "10.0.0.0/8"}},
        {"any_valid_service_token": {}},
        {"group": {"id": "g"}},
    ]
)
POLICIES = st.fixed_dictionaries(
    {
        "decision": st.sampled_from(["allow", "deny", "bypass", "non_identity"]),
        "include": st.lists(RULES, max_size=2),
        "require": st.lists(RULES, max_size=1),
        "exclude": st.lists(RULES, max_size=1),
        "precedence": st.integers(1, 5),
    }
)
CALLERS = st.builds(
    Caller,
    ip=st.sampled_from(["10.1.1.1", "127.0.0.1"]),
    email=st.sampled_from(["", "a@x.example", "b@y.example"]),
    service_token_id=st.sampled_from(["", "t"]),
)
GROUPS = {"g": {"include": [{"email": {"email": "b@y.example"}}, {"group": {"id": "g"}}], "require": [], "exclude": []}}


@given(st.lists(POLICIES, max_size=4), CALLERS)
def test_nobody_is_let_in_without_a_policy_that_says_so(policies, caller):
    verdict = judge(policies, caller, GROUPS)
    wanted = {"allow": "allow", "bypass": "bypass", "service": "non_identity"}
    if verdict.outcome == "deny":
        return
    assert verdict.policy in policies
    assert verdict.policy["decision"] == wanted[verdict.outcome]
    if verdict.outcome == "allow":
        assert caller.email


@given(st.lists(POLICIES, max_size=4), CALLERS)
def test_excluding_everyone_closes_every_policy(policies, caller):
    closed = [{**policy, "exclude": [{"everyone": {}}]} for policy in policies]
    assert judge(closed, caller, GROUPS).outcome == "deny"


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(alphabet="abcdef_", min_size=1, max_size=8),
        st.one_of(st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2)),
    )
)
def test_2_whatever_is_put_into_an_application_comes_back(extra):
    api = Api()
    own = {"name", "domain", "type", "policies", "destinations", "id", "aud", "uid"}
    body = {
        **{key: value for key, value in extra.items() if key not in own},
        "name": "a",
        "domain": "acme.localhost",
        "type": "self_hosted",
    }
    app = api.vendor.apps.create(json.loads(json.dumps(body)))
    assert {key: api.vendor.apps.read(app["id"])[key] for key in body} == body
