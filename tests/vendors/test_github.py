"""The client of GitHub: what it asks, what it refuses to believe, what it does not tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from rowhouse.vendors.github import GitHub, NotARepositoryError
from rowhouse.vendors.github_model import User
from rowhouse.vendors.http import MissingToken, VendorError

TOKEN = "ghs_planted9b1e" + "x" * 23
PULL = {"number": 1, "state": "open", "head": {"ref": "a", "sha": "a" * 40, "repo": None}, "base": {"ref": "main", "sha": "b" * 40}}


def asked(answer: Callable[[httpx.Request], httpx.Response], do: Callable[[GitHub], Awaitable[Any]], **more: Any) -> Any:
    async def no_sleep(_seconds: float) -> None:
        pass

    async def run() -> Any:
        github = GitHub(TOKEN, "octo/houses", transport=httpx.MockTransport(answer), sleep=no_sleep, **more)
        try:
            return await do(github)
        finally:
            await github.close()

    return asyncio.run(run())


def test_a_pull_request_of_a_deleted_fork_is_read():
    pull = asked(lambda _: httpx.Response(200, json=PULL), lambda github: github.pull(1))
    assert (pull.head.repo, pull.label_names) == (None, frozenset())


@pytest.mark.parametrize("wrong", [{"head": {"sha": "x"}}, {"number": "../1"}, {"head": None}])
def test_an_answer_of_another_shape_is_an_error_and_not_a_default(wrong: dict[str, Any]):
    with pytest.raises(VendorError, match="another shape"):
        asked(lambda _: httpx.Response(200, json={**PULL, **wrong}), lambda github: github.pull(1))


def test_a_list_that_never_ends_is_an_error():
    row = {"id": 1, "body": "b", "user": {"login": "ana"}}
    with pytest.raises(VendorError, match="does not end"):
        asked(lambda _: httpx.Response(200, json=[row] * 100), lambda github: github.comments(1))


def test_a_lost_answer_of_a_new_comment_is_not_repeated():
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(502)

    with pytest.raises(VendorError):
        asked(answer, lambda github: github.create_comment(1, "b"))
    assert len(calls) == 1


def test_a_description_is_cut_at_what_github_takes():
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(201, json={"id": 1, **bodies[-1]})

    asked(answer, lambda github: github.set_status("a" * 40, "c", "success", "x" * 200))
    assert len(bodies[0]["description"]) == 140


def test_a_label_that_is_there_is_a_success_and_another_refusal_is_not():
    def answer(code: str) -> Callable[[httpx.Request], httpx.Response]:
        return lambda _: httpx.Response(422, json={"message": "Validation Failed", "errors": [{"code": code}]})

    asked(answer("already_exists"), lambda github: github.ensure_label("a", "b"))
    with pytest.raises(VendorError, match="missing_field"):
        asked(answer("missing_field"), lambda github: github.ensure_label("a", "b"))


@pytest.mark.parametrize(("base", "where"), [("https://api.github.com", "/graphql"), ("https://g.example/api/v3", "/api/graphql")])
def test_the_author_is_asked_at_the_servers_own_graphql(base: str, where: str):
    urls = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(request.url)
        return httpx.Response(200, json={"data": {"viewer": {"login": "github-actions[bot]"}}})

    assert asked(answer, lambda github: github.viewer(), base_url=base) == "github-actions[bot]"
    assert (urls[0].path, urls[0].host) == (where, httpx.URL(base).host)


@pytest.mark.parametrize("body", [{"data": None}, {"data": {"viewer": {"login": ""}}}, [], {"errors": [{"message": "no"}]}])
def test_an_author_that_is_not_named_is_an_error(body: object):
    with pytest.raises(VendorError, match="names nobody"):
        asked(lambda _: httpx.Response(200, json=body), lambda github: github.viewer())


@pytest.mark.parametrize("name", ["", "octo", "octo/houses/x", "../houses", "octo/..", "octo/hou ses", "octo/houses?x=1", "octo/h\n"])
def test_a_text_that_is_no_repository_is_refused_before_anything_is_asked(name: str):
    with pytest.raises(NotARepositoryError):
        GitHub(TOKEN, name)


@pytest.mark.parametrize("sha", ["main", "a" * 39, "A" * 40, "a" * 40 + "/../x", ""])
def test_a_text_that_is_no_commit_is_never_sent(sha: str):
    with pytest.raises(NotARepositoryError):
        asked(lambda _: pytest.fail("it was sent"), lambda github: github.set_status(sha, "c", "success", "d"))


def test_without_a_token_it_says_which_variable():
    with pytest.raises(MissingToken, match="GITHUB_TOKEN"):
        GitHub.from_environment({"GITHUB_REPOSITORY": "octo/houses"})


def test_an_error_that_repeats_the_token_does_not_tell_it():
    answer = httpx.Response(401, headers={"x-github-request-id": TOKEN}, json={"message": f"Bad credentials {TOKEN}"})
    with pytest.raises(VendorError, match="Bad credentials") as raised:
        asked(lambda _: answer, lambda github: github.pull(1))
    assert TOKEN not in str(raised.value) + repr(raised.value) + raised.value.request_id


@pytest.mark.parametrize(
    ("login", "kind", "viewer", "same"),
    [
        ("github-actions[bot]", "Bot", "github-actions[bot]", True),
        ("github-actions[bot]", "Bot", "github-actions", True),
        ("github-actions", "User", "github-actions[bot]", False),
        ("mallory", "User", "github-actions[bot]", False),
        ("mallory[bot]", "Bot", "github-actions[bot]", False),
        ("ana", "User", "ana", True),
    ],
)
def test_an_author_is_ours_only_by_name_and_kind(login: str, kind: str, viewer: str, same: bool):
    assert User(login=login, type=kind).is_viewer(viewer) is same
