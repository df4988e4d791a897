"""Every rule: quiet where all is well, loud where one thing is broken or missing, and no other rule with it."""

import ast
import inspect
import re
from dataclasses import replace

import pytest

from policies import RULES
from policies.rules import ceilings, kinds
from policies.rules.places import place_of
from rowhouse.spec.checks.cells import CEILINGS
from rowhouse.spec.policy import ResourceRule, violations_of
from tests.components.recording import CELL
from tests.policies.cases import CASES, Case
from tests.policies.worlds import ROOT, before_the_first_apply, named, quiet, register, shipped
from tests.support import catalog, plan


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.title}")
def test_exactly_the_right_rule_fires(case: Case):
    violations = case.mutate(quiet()).violations()
    own = [violation for violation in violations if violation.rule == case.rule]
    assert any(case.says in violation.message for violation in own), violations
    assert {violation.rule for violation in violations} - {case.rule} == set(case.also)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_has_a_passing_a_failing_and_a_missing_case(rule):
    world = quiet()
    concerned = [one for one in world.resources if not isinstance(rule, ResourceRule) or not rule.types or one.type in rule.types]
    assert concerned, "the quiet world has nothing that this rule is asked about, so that it passes proves nothing"
    assert violations_of([rule], world.resources, world.facts) == []
    own = [case for case in CASES if case.rule == rule.id]
    assert any(not case.missing for case in own), "no failing case"
    assert any(case.missing for case in own), "no missing case"


def test_the_cases_are_of_rules_that_exist():
    assert {case.rule for case in CASES} == {rule.id for rule in RULES}


@pytest.mark.parametrize("world", [quiet, shipped], ids=["quiet", "shipped"])
def test_a_good_project_passes_whole_before_and_after_it_is_made(world):
    assert world().violations() == []
    assert before_the_first_apply(world()).violations() == []


def test_the_shipped_project_is_not_empty():
    assert {one.type for one in shipped().resources if kinds.is_at_a_vendor(one.type)} >= set().union(
        *(rule.types for rule in RULES if isinstance(rule, ResourceRule))
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_what_it_wants_why_and_how_to_mend(rule):
    assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", rule.id)
    for text in (rule.wants, rule.why, rule.mend):
        assert text.endswith((".", ")"))
        assert "\n" not in text
    assert not inspect.iscoroutinefunction(rule.check)


def test_ids_are_unique():
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("gone", [None, {}], ids=["nothing", "an empty map"])
def test_no_rule_raises_for_a_resource_that_says_nothing(gone):
    """A missing property is told in words; so is every property at once, and so is one that is null."""
    world = quiet()
    for one in world.resources:
        empty = replace(one, props=dict.fromkeys(one.props, gone) if gone is None else {}, comes_from={})
        others = tuple(empty if other is one else other for other in world.resources)
        violations_of(RULES, others, world.facts)


def test_every_ceiling_is_counted():
    assert set(ceilings._COUNTED) == {ceiling.what for ceiling in CEILINGS}


def test_another_cell_passes_too():
    """It registers no catalog's prices of its own in real life; its names carry its own stack."""
    tenants = (named("acme", cell="north"), named("fern", cell="north", state="offboarding"))
    world = register(tenants, (catalog(plan()),), replace(CELL, stack="north"))
    assert world.violations() == []


def test_a_tenant_of_another_cell_belongs_to_nothing_here():
    world = register((named("acme"),), (catalog(plan()),))
    moved = tuple(replace(one, cell="north") for one in world.facts.fleet.tenants)
    facts = replace(world.facts, fleet=replace(world.facts.fleet, tenants=moved))
    places = {one.urn for one in violations_of(RULES, world.resources, facts) if one.rule == "name.place"}
    assert {urn.rsplit("::", 1)[-1] for urn in places} >= {"acme-main-volume", "acme-members", "acme-main-gate-route"}


def test_every_type_that_the_components_register_has_a_place():
    for one in quiet().resources:
        assert (place_of(one, quiet().facts) is not None) == kinds.is_at_a_vendor(one.type), one.urn


@pytest.mark.parametrize("file", sorted((ROOT / "policies" / "rules").glob("*.py")), ids=lambda file: file.name)
def test_a_rule_needs_no_engine_no_clock_and_no_file(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    pure = {"__future__", "collections", "collections.abc", "dataclasses", "functools", "re", "typing", "urllib.parse"}
    assert {name for name in imported if not name.startswith(("policies", "rowhouse.spec"))} <= pure
