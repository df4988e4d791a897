import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rowhouse.localcloud.images import Image, Images, digest_of, reference
from rowhouse.localcloud.runtime import Launch, Runtime
from tests.localcloud.fly_support import NOTEBOOK, Account, account

SLOW_STOP = reference("stubborn")


async def until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.01)


def exits(it: Account, machine: dict[str, Any]) -> list[dict[str, Any]]:
    events = it.fly.machine(machine["id"]).events
    return [event.request["exit_event"] for event in events if event.type == "exit"]


def test_a_machine_is_a_process_with_its_environment_its_volume_and_its_log(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            volume = await it.volume()
            await it.http.post("/apps/acme/secrets", json={"values": {"API_KEY": "shh"}})
            env = {"DATA_DIR": "/data", "BELOW": "/data/x/y", "OTHER": "/database", "PLAIN": "1"}
            config = {"image": reference("dumper"), "env": env, "mounts": [{"volume": volume["id"], "path": "/data"}]}
            machine = await it.started(config=config)
            written = it.fly.runtime.machine_path(machine["id"]) / "env.json"
            await until(lambda: written.exists() and written.read_text().endswith("}"))
            seen = json.loads(written.read_text())
            folder = str(it.fly.runtime.volume_path(volume["id"]))
            assert (seen["DATA_DIR"], seen["BELOW"]) == (folder, folder + "/x/y")
            assert (seen["OTHER"], seen["PLAIN"], seen["API_KEY"]) == ("/database", "1", "shh")
            assert (seen["FLY_APP_NAME"], seen["FLY_MACHINE_ID"], seen["FLY_REGION"]) == ("acme", machine["id"], "fra")
            assert (seen["HOST"], seen["FLY_PRIVATE_IP"]) == ("127.0.0.1", machine["private_ip"])
            assert int(seen["PORT"]) == it.fly.machine(machine["id"]).running.port

    asyncio.run(body())


def test_nothing_of_the_local_cloud_s_own_environment_reaches_a_machine(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "planted")

    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"image": reference("dumper")})
            written = it.fly.runtime.machine_path(machine["id"]) / "env.json"
            await until(lambda: written.exists() and written.read_text().endswith("}"))
            assert "planted" not in written.read_text()

    asyncio.run(body())


def test_a_process_that_ignores_its_signal_is_killed_after_the_timeout(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"image": SLOW_STOP, "stop_config": {"timeout": "300ms"}})
            await asyncio.sleep(0.1)  # the trap is set
            begun = time.monotonic()
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            assert 0.25 < time.monotonic() - begun < 2
            assert exits(it, machine)[0]["signal"] == signal.SIGKILL

    asyncio.run(body())


def test_a_crash_is_restarted_until_its_retries_are_used_up(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            config = {"image": reference("failing"), "restart": {"policy": "on-failure", "max_retries": 2}}
            machine = await it.machine(config=config)
            await until(lambda: len(exits(it, machine)) == 3 and it.fly.machine(machine["id"]).state == "stopped")
            assert [end["exit_code"] for end in exits(it, machine)] == [3, 3, 3]
            assert [end["restarting"] for end in exits(it, machine)] == [False, True, True]
            assert not any(end["requested_stop"] for end in exits(it, machine))

    asyncio.run(body())


def test_policies_no_and_on_failure_leave_an_orderly_end_alone_and_always_does_not(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            ended = {}
            for policy in ("no", "on-failure", "always"):
                config = {"image": reference("finishing"), "restart": {"policy": policy}}
                machine = await it.machine(name=policy, config=config)
                await until(lambda machine=machine: exits(it, machine))
                await asyncio.sleep(0.1)
                ended[policy] = len(exits(it, machine))
            assert (ended["no"], ended["on-failure"]) == (1, 1)
            assert ended["always"] > 1

    asyncio.run(body())


def test_a_requested_stop_beats_the_policy_always(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            machine = await it.started(config={"restart": {"policy": "always"}})
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            await asyncio.sleep(0.1)
            assert (await it.get(machine))["state"] == "stopped"

    asyncio.run(body())


def test_memory_beyond_the_guest_s_ends_the_process(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            config = {"image": NOTEBOOK, "env": {"NOTEBOOK_CHAOS": "1"}, "restart": {"policy": "no"}}
            machine = await it.started(config=config)
            port = it.fly.machine(machine["id"]).running.port
            await until_listening(port)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /eat?mb=400 HTTP/1.1\r\nhost: x\r\n\r\n")
            await it.wait(machine, "stopped")
            writer.close()
            (end,) = exits(it, machine)
            assert (end["oom_killed"], end["exit_code"], end["requested_stop"]) == (True, 137, False)

    asyncio.run(body())


def test_a_crash_of_the_notebook_shows_its_exit_code(tmp_path: Path) -> None:
    async def body() -> None:
        async with account(tmp_path) as it:
            await it.app()
            config = {"image": NOTEBOOK, "env": {"NOTEBOOK_CHAOS": "1"}, "restart": {"policy": "no"}}
            machine = await it.started(config=config)
            port = it.fly.machine(machine["id"]).running.port
            await until_listening(port)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /crash?code=9 HTTP/1.1\r\nhost: x\r\n\r\n")
            await it.wait(machine, "stopped")
            writer.close()
            assert exits(it, machine)[0]["exit_code"] == 9

    asyncio.run(body())


async def until_listening(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing listens on {port}")


def test_closing_ends_every_process(tmp_path: Path) -> None:
    async def body() -> list[int]:
        async with account(tmp_path) as it:
            await it.app()
            machines = [await it.started(name=f"m{index}") for index in range(3)]
            return [it.fly.machine(machine["id"]).running.process.pid for machine in machines]

    pids = asyncio.run(body())
    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from rowhouse.localcloud.images import Image
from rowhouse.localcloud.runtime import Launch, Runtime
async def main():
    runtime = Runtime(Path(sys.argv[1]))
    image = Image("parent", ("/bin/sh", "-c", "sleep 1000 & sleep 1000"))
    running = await runtime.start(Launch("m1", image, {}, 256))
    print(running.process.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_no_process_outlives_a_killed_local_cloud(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE) as cloud:
        assert cloud.stdout is not None
        group = int(cloud.stdout.readline())
        time.sleep(0.1)
        members = [process for process in psutil.process_iter() if _group_of(process.pid) == group]
        assert len(members) >= 2
        cloud.kill()
    _, alive = psutil.wait_procs(members, timeout=5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def _group_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return 0


def test_an_edge_machine_joins_its_tunnel_when_it_listens_and_leaves_when_it_stops(tmp_path: Path) -> None:
    calls: list[tuple[str, ...]] = []

    def connect(token: str, origin: str, *, follows_clock: bool) -> Any:
        assert not follows_clock, "nobody told it where virtual time is"
        calls.append(("connect", token, origin))
        return lambda: calls.append(("disconnect", token))

    program = "import os, http.server as h; h.HTTPServer(('127.0.0.1', int(os.environ['ROWHOUSE_GATEWAY_PORT'])), h.SimpleHTTPRequestHandler).serve_forever()"

    async def body() -> None:
        async with account(tmp_path, connect=connect) as it:
            it.fly.images.add(Image("edge", (sys.executable, "-I", "-S", "-c", program), "edge"))
            await it.app()
            await it.http.post("/apps/acme/secrets", json={"values": {"TUNNEL_TOKEN": "tunnel-token"}})
            machine = await it.started(config={"image": reference("edge")})
            await until(lambda: calls)
            port = it.fly.machine(machine["id"]).running.port
            assert calls == [("connect", "tunnel-token", f"http://127.0.0.1:{port}")]
            await it.post(machine, "stop")
            await it.wait(machine, "stopped")
            assert calls[1:] == [("disconnect", "tunnel-token")]

    asyncio.run(body())


def test_an_edge_is_checked_on_the_port_of_its_own_that_the_check_names(tmp_path: Path) -> None:
    program = (
        "import os, http.server as h; h.HTTPServer((os.environ['ROWHOUSE_GATEWAY_HEALTH_HOST'], int(os.environ['ROWHOUSE_GATEWAY_HEALTH_PORT'])), "
        "h.SimpleHTTPRequestHandler).serve_forever()"
    )
    check = {"type": "http", "path": "/", "interval": "1s", "timeout": "1s"}
    config = {
        "image": reference("edge"),
        "env": {"ROWHOUSE_GATEWAY_HEALTH_PORT": "8081"},
        "checks": {"second": check | {"port": 8081}, "first": check | {"port": 8080}},
    }

    async def body() -> None:
        async with account(tmp_path) as it:
            it.fly.images.add(Image("edge", (sys.executable, "-I", "-S", "-c", program), "edge"))
            await it.app()
            machine = it.fly.machine((await it.started(config=config))["id"])
            await until(lambda: machine.checks["second"]["status"] == "passing")
            assert machine.checks["first"]["status"] == "critical"
            running = machine.running
            assert len({8081, running.port_for(8081), running.port}) == 3, "two edges share this loopback"
            assert running.port_for(8080) == running.port

    asyncio.run(body())


@pytest.mark.parametrize("store", ["file:///s", None, "s3://bucket/main"])
def test_virtual_time_is_told_to_an_edge_unless_its_store_is_a_real_one(tmp_path: Path, store: str | None) -> None:
    runtime = Runtime(tmp_path)
    runtime.clock_file = tmp_path / "clock"
    env = {"ROWHOUSE_STORE_URL": store} if store else {}
    edge = Launch("1", Image("edge", ("true",), "edge"), env, 256)
    told = runtime._environment(edge, 1, {}, tmp_path).get("ROWHOUSE_CLOCK_FILE")
    assert told == (None if store and store.startswith("s3:") else str(tmp_path / "clock"))
    app = Launch("2", Image("app", ("true",)), env, 256)
    assert "ROWHOUSE_CLOCK_FILE" not in runtime._environment(app, 1, {}, tmp_path)


def test_images_are_found_by_digest_and_tag_and_nothing_else() -> None:
    images = Images()
    found = images.find(f"registry.localhost/notebook@{digest_of('notebook')}")
    assert found is not None
    assert (found.name, found.kind) == ("notebook", "app")
    assert images.find("registry.localhost/edge:1") is not None
    for absent in ("registry.localhost/notebook@sha256:" + "0" * 64, "registry.fly.io/notebook:1", "notebook", "registry.localhost/none:1"):
        assert images.find(absent) is None
