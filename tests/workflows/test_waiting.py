"""Many pull requests at once, some of them hostile: whatever one does, the others are looked at, and nobody is always left out."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rowhouse.cli.ci_comment import REVIEW, WAIT
from rowhouse.cli.ci_event import CiError
from rowhouse.cli.ci_git import Merged
from rowhouse.cli.ci_select import BrokenOffError, Chosen, selected_apart
from rowhouse.cli.ci_wait import LEFT, Held, hold_open_pulls
from tests.review.scratch import TENANTS, Scratch
from tests.workflows.github_stand_in import BOT
from tests.workflows.test_merges import PUSH
from tests.workflows.town import TENANT, Ended, Town

SPY = """
import subprocess, sys, types
def selection(root, base, head):
    listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", head, "--", "tenants"], capture_output=True, text=True).stdout
    if "evil" in listed:
        raise ValueError("@team ::error::<img src=x>" + listed)
    if "greedy" in listed:
        len(bytearray(1 << 36))
    return types.SimpleNamespace(cells=("main",), tenants=("acme",))
sys.modules["rowhouse.cli.reviewing"] = types.SimpleNamespace(house_selection=selection)
"""


def was_reviewed(town: Town, sha: str) -> str:
    """As its own run left a pull request."""
    for context in (REVIEW, WAIT):
        status = {"id": town.hub.fresh(), "state": "success", "context": context, "description": "well", "creator": town.hub.user(BOT)}
        town.hub.statuses.setdefault(sha, []).append(status)
    return sha


def waited(town: Town, **env: str) -> Ended:
    return town.step("apply", "hold", "rowhouse ci wait", "push", PUSH, **env)


def merge_of_acme(town: Town) -> None:
    """Acme is in a merged change that nobody applied yet."""
    done = {"id": town.hub.fresh(), "sha": town.git("rev-parse", "main"), "environment": "rowhouse", "payload": {"pending": {}}}
    town.hub.deployments.append(done | {"creator": town.hub.user(BOT)})
    town.merge("tenants/acme.yaml", TENANT.format(name="acme") + "members: ['@a.example']\n")


def bomb(town: Town, number: int) -> str:
    """A pull request of a few hundred bytes whose tenants/ lists a hundred million files."""
    dev = town.folder / "dev"

    def made(*args: str, given: str) -> str:
        done = subprocess.run(["git", *args], cwd=dev, input=given, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    blob = made("hash-object", "-w", "--stdin", given="x")
    tree = made("mktree", given="".join(f"100644 blob {blob}\tf{n}.yaml\n" for n in range(10)))
    for _ in range(7):
        tree = made("mktree", given="".join(f"040000 tree {tree}\td{n}\n" for n in range(10)))
    kept = [line for line in town.git("ls-tree", "main").splitlines() if not line.endswith("\ttenants")]
    top = made("mktree", given="\n".join([*kept, f"040000 tree {tree}\ttenants"]) + "\n")
    sha = town.git("commit-tree", top, "-p", "main", "-m", "bomb")
    town.git("push", "-q", "--force", "origin", f"{sha}:refs/pull/{number}/head")
    town.hub.add_pull(number, sha)
    return sha


def test_a_pull_request_that_lists_without_end_is_refused_in_words_and_the_others_are_told(town: Town):
    hostile, harmless = (
        was_reviewed(town, bomb(town, 1)),
        town.propose(2, {"tenants/bolt.yaml": TENANT.format(name="bolt") + "state: suspended\n"}),
    )
    was_reviewed(town, harmless)
    merge_of_acme(town)
    started = time.monotonic()
    ran = waited(town)
    assert ran.code == 0, ran.out
    assert time.monotonic() - started < 60
    assert town.hub.status(harmless, WAIT) == "success"
    assert town.hub.status(hostile, WAIT) == "pending"
    said = town.step("comment", "fork", "rowhouse ci comment", "pull_request_target", town.event(1))
    assert (said.code, town.hub.status(hostile, REVIEW)) == (2, "error")
    (body,) = [comment["body"] for comment in town.hub.comments[1]]
    assert "lists more than 64 MiB of names" in body


def test_one_that_breaks_the_selection_stops_no_other_and_is_told_without_its_words(town: Town):
    spy = town.folder / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    heads = {n: was_reviewed(town, town.propose(n, {f"tenants/{name}.yaml": "x"})) for n, name in enumerate(("evil", "echo", "greedy"), 1)}
    merge_of_acme(town)
    ran = waited(town, PYTHONPATH=str(spy))
    assert ran.code == 1, ran.out
    assert [town.hub.status(heads[n], WAIT) for n in (1, 2, 3)] == ["error", "pending", "error"]
    assert "ValueError" in town.hub.description(heads[1], WAIT)
    assert "MemoryError" in town.hub.description(heads[3], WAIT)
    assert "acme" in town.hub.description(heads[2], WAIT)
    told = ran.out + ran.summary + str(town.hub.statuses)
    assert "pull request 1: could not be looked at (ValueError" in ran.out
    assert not any(word in told for word in ("@team", "::error::", "<img", "evil"))


@pytest.mark.long
def test_those_for_whom_there_is_no_time_wait_are_named_and_fail_the_job(town: Town):
    heads = [
        was_reviewed(town, town.propose(n, {f"tenants/{name}.yaml": TENANT.format(name=name)})) for n, name in ((1, "echo"), (2, "foxy"))
    ]
    merge_of_acme(town)
    ran = waited(town, ROWHOUSE_WAIT_SECONDS="0")
    assert ran.code == 1, ran.out
    assert "no time for 2 pull requests: 1, 2" in ran.out
    assert "no time for 2 pull requests: 1, 2" in ran.summary
    assert [(town.hub.status(sha, WAIT), town.hub.description(sha, WAIT)) for sha in heads] == [LEFT, LEFT]
    ran = waited(town)
    assert ran.code == 0, ran.out
    assert [town.hub.status(sha, WAIT) for sha in heads] == ["success", "success"]


# -- whose turn it is --------------------------------------------------------------------------------------------------------------------


class Street:
    """Open pull requests, each of which takes a while to look at, as much of GitHub and of a clone as the loop uses."""

    def __init__(self, numbers: range, hostile: frozenset[int]) -> None:
        self.now, self.hostile, self.looked = 0.0, hostile, list[int]()
        self.pulls = [SimpleNamespace(number=n, label_names=frozenset(), head=SimpleNamespace(sha=f"{n:040}")) for n in numbers]
        self.said: dict[str, list[Any]] = {pull.head.sha: [_status(REVIEW, "success", "well")] for pull in self.pulls}
        self.root = Path()

    async def open_pulls(self, _base: str) -> list[Any]:
        return self.pulls

    async def statuses(self, sha: str) -> list[Any]:
        return self.said[sha]

    async def set_status(self, sha: str, context: str, state: str, description: str, _url: str) -> None:
        self.said[sha].insert(0, _status(context, state, description))

    async def pending(self) -> frozenset[str]:
        return frozenset({"acme"})

    def head(self) -> str:
        return "f" * 40

    def fetch_pull(self, _run: Any, number: int, _sha: str, _token: str) -> None:
        self.looked.append(number)

    def merged(self, _base: str, head: str) -> Merged:
        return Merged(head)

    def selector(self, _root: Path, _base: str, head: str) -> Chosen:
        self.now += 100 if int(head) in self.hostile else 1
        if int(head) in self.hostile:
            raise BrokenOffError("not done after 100 s")
        return Chosen((), frozenset())

    def run(self, number: int, seconds: float) -> Held:
        self.looked.clear()
        self.now = 0.0
        run: Any = SimpleNamespace(run_id=str(number), url="")
        parts: Any = self
        return asyncio.run(hold_open_pulls(parts, parts, run, parts, "main", "", seconds=seconds, clock=lambda: self.now))


def _status(context: str, state: str, description: str) -> Any:
    return SimpleNamespace(context=context, state=state, description=description)


def test_who_was_left_comes_first_so_that_everybody_has_a_turn():
    street, seen = Street(range(1, 11), frozenset()), set[int]()
    for run, left in ((1, 6), (2, 6), (3, 6)):
        held = street.run(run, 4)
        assert (len(held.left), held.broken) == (left, {})
        assert {n for n, state in held.states.items() if state == "pending"} == set(held.left)
        seen |= set(street.looked)
    assert seen == set(range(1, 11))


def test_hostile_ones_starve_nobody_more_than_once_each():
    hostile = frozenset(range(1, 9))
    street = Street(range(1, 21), hostile)
    runs = 0
    while not all(street.said[f"{n:040}"][0].state == "success" for n in range(9, 21)):
        runs += 1
        held = street.run(runs, 50)
        assert set(held.broken) <= hostile
        assert runs <= len(hostile) + 1
    while len({n for n in hostile if street.said[f"{n:040}"][0].state == "error"}) < len(hostile):
        runs += 1
        street.run(runs, 50)
        assert runs <= 2 * len(hostile)
    street.run(100, 50)
    assert hostile.isdisjoint(street.looked[:12]), "who could not be looked at the last time is looked at last"


def test_between_equals_the_order_is_another_in_each_run():
    street = Street(range(1, 21), frozenset())
    orders = {tuple(street.looked) for run in range(5) if street.run(run, 1000)}
    assert len(orders) == 5


# -- a selection apart -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scratch, str]:
    scratch = Scratch(tmp_path_factory.mktemp("apart") / "clone", {"birch": TENANTS["birch"]})
    scratch.edit("tenants/birch.yaml", "plan:", "state: suspended\nplan:")
    return scratch, scratch.commit()


def test_a_selection_apart_is_the_selection(changed: tuple[Scratch, str]):
    scratch, head = changed
    assert selected_apart(scratch.root, scratch.base, head) == Chosen(("main",), frozenset({"birch"}))


def test_its_own_errors_are_told_in_their_words(changed: tuple[Scratch, str]):
    scratch, _ = changed
    with pytest.raises(CiError, match="is no commit of this clone") as error:
        selected_apart(scratch.root, scratch.base, "e" * 40)
    assert not isinstance(error.value, BrokenOffError)


@pytest.mark.parametrize(("bounds", "kind"), [({"timeout_s": 0.01}, "not done after 0.01 s"), ({"memory": 1 << 26}, "")])
def test_one_that_takes_too_long_or_too_much_ends_alone(changed: tuple[Scratch, str], bounds: dict[str, Any], kind: str):
    scratch, head = changed
    with pytest.raises(BrokenOffError) as error:
        selected_apart(scratch.root, scratch.base, head, **bounds)
    assert kind in error.value.kind
