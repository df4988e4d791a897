"""The shipped workflows as files: what they run, with which rights, and what two linters say of them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflows.town import EXPRESSION, ROOT, WORKFLOWS, Town, steps, workflow

NAMES = ["apply", "close", "comment", "drift", "reconcile", "review", "test"]
# Every right that a job may have, job by job: a right that comes in by a change is seen here too.
RIGHTS = {
    ("test", "check"): {"contents": "read"},
    ("test", "workflows"): {"contents": "read"},
    ("review", "review"): {"contents": "read"},
    ("comment", "fork"): {"contents": "read", "deployments": "read", "pull-requests": "write", "statuses": "write"},
    ("comment", "own"): {
        "contents": "read",
        "deployments": "read",
        "pull-requests": "write",
        "statuses": "write",
        "id-token": "write",
    },
    ("apply", "cells"): {"contents": "read", "deployments": "write"},
    ("apply", "hold"): {"contents": "read", "deployments": "read", "pull-requests": "read", "statuses": "write"},
    ("apply", "release"): {"contents": "read", "deployments": "read", "pull-requests": "read", "statuses": "write"},
    ("apply", "apply"): {
        "contents": "read",
        "deployments": "write",
        "pull-requests": "read",
        "statuses": "read",
        "id-token": "write",
    },
    ("reconcile", "cells"): {"contents": "read"},
    ("reconcile", "reconcile"): {"contents": "read", "id-token": "write"},
    ("drift", "cells"): {"contents": "read"},
    ("drift", "look"): {"contents": "read", "id-token": "write"},
    ("drift", "tell"): {"contents": "read", "deployments": "read", "issues": "write"},
    ("close", "cells"): {"contents": "read"},
    ("close", "close"): {"contents": "read", "id-token": "write"},
}
# Expressions that give a step a value, all of them ours, GitHub's own, or set by somebody who may write settings or start the run by hand.
HARMLESS = re.compile(
    r"github\.token|matrix\.(lane|cells)|vars\.[A-Z_]+|inputs\.(period|approved|unreviewed)"
    r"|secrets\.[A-Z_]+( \|\| env\.AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY))?"
)


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(name, job, body) for name in NAMES for job, body in workflow(name)["jobs"].items()]


def test_the_workflows_are_these():
    assert sorted(path.name for path in WORKFLOWS.iterdir()) == [f"{name}.yml" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_has_no_right_that_a_job_does_not_ask_for(name: str):
    text = (WORKFLOWS / f"{name}.yml").read_text()
    assert "\npermissions: {}\n" in text
    assert yaml.safe_load(text)["permissions"] == {}


def test_each_job_has_the_rights_that_it_needs_and_no_other():
    assert {(name, job): body["permissions"] for name, job, body in jobs()} == RIGHTS


def test_each_right_that_writes_says_why():
    for name in NAMES:
        for line in (WORKFLOWS / f"{name}.yml").read_text().splitlines():
            if re.fullmatch(r"\s+[a-z-]+: (write|read)\b.*", line):
                assert "#" in line, f"{name}: {line.strip()}"


def test_each_job_ends_after_a_time():
    for name, job, body in jobs():
        assert 0 < int(body["timeout-minutes"]) <= 120, f"{name}.{job}"


def test_every_step_runs_rowhouse_or_make_and_nothing_else():
    runs = [(name, job, step["run"]) for name, job, step in steps() if "run" in step]
    assert len(runs) > 20
    for name, job, run in runs:
        assert re.fullmatch(r"(rowhouse ci [a-z]+|make)( [a-z-]+)*( --(all|out|from)( drift)?)?", run), f"{name}.{job}: {run}"


def test_no_expression_stands_in_a_command():
    assert [step["run"] for _, _, step in steps() if "${{" in step.get("run", "")] == []


def test_no_expression_that_a_stranger_can_word_gives_a_step_a_value():
    for name, job, step in steps():
        for text in [*step.get("env", {}).values(), *step.get("with", {}).values()]:
            for expression in EXPRESSION.findall(text):
                assert HARMLESS.fullmatch(expression), f"{name}.{job}: {expression}"
    for name, job, body in jobs():
        assert "env" not in body, f"{name}.{job}: give a value to the step that needs it"
        assert "env" not in workflow(name), name


def test_every_action_is_pinned_by_commit_with_its_version_beside_it():
    pins: dict[str, set[str]] = {}
    for file in WORKFLOWS.glob("*.yml"):
        for line in file.read_text().splitlines():
            if line.lstrip().startswith("- uses:"):
                found = re.fullmatch(r"\s+- uses: ([\w-]+/[\w-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line)
                assert found, f"{file.name}: {line}"
                pins.setdefault(found[1], set()).add(found[2])
    assert {action: len(found) for action, found in pins.items()} == dict.fromkeys(pins, 1), "one version of an action, everywhere"


def test_every_checkout_keeps_no_token_and_none_takes_a_pull_requests_code_but_the_tests():
    for name, job, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] == "false", f"{name}.{job}"
            assert step["with"].get("ref") == (None if name == "test" else "main"), f"{name}.{job}"


def test_a_run_that_may_write_uses_no_cache_and_no_artifact_of_another_run():
    for name, job, step in steps():
        assert not step.get("uses", "").startswith("actions/cache"), f"{name}.{job}"
        assert "cache" not in step.get("with", {}), f"{name}.{job}"
        if step.get("uses", "").startswith("actions/download-artifact@"):
            assert name == "drift"
            assert "run-id" not in step["with"]


def test_no_job_that_a_pull_request_starts_gets_a_vendors_credential():
    vendors = ("FLY_API_TOKEN", "CLOUDFLARE_API_TOKEN", "STRIPE_API_KEY", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE")
    for name, job, step in steps():
        if any(each in workflow(name)["on"] for each in ("pull_request", "pull_request_target")):
            assert not set(step.get("env", {})) & set(vendors), f"{name}.{job}"
    for step in workflow("comment")["jobs"]["fork"]["steps"]:
        assert "secrets." not in json.dumps(step)
        assert "configure-aws-credentials" not in step.get("uses", "")
    assert "environment" not in workflow("comment")["jobs"]["fork"]


def test_the_two_jobs_of_the_comment_never_both_run():
    fork, own = (workflow("comment")["jobs"][job]["if"] for job in ("fork", "own"))
    assert fork == own.replace("==", "!=")
    assert "head.repo.full_name == github.repository" in own


def test_secrets_are_read_only_in_jobs_with_an_environment():
    for name, job, body in jobs():
        if "secrets." in json.dumps(body["steps"]):
            assert body.get("environment") in {"production", "usage", "billing", "review"}, f"{name}.{job}"


def test_one_run_at_a_time_on_a_cell_and_those_that_wait_are_not_cancelled():
    kept = {"cancel-in-progress": "false", "queue": "max"}
    for name, job in (("apply", "apply"), ("drift", "look")):
        assert workflow(name)["jobs"][job]["concurrency"] == {"group": "rowhouse-cell-${{ matrix.lane }}", **kept}
    for name, job in (("reconcile", "reconcile"), ("close", "close")):
        assert workflow(name)["jobs"][job]["concurrency"] == {"group": "rowhouse-ledger-${{ matrix.lane }}", **kept}


def test_a_run_on_a_branch_that_is_applied_is_never_cancelled_by_another():
    for name in ("apply", "close", "drift", "reconcile"):
        found = [workflow(name).get("concurrency"), *(body.get("concurrency") for body in workflow(name)["jobs"].values())]
        assert all(each["cancel-in-progress"] == "false" for each in found if each is not None), name


def test_zizmor_finds_nothing_and_each_suppression_says_why():
    tool = Path(sys.executable).parent / "zizmor"
    ran = subprocess.run(
        [tool, "--offline", "--quiet", "--persona", "auditor", "--format", "json", str(WORKFLOWS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, json.loads(ran.stdout)) == (0, []), ran.stdout + ran.stderr
    ignored = [line for file in WORKFLOWS.glob("*.yml") for line in file.read_text().splitlines() if "zizmor: ignore" in line]
    assert len(ignored) == 1
    assert all(len(line.split("]", 1)[1]) > 40 for line in ignored)


def test_actionlint_finds_nothing():
    tool = shutil.which("actionlint")
    if tool is None:
        pytest.skip("no actionlint on PATH")
    ran = subprocess.run([tool, "-no-color"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_actionlint_overlooks_nothing_but_the_key_that_it_does_not_know():
    settings = yaml.safe_load((ROOT / ".github/actionlint.yaml").read_text())
    assert settings == {"paths": {".github/workflows/*.yml": {"ignore": ['unexpected key "queue" for "concurrency" section']}}}


@pytest.mark.parametrize("target", sorted({step["run"] for _, _, step in steps() if step.get("run", "").startswith("make")}))
def test_each_target_of_make_is_there(target: str):
    ran = subprocess.run([*target.split(), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_after_the_set_up_a_jobs_later_steps_find_the_command(tmp_path: Path):
    path = tmp_path / "path"
    subprocess.run(["make", "-o", "setup", "setup-ci"], cwd=ROOT, env={"PATH": "/usr/bin:/bin", "GITHUB_PATH": str(path)}, check=True)
    assert path.read_text() == f"{ROOT}/.venv/bin\n"


def test_every_step_that_runs_rowhouse_is_one_of_its_commands(tmp_path: Path):
    from rowhouse.cli.ci import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    used = {step["run"].split()[2] for _, _, step in steps() if step.get("run", "").startswith("rowhouse")}
    assert used == known


def test_no_environment_of_a_step_takes_what_the_tests_cannot_give():
    from tests.workflows.github_stand_in import GitHubStandIn

    town = Town(Path(), GitHubStandIn(), {"matrix.cells": "main"})
    for _, _, step in steps():
        for text in step.get("env", {}).values():
            assert "${{" not in town._value(text, "token")
