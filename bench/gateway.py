"""What the gateway costs: requests per second and latency against the same app reached directly, and memory during 1 GB.

Prints one JSON document. Run from the repository's root: python -m bench.gateway
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from rowhouse.vendors.store_file import FileStore
from tests.edge.support import FAST, app_server, route, token, world

SECONDS = 2.0
TOTAL = 1024 * 1024 * 1024
PIECE = b"z" * 65536


async def app(scope: Any, _receive: Any, send: Any) -> None:
    size = TOTAL if scope["path"] == "/big" else 2
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    if size == 2:
        await send({"type": "http.response.body", "body": b"ok"})
        return
    for _ in range(TOTAL // len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def load(port: int, connections: int) -> dict[str, float]:
    """Ask as fast as possible over so many connections; latencies in milliseconds."""
    request = f"GET / HTTP/1.1\r\nHost: acme.example\r\nCf-Access-Jwt-Assertion: {token()}\r\n\r\n".encode()
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode("latin-1"))
            await reader.readexactly(2)
            times.append(time.perf_counter() - start)
        writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(connections)))
    times.sort()
    return {
        "per_s": round(len(times) / SECONDS, 1),
        "median_ms": round(statistics.median(times) * 1e3, 3),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 3),
    }


async def download(port: int) -> dict[str, float]:
    """Take 1 GB and watch this process's resident memory (app, gateway and client share it)."""
    process = psutil.Process(os.getpid())
    before = peak = process.memory_info().rss
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /big HTTP/1.1\r\nHost: acme.example\r\nCf-Access-Jwt-Assertion: {token()}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    start, got, pieces = time.perf_counter(), 0, 0
    while got < TOTAL:
        got += len(await reader.read(262144))
        pieces += 1
        if pieces % 200 == 0:
            peak = max(peak, process.memory_info().rss)
    writer.transport.abort()
    return {"mb_per_s": round(TOTAL / 1e6 / (time.perf_counter() - start), 1), "peak_growth_mb": round((peak - before) / 1e6, 1)}


async def main() -> None:
    found: dict[str, Any] = {"seconds": SECONDS, "note": "client, gateway and app share one process and one core"}
    with tempfile.TemporaryDirectory() as folder:
        async with app_server(app) as port:
            FileStore(Path(folder) / "store").put("routes/acme.example.json", route("acme.example", port))
            async with world(Path(folder), limits=FAST) as w:
                for connections in (1, 64):
                    pair = {"direct": await load(port, connections), "gateway": await load(w.port, connections)}
                    pair["added_median_ms"] = {"value": round(pair["gateway"]["median_ms"] - pair["direct"]["median_ms"], 3)}
                    found[f"connections_{connections}"] = pair
                found["download_1_gb"] = {"direct": await download(port), "gateway": await download(w.port)}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
