import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from rowhouse.localcloud.browser import Browser
from rowhouse.localcloud.cloud import LocalCloud
from tests.localcloud.fly_support import IMAGES, SLEEPER

START = datetime(2026, 11, 1, tzinfo=UTC)


def client(**kwargs: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=10, **kwargs)  # type: ignore[arg-type]


def test_every_vendor_answers_with_the_environment_s_token(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path, start=START) as cloud, client() as http:
            env = cloud.env
            for url, token in (
                (f"{env['FLY_FLAPS_BASE_URL']}/v1/apps?org_slug=local", env["FLY_API_TOKEN"]),
                (f"{env['CLOUDFLARE_BASE_URL']}/user/tokens/verify", env["CLOUDFLARE_API_TOKEN"]),
                (f"{env['ROWHOUSE_STRIPE_BASE_URL']}/v1/customers", env["STRIPE_API_KEY"]),
            ):
                assert (await http.get(url, headers={"authorization": f"Bearer {token}"})).status_code == 200
                assert (await http.get(url, headers={"authorization": "Bearer wrong"})).status_code in {400, 401, 403}
            assert (await http.get(env["ROWHOUSE_ACCESS_CERTS_URL"])).json()["keys"]
            assert env["ROWHOUSE_STORE_URL"].startswith("file:///")
            assert set(cloud.dump()) == {"fly", "cloudflare", "stripe"}
            assert {entry.vendor for entry in cloud.journal.entries} == {"fly", "cloudflare", "stripe"}

    asyncio.run(body())


def test_the_control_port_moves_time_and_sets_faults(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path, start=START) as cloud, client(base_url=cloud.urls["control"]) as control:
            assert (await control.get("/clock")).json()["now"].startswith("2026-11-01T00:00")
            moved = await control.post("/clock/advance", json={"seconds": 86400})
            assert moved.json()["now"].startswith("2026-11-02T00:00")
            assert (await control.post("/clock/advance", json={"to": "2026-11-05T00:00:00Z"})).json()["now"].startswith("2026-11-05")
            for bad in ({}, {"seconds": -1}, {"to": "2020-01-01T00:00:00Z"}, {"seconds": "many"}):
                assert (await control.post("/clock/advance", json=bad)).status_code == 400
            assert (await control.post("/faults", json={"kind": "error_before", "vendor": "fly", "status": 503})).status_code == 200
            async with client() as http:
                url = f"{cloud.urls['fly']}/v1/apps"
                assert (await http.get(url)).status_code == 503
                assert (await http.get(url)).status_code == 401
            assert (await control.post("/faults", json={"fleet": "machine_limit"})).json()[-1]["status"] == 422
            for wrong in ({"kind": "slow", "colour": 1}, {"kind": "error"}, {"kind": ["slow"]}, {}):
                assert (await control.post("/faults", json=wrong)).status_code == 400
            assert (await control.delete("/faults")).json() == []
            assert [row["path"] for row in (await control.get("/journal?after=1")).json()] == ["/v1/apps"]

    asyncio.run(body())


def test_the_index_page_shows_machines_and_requests(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path, images=IMAGES) as cloud, client() as http:
            fly, auth = f"{cloud.urls['fly']}/v1", {"authorization": f"Bearer {cloud.env['FLY_API_TOKEN']}"}
            await http.post(f"{fly}/apps", json={"name": "acme-one", "org_slug": "local"}, headers=auth)
            made = await http.post(f"{fly}/apps/acme-one/machines", json={"name": "main", "config": {"image": SLEEPER}}, headers=auth)
            assert made.status_code == 200
            await http.post(f"{fly}/apps/acme-one/secrets", json={"values": {"KEY": "planted"}}, headers=auth)
            page = await http.get(cloud.urls["control"])
            assert page.status_code == 200
            assert "acme-one" in page.text
            assert "POST /v1/apps" in page.text
            everything = page.text + str(cloud.journal.dump()) + str((await http.get(cloud.urls["control"] + "/state")).json())
            assert "planted" not in everything

    asyncio.run(body())


@pytest.mark.parametrize("how", ["signal", "stdin", "control", "kill"])
def test_as_a_process_it_says_when_it_is_ready_and_leaves_no_child(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-m", "rowhouse.localcloud", "--dir", str(tmp_path), "--until-parent-exits"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        fly, auth = f"{ready['urls']['fly']}/v1", {"authorization": f"Bearer {ready['env']['FLY_API_TOKEN']}"}
        with httpx.Client(trust_env=False, timeout=10, headers=auth) as http:
            http.post(f"{fly}/apps", json={"name": "acme", "org_slug": "local"})
            config = {"image": "registry.localhost/notebook:latest", "env": {"DATA_DIR": "data"}}
            made = http.post(f"{fly}/apps/acme/machines", json={"name": "main", "config": config}).json()
            assert http.get(f"{fly}/apps/acme/machines/{made['id']}/wait?timeout=10").status_code == 200
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2  # the machine and the guardian
        if how == "signal":
            process.send_signal(signal.SIGTERM)
        elif how == "stdin":
            process.stdin.close()
        elif how == "control":
            httpx.post(f"{ready['urls']['control']}/stop", trust_env=False)
        else:
            process.kill()
        assert process.wait(10) == (-9 if how == "kill" else 0)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


SERVICE = {"internal_port": 8080, "protocol": "tcp", "autostart": True, "autostop": "stop", "ports": [{"port": 80, "handlers": ["http"]}]}


async def furnish(cloud: LocalCloud, http: httpx.AsyncClient) -> str:
    """One tenant by hand: tunnel, edge machine, gate, notebook, route. Returns the notebook's machine id."""
    vendor, fly = cloud.cloudflare, f"{cloud.urls['fly']}/v1"
    tunnel = vendor.tunnels.create({"name": "edge", "config_src": "cloudflare"})["id"]
    rules = [{"hostname": "*.localhost", "service": "http://localhost:8080"}, {"service": "http_status:404"}]
    vendor.tunnels.configure(tunnel, {"config": {"ingress": rules}})
    vendor.dns.create({"name": "acme.localhost", "type": "CNAME", "content": f"{tunnel}.cfargotunnel.com", "proxied": True, "ttl": 1})
    policy = vendor.policies.create({"name": "members", "decision": "allow", "include": [{"email": {"email": "ana@acme.example"}}]})
    held = [{"id": policy["id"], "precedence": 1}]
    gate = vendor.apps.create({"name": "acme", "domain": "acme.localhost", "type": "self_hosted", "policies": held})

    async def post(path: str, **body: object) -> dict:
        answer = await http.post(fly + path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    await post("/apps", name="edge", org_slug="local", network="cell")
    await post("/apps", name="acme", org_slug="local", network="acme")
    await post("/apps/edge/secrets", values={"TUNNEL_TOKEN": vendor.tunnels.token(tunnel)})
    flycast = (await post("/apps/acme/ip_assignments", type="private_v6", network="cell"))["ip"]
    names = ("ROWHOUSE_ACCESS_ISSUER", "ROWHOUSE_ACCESS_CERTS_URL", "ROWHOUSE_STORE_URL")
    env = {name: cloud.env[name] for name in names} | {"ROWHOUSE_ROUTES_POLL_S": "0.1", "ROWHOUSE_ACTIVITY_FLUSH_S": "0.05"}
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512}
    image = "registry.localhost/edge:latest"
    await post("/apps/edge/machines", name="edge", config={"image": image, "env": env, "guest": guest})
    config = {"image": "registry.localhost/notebook:latest", "env": {"DATA_DIR": "data"}, "services": [SERVICE]}
    made = await post("/apps/acme/machines", name="main", config=config)
    route = {
        "v": 1,
        "hostname": "acme.localhost",
        "upstream": f"http://[{flycast}]:80",
        "upstream_host": "acme",
        "audience": gate["aud"],
        "tenant": "acme",
        "instance": "main",
        "access": "open",
        "host": "fly",
    }
    folder = Path(cloud.env["ROWHOUSE_STORE_URL"].removeprefix("file://")) / "routes"
    folder.mkdir(parents=True)
    (folder / "acme.localhost.json").write_text(json.dumps(route))
    return made["id"]


def test_a_member_reaches_the_notebook_through_gate_tunnel_gateway_and_private_network(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path) as cloud, client(headers={"authorization": f"Bearer {cloud.env['FLY_API_TOKEN']}"}) as http:
            machine = await furnish(cloud, http)
            async with Browser(cloud.urls["front"]) as ana, Browser(cloud.urls["front"]) as mallory:
                async with asyncio.timeout(30):
                    while not cloud.cloudflare.dump()["connectors"]:
                        await asyncio.sleep(0.05)
                assert await ana.login("acme.localhost", "ana@acme.example")
                page = await ana.get("acme.localhost")
                assert page.status_code == 200, page.text
                assert "ana@acme.example" in page.text
                assert not await mallory.login("acme.localhost", "mallory@evil.example")
                assert (await mallory.get("acme.localhost")).status_code != 200
                async with ana.websocket("acme.localhost", "/ws") as socket:
                    await socket.send("hello")
                    assert await socket.recv() == "hello"
                async with asyncio.timeout(5):  # until the closed WebSocket has reached the machine
                    while cloud.fly.machine(machine).connections:
                        await asyncio.sleep(0.02)
                await cloud.clock.advance(1200)
                assert cloud.fly.machine(machine).state == "stopped"
                truth = (await http.get(f"{cloud.urls['control']}/uptime")).json()["machines"]
                [(begin, end)] = next(one["started"] for one in truth if one["id"] == machine)
                assert 240 < end - begin < 1200
                again = await ana.get("acme.localhost", "/notes")
                assert (again.status_code, again.json()) == (200, [])
                assert cloud.fly.machine(machine).state == "started"

    asyncio.run(body())


def test_a_gateway_lives_in_virtual_time_and_needs_no_translated_session(tmp_path: Path) -> None:
    async def body() -> None:
        async with LocalCloud(tmp_path) as cloud, client(headers={"authorization": f"Bearer {cloud.env['FLY_API_TOKEN']}"}) as http:
            await furnish(cloud, http)
            async with asyncio.timeout(30):
                while not cloud.cloudflare.dump()["connectors"]:
                    await asyncio.sleep(0.02)
            cloud.frontdoor.sessions.for_origin = lambda _token: "translated"
            folder = Path(cloud.env["ROWHOUSE_STORE_URL"].removeprefix("file://")) / "activity"
            for days in (0, 30):  # long after the keys were fetched, too
                await cloud.clock.advance(3600 + days * 86400)
                async with Browser(cloud.urls["front"]) as ana:
                    assert await ana.login("acme.localhost", "ana@acme.example")
                    before = cloud.clock.now()
                    assert (await ana.get("acme.localhost")).status_code == 200
                    hours = {f"{moment:%Y-%m-%dT%H}" for moment in (before, cloud.clock.now())}
                async with asyncio.timeout(10):
                    while not any(hours & {*file.parts} for file in folder.rglob("*.json")):
                        await asyncio.sleep(0.02)

    asyncio.run(body())


def test_what_it_starts_ignores_no_signal_that_a_shell_s_background_job_inherited_as_ignored(tmp_path: Path) -> None:
    child = (
        "import signal; print([s.name for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_IGN])"
    )
    program = (
        "import asyncio, signal, subprocess, sys\n"
        "from pathlib import Path\n"
        "from rowhouse.localcloud.cloud import LocalCloud\n"
        "for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
        "async def body(): LocalCloud(Path(sys.argv[1])).stop_on_signals(); subprocess.run([sys.executable, '-ISc', sys.argv[2]], check=True)\n"
        "asyncio.run(body())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path), child], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "['SIGHUP']"  # as `nohup` wants it
