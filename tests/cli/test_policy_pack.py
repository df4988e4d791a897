"""The project's policies at the command: imported from its own root, said once, in words, with an exit code."""

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console

from policies import RULES
from rowhouse.cli import apply
from rowhouse.cli.policy_pack import has_pack, pack_for, rules_of, violation_from, violations_in
from rowhouse.cli.render import print_outcome
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.engine import PolicyResource
from rowhouse.review.changes import Failed, Outcome
from rowhouse.spec.policy import Violation
from rowhouse.wire.values import UNKNOWN

ROOT = Path(__file__).resolve().parents[2]
TENANT = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant::acme"
MACHINE = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$rowhouse:fly:Machine::acme-main-machine"
NO = Violation("image.digest", MACHINE, "image is [red]'x'[/red]; it must be a digest.", "mandatory", "Write the digest.")
PERHAPS = Violation("ceiling.near", "", "cell main needs 401 DNS records.", "advisory", "Make a second cell.")


@pytest.fixture
def other_pack(tmp_path: Path) -> Path:
    """A project with one rule of its own."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "__init__.py").write_text(
        "from rowhouse.spec.policy import StackRule\n"
        'RULES = (StackRule(id="own.rule", level="advisory", wants="W.", why="Y.", mend="M.", check=lambda resources, facts: ()),)\n'
    )
    return tmp_path


def outcome(*violations: Violation, **more: object) -> Outcome:
    return Outcome(violations=[*violations], parents={MACHINE: TENANT}, **more)


def printed(told: Outcome) -> list[str]:
    stream = io.StringIO()
    print_outcome(Console(file=stream, width=300, highlight=False), told, done=False)
    return stream.getvalue().splitlines()


def test_the_rules_are_those_of_the_projects_own_root(other_pack: Path):
    assert [rule.id for rule in rules_of(ROOT)] == [rule.id for rule in RULES]
    assert [rule.id for rule in rules_of(other_pack)] == ["own.rule"]
    assert [rule.id for rule in rules_of(ROOT)] == [rule.id for rule in RULES]


def test_a_project_without_policies_is_judged_by_nobody(tmp_path: Path):
    assert not has_pack(tmp_path)
    assert rules_of(tmp_path) == ()
    assert pack_for(tmp_path, "main", "rowhouse") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("import nothing_of_that_name", "cannot be imported"), ("RULES = [1]", "no tuple of rules"), ("", "no tuple of rules")],
)
def test_a_broken_pack_is_no_missing_pack(tmp_path: Path, text: str, says: str):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "__init__.py").write_text(text)
    with pytest.raises(EnvironmentProblemError, match=says):
        rules_of(tmp_path)


def test_the_pack_of_the_project_judges_in_the_engines_words():
    pack = pack_for(ROOT, "main", "rowhouse")
    assert pack is not None
    props = {"image": UNKNOWN, "services": None, "cpus": 1, "memoryMb": 512, "region": "fra"}
    found = pack.analyze(PolicyResource(MACHINE, "rowhouse:fly:Machine", "acme-main-machine", props))
    assert {violation.rule for violation in found} == {"image.digest", "image.registry", "mark.present", "name.vendor"}
    assert all(violation.mend and violation.urn == MACHINE for violation in found)
    route = PolicyResource("urn", "rowhouse:edge:Route", "acme-main-gate-route", {})
    assert {violation.rule for violation in pack.analyze_stack([route])} == {"gate.one-application", "gate.audience"}


def test_the_clis_event_is_told_like_the_embedded_engines():
    (rule,) = [rule for rule in RULES if rule.id == "image.digest"]
    event = {
        "resourceUrn": MACHINE,
        "message": f"{rule.wants}\nimage is missing. {rule.mend}\n",
        "policyName": "image.digest",
        "enforcementLevel": "mandatory",
    }
    assert violation_from(event, {rule.id: rule}) == Violation("image.digest", MACHINE, "image is missing.", "mandatory", rule.mend)


def test_an_event_of_another_pack_is_told_as_it_is():
    event = {"message": "no\n", "policyName": "theirs", "enforcementLevel": "advisory"}
    assert violation_from(event, {}) == Violation("theirs", "", "no", "advisory", "")


def test_a_log_of_events_is_read_for_violations_alone(tmp_path: Path):
    log = tmp_path / "events"
    assert violations_in(log, tmp_path) == []
    log.write_text(
        '{"diagnosticEvent":{"message":"a \\"policyEvent\\" in a text"}}\n{"policyEvent":{"message":"no","policyName":"theirs"}}\n{}\n'
    )
    assert violations_in(log, tmp_path) == [Violation("theirs", "", "no")]


def test_violations_are_printed_once_with_what_to_do_mandatory_ones_first():
    assert printed(outcome(PERHAPS, NO, NO)) == [
        "policy image.digest: acme: acme-main-machine: image is [red]'x'[/red]; it must be a digest.",
        "      Write the digest.",
        "policy ceiling.near (advisory): cell main needs 401 DNS records.",
        "      Make a second cell.",
        "preview: no changes, 0 unchanged, 1 against the policies (0.0 s)",
    ]


def test_violations_stand_in_the_document():
    document = outcome(PERHAPS, NO).document()
    assert (document["ok"], [entry["rule"] for entry in document["policies"]]) == (False, ["image.digest", "ceiling.near"])
    assert document["policies"][0] == {
        "rule": "image.digest",
        "level": "mandatory",
        "tenant": "acme",
        "urn": MACHINE,
        "message": NO.message,
        "mend": "Write the digest.",
    }
    assert outcome(PERHAPS).document()["ok"]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (outcome(PERHAPS), 0),
        (outcome(NO), 1),
        (outcome(NO, declined=True), 2),
        (outcome(NO, failures=[Failed(MACHINE, "no room")]), 1),
    ],
    ids=["advisory", "mandatory", "declined", "mandatory and failed"],
)
def test_the_exit_code_tells(told: Outcome, code: int, capsys: pytest.CaptureFixture[str]):
    if code == 0:
        apply._finish(told, as_json=True, done=False)
        return
    with pytest.raises(typer.Exit) as ended:
        apply._finish(told, as_json=True, done=False)
    assert ended.value.exit_code == code
