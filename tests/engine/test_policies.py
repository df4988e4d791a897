"""What an analyzer says is heard before a provider is asked, and what it refuses is never made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rowhouse import engine
from rowhouse.engine import Diagnostic, PolicyResource, PolicyViolation, Unsupported
from rowhouse.wire.values import UNKNOWN
from tests.engine.support import Sandbox, sandbox

PROGRAM = """
first = Thing("first", value="one", secret=Output.secret("hush"))
second = Thing("second", value=first.thing_id, opts=O(protect=True, parent=first))
Thing("third", value="three")
"""


@dataclass
class Judge:
    """Says what it is told to, and remembers what it was asked."""

    of_one: Callable[[PolicyResource], Iterable[PolicyViolation]] = lambda _: ()
    of_all: Callable[[Sequence[PolicyResource]], Iterable[PolicyViolation]] = lambda _: ()
    asked: list[PolicyResource] = field(default_factory=list)
    stacks: list[dict[str, PolicyResource]] = field(default_factory=list)

    def analyze(self, resource: PolicyResource) -> list[PolicyViolation]:
        self.asked.append(resource)
        return list(self.of_one(resource))

    def analyze_stack(self, resources: Sequence[PolicyResource]) -> list[PolicyViolation]:
        self.stacks.append({one.name: one for one in resources})
        return list(self.of_all(resources))


def against(name: str, level: str = "mandatory", **only: object) -> Callable[[PolicyResource], list[PolicyViolation]]:
    """A rule against one resource, with these properties."""

    def judge(one: PolicyResource) -> list[PolicyViolation]:
        fits = one.name == name and all(one.props.get(key) == value for key, value in only.items())
        return [PolicyViolation("rule.one", one.urn, "it is bad", level, "Mend it.")] if fits else []

    return judge


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "box")


def test_a_resource_is_shown_as_it_would_be_registered(box: Sandbox):
    judge = Judge()
    box.preview(PROGRAM, policies=judge)
    asked = {one.name: one for one in judge.asked}
    assert set(asked) == {"first", "second", "third"}
    assert asked["first"].props == {"value": "one", "secret": "[secret]", "size": 1}  # as the provider's check completed it
    assert asked["second"].props["value"] is UNKNOWN
    assert (asked["second"].protect, asked["second"].parent) == (True, asked["first"].urn)
    assert asked["second"].comes_from == {"value": (asked["first"].urn,)}


def test_a_whole_stack_is_shown_with_outputs_that_are_known(box: Sandbox):
    assert box.up(PROGRAM).ok
    judge = Judge()
    box.preview(policies=judge)
    (stack,) = judge.stacks
    assert {"first", "second", "third"} <= set(stack)
    assert stack["first"].props["thingId"] == stack["second"].props["value"]
    assert stack["first"].props["secret"] == "[secret]"


def test_a_preview_goes_on_after_a_no_and_shows_all(box: Sandbox):
    judge = Judge(lambda one: [*against("first")(one), *against("third")(one)])
    result = box.preview(PROGRAM, policies=judge)
    assert sorted((v.rule, v.urn.rsplit("::", 1)[-1]) for v in result.violations) == [("rule.one", "first"), ("rule.one", "third")]
    assert (result.ok, result.failures) == (False, [])
    assert len(judge.stacks) == 1


@pytest.mark.parametrize("judge", [Judge(against("third")), Judge(of_all=lambda _: [PolicyViolation("rule.all", "", "too many")])])
def test_up_applies_nothing_when_a_mandatory_rule_is_broken(box: Sandbox, judge: Judge):
    result = box.up(PROGRAM, policies=judge)
    assert (result.declined, result.ok, len(result.violations)) == (True, False, 1)
    assert box.cloud.objects() == {}
    assert box.resources() == {}


def test_nobody_is_asked_to_review_what_the_policies_refuse(box: Sandbox):
    result = box.up(PROGRAM, policies=Judge(against("third")), review=lambda plan: pytest.fail("asked"))
    assert result.declined
    assert box.cloud.objects() == {}


def test_an_advisory_rule_is_told_and_stops_nothing(box: Sandbox):
    result = box.up(PROGRAM, policies=Judge(against("third", "advisory")))
    assert (result.ok, [v.level for v in result.violations]) == (True, ["advisory"])
    assert len(box.cloud.objects()) == 3
    told = [event for event in box.events if isinstance(event, Diagnostic) and event.message.startswith("policy rule.one")]
    assert [(event.severity, event.message) for event in told] == [("info", "policy rule.one: it is bad Mend it.")]


def test_what_becomes_known_only_in_the_apply_is_refused_there(box: Sandbox):
    """The preview does not know it: then that resource alone is not made, and what stands on it is left alone."""

    def judge(one: PolicyResource) -> list[PolicyViolation]:
        bad = one.name == "second" and one.props["value"] is not UNKNOWN
        return [PolicyViolation("rule.late", one.urn, "now it is bad")] if bad else []

    result = box.up(PROGRAM + '\nThing("fourth", opts=O(depends_on=[second]))', policies=Judge(judge))
    assert (result.declined, result.ok, [v.rule for v in result.violations]) == (False, False, ["rule.late"])
    assert "create second" not in box.cloud.verbs()
    assert "create fourth" not in box.cloud.verbs()
    assert {"create first", "create third"} <= set(box.cloud.verbs())
    assert [(failure.urn.rsplit("::", 1)[-1], failure.skipped) for failure in result.failures] == [("fourth", True)]


def test_what_exists_is_not_changed_when_it_is_refused(box: Sandbox):
    box.up(PROGRAM)
    before = box.cloud.objects()
    result = box.up(PROGRAM.replace('"three"', '"four"'), policies=Judge(against("third", value="four")))
    assert result.declined
    assert box.cloud.objects() == before


def test_one_failing_resource_does_not_keep_the_stack_from_being_judged(box: Sandbox):
    judge = Judge()
    box.cloud.fault(check__first="invalid")
    result = box.preview(PROGRAM, policies=judge)
    assert {failure.urn.rsplit("::", 1)[-1] for failure in result.failures} == {"first", "second"}
    assert {"first", "second", "third"} <= set(judge.stacks[0])


def test_a_program_that_dies_is_not_judged_and_nothing_is_applied(box: Sandbox):
    judge = Judge()
    result = box.up('Thing("first", value="one")\nraise SystemExit(3)', policies=judge)
    assert (result.declined, judge.stacks, box.cloud.objects()) == (True, [], {})
    assert [failure.urn for failure in result.failures] == [""]


def test_an_apply_is_judged_twice_and_a_look_once(box: Sandbox):
    judge = Judge()
    box.up(PROGRAM, policies=judge)
    assert len(judge.stacks) == 2
    box.preview(policies=judge)
    assert len(judge.stacks) == 3


def test_a_destruction_is_not_judged(box: Sandbox):
    box.up(PROGRAM.replace("protect=True, ", ""))
    assert box.destroy(policies=Judge(against("third"))).ok
    assert box.cloud.objects() == {}


def test_packs_are_refused_by_their_path():
    with pytest.raises(Unsupported, match="policy packs"):
        engine.Options(policy_packs=("policies",))
