"""What each kind of tenant is made of, in golden files that a person reads in review."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowhouse.spec import model
from tests.components.recording import Registered, owner_of, plan_of, text_of
from tests.strategies import env_names, slugs
from tests.support import app, catalog, free_plan, instance, plan, tenant

GOLDEN = Path(__file__).parents[1] / "golden"
CATALOGS = (catalog(plan(), free_plan()),)
SECRETS = {"API_KEY": "env:ACME_API_KEY", "SIGNING_KEY": "file:secrets/signing-key"}


def named(slug: str, **overrides: object) -> model.Tenant:
    """A quiet tenant whose owner, members and instance carry its own name."""
    quiet = {
        "id": slug,
        "owner": model.Owner(slug.title(), f"ops@{slug}.example"),
        "members": (f"ops@{slug}.example",),
        "instances": (instance(hostname=slug),),
    }
    return tenant(**{**quiet, **overrides})


ACME = named(
    "acme",
    members=("zoe@acme.example", "@acme.example", "ana@acme.example"),
    env={"REGION_NAME": "Frankfurt"},
    secrets=SECRETS,
    instances=(instance(), instance(name="lab", hostname="acme-lab", cpus=2, memory_mb=1024, volume_gb=3)),
)
FERN = named("fern", plan=free_plan())
HAZEL = named("hazel", state="offboarding")
OPAL = named("opal", state="suspended")
FLEET = (ACME, FERN, HAZEL, OPAL)


@pytest.fixture(scope="module")
def whole() -> dict[str, Registered]:
    """The plan of all four."""
    return plan_of(FLEET, CATALOGS)


def parts(found: dict[str, Registered], slug: str) -> list[Registered]:
    """Sorted by name: the order of arrival is nobody's promise."""
    return [one for name, one in sorted(found.items()) if owner_of(found, name) == slug]


@pytest.mark.parametrize("slug", ["acme", "fern", "hazel", "opal", ""], ids=lambda slug: slug or "shared")
def test_a_plan_is_as_reviewed(whole: dict[str, Registered], slug: str, request: pytest.FixtureRequest):
    actual = text_of(whole, slug)
    file = GOLDEN / f"plan_{slug or 'shared'}.txt"
    if request.config.getoption("--update-golden"):
        file.write_text(actual, encoding="utf-8")
    assert actual == file.read_text(encoding="utf-8"), "read the difference; if it is meant: pytest --update-golden"


def test_golden_files_have_no_secret():
    for file in GOLDEN.glob("plan_*.txt"):
        assert "<tunnel token>" not in file.read_text(encoding="utf-8")
    assert "[secret]" in (GOLDEN / "plan_shared.txt").read_text(encoding="utf-8")


def test_reordering_members_instances_and_tenants_changes_nothing(whole: dict[str, Registered]):
    turned = replace(ACME, members=ACME.members[::-1], instances=ACME.instances[::-1], env=dict(reversed(ACME.env.items())))
    assert plan_of((OPAL, HAZEL, FERN, turned), CATALOGS) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"members": ("new@acme.example",)},
        {"state": "suspended"},
        {"state": "offboarding"},
        {"plan": free_plan()},
        {"instances": (instance(),)},
        {"env": {"OTHER": "value"}, "secrets": {}},
        {"owner": model.Owner("Renamed", "other@acme.example")},
        {"app": app(port=9090, env={"A": "B"})},
    ],
    ids="-".join,
)
def test_a_change_of_one_tenant_changes_no_other_registration(whole: dict[str, Registered], change: dict[str, object]):
    changed = plan_of((replace(ACME, **change), FERN, HAZEL, OPAL), CATALOGS)
    assert text_of(changed, "acme") != text_of(whole, "acme")
    for slug in ("fern", "hazel", "opal", ""):
        assert parts(changed, slug) == parts(whole, slug)


def test_what_holds_data_or_money_is_kept(whole: dict[str, Registered]):
    for one in whole.values():
        # What the edge keeps is a copy of what the object store has.
        keeps = one.type in {"rowhouse:fly:App", "rowhouse:fly:Volume"} and owner_of(whole, one.name) != ""
        keeps |= one.type == "rowhouse:stripe:Subscription" and one.inputs["active"]
        assert (one.name, one.protected) == (one.name, keeps)
        assert (one.name, one.retained) == (one.name, one.type == "rowhouse:stripe:Customer")


def test_who_pays(whole: dict[str, Registered]):
    """A free plan never has an active subscription; one who leaves has it ended, one who is suspended keeps it."""
    paying = {one.name for one in whole.values() if one.type == "rowhouse:stripe:Subscription" and one.inputs["active"]}
    assert paying == {"acme-billing-subscription", "opal-billing-subscription"}


def test_nothing_of_a_tenant_changes_before_its_volumes_are_as_its_file_says(whole: dict[str, Registered]):
    """A volume can refuse to move or to shrink: then nothing else may have changed, at no vendor and on no bill."""
    for slug in ("acme", "fern", "hazel", "opal"):
        own = [one for one in parts(whole, slug) if not one.is_component]
        volumes = {one.name for one in own if one.type == "rowhouse:fly:Volume"}
        assert len(volumes) == (2 if slug == "acme" else 1)
        first = {"rowhouse:fly:Volume", "rowhouse:fly:App", "rowhouse:fly:Ip"}  # what these are no file can change
        assert {one.name for one in own if not volumes <= set(one.depends_on)} == {one.name for one in own if one.type in first}


def test_a_tenant_that_is_not_active_is_closed_and_stopped(whole: dict[str, Registered]):
    for slug, running in {"acme": True, "fern": True, "hazel": False, "opal": False}.items():
        own = parts(whole, slug)
        machines = [one.inputs for one in own if one.type == "rowhouse:fly:Machine"]
        routes = [one.inputs for one in own if one.type == "rowhouse:edge:Route"]
        assert machines
        assert {machine["running"] for machine in machines} == {running}
        assert {route["access"] for route in routes} == {"open" if running else "closed"}


def test_secrets_are_registered_as_references(whole: dict[str, Registered]):
    assert whole["acme-main-secrets"].inputs["values"] == SECRETS


@st.composite
def fleets(draw: st.DrawFn) -> tuple[model.Tenant, ...]:
    """Tenants of every state, plan and shape."""
    made = []
    for slug in draw(st.lists(slugs(20), min_size=1, max_size=3, unique=True)):
        names = draw(st.lists(slugs(12), min_size=1, max_size=3, unique=True))
        made.append(
            named(
                slug,
                plan=draw(st.sampled_from([plan(), free_plan()])),
                state=draw(st.sampled_from(["active", "suspended", "offboarding"])),
                env=draw(st.dictionaries(env_names(), st.text(max_size=20), max_size=2)),
                secrets=draw(st.dictionaries(env_names(), st.just("env:SOMETHING"), max_size=2)),
                members=tuple(draw(st.lists(slugs().map(lambda name: f"{name}@x.example"), min_size=1, max_size=3))),
                instances=tuple(
                    instance(name=name, hostname=f"h-{number}-{slug}"[:60], cpus=draw(st.sampled_from([1, 2])))
                    for number, name in enumerate(names)
                ),
            )
        )
    return tuple(made)


@settings(max_examples=12, deadline=None)
@given(fleets())
def test_no_tenant_ever_has_a_public_address(tenants: tuple[model.Tenant, ...]):
    found = plan_of(tenants, CATALOGS)
    addresses = [one for one in found.values() if one.type == "rowhouse:fly:Ip"]
    assert {one.inputs["type"] for one in addresses} == {"private_v6"}
    assert len(addresses) == sum(len(one.instances) for one in tenants)
    for one in found.values():
        whose = owner_of(found, one.name)
        # A parent, too, is of the same tenant: nothing of one hangs on anything of another.
        assert {owner_of(found, need) for need in one.depends_on} <= {whose, ""}
        if one.type == "rowhouse:fly:Machine":
            ports = [port for service in one.inputs.get("services", []) for port in service["ports"]]
            assert ports == ([{"port": 80, "handlers": ["http"]}] if whose else [])
        if one.type == "cloudflare:index/dnsRecord:DnsRecord":
            assert (one.inputs["proxied"], one.inputs["type"]) == (True, "CNAME")
