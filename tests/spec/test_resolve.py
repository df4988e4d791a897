"""Defaults: built in < app < catalog < plan < tenant; maps merge, lists and the map of instances replace."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.spec import Size, Tenant, load_fleet
from rowhouse.spec.placeholders import PLACEHOLDERS, filled, why_not_filled
from tests.spec.project import APP, CATALOG, TENANT, project


def acme(root: Path, **files: str) -> Tenant:
    return load_fleet(project(root, **files)).tenant("acme")


def size_of(held: Tenant, name: str = "main") -> Size:
    one = held.instance(name)
    return Size(one.cpu_kind, one.cpus, one.memory_mb, one.volume_gb)


def test_the_smallest_file_is_one_instance_of_the_plan_for_its_owner(tmp_path: Path):
    held = acme(tmp_path, tenants__acme="owner: {email: Ops@Acme.example}\nplan: aether/pro\n")
    assert held.owner.name == "ops@acme.example"
    assert held.members == ("ops@acme.example",)
    assert (held.state, held.cell, held.app.id, held.plan.ref) == ("active", "main", "notebook", "aether/pro")
    (main,) = held.instances
    assert (main.name, main.host, main.region, main.hostname) == ("main", "fly", "fra", "acme")
    assert size_of(held) == Size("shared", 1, 256, 1)


def test_each_level_overrides_the_size_of_the_one_below_key_by_key(tmp_path: Path):
    app = APP + "size: {memory_mb: 512, volume_gb: 2}\n"
    assert size_of(acme(tmp_path, apps__notebook=app)) == Size("shared", 1, 512, 2)
    catalog = CATALOG + "size: {memory_mb: 768}\n"
    assert size_of(acme(tmp_path, apps__notebook=app, plans__aether=catalog)) == Size("shared", 1, 768, 2)
    plan = catalog.replace("    limits: {instances: 3, cpus", "    size: {volume_gb: 3}\n    limits: {instances: 3, cpus")
    assert size_of(acme(tmp_path, apps__notebook=app, plans__aether=plan)) == Size("shared", 1, 768, 3)
    tenant = TENANT + "instances:\n  main: {memory_mb: 1024}\n  lab: {cpus: 2, volume_gb: 4}\n"
    held = acme(tmp_path, apps__notebook=app, plans__aether=plan, tenants__acme=tenant)
    assert size_of(held) == Size("shared", 1, 1024, 3)
    assert size_of(held, "lab") == Size("shared", 2, 768, 4)


def test_another_app_brings_its_own_size_below_the_plans(tmp_path: Path):
    other = APP.replace("title: Notebook", "title: Other") + "size: {memory_mb: 512, volume_gb: 2}\n"
    catalog = CATALOG + "size: {volume_gb: 5}\n"
    held = acme(tmp_path, apps__other=other, plans__aether=catalog, tenants__acme=TENANT + "app: other\n")
    assert size_of(held) == Size("shared", 1, 512, 5)


def test_variables_merge_name_by_name(tmp_path: Path):
    held = acme(
        tmp_path,
        apps__notebook=APP + 'env: {A: app, B: app, C: app, D: app, NAME: "{owner.name}"}\nsecrets: {S: "env:S_APP", T: "env:T_APP"}\n',
        plans__aether=CATALOG.replace("    title: Pro\n", "    title: Pro\n    env: {C: plan, D: plan}\n")
        + "env: {B: catalog, C: catalog, D: catalog}\n",
        tenants__acme=TENANT + 'env: {D: tenant, E: tenant}\nsecrets: {T: "env:T_ACME"}\n',
    )
    assert held.env == {"A": "app", "B": "catalog", "C": "plan", "D": "tenant", "E": "tenant", "NAME": "Acme Ltd"}
    assert held.secrets == {"S": "env:S_APP", "T": "env:T_ACME"}


def test_members_replace_the_owner_lower_cased_and_once_each(tmp_path: Path):
    held = acme(tmp_path, tenants__acme=TENANT + "members: [Ana@acme.example, '@ACME.example', ana@ACME.example]\n")
    assert held.members == ("ana@acme.example", "@acme.example")


def test_instances_replace_the_default_in_the_order_of_the_file(tmp_path: Path):
    held = acme(tmp_path, tenants__acme=TENANT + "instances: {zeta: {}, alpha: {hostname: workshop}}\n")
    assert [(one.name, one.hostname) for one in held.instances] == [("zeta", "acme-zeta"), ("alpha", "workshop")]


def test_another_host_has_its_own_default_region(tmp_path: Path):
    held = acme(tmp_path, tenants__acme=TENANT + "instances: {main: {host: docker}, lab: {host: railway}, fly: {region: ams}}\n")
    assert [one.region for one in held.instances] == ["local", "europe-west4-drams3a", "ams"]


def test_a_plans_lifecycle_is_merged_over_the_catalogs(tmp_path: Path):
    catalog = CATALOG.replace("    title: Pro\n", "    title: Pro\n    lifecycle: {max_runtime_minutes: 240}\n")
    lifecycle = acme(tmp_path, plans__aether=catalog + 'lifecycle: {autostop: "off", grace_days: 7}\n').plan.lifecycle
    assert (lifecycle.autostop, lifecycle.idle_minutes, lifecycle.max_runtime_minutes, lifecycle.grace_days) == ("off", 15, 240, 7)


def test_a_meter_without_terms_is_unlimited(tmp_path: Path):
    fleet = load_fleet(project(tmp_path))
    notes = fleet.plan("aether/free").meter("notes")
    assert (notes.included, notes.beyond, notes.price, notes.is_billed) == (None, "unlimited", None, False)
    with pytest.raises(KeyError, match="it has notes, running_hours"):
        fleet.plan("aether/free").meter("nots")


def test_packs_belong_to_the_plans_that_draw_on_them(tmp_path: Path):
    fleet = load_fleet(project(tmp_path))
    assert [pack.name for pack in fleet.plan("aether/pro").packs] == ["notes-500"]
    assert fleet.plan("aether/free").packs == ()


def test_only_a_plan_that_can_never_cost_anything_is_free(tmp_path: Path):
    fleet = load_fleet(project(tmp_path))
    assert fleet.plan("aether/free").is_free
    assert not fleet.plan("aether/pro").is_free


def test_a_fleet_finds_its_parts(tmp_path: Path):
    fleet = load_fleet(project(tmp_path, tenants__beta=TENANT + "cell: second\n"))
    assert fleet.cells() == ("main", "second")
    assert [held.id for held in fleet.in_cell("second")] == ["beta"]
    for find, word in ((fleet.tenant, "x"), (fleet.plan, "aether/x"), (fleet.tenant("acme").instance, "x")):
        with pytest.raises(KeyError):
            find(word)


def test_loading_twice_gives_equal_fleets(tmp_path: Path):
    project(tmp_path)
    assert load_fleet(tmp_path) == load_fleet(tmp_path)


VALUES = {"owner.name": "Acme {owner.email}", "owner.email": "ops@acme.example", "tenant.id": "acme", "tenant.plan": "aether/pro"}


def test_placeholders_are_filled_once_and_json_is_left_alone():
    assert filled("{owner.name} <{owner.email}>", VALUES) == "Acme {owner.email} <ops@acme.example>"
    assert filled('{"a":{"b":"{tenant.id}"}}', VALUES) == '{"a":{"b":"acme"}}'
    assert filled("{{tenant.id}}", VALUES) == "{tenant.id}"
    assert filled("{} {0} { } ${HOME}", VALUES) == "{} {0} { } ${HOME}"


def test_every_placeholder_has_a_value():
    assert set(VALUES) == set(PLACEHOLDERS)


@given(st.text(st.sampled_from("{}aow.nertid\"' :"), max_size=40))
def test_filling_never_fails_and_what_passes_leaves_no_unknown_word(text):
    result = filled(text, VALUES)
    if why_not_filled(text) == "" and "{{" not in text:
        assert why_not_filled(result.replace("{owner.email}", "")) == ""
