"""The steps of review.yml and comment.yml, run for real on pull requests."""

import json
import socket
import threading

import pytest

from rowhouse.cli.ci_comment import MARKER
from tests.spec.test_stack_file import BOMB
from tests.workflows.github_stand_in import BOT
from tests.workflows.test_events import broken_events
from tests.workflows.town import Ended, Town

NEW = "owner: {email: ops@echo.example}\nplan: aether/pro\n"
JOBS = [("review", "review", "pull_request"), ("comment", "fork", "pull_request_target"), ("comment", "own", "pull_request_target")]


def commented(town: Town, number: int, job: str = "fork", **changes: object) -> Ended:
    return town.step("comment", job, "rowhouse ci comment", "pull_request_target", town.event(number, **changes))


def reviewed(town: Town, number: int, **changes: object) -> Ended:
    return town.step("review", "review", "rowhouse ci review", "pull_request", town.event(number, **changes))


def ours(town: Town, number: int) -> list[str]:
    return [comment["body"] for comment in town.hub.comments.get(number, []) if comment["user"]["login"] == BOT]


@pytest.mark.parametrize("job", ["fork", "own"])
def test_a_new_pull_request_gets_one_comment_and_both_statuses(town: Town, job: str):
    sha = town.propose(1, {"tenants/echo.yaml": NEW})
    ran = commented(town, 1, job)
    assert ran.code == 0, ran.out
    (body,) = ours(town, 1)
    assert body.startswith(MARKER)
    assert "echo" in body
    assert (town.hub.status(sha, "rowhouse/review"), town.hub.status(sha, "rowhouse/wait")) == ("success", "success")


@pytest.mark.long
def test_the_review_needs_no_right_but_reading_and_writes_nothing_to_github(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    ran = reviewed(town, 1)
    assert ran.code == 0, ran.out
    assert "echo" in ran.summary
    assert town.hub.calls == []


@pytest.mark.parametrize(
    "keys", [{}, pytest.param({"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "somebody"}, marks=pytest.mark.long)]
)
@pytest.mark.long
def test_a_project_with_a_remote_ledger_is_reviewed_without_it_and_says_so(town: Town, keys: dict[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as store:
        store.settimeout(0)
        stack = (town.folder / "dev/stacks/Pulumi.main.yaml").read_text().rstrip()
        address = f"s3://acme-rowhouse/main?endpoint=http://127.0.0.1:{store.getsockname()[1]}&region=auto"
        town.merge("stacks/Pulumi.main.yaml", f"{stack}\n  account:store: {address}\n")
        sha = town.propose(1, {"tenants/echo.yaml": NEW})
        said = []
        for name, job, event_name in JOBS:
            ran = town.step(name, job, "rowhouse ci", event_name, town.event(1), **keys)
            assert ran.code == 0, ran.out
            said += [ran.summary] if name == "review" else ours(town, 1)
        with pytest.raises(BlockingIOError):
            store.accept()
    assert town.hub.status(sha, "rowhouse/review") == "success"
    for body in said:
        assert "ledger of cell main was not read" in body
        assert "estimate" in body
        assert "How these figures were made" in body


def test_a_stack_file_that_would_explode_is_named_and_blocks(town: Town):
    sha = town.propose(1, {"stacks/Pulumi.two.yaml": BOMB})
    ran = commented(town, 1)
    assert ran.code == 0, ran.out
    assert "stacks/Pulumi.two.yaml:1:5: error yaml.alias" in ours(town, 1)[0]
    assert town.hub.status(sha, "rowhouse/review") == "failure"


@pytest.mark.long
def test_a_second_push_edits_the_same_comment(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    commented(town, 1)
    before = town.hub.comments[1][0]["id"]
    town.propose(1, {"tenants/foxy.yaml": NEW})
    ran = commented(town, 1, action="synchronize")
    assert ran.code == 0, ran.out
    (body,) = ours(town, 1)
    assert town.hub.comments[1][0]["id"] == before
    assert "foxy" in body


def test_what_blocks_the_merge_is_a_failed_status_and_exit_code_1_of_the_review(town: Town):
    sha = town.propose(1, {"tenants/acme.yaml": None})
    assert commented(town, 1).code == 0
    assert town.hub.status(sha, "rowhouse/review") == "failure"
    assert reviewed(town, 1).code == 1


def test_what_others_merged_meanwhile_is_not_shown_as_undone(town: Town):
    old = town.git("rev-parse", "main")
    town.merge("tenants/gale.yaml", NEW)
    town.propose(1, {"tenants/echo.yaml": NEW}, at=old)
    assert commented(town, 1).code == 0
    (body,) = ours(town, 1)
    assert "echo" in body
    assert "gale" not in body


@pytest.mark.long
def test_a_conflict_is_named_and_blocks(town: Town):
    old = town.git("rev-parse", "main")
    town.merge("tenants/acme.yaml", NEW + "state: suspended\n")
    sha = town.propose(1, {"tenants/acme.yaml": NEW + "cell: two\n"}, at=old)
    assert commented(town, 1).code == 0
    assert "`tenants/acme.yaml`" in ours(town, 1)[0]
    assert town.hub.status(sha, "rowhouse/review") == "failure"


def test_a_comment_of_somebody_else_with_our_marker_is_neither_edited_nor_believed(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    forged = f"{MARKER}\nNothing to see here."
    town.hub.add_comment(1, "mallory", forged)
    town.hub.add_comment(1, "github-actions", forged)  # a person may be called as the bot is without its suffix
    assert commented(town, 1).code == 0
    assert [comment["body"] for comment in town.hub.comments[1][:2]] == [forged, forged]
    assert len(ours(town, 1)) == 1


@pytest.mark.long
def test_a_comment_of_ours_that_only_quotes_the_marker_stays(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    quoting = town.hub.add_comment(1, BOT, f"> {MARKER}\nanother workflow's words")
    assert commented(town, 1).code == 0
    assert quoting["body"].endswith("another workflow's words")
    assert len(ours(town, 1)) == 2


@pytest.mark.long
def test_our_comment_is_found_behind_a_hundred_others(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    for number in range(250):
        town.hub.add_comment(1, "mallory", f"remark {number}")
    own = town.hub.add_comment(1, BOT, f"{MARKER}\nold")
    assert commented(town, 1).code == 0
    assert len(ours(town, 1)) == 1
    assert "echo" in own["body"]


@pytest.mark.long
def test_two_runs_at_once_leave_one_comment(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    both = threading.Barrier(2, timeout=60)

    def meet(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/issues/1/comments"):
            both.wait()

    town.hub.before = meet
    other = Town(town.folder.parent / f"{town.folder.name}-other", town.hub)
    other.folder.mkdir()
    (other.folder / "server").symlink_to(town.folder / "server")
    town.git("clone", "-q", str(town.bare), str(other.work), at=town.folder)
    ends: list[Ended] = []
    threads = [threading.Thread(target=lambda each=each: ends.append(commented(each, 1))) for each in (town, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [end.code for end in ends] == [0, 0], [end.out for end in ends]
    assert len(ours(town, 1)) == 1


def test_a_head_that_moved_before_the_run_is_left_to_its_own_run(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    event = town.event(1)
    town.propose(1, {"tenants/foxy.yaml": NEW})
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", event)
    assert ran.code == 0, ran.out
    assert "moved" in ran.out
    assert town.hub.writes() == []


@pytest.mark.long
def test_a_head_that_moves_during_the_run_gets_no_green_status_from_it(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    event, asked = town.event(1), []

    def move(method: str, path: str) -> None:
        asked.append(path)
        if path.endswith("/pulls/1") and asked.count(path) == 2:
            town.hub.pulls[1]["head"]["sha"] = "d" * 40

    town.hub.before = move
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", event)
    assert ran.code == 0, ran.out
    assert town.hub.writes() == []


def test_the_api_that_lags_behind_the_branch_makes_nothing_believed(town: Town):
    sha = town.propose(1, {"tenants/echo.yaml": NEW})
    event = town.event(1)
    town.propose(1, {"tenants/acme.yaml": None})
    town.hub.pulls[1]["head"]["sha"] = sha
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", event)
    assert ran.code == 0, ran.out
    assert "moved from" in ran.out
    assert town.hub.writes() == []


@pytest.mark.parametrize(("change", "word"), [({"state": "closed"}, "not open"), ({"base": "release"}, "not for main")])
def test_a_pull_request_that_is_closed_or_for_another_branch_is_left_alone(town: Town, change: dict[str, str], word: str):
    town.propose(1, {"tenants/echo.yaml": NEW}, **change)
    ran = commented(town, 1, action="closed")
    assert (ran.code, word in ran.out) == (0, True), ran.out
    assert town.hub.writes() == []


@pytest.mark.parametrize(("name", "job", "event_name"), JOBS)
def test_an_event_about_another_repository_is_refused(town: Town, name: str, job: str, event_name: str):
    town.propose(1, {"tenants/echo.yaml": NEW})
    for changes in (
        {"repository": {"full_name": "mallory/houses"}},
        {"pull_request": {**town.hub.pulls[1], "base": {**town.hub.pulls[1]["base"], "repo": {"full_name": "mallory/houses"}}}},
    ):
        ran = town.step(name, job, "rowhouse ci", event_name, town.event(1, **changes))
        assert (ran.code, "mallory/houses" in ran.out) == (2, True), ran.out
    assert town.hub.calls == []


@pytest.mark.parametrize("what", ["no pull request", "an option for a head", "no JSON"])
def test_an_event_of_another_shape_is_refused_in_words(town: Town, what: str):
    town.propose(1, {"tenants/echo.yaml": NEW})
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", broken_events(town.event(1))[what])
    assert (ran.code, "event" in ran.out, "Traceback" in ran.out) == (2, True, False), ran.out
    assert town.hub.calls == []


def test_hostile_words_in_an_event_reach_no_shell_no_log_and_no_comment(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    hostile = '$(touch x)`touch x`"; touch x; #\n::set-output name=x::y\n<img src=x onerror=alert(1)> @everyone | [a](javascript:b)'
    event = town.event(1, head_ref=hostile, big="x" * 100_000)
    event["pull_request"] |= {"title": hostile, "body": hostile * 1000, "head": {**event["pull_request"]["head"], "ref": hostile}}
    for name, job, event_name in JOBS[:2]:
        ran = town.step(name, job, "rowhouse ci", event_name, event)
        assert ran.code == 0, ran.out
        assert "touch" not in ran.out + ran.summary
    assert all("touch" not in body for body in ours(town, 1))
    assert not list(town.folder.rglob("x"))


def test_nothing_of_the_head_is_checked_out_or_run(town: Town):
    trap = "from pathlib import Path\nPath('x').touch()\n"
    town.propose(
        1,
        {
            "tenants/echo.yaml": NEW,
            "rowhouse/__init__.py": trap,
            "sitecustomize.py": trap,
            "components/tenant.py": trap,
            "stacks/__main__.py": trap,
            ".gitattributes": "* filter=trap diff=trap merge=trap\n",
            ".gitmodules": '[submodule "a"]\n\tpath = a\n\turl = https://a.example/a\n',
            "Makefile": "setup-ci:\n\ttouch x\n",
        },
    )
    for name, job, event_name in JOBS[:2]:
        ran = town.step(name, job, "rowhouse ci", event_name, town.event(1))
        assert ran.code == 0, ran.out
    assert town.git("status", "--porcelain", at=town.work) == ""
    assert not (town.work / "tenants/echo.yaml").exists()
    assert not list(town.folder.rglob("x"))


def test_a_forged_result_of_the_unprivileged_run_changes_nothing(town: Town):
    sha = town.propose(1, {"tenants/acme.yaml": None})
    for name in ("review.json", "drift/main.json", "summary.md"):
        (town.work / name).parent.mkdir(exist_ok=True)
        (town.work / name).write_text(json.dumps({"blocked": [], "tenants": [], "markdown": "all well"}))
    assert commented(town, 1).code == 0
    assert town.hub.status(sha, "rowhouse/review") == "failure"


@pytest.mark.long
def test_a_label_that_github_knows_counts_and_one_that_only_the_event_has_does_not(town: Town):
    """The comment asks GitHub: an event is as old as the run that waited."""
    town.propose(1, {"tenants/echo.yaml": NEW})
    event = town.event(1)
    event["pull_request"] = {**event["pull_request"], "labels": [{"name": "changes-bills"}]}
    said = town.work / "labels-seen"
    spy = town.folder / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import sys, types\n"
        "def review(root, base, head, *, labels=frozenset(), **more):\n"
        f"    open({str(said)!r}, 'a').write(repr(sorted(labels)) + chr(10))\n"
        "    return types.SimpleNamespace(blocked=(), cells=(), tenants=(), digest='0' * 16, markdown=lambda: 'well', document=dict)\n"
        "selection = lambda *_: types.SimpleNamespace(cells=(), tenants=())\n"
        "sys.modules['rowhouse.cli.reviewing'] = types.SimpleNamespace(house_review=review, house_selection=selection)\n"
    )
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", event, PYTHONPATH=str(spy))
    assert ran.code == 0, ran.out
    town.hub.pulls[1]["labels"] = [{"name": "interrupts-many"}]
    town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", event, PYTHONPATH=str(spy))
    assert said.read_text().splitlines() == ["[]", "['interrupts-many']"]


def test_a_review_that_breaks_leaves_a_failed_status_and_no_secret(town: Town):
    sha = town.propose(1, {"tenants/echo.yaml": NEW})
    commented(town, 1)
    spy = town.folder / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import os, sys, types\n"
        "def review(*args, **more):\n"
        "    raise ValueError('@team ' + os.environ.get('GITHUB_TOKEN', 'no token here'))\n"
        "selection = lambda *_: types.SimpleNamespace(cells=(), tenants=())\n"
        "sys.modules['rowhouse.cli.reviewing'] = types.SimpleNamespace(house_review=review, house_selection=selection)\n"
    )
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", town.event(1), PYTHONPATH=str(spy))
    assert ran.code != 0
    assert town.hub.status(sha, "rowhouse/review") == "error"
    (body,) = ours(town, 1)
    assert "ValueError" in body
    assert "@team" not in body
    assert "no token here" in ran.out
    assert not any(token in ran.out + body for token in town.hub.tokens)


@pytest.mark.long
def test_a_token_that_may_not_write_is_told_in_words(town: Town):
    town.propose(1, {"tenants/echo.yaml": NEW})
    token = town.token({"contents": "read", "deployments": "read", "pull-requests": "read", "statuses": "read"})
    ran = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", town.event(1), GITHUB_TOKEN=token)
    assert ran.code == 2
    assert "permissions" in ran.out
    assert token not in ran.out
