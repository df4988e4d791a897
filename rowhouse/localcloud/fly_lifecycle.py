"""How machines move from state to state, on the virtual clock, with a real process behind `started`.

Each step is a timer; a new request replaces the machine's pending step. A timer waits for the process it starts or
ends, so that skipped time and events stay in order. Not here: who may ask (fly_machines.py).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from rowhouse.localcloud.clock import Clock, rfc3339
from rowhouse.localcloud.fly_checks import Checker
from rowhouse.localcloud.fly_config import duration_s
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_ids import Ids
from rowhouse.localcloud.fly_model import App, Event, Machine
from rowhouse.localcloud.images import Images
from rowhouse.localcloud.runtime import Exit, Launch, Running, Runtime

__all__ = ["Delays", "Lifecycle"]

_RESTART_WINDOW_S = 300.0


@dataclass
class Delays:
    """How long Fly takes, in virtual seconds. Real Fly needs about 6 s for a launch (2026-09); tests need it short."""

    create: float = 0.2
    start: float = 0.1
    update: float = 0.1
    suspend: float = 0.05
    destroy: float = 0.1
    release: float = 0.3  # how long a volume stays bound after its machine is gone
    restart: float = 0.1  # between a crash and the next attempt


class Lifecycle:
    """Moves machines."""

    def __init__(self, clock: Clock, ids: Ids, images: Images, runtime: Runtime, app_of: Callable[[Machine], App]) -> None:
        """Run processes with `runtime`; `app_of` finds a machine's app."""
        self.clock, self.ids, self.images, self.runtime, self._app_of = clock, ids, images, runtime, app_of
        self.delays = Delays()
        self.checker = Checker(clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop all work; processes are the runtime's."""
        await self.checker.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a machine's owner, the proxy or a host asks for

    def launch(self, machine: Machine, *, skip_launch: bool) -> None:
        """Begin a new machine's life: `created`, then `started` (or `stopped`)."""
        self.note(machine, "launch", "created", "user")
        machine.parked = skip_launch

        async def placed() -> None:
            if skip_launch:
                self.move(machine, "stopped")
            else:
                await self._boot(machine)

        self._then(machine, self.delays.create, placed)

    def start(self, machine: Machine, source: str = "user") -> str:
        """Start a machine that is not up; returns the state it was in.

        Raises: Refusal from a state that cannot be left so.
        """
        before = machine.state
        if before in {"started", "starting"}:
            return before
        if before in {"replacing", "updating"}:
            raise Refusal(412, "failed_precondition: machine getting replaced, refusing to start")
        if before in {"stopping", "suspending", "restarting"}:
            raise Refusal(412, "failed_precondition: machine still active, refusing to start")
        if before not in {"stopped", "suspended", "failed"}:
            raise Refusal(412, f"failed_precondition: unable to start machine from current state: '{before}'")
        machine.restarts.clear()
        self.move(machine, "starting")
        self.note(machine, "start", "starting", source)
        self._then(machine, self.delays.start, lambda: self._boot(machine))
        return before

    def stop(self, machine: Machine, number: int | None = None, timeout_s: float | None = None, source: str = "user") -> Awaitable[None]:
        """Stop a machine; the result may be awaited.

        Raises: Refusal from a state that cannot be left so.
        """
        if machine.state in {"stopped", "stopping", "failed"}:
            return _nothing()
        if machine.state not in {"started", "starting", "suspended", "suspending", "restarting"}:
            raise Refusal(412, f"failed_precondition: unable to stop machine from current state: '{machine.state}'")
        self._cancel(machine)
        self.move(machine, "stopping")
        self.note(machine, "stop", "stopping", source)
        machine.intent = "stop"
        return self._spawn(self._end(machine, number, timeout_s, self._rest))

    def suspend(self, machine: Machine, source: str = "user") -> None:
        """Freeze a started machine with its memory.

        Raises: Refusal where Fly cannot.
        """
        if machine.state != "started" or machine.running is None:
            raise Refusal(412, f"failed_precondition: unable to suspend machine from current state: '{machine.state}'")
        if machine.config["guest"]["memory_mb"] > 2048:
            raise Refusal(412, "failed_precondition: unable to suspend machine with more than 2048 MB of memory")
        if machine.config["init"].get("swap_size_mb") or machine.config.get("schedule"):
            raise Refusal(412, "failed_precondition: unable to suspend machine with swap or a schedule")
        self.move(machine, "suspending")
        self.note(machine, "suspend", "suspending", source)
        self.checker.stop(machine)
        machine.running.suspend()

        def frozen() -> None:
            self.move(machine, "suspended")
            self.note(machine, "suspend", "suspended", "flyd")

        self._then(machine, self.delays.suspend, frozen)

    def restart(self, machine: Machine, number: int | None = None, timeout_s: float | None = None) -> None:
        """Stop and start a machine that is up.

        Raises: Refusal when it is not up.
        """
        if machine.state not in {"started", "suspended", "stopped"}:
            raise Refusal(412, f"failed_precondition: unable to restart machine from current state: '{machine.state}'")
        self._cancel(machine)
        self.note(machine, "restart", "restarting", "user")
        self.move(machine, "restarting")
        machine.intent = "restart"
        self._spawn(self._end(machine, number, timeout_s, self._boot))

    def update(self, machine: Machine, config: dict[str, Any], image_ref: dict[str, Any], *, skip_launch: bool) -> None:
        """Replace a machine's configuration: a new version, which runs if the one before ran."""
        was_up = machine.state in {"started", "starting"} or (machine.state == "created" and not machine.parked)
        self._cancel(machine)
        machine.versions.insert(0, (machine.version, machine.config))
        machine.version, machine.config, machine.image_ref = self.ids.ulid(), config, image_ref
        machine.events.clear()
        machine.restarts.clear()
        self.checker.stop(machine)
        machine.intent = "replace"
        self.move(machine, "replacing")
        self.note(machine, "update", "replacing", "user")

        async def settle(it: Machine) -> None:
            # A machine that was not up stays down: the caller starts it if it wants to (superfly docs, 2026-08).
            if was_up and not skip_launch:
                await self._boot(it)
            else:
                self._rest(it)

        self._then(machine, self.delays.update, lambda: self._end(machine, None, None, settle))

    def destroy(self, machine: Machine, *, force: bool) -> None:
        """Begin to destroy a machine.

        Raises: Refusal while it is up, without force.
        """
        if machine.state in {"destroying", "destroyed"}:
            return
        if not force and machine.state not in {"stopped", "suspended", "failed"}:
            raise Refusal(412, "failed_precondition: unable to destroy machine, not currently stopped")
        self._cancel(machine)
        self.checker.stop(machine)
        machine.intent = "destroy"
        self.move(machine, "destroying")
        self.note(machine, "destroy", "destroying", "user")
        self._then(machine, self.delays.destroy, lambda: self._end(machine, signal.SIGKILL, 1.0, self._destroyed))

    # Steps

    def _destroyed(self, machine: Machine) -> None:
        machine.destroyed_at = self.clock.timestamp()
        self.move(machine, "destroyed")
        self.note(machine, "destroy", "destroyed", "flyd")
        app = self._app_of(machine)

        def release() -> None:
            for volume in app.volumes.values():
                if volume.machine_id == machine.id:
                    volume.machine_id = None
                    volume.updated_at = self.clock.timestamp()

        self.clock.call_later(self.delays.release, release)

    def _rest(self, machine: Machine) -> None:
        machine.intent = None
        self.move(machine, "stopped")

    async def _boot(self, machine: Machine) -> None:
        epoch, machine.intent, running = machine.epoch, None, machine.running
        if running is not None and running.suspended and running.is_alive:
            running.resume()
        else:
            try:
                running = await self.runtime.start(self._launch_of(machine))
            except OSError as error:
                self.move(machine, "failed")
                self.note(machine, "start", "failed", "flyd", {"error": str(error)})
                return
            if machine.epoch != epoch:  # something else was asked for while the process was being made
                running.send(signal.SIGKILL)
                return
            machine.running = running
            self._spawn(self._watch(machine, running))
        self.note(machine, "start", "started", "flyd")
        machine.last_activity = self.clock.timestamp()
        self.move(machine, "started")
        self.checker.start(machine, running.port_for)

    def _end(
        self, machine: Machine, number: int | None, timeout_s: float | None, then: Callable[[Machine], Any]
    ) -> Coroutine[Any, Any, None]:
        epoch = machine.epoch

        async def end() -> None:
            running, config = machine.running, machine.config.get("stop_config") or {}
            self.checker.stop(machine)
            if running is not None:
                asked = number or getattr(signal, config.get("signal") or "SIGTERM")
                patience = timeout_s if timeout_s is not None else duration_s(config.get("timeout"), 5.0)
                self._exited(machine, running, await running.stop(asked, patience))
            if machine.epoch != epoch:  # something else was asked for meanwhile
                return
            result = then(machine)
            if asyncio.iscoroutine(result):
                await result

        return end()

    async def _watch(self, machine: Machine, running: Running) -> None:
        self._exited(machine, running, await asyncio.shield(running.exited))

    def _exited(self, machine: Machine, running: Running, end: Exit) -> None:
        if machine.running is not running:
            return
        machine.running = None
        self.checker.stop(machine)
        requested = machine.intent is not None
        again = not requested and self._may_restart(machine, end)
        exit_event = {
            "exit_code": end.code,
            "guest_exit_code": end.code,
            "guest_signal": end.signal,
            "signal": end.signal,
            "oom_killed": end.oom_killed,
            "requested_stop": requested,
            "restarting": again,
            "exited_at": rfc3339(self.clock.now()),
        }
        self.note(machine, "exit", "stopped", "flyd", {"exit_event": exit_event, "restart_count": len(machine.restarts)})
        if requested:
            if machine.state == "started":  # whoever asked moves it on; nobody may see it up
                self.move(machine, "stopping")
            return
        if again:
            machine.restarts.append(self.clock.timestamp())
            self.move(machine, "starting")
            self._then(machine, self.delays.restart, lambda: self._boot(machine))
            return
        self._cancel(machine)
        self.move(machine, "stopped")
        if machine.config.get("auto_destroy"):
            self.destroy(machine, force=True)

    def _may_restart(self, machine: Machine, end: Exit) -> bool:
        restart = machine.config.get("restart") or {}
        policy = restart.get("policy") or "on-failure"
        if machine.state != "started" or policy == "no" or (policy != "always" and end.code == 0):
            return False
        recent = [at for at in machine.restarts if at > self.clock.timestamp() - _RESTART_WINDOW_S]
        machine.restarts[:] = recent
        return policy == "always" or len(recent) < restart.get("max_retries", 10)

    def _launch_of(self, machine: Machine) -> Launch:
        app = self._app_of(machine)
        image = self.images.find(machine.config["image"])
        assert image is not None, "checked when the configuration was accepted"
        secrets = {secret.name: secret.value for secret in app.secrets.values()}
        env = secrets | (machine.config.get("env") or {})
        env |= {
            "FLY_APP_NAME": app.name,
            "FLY_MACHINE_ID": machine.id,
            "FLY_REGION": machine.region,
            "FLY_PRIVATE_IP": machine.private_ip,
        }
        mounts = machine.config.get("mounts") or []
        volume = (mounts[0]["volume"], mounts[0].get("path") or "/data") if mounts else None
        overrides = tuple(machine.config["init"].get("exec") or machine.config["init"].get("cmd") or ())
        memory = machine.config["guest"]["memory_mb"]
        return Launch(machine.id, image, env, memory, volume, overrides, secrets.get("TUNNEL_TOKEN", ""))

    # Book-keeping

    def move(self, machine: Machine, state: str) -> None:
        """Change a machine's state and tell whoever waits."""
        now = self.clock.timestamp()
        if machine.state != state:
            if state == "started":
                machine.ups.append((now, None))
            elif machine.ups and machine.ups[-1][1] is None:
                machine.ups[-1] = (machine.ups[-1][0], now)
        machine.state, machine.updated_at = state, now
        self.touch(machine)

    def note(self, machine: Machine, kind: str, status: str, source: str, request: dict[str, Any] | None = None) -> None:
        """Append an event."""
        machine.append(Event(self.ids.ulid(), kind, status, source, int(self.clock.timestamp() * 1000), request))
        self.touch(machine)

    def touch(self, machine: Machine) -> None:
        """A machine has changed: organisation lists see it anew, waiters look again."""
        machine.overviews.append(machine.overview())
        machine.changed.set()
        machine.changed = asyncio.Event()

    def _then(self, machine: Machine, delay: float, step: Callable[[], Awaitable[None] | None]) -> None:
        self._cancel(machine)

        def due() -> Awaitable[None] | None:
            machine.timer = None
            return step()

        machine.timer = self.clock.call_later(delay, due)

    @staticmethod
    def _cancel(machine: Machine) -> None:
        machine.epoch += 1
        if machine.timer:
            machine.timer.cancel()
            machine.timer = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _nothing() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
