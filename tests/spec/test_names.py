"""Names at vendors: every function takes anything valid, stays within its vendor's alphabet and length, and never gives one name to two things."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rowhouse.spec import names
from rowhouse.spec.marks import labels_for
from rowhouse.spec.slug import is_slug, lookalike_skeleton, show, why_not_slug
from tests.strategies import hostnames, meter_names, odd_texts, pulumi_names, slugs
from tests.support import instance

FLY_APP = re.compile(r"[a-z][a-z0-9-]{0,61}")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
STRIPE = re.compile(r"[a-z0-9_-]+")
CLOUDFLARE = re.compile(r"[a-z0-9:-]+")

TENANT_SCOPE = st.tuples(pulumi_names(), pulumi_names(), slugs(), slugs())
STACK_SCOPE = st.tuples(pulumi_names(), pulumi_names())


@given(TENANT_SCOPE)
def test_fly_apps_have_legal_names(scope):
    for function in (names.fly_app_name, names.fly_network_name):
        name = function(*scope)
        assert FLY_APP.fullmatch(name)
        assert not name.endswith("-")
        assert "--" not in name


@given(TENANT_SCOPE, TENANT_SCOPE)
@example(("p", "s", "a-b", "c"), ("p", "s", "a", "b-c"))
@example(("p", "s-a", "b", "c"), ("p", "s", "a-b", "c"))
def test_two_instances_never_share_a_name_at_a_vendor(one, other):
    for function in (names.fly_app_name, names.dns_comment):
        assert (function(*one) == function(*other)) == (one == other)


@given(STACK_SCOPE, STACK_SCOPE)
@example(("a", "b"), ("A", "b"))
@example(("a.b", "c"), ("a-b", "c"))
def test_two_stacks_never_share_a_name_at_a_vendor(one, other):
    for function in (names.edge_app_name, names.edge_network_name, names.tunnel_name, names.stack_mark):
        assert (function(*one) == function(*other)) == (one == other)


@given(STACK_SCOPE)
def test_the_edge_has_legal_names(scope):
    for name in (names.edge_app_name(*scope), names.edge_network_name(*scope), names.tunnel_name(*scope)):
        assert FLY_APP.fullmatch(name)
        assert not name.endswith("-")


@given(STACK_SCOPE, slugs(), slugs())
def test_no_tenant_has_the_name_of_the_edge(scope, tenant, name):
    assert names.fly_app_name(*scope, tenant, name) != names.edge_app_name(*scope)


@given(TENANT_SCOPE)
def test_cloudflare_names_carry_the_stacks_mark(scope):
    project, stack, tenant, _ = scope
    for text, limit in (
        (names.access_policy_name(project, stack, tenant), 250),
        (names.dns_comment(*scope), 100),
    ):
        assert CLOUDFLARE.fullmatch(text)
        assert len(text) <= limit
        assert text.startswith(names.stack_mark(project, stack))


@given(TENANT_SCOPE, TENANT_SCOPE, st.text(max_size=200))
@example(("p", "s", "a-b", "c"), ("p", "s", "a", "b-c"), "Acme Ltd rowhouse:main:other:main")
def test_an_application_is_named_for_people_and_its_last_word_is_the_mark_of_its_instance(one, other, owner):
    hostname = f"{'a' * 51}.example.com"
    made = [names.access_app_name(*scope, owner=owner, hostname=hostname) for scope in (one, other)]
    assert (names.mark_in(made[0]) == names.mark_in(made[1])) == (one == other)
    for name, (project, stack, tenant, name_of_instance) in zip(made, (one, other), strict=True):
        assert len(name) <= 250
        assert hostname in name
        assert names.mark_in(name) == f"{names.stack_mark(project, stack)}{tenant}:{name_of_instance}"
        assert "@" not in name


def test_an_application_tells_the_owners_name_and_no_e_mail_address():
    scope = ("rowhouse", "main", "acme", "main")
    told = names.access_app_name(*scope, owner="Acme Ltd", hostname="acme.example.com")
    assert told == "Acme Ltd (acme.example.com) rowhouse:main:acme:main"
    assert (
        names.access_app_name(*scope, owner="ops@acme.example", hostname="acme.example.com") == "acme.example.com rowhouse:main:acme:main"
    )


@given(STACK_SCOPE, slugs(), slugs())
def test_two_tenants_never_share_a_policy(scope, one, other):
    assert (names.access_policy_name(*scope, one) == names.access_policy_name(*scope, other)) == (one == other)


@given(slugs(), slugs())
@example("a" * 39, "b" * 39)
def test_derived_labels_are_dns_labels(tenant, name):
    label = names.hostname_label(tenant, name)
    assert DNS_LABEL.fullmatch(label)
    assert len(label) <= 40


@given(slugs(), slugs(), slugs())
def test_one_tenants_instances_have_different_labels(tenant, one, other):
    assert (names.hostname_label(tenant, one) == names.hostname_label(tenant, other)) == (one == other)


def test_the_main_instance_has_the_tenants_own_label():
    assert names.hostname_label("acme", "main") == "acme"
    assert names.hostname_label("acme", "lab") == "acme-lab"


def test_a_full_hostname_is_one_level_below_its_zone():
    assert names.hostname_for(instance(hostname="acme"), "Example.COM.") == "acme.example.com"
    assert names.hostname_for("acme", "localhost") == "acme.localhost"


PRICE = st.tuples(pulumi_names(), slugs(), slugs(), st.one_of(meter_names(), st.just("base")))


@given(PRICE, PRICE)
@example(("p", "a", "b", "base"), ("p", "a-b", "c", "base"))
def test_two_prices_never_share_a_lookup_key(one, other):
    assert (names.price_lookup_key(*one) == names.price_lookup_key(*other)) == (one == other)


@given(PRICE)
def test_stripe_names_are_plain_and_short_enough(price):
    project, catalog, plan, meter = price
    for text, limit in (
        (names.stripe_product_id(project, catalog, plan), 120),
        (names.price_lookup_key(*price), 200),
        (names.meter_event_name(project, catalog, meter), 100),
    ):
        assert STRIPE.fullmatch(text)
        assert len(text) <= limit


@given(pulumi_names(), slugs(), slugs(), slugs(), slugs())
def test_two_plans_never_share_a_product(project, catalog, plan, other_catalog, other_plan):
    same = (catalog, plan) == (other_catalog, other_plan)
    assert (names.stripe_product_id(project, catalog, plan) == names.stripe_product_id(project, other_catalog, other_plan)) == same


@given(pulumi_names(), slugs(), meter_names(), slugs(), meter_names())
def test_two_meters_never_share_an_event_name(project, catalog, meter, other_catalog, other_meter):
    same = (catalog, meter) == (other_catalog, other_meter)
    assert (names.meter_event_name(project, catalog, meter) == names.meter_event_name(project, other_catalog, other_meter)) == same


@given(hostnames(), hostnames())
def test_routes_are_one_object_each(one, other):
    assert (names.route_key(one) == names.route_key(other)) == (one == other)
    assert names.route_key(one) == f"routes/{one}.json"


@given(odd_texts())
def test_a_route_never_leaves_its_folder(text):
    assert names.route_key(text).count("/") == 1


@given(slugs(), slugs())
def test_holds_are_one_object_for_each_instance(tenant, name):
    assert names.hold_key(tenant, name) == f"holds/{tenant}/{name}.json"


@given(odd_texts(), odd_texts())
def test_no_project_or_stack_breaks_a_name(project, stack):
    for text in (
        names.edge_app_name(project, stack),
        names.tunnel_name(project, stack),
        names.fly_app_name(project, stack, "acme", "main"),
    ):
        assert FLY_APP.fullmatch(text)


def test_names_do_not_change_between_versions():
    assert names.fly_app_name("rowhouse", "main", "acme", "main") == "acme-main-4tnuw343wi"
    assert names.edge_app_name("rowhouse", "main") == "edge-main-vacbpgnl6d"
    assert names.tunnel_name("rowhouse", "main") == "rowhouse-main-gtyfnccq2v"
    assert names.access_policy_name("rowhouse", "main", "acme") == "rowhouse:main:acme"
    assert names.price_lookup_key("rowhouse", "aether", "pro", "base") == "rowhouse_aether_pro_base"
    assert (names.volume_name(), names.machine_name("main"), names.edge_machine_name(1)) == ("data", "main", "edge-1")


def test_every_exported_name_is_there_and_sorted():
    assert list(names.__all__) == sorted(names.__all__)
    assert all(callable(getattr(names, name)) for name in names.__all__)


@given(pulumi_names(), pulumi_names(), slugs(), st.none() | slugs())
def test_marks_are_safe_as_stripe_metadata(project, stack, tenant, name):
    marks = labels_for(project, stack, tenant, name)
    assert list(marks)[:4] == ["managed-by", "project", "stack", "tenant"]
    assert ("instance" in marks) == (name is not None)
    assert all(len(key) <= 40 and not set("[]") & set(key) and len(value) <= 500 for key, value in marks.items())


@given(odd_texts())
def test_a_text_is_a_slug_or_has_a_reason_not_to_be(text):
    assert is_slug(text) == (why_not_slug(text) == "")
    assert show(text).isascii()
    assert show(text).isprintable()


@given(slugs())
def test_a_slug_is_a_dns_label_and_fits_a_file_name(slug):
    assert is_slug(slug)
    assert DNS_LABEL.fullmatch(slug)
    assert lookalike_skeleton(slug)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a--b", "1a", "A", "a_b", "a.b", "a b", "a" * 40, "\u0430", "a\n", "con", "xn--a"])
def test_texts_that_are_no_slugs(text):
    assert not is_slug(text)


def test_two_users_who_call_everything_alike_do_not_meet_at_fly():
    for zone, other in (("one.example", "two.example"), ("", "one.example")):
        assert names.fly_app_name("rowhouse", "main", "acme", "main", zone=zone) != names.fly_app_name(
            "rowhouse", "main", "acme", "main", zone=other
        )
        assert names.edge_app_name("rowhouse", "main", zone=zone) != names.edge_app_name("rowhouse", "main", zone=other)
