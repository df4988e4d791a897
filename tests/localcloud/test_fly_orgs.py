import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.fly_errors import FLEET_REFUSALS, fleet_fault
from rowhouse.localcloud.kernel import Fault
from tests.localcloud.fly_support import Account, account, error

LIST = "/orgs/local/machines"


async def three(it: Account) -> list[dict[str, Any]]:
    await it.app()
    made = []
    for index, region in enumerate(("fra", "iad", "fra")):
        made.append(await it.machine(name=f"m{index}", region=region, skip_launch=True))
        await it.clock.advance(10)
    return made


def test_the_organisation_s_machines_come_oldest_change_first_with_a_cursor(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            made = await three(it)
            it.fly.org_page = 2  # the limit is advisory: a page may be shorter
            first = (await it.http.get(LIST, params={"limit": 1000})).json()
            assert [row["id"] for row in first["machines"]] == [machine["id"] for machine in made[:2]]
            assert (first["last_machine_id"], first["error_regions"]) == (made[1]["id"], [])
            wins = (await it.http.get(LIST, params={"cursor": first["next_cursor"], "updated_after": "2000-01-01T00:00:00Z"})).json()
            assert [row["id"] for row in wins["machines"]] == [made[2]["id"]]
            assert "next_cursor" not in wins
            assert set(wins["machines"][0]["config"]) == {"image", "guest", "metadata"}

    asyncio.run(body())


def test_updated_after_and_include_deleted(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            made = await three(it)
            since = rfc3339(it.clock.now())
            await it.clock.advance(5)
            await it.http.delete(f"/apps/acme/machines/{made[0]['id']}")
            await it.clock.advance(5)
            assert (await it.http.get(LIST, params={"updated_after": since})).json()["machines"] == []
            deleted = (await it.http.get(LIST, params={"updated_after": since, "include_deleted": "true"})).json()["machines"]
            assert [(row["id"], row["state"]) for row in deleted] == [(made[0]["id"], "destroyed")]
            assert (await it.http.get(LIST, params={"updated_after": "yesterday"})).status_code == 400

    asyncio.run(body())


def test_the_organisation_list_lags(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            it.fly.org_lag_s = 60
            await three(it)
            assert (await it.http.get(LIST)).json()["machines"] == []
            await it.clock.advance(60)
            assert len((await it.http.get(LIST)).json()["machines"]) == 3

    asyncio.run(body())


def test_a_partial_list_says_which_regions_it_could_not_read(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await three(it)
            it.fly.error_regions = ["fra"]
            answer = (await it.http.get(LIST)).json()
            assert ([row["region"] for row in answer["machines"]], answer["error_regions"]) == (["iad"], ["fra"])
            it.fly.error_regions = []
            it.faults.add(Fault("partial", path="/orgs/"))
            assert (await it.http.get(LIST)).json()["error_regions"] == ["fra"]
            assert (await it.http.get(LIST)).json()["error_regions"] == []

    asyncio.run(body())


def test_a_stale_list_is_that_of_before_the_last_change(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            await it.clock.advance(1)
            it.faults.add(Fault("stale", path="/orgs/"))
            assert (await it.http.get(LIST)).json()["machines"][0]["state"] != "stopped"
            assert (await it.http.get(LIST)).json()["machines"][0]["state"] == "stopped"

    asyncio.run(body())


def test_volumes_of_the_organisation_are_listed(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            kept, deleted = await it.volume(), await it.volume(name="other")
            await it.http.delete(f"/apps/acme/volumes/{deleted['id']}")
            rows = (await it.http.get("/orgs/local/volumes")).json()["volumes"]
            assert [(row["id"], row["app_name"]) for row in rows] == [(kept["id"], "acme")]
            everything = (await it.http.get("/orgs/local/volumes?include_deleted=true")).json()["volumes"]
            assert {row["id"] for row in everything} == {kept["id"], deleted["id"]}
            assert (await it.http.get("/orgs/other/volumes")).status_code == 404

    asyncio.run(body())


def test_a_bad_token_is_401_and_every_answer_has_a_request_id(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            bad = await it.http.get("/apps", headers={"authorization": "Bearer wrong"})
            assert error(bad) == (401, "Authenticate: token validation error")
            good = await it.http.get("/tokens/current", headers={"authorization": "FlyV1 fm2_local"})
            assert good.json()["tokens"][0]["org_slug"] == "local"
            assert (await it.http.get("/tokens/current", headers={"authorization": ""})).status_code == 401
            ids = {answer.headers["fly-request-id"] for answer in (bad, good, await it.http.get("/apps/none"))}
            assert len(ids) == 3

    asyncio.run(body())


def test_requests_are_limited_for_each_action_and_machine_in_real_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path, limits=True) as it:
            await it.app()
            machine = await it.machine(skip_launch=True)
            path = f"/apps/acme/machines/{machine['id']}"
            events = [(await it.http.get(path + "/events")).status_code for _ in range(4)]
            assert events == [200, 200, 200, 429]
            reads = [(await it.http.get(path)).status_code for _ in range(12)]
            assert reads[:10] == [200] * 10
            assert 429 in reads
            await it.clock.advance(3600)  # virtual time does not help
            assert (await it.http.get(path + "/events")).status_code == 429
            await asyncio.sleep(0.3)
            assert (await it.http.get(path)).status_code == 200  # 5 a second come back

    asyncio.run(body())


def test_limits_of_one_machine_leave_another_alone(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path, limits=True) as it:
            await it.app()
            first, second = [await it.machine(name=name, skip_launch=True) for name in ("a", "b")]
            for _ in range(3):
                assert (await it.http.get(f"/apps/acme/machines/{first['id']}/versions")).status_code == 200
            assert (await it.http.get(f"/apps/acme/machines/{first['id']}/versions")).status_code == 429
            assert (await it.http.get(f"/apps/acme/machines/{second['id']}/versions")).status_code == 200

    asyncio.run(body())


@pytest.mark.parametrize("name", sorted(FLEET_REFUSALS))
def test_every_refusal_of_fly_s_fleet_can_be_provoked(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.machine(skip_launch=True)
            await it.wait(machine, "stopped")
            status, text, code, _ = FLEET_REFUSALS[name]
            it.faults.add(fleet_fault(name))
            spoiled = [
                answer
                for answer in (
                    await it.http.post("/apps", json={"name": "second", "org_slug": "local"}),
                    await it.create(name="second", skip_launch=True),
                    await it.http.post("/apps/acme/volumes", json={"name": "data", "region": "fra"}),
                    await it.post(machine, "start"),
                    await it.post(machine, json={"config": {"image": "registry.localhost/sleeper:1"}}),
                )
                if answer.is_error and answer.json()["error"] == text
            ]
            assert [answer.status_code for answer in spoiled] == [status]
            assert spoiled[0].json().get("status") == code

    asyncio.run(body())


def test_a_408_after_a_create_leaves_the_machine_behind(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            it.faults.add(Fault("error_after", method="POST", path="/machines$", status=408, body={"error": "deadline_exceeded"}))
            assert (await it.create()).status_code == 408
            status, text = error(await it.create())
            assert status == 409
            listed = (await it.http.get("/apps/acme/machines")).json()
            assert [row["name"] for row in listed] == ["main"]
            assert listed[0]["id"] in text

    asyncio.run(body())


def test_a_region_without_room_is_absent_from_placements_and_refuses_machines(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            it.fly.capacity = {"fra": 0, "ams": 1}
            rows = (await it.http.post("/platform/placements", json={"org_slug": "local", "region": "fra,ams", "count": 2})).json()[
                "regions"
            ]
            assert [(row["region"], row["count"]) for row in rows] == [("ams", 1)]
            refused = await it.create()
            assert (refused.status_code, refused.json()["status"]) == (422, "insufficient_capacity")
            await it.machine(region="ams")
            assert (await it.create(region="ams", name="second")).status_code == 422
            codes = {row["code"] for row in (await it.http.get("/platform/regions")).json()["regions"]}
            assert {"fra", "iad"} <= codes

    asyncio.run(body())


def test_certificates_become_active_only_with_both_dns_records(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            made = await it.http.post("/apps/acme/certificates/acme", json={"hostname": "acme.example.com"})
            assert (made.status_code, made.json()["status"]) == (201, "pending_ownership")
            needed = made.json()["dns_requirements"]
            path = "/apps/acme/certificates/acme.example.com"
            it.fly.dns["acme.example.com"] = [needed["cname"]]
            assert (await it.http.post(path + "/check")).json()["status"] == "pending_ownership"
            it.fly.dns = {needed["ownership"]["name"]: [needed["ownership"]["app_value"]]}
            assert (await it.http.post(path + "/check")).json()["status"] == "pending_validation"
            it.fly.dns["acme.example.com"] = [needed["cname"]]
            checked = (await it.http.post(path + "/check")).json()
            assert (checked["status"], checked["configured"]) == ("active", True)
            assert checked["dns_records"]["cname"] == [needed["cname"]]
            assert [row["hostname"] for row in (await it.http.get("/apps/acme/certificates")).json()["certificates"]] == [
                "acme.example.com"
            ]
            assert (await it.http.post("/apps/acme/certificates/acme", json={"hostname": "no host"})).status_code == 422
            assert (await it.http.delete(path)).status_code == 204
            assert (await it.http.get(path)).status_code == 404

    asyncio.run(body())


def test_prometheus_tells_the_same_history(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            await it.clock.advance(timedelta(minutes=30).total_seconds())
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            await it.clock.advance(timedelta(minutes=20).total_seconds())
            url = "http://fly.test/prometheus/local/api/v1/query"
            query = 'sum(count_over_time(fly_instance_up{app="acme"}[1h]))*15'
            seconds = float((await it.http.get(url, params={"query": query})).json()["data"]["result"][0]["value"][1])
            (up,) = it.fly.machine(machine["id"]).ups
            assert abs(seconds - (up[1] - up[0])) <= 15
            assert (await it.http.get(url, params={"query": 'fly_instance_up{app="acme"}'})).json()["data"]["result"] == []
            assert (await it.http.get(url, params={"query": "rate(x[1m])"})).status_code == 400
            assert (await it.http.get(url, params={"query": query}, headers={"authorization": "Bearer no"})).status_code == 401

    asyncio.run(body())
