"""What a killed run left at Cloudflare is found by its exact mark, shown, and removed; nothing else is touched."""

import asyncio
import json
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.cli.sweep import Owner, Sweep
from rowhouse.engine import Locked
from rowhouse.engine.locks import StackLock
from rowhouse.localcloud.kernel import Fault
from rowhouse.spec import names
from rowhouse.vendors.cloudflare import Cloudflare
from tests.end_to_end.killing import cli_of
from tests.end_to_end.speaking import said, started
from tests.end_to_end.test_locks import ended, state_folder
from tests.end_to_end.world import World, finished

ACCOUNT, ZONE = "accounts/00000000000000000000000000000001", "zones/00000000000000000000000000000002"
needs_cli = pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH")
ENGINES = ["embedded", pytest.param("pulumi", marks=[pytest.mark.pulumi_cli, needs_cli])]
TUNNEL = names.tunnel_name("rowhouse", "main")
INCLUDE = [{"email": {"email": "ops@acme.example"}}]


async def post(made: World, path: str, body: dict[str, Any]) -> str:
    """Make an object at Cloudflare as a killed run would have."""
    async with httpx.AsyncClient(base_url=made.env["CLOUDFLARE_BASE_URL"]) as client:
        headers = {"authorization": f"Bearer {made.env['CLOUDFLARE_API_TOKEN']}"}
        response = await client.post(f"/{path}", json=body, headers=headers)
        assert response.status_code < 300, response.text
        made_id: str = response.json()["result"]["id"]
        return made_id


async def leave_behind(made: World, project: str, stack: str, label: str) -> set[str]:
    """One object of each kind, marked as a stack's, in no state; Cloudflare refuses a second tunnel of the same name."""
    named = names.tunnel_name(project, stack)
    there = [item["id"] for item in made.cloud.dump()["cloudflare"]["tunnels"] if item["name"] == named]
    tunnel = there[0] if there else await post(made, f"{ACCOUNT}/cfd_tunnel", {"name": named, "config_src": "cloudflare"})
    policy = await post(
        made,
        f"{ACCOUNT}/access/policies",
        {"name": names.access_policy_name(project, stack, "gone"), "decision": "allow", "include": INCLUDE},
    )
    application = await post(
        made,
        f"{ACCOUNT}/access/apps",
        {
            "name": names.access_app_name(project, stack, "gone", "main", owner="Gone Ltd", hostname=f"{label}.localhost"),
            "domain": f"{label}.localhost",
            "type": "self_hosted",
            "policies": [{"id": policy, "precedence": 1}],
        },
    )
    record = await post(
        made,
        f"{ZONE}/dns_records",
        {
            "name": f"{label}.localhost",
            "type": "CNAME",
            "content": f"{tunnel}.cfargotunnel.com",
            "proxied": True,
            "ttl": 1,
            "comment": names.dns_comment(project, stack, "gone", "main"),
        },
    )
    return {policy, application, record} | ({tunnel} - {*there})


def ids(made: World) -> set[str]:
    """Everything that Cloudflare keeps."""
    dump = made.cloud.dump()["cloudflare"]
    kept = [*dump["dns_records"], *dump["access_apps"], *dump["access_policies"], *dump["tunnels"]]
    return {item["id"] for item in kept if not item.get("deleted_at")}


@pytest.mark.parametrize("engine", ENGINES)
def test_leftovers_are_shown_by_the_preview_and_removed_by_up(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        before = ids(made)
        record = {"name": "mine.localhost", "type": "CNAME", "content": "example.com", "comment": "rowhouse:main:by hand", "ttl": 1}
        strangers = {await post(made, f"{ZONE}/dns_records", record)}
        for project, stack, label in (("rowhouse", "main2", "other"), ("rowhouse2", "main", "another"), ("xrowhouse", "main", "third")):
            strangers |= await leave_behind(made, project, stack, label)
        left = await leave_behind(made, "rowhouse", "main", "gone")

        looked = await made.preview()
        assert looked.ops == {}
        assert {item["id"] for item in looked.document["leftovers"]} == left
        assert [item["kind"] for item in looked.document["leftovers"]] == ["DNS record", "Access application", "Access policy"]
        assert ids(made) == before | strangers | left

        ran = await made.up()
        assert (ran.code, ran.ops) == (0, {}), ran.failed()
        assert {item["id"] for item in ran.document["leftovers"]} == left
        assert ids(made) == before | strangers
        assert (await made.preview()).document["leftovers"] == []

    play(scene, engine=engine)


@pytest.mark.long
def test_an_unreadable_list_means_that_nothing_is_removed(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        left = await leave_behind(made, "rowhouse", "main", "gone")
        made.cloud.faults.add(Fault("error_before", vendor="cloudflare", method="GET", path="/access/policies$", status=403, times=-1))
        ran = await made.up()
        assert (ran.code, ran.ops) == (0, {}), ran.failed()
        assert ran.document["leftovers"] == []
        assert ids(made) >= left

    play(scene)


@pytest.mark.long
def test_a_list_with_a_part_left_out_removes_no_more_than_what_is_left_over(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        before = ids(made)
        left = await leave_behind(made, "rowhouse", "main", "gone")
        made.cloud.faults.add(Fault("partial", vendor="cloudflare", method="GET", path="/access/apps$", times=1))
        assert (await made.up()).code == 0
        assert before <= ids(made) <= before | left
        made.cloud.faults.clear()
        assert (await made.up()).code == 0
        assert ids(made) == before

    play(scene)


@pytest.mark.long
def test_what_a_living_run_is_about_to_record_is_no_leftover(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        known = ids(made)
        made.write("tenants/maple.yaml", "owner: {email: hello@maple.example}\nplan: shop/free\n")
        made.cloud.faults.add(Fault("hang_after", vendor="cloudflare", method="POST", path="/access/policies$", value=60))
        living = await started(made, "up", "--yes")
        try:
            async with asyncio.timeout(30):
                while not (fresh := {item["id"] for item in made.cloud.dump()["cloudflare"]["access_policies"]} - known):
                    await asyncio.sleep(0.02)
            older = await leave_behind(made, "rowhouse", "main", "gone")
            there = ids(made)
            assert there >= fresh | older

            looked = await said(made, "preview")
            assert f"process {living.pid} " in looked.stderr
            assert not any(one in looked.stdout for one in ("eft over", *fresh, *older)), looked.stdout
            refused = await made.up()
            assert refused.code == 2, refused.failed()
            assert f"process {living.pid} " in refused.stderr
            assert ids(made) >= there
        finally:
            await ended(living)

        assert (ran := await made.up()).code == 0, ran.failed()
        assert not ids(made) & older
        names_left = [policy["name"] for policy in made.cloud.dump()["cloudflare"]["access_policies"]]
        assert len(names_left) == len(set(names_left)) == 3

    play(scene)


@pytest.mark.long
def test_nobody_can_begin_a_run_while_leftovers_are_removed(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        await leave_behind(made, "rowhouse", "main", "gone")
        made.cloud.faults.add(Fault("slow", vendor="cloudflare", method="DELETE", value=0.5))
        removing = asyncio.create_task(made.up())
        async with asyncio.timeout(30):
            while not made.cloud.journal.calls("cloudflare", "DELETE"):
                await asyncio.sleep(0.01)
        with pytest.raises(Locked), StackLock(state_folder(made) / "lock"):
            pass
        assert (ran := await removing).code == 0, ran.failed()

    play(scene)


@pytest.mark.pulumi_cli
@needs_cli
def test_an_empty_state_is_rather_the_wrong_one_than_a_reason_to_remove(play: Callable[..., None]):
    async def scene(made: World) -> None:
        left = await leave_behind(made, "rowhouse", "main", "gone")
        ran = await made.up()
        assert ran.code == 2
        assert "the state of stack main is empty" in ran.stderr
        assert ids(made) == left

    play(scene, engine="pulumi")


@pytest.mark.pulumi_cli
@needs_cli
def test_a_tunnel_whose_making_was_never_recorded_is_removed_before_the_next(play: Callable[..., None]):
    async def scene(made: World) -> None:
        process = await made.start("up", "--yes")
        fault = Fault("kill_after", vendor="cloudflare", method="POST", path="/cfd_tunnel$", find_pid=lambda: cli_of(process))
        made.cloud.faults.add(fault)
        first = await finished(process)
        assert (first.code, fault.hits) != (0, 0), first.failed()
        lost = ids(made)
        assert len(lost) >= 1
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        removed = {item["id"] for item in ran.document["leftovers"]}
        assert {item["kind"] for item in ran.document["leftovers"]} >= {"tunnel"}
        assert removed <= lost
        assert not removed & ids(made)
        looked = await made.preview()
        assert (looked.ops, looked.document["leftovers"]) == ({}, [])

    play(scene, engine="pulumi")


# -- the sweep alone: what it takes for its own, and what stops it ----------------------------------------------------------------------

OWNER = Owner("rowhouse", "main", "acc", "zone")
STATE: dict[str, Any] = {"deployment": {"resources": [{"urn": "u", "type": "pulumi:pulumi:Stack"}]}}


def swept(
    lists: dict[str, list[dict[str, Any]]], *, state: dict[str, Any] = STATE, totals: dict[str, int] | None = None, later: Any = None
) -> tuple[list[str], list[str], list[str]]:
    """Look and remove against fixed lists: found, paths deleted, warnings."""
    deleted: list[str] = []
    warnings: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rsplit("/", 1)[-1]
        if request.method == "DELETE":
            deleted.append(request.url.path.split("/")[-2])
            return httpx.Response(200, json={"success": True, "errors": [], "result": {"id": kind}})
        items = lists.get(kind, [])
        info = {"total_count": (totals or {}).get(kind, len(items))}
        return httpx.Response(200, json={"success": True, "errors": [], "result": items, "result_info": info})

    async def run() -> list[str]:
        cloudflare = Cloudflare("t" * 40, transport=httpx.MockTransport(answer))
        sweep = Sweep(cloudflare, OWNER, warnings.append)

        async def again() -> dict[str, Any]:
            return later or state

        await sweep.look(state, again, adopting=False)
        found = [leftover.id for leftover in sweep.found]
        await sweep.remove(later or state)
        await cloudflare.close()
        return found

    return asyncio.run(run()), deleted, warnings


APP = {"id": "a1", "name": "Acme Ltd (acme.x) rowhouse:main:acme:main", "type": "self_hosted"}
POLICY = {"id": "p1", "name": "rowhouse:main:acme"}
RECORD = {"id": "r1", "name": "acme.x", "comment": "rowhouse:main:acme:main", "content": "t.cfargotunnel.com"}
OURS = {"id": "t1", "name": TUNNEL}
ALL = {"dns_records": [RECORD], "apps": [APP], "policies": [POLICY], "cfd_tunnel": [OURS]}


def test_dependents_are_removed_first():
    assert swept(ALL) == (["r1", "a1", "p1", "t1"], ["dns_records", "apps", "policies", "cfd_tunnel"], [])


@pytest.mark.parametrize(
    "name",
    [
        "rowhouse:main2:acme:main",
        "rowhouse:main",
        "rowhouse:main:",
        "Rowhouse:main:acme:main",
        "xrowhouse:main:acme:main",
        "",
        None,
    ],
)
def test_a_name_that_is_not_exactly_marked_is_nobodys(name: str | None):
    lists = {
        "dns_records": [{**RECORD, "comment": name}],
        "apps": [{**APP, "name": name}, {**APP, "id": "a2", "name": f"Acme Ltd {name}".rstrip()}],
        "policies": [{**POLICY, "name": name}],
        "cfd_tunnel": [{"id": "t1", "name": TUNNEL + "x"}, {"id": "t2", "name": TUNNEL[:-1]}],
    }
    assert swept(lists) == ([], [], [])


def test_marked_objects_of_another_kind_are_let_be():
    lists = {
        "dns_records": [{**RECORD, "content": "203.0.113.7"}],
        "apps": [{**APP, "type": "bookmark"}],
        "cfd_tunnel": [{**OURS, "deleted_at": "2026-11-01T00:00:00Z"}],
    }
    assert swept(lists) == ([], [], [])


def test_what_is_in_the_state_or_came_into_it_meanwhile_is_no_leftover():
    def state(*known: str) -> dict[str, Any]:
        resources = [{"urn": known_id, "id": known_id, "type": "cloudflare:index/dnsRecord:DnsRecord"} for known_id in known]
        return {"deployment": {"resources": resources or STATE["deployment"]["resources"]}}

    assert swept(ALL, state=state("r1", "a1", "p1", "t1"))[1] == []
    assert swept(ALL, later=state("r1", "a1", "p1", "t1"))[1] == []
    assert swept(ALL, later=state("r1"))[1] == ["apps", "policies", "cfd_tunnel"]


def test_a_list_shorter_than_its_own_count_removes_nothing():
    found, deleted, warnings = swept(ALL, totals={"policies": 2})
    assert (found, deleted) == ([], [])
    assert "incomplete: 1 of 2" in warnings[0]


def test_a_tunnel_in_use_or_an_empty_state_stops_the_run():
    with pytest.raises(EnvironmentProblemError, match="is in use"):
        swept({**ALL, "cfd_tunnel": [{**OURS, "connections": [{"id": "c"}]}]})
    with pytest.raises(EnvironmentProblemError, match="is empty"):
        swept(ALL, state={"deployment": {}})
    assert swept({}, state={"deployment": {}}) == ([], [], [])


def test_lists_are_read_to_their_last_page():
    many = [{"id": f"p{number}", "name": f"rowhouse:main:t{number}"} for number in range(230)]

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        part = many[(page - 1) * 100 : page * 100]
        return httpx.Response(200, content=json.dumps({"success": True, "result": part, "result_info": {"total_count": 230}}))

    async def run() -> int:
        cloudflare = Cloudflare("t" * 40, transport=httpx.MockTransport(answer))
        found = await cloudflare.list("accounts/a/access/policies")
        await cloudflare.close()
        return len(found)

    assert asyncio.run(run()) == 230
