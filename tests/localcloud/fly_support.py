"""A Fly account for a test: its stand-in, a client with the token, a running clock."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.fly import FlyVendor
from rowhouse.localcloud.images import Image, Images, reference
from rowhouse.localcloud.kernel import Faults, Journal, VendorMiddleware

SLEEPER = reference("sleeper")
NOTEBOOK = reference("notebook")
IMAGES = (
    Image("sleeper", ("sleep", "1000")),
    Image("failing", ("/bin/sh", "-c", "exit 3")),
    Image("finishing", ("/bin/sh", "-c", "exit 0")),
    Image("stubborn", ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")),
    Image(
        "dumper",
        (sys.executable, "-I", "-S", "-c", "import json, os, time; json.dump(dict(os.environ), open('env.json', 'w')); time.sleep(1000)"),
    ),
)


@dataclass
class Account:
    fly: FlyVendor
    clock: Clock
    http: httpx.AsyncClient
    faults: Faults
    journal: Journal

    async def app(self, name: str = "acme", **body: Any) -> dict[str, Any]:
        answer = await self.http.post("/apps", json={"name": name, "org_slug": "local"} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def volume(self, app: str = "acme", **body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/apps/{app}/volumes", json={"name": "data", "region": "fra", "size_gb": 1} | body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def machine(self, app: str = "acme", *, config: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        answer = await self.create(app, config=config, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def create(self, app: str = "acme", *, config: dict[str, Any] | None = None, **body: Any) -> httpx.Response:
        whole = {"image": SLEEPER} | (config or {})
        return await self.http.post(f"/apps/{app}/machines", json={"name": "main", "region": "fra", "config": whole} | body)

    async def started(self, app: str = "acme", **kwargs: Any) -> dict[str, Any]:
        machine = await self.machine(app, **kwargs)
        await self.wait(machine, app=app)
        return await self.get(machine, app)

    async def wait(self, machine: dict[str, Any], state: str = "started", app: str = "acme", **params: Any) -> dict[str, Any]:
        answer = await self.http.get(f"/apps/{app}/machines/{machine['id']}/wait", params={"state": state, "timeout": 10} | params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, machine: dict[str, Any], app: str = "acme") -> dict[str, Any]:
        answer = await self.http.get(f"/apps/{app}/machines/{machine['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, machine: dict[str, Any], verb: str = "", app: str = "acme", **kwargs: Any) -> httpx.Response:
        return await self.http.post(f"/apps/{app}/machines/{machine['id']}{'/' if verb else ''}{verb}", **kwargs)


@contextlib.asynccontextmanager
async def account(folder: Path, *, limits: bool = False, **kwargs: Any) -> AsyncIterator[Account]:
    """A Fly account in `folder`, without rate limits unless asked."""
    clock, faults, journal = Clock(), Faults(), Journal()
    fly = FlyVendor(clock, folder, images=Images(IMAGES), limits=limits, **kwargs)
    delays = fly.delays
    delays.create, delays.start, delays.update, delays.destroy, delays.release, delays.restart = 0.05, 0.03, 0.03, 0.03, 0.1, 0.02
    app = VendorMiddleware(fly.app, vendor="fly", clock=clock, journal=journal, faults=faults)
    running = asyncio.create_task(clock.run())
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://fly.test/v1", headers={"authorization": "Bearer fm2_local"}, timeout=20
    )
    try:
        async with client:
            yield Account(fly, clock, client, faults, journal)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await fly.close()


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and Fly's text."""
    return answer.status_code, answer.json()["error"]
