import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from rowhouse.localcloud.network import Network
from tests.localcloud.fly_support import NOTEBOOK, Account, account

SERVICE = {"internal_port": 8080, "protocol": "tcp", "autostart": True, "autostop": "stop", "ports": [{"port": 80, "handlers": ["http"]}]}


@contextlib.asynccontextmanager
async def cell(folder: Path, **service: Any) -> AsyncIterator[tuple[Account, Network, dict[str, Any], dict[str, Any]]]:
    """An edge machine on network `cell` and Acme's notebook on a network of its own, with a Flycast address on the edge's."""
    async with account(folder) as it:
        network = Network(it.fly)
        async with network.serve():
            await it.app("edge", network="cell")
            await it.app("acme", network="acme")
            ip = (await it.http.post("/apps/acme/ip_assignments", json={"type": "private_v6", "network": "cell"})).json()
            edge = await it.started("edge")
            acme = await it.started("acme", config={"image": NOTEBOOK, "services": [SERVICE | service]})
            yield it, network, edge | {"target": ip["ip"]}, acme


def through(network: Network, machine: dict[str, Any]) -> httpx.AsyncClient:
    return httpx.AsyncClient(proxy=network.proxy_url(machine["id"]), trust_env=False, timeout=10)


def test_a_flycast_address_on_the_caller_s_network_reaches_the_app(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (_, network, edge, _acme), through(network, edge) as client:
            for url in (f"http://[{edge['target']}]:80/healthz", f"http://[{edge['target']}]/healthz", "http://acme.flycast/healthz"):
                answer = await client.get(url)
                assert (answer.status_code, answer.text) == (200, "ok\n")
                assert "fly-request-id" in answer.headers
            posted = await client.post("http://acme.flycast/notes", json={"text": "hello"}, headers={"accept": "application/json"})
            assert posted.json()["text"] == "hello"

    asyncio.run(body())


def test_an_isolated_app_is_unreachable_from_every_other_network(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, acme):
            await it.app("stranger", network="elsewhere")
            stranger = await it.started("stranger")
            targets = [
                f"http://[{edge['target']}]/",
                "http://acme.flycast/",
                f"http://[{acme['private_ip']}]:8080/",
                "http://acme.internal:8080/",
            ]
            async with through(network, stranger) as client:
                for url in targets:
                    with pytest.raises(httpx.TransportError):
                        await client.get(url)
            async with through(network, edge) as client:  # the edge has the Flycast address and no more
                for url in targets[2:]:
                    with pytest.raises(httpx.TransportError):
                        await client.get(url)

    asyncio.run(body())


def test_a_flycast_address_on_the_default_network_does_not_reach_from_a_custom_one(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, _acme):
            await it.app("other", network="other")
            default = (await it.http.post("/apps/other/ip_assignments", json={"type": "private_v6"})).json()["ip"]
            await it.started("other", config={"image": NOTEBOOK, "services": [SERVICE]})
            async with through(network, edge) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(f"http://[{default}]/healthz")

    asyncio.run(body())


def test_machines_of_one_network_reach_each_other_directly(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, _edge, acme):
            neighbour = await it.started("acme", name="second")
            async with through(network, neighbour) as client:
                assert (await client.get(f"http://[{acme['private_ip']}]:8080/healthz")).text == "ok\n"
                with pytest.raises(httpx.TransportError):
                    await client.get(f"http://[{acme['private_ip']}]:9999/healthz")

    asyncio.run(body())


def test_a_port_without_a_service_is_refused(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (_, network, edge, _acme), through(network, edge) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://[{edge['target']}]:8080/healthz")

    asyncio.run(body())


def test_wrong_credentials_are_asked_for_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (_, network, edge, _acme):
            for proxy in (f"http://127.0.0.1:{network.port}", f"http://{edge['id']}:guess@127.0.0.1:{network.port}"):
                async with httpx.AsyncClient(proxy=proxy, trust_env=False) as client:
                    assert (await client.get("http://acme.flycast/")).status_code == 407

    asyncio.run(body())


def test_a_request_wakes_a_stopped_machine_and_is_answered(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, acme), through(network, edge) as client:
            for verb, state in (("stop", "stopped"), ("suspend", "suspended")):
                await it.post(acme, verb)
                await it.wait(acme, state)
                assert (await client.get("http://acme.flycast/healthz")).status_code == 200
                after = await it.get(acme)
                assert after["state"] == "started"
                assert "proxy" in {event["source"] for event in after["events"]}

    asyncio.run(body())


def test_without_autostart_a_stopped_machine_stays_stopped_and_the_answer_is_503(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rowhouse.localcloud.network")

    async def body() -> None:
        async with cell(tmp_path, autostart=False) as (it, network, edge, acme), through(network, edge) as client:
            await it.post(acme, "stop")
            await it.wait(acme, "stopped")
            answer = await client.get("http://acme.flycast/healthz")
            assert (answer.status_code, answer.text) == (503, "")
            assert set(answer.headers) == {"server", "via", "fly-request-id", "content-length", "connection"}
            assert "no known healthy instances found for route tcp/80" in caplog.text
            assert (await it.get(acme))["state"] == "stopped"

    asyncio.run(body())


def test_an_idle_machine_is_stopped_by_a_pass_and_a_busy_one_is_not(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, acme), through(network, edge) as client:
            async with client.stream("GET", "http://acme.flycast/big?mb=200") as answer:
                async for _ in answer.aiter_bytes():
                    break
                await it.clock.advance(3600)  # a connection is open: nothing happens
                assert (await it.get(acme))["state"] == "started"
            record = it.fly.machine(acme["id"])
            for _ in range(200):
                if not record.connections:
                    break
                await asyncio.sleep(0.01)
            begun = it.clock.timestamp()
            await it.clock.advance(900)
            after = await it.get(acme)
            assert after["state"] == "stopped"
            stop = next(event for event in after["events"] if event["type"] == "stop")
            assert stop["source"] == "proxy"
            assert stop["timestamp"] / 1000 - begun <= 600  # at the pass, not when the skipping ended
            exit_event = after["events"][0]["request"]["exit_event"]
            assert exit_event["requested_stop"] is True

    asyncio.run(body())


def test_a_pass_stops_one_machine_of_an_app_in_a_region_and_keeps_the_minimum(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path, min_machines_running=1) as (it, _network, _edge, _acme):
            config = {"image": NOTEBOOK, "services": [SERVICE | {"min_machines_running": 1}]}
            for name in ("second", "third"):
                await it.started("acme", name=name, config=config)
            states = []
            for _ in range(4):
                await it.clock.advance(301)
                states.append(sorted(machine.state for machine in it.fly.apps["acme"].machines.values()).count("started"))
            assert states[-1] == 1
            assert max(before - after for before, after in zip([3, *states], states, strict=False)) == 1

    asyncio.run(body())


def test_autostop_suspend_suspends(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path, autostop="suspend") as (it, _network, _edge, acme):
            await it.clock.advance(900)
            assert (await it.get(acme))["state"] == "suspended"

    asyncio.run(body())


def test_websockets_pass_through_connect_and_upgrade(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, acme):
            url = network.proxy_url(edge["id"])
            async with websockets.connect("ws://acme.flycast/ws", proxy=url) as socket:
                await socket.send("hello")
                assert await socket.recv() == "hello"
                assert it.fly.machine(acme["id"]).connections == 1
                async with through(network, edge) as client:
                    await client.post("http://acme.flycast/notes", json={"text": "live"})
                assert '"live"' in await socket.recv()
                big = "x" * 70_000
                await socket.send(big)
                assert await socket.recv() == big
                await (await socket.ping())

    asyncio.run(body())


def test_a_public_request_reaches_only_an_app_with_a_public_address(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, _edge, _acme), httpx.AsyncClient(trust_env=False) as client:
            url, host = f"http://127.0.0.1:{network.port}/healthz", {"host": "acme.fly.dev"}
            with pytest.raises(httpx.TransportError):
                await client.get(url, headers=host)
            with pytest.raises(httpx.TransportError):
                await client.get(url, headers={"host": "nobody.fly.dev"})
            ip = (await it.http.post("/apps/acme/ip_assignments", json={"type": "shared_v4"})).json()["ip"]
            assert (await client.get(url, headers=host)).text == "ok\n"
            await it.http.delete(f"/apps/acme/ip_assignments/{ip}")
            with pytest.raises(httpx.TransportError):
                await client.get(url, headers=host)

    asyncio.run(body())


def test_a_cordoned_machine_gets_no_requests(tmp_path: Path) -> None:
    async def body() -> None:
        async with cell(tmp_path) as (it, network, edge, acme), through(network, edge) as client:
            await it.post(acme, "cordon")
            assert (await client.get("http://acme.flycast/healthz")).status_code == 503
            await it.post(acme, "uncordon")
            assert (await client.get("http://acme.flycast/healthz")).status_code == 200

    asyncio.run(body())
