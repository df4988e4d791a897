"""Driving one Fly machine: leases, states, readiness.

Does: wait for what Fly does in its own time, repeat what Fly refuses only for the moment, always within a bound and until cancelled.
Does not: decide what the machine should be. Source: Machines API reference, states and errors (2026-08).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from rowhouse.vendors.fly import Fly
from rowhouse.vendors.fly_events import exit_of, how_ended
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Refused
from rowhouse.wire.fields import Props

__all__ = ["ASLEEP", "GONE", "Runner", "no_room"]

ASLEEP: Final = frozenset({"stopped", "suspended"})
GONE: Final = frozenset({"destroyed", "destroying", "replaced", "migrated", "launch_failed"})
_SETTLED: Final = frozenset({"created", "started", "failed"}) | ASLEEP | GONE
_LEASE_S: Final = 60
_MOMENT: Final = (
    "lease currently held",
    "machine getting replaced",
    "machine still active",
    "unable to start machine from current state",
    "concurrent update",
    "current_version",
    "volume already claimed",
    "currently bound to machine",
    "is not yet available",
)
"""Words of refusals that pass by themselves."""


def no_room(error: VendorError) -> bool:
    """Whether Fly has no capacity, quota or permission to place the machine: a person must decide."""
    return error.code in {"insufficient_capacity", "volume_placement_capacity"} or error.says(
        "could not reserve resource",
        "no capacity",
        "insufficient resources",
        "over the allowed quota",
        "reached its machine limit",
        "deploys to this host are temporarily disabled",
        "governor policy blocked",
    )


class Runner:
    """One machine, during one call of the engine."""

    def __init__(self, fly: Fly, ctx: Context, app: str, machine: str, patience_s: float) -> None:
        self.fly = fly
        self.ctx = ctx
        self.app = app
        self.machine = machine
        self.until = time.monotonic() + patience_s
        self.nonce = ""
        self._leased_at = 0.0

    @property
    def left_s(self) -> float:
        """Seconds of patience left."""
        return self.until - time.monotonic()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[None]:
        """Hold the machine's lease; waits while somebody else (perhaps ourselves, before a crash) still holds it."""
        self.nonce = await self.patiently(lambda: self.fly.acquire_lease(self.app, self.machine, _LEASE_S), extra_s=_LEASE_S)
        self._leased_at = time.monotonic()
        try:
            yield
        finally:
            nonce, self.nonce = self.nonce, ""
            try:
                async with asyncio.timeout(0.25 if self.ctx.cancelled.is_set() else 5.0):
                    await self.fly.release_lease(self.app, self.machine, nonce)
            except (TimeoutError, VendorError):
                await self.ctx.log("debug", f"the lease of {self.machine} was not given back; it ends by itself in {_LEASE_S} s")

    async def keep_lease(self) -> None:
        """Refresh the lease when half of it is over."""
        if self.nonce and time.monotonic() - self._leased_at > _LEASE_S / 2:
            self.nonce = await self.fly.acquire_lease(self.app, self.machine, _LEASE_S, self.nonce)
            self._leased_at = time.monotonic()

    async def patiently(self, call: Any, *, extra_s: float = 0.0) -> Any:
        """The call's answer, repeated while Fly refuses it only for the moment."""
        pause_s = 0.25
        while True:
            try:
                return await call()
            except VendorError as error:
                passing = error.status in {408, 409, 412} and error.says(*_MOMENT) and not no_room(error)
                if not passing or self.left_s + extra_s < pause_s:
                    raise
            await self.ctx.sleep(pause_s)
            pause_s = min(4.0, pause_s * 2)

    async def get(self) -> Props | None:
        """The machine as it is now; None when it is gone."""
        found = await self.fly.get_machine(self.app, self.machine)
        return None if found is None or found.get("state") in GONE else found

    async def settled(self) -> Props:
        """The machine once Fly is not in the middle of something; raises Refused when it is gone, TimeoutError when it never settles."""
        pause_s = 0.2
        while True:
            found = await self.get()
            if found is None:
                raise Refused(f"the Fly machine {self.machine} of {self.ctx.name} is gone. Run `rowhouse refresh`, then apply again.")
            if found.get("state") in _SETTLED:
                return found
            if self.left_s < pause_s:
                raise TimeoutError(f"the Fly machine {self.machine} stays in state '{found.get('state')}'")
            await self.ctx.sleep(pause_s)
            pause_s = min(2.0, pause_s * 1.7)

    async def reach(self, states: tuple[str, ...], version: str = "") -> str:
        """Hang at Fly until one of the states is reached; answers the state. Raises TimeoutError with the state it is in.

        Fly waits a minute at most, so the call is repeated; between two calls the machine is read, because a machine that failed or was
        destroyed reaches nothing any more.
        """
        while True:
            await self.keep_lease()
            before = time.monotonic()
            answer = await self.fly.wait(self.app, self.machine, states, timeout_s=int(min(60.0, max(1.0, self.left_s))), version=version)
            if answer is not None:
                return str(answer.get("state") or states[0])
            found = await self.get()
            state = str(found.get("state")) if found else "destroyed"
            if state in states:
                return state
            if found is None or state == "failed" or self.left_s <= 0.5:
                raise TimeoutError(f"the Fly machine {self.machine} did not become {' or '.join(states)}; it is {state}{_last_exit(found)}")
            if time.monotonic() - before < 0.5:
                await self.ctx.sleep(0.5)  # a stand-in, or Fly in trouble, may answer at once

    async def start(self) -> None:
        """Start it, whatever it was doing."""
        await self.patiently(lambda: self.fly.start_machine(self.app, self.machine, self.nonce))

    async def stop(self) -> None:
        """Stop it and wait until it has stopped."""
        await self.patiently(lambda: self.fly.stop_machine(self.app, self.machine, self.nonce))
        await self.reach(("stopped",))

    async def healthy(self, expected: int) -> Props:
        """The machine once all its checks pass; raises TimeoutError naming those that do not.

        `started` is not healthy: the process may still be opening its files.
        """
        pause_s, unseen_until = 0.4, time.monotonic() + 10.0
        while True:
            await self.ctx.sleep(pause_s)  # first, too: no check has run in the moment of the start
            found = await self.get()
            checks = (found or {}).get("checks") or []
            failing = [f"{check.get('name')} {check.get('status')}" for check in checks if check.get("status") != "passing"]
            if found is not None and not failing and len(checks) >= expected:
                return found
            if found is not None and found.get("state") in ASLEEP and (found.get("config") or {}).get("services"):
                return found  # it went to sleep for want of requests: it was awake, and wakes on demand
            if found is not None and not checks and time.monotonic() > unseen_until:
                return found  # Fly reports no checks of this machine at all
            if found is None or self.left_s < pause_s:
                state = found.get("state") if found else "gone"
                wrong = ", ".join(failing) or "no check reported"
                raise TimeoutError(f"the Fly machine {self.machine} is {state} but not healthy: {wrong}{_last_exit(found)}")
            pause_s = min(2.0, pause_s * 1.5)

    async def destroyed(self) -> None:
        """Wait until it is really gone, so that its name and its volume are free; raises TimeoutError."""
        while True:
            before = time.monotonic()
            try:
                wait_s = int(min(60.0, max(1.0, self.left_s)))
                answer = await self.fly.wait(self.app, self.machine, ("destroyed",), timeout_s=wait_s)
            except VendorError as error:
                if error.status in {404, 410}:
                    return
                raise
            if answer is not None:
                return
            found = await self.fly.get_machine(self.app, self.machine)
            if found is None or found.get("state") in {"destroyed", "replaced", "migrated"}:
                return
            if self.left_s < 0.5:
                raise TimeoutError(f"the Fly machine {self.machine} is still {found.get('state')}")
            if time.monotonic() - before < 0.5:
                await self.ctx.sleep(0.5)


def _last_exit(machine: Props | None) -> str:
    """How the machine's process ended last, for the message: `; its process ended with code 1 (out of memory)`."""
    for event in (machine or {}).get("events") or []:
        if ended := exit_of(event):
            return f"; its process {how_ended(ended)}"
    return ""
