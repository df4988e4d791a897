"""Each check fires on its own trigger, stays silent on the quiet fleet, and words what to do."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from rowhouse.errors import SpecError
from rowhouse.spec import Problem, check_fleet, checks, load_fleet
from rowhouse.spec.checks.secrets import looks_secret
from rowhouse.spec.model import Limits, Pack, Size, Tier
from rowhouse.spec.prices import terms_words
from rowhouse.spec.rules import RULES
from tests.spec.project import CATALOG, TENANT, only, problems_of, project
from tests.support import app, catalog, fleet, free_plan, instance, meter, plan, tenant


def fired(check, *tenants, **overrides) -> list[str]:
    return [problem.rule for problem in check(fleet(*tenants, **overrides))]


@pytest.mark.parametrize("check", checks.ALL_CHECKS)
def test_the_quiet_fleet_fires_nothing(check):
    assert check(fleet(tenant())) == []


@pytest.mark.parametrize("check", checks.ALL_CHECKS)
def test_an_empty_fleet_fires_nothing(check):
    assert check(fleet()) == []


# Tenants


def test_purge_is_refused_with_the_reason_and_the_way_on():
    problem = only(checks.check_states(fleet(tenant(state="purge"))))
    assert problem == Problem(
        "tenants/acme.yaml",
        1,
        1,
        "tenant.purge",
        "state 'purge' would delete acme's volume for good, and there is no verified backup of it: this version makes no backups yet. "
        "Allowed: active, suspended, offboarding. Write `state: offboarding`: the gate is closed, the machine stopped, and the data kept "
        "(this plan promises 30 days) until a backup is verified.",
    )


@pytest.mark.parametrize("state", ["active", "suspended", "offboarding"])
def test_every_other_state_is_allowed(state):
    assert checks.check_states(fleet(tenant(state=state))) == []


def test_an_empty_list_of_members_is_refused():
    assert fired(checks.check_members, tenant(members=())) == ["tenant.members"]


def test_more_members_than_one_rule_holds_are_refused():
    members = tuple(f"p{number}@acme.example" for number in range(1001))
    assert fired(checks.check_members, tenant(members=members)) == ["tenant.members"]
    assert fired(checks.check_members, tenant(members=members[:1000])) == []


@pytest.mark.parametrize("domain", ["@gmail.com", "@outlook.com", "@web.de"])
def test_a_public_mail_provider_does_not_pass_as_a_domain(domain):
    assert fired(checks.check_members, tenant(members=(domain,))) == ["tenant.members"]
    assert fired(checks.check_members, tenant(members=(f"ana{domain}",))) == []


def test_a_variable_has_one_source():
    assert fired(checks.check_name_clashes, tenant(env={"KEY": "a"}, secrets={"KEY": "env:KEY"})) == ["tenant.name-clash"]


@pytest.mark.parametrize("word", ["edge", "catalog", "rowhouse"])
def test_ids_that_mark_what_all_share_are_refused(word):
    assert fired(checks.check_reserved_ids, tenant(id=word)) == ["tenant.reserved"]


@pytest.mark.parametrize(("first", "second"), [("acme-l", "acme-1"), ("bill", "blll"), ("zoo", "zo0"), ("corner", "comer"), ("vvv", "wv")])
def test_ids_that_read_alike_are_worth_a_warning(first, second):
    problem = only(checks.check_lookalike_ids(fleet(tenant(id=first), tenant(id=second))))
    assert (problem.rule, problem.severity, problem.file) == ("tenant.lookalike", "warning", f"tenants/{second}.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("A", "sk_live_51Habcdefgh"),
        ("A", "rk_test_abcdefgh"),
        ("A", "whsec_abcdefghijkl"),
        ("A", "FlyV1 fm2_lJPECAAAAAAAA"),
        ("A", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x"),
        ("A", "AKIAIOSFODNN7EXAMPLE"),
        ("A", "-----BEGIN RSA PRIVATE KEY-----"),
        ("A", "ghp_0123456789abcdefghij"),
        ("A", "xoxb-1234567890-abc"),
        ("A", "sk-ant-api03-0123456789abcdef"),
        ("A", "postgres://app:hunter2@db.example/app"),
        ("DB_PASSWORD", "correct horse"),
        ("API_KEY", "0123456789abcdef"),
        ("GITHUB_TOKEN", "abcdefgh"),
    ],
)
def test_a_value_that_looks_like_a_credential_is_refused(name, value):
    problem = only(checks.check_plain_secrets(fleet(tenant(env={name: value}))))
    assert problem.rule == "tenant.secret-in-env"
    assert value not in str(problem)
    assert f"{name}: env:{name}" in problem.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USER_NAME", "Acme"),
        ("TOKEN_LIMIT", "100000"),
        ("URL", "https://acme.example/a?b=c"),
        ("PASSWORD", ""),
        ("MODEL", "sk-small"),
        ("A", "eyJ"),
    ],
)
def test_an_ordinary_value_is_no_credential(name, value):
    assert looks_secret(name, value) == ""


def test_a_credential_of_an_app_or_plan_is_named_once_and_there():
    leaked = {"KEY": "sk_live_51Habcdefgh"}
    world = fleet(tenant(app=app(env=leaked), env=leaked), apps=(app(env=leaked),))
    assert only(checks.check_plain_secrets(world)).file == "apps/notebook.yaml"
    leaky = plan(env=leaked)
    world = fleet(tenant(plan=leaky, env=leaked), catalogs=(catalog(leaky),))
    assert only(checks.check_plain_secrets(world)).file == "plans/aether.yaml"


# Instances


def test_more_instances_than_the_plan_allows_are_refused():
    several = tuple(instance(name=f"i{number}", hostname=f"h{number}") for number in range(4))
    problem = only(checks.check_instance_counts(fleet(tenant(instances=several))))
    assert problem.rule == "tenant.instances"
    assert "4 instances (i0, i1, i2, i3) are more than plan aether/pro allows. Allowed: 3." in problem.message
    unlimited = plan(limits=replace(plan().limits, instances=None))
    assert fired(checks.check_instance_counts, tenant(plan=unlimited, instances=several)) == []


def test_a_tenant_without_instances_is_refused():
    assert fired(checks.check_instance_counts, tenant(instances=())) == ["tenant.instances"]


@pytest.mark.parametrize(("host", "region"), [("fly", "fraa"), ("fly", "local"), ("fly", "eu"), ("railway", "us-west1"), ("docker", "fra")])
def test_a_region_that_the_host_does_not_have_is_refused(host, region):
    assert fired(checks.check_regions, tenant(instances=(instance(host=host, region=region),))) == ["instance.region"]


def test_a_misspelt_region_is_named_with_the_right_one():
    problem = only(checks.check_regions(fleet(tenant(instances=(instance(region="fraa"),)))))
    assert "Did you mean 'fra'?" in problem.message


BIG = plan(limits=Limits(instances=9, cpus=16, memory_mb=131072, volume_gb=2000), size=Size("performance", 1, 2048, 1))


@pytest.mark.parametrize(
    ("kind", "cpus", "memory_mb", "is_sold"),
    [
        ("shared", 1, 256, True),
        ("shared", 1, 2048, True),
        ("shared", 1, 2304, False),
        ("shared", 2, 256, False),
        ("shared", 2, 512, True),
        ("shared", 3, 1024, False),
        ("shared", 8, 16384, True),
        ("shared", 10, 4096, False),
        ("shared", 1, 300, False),
        ("performance", 1, 2048, True),
        ("performance", 1, 1024, False),
        ("performance", 2, 2048, False),
        ("performance", 16, 131072, True),
        ("performance", 5, 16384, False),
    ],
)
def test_sizes_are_those_that_fly_sells(kind, cpus, memory_mb, is_sold):
    held = tenant(plan=BIG, instances=(instance(cpu_kind=kind, cpus=cpus, memory_mb=memory_mb),))
    assert (fired(checks.check_sizes, held) == []) is is_sold


def test_a_size_beyond_the_plan_is_refused():
    assert fired(checks.check_sizes, tenant(instances=(instance(cpus=2, memory_mb=4096),))) == ["instance.size"]
    assert fired(checks.check_sizes, tenant(instances=(instance(cpus=4, memory_mb=2048),))) == ["instance.size"]
    assert fired(checks.check_sizes, tenant(instances=(instance(cpu_kind="performance", memory_mb=2048),))) == ["instance.size"]


@pytest.mark.parametrize(
    ("host", "volume_gb", "is_fine"), [("fly", 500, True), ("fly", 501, False), ("railway", 50, True), ("railway", 51, False)]
)
def test_a_volume_fits_its_host(host, volume_gb, is_fine):
    held = tenant(plan=BIG, instances=(instance(host=host, volume_gb=volume_gb),))
    assert (fired(checks.check_volumes, held) == []) is is_fine


def test_a_volume_beyond_the_plan_is_refused():
    assert fired(checks.check_volumes, tenant(instances=(instance(volume_gb=11),))) == ["instance.volume"]


def test_what_is_too_large_to_suspend_is_refused_on_fly_only():
    sleepy = replace(BIG, lifecycle=replace(BIG.lifecycle, autostop="suspend"))
    assert fired(checks.check_suspend, tenant(plan=sleepy, instances=(instance(memory_mb=2304),))) == ["instance.suspend"]
    assert fired(checks.check_suspend, tenant(plan=sleepy, instances=(instance(memory_mb=2048),))) == []
    assert fired(checks.check_suspend, tenant(plan=sleepy, instances=(instance(host="docker", memory_mb=4096),))) == []


# Hostnames


def test_a_derived_hostname_may_meet_another_tenants():
    first = tenant(id="acme", instances=(instance(), instance(name="lab", hostname="acme-lab")))
    second = tenant(id="acme-lab", instances=(instance(hostname="acme-lab"),))
    problem = only(checks.check_hostnames(fleet(first, second)))
    assert (problem.rule, problem.file) == ("hostname.taken", "tenants/acme-lab.yaml")
    assert "also that of tenant acme, instance lab" in problem.message


@pytest.mark.parametrize("twin", ["ACME-lab", "acme--lab", "acme-lab."])
def test_names_that_a_vendor_sees_as_equal_are_equal(twin):
    held = (tenant(instances=(instance(hostname="acme-lab"),)), tenant(id="beta", instances=(instance(hostname=twin),)))
    assert fired(checks.check_hostnames, *held) == ["hostname.taken"]


@pytest.mark.parametrize("label", ["www", "admin", "api", "mail", "edge", "WWW"])
def test_names_that_the_operator_needs_are_reserved(label):
    assert fired(checks.check_reserved_hostnames, tenant(instances=(instance(hostname=label),))) == ["hostname.reserved"]


def test_a_name_is_too_long_only_with_its_zone():
    held = fleet(tenant(instances=(instance(hostname="a" * 39),)))
    assert checks.check_zone(held, "localhost") == []
    assert checks.check_zone(held, "b" * 19 + ".com") == []
    assert only(checks.check_zone(held, "b" * 20 + ".com")).rule == "hostname.length"


# Cells


def crowd(count: int, per_tenant: int = 1) -> list:
    return [
        tenant(id=f"t{number}", instances=tuple(instance(name=f"i{at}", hostname=f"t{number}-{at}") for at in range(per_tenant)))
        for number in range(count)
    ]


def severities(check, *tenants) -> list[str]:
    problems = check(fleet(*tenants))
    assert {problem.rule for problem in problems} <= {"cell.ceiling" if check is checks.check_ceilings else "cell.resources"}
    return [problem.severity for problem in problems]


def test_a_cell_beyond_a_vendors_ceiling_is_an_error():
    assert "error" in severities(checks.check_ceilings, *crowd(501))
    assert "error" in severities(checks.check_ceilings, *crowd(251, per_tenant=2))


def test_a_cell_near_a_ceiling_is_a_warning():
    assert set(severities(checks.check_ceilings, *crowd(401))) == {"warning"}
    assert severities(checks.check_ceilings, *crowd(200)) == []
    assert severities(checks.check_ceilings, *crowd(201)) == ["warning"]


def test_cells_are_counted_apart():
    half = [replace(held, cell="b") if number % 2 else held for number, held in enumerate(crowd(400))]
    assert severities(checks.check_ceilings, *half) == []


def test_a_cell_that_is_large_for_one_stack_is_a_warning():
    assert severities(checks.check_resources, *crowd(30)) == []
    assert severities(checks.check_resources, *crowd(60)) == ["warning"]


def test_warnings_do_not_stop_a_load(tmp_path: Path):
    project(tmp_path, tenants__acmel=TENANT, tenants__acme1=TENANT)
    assert [problem.severity for problem in check_fleet(tmp_path)] == ["warning"]
    assert len(load_fleet(tmp_path).tenants) == 3


# Plans


@pytest.mark.parametrize(
    "wrong",
    [
        meter(name="base"),
        meter(rounding=None),
        meter(kind="storage_gb"),
        meter(price=None),
        meter(beyond="refuse"),
        meter(per="day"),
        meter(credits=True),
        meter(warn_at=(0,)),
        meter(warn_at=(80,), included=Decimal(0)),
        meter(name="minimum"),
        meter(tiers=(Tier(Decimal(1), Decimal(1)), Tier(None, Decimal(2)))),  # and a price
        meter(price=None, beyond="refuse", tiers=(Tier(Decimal(1), Decimal(1)), Tier(None, Decimal(2)))),
        meter(price=None, tiers=(Tier(None, Decimal(1)),)),
        meter(price=None, tiers=(Tier(Decimal(1), Decimal(1)), Tier(Decimal(2), Decimal(2)))),
        meter(price=None, tiers=(Tier(None, Decimal(1)), Tier(None, Decimal(2)))),
        meter(price=None, tiers=(Tier(Decimal(2), Decimal(1)), Tier(Decimal(2), Decimal(2)), Tier(None, Decimal(1)))),
        meter(price=None, tiers=(Tier(Decimal(0), Decimal(1)), Tier(None, Decimal(1)))),
    ],
)
def test_a_meter_that_cannot_be_measured_or_billed_is_refused(wrong):
    assert fired(checks.check_meters, catalogs=(catalog(plan(meters=(wrong,))),)) == ["plan.meter"]


def test_a_graduated_price_and_a_minimum_are_read_from_a_file(tmp_path: Path):
    text = CATALOG.replace('price: "0.10",', "").replace(
        "beyond: bill,", 'beyond: bill, tiers: [{up_to: 100, price: "0.10"}, {price: "0.05"}],'
    )
    text = text.replace('price: "20.00"\n', 'price: "20.00"\n    minimum: "25.00"\n')
    project(tmp_path, plans__aether=text)
    found = load_fleet(tmp_path).plan("aether/pro")
    assert found.meter("running_hours").tiers == (Tier(Decimal(100), Decimal("0.10")), Tier(None, Decimal("0.05")))
    assert (found.meter("running_hours").price, found.minimum) == (None, Decimal("25.00"))
    assert terms_words(found)["base"] == "aether/pro 20.00 USD a month, at least 25.00 USD a month with all use"
    assert terms_words(found)["running_hours"] == "0.10 USD an hour up to 100, then 0.05 USD an hour"


NOTES = meter(name="notes", kind="counter", unit="note", rounding=None, counter="notes", beyond="refuse", price=None, credits=True)


def test_a_pack_is_for_a_counter_and_credits_need_a_pack():
    pack = Pack("notes-500", "nots", 500, Decimal("5.00"), None)
    held = catalog(plan(meters=(NOTES,)), packs=(pack,))
    problems = checks.check_packs(fleet(catalogs=(held,)))
    assert [problem.rule for problem in problems] == ["plan.pack", "plan.pack"]
    assert "Did you mean 'notes'?" in problems[0].message
    good = catalog(plan(meters=(NOTES,)), packs=(replace(pack, meter="notes"),))
    assert fired(checks.check_packs, catalogs=(good,)) == []


def test_a_counter_meter_counts_what_the_app_declares():
    assert fired(checks.check_counters, catalogs=(catalog(plan(meters=(NOTES,))),)) == ["plan.counter"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "fraa"},
        {"size": Size("shared", 3, 768, 1), "limits": Limits(1, 4, 2048, 10)},
        {"size": Size("shared", 1, 4096, 1)},
        {"size": Size("shared", 1, 512, 501), "limits": Limits(1, 1, 2048, 600)},
        {"size": Size("shared", 1, 512, 20)},
    ],
)
def test_a_plan_whose_own_size_does_not_exist_or_fit_is_refused(wrong):
    assert set(fired(checks.check_plan_sizes, catalogs=(catalog(plan(**wrong)),))) == {"plan.size"}


# Between files


def test_an_unknown_plan_is_named_with_the_right_one(tmp_path: Path):
    problem = only(problems_of(tmp_path, tenants__acme=TENANT.replace("aether/pro", "aether/prro")))
    assert (problem.rule, problem.line, problem.column) == ("plan.unknown", 2, 7)
    assert problem.message == (
        "plan 'aether/prro' is not defined. Did you mean 'pro'? Plans of aether: free, pro. Add it to plans/aether.yaml or pick one."
    )


def test_an_unknown_catalog_is_named_with_all_plans(tmp_path: Path):
    problem = only(problems_of(tmp_path, tenants__acme=TENANT.replace("aether/pro", "ether/pro")))
    assert "Did you mean 'aether/pro'? Plans: aether/free, aether/pro." in problem.message


def test_an_unknown_app_is_named_with_the_right_one(tmp_path: Path):
    problem = only(problems_of(tmp_path, tenants__acme=TENANT + "app: notebok\n"))
    assert (problem.rule, problem.line) == ("app.unknown", 3)
    assert "Did you mean 'notebook'?" in problem.message
    problem = problems_of(tmp_path, tenants__acme=TENANT, plans__aether=CATALOG.replace("app: notebook", "app: notebok"))[0]
    assert (problem.rule, problem.file) == ("app.unknown", "plans/aether.yaml")


def test_a_plans_terms_for_an_unknown_meter_are_refused(tmp_path: Path):
    problem = only(problems_of(tmp_path, plans__aether=CATALOG.replace("      notes: {included", "      nots: {included")))
    assert (problem.rule, problem.line) == ("plan.meter", 22)
    assert "Did you mean 'notes'?" in problem.message


def test_places_of_checks_are_those_of_the_files(tmp_path: Path):
    text = TENANT + "instances:\n  main: {region: fraa}\n  lab:\n    volume_gb: 400\nstate: purge\n"
    problems = problems_of(tmp_path, tenants__acme=text)
    assert [(problem.rule, problem.line, problem.column) for problem in problems] == [
        ("instance.region", 4, 18),
        ("instance.volume", 6, 16),
        ("tenant.purge", 7, 8),
    ]


def test_nothing_is_loaded_when_one_file_is_wrong(tmp_path: Path):
    project(tmp_path, tenants__beta="plan: aether/pro\n", tenants__gamma=TENANT + "stat: x\n")
    with pytest.raises(SpecError) as caught:
        load_fleet(tmp_path)
    assert len(caught.value.problems) == 2
    text = str(caught.value)
    assert text.startswith("2 errors in the project's files; nothing was applied.\ntenants/beta.yaml:1:1: error spec.missing-key: ")
    assert len(text.splitlines()) == 3


def test_a_problem_needs_a_rule_that_has_a_sentence():
    with pytest.raises(ValueError, match=r"'no\.such' is not in RULES"):
        Problem("a", 1, 1, "no.such", "x")


def test_every_rule_is_tested_by_name():
    here = Path(__file__).parent
    text = "".join(file.read_text() for file in here.glob("test_*.py"))
    assert [rule for rule in RULES if f'"{rule}"' not in text] == []


def test_every_rule_is_used_by_the_code():
    room = Path(checks.__file__).parents[1]
    text = "".join(file.read_text() for file in room.rglob("*.py") if file.name != "rules.py")
    assert [rule for rule in RULES if f'"{rule}"' not in text] == []


def test_a_free_plan_is_quiet_too():
    assert fired(checks.check_meters, catalogs=(catalog(free_plan()),)) == []
