import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.localcloud.fly_support import NOTEBOOK, SLEEPER, account, error


def test_a_machine_is_created_then_started(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            made = await it.machine()
            assert made["state"] == "created"
            early = await it.post(made, "start")
            assert error(early) == (412, "failed_precondition: unable to start machine from current state: 'created'")
            assert (await it.wait(made))["state"] == "started"
            seen = [(event["type"], event["status"], event["source"]) for event in (await it.get(made))["events"]]
            assert seen == [("start", "started", "flyd"), ("launch", "created", "user")]

    asyncio.run(body())


def test_ids_versions_and_times_have_fly_s_shapes(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            assert re.fullmatch(r"[0-9a-f]{14}", machine["id"])
            assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", machine["version"])
            assert machine["instance_id"] == machine["version"]
            events = (await it.http.get(f"/apps/acme/machines/{machine['id']}/events")).json()
            assert [event["id"] for event in events] == sorted((event["id"] for event in events), reverse=True)
            assert all(abs(event["timestamp"] - it.clock.timestamp() * 1000) < 60_000 for event in events)
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", machine["image_ref"]["digest"])
            assert machine["private_ip"].startswith("fdaa:")

    asyncio.run(body())


def test_events_are_clamped_to_20_and_50(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            for _ in range(60):
                it.fly.lifecycle.note(it.fly.machine(machine["id"]), "test", "noted", "flyd")
            path = f"/apps/acme/machines/{machine['id']}/events"
            assert len((await it.http.get(path)).json()) == 20
            assert len((await it.http.get(path, params={"limit": 7})).json()) == 7
            assert len((await it.http.get(path, params={"limit": 500})).json()) == 50

    asyncio.run(body())


def test_configuration_is_normalised_as_fly_does(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            services = [{"internal_port": 8080, "autostop": how, "autostart": True, "bogus": 1} for how in ("off", "stop", "suspend")]
            made = await it.machine(config={"services": services, "auto_stop_machines": True})
            config = made["config"]
            assert [service["autostop"] for service in config["services"]] == [False, True, "suspend"]
            assert "bogus" not in config["services"][0]
            assert "auto_stop_machines" not in config
            assert config["guest"] == {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
            assert (config["dns"], config["init"]) == ({}, {})

    asyncio.run(body())


@pytest.mark.parametrize(
    "config",
    [
        {"guest": {"cpu_kind": "shared", "cpus": 3, "memory_mb": 768}},
        {"guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 300}},
        {"guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 4096}},
        {"guest": {"cpu_kind": "performance", "cpus": 1, "memory_mb": 1024}},
        {"guest": {"cpu_kind": "huge", "cpus": 1, "memory_mb": 256}},
        {"size": "shared-cpu-1x", "guest": {"cpus": 1}},
        {"services": [{"internal_port": 8080, "autostart": "true"}]},
        {"services": [{"internal_port": 8080, "autostop": "sometimes"}]},
        {"env": {"A": 1}},
        {"restart": {"policy": "perhaps"}},
        {"stop_config": {"timeout": "soon"}},
        {"checks": {"up": {"type": "ping"}}},
        {"mounts": [{"volume": "vol_missing", "path": "/data"}]},
        {"image": "registry.localhost/absent:1"},
        {"image": ""},
    ],
)
def test_a_configuration_that_fly_would_not_take_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            refused = await it.create(config=config)
            assert refused.status_code == 400
            assert (await it.http.get("/apps/acme/machines")).json() == []

    asyncio.run(body())


def test_a_duplicate_name_is_refused_with_the_id_in_the_text(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            made = await it.machine()
            text = f'already_exists: unique machine name violation, machine ID {made["id"]} already exists with name "main"'
            assert error(await it.create()) == (409, text)

    asyncio.run(body())


def test_skip_launch_ends_stopped(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            made = await it.machine(skip_launch=True)
            await it.wait(made, "stopped")
            assert it.fly.runtime.running == {}
            started = await it.post(made, "start")
            assert started.json()["previous_state"] == "stopped"
            await it.wait(made)

    asyncio.run(body())


def test_destroying_needs_a_stopped_machine_or_force_and_takes_its_time(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            path = f"/apps/acme/machines/{machine['id']}"
            refused = await it.http.delete(path)
            assert error(refused) == (412, "failed_precondition: unable to destroy machine, not currently stopped")
            assert (await it.http.delete(path + "?force=true")).status_code == 200
            assert (await it.get(machine))["state"] == "destroying"
            await it.wait(machine, "destroyed")
            assert (await it.http.get("/apps/acme/machines")).json() == []
            listed = (await it.http.get("/apps/acme/machines?include_deleted=true")).json()
            assert [row["state"] for row in listed] == ["destroyed"]
            await it.clock.advance(120)
            assert (await it.http.get(path)).status_code == 404
            assert (await it.http.delete(path)).status_code == 404

    asyncio.run(body())


def test_stopping_answers_at_once_and_says_how_the_process_ended(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            assert (await it.post(machine, "stop")).json() == {"ok": True}
            await it.wait(machine, "stopped")
            event = (await it.get(machine))["events"][0]
            assert (event["type"], event["status"], event["source"]) == ("exit", "stopped", "flyd")
            end = event["request"]["exit_event"]
            assert (end["requested_stop"], end["signal"], end["oom_killed"], end["restarting"]) == (True, 15, False, False)
            assert (await it.post(machine, "stop")).status_code == 200  # again is no error

    asyncio.run(body())


def test_a_malformed_stop_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            assert (await it.post(machine, "stop", content=b"{")).status_code == 400
            assert (await it.post(machine, "stop", json={"signal": "SIGNOT"})).status_code == 400
            assert (await it.post(machine, "stop", json={"timeout": "ten"})).status_code == 400
            assert (await it.get(machine))["state"] == "started"

    asyncio.run(body())


def test_suspending_freezes_and_starting_resumes_the_same_process(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            pid = it.fly.machine(machine["id"]).running.process.pid
            assert (await it.post(machine, "suspend")).json() == {"ok": True}
            await it.wait(machine, "suspended")
            assert (await it.post(machine, "start")).json()["previous_state"] == "suspended"
            await it.wait(machine)
            assert it.fly.machine(machine["id"]).running.process.pid == pid
            await it.post(machine, "suspend")
            await it.wait(machine, "suspended")
            await it.post(machine, "stop")  # drops the memory
            await it.wait(machine, "stopped")
            assert it.fly.runtime.running == {}

    asyncio.run(body())


def test_a_large_machine_cannot_be_suspended(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"guest": {"cpu_kind": "shared", "cpus": 2, "memory_mb": 4096}})
            assert (await it.post(machine, "suspend")).status_code == 412

    asyncio.run(body())


def test_an_update_replaces_everything_and_makes_a_new_version(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"env": {"A": "1"}, "metadata": {"k": "v"}})
            changed = await it.post(machine, json={"config": {"image": SLEEPER, "env": {"B": "2"}}, "current_version": machine["version"]})
            assert changed.json()["state"] == "replacing"
            assert changed.json()["version"] > machine["version"]
            early = await it.post(machine, "start")
            assert error(early) == (412, "failed_precondition: machine getting replaced, refusing to start")
            again = await it.post(machine, json={"config": {"image": SLEEPER}})
            assert error(again) == (409, "aborted: machine update failed due to concurrent update")
            await it.wait(machine, version=changed.json()["version"])
            after = await it.get(machine)
            assert after["config"]["env"] == {"B": "2"}
            assert "metadata" not in after["config"]
            assert (after["events"][-1]["type"], after["events"][-1]["status"]) == ("update", "replacing")  # embedded events begin anew
            versions = (await it.http.get(f"/apps/acme/machines/{machine['id']}/versions")).json()
            assert [row["version"] for row in versions] == [after["version"], machine["version"]]

    asyncio.run(body())


def test_an_update_with_an_old_version_name_or_region_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            for change, status in ({"current_version": "01OLD"}, 409), ({"name": "other"}, 400), ({"region": "iad"}, 400):
                assert (await it.post(machine, json={"config": {"image": SLEEPER}} | change)).status_code == status
            assert (await it.get(machine))["version"] == machine["version"]

    asyncio.run(body())


def test_an_updated_stopped_machine_stays_stopped(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            changed = (await it.post(machine, json={"config": {"image": SLEEPER}})).json()
            await it.wait(machine, "stopped", version=changed["version"])
            assert it.fly.runtime.running == {}

    asyncio.run(body())


def test_a_restart_is_a_new_process_of_the_same_version(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            pid = it.fly.machine(machine["id"]).running.process.pid
            last = machine["events"][0]["id"]
            assert (await it.post(machine, "restart")).json() == {"ok": True}
            await it.wait(machine, from_event_id=last)
            assert it.fly.machine(machine["id"]).running.process.pid != pid
            assert (await it.get(machine))["version"] == machine["version"]

    asyncio.run(body())


def test_waiting_takes_repeated_and_comma_states_and_settled(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.machine()
            path = f"/apps/acme/machines/{machine['id']}/wait"
            assert (await it.http.get(path + "?state=stopped,started&timeout=5")).json()["state"] == "started"
            assert (await it.http.get(path + "?state=stopped&state=started&timeout=5")).json()["ok"] is True
            settled = (await it.http.get(path + "?state=settled&timeout=5")).json()
            assert (settled["state"], settled["version"]) == ("started", machine["version"])
            assert settled["event_id"] == (await it.get(machine))["events"][0]["id"]
            assert (await it.http.get(path + "?state=nonsense")).status_code == 400

    asyncio.run(body())


def test_waiting_in_vain_is_408_in_fly_s_words(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.machine(skip_launch=True)
            await it.wait(machine, "stopped")
            answer = await it.http.get(f"/apps/acme/machines/{machine['id']}/wait?timeout=1")
            assert error(answer) == (408, "deadline_exceeded: machine failed to reach desired state, started, currently stopped")

    asyncio.run(body())


def test_a_lease_keeps_others_out_until_it_expires_or_is_released(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            path = f"/apps/acme/machines/{machine['id']}/lease"
            assert (await it.http.get(path)).status_code == 404
            taken = await it.http.post(path, json={"ttl": 30, "description": "deploy"})
            assert (taken.status_code, taken.json()["status"]) == (201, "success")
            lease = taken.json()["data"]
            nonce = {"fly-machine-lease-nonce": lease["nonce"]}
            status, text = error(await it.http.post(path, json={"ttl": 30}))
            assert status == 409
            assert re.fullmatch(rf"machine ID {machine['id']} lease currently held by .+@tokens.fly.io, expires at 20[^ ]+Z", text)
            for refused in (
                await it.post(machine, "stop"),
                await it.post(machine, json={"config": {"image": SLEEPER}}),
                await it.http.patch(f"/apps/acme/machines/{machine['id']}/metadata", json={"metadata": {"a": "b"}}),
                await it.http.delete(f"/apps/acme/machines/{machine['id']}?force=true"),
            ):
                assert refused.status_code == 409
            await it.clock.advance(20)
            refreshed = await it.http.post(path + "?ttl=60", headers=nonce)
            assert refreshed.json()["data"]["nonce"] == lease["nonce"]
            assert refreshed.json()["data"]["expires_at"] > lease["expires_at"]
            assert (await it.post(machine, "cordon", headers=nonce)).status_code == 200
            assert (await it.http.delete(path)).status_code == 409
            assert (await it.http.delete(path, headers=nonce)).status_code == 200
            assert (await it.post(machine, "uncordon")).status_code == 200
            await it.http.post(path, json={"ttl": 10})
            await it.clock.advance(11)
            assert (await it.post(machine, "stop")).status_code == 200

    asyncio.run(body())


def test_a_machine_created_with_a_lease_gives_its_nonce_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.machine(lease_ttl=30)
            assert machine["nonce"]
            assert "nonce" not in await it.get(machine)

    asyncio.run(body())


def test_metadata_is_patched_without_a_new_version(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"metadata": {"a": "1", "gone": "x"}})
            path = f"/apps/acme/machines/{machine['id']}/metadata"
            patched = await it.http.patch(path, json={"metadata": {"b": "2", "gone": ""}, "machine_version": machine["version"]})
            assert patched.status_code == 204
            assert (await it.http.get(path)).json() == {"a": "1", "b": "2"}
            after = await it.get(machine)
            assert (after["version"], after["state"]) == (machine["version"], "started")
            assert (await it.http.patch(path, json={"metadata": {}, "machine_version": "01OLD"})).status_code == 412
            assert (await it.http.post(path + "/c", json={"value": "3"})).status_code == 204
            assert (await it.http.get(path + "/c")).json() == {"value": "3"}
            assert (await it.http.delete(path + "/c")).status_code == 204
            assert (await it.http.get(path + "/c")).status_code == 404

    asyncio.run(body())


def test_lists_filter_by_metadata_state_and_region_and_page(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            for index in range(5):
                region = "iad" if index % 2 else "fra"
                await it.machine(name=f"m{index}", region=region, skip_launch=True, config={"metadata": {"n": str(index)}})
            path = "/apps/acme/machines"
            names = lambda answer: [row["name"] for row in answer.json()]  # noqa: E731
            assert names(await it.http.get(path, params={"metadata.n": "3"})) == ["m3"]
            assert names(await it.http.get(path, params={"region": "iad"})) == ["m1", "m3"]
            await it.clock.advance(1)
            assert len(names(await it.http.get(path, params={"state": "stopped,started"}))) == 5
            assert names(await it.http.get(path, params={"state": "started"})) == []
            first = await it.http.get(path, params={"limit": 3})
            rest = await it.http.get(path, params={"limit": 3, "cursor": first.headers["fly-next-cursor"]})
            assert names(first) + names(rest) == [f"m{index}" for index in range(5)]
            assert "fly-next-cursor" not in rest.headers
            await it.clock.advance(1801)
            assert (await it.http.get(path, params={"cursor": first.headers["fly-next-cursor"]})).status_code == 400
            summary = (await it.http.get(path, params={"summary": "true"})).json()[0]
            assert "config" not in summary

    asyncio.run(body())


def test_exec_answers_200_whatever_the_exit_code(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            answer = await it.post(machine, "exec", json={"command": ["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]})
            assert answer.status_code == 200
            assert answer.json() == {"exit_code": 7, "exit_signal": 0, "stdout": "out\n", "stderr": "err\n"}
            assert (await it.post(machine, "exec", json={"command": ["/no/such"]})).json()["exit_code"] == 127

    asyncio.run(body())


def test_health_checks_are_performed(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            up = {"type": "http", "port": 8080, "path": "/healthz", "interval": "10s", "timeout": "1s"}
            config = {"image": NOTEBOOK, "checks": {"up": up, "bad": up | {"path": "/absent"}}}
            service = {"internal_port": 8080, "checks": [{"type": "tcp", "interval": "5s", "timeout": "1s"}]}
            machine = await it.started(config=config | {"services": [service]})
            for _ in range(200):
                checks = {check["name"]: check["status"] for check in (await it.get(machine))["checks"]}
                if checks == {"up": "passing", "bad": "critical", "servicecheck-00-tcp-8080": "passing"}:
                    break
                await asyncio.sleep(0.02)
            else:
                raise AssertionError(checks)

    asyncio.run(body())


def test_an_unreachable_host_shows_an_incomplete_config(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started()
            it.fly.set_host_status(machine["id"], "unreachable")
            seen = await it.get(machine)
            assert seen["host_status"] == "unreachable"
            assert "config" not in seen
            assert seen["incomplete_config"]["image"] == SLEEPER

    asyncio.run(body())
