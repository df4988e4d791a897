"""What is taken from an event and from the environment, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from rowhouse.cli.ci_cells import cells_in
from rowhouse.cli.ci_event import CiError, read_run

EVENT = {
    "action": "opened",
    "repository": {"full_name": "octo/houses"},
    "pull_request": {
        "number": 7,
        "head": {"sha": "a" * 40, "ref": "topic", "repo": {"full_name": "mallory/houses"}},
        "base": {"ref": "main", "sha": "b" * 40, "repo": {"full_name": "octo/houses"}},
        "labels": [{"name": "changes-bills", "color": "ffffff"}],
    },
}


def broken_events(event: dict[str, Any]) -> dict[str, object]:
    """An event, each time wrong in one way."""
    pull = event["pull_request"]
    return {
        "no pull request": {key: value for key, value in event.items() if key != "pull_request"},
        "no head": {**event, "pull_request": {key: value for key, value in pull.items() if key != "head"}},
        "no base repository": {**event, "pull_request": {**pull, "base": {"ref": "main"}}},
        "a command for a head": {**event, "pull_request": {**pull, "head": {"sha": "main; touch x"}}},
        "an option for a head": {**event, "pull_request": {**pull, "head": {"sha": "--upload-pack=touch x"}}},
        "a head with a line break": {**event, "pull_request": {**pull, "head": {"sha": "a" * 40 + "\n"}}},
        "a path for a number": {**event, "pull_request": {**pull, "number": "../../x"}},
        "a number below one": {**event, "pull_request": {**pull, "number": -1}},
        "labels that are none": {**event, "pull_request": {**pull, "labels": "changes-bills"}},
        "a list": [event],
        "no JSON": "{",
        "nothing": "",
        "a deep one": "[" * 200_000,
        "null": None,
    }


def environment(tmp_path: Path, event: object, name: str = "pull_request_target") -> dict[str, str]:
    path = tmp_path / "event.json"
    path.write_text(event if isinstance(event, str) else json.dumps(event))
    return {"GITHUB_REPOSITORY": "octo/houses", "GITHUB_EVENT_NAME": name, "GITHUB_EVENT_PATH": str(path)}


def test_a_pull_requests_identity_is_taken_and_nothing_else(tmp_path: Path):
    pull = read_run(environment(tmp_path, EVENT)).pull()
    assert (pull.number, pull.head_sha, pull.base_ref, pull.labels) == (7, "a" * 40, "main", {"changes-bills"})


@pytest.mark.parametrize("what", broken_events(EVENT))
def test_an_event_of_another_shape_is_refused(tmp_path: Path, what: str):
    with pytest.raises(CiError, match="event"):
        read_run(environment(tmp_path, broken_events(EVENT)[what])).pull()


@pytest.mark.parametrize("name", ["workflow_run", "push", "schedule", "issue_comment", "$(touch x)"])
def test_an_event_that_carries_no_pull_request_is_refused_even_if_one_is_in_it(tmp_path: Path, name: str):
    with pytest.raises(CiError, match="carries no pull request"):
        read_run(environment(tmp_path, EVENT, name)).pull()


def test_an_event_that_no_file_holds_is_refused(tmp_path: Path):
    env = environment(tmp_path, EVENT) | {"GITHUB_EVENT_PATH": str(tmp_path / "absent")}
    with pytest.raises(CiError, match="GITHUB_EVENT_PATH"):
        read_run(env).pull()


def test_a_run_outside_of_github_says_what_is_missing():
    with pytest.raises(CiError, match="GITHUB_REPOSITORY, GITHUB_EVENT_NAME, GITHUB_EVENT_PATH missing"):
        read_run({})


@pytest.mark.parametrize("server", ["ext::sh -c touch% x", "ssh://a.example", "https://a.example/$(x)", "-u"])
def test_a_server_that_git_would_run_or_speak_otherwise_to_is_refused(tmp_path: Path, server: str):
    with pytest.raises(CiError, match="GITHUB_SERVER_URL"):
        read_run(environment(tmp_path, EVENT) | {"GITHUB_SERVER_URL": server})


def test_a_jobs_cells_are_ids_and_nothing_else():
    assert cells_in("main two") == ("main", "two")
    for wrong in ("", " ", "main;x", "../main", "Main", "--all", "main\x00"):
        with pytest.raises(CiError, match="names no cell"):
            cells_in(wrong)
