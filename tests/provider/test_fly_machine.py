"""Machines through their changes: what sleeps stays asleep, what is ill is kept, what is busy is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rowhouse.localcloud.fly import FlyVendor
from rowhouse.provider.machine_shape import configuration, covers, observed_inputs, overlay
from rowhouse.vendors.fly import Fly
from tests.provider.hosts import TOKEN, Host, engine_on, fly_vendor, run
from tests.provider.support import Engine, Failed
from tests.provider.test_fly_whole import APP, MACHINE, VOLUME

SERVICE = {"protocol": "tcp", "internal_port": 8080, "ports": [{"port": 80, "handlers": ["http"]}]}
KIND = "rowhouse:fly:Machine"


@contextlib.asynccontextmanager
async def one_machine(folder: Path, **more: Any) -> AsyncIterator[tuple[FlyVendor, Host, Engine, dict[str, Any]]]:
    async with fly_vendor(folder) as vendor:
        host = Host(vendor.app)
        async with engine_on(host) as engine:
            await engine.up("rowhouse:fly:App", "app", APP)
            await engine.up("rowhouse:fly:Volume", "volume", VOLUME)
            wish = {**MACHINE, "volume": engine.resources["volume"].outputs["volumeId"], "services": [SERVICE], **more}
            await engine.up(KIND, "m", wish)
            host.calls.clear()
            yield vendor, host, engine, wish


def the(vendor: FlyVendor) -> Any:
    (machine,) = (m for m in vendor.apps["acme-1"].machines.values() if m.state != "destroyed")
    return machine


async def fly_of(vendor: FlyVendor) -> Fly:
    return Fly(TOKEN, base_url="http://fly.test", transport=httpx.ASGITransport(app=vendor.app))


def test_an_update_holds_a_lease_gives_it_back_and_names_the_version_that_it_read(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, host, engine, wish):
            old = engine.resources["m"].outputs["instanceId"]
            assert await engine.up(KIND, "m", {**wish, "memoryMb": 512}) == "update"
            assert host.writes() == [
                "POST /v1/apps/acme-1/machines/ID/lease",
                "POST /v1/apps/acme-1/machines/ID",
                "DELETE /v1/apps/acme-1/machines/ID/lease",
            ]
            assert the(vendor).state == "started"
            assert the(vendor).config["guest"]["memory_mb"] == 512
            assert engine.resources["m"].outputs["instanceId"] != old

    run(body)


def test_only_metadata_is_changed_without_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, host, engine, wish):
            version = the(vendor).version
            await engine.up(KIND, "m", {**wish, "metadata": {"managed-by": "rowhouse", "note": "n"}})
            assert "PATCH /v1/apps/acme-1/machines/ID/metadata" in host.calls
            assert the(vendor).config["metadata"] == {"managed-by": "rowhouse", "note": "n"}
            assert the(vendor).version == version

    run(body)


def test_a_machine_that_slept_by_itself_stays_asleep_through_an_update(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, _, engine, wish):
            fly = await fly_of(vendor)
            await fly.stop_machine("acme-1", the(vendor).id)
            await fly.wait("acme-1", the(vendor).id, ("stopped",), timeout_s=5)
            await engine.up(KIND, "m", {**wish, "memoryMb": 512})
            assert the(vendor).config["guest"]["memory_mb"] == 512
            await asyncio.sleep(0.1)
            assert the(vendor).state == "stopped"
            await fly.close()

    run(body)


def test_running_false_stops_it_and_lets_no_request_wake_it_and_true_brings_it_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path, autostop="stop", autostart=True) as (vendor, _, engine, wish):
            await engine.up(KIND, "m", {**wish, "running": False})
            assert the(vendor).state == "stopped"
            assert the(vendor).config["services"][0]["autostart"] is False
            assert await engine.up(KIND, "m", {**wish, "running": False}) == "same"
            await engine.up(KIND, "m", wish)
            assert the(vendor).state == "started"
            assert the(vendor).config["services"][0]["autostart"] is True

    run(body)


def test_one_that_is_wanted_stopped_and_runs_all_the_same_shows_as_drift(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, _, engine, wish):
            await engine.up(KIND, "m", {**wish, "running": False})
            fly = await fly_of(vendor)
            await fly.start_machine("acme-1", the(vendor).id)
            await fly.wait("acme-1", the(vendor).id, ("started",), timeout_s=5)
            await engine.refresh("m")
            assert engine.resources["m"].inputs["running"] is True
            assert await engine.up(KIND, "m", {**wish, "running": False}) == "update"
            assert the(vendor).state == "stopped"
            await fly.close()

    run(body)


def test_sleeping_is_no_drift(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, _, engine, wish):
            fly = await fly_of(vendor)
            await fly.stop_machine("acme-1", the(vendor).id)
            await fly.wait("acme-1", the(vendor).id, ("stopped",), timeout_s=5)
            await engine.refresh("m")
            assert await engine.up(KIND, "m", wish) == "same"
            await fly.close()

    run(body)


def test_a_machine_that_never_gets_healthy_is_kept_and_mended_by_the_next_update(tmp_path: Path) -> None:
    async def body() -> None:
        async with fly_vendor(tmp_path) as vendor, engine_on(Host(vendor.app)) as engine:
            await engine.up("rowhouse:fly:App", "app", APP)
            ill = {**MACHINE, "checks": {"alive": {"type": "tcp", "port": 9, "interval": "1s", "timeout": "1s"}}}
            del ill["mountPath"]
            with pytest.raises(Failed, match="not healthy") as caught:
                await engine.up(KIND, "m", ill, timeout=3.0)
            assert caught.value.partial is not None
            assert caught.value.partial["id"] == f"acme-1/{the(vendor).id}"
            well = {key: value for key, value in ill.items() if key != "checks"}
            assert await engine.up(KIND, "m", well) == "update"
            assert engine.resources["m"].outputs["ready"] is True
            assert len(vendor.apps["acme-1"].machines) == 1

    run(body)


def test_a_lease_that_somebody_else_holds_is_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, _, engine, wish):
            fly = await fly_of(vendor)
            nonce = await fly.acquire_lease("acme-1", the(vendor).id, 60)
            task = asyncio.ensure_future(engine.up(KIND, "m", {**wish, "memoryMb": 512}))
            await asyncio.sleep(0.3)
            assert not task.done()
            await fly.release_lease("acme-1", the(vendor).id, nonce)
            assert await task == "update"
            await fly.close()

    run(body)


def test_another_volume_replaces_the_machine_and_never_the_volume(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, host, engine, wish):
            await engine.up("rowhouse:fly:Volume", "v2", {**VOLUME, "name": "data2"})
            first = the(vendor).id
            assert await engine.up(KIND, "m", {**wish, "volume": engine.resources["v2"].outputs["volumeId"]}) == "replace"
            assert the(vendor).id != first
            assert not [call for call in host.calls if call.startswith("DELETE") and "volumes" in call]

    run(body)


def test_what_others_added_to_the_configuration_survives_an_update(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path) as (vendor, _, engine, wish):
            the(vendor).config["stop_config"] = {"timeout": "10s"}
            await engine.up(KIND, "m", {**wish, "memoryMb": 512})
            assert the(vendor).config["stop_config"] == {"timeout": "10s"}

    run(body)


def test_an_environment_variable_that_somebody_added_shows_as_drift(tmp_path: Path) -> None:
    async def body() -> None:
        async with one_machine(tmp_path, env={"A": "1"}) as (vendor, _, engine, wish):
            the(vendor).config["env"] = {"A": "1", "B": "2"}
            await engine.refresh("m")
            diff = await engine.diff(engine.resources["m"], {**(await engine.check(KIND, "m", wish))[0]})
            assert list(diff.detailedDiff) == ["env.B"]

    run(body)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"cpus": 3}, "cpus"),
        ({"memoryMb": 300}, "memoryMb"),
        ({"memoryMb": 4096}, "memoryMb"),
        ({"cpuKind": "quantum"}, "cpuKind"),
        ({"mountPath": "/data"}, "volume"),
        ({"volume": "vol_1"}, "mountPath"),
        ({"env": {"PORT": 80}}, "env"),
        ({"autostop": "stop", "autostart": False}, "autostart"),
        ({"app": None}, "app"),
    ],
)
def test_check_refuses_what_fly_would_refuse(wrong: dict[str, Any], where: str) -> None:
    wish = {"app": "a", "name": "m", "region": "fra", "image": "i", "cpus": 1, "memoryMb": 256, **wrong}

    async def body() -> None:
        async with engine_on(Host(None)) as engine:
            _, failures = await engine.check(KIND, "m", {k: v for k, v in wish.items() if v is not None})
            assert list(failures) == [where]

    run(body)


def test_a_volume_lost_to_a_failed_resource_is_worded_as_that() -> None:
    async def body() -> None:
        async with engine_on(Host(None)) as engine:
            _, failures = await engine.check(KIND, "m", {**MACHINE})
            assert "the rowhouse:fly:Volume failed in this run" in failures["volume"]

    run(body)


def test_flys_spelling_of_autostop_is_no_difference() -> None:
    inputs = {"app": "a", "image": "i", "cpus": 1, "memoryMb": 256, "services": [SERVICE], "autostop": "stop", "autostart": True}
    wanted = configuration(inputs)
    there = {**wanted, "services": [{**SERVICE, "autostop": True, "autostart": True, "force_instance_key": None}], "dns": {}, "init": {}}
    machine = {"id": "1", "name": "m", "region": "fra", "state": "started", "config": there}
    assert covers(there, wanted)
    assert observed_inputs(machine, "a", inputs)["services"] == [SERVICE]
    imported = observed_inputs(machine, "a", {})
    assert (imported["autostop"], imported["autostart"]) == ("stop", True)


def test_overlay_keeps_the_metadata_of_others_and_drops_ours() -> None:
    laid = overlay({"metadata": {"theirs": "1", "old": "2"}, "dns": {}}, {"metadata": {"new": "3"}, "image": "i"}, {"old"})
    assert laid == {"metadata": {"theirs": "1", "new": "3"}, "dns": {}, "image": "i"}
