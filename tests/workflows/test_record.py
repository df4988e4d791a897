"""What is to be applied and who waits, as laws over made-up histories."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.cli.ci_cells import JOBS_MAX, lanes, matrix
from rowhouse.cli.ci_record import Between, Record, Standing, cells_to_apply, pending_tenants
from rowhouse.vendors.github import GitHub
from tests.workflows.github_stand_in import BOT, GitHubStandIn, Token, running

CELLS = ("main", "two", "three")
TENANTS = {f"{cell}-{number}": cell for cell in CELLS for number in range(3)}
# A history is a list of merges, each a set of tenants; commit n is the state after merge n.
HISTORIES = st.lists(st.sets(st.sampled_from(sorted(TENANTS)), max_size=4), min_size=1, max_size=6)


def sha(number: int) -> str:
    return f"{number:040x}"


def between_of(history: list[set[str]]):
    def between(start: str, end: str) -> Between:
        tenants = set().union(*history[int(start, 16) : int(end, 16)])
        return Between(frozenset(TENANTS[tenant] for tenant in tenants), frozenset(tenants))

    return between


@given(HISTORIES, st.data())
def test_who_waits_is_exactly_who_is_merged_beyond_what_is_applied(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    applied = {cell: data.draw(st.integers(0, tip)) for cell in CELLS}
    standings = {cell: Standing(cell, sha(at)) for cell, at in applied.items()}
    wanted = {tenant for number, merge in enumerate(history) for tenant in merge if applied[TENANTS[tenant]] <= number}
    assert pending_tenants(standings, sha(tip), TENANTS, between_of(history)) == wanted
    assert set(cells_to_apply(CELLS, standings, sha(tip), between_of(history))) == {TENANTS[tenant] for tenant in wanted}


@given(HISTORIES, st.data())
def test_an_attempt_with_known_failures_lets_all_others_of_it_go(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    start = data.draw(st.integers(0, tip - 1))
    attempt = data.draw(st.integers(start + 1, tip))
    mine = sorted(tenant for tenant, cell in TENANTS.items() if cell == "main")
    failed = data.draw(st.sets(st.sampled_from(mine), min_size=1))
    standings = {"main": Standing("main", sha(start), sha(attempt), frozenset(failed))}
    later = {tenant for merge in history[attempt:] for tenant in merge if TENANTS[tenant] == "main"}
    assert pending_tenants(standings, sha(tip), TENANTS, between_of(history)) == failed | later


@given(HISTORIES, st.data())
def test_knowing_less_never_lets_anybody_go(history: list[set[str]], data: st.DataObject):
    tip = len(history)
    start = data.draw(st.integers(0, tip - 1))
    attempt = data.draw(st.integers(start + 1, tip))
    tried = sorted(tenant for merge in history[start:attempt] for tenant in merge if TENANTS[tenant] == "main")
    failed = frozenset(data.draw(st.sets(st.sampled_from(tried)))) if tried else frozenset()
    known = {"main": Standing("main", sha(start), sha(attempt), failed)}
    unknown = {"main": Standing("main", sha(start), sha(attempt), None)}
    nothing = {"main": Standing("main", "")}
    waits = [pending_tenants(each, sha(tip), TENANTS, between_of(history)) for each in (known, unknown, nothing)]
    assert waits[0] <= waits[1] <= waits[2] == {tenant for tenant, cell in TENANTS.items() if cell == "main"}


def test_a_tenant_that_is_in_no_file_any_more_waits_for_whichever_cell_it_was_in():
    gone = Between(frozenset({"two"}), frozenset({"gone"}))
    standings = {"main": Standing("main", sha(1)), "two": Standing("two", sha(0))}
    assert pending_tenants(standings, sha(1), TENANTS, lambda _start, _end: gone) == {"gone"}


@given(st.sets(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), min_size=1, max_size=600), st.data())
def test_every_chosen_cell_is_in_one_lane_which_depends_on_no_other_choice(known: set[str], data: st.DataObject):
    chosen = data.draw(st.sets(st.sampled_from(sorted(known))))
    found = lanes(chosen, known)
    assert sorted(cell for cells in found.values() for cell in cells) == sorted(chosen)
    assert len(found) <= JOBS_MAX
    whole = lanes(known, known)
    assert all(set(cells) <= set(whole[lane]) for lane, cells in found.items())


def test_a_project_of_many_cells_still_fits_into_a_matrix_and_an_output():
    known = [f"cell-{number}" for number in range(5000)]
    text = matrix(lanes(known, known))
    entries = json.loads(text)["include"]
    assert len(entries) == JOBS_MAX
    assert sum(len(entry["cells"].split()) for entry in entries) == len(known)
    assert "\n" not in text
    assert len(text) < 1_000_000


def deployed(hub: GitHubStandIn, environment: str, at: int, payload: object, *, by: str = BOT, state: str = "success") -> None:
    made = {"id": hub.fresh(), "sha": sha(at), "environment": environment, "payload": payload, "creator": hub.user(by)}
    hub.deployments.append(made)
    hub.deployment_statuses[made["id"]] = [{"id": hub.fresh(), "state": state}]


def read(hub: GitHubStandIn) -> dict[str, Standing] | None:
    async def work() -> dict[str, Standing] | None:
        github = GitHub("t", hub.repository, base_url=hub.url)
        try:
            return await Record(github, BOT).standings(["main", "two"])
        finally:
            await github.close()

    hub.tokens["t"] = Token(permissions={"deployments": "read"})
    with running(hub):
        return asyncio.run(work())


@pytest.mark.parametrize("payload", [None, "", "{", [], {"pending": {"x; touch y": ["main"]}}, {"pending": [1]}, {"pending": {"": "main"}}])
def test_a_plan_of_another_shape_is_passed_over(payload: object):
    hub = GitHubStandIn()
    deployed(hub, "rowhouse", 3, {"pending": {sha(1): ["main"]}})
    deployed(hub, "rowhouse", 9, payload)
    assert read(hub) == {"main": Standing("main", sha(1)), "two": Standing("two", sha(3))}


@pytest.mark.parametrize("payload", [{"applied": sha(2), "failed": []}, json.dumps({"applied": sha(2), "failed": []})])
def test_a_payload_is_read_as_an_object_and_as_the_text_of_one(payload: object):
    hub = GitHubStandIn()
    deployed(hub, "rowhouse", 3, {"pending": {sha(2): ["main"]}})
    deployed(hub, "rowhouse/main", 3, payload, state="failure")
    assert read(hub) == {"main": Standing("main", sha(2), sha(3), frozenset()), "two": Standing("two", sha(3))}


@pytest.mark.parametrize("by", ["mallory", "github-actions", "mallory[bot]"])
def test_a_record_of_another_author_is_not_believed(by: str):
    hub = GitHubStandIn()
    deployed(hub, "rowhouse", 3, {"pending": {sha(2): ["main"]}})
    deployed(hub, "rowhouse", 9, {"pending": {}}, by=by)
    deployed(hub, "rowhouse/main", 9, {"applied": sha(2), "failed": []}, by=by)
    standings = read(hub)
    assert standings is not None
    assert standings["main"] == Standing("main", sha(2))


def test_what_nobody_said_anything_of_counts_as_not_applied():
    hub = GitHubStandIn()
    deployed(hub, "rowhouse", 3, {"pending": {sha(2): ["main"]}})
    deployed(hub, "rowhouse/main", 3, {"applied": sha(2), "failed": None})
    hub.deployment_statuses.clear()
    standings = read(hub)
    assert standings is not None
    assert standings["main"] == Standing("main", sha(2), sha(3), None)


def recorded(failed: list[str] | None) -> Any:
    """What is read after a plan, an attempt and its end."""

    async def work(hub: GitHubStandIn) -> Any:
        github = GitHub("t", hub.repository, base_url=hub.url)
        try:
            record = Record(github, BOT)
            await record.plan(sha(3), {"main": sha(1)}, "")
            begun = await record.begin("main", sha(3), sha(1), "")
            await record.end(begun, "main", sha(3), sha(1), failed, "")
            standings = await record.standings(["main"])
            assert standings is not None
            return standings["main"]
        finally:
            await github.close()

    with running(GitHubStandIn(tokens={"t": Token(permissions={"deployments": "write"})})) as hub:
        return asyncio.run(work(hub))


@pytest.mark.parametrize(
    ("failed", "standing"),
    [
        ([], Standing("main", sha(3))),
        (["acme", "acme", "bolt"], Standing("main", sha(1), sha(3), frozenset({"acme", "bolt"}))),
        (None, Standing("main", sha(1), sha(3), None)),
        ([f"t{number}" for number in range(501)], Standing("main", sha(1), sha(3), None)),
    ],
)
def test_how_an_attempt_ended_is_read_as_it_was_written(failed: list[str] | None, standing: Standing):
    assert recorded(failed) == standing
