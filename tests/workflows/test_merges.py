"""The steps of apply.yml, run for real: what a merge has to bring where, what is noted of it, and who waits meanwhile."""

import copy
import json
import shutil
from typing import Any

import pytest

from rowhouse.cli.reviewing import house_review
from tests.workflows.github_stand_in import BOT, GitHubStandIn, running
from tests.workflows.town import TENANT, Ended, Town

NEW = "owner: {email: ops@echo.example}\nplan: aether/pro\n"
PUSH: dict[str, Any] = {"ref": "refs/heads/main", "before": "0" * 40, "repository": {"full_name": "octo/houses"}}


def planned(town: Town, event_name: str = "push") -> list[str]:
    """The cells that a merge is to be applied to."""
    ran = town.step("apply", "cells", "rowhouse ci cells", event_name, PUSH)
    assert ran.code == 0, ran.out
    lanes = json.loads(ran.output["matrix"])["include"]
    assert ran.output["any"] == ("true" if lanes else "false")
    return [cell for lane in lanes for cell in lane["cells"].split()]


def applied(town: Town, cell: str, outcome: dict[str, Any] | None = None, code: int = 0) -> Ended:
    """The apply step, with a `rowhouse up` that ends so; what it was asked is kept."""
    town.values["matrix.cells"] = cell
    spy = town.folder / "spy"
    spy.mkdir(exist_ok=True)
    (spy / "outcome.json").write_text(json.dumps(outcome if outcome is not None else {"ok": True, "failures": []}))
    (spy / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "if sys.orig_argv[1:3] == ['-m', 'rowhouse.cli'] and sys.orig_argv[3] == 'up':\n"
        f"    folder = pathlib.Path({str(spy)!r})\n"
        "    (folder / 'asked').write_text(repr((sys.orig_argv[3:], sorted(os.environ))))\n"
        "    print((folder / 'outcome.json').read_text(), flush=True)\n"
        "    print('::add-mask::x', file=sys.stderr, flush=True)\n"
        f"    os._exit({code})\n"
    )
    return town.step("apply", "apply", "rowhouse ci apply", "push", PUSH, PYTHONPATH=str(spy))


def settle(town: Town) -> None:
    """Everything that is merged is applied."""
    for cell in planned(town):
        assert applied(town, cell).code == 0


@pytest.fixture(scope="module")
def applied_once(first_town: Town, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the record holds when everything of the first town is applied."""
    with running(GitHubStandIn()) as hub:
        folder = tmp_path_factory.mktemp("settled") / "town"
        shutil.copytree(first_town.folder, folder)
        made = Town(folder, hub)
        made.git("remote", "set-url", "origin", str(made.bare))
        settle(made)
        return {"deployments": hub.deployments, "deployment_statuses": hub.deployment_statuses, "last": hub.fresh()}


@pytest.fixture
def settled(town: Town, applied_once: dict[str, Any]) -> Town:
    """A town of which everything is applied."""
    town.hub.deployments += copy.deepcopy(applied_once["deployments"])
    town.hub.deployment_statuses |= copy.deepcopy(applied_once["deployment_statuses"])
    while town.hub.fresh() < applied_once["last"]:
        pass
    return town


def waits(town: Town, sha: str) -> str | None:
    ran = town.step("apply", "hold", "rowhouse ci wait", "push", PUSH)
    assert ran.code == 0, ran.out
    return town.hub.status(sha, "rowhouse/wait")


def commented(town: Town, number: int) -> Ended:
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", town.event(number))
    assert ran.code == 0, ran.out
    return ran


@pytest.mark.long
def test_the_first_merge_is_applied_to_every_cell_and_the_next_only_where_it_changes_something(town: Town):
    assert planned(town) == ["main", "two"]
    settle(town)
    assert planned(town) == []
    town.merge("tenants/echo.yaml", NEW)
    assert planned(town, "workflow_dispatch") == ["main"]


def test_a_merge_whose_run_was_lost_is_applied_by_the_next(settled: Town):
    town = settled
    town.merge("tenants/dune.yaml", TENANT.format(name="dune") + "cell: two\nstate: suspended\n")
    town.merge("tenants/echo.yaml", NEW)
    assert planned(town) == ["main", "two"]


@pytest.mark.long
def test_a_merge_between_plan_and_apply_is_applied_by_both_and_lost_by_none(settled: Town):
    town = settled
    town.merge("tenants/echo.yaml", NEW)
    assert planned(town) == ["main"]
    town.merge("tenants/foxy.yaml", NEW.replace("echo", "foxy"))
    assert applied(town, "main").code == 0
    assert planned(town) == []


def test_up_is_asked_for_one_cell_without_the_workflows_token_and_its_words_are_no_commands(town: Town):
    planned(town)
    ran = applied(town, "two")
    assert ran.code == 0, ran.out
    argv, names = eval((town.folder / "spy/asked").read_text())
    assert argv == ["up", "--yes", "--engine", "pulumi", "--stack", "two", "--json"]
    assert "GITHUB_TOKEN" not in names
    lines = ran.out.splitlines()
    stop = next(line for line in lines if line.startswith("::stop-commands::"))
    assert lines.index(stop) < lines.index("::add-mask::x") < lines.index(f"::{stop.removeprefix('::stop-commands::')}::")


def ranges(town: Town) -> list[tuple[str, str]]:
    """What the last `up` was told to have been reviewed, but for the empty range that stands for nothing."""
    argv, _ = eval((town.folder / "spy/asked").read_text())
    told = [argv[at + 1].split("..") for at, word in enumerate(argv) if word == "--reviewed"]
    assert told, "an apply without any range does whatever the files say"
    return [(base, head) for base, head in told if base != head]


@pytest.mark.parametrize("squash", [pytest.param(False, marks=pytest.mark.long), True])
def test_what_was_reviewed_of_a_merge_is_what_its_apply_may_do(settled: Town, squash: bool):
    town = settled
    base = town.git("rev-parse", "main")
    head = town.propose(1, {"tenants/echo.yaml": NEW})
    commented(town, 1)
    town.accept(1, squash=squash)
    town.merge("tenants/foxy.yaml", NEW.replace("echo", "foxy"))  # pushed, reviewed by nobody
    planned(town)
    assert applied(town, "main").code == 0
    assert ranges(town) == [(base, head)]


@pytest.mark.long
def test_a_review_that_somebody_else_says_there_was_approves_nothing(settled: Town):
    town = settled
    base = town.git("rev-parse", "main")
    head = town.propose(1, {"tenants/echo.yaml": NEW})
    forged = {"id": town.hub.fresh(), "state": "success", "context": "rowhouse/review", "creator": town.hub.user("mallory")}
    town.hub.statuses[head] = [forged | {"description": f"nothing blocks the merge; change {'0' * 16} of {base}"}]
    town.accept(1)
    planned(town)
    assert applied(town, "main").code == 0
    assert ranges(town) == []


@pytest.mark.long
def test_a_change_with_another_digest_than_was_reviewed_approves_nothing(settled: Town):
    town = settled
    base = town.git("rev-parse", "main")
    head = town.propose(1, {"tenants/echo.yaml": NEW})
    wrong = {"id": town.hub.fresh(), "state": "success", "context": "rowhouse/review", "creator": town.hub.user(BOT)}
    town.hub.statuses[head] = [wrong | {"description": f"nothing blocks the merge; change {'0' * 16} of {base}"}]
    town.accept(1)
    planned(town)
    ran = applied(town, "main")
    assert ranges(town) == []
    assert "another digest" in ran.out


def forge(town: Town, head: str, digest: str, base: str) -> None:
    """What a workflow on somebody's own branch can do: set the status as the workflows' own author."""
    said = {"state": "success", "context": "rowhouse/review", "creator": town.hub.user(BOT)}
    town.hub.statuses[head] = [{"id": town.hub.fresh(), **said, "description": f"nothing blocks the merge; change {digest} of {base}"}]


def test_the_code_of_a_base_that_was_never_merged_is_not_run(settled: Town):
    town = settled
    town.git("checkout", "-q", "-b", "own")
    town.write("policies/__init__.py", f"import os\nopen({str(town.folder / 'pwned')!r}, 'w').write(repr(dict(os.environ)))\nRULES = ()\n")
    base = town.commit("a policy")
    town.git("push", "-q", "origin", "own")
    town.git("checkout", "-q", "main")
    head = town.propose(1, {"tenants/echo.yaml": NEW})
    forge(town, head, "0" * 16, base)
    town.accept(1)
    planned(town)
    ran = applied(town, "main")
    assert "never stood" in ran.out
    assert ranges(town) == []
    assert not (town.folder / "pwned").exists()


def test_a_blocked_change_whose_status_was_made_green_approves_nothing(settled: Town):
    town = settled
    base = town.git("rev-parse", "main")
    head = town.propose(1, {"tenants/acme.yaml": None})
    review = house_review(town.folder / "dev", base, head)
    assert review.blocked
    forge(town, head, review.digest, base)
    town.accept(1)
    planned(town)
    ran = applied(town, "main")
    assert "block it" in ran.out
    assert ranges(town) == []


@pytest.mark.long
def test_a_change_that_mends_what_failed_waits_until_somebody_says_that_it_is_one(settled: Town):
    town = settled
    town.merge("tenants/acme.yaml", TENANT.format(name="acme") + "members: ['@a.example']\n")
    planned(town)
    applied(town, "main", {"ok": False, "failures": [{"tenant": "acme", "urn": "u", "message": "no"}]}, code=1)
    sha = town.propose(1, {"tenants/acme.yaml": TENANT.format(name="acme")})
    commented(town, 1)
    assert town.hub.status(sha, "rowhouse/wait") == "pending"
    town.hub.pulls[1]["labels"] = [{"name": "mends-apply"}]
    commented(town, 1)
    assert (town.hub.status(sha, "rowhouse/wait"), waits(town, sha)) == ("success", "success")
    assert "mends-apply" in town.hub.description(sha, "rowhouse/wait")


def test_a_person_may_say_that_what_nobody_reviewed_is_applied_too(settled: Town):
    town = settled
    town.merge("tenants/echo.yaml", NEW)
    planned(town)
    town.values["inputs.unreviewed"] = "true"
    assert applied(town, "main").code == 0
    argv, _ = eval((town.folder / "spy/asked").read_text())
    assert "--reviewed" not in argv


@pytest.mark.long
def test_tenants_that_failed_wait_and_the_others_do_not(settled: Town):
    town = settled
    for name in ("acme", "bolt"):
        town.write(f"tenants/{name}.yaml", TENANT.format(name=name) + "members: ['@a.example']\n")
    town.commit()
    town.push()
    planned(town)
    ran = applied(town, "main", {"ok": False, "failures": [{"tenant": "acme", "urn": "u", "message": "no"}]}, code=1)
    assert (ran.code, "`acme`" in ran.summary) == (1, True)
    first = town.propose(1, {"tenants/acme.yaml": TENANT.format(name="acme")})
    second = town.propose(2, {"tenants/bolt.yaml": TENANT.format(name="bolt")})
    commented(town, 1)
    commented(town, 2)
    assert [town.hub.status(sha, "rowhouse/wait") for sha in (first, second)] == ["pending", "success"]
    assert "acme" in town.hub.description(first, "rowhouse/wait")
    assert planned(town) == ["main"]
    settle(town)
    assert waits(town, first) == "success"


@pytest.mark.long
def test_a_merge_makes_open_pull_requests_of_its_tenants_wait_until_it_is_applied(settled: Town):
    town = settled
    same = town.propose(1, {"tenants/acme.yaml": TENANT.format(name="acme") + "state: suspended\n"})
    other = town.propose(2, {"tenants/bolt.yaml": TENANT.format(name="bolt") + "state: suspended\n"})
    commented(town, 1)
    commented(town, 2)
    town.merge("tenants/acme.yaml", TENANT.format(name="acme") + "members: ['@a.example']\n")
    planned(town)
    assert (waits(town, same), town.hub.status(other, "rowhouse/wait")) == ("pending", "success")
    assert applied(town, "main").code == 0
    assert waits(town, same) == "success"


@pytest.mark.long
def test_an_apply_that_was_killed_leaves_its_tenants_waiting(settled: Town):
    town = settled
    sha = town.propose(1, {"tenants/acme.yaml": TENANT.format(name="acme") + "state: suspended\n"})
    commented(town, 1)
    tip = town.merge("tenants/acme.yaml", TENANT.format(name="acme") + "members: ['@a.example']\n")
    planned(town)
    before = town.hub.deployments[-1]["payload"]["pending"]
    payload = {"applied": next(iter(before)), "failed": None}
    made = {"id": town.hub.fresh(), "sha": tip, "environment": "rowhouse/main", "payload": payload, "creator": town.hub.user(BOT)}
    town.hub.deployments.append(made)
    town.hub.deployment_statuses[made["id"]] = [{"id": town.hub.fresh(), "state": "in_progress"}]
    assert waits(town, sha) == "pending"


@pytest.mark.long
def test_a_change_that_half_failed_and_was_taken_back_is_applied_once_more(settled: Town):
    town = settled
    text = (town.folder / "dev/tenants/acme.yaml").read_text()
    town.merge("tenants/acme.yaml", text + "members: ['@a.example']\n")
    planned(town)
    applied(town, "main", {"ok": False, "failures": [{"tenant": "acme", "urn": "u", "message": "no"}]}, code=1)
    town.merge("tenants/acme.yaml", text)
    assert planned(town) == ["main"]


@pytest.mark.long
def test_nobody_waits_in_a_project_that_applies_by_other_means(town: Town):
    sha = town.propose(1, {"tenants/acme.yaml": TENANT.format(name="acme") + "state: suspended\n"})
    commented(town, 1)
    assert town.hub.status(sha, "rowhouse/wait") == "success"


def test_a_record_that_somebody_else_wrote_is_not_believed(settled: Town):
    town = settled
    tip = town.merge("tenants/acme.yaml", TENANT.format(name="acme") + "members: ['@a.example']\n")
    town.hub.deployments.append(
        {"id": town.hub.fresh(), "sha": tip, "environment": "rowhouse", "payload": {"pending": {}}, "creator": town.hub.user("mallory")}
    )
    assert planned(town) == ["main"]


def test_without_credentials_the_shipped_step_says_so_and_the_cell_counts_as_not_applied(town: Town):
    planned(town)
    town.values["matrix.cells"] = "main"
    ran = town.step("apply", "apply", "rowhouse ci apply", "push", PUSH)
    assert ran.code == 2
    assert "FLY_API_TOKEN" in ran.out
    assert planned(town) == ["main", "two"]


def test_files_that_are_wrong_are_planned_nowhere(town: Town):
    town.merge("tenants/acme.yaml", "plan: nowhere/pro\n")
    ran = town.step("apply", "cells", "rowhouse ci cells", "push", PUSH)
    assert (ran.code, ran.output) == (2, {})
    assert "tenants/acme.yaml" in ran.out
    assert town.hub.deployments == []


@pytest.mark.parametrize(("name", "event_name"), [("reconcile", "schedule"), ("drift", "workflow_dispatch"), ("close", "schedule")])
def test_a_schedule_runs_over_every_cell_and_asks_nothing_of_github(town: Town, name: str, event_name: str):
    ran = town.step(name, "cells", "rowhouse ci cells", event_name, {"schedule": "23 * * * *"})
    assert ran.code == 0, ran.out
    assert [lane["cells"] for lane in json.loads(ran.output["matrix"])["include"]] == ["main", "two"]
    assert town.hub.calls == []


@pytest.mark.parametrize(("name", "job", "run"), [("reconcile", "reconcile", "reconcile"), ("close", "close", "close 2")])
def test_without_credentials_reconcile_and_close_do_nothing_and_say_so(town: Town, name: str, job: str, run: str):
    town.values |= {"matrix.cells": "main", "inputs.period": "", "inputs.approved": ""}
    ran = town.step(name, job, "rowhouse ci", "schedule", {"schedule": "23 * * * *"})
    assert ran.code == 2, ran.out
    assert f"`main`: {run}" in ran.summary
    assert town.hub.calls == []


@pytest.mark.parametrize("period", ["$(touch x)", "2026-13", "--yes", "2026-11\n2026-12"])
def test_a_month_that_is_none_closes_nothing(town: Town, period: str):
    town.values |= {"matrix.cells": "main", "inputs.period": period, "inputs.approved": "true"}
    ran = town.step("close", "close", "rowhouse ci close", "workflow_dispatch", {"inputs": {"period": period}})
    assert (ran.code, "--period" in ran.out) == (2, True), ran.out
    assert not list(town.folder.rglob("x"))
