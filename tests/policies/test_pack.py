"""The pack as the Pulumi CLI sees it: what it is handed becomes resources, what a rule says becomes a report; no process is started."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi_policy import EnforcementLevel, PolicyResource, ResourceValidationArgs, ResourceValidationPolicy, StackValidationPolicy
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.policy import PolicyResourceOptions
from pulumi_policy.proxy import UNKNOWN_BOOLEAN_VALUE, UNKNOWN_OBJECT_VALUE, UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies import RULES
from policies.adapter import plain, resource_of, resources_of
from policies.pack import facts_of, policy_of, served
from policies.pages import PAGE, main, page
from rowhouse.errors import RowhouseError, SpecError
from rowhouse.spec.policy import UNKNOWN, Facts, ResourceRule, StackRule
from tests.policies.worlds import ROOT, quiet
from tests.spec.project import project

SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hush"}


def handed(properties: dict[str, Any]) -> Any:
    """Properties as pulumi-policy hands them on: out of JSON, without secret marks, behind its proxies."""
    return unknown_checking_proxy(deserialize_properties(json.loads(json.dumps(properties))))


def options(*, protect: bool = False, parent: str = "") -> PolicyResourceOptions:
    return PolicyResourceOptions(protect, [], None, [], SimpleNamespace(), [], parent)


def validated(type_: str, name: str, properties: dict[str, Any], **given: Any) -> ResourceValidationArgs:
    return ResourceValidationArgs(type_, handed(properties), f"urn::{name}", name, options(**given), None, None, {})


def member(name: str, properties: dict[str, Any], *, parent: Any = None, needs: dict[str, list[Any]] | None = None) -> PolicyResource:
    return PolicyResource("rowhouse:edge:Route", handed(properties), f"urn::{name}", name, options(), None, parent, [], needs or {})


def test_an_unknown_value_hides_nothing_beside_it():
    props = {
        "image": UNKNOWN_STRING_VALUE,
        "env": {"A": "1", "B": UNKNOWN_STRING_VALUE},
        "services": [UNKNOWN_OBJECT_VALUE, {"port": 80.0, "tls": UNKNOWN_BOOLEAN_VALUE}],
        "cpus": 2.0,
        "share": 0.5,
        "protect": True,
        "nothing": None,
        "__defaults": [],
        "secret": SECRET,
    }
    assert plain(handed(props)) == {
        "image": UNKNOWN,
        "env": {"A": "1", "B": UNKNOWN},
        "services": [UNKNOWN, {"port": 80, "tls": UNKNOWN}],
        "cpus": 2,
        "share": 0.5,
        "protect": True,
        "secret": "hush",
    }


def test_one_resource_is_taken_over_whole():
    found = resource_of(validated("rowhouse:fly:Volume", "acme-main-volume", {"sizeGb": 3}, protect=True, parent="urn::acme-main"))
    assert (found.urn, found.type, found.name) == ("urn::acme-main-volume", "rowhouse:fly:Volume", "acme-main-volume")
    assert (found.props, found.protect, found.parent) == ({"sizeGb": 3}, True, "urn::acme-main")


def test_a_stack_tells_where_values_come_from():
    application = member("application", {"aud": UNKNOWN_STRING_VALUE})
    route = member("route", {"audience": UNKNOWN_STRING_VALUE}, parent=application, needs={"audience": [application], "host": []})
    first, second = resources_of([application, route])
    assert (first.props, first.parent, first.comes_from) == ({"aud": UNKNOWN}, "", {})
    assert (second.parent, second.comes_from) == ("urn::application", {"audience": ("urn::application",)})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_known_values_come_through_as_they_were(value: Any):
    def without_nulls(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: without_nulls(one) for key, one in item.items() if one is not None}
        return [without_nulls(one) for one in item] if isinstance(item, list) else item

    assert plain(handed({"value": value})) == without_nulls({"value": value})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_a_policy_of_its_level(rule):
    made = policy_of(rule, quiet().facts)
    assert (made.name, made.description, made.remediation_steps) == (rule.id, rule.wants, rule.mend)
    assert made.enforcement_level is {"mandatory": EnforcementLevel.MANDATORY, "advisory": EnforcementLevel.ADVISORY}[rule.level]
    assert isinstance(made, StackValidationPolicy if isinstance(rule, StackRule) else ResourceValidationPolicy)


def told(rule: Any, args: Any, facts: Facts) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    policy_of(rule, facts).validate(args, lambda message, urn=None: found.append((message, urn)))
    return found


def test_a_violation_is_reported_with_what_to_do():
    (rule,) = [rule for rule in RULES if rule.id == "image.digest"]
    machine = validated("rowhouse:fly:Machine", "acme-main-machine", {"image": "nginx:latest"})
    assert told(rule, machine, quiet().facts) == [
        (f"image is 'nginx:latest'; it must be <name>@sha256:<64 hexadecimal digits>. {rule.mend}", None)
    ]


def test_a_rule_is_not_asked_about_other_types():
    (rule,) = [rule for rule in RULES if rule.id == "image.digest"]
    assert isinstance(rule, ResourceRule)
    assert told(rule, validated("rowhouse:fly:Volume", "acme-main-volume", {}), quiet().facts) == []


def test_a_violation_of_a_stack_names_its_resource():
    (rule,) = [rule for rule in RULES if rule.id == "gate.audience"]
    found = told(rule, SimpleNamespace(resources=[member("route", {"hostname": "a.example.com"})]), quiet().facts)
    assert [urn for _, urn in found] == ["urn::route"]


def test_facts_are_read_from_the_project():
    facts = facts_of(ROOT, "rowhouse", "main")
    assert (facts.zone, facts.stack, facts.project) == ("localhost", "main", "rowhouse")
    assert facts.guardrails.registries == ["registry.localhost"]
    assert "acme" in {tenant.id for tenant in facts.fleet.tenants}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "stacks/Pulumi.main.yaml: there is no such file"),
        ("config: {}", "account:zone is missing"),
        ("config: {account:zone: [a]}", "account:zone is missing or no text"),
        ("- a", "account:zone is missing"),
        ("config: []", "account:zone is missing"),
        ("config: [", "cannot be read"),
    ],
)
def test_a_stack_without_a_zone_is_refused(tmp_path: Path, text: str | None, says: str):
    project(tmp_path)
    (tmp_path / "stacks").mkdir()
    if text is not None:
        (tmp_path / "stacks" / "Pulumi.main.yaml").write_text(text)
    with pytest.raises(RowhouseError, match=says):
        facts_of(tmp_path, "rowhouse", "main")


def test_a_broken_project_is_refused(tmp_path: Path):
    project(tmp_path, tenants__acme="plan: nothing/here\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.main.yaml").write_text("config: {account:zone: example.com}")
    with pytest.raises(SpecError, match=r"tenants/acme\.yaml"):
        facts_of(tmp_path, "rowhouse", "main")


def test_the_pack_alone_says_who_starts_it():
    with pytest.raises(RowhouseError, match="PULUMI_PROJECT missing: the Pulumi CLI starts this pack"):
        served(ROOT, {"PULUMI_STACK": "main"})


def test_the_page_is_current():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), "run python -m policies.pages --write"


def test_the_page_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "docs").mkdir()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert "out of date" in capsys.readouterr().err
    assert main(["--write", "--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_the_page_tells_every_rule():
    text = page()
    for rule in RULES:
        for part in (f"### {rule.id}\n", rule.why, rule.mend, f"- Level: {rule.level}"):
            assert part in text
