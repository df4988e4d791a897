"""One instance on Fly, made and removed with every call going wrong once in every way."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from rowhouse.localcloud.fly import FlyVendor
from tests.provider.hosts import FAULTS, SLEEPER, FaultyHost, Host, engine_on, fly_vendor, run
from tests.provider.support import Engine, Failed

APP = {"name": "acme-1", "org": "local", "network": "acme-1"}
IP = {"app": "acme-1", "type": "private_v6", "network": "edge"}
VOLUME = {"app": "acme-1", "name": "data", "region": "fra", "sizeGb": 1, "cpus": 1, "memoryMb": 256}
SECRETS = {"app": "acme-1", "values": {"API_KEY": "env:ACME_KEY"}}
MACHINE = {
    "app": "acme-1",
    "name": "main",
    "region": "fra",
    "image": f"registry.localhost/sleeper@{SLEEPER.digest}",
    "cpus": 1,
    "memoryMb": 256,
    "mountPath": "/data",
    "metadata": {"managed-by": "rowhouse", "tenant": "acme"},
}


async def up(engine: Engine) -> None:
    await engine.up("rowhouse:fly:App", "app", APP)
    await engine.up("rowhouse:fly:Ip", "ip", IP)
    await engine.up("rowhouse:fly:Volume", "volume", VOLUME)
    await engine.up("rowhouse:fly:Secrets", "secrets", SECRETS)
    volume, version = engine.resources["volume"].outputs["volumeId"], engine.resources["secrets"].outputs["version"]
    await engine.up("rowhouse:fly:Machine", "machine", {**MACHINE, "volume": volume, "minSecretsVersion": version})


async def down(engine: Engine) -> None:
    for name in ("machine", "volume", "secrets", "ip", "app"):
        if name in engine.resources:
            await engine.delete(name)


def inventory(vendor: FlyVendor) -> dict[str, Any]:
    """What Fly has, without ids and times."""
    found = {}
    for app in vendor.apps.values():
        machines = [m for m in app.machines.values() if m.state not in {"destroyed", "destroying"}]
        volumes = [v for v in app.volumes.values() if v.state == "created" and not v.gone]
        found[app.name] = {
            "machines": [(m.name, m.state, m.config["image"]) for m in machines],
            "volumes": [(v.name, v.size_gb, bool(v.machine_id)) for v in volumes],
            "ips": len(app.ips),
            "secrets": sorted(app.secrets),
        }
    return found


WHOLE = {
    "acme-1": {
        "machines": [("main", "started", MACHINE["image"])],
        "volumes": [("data", 1, True)],
        "ips": 1,
        "secrets": ["API_KEY"],
    }
}


async def until_done(vendor: FlyVendor, host: Host, state: dict[str, Any], work: Any) -> int:
    """Run `work` again and again, each time with a fresh plugin, until nothing fails; answers how often."""
    last: Failed | None = None
    for times in range(1, 6):
        before = dict(state)
        async with engine_on(host, state, ACME_KEY="s3cret-of-acme") as engine:
            try:
                await work(engine)
            except Failed as error:
                if "Killed" in error.text:  # a killed process saves nothing of the call it was in
                    for name in [name for name in state if name not in before]:
                        if error.partial and state[name].id == error.partial["id"]:
                            del state[name]
                last = error
                continue
        return times
    raise AssertionError(f"never done: {last}")


def test_an_undisturbed_up_asks_little_and_a_second_one_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor:
            host = Host(vendor.app)
            async with engine_on(host, ACME_KEY="s3cret-of-acme") as engine:
                await up(engine)
                assert host.calls == [
                    "POST /v1/apps",
                    "POST /v1/apps/acme-1/ip_assignments",
                    "POST /v1/apps/acme-1/volumes",
                    "POST /v1/apps/acme-1/secrets",
                    "POST /v1/apps/acme-1/machines",
                    "GET /v1/apps/acme-1/machines/ID/wait",
                ]
                assert inventory(vendor) == WHOLE
                host.calls.clear()
                await up(engine)
                assert host.calls == []
                await down(engine)
                assert inventory(vendor) == {}

    run(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_call_of_an_up_goes_wrong_the_end_is_the_same(fault: str) -> None:
    async def one(number: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with fly_vendor(Path(folder)) as vendor:
                host, state = FaultyHost(vendor.app, number, fault), {}
                times = await until_done(vendor, host, state, up)
                assert host.struck, number
                assert inventory(vendor) == WHOLE, (number, host.calls)
                if not fault.startswith("killed"):
                    assert times == 1, (number, host.calls)
                await until_done(vendor, Host(vendor.app), state, down)
                assert inventory(vendor) == {}, number

    async def body() -> None:
        for number in range(6):
            await one(number)

    run(body)


@pytest.mark.long
@pytest.mark.parametrize("fault", ["down after", "lost", "killed after"])
def test_whatever_call_of_a_removal_goes_wrong_nothing_is_left_over(fault: str) -> None:
    async def one(number: int) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            async with fly_vendor(Path(folder)) as vendor:
                state: dict[str, Any] = {}
                await until_done(vendor, Host(vendor.app), state, up)
                host = FaultyHost(vendor.app, number, fault)
                await until_done(vendor, host, state, down)
                assert inventory(vendor) == {}, (number, host.calls)
                assert state == {}
                return host.struck

    async def body() -> None:
        assert await one(0)
        number = 1
        while await one(number):
            number += 1
        assert number >= 5

    run(body)


def test_all_is_found_again_from_the_ids_alone_and_then_nothing_differs(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app), ACME_KEY="s3cret-of-acme") as engine:
            await up(engine)
            for name, kept in list(engine.resources.items()):
                found = await engine.read(kept.type, name, kept.id)
                assert found is not None
                assert found.id == kept.id
                if name != "secrets":  # Fly shows no value, so they are set once more
                    assert dict((await engine.diff(found, kept.inputs)).detailedDiff) == {}, name
            by_name = await engine.read("rowhouse:fly:Machine", "m", "acme-1/main")
            assert by_name is not None
            assert by_name.id == engine.resources["machine"].id
            by_type = await engine.read("rowhouse:fly:Ip", "ip", "acme-1/private_v6")
            assert by_type is not None
            assert by_type.id == engine.resources["ip"].id

    run(body)


def test_a_refresh_of_what_nobody_touched_changes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app), ACME_KEY="s3cret-of-acme") as engine:
            await up(engine)
            before = {name: (kept.inputs, kept.outputs) for name, kept in engine.resources.items()}
            for name in before:
                assert await engine.refresh(name)
            assert {name: (kept.inputs, kept.outputs) for name, kept in engine.resources.items()} == before

    run(body)


def test_what_was_removed_at_fly_is_gone_at_refresh_and_deleting_it_succeeds(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app), ACME_KEY="s3cret-of-acme") as engine:
            await up(engine)
            kept = dict(engine.resources)
            async with engine_on(Host(vendor.app), dict(kept), ACME_KEY="x") as other:
                await down(other)
            for name, gone in kept.items():
                await engine._delete(gone)
                assert await engine.refresh(name) is False

    run(body)
