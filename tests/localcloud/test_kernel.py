import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.kernel import Fault, Faults, Journal, VendorMiddleware, serve


def run(body: Callable[[httpx.AsyncClient, Faults, Journal, list[str]], Awaitable[None]], **kwargs: Any) -> None:
    async def main() -> None:
        effects: list[str] = []

        async def act(request: Request) -> JSONResponse:
            effects.append((await request.body()).decode())
            return JSONResponse({"done": len(effects)})

        faults, journal = Faults(), Journal()
        app = Starlette(routes=[Route("/act", act, methods=["GET", "POST"])])
        wrapped = VendorMiddleware(app, vendor="acme", clock=Clock(), journal=journal, faults=faults, **kwargs)
        async with serve(wrapped) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as client:
            await body(client, faults, journal, effects)

    asyncio.run(main())


def test_requests_are_journalled_without_credentials() -> None:
    async def body(client: httpx.AsyncClient, _faults: Faults, journal: Journal, _effects: list[str]) -> None:
        await client.post("/act?x=1", content=b"hello", headers={"authorization": "Bearer planted", "idempotency-key": "k1"})
        await client.get("/act")
        entry = journal.entries[0]
        assert (entry.method, entry.path, entry.query, entry.body, entry.status) == ("POST", "/act", "x=1", "hello", 200)
        assert entry.headers["idempotency-key"] == "k1"
        assert entry.response == '{"done":1}'
        assert "planted" not in str(journal.dump())
        assert [found.number for found in journal.mutations()] == [1]
        assert len(journal.calls("acme", "GET", "^/a")) == 1

    run(body)


def test_what_is_redacted_reaches_the_vendor_but_not_the_journal() -> None:
    async def body(client: httpx.AsyncClient, _faults: Faults, journal: Journal, effects: list[str]) -> None:
        await client.post("/act", content=b"planted")
        assert effects == ["planted"]
        assert "planted" not in str(journal.dump())

    run(body, redact=lambda path, text: "[secret]" if path == "/act" else text)


@pytest.mark.parametrize(
    ("kind", "status", "effects"),
    [("rate_limited", 429, 0), ("error_before", 500, 0), ("error_after", 500, 1), ("slow", 200, 1), ("partial", 200, 1)],
)
def test_a_fault_is_answered_with_or_without_its_effect(kind: Any, status: int, effects: int) -> None:
    async def body(client: httpx.AsyncClient, faults: Faults, journal: Journal, done: list[str]) -> None:
        rule = faults.add(Fault(kind, vendor="acme", path="/act", value=0.05))
        assert (await client.post("/act")).status_code == status
        assert (len(done), rule.hits, journal.entries[0].status) == (effects, 1, status)
        assert (await client.post("/act")).status_code == 200  # once only

    run(body)


@pytest.mark.parametrize(("kind", "effects"), [("drop_before", 0), ("hang_before", 0), ("drop_after", 1), ("hang_after", 1)])
def test_a_dropped_connection_is_seen_as_such(kind: Any, effects: int) -> None:
    async def body(client: httpx.AsyncClient, faults: Faults, _journal: Journal, done: list[str]) -> None:
        faults.add(Fault(kind, value=0.05))
        with pytest.raises(httpx.TransportError):
            await client.post("/act")
        assert len(done) == effects

    run(body)


def test_a_rule_can_skip_repeat_and_end() -> None:
    async def body(client: httpx.AsyncClient, faults: Faults, _journal: Journal, _done: list[str]) -> None:
        faults.add(Fault("error_before", method="POST", skip=1, times=2, status=503, body={"error": "busy"}))
        seen = [(await client.post("/act")).status_code for _ in range(5)]
        assert seen == [200, 503, 503, 200, 200]
        faults.add(Fault("error_before", times=-1))
        assert [(await client.get("/act")).status_code for _ in range(3)] == [500] * 3
        faults.clear()
        assert (await client.get("/act")).status_code == 200

    run(body)


@pytest.mark.parametrize(("kind", "effects"), [("kill_before", 0), ("kill_after", 1), ("kill_after_answer", 1)])
def test_a_process_can_be_killed_around_an_effect(kind: Any, effects: int) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as victim:

        async def body(client: httpx.AsyncClient, faults: Faults, _journal: Journal, done: list[str]) -> None:
            faults.add(Fault(kind, pid=victim.pid))
            if kind == "kill_after_answer":
                assert (await client.post("/act")).status_code == 200
            else:
                with pytest.raises(httpx.TransportError):
                    await client.post("/act")
            assert len(done) == effects

        run(body)
        end = time.monotonic() + 5
        while victim.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert victim.returncode == -9


def test_a_taken_port_is_an_error() -> None:
    async def body() -> None:
        async with serve(Starlette()) as port:
            with pytest.raises(OSError, match="in use"):
                async with serve(Starlette(), port=port):
                    pass

    asyncio.run(body())
