import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.localcloud.fly_support import Account, account, error


def mounted(volume: dict[str, Any]) -> dict[str, Any]:
    return {"mounts": [{"volume": volume["id"], "path": "/data"}]}


async def delete(it: Account, volume: dict[str, Any]) -> Any:
    return await it.http.delete(f"/apps/acme/volumes/{volume['id']}")


def test_a_volume_has_a_zone_and_defaults(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            made = (await it.http.post("/apps/acme/volumes", json={"name": "data", "region": "fra"})).json()
            assert made["id"].startswith("vol_")
            assert (made["size_gb"], made["encrypted"], made["state"], made["attached_machine_id"]) == (3, True, "created", None)
            assert len(made["zone"]) == 4
            assert (await it.http.get(f"/apps/acme/volumes/{made['id']}")).json() == made

    asyncio.run(body())


def test_a_machine_follows_its_volume_to_zone_and_region(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume(region="iad")
            machine = await it.machine(config=mounted(volume), region="any")
            assert machine["region"] == "iad"
            assert it.fly.machine(machine["id"]).zone == volume["zone"]
            elsewhere = await it.volume(name="other", region="fra")
            refused = await it.create(config=mounted(elsewhere), name="second", region="iad")
            assert error(refused) == (400, f"invalid region: volume {elsewhere['id']} is in fra")

    asyncio.run(body())


def test_volumes_of_one_name_take_different_zones_until_there_are_none(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            it.fly.zones_per_region = 2
            zones = {(await it.volume())["zone"] for _ in range(2)}
            assert len(zones) == 2
            full = await it.http.post("/apps/acme/volumes", json={"name": "data", "region": "fra", "size_gb": 1})
            assert error(full) == (409, "aborted: no capacity")
            assert (await it.volume(require_unique_zone=False))["zone"] in zones

    asyncio.run(body())


def test_a_mounted_volume_cannot_be_claimed_or_deleted(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            machine = await it.machine(config=mounted(volume))
            refused = await it.create(config=mounted(volume), name="second")
            assert error(refused) == (412, f"failed_precondition: volume already claimed by machine {machine['id']}")
            assert error(await delete(it, volume)) == (412, f"failed_precondition: volume is currently bound to machine: {machine['id']}")

    asyncio.run(body())


def test_a_volume_stays_bound_for_a_moment_after_its_machine_is_destroyed(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            machine = await it.machine(config=mounted(volume))
            await it.http.delete(f"/apps/acme/machines/{machine['id']}?force=true")
            await it.wait(machine, "destroyed")
            assert (await delete(it, volume)).status_code == 412
            await asyncio.sleep(0.15)
            assert (await delete(it, volume)).status_code == 200

    asyncio.run(body())


def test_a_deleted_volume_stays_visible_for_a_day_and_then_its_data_is_gone(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            folder = it.fly.runtime.volume_path(volume["id"])
            assert (await delete(it, volume)).json()["state"] == "pending_destroy"
            listed = (await it.http.get("/apps/acme/volumes")).json()
            assert [row["state"] for row in listed] == ["pending_destroy"]
            await it.clock.advance(23 * 3600)
            assert folder.exists()
            await it.clock.advance(2 * 3600)
            assert (await it.http.get(f"/apps/acme/volumes/{volume['id']}")).status_code == 404
            assert not folder.exists()

    asyncio.run(body())


def test_a_volume_grows_and_never_shrinks(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume(size_gb=2)
            path = f"/apps/acme/volumes/{volume['id']}/extend"
            grown = (await it.http.put(path, json={"size_gb": 4})).json()
            assert (grown["volume"]["size_gb"], grown["needs_restart"]) == (4, False)
            assert (await it.http.put(path, json={"size_gb": 3})).status_code == 422
            assert (await it.http.put(path, json={"size_gb": 501})).status_code == 422
            assert (await it.http.get(f"/apps/acme/volumes/{volume['id']}")).json()["size_gb"] == 4
            await it.started(config=mounted(volume))
            assert (await it.http.put(path, json={"size_gb": 5})).json()["needs_restart"] is True

    asyncio.run(body())


def test_only_retention_and_backups_of_a_volume_can_be_changed(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            path = f"/apps/acme/volumes/{volume['id']}"
            changed = (
                await it.http.put(path, json={"snapshot_retention": 30, "auto_backup_enabled": False, "name": "x", "region": "iad"})
            ).json()
            assert (changed["snapshot_retention"], changed["auto_backup_enabled"]) == (30, False)
            assert (changed["name"], changed["region"]) == ("data", "fra")
            assert (await it.http.put(path, json={"snapshot_retention": 61})).status_code == 422

    asyncio.run(body())


def test_a_second_snapshot_in_progress_is_refused_and_snapshots_outlive_the_volume(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            path = f"/apps/acme/volumes/{volume['id']}/snapshots"
            taken = await it.http.post(path)
            assert (taken.status_code, taken.content) == (200, b"")
            second = await it.http.post(path)
            assert second.status_code == 412
            assert second.json()["error"].startswith("failed_precondition: snapshot is already scheduled at 20")
            await it.clock.advance(10)
            assert (await it.http.post(path)).status_code == 200
            await it.clock.advance(10)
            await delete(it, volume)
            await it.clock.advance(25 * 3600)
            listed = (await it.http.get(path)).json()
            assert [snapshot["status"] for snapshot in listed] == ["created", "created"]
            assert listed[0]["id"].startswith("vs_")

    asyncio.run(body())


@pytest.mark.parametrize(
    "change", [{"name": "has-dash"}, {"region": "moon"}, {"region": "any"}, {"size_gb": 0}, {"size_gb": "1"}, {"size_gb": 501}]
)
def test_a_volume_that_fly_would_not_make_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            refused = await it.http.post("/apps/acme/volumes", json={"name": "data", "region": "fra", "size_gb": 1} | change)
            if change == {"size_gb": 0}:  # zero is absent to Go: the default
                assert refused.json()["size_gb"] == 3
            else:
                assert refused.status_code == 422

    asyncio.run(body())


def test_a_migration_keeps_the_machine_and_changes_the_volume_s_id(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            (it.fly.runtime.volume_path(volume["id"]) / "kept").write_text("data")
            machine = await it.started(config=mounted(volume))
            it.fly.migrate(machine["id"])
            after = await it.get(machine)
            fresh = after["config"]["mounts"][0]["volume"]
            assert (after["id"], after["state"]) == (machine["id"], "started")
            assert fresh != volume["id"]
            event = after["events"][0]
            assert (event["type"], event["status"], event["source"]) == ("launch", "created", "flyd")
            rows = {row["id"]: row for row in (await it.http.get("/apps/acme/volumes")).json()}
            assert (rows[fresh]["name"], rows[fresh]["attached_machine_id"]) == ("data", machine["id"])
            assert rows[volume["id"]]["state"] == "pending_destroy"
            assert (it.fly.runtime.volume_path(fresh) / "kept").read_text() == "data"

    asyncio.run(body())
