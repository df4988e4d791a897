"""Causes of drift and their issues, from the previews of the looks to GitHub."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.cli.ci_drift import Look, blind_cells, causes_of, issue_body, issue_title, looked, written
from rowhouse.cli.ci_issues import LABEL, sync
from rowhouse.vendors.github import GitHub
from tests.workflows.github_stand_in import BOT, GitHubStandIn, Token, running
from tests.workflows.town import Ended, Town

SCHEDULE = {"schedule": "41 4 * * *"}


def change(name: str = "acme-main-machine", op: str = "update", paths: tuple[str, ...] = ("image",), **more: Any) -> dict[str, Any]:
    rows = [{"path": path, "kind": "update", "before": "a", "after": "b"} for path in paths]
    return {
        "op": op,
        "tenant": name.split("-", maxsplit=1)[0],
        "type": "rowhouse:fly:Machine",
        "name": name,
        "urn": "u",
        "diff": rows,
        **more,
    }


def seen(*changes: dict[str, Any], failures: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"ok": not failures, "changes": list(changes), "failures": list(failures), "unchanged": 3, "seconds": 1.5}


def put(town: Town, cell: str, document: dict[str, Any] | None, code: int = 0) -> None:
    folder = town.work / "drift"
    folder.mkdir(exist_ok=True)
    (folder / f"{cell}.json").write_text(written(looked(cell, code, document)))


def told(town: Town) -> Ended:
    ran = town.step("drift", "tell", "rowhouse ci drift", "schedule", SCHEDULE)
    assert ran.code == 0, ran.out
    return ran


def states(town: Town) -> list[tuple[str, str]]:
    return [(issue["title"], issue["state"]) for issue in town.hub.issues]


def test_a_cause_is_opened_kept_updated_closed_and_opened_again(town: Town):
    put(town, "main", seen(change()))
    put(town, "two", seen())
    told(town)
    assert states(town) == [("Drift: Machine differs in image", "open")]
    writes = len(town.hub.writes())
    told(town)
    assert [path for method, path in town.hub.writes()[writes:] if method != "POST" or "labels" not in path] == []
    put(town, "two", seen(change("dune-main-machine")))
    told(town)
    assert "dune-main-machine" in town.hub.issues[0]["body"]
    put(town, "main", seen())
    put(town, "two", seen())
    told(town)
    assert (town.hub.issues[0]["state"], town.hub.issues[0]["state_reason"]) == ("closed", "completed")
    put(town, "main", seen(change()))
    told(town)
    assert states(town) == [("Drift: Machine differs in image", "open")]


def test_a_cell_that_could_not_be_looked_at_closes_nothing_and_is_told(town: Town):
    put(town, "main", seen(change()))
    told(town)
    put(town, "main", None, code=2)
    told(town)
    assert states(town) == [("Drift: Machine differs in image", "open"), ("Drift: cells could not be looked at", "open")]
    put(town, "main", seen())
    told(town)
    assert [state for _, state in states(town)] == ["closed", "closed"]


@pytest.mark.long
def test_a_cell_whose_look_is_missing_closes_nothing(town: Town):
    put(town, "main", seen(change()))
    told(town)
    (town.work / "drift/main.json").unlink()
    put(town, "two", seen())
    told(town)
    assert states(town) == [("Drift: Machine differs in image", "open")]


def test_what_is_merged_and_not_applied_yet_is_no_drift(town: Town):
    tip = town.git("rev-parse", "main")
    town.hub.deployments.append({"id": 1, "sha": tip, "environment": "rowhouse", "payload": {"pending": {}}, "creator": town.hub.user(BOT)})
    town.merge("tenants/echo.yaml", "owner: {email: ops@echo.example}\nplan: aether/pro\n")
    put(town, "main", seen(change("echo-main-machine", "create", ())))
    told(town)
    assert town.hub.issues == []


@pytest.mark.long
def test_an_issue_of_a_person_with_our_label_and_marker_is_left_alone(town: Town):
    put(town, "main", seen(change()))
    told(town)
    forged = {**town.hub.issues[0], "number": 5, "user": town.hub.user("mallory"), "title": "mine"}
    town.hub.issues.append(forged)
    put(town, "main", seen())
    told(town)
    assert (forged["state"], town.hub.issues[0]["state"]) == ("open", "closed")


@pytest.mark.long
def test_a_cause_that_a_person_closed_as_not_planned_stays_closed(town: Town):
    put(town, "main", seen(change()))
    told(town)
    town.hub.issues[0] |= {"state": "closed", "state_reason": "not_planned"}
    told(town)
    assert states(town) == [("Drift: Machine differs in image", "closed")]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"cell": "../x", "code": 0}', '{"cell": "main", "code": "0; touch x"}', '{"cell": "other", "code": 0}']
)
def test_a_look_of_another_shape_touches_no_issue(town: Town, text: str):
    put(town, "main", seen(change()))
    (town.work / "drift/main.json").write_text(text)
    ran = town.step("drift", "tell", "rowhouse ci drift", "schedule", SCHEDULE)
    assert (ran.code, "no issue was touched" in ran.out) == (2, True), ran.out
    assert town.hub.calls == []


def test_no_look_at_all_touches_no_issue(town: Town):
    ran = town.step("drift", "tell", "rowhouse ci drift", "schedule", SCHEDULE)
    assert (ran.code, "No issue was touched" in ran.out) == (2, True), ran.out


def test_the_look_without_credentials_is_written_as_one_that_saw_nothing(town: Town):
    town.values["matrix.cells"] = "main"
    ran = town.step("drift", "look", "rowhouse ci look", "schedule", SCHEDULE)
    assert ran.code == 0, ran.out
    assert json.loads((town.work / "drift/main.json").read_text()) == {"cell": "main", "code": 2, "changes": [], "failures": []}


HOSTILE = "`@team <img src=x> | [a](javascript:b)\n# ::error::x \u202e$(touch x) -->" + "x" * 500


@given(st.one_of(st.text(), st.just(HOSTILE)), st.one_of(st.text(), st.just(HOSTILE)), st.integers(1, 120))
def test_no_text_of_a_vendor_gets_out_of_its_code_or_makes_an_issue_too_long(name: str, value: str, count: int):
    rows = [{"path": value or "p", "before": value * 50, "after": value}]
    look = looked(
        "main", 0, seen(*[{**change(op="update"), "tenant": name, "name": f"{name}{each}", "diff": rows} for each in range(count)])
    )
    (cause,) = causes_of([look]).values()
    body, title = issue_body(cause, "<!-- m -->"), issue_title(cause)
    assert len(body) <= 60_000
    assert 0 < len(title) <= 256
    assert not set(title) & set("`<>@#[]*_|\\\n")
    outside = [line for line in body.splitlines()[1:] if line and not line.startswith(("`", "- `", "- and ", "The first of them: `"))]
    assert outside == [], outside


@given(
    st.permutations([change(f"t{number}-main-machine") for number in range(4)]),
    st.lists(st.sampled_from(["main", "two"]), min_size=4, max_size=4),
)
def test_a_cause_keeps_its_id_whoever_has_it_and_in_whatever_order(changes: list[dict[str, Any]], cells: list[str]):
    looks = [looked(cell, 0, seen(each)) for cell, each in zip(cells, changes, strict=True)]
    (one,) = causes_of(looks)
    (other,) = causes_of([looked("three", 0, seen(change("other-main-machine")))])
    assert one == other


def test_different_kinds_of_drift_are_different_causes():
    kinds = [
        change(),
        change(paths=("env",)),
        change(paths=("env", "image")),
        change(op="create"),
        change(op="delete"),
        change(type="x:y:Z"),
    ]
    assert len(causes_of([looked("main", 0, seen(*kinds))])) == len(kinds)


def test_nine_thousand_machines_with_one_cause_are_one_issue_that_names_a_few():
    looks = [looked("main", 0, seen(*[change(f"t{number}-main-machine") for number in range(9000)]))]
    (cause,) = causes_of(looks).values()
    body = issue_body(cause, "<!-- m -->")
    assert len(cause.objects) == 9000
    assert "and 8950 more" in body


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
def test_a_look_is_written_and_read_whatever_a_vendor_says(text: str):
    look = looked("main", 0, seen(change(), {**change(), "name": text, "diff": [{"path": text, "before": {text: [text]}, "after": 1}]}))
    again = Look.model_validate_json(written(look))
    assert [len(one.changes) for one in (look, again)] == [2, 2]
    assert causes_of([again])


def test_a_cell_that_was_seen_in_part_is_blind_for_closing():
    partly = looked("main", 1, seen(failures=({"tenant": "acme", "urn": "u", "message": "no"},)))
    assert blind_cells([partly, looked("two", 0, seen())]) == {"main"}


def test_our_issues_are_found_behind_a_hundred_others():
    async def work(hub: GitHubStandIn) -> None:
        github = GitHub("t", hub.repository, base_url=hub.url)
        try:
            causes = causes_of([looked("main", 0, seen(change()))])
            await sync(github, causes, frozenset(), frozenset({"main"}))
            for number in range(150):
                hub.issues.append({**hub.issues[0], "number": 1000 + number, "body": "other", "user": hub.user("ana")})
            done = await sync(github, {}, frozenset(), frozenset({"main"}))
            assert done.closed == [hub.issues[0]["number"]]
        finally:
            await github.close()

    with running(GitHubStandIn(tokens={"t": Token(permissions={"issues": "write"})})) as hub:
        asyncio.run(work(hub))
        assert LABEL in hub.labels
