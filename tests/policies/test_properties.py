"""Members and ceilings for any number and any names, and hostile texts in every place that a rule reads."""

from dataclasses import replace
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.rules import ceilings, gates, kinds
from rowhouse.spec.checks.cells import CEILINGS, Ceiling
from rowhouse.spec.policy import UNKNOWN, Resource, violations_of
from tests.policies.worlds import Registered, quiet
from tests.strategies import odd_texts, slugs

ADDRESSES = slugs(12).map(lambda name: f"{name}@acme.example")
DOMAINS = slugs(12).map(lambda name: f"@{name}.example")
MEMBERS = st.lists(ADDRESSES | DOMAINS, max_size=5, unique=True)


def selectors(members: list[str]) -> list[dict[str, object]]:
    return [{"emailDomain": {"domain": name[1:]}} if name.startswith("@") else {"email": {"email": name}} for name in members]


def with_members(members: list[str]) -> Registered:
    world = quiet()
    tenants = tuple(replace(one, members=tuple(members)) if one.id == "acme" else one for one in world.facts.fleet.tenants)
    return replace(world, facts=replace(world.facts, fleet=replace(world.facts.fleet, tenants=tenants)))


def said_of_members(world: Registered) -> list[str]:
    return [found.message for found in violations_of(gates.RULES, [world.named("acme-members")], world.facts)]


@given(MEMBERS, st.randoms(use_true_random=False))
def test_the_members_of_the_file_in_any_order_pass(members: list[str], chance: object):
    shuffled = [*members]
    chance.shuffle(shuffled)
    assert said_of_members(with_members(members).with_props("acme-members", includes=selectors(shuffled))) == []


@given(MEMBERS, MEMBERS)
def test_every_member_too_many_and_too_few_is_named(file: list[str], policy: list[str]):
    said = " ".join(said_of_members(with_members(file).with_props("acme-members", includes=selectors(policy))))
    for name in {*file, *policy}:
        assert (f"'{name}'" in said) == ((name in file) != (name in policy))


@given(st.sampled_from(CEILINGS), st.integers(0, 4000))
def test_a_ceiling_warns_from_four_fifths_and_refuses_beyond(ceiling: Ceiling, count: int):
    kind = ceilings._COUNTED[ceiling.what]
    resources = [Resource(f"urn-{number}", kind, "x", {}) for number in range(count)]
    rules = [rule for rule in ceilings.RULES if rule.id != "ceiling.resources"]
    found = violations_of(rules, resources, quiet().facts)
    wanted = ["ceiling.passed"] if count > ceiling.most else ["ceiling.near"] if 5 * count > 4 * ceiling.most else []
    assert [violation.rule for violation in found] == wanted
    assert all(f"{count:,} {ceiling.what}" in violation.message and "`cell: main-2`" in violation.message for violation in found)


@cache
def crowded(*cells: tuple[str, int]) -> Registered:
    """The quiet world with so many further tenants in other cells."""
    world = quiet()
    one = world.facts.fleet.tenant("fern")
    more = tuple(replace(one, id=f"{cell}-{number}", cell=cell) for cell, count in cells for number in range(count))
    return replace(world, facts=replace(world.facts, fleet=replace(world.facts.fleet, tenants=(*world.facts.fleet.tenants, *more))))


@given(
    st.lists(st.tuples(st.sampled_from(["main-2", "main-3", "north"]), st.sampled_from([1, 2, 401])), max_size=3, unique_by=lambda x: x[0])
)
@settings(max_examples=20, deadline=None)
def test_the_proposed_cell_has_room(cells: list[tuple[str, int]]):
    proposed = ceilings._other_cell(crowded(*cells).facts)
    assert dict(cells).get(proposed, 0) <= 400
    assert proposed != "main"
    if any(count <= 400 for _, count in cells):
        assert dict(cells)[proposed] == min(count for _, count in cells)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | odd_texts() | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts(), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), VALUES)
@settings(max_examples=300, deadline=None)
def test_no_value_of_any_property_breaks_a_rule_or_its_sentence(data: st.DataObject, value: object):
    """What a rule says stays one line of plain text, whatever stands in a file: no control character, no escape of a terminal."""
    world = quiet()
    one = data.draw(st.sampled_from([one for one in world.resources if kinds.is_at_a_vendor(one.type)]))
    name = data.draw(st.sampled_from(sorted(one.props)))
    for violation in world.with_props(one.name, **{name: value}).violations():
        assert violation.message.isprintable()
        assert len(violation.message) < 1500
