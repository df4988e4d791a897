"""What the state says of data: it is not destroyed by accident, and it is spoken of in the files' words."""

from dataclasses import replace
from pathlib import Path

import pytest

from rowhouse.cli.guards import in_the_files_words, refuse_protected, stack_settings
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.review.changes import Failed, Outcome
from tests.support import fleet, instance, tenant

PREFIX = "urn:pulumi:main::rowhouse::"
TENANT = f"{PREFIX}rowhouse:index:Tenant::acme"
HOST = f"{PREFIX}rowhouse:index:Tenant$rowhouse:index:FlyHost::acme-main"


def resource(kind: str, name: str, **more: object) -> dict[str, object]:
    """A resource of Acme's host as a state has it."""
    return {"urn": f"{HOST.rpartition('::')[0]}${kind}::{name}", "type": kind, "parent": HOST, **more}


VOLUME = resource("rowhouse:fly:Volume", "acme-main-volume", inputs={"region": "fra", "sizeGb": 5}, protect=True)
GROUPS = [{"urn": TENANT, "type": "rowhouse:index:Tenant"}, {"urn": HOST, "type": "rowhouse:index:FlyHost", "parent": TENANT}]


def state(*resources: dict[str, object]) -> dict[str, object]:
    return {"deployment": {"resources": [*GROUPS, *resources]}}


def test_settings_of_a_stack_are_the_accounts_alone_and_a_file_that_hides_something_is_refused_with_its_line(tmp_path: Path):
    (tmp_path / "stacks").mkdir()
    file = tmp_path / "stacks/Pulumi.main.yaml"
    file.write_text("encryptionsalt: v1:x\nconfig:\n  account:zone: acme.example\n  account:edgeReplicas: 2\n  aws:region: x\n")
    assert stack_settings(tmp_path, "main") == {"zone": "acme.example", "edgeReplicas": 2}
    file.write_text("a: &a [x, x]\nconfig:\n  account:zone: *a\n")
    with pytest.raises(
        EnvironmentProblemError, match=r"\nstacks/Pulumi\.main\.yaml:1:4: error yaml\.alias: .*\n.*yaml:3:17: error yaml\.alias"
    ):
        stack_settings(tmp_path, "main")
    file.write_text("#" * 300_000)
    with pytest.raises(EnvironmentProblemError, match=r"file\.size: this file is larger than 256 KiB"):
        stack_settings(tmp_path, "main")


def test_protected_data_keeps_everything_and_is_counted_and_named():
    protected = [resource("rowhouse:fly:App", f"acme-{name}-app", protect=True) for name in "abc"]
    with pytest.raises(EnvironmentProblemError) as refused:
        refuse_protected("main", state(*protected, VOLUME))
    text = str(refused.value)
    assert text.startswith("stack main: 4 objects hold data or money and are protected, so nothing was deleted: 3 fly apps, 1 fly volume ")
    assert "(acme-a-app, acme-b-app, acme-main-volume and 1 more)" in text
    assert "On a local cloud, and nowhere else, `--delete-data`" in text


@pytest.mark.parametrize(
    "resources", [(), ({**VOLUME, "protect": False},), ({**VOLUME, "delete": True},)], ids=["none", "free", "replaced"]
)
def test_a_stack_without_protected_data_may_go(resources: tuple[dict[str, object], ...]):
    refuse_protected("main", state(*resources))
    refuse_protected("main", {})


def test_a_volume_that_cannot_follow_is_a_problem_of_the_file_and_others_keep_their_words():
    shrunk = fleet(tenant(instances=(instance(volume_gb=2),)))
    failures = [Failed(str(VOLUME["urn"]), "'sizeGb' cannot shrink"), Failed(f"{HOST}-x", "no capacity")]
    told = in_the_files_words(Outcome(failures=list(failures)), shrunk, "main", state(VOLUME)).failures
    assert told[0].in_files
    assert told[0].message.startswith("tenants/acme.yaml:1:1: error instance.shrunk: ")
    assert told[1:] == failures[1:]


def test_a_volume_that_fails_for_another_reason_keeps_its_words():
    failure = Failed(str(VOLUME["urn"]), "the vendor is away")
    fits = fleet(tenant(instances=(instance(volume_gb=5),)))
    assert in_the_files_words(Outcome(failures=[failure]), fits, "main", state(VOLUME)).failures == [failure]
    elsewhere = fleet(replace(fits.tenants[0], cell="eu", instances=(instance(volume_gb=2),)))
    assert in_the_files_words(Outcome(failures=[failure]), elsewhere, "main", state(VOLUME)).failures == [failure]
