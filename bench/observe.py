"""One pass over 10,000 machines: calls made, its time against that of the same calls with their answers dropped, memory; JSON on standard
output.

The vendors are one light server in a process of its own that answers from memory, after as long as an organisation list (0.3 s) or a list
of events (20 ms) may take. The first pass knows nothing and asks every machine for its events. Those after it find one machine in twenty
changed, as an hour in which people come and go may leave them; of three such passes and thrice the calls alone the medians are compared.
Our client keeps Fly's rate limits in all of them. Exit code 1 when a limit is missed.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import uvicorn

from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Observations
from rowhouse.usage.observe import observe
from rowhouse.usage.previous import Previous
from rowhouse.usage.sources import sources_for
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store_file import FileStore

MACHINES: Final = 10_000
CHANGED: Final = 20  # one in so many has changed by the second pass
LIST_S: Final = 0.3
EVENTS_S: Final = 0.02
PAGE: Final = 1000
AT_ONCE: Final = 24
ROUNDS: Final = 3
LISTS_MAX: Final = 25
WANTED: Final = {"lists_at_most": LISTS_MAX, "ratio_below": 1.3, "megabytes_below": 400}
BORN: Final = 1_794_000_000_000
CHANGE: Final = 1_795_000_000_000


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat().replace("+00:00", "Z")


class Vendors:
    """Fly and Cloudflare, as far as a pass asks them."""

    def __init__(self) -> None:
        """A first hour, in which nothing has changed since the machines were made."""
        self.changed = False

    def machine(self, number: int) -> dict[str, Any]:
        """One machine of the organisation's list."""
        moved = self.changed and number % CHANGED == 0
        mark = {"managed-by": "rowhouse", "project": "bench", "stack": "main", "tenant": f"t{number:05d}", "instance": "main"}
        return {
            "id": f"{number:014x}",
            "app_name": f"t{number:05d}-main",
            "name": "main",
            "state": "stopped" if moved else "started",
            "region": "fra",
            "version": f"01K{number:023d}",
            "private_ip": "fdaa:0:1:a7b:1:2:3:2",
            "created_at": _time(BORN),
            "updated_at": _time((CHANGE if moved else BORN) + number),
            "config": {
                "image": "registry.example/app@sha256:" + "0" * 64,
                "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
                "metadata": mark,
            },
        }

    def volume(self, number: int) -> dict[str, Any]:
        """The machine's volume."""
        known = {"id": f"vol_{number:016d}", "name": "data", "app_name": f"t{number:05d}-main", "state": "created", "size_gb": 1}
        return known | {"region": "fra", "created_at": _time(BORN), "updated_at": _time(BORN + number)}

    def events(self, number: int) -> list[dict[str, Any]]:
        """Its events, newest first."""
        found = [("launch", "created", "user"), ("start", "started", "flyd")]
        found += [("exit", "stopped", "flyd")] if self.changed and number % CHANGED == 0 else []
        return [
            {"id": f"E{number:05d}{place}", "type": kind, "status": status, "source": source, "timestamp": BORN + number + place}
            for place, (kind, status, source) in reversed(list(enumerate(found)))
        ]

    def listed(self, what: str, make: Callable[[int], dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
        """One page; machines that changed come last, as in a list that is ordered by change."""
        order = sorted(range(MACHINES), key=lambda number: (self.changed and what == "machines" and number % CHANGED == 0, number))
        first = int(query.get("cursor", ["0"])[0])
        page = [make(number) for number in order[first : first + PAGE]]
        return {what: page, "error_regions": []} | ({"next_cursor": str(first + PAGE)} if first + PAGE < MACHINES else {})

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path, query = scope["path"], parse_qs(scope["query_string"].decode())
        body: Any = {"success": True, "result": []}
        wait_s = LIST_S
        if path == "/change":
            self.changed, wait_s = True, 0.0
        elif path.endswith("/orgs/bench/machines"):
            body = self.listed("machines", self.machine, query)
        elif path.endswith("/orgs/bench/volumes"):
            body = self.listed("volumes", self.volume, query)
        elif path.endswith("/events"):
            body, wait_s = self.events(int(path.split("/")[-2], 16)), EVENTS_S
        elif "/prometheus/" in path:
            used = [{"metric": {"app": f"t{number:05d}-main"}, "value": [0, str(number * 1000)]} for number in range(MACHINES)]
            body = {"status": "success", "data": {"resultType": "vector", "result": used}}
        payload = json.dumps(body).encode()
        await asyncio.sleep(wait_s)
        headers = [(b"content-type", b"application/json"), (b"date", formatdate(usegmt=True).encode())]
        headers.append((b"content-length", str(len(payload)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})


def serve() -> None:
    """Be the vendors until ended; the port is the first line of standard output."""

    async def main() -> None:
        config = uvicorn.Config(Vendors(), port=0, log_level="critical", access_log=False, date_header=False, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task

    asyncio.run(main())


async def one_pass(url: str, store: FileStore, previous: Previous) -> tuple[Observations, float]:
    """A pass with clients of its own, as a job in CI has them; and its seconds."""
    fly, cloudflare = Fly("t", base_url=url, api_url=url), Cloudflare("t", base_url=url)
    accounts = {"org": "bench", "account": "a", "project": "bench", "stack": "main"}
    began = time.perf_counter()
    seen = await observe(sources_for(fly=fly, cloudflare=cloudflare, store=store, words={}, **accounts), previous)
    seconds = time.perf_counter() - began
    await fly.close()
    await cloudflare.close()
    if not seen.complete:
        raise SystemExit(f"the pass was not complete: {seen.completeness}")
    return seen, seconds


async def calls_alone(url: str, asked: Iterable[str]) -> float:
    """Seconds of the same calls, as many at once, their answers read and dropped."""
    fly, cloudflare = Fly("t", base_url=url, api_url=url), Cloudflare("t", base_url=url)
    waiting = iter(sorted(asked))
    began = time.perf_counter()

    async def pages(listing: Any) -> None:
        async for _ in listing:
            pass

    async def events() -> None:
        for machine in waiting:
            await fly.events(f"t{int(machine, 16):05d}-main", machine)

    async with asyncio.TaskGroup() as group:
        group.create_task(pages(fly.list_org_volumes("bench")))
        group.create_task(fly.prometheus("bench", "up"))
        group.create_task(pages(cloudflare.access_logs("a")))
        await pages(fly.list_org_machines("bench"))  # events are asked for when the whole list is there
        for _ in range(AT_ONCE):
            group.create_task(events())
    seconds = time.perf_counter() - began
    await fly.close()
    await cloudflare.close()
    return seconds


def told(seen: Observations) -> dict[str, int]:
    """Calls and entries of a pass."""
    asked = len(asked_of(seen.entries["fly"]))
    lists = seen.calls["fly"] + seen.calls["cloudflare"] - asked
    return {"lists": lists, "events_calls": asked, "entries": sum(map(len, seen.entries.values()))}


def asked_of(entries: Iterable[Entry]) -> list[str]:
    """Machines that were asked for their events."""
    return sorted({str(entry.subject) for entry in entries if entry.kind == "events"})


async def measured(url: str, change: Callable[[], None]) -> dict[str, Any]:
    """The first pass and one an hour later."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        store, previous = FileStore(Path(folder)), Previous()
        seen, seconds = await one_pass(url, store, previous)
        found["first"] = told(seen) | {"seconds": round(seconds, 2)}
        for entry in seen.entries["fly"]:
            previous.add(entry)
        del seen
        change()
        passes, alone = [], []
        for _ in range(ROUNDS):
            seen, seconds = await one_pass(url, store, previous)
            passes.append(seconds)
            alone.append(await calls_alone(url, asked_of(seen.entries["fly"])))
        whole, calls = statistics.median(passes), statistics.median(alone)
        found["hourly"] = told(seen) | {"seconds": round(whole, 2), "calls_alone_s": round(calls, 2), "ratio": round(whole / calls, 2)}
    found["megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return found


def main() -> int:
    """Print the document."""
    with subprocess.Popen([sys.executable, "-m", "bench.observe", "--serve"], stdout=subprocess.PIPE, text=True) as vendors:
        try:
            assert vendors.stdout is not None
            url = f"http://127.0.0.1:{int(vendors.stdout.readline())}"

            def change() -> None:
                import httpx

                httpx.get(f"{url}/change", trust_env=False)

            found = asyncio.run(measured(url, change))
        finally:
            vendors.terminate()
    few = all(found[name]["lists"] <= LISTS_MAX for name in ("first", "hourly"))
    within = few and found["megabytes"] < WANTED["megabytes_below"] and found["hourly"]["ratio"] < WANTED["ratio_below"]
    print(json.dumps({"machines": MACHINES, **found, "wanted": WANTED, "within": within}, indent=2))
    return 0 if within else 1


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        raise SystemExit(main())
