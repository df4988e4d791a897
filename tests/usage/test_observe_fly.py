import asyncio
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from rowhouse.usage.observe import observe
from rowhouse.usage.observe_fly import FlySource
from rowhouse.usage.previous import Previous
from rowhouse.vendors.fly import Fly
from tests.localcloud.fly_support import Account, account
from tests.usage.fly_world import no_sleep

MARK = {"managed-by": "rowhouse", "project": "shop", "stack": "main", "tenant": "acme", "instance": "main"}


def source_of(it: Account) -> FlySource:
    transport = httpx.ASGITransport(it.fly.app)
    fly = Fly(it.fly.token, base_url="http://fly", api_url="http://fly", transport=transport, sleep=no_sleep)
    return FlySource(fly, org="local", project="shop", stack="main")


def test_a_machine_of_the_stand_in_is_seen_from_its_launch_to_its_end(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume(size_gb=3)
            config = {"metadata": MARK, "mounts": [{"volume": volume["id"], "path": "/data"}]}
            machine = await it.started(config=config)
            (it.fly.runtime.volume_path(volume["id"]) / "notes").write_bytes(b"x" * 2**20)
            await it.app("foreign")
            await it.started("foreign")
            await it.clock.advance(3600)

            first = await observe([source_of(it)], Previous())
            assert first.completeness["fly"].complete, first.completeness["fly"].reason
            entries = first.entries["fly"]
            assert {entry.tenant for entry in entries} == {"acme"}
            events = [(entry.data["status"], entry.state) for entry in entries if entry.kind == "event"]
            assert events == [("created", "stopped"), ("started", "running")]
            (cover,) = [entry for entry in entries if entry.kind == "events"]
            assert cover.state == "running"
            truth = it.fly.machine(machine["id"]).ups[0]
            (start,) = [entry for entry in entries if entry.kind == "event" and entry.state == "running"]
            assert abs(start.at - truth[0] * 1000) < 50
            assert first.now is not None
            assert abs(first.now - it.clock.timestamp() * 1000) < 5_000
            (used,) = [entry for entry in entries if entry.kind == "storage"]
            (provisioned,) = [entry for entry in entries if entry.kind == "volume"]
            assert (used.subject, provisioned.value) == (volume["id"], "3")
            assert used.value is not None
            assert 0.0009 < float(used.value) < 0.0011

            previous = Previous.of(entries)
            again = await observe([source_of(it)], previous)
            assert [entry.kind for entry in again.entries["fly"] if entry.kind in {"event", "events"}] == []

            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            third = await observe([source_of(it)], previous)
            assert [entry.data["type"] for entry in third.entries["fly"] if entry.kind == "event"] == ["stop", "exit"]
            (cover,) = [entry for entry in third.entries["fly"] if entry.kind == "events"]
            assert (cover.at, cover.state) == (start.at, "stopped")

    asyncio.run(body())


def test_a_destroyed_machine_is_told_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"metadata": MARK})
            previous = Previous.of((await observe([source_of(it)], Previous())).entries["fly"])
            await it.http.delete(f"/apps/acme/machines/{machine['id']}?force=true")
            await it.clock.advance(30)
            gone = await observe([source_of(it)], previous)
            assert [entry.state for entry in gone.entries["fly"] if entry.kind == "machine"] == ["gone"]
            assert [entry.state for entry in gone.entries["fly"] if entry.kind == "events"] == ["gone"]
            for entry in gone.entries["fly"]:
                previous.add(entry)
            assert (await observe([source_of(it)], previous)).entries["fly"] == ()

    asyncio.run(body())


def test_faults_of_the_stand_in_leave_the_pass_incomplete_and_what_was_seen_in_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            await it.started(config={"metadata": MARK})
            it.fly.error_regions = ["ams"]
            partial = await observe([source_of(it)], Previous())
            assert not partial.complete
            assert "ams" in partial.completeness["fly"].reason
            assert [entry.kind for entry in partial.entries["fly"]].count("machine") == 1

    asyncio.run(body())


def test_the_pass_has_the_time_of_fly_and_says_how_far_this_machine_is_off(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.clock.advance(-1 + 3601)
            seen = await observe([source_of(it)], Previous())
            answer = await it.http.get("/orgs/local/machines")
            assert seen.now is not None
            assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() * 1000 - seen.now) <= 2_000
            assert seen.machine_clock_off_s is not None
            assert -3605 < seen.machine_clock_off_s < -3595

    asyncio.run(body())
