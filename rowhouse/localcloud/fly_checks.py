"""Health checks of started machines, really performed.

They run in real time: virtual time can be moved by months, and nobody wants a month of checks. A check is repeated
quickly until it first passes, then at its own interval.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from rowhouse.localcloud.clock import Clock
from rowhouse.localcloud.fly_config import duration_s, service_checks
from rowhouse.localcloud.fly_model import Machine, iso

__all__ = ["Checker", "probe"]

_EAGER_S = 0.05


class Checker:
    """One task for each check of each started machine."""

    def __init__(self, clock: Clock) -> None:
        """Stamp results with virtual time."""
        self._clock = clock
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, machine: Machine, port_for: Callable[[int | None], int]) -> None:
        """Begin to check a machine; `port_for` tells where its process has the port of a check."""
        self.stop(machine)
        machine.checks = {}
        found = service_checks(machine.config)
        for name in found:
            self._result(machine, name, "critical", "waiting for status update")
        self._tasks[machine.id] = [
            asyncio.create_task(self._run(machine, name, check, port_for(check.get("port")))) for name, check in found.items()
        ]

    def stop(self, machine: Machine) -> None:
        """Check no more."""
        for task in self._tasks.pop(machine.id, []):
            task.cancel()
        for name in machine.checks:
            self._result(machine, name, "warning", "the machine is not up")

    async def close(self) -> None:
        """End all."""
        tasks = [task for group in self._tasks.values() for task in group]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, machine: Machine, name: str, check: dict[str, Any], port: int) -> None:
        interval = max(_EAGER_S, duration_s(check.get("interval"), 15))
        while True:
            passed, output = await probe(check, port)
            self._result(machine, name, "passing" if passed else "critical", output)
            await asyncio.sleep(interval if passed else min(interval, _EAGER_S))

    def _result(self, machine: Machine, name: str, status: str, output: str) -> None:
        before = machine.checks.get(name, {})
        if before.get("status") != status or before.get("output") != output:
            machine.checks[name] = {"status": status, "output": output, "updated_at": iso(self._clock.timestamp())}


async def probe(check: dict[str, Any], port: int) -> tuple[bool, str]:
    """Perform a check once: whether it passed, and what was seen."""
    try:
        async with asyncio.timeout(max(0.1, duration_s(check.get("timeout"), 2))):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if check["type"] == "tcp":
                    return True, "Success"
                headers = {item["name"].lower(): ", ".join(item["values"]) for item in check.get("headers") or []}
                lines = "".join(f"{key}: {value}\r\n" for key, value in ({"host": f"127.0.0.1:{port}"} | headers).items())
                method, path = (check.get("method") or "GET").upper(), check.get("path") or "/"
                writer.write(f"{method} {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n".encode())
                status = int((await reader.readline()).split()[1])
                return 200 <= status < 300, f"HTTP {status}"
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return False, "timeout"
    except (OSError, IndexError, ValueError) as error:
        return False, f"connect: {error}" if isinstance(error, OSError) else "malformed answer"
