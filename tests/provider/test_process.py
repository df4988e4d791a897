"""The plugin as the engine meets it: an executable that tells its port, obeys, and ends with its engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from pulumi.runtime.proto import provider_pb2_grpc

from rowhouse.wire.values import GRPC_OPTIONS, UNKNOWN, encode
from tests.provider.support import Engine, Failed, Kept, pb

ROOT = Path(__file__).parents[2]
SHIM = ROOT / "rowhouse" / "provider" / "pulumi-resource-rowhouse"
TOKEN = "fm2_planted-token-7f3a"
APP = "rowhouse:fly:App"
ROUTE = "rowhouse:edge:Route"


@contextlib.asynccontextmanager
async def plugin(cwd: Path, command: tuple[str, ...] = (), **env: str) -> AsyncIterator[tuple[subprocess.Popen[str], Engine]]:
    """The real executable, started as the engine starts it: no VIRTUAL_ENV, a foreign working directory."""
    clean = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG"}}
    process = subprocess.Popen(  # noqa: ASYNC220  # starting is quick; reading and waiting are in threads
        [*(command or (str(SHIM),)), "127.0.0.1:1"],
        cwd=cwd,
        env={**clean, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.to_thread(process.stdout.readline))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=GRPC_OPTIONS)
        try:
            yield process, Engine(provider_pb2_grpc.ResourceProviderStub(channel))
        finally:
            await channel.close(None)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(5)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@contextlib.asynccontextmanager
async def hanging_host() -> AsyncIterator[str]:
    """SlowHost: takes every request and never answers."""
    taken: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in taken:
            writer.close()


def empty() -> Any:
    return pb.google_dot_protobuf_dot_empty__pb2.Empty()


def run(body: Any) -> None:
    asyncio.run(asyncio.wait_for(body, 30))


def test_the_whole_conversation_of_an_up(tmp_path: Path) -> None:
    async def body() -> None:
        store = tmp_path / "store"
        async with plugin(tmp_path, ROWHOUSE_STORE_URL=store.as_uri()) as (process, engine):
            hand = await engine.stub.Handshake(pb.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))
            assert not hand.accept_secrets
            assert (await engine.stub.GetPluginInfo(empty())).version
            config = await engine.stub.CheckConfig(pb.CheckRequest(news=encode({"version": "0.1.0"})))
            assert config.inputs["version"] == "0.1.0"
            assert (await engine.stub.Configure(pb.ConfigureRequest(args=encode({"version": "0.1.0"})))).supportsPreview
            news = {
                "hostname": "acme.localhost",
                "upstream": "http://[fdaa::3]:80",
                "audience": UNKNOWN,
                "tenant": "acme",
                "instance": "main",
                "access": "open",
            }
            inputs, failures = await engine.check(ROUTE, "r", news)
            assert failures == {}
            foretold = await engine.preview(ROUTE, "r", inputs)
            assert foretold["etag"] is UNKNOWN
            assert not store.exists()
            await engine.up(ROUTE, "r", {**news, "audience": "aud1"})
            assert await engine.up(ROUTE, "r", {**news, "audience": "aud1"}) == "same"
            assert await engine.up(ROUTE, "r", {**news, "audience": "aud2"}) == "update"
            await engine.stub.Cancel(empty())
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 4) == 0

    run(body())


def test_a_missing_token_is_one_clear_error_at_first_use_and_not_in_preview(tmp_path: Path) -> None:
    async def body() -> None:
        async with plugin(tmp_path) as (_, engine):
            await engine.stub.Configure(pb.ConfigureRequest())
            assert (await engine.preview(APP, "a", {"name": "a", "org": "o"}))["appId"] is UNKNOWN
            with pytest.raises(Failed) as caught:
                await engine.create(APP, "a", {"name": "a", "org": "o"})
            assert caught.value.code == "FAILED_PRECONDITION"
            assert caught.value.text.startswith("FLY_API_TOKEN is not set")
            assert "\n" not in caught.value.text

    run(body())


def test_cancel_ends_a_hanging_create_within_a_second(tmp_path: Path) -> None:
    async def body() -> None:
        async with hanging_host() as url, plugin(tmp_path, FLY_API_TOKEN=TOKEN, FLY_FLAPS_BASE_URL=url) as (_, engine):
            tasks = [asyncio.ensure_future(engine.create(APP, f"a{n}", {"name": f"a{n}", "org": "o"})) for n in range(3)]
            await asyncio.sleep(0.5)
            before = time.monotonic()
            await engine.stub.Cancel(empty())
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert time.monotonic() - before < 1.0
            assert [r.code for r in results] == ["CANCELLED"] * 3  # type: ignore[union-attr]

    run(body())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_code_0_though_a_create_hangs(tmp_path: Path, number: signal.Signals) -> None:
    async def body() -> None:
        async with hanging_host() as url, plugin(tmp_path, FLY_API_TOKEN=TOKEN, FLY_FLAPS_BASE_URL=url) as (process, engine):
            task = asyncio.ensure_future(engine.create(APP, "a", {"name": "a", "org": "o"}))
            await asyncio.sleep(0.3)
            before = time.monotonic()
            process.send_signal(number)
            assert await asyncio.to_thread(process.wait, 4.5) == 0
            assert time.monotonic() - before < 4.5
            with pytest.raises(Failed):
                await task

    run(body())


def test_it_exits_when_its_engine_is_killed(tmp_path: Path) -> None:
    # The middle process is the engine: it starts the plugin, passes its port on, and is then killed without a word.
    middle = f"import subprocess, sys, time; p = subprocess.Popen([{str(SHIM)!r}, '127.0.0.1:1']); print(p.pid, flush=True); time.sleep(60)"
    engine = subprocess.Popen([sys.executable, "-c", middle], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert engine.stdout is not None
        lines = {engine.stdout.readline().strip(), engine.stdout.readline().strip()}
        child = next(
            psutil.Process(int(line)) for line in sorted(lines) if any(c.pid == int(line) for c in psutil.Process(engine.pid).children())
        )
        engine.kill()
        engine.wait(5)
        with contextlib.suppress(psutil.NoSuchProcess):
            child.wait(3)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        if engine.poll() is None:
            engine.kill()
        engine.wait(5)
        assert engine.stdout is not None
        engine.stdout.close()


def test_the_shim_finds_its_interpreter_behind_a_symbolic_link(tmp_path: Path) -> None:
    link = tmp_path / "plugins" / "pulumi-resource-rowhouse"
    link.parent.mkdir()
    (tmp_path / "middle").symlink_to(SHIM)
    link.symlink_to("../middle")

    async def body() -> None:
        async with plugin(tmp_path, (str(link),)) as (_, engine):
            assert (await engine.stub.GetPluginInfo(empty())).version

    run(body())


def test_a_module_in_the_working_directory_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "httpx.py").write_text("raise RuntimeError('shadowed')\n")

    async def body() -> None:
        async with plugin(tmp_path) as (_, engine):
            assert (await engine.stub.GetPluginInfo(empty())).version

    run(body())


def test_the_token_is_in_no_answer_output_or_argument(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A vendor that repeats the credential in its refusal.
        head = await reader.readuntil(b"\r\n\r\n")
        line = next(line for line in head.decode().split("\r\n") if line.lower().startswith("authorization"))
        body = ('{"error":"bad ' + line + '"}').encode()
        writer.write(b"HTTP/1.1 400 Bad\r\nfly-request-id: req-9\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with plugin(tmp_path, FLY_API_TOKEN=TOKEN, FLY_FLAPS_BASE_URL=url) as (process, engine):
            with pytest.raises(Failed) as caught:
                await engine.create(APP, "a", {"name": "a", "org": "o"})
            assert "req-9" in caught.value.text
            assert TOKEN not in caught.value.text
            assert TOKEN not in " ".join(psutil.Process(process.pid).cmdline())
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.to_thread(process.communicate, None, 4)
            assert TOKEN not in out + err
        server.close()

    run(body())


def test_every_type_of_the_package_checks_and_foretells(tmp_path: Path) -> None:
    examples: dict[str, dict[str, Any]] = {
        "rowhouse:fly:App": {"name": "acme", "org": "o"},
        "rowhouse:fly:Ip": {"app": UNKNOWN, "type": "private_v6"},
        "rowhouse:fly:Volume": {"app": UNKNOWN, "name": "data", "region": "fra", "sizeGb": 1},
        "rowhouse:fly:Secrets": {"app": UNKNOWN, "values": {"A": "env:NOT_SET_HERE"}},
        "rowhouse:fly:Machine": {
            "app": UNKNOWN,
            "name": "m",
            "region": "fra",
            "image": "i",
            "cpus": 1,
            "memoryMb": 256,
            "volume": UNKNOWN,
            "mountPath": "/d",
        },
        "rowhouse:stripe:Meter": {"eventName": "e", "displayName": "E"},
        "rowhouse:stripe:Product": {"productId": "p", "name": "P"},
        "rowhouse:stripe:Price": {"product": UNKNOWN, "currency": "usd", "unitAmountDecimal": "500", "lookupKey": "k"},
        "rowhouse:stripe:Customer": {"name": "A", "email": "a@b.example"},
        "rowhouse:stripe:Subscription": {"customer": UNKNOWN, "items": [{"price": UNKNOWN}]},
        "rowhouse:edge:Route": {
            "hostname": "h.example",
            "upstream": UNKNOWN,
            "audience": UNKNOWN,
            "tenant": "t",
            "instance": "i",
            "access": "open",
        },
    }

    async def body() -> None:
        async with plugin(tmp_path) as (_, engine):
            for type_, news in examples.items():
                inputs, failures = await engine.check(type_, "x", news)
                assert failures == {}, type_
                foretold = await engine.preview(type_, "x", inputs)
                assert set(inputs) <= set(foretold), type_
                kept = Kept(type_, "x", "id", inputs, foretold)
                assert (await engine.diff(kept, inputs)).changes == pb.DiffResponse.DIFF_NONE, type_

    run(body())
