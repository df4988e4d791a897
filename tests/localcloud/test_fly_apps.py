import asyncio
from pathlib import Path

import pytest

from tests.localcloud.fly_support import account, error

TAKEN = "Validation failed: Name has already been taken"
BAD_NAME = "Validation failed: Name under 63 chars using numbers, lowercase letters and dashes"


def test_an_app_is_created_by_name_or_app_name_and_read_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            made = await it.http.post("/apps", json={"app_name": "acme", "org_slug": "local", "network": "acme-net"})
            assert made.status_code == 201
            assert set(made.json()) == {"id", "created_at"}
            read = (await it.http.get("/apps/acme")).json()
            assert (read["id"], read["name"], read["network"], read["status"]) == (made.json()["id"], "acme", "acme-net", "pending")
            assert read["organization"]["slug"] == "local"
            listed = (await it.http.get("/apps", params={"org_slug": "local"})).json()
            assert [app["name"] for app in listed["apps"]] == ["acme"]

    asyncio.run(body())


def test_creating_with_wait_answers_the_whole_app(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            made = await it.http.post("/apps?wait=true", json={"name": "acme", "org_slug": "local"})
            assert made.json()["name"] == "acme"

    asyncio.run(body())


def test_a_taken_name_is_refused_by_status_and_a_foreign_one_is_403(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            again = await it.http.post("/apps", json={"name": "acme", "org_slug": "local"})
            assert again.status_code == 422
            assert again.json() == {"error": TAKEN, "status": "name_taken"}
            it.fly.foreign_names.add("theirs")
            assert error(await it.http.post("/apps", json={"name": "theirs", "org_slug": "local"})) == (422, TAKEN)
            assert (await it.http.get("/apps/theirs")).status_code == 403
            assert (await it.http.get("/apps/free")).status_code == 404

    asyncio.run(body())


def test_the_same_idempotency_key_gives_the_same_app_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            first = await it.app(idempotency_key="tenant-acme-v1")
            second = await it.http.post("/apps", json={"name": "acme", "org_slug": "local", "idempotency_key": "tenant-acme-v1"})
            assert (second.status_code, second.json()["id"]) == (201, first["id"])
            other = await it.http.post("/apps", json={"name": "acme", "org_slug": "local", "idempotency_key": "another"})
            assert other.status_code == 422

    asyncio.run(body())


@pytest.mark.parametrize("name", ["Acme", "a_b", "", "a" * 64, "-a", "a.b", None])
def test_a_bad_name_is_refused_in_fly_s_words(tmp_path: Path, name: str | None) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            assert error(await it.http.post("/apps", json={"name": name, "org_slug": "local"})) == (422, BAD_NAME)

    asyncio.run(body())


def test_63_characters_are_a_name(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app("a" * 63)

    asyncio.run(body())


def test_an_app_without_organisation_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            refused = await it.http.post("/apps", json={"name": "acme"})
            assert error(refused) == (400, "authorization: request doesn't contain org_slug")

    asyncio.run(body())


@pytest.mark.parametrize("status", [404, 401])
def test_a_new_app_can_be_invisible_for_a_while(tmp_path: Path, status: int) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            it.fly.create_window_s, it.fly.create_window_status = 0.1, status
            await it.app()
            assert (await it.http.get("/apps/acme")).status_code == status
            await asyncio.sleep(0.12)
            assert (await it.http.get("/apps/acme")).status_code == 200

    asyncio.run(body())


def test_deleting_an_app_answers_202_and_takes_machines_and_volumes_along(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            machine = await it.started(config={"mounts": [{"volume": volume["id"], "path": "/data"}]})
            process = it.fly.machine(machine["id"]).running.process
            assert (await it.http.delete("/apps/acme")).status_code == 412
            assert (await it.http.delete("/apps/acme?force=true")).status_code == 202
            assert (await it.http.get("/apps/acme")).status_code == 404
            assert (await it.http.get(f"/apps/acme/machines/{machine['id']}")).status_code == 404
            await asyncio.wait_for(process.wait(), 5)
            while not it.fly.machine(machine["id"]).is_gone:
                await asyncio.sleep(0.01)
            listed = (await it.http.get("/orgs/local/volumes?include_deleted=true")).json()["volumes"]
            assert [row["state"] for row in listed] == ["pending_destroy"]
            assert it.fly.dump() == {"apps": {}}
            await it.app()  # the name is free again

    asyncio.run(body())


def test_addresses_have_fly_s_types_and_no_app_gets_one_by_itself(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app(network="acme-net")
            assert (await it.http.get("/apps/acme/ip_assignments")).json() == {"ips": []}
            shown = {}
            for kind in ("v4", "v6", "shared_v4", "private_v6", "egress_v4"):
                answer = await it.http.post("/apps/acme/ip_assignments", json={"type": kind, "org_slug": "local"})
                assert answer.status_code == 200
                shown[kind] = answer.json()
            assert shown["shared_v4"]["shared"] is True
            assert shown["v4"]["shared"] is False
            assert "type" not in shown["v4"]
            assert shown["private_v6"]["ip"].startswith("fdaa:")
            assert shown["private_v6"]["network"] is None  # the organisation's network, not the app's
            assert shown["egress_v4"]["egress"] is True
            listed = (await it.http.get("/apps/acme/ip_assignments")).json()["ips"]
            assert listed == list(shown.values())
            assert (await it.http.post("/apps/acme/ip_assignments", json={"type": "v5"})).status_code == 422

    asyncio.run(body())


def test_an_address_is_released_once_and_a_second_shared_one_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            ip = (await it.http.post("/apps/acme/ip_assignments", json={"type": "shared_v4"})).json()["ip"]
            again = await it.http.post("/apps/acme/ip_assignments", json={"type": "shared_v4"})
            assert again.status_code == 422
            assert "already been taken" in again.json()["error"]
            assert (await it.http.delete(f"/apps/acme/ip_assignments/{ip}")).status_code == 204
            assert (await it.http.delete(f"/apps/acme/ip_assignments/{ip}")).status_code == 404

    asyncio.run(body())


def test_creating_an_address_twice_makes_two(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            for _ in range(2):
                await it.http.post("/apps/acme/ip_assignments", json={"type": "private_v6", "network": "cell"})
            listed = (await it.http.get("/apps/acme/ip_assignments")).json()["ips"]
            assert [ip["network"] for ip in listed] == ["cell", "cell"]
            assert len({ip["ip"] for ip in listed}) == 2

    asyncio.run(body())


def test_secrets_show_digests_not_values_and_count_versions(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            first = (await it.http.post("/apps/acme/secrets", json={"values": {"A": "1", "OLD": "2"}})).json()
            assert first["version"] == 1
            second = (await it.http.post("/apps/acme/secrets", json={"values": {"A": "one", "OLD": None}})).json()
            assert second["version"] == 2
            assert [secret["name"] for secret in second["secrets"]] == ["A"]
            assert second["secrets"][0]["digest"] != first["secrets"][0]["digest"]
            assert "value" not in second["secrets"][0]
            assert (await it.http.get("/apps/acme/secrets?show_secrets=true")).json()["secrets"][0]["value"] == "one"
            single = await it.http.post("/apps/acme/secrets/B", json={"value": "x"})
            assert (single.status_code, single.json()["version"]) == (201, 3)
            assert (await it.http.get("/apps/acme/secrets/B")).json()["digest"] == single.json()["digest"]
            assert (await it.http.delete("/apps/acme/secrets/B")).json()["version"] == 4
            assert (await it.http.get("/apps/acme/secrets/B")).status_code == 404
            assert "one" not in str(it.fly.dump())

    asyncio.run(body())


def test_a_machine_that_needs_newer_secrets_waits_for_them(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            version = (await it.http.post("/apps/acme/secrets", json={"values": {"A": "1"}})).json()["version"]
            it.fly.secrets_lag = True
            refused = await it.create(min_secrets_version=version)
            assert error(refused) == (412, f"failed_precondition: min_secrets_version {version} is not yet available")
            it.fly.secrets_lag = False
            assert (await it.create(min_secrets_version=version)).status_code == 200

    asyncio.run(body())
