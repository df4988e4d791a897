"""What is done to one machine: start, stop, suspend, restart, signal, cordon, exec, and waiting for it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
from starlette.requests import Request
from starlette.responses import Response

from rowhouse.localcloud.fly_config import duration_s
from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_http import body_of, number, route
from rowhouse.localcloud.fly_leases import machine_of, may_change
from rowhouse.localcloud.fly_model import PERSISTENT, Machine

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["ROUTES", "no_content"]

_MAX_OUTPUT = 1 << 20
_EXEC_S = 30.0


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def _signal(name: Any) -> int | None:
    if name in (None, ""):
        return None
    found = getattr(signal, str(name), None)
    if not isinstance(found, signal.Signals):
        raise Refusal(400, f"invalid signal: {name}")
    return int(found)


async def start(vendor: FlyVendor, request: Request) -> Any:
    """Start, or resume."""
    _, machine = may_change(vendor, request)
    return {"previous_state": vendor.lifecycle.start(machine), "migrated": False, "new_host": ""}


async def stop(vendor: FlyVendor, request: Request) -> Any:
    """Stop; drops a suspended machine's memory."""
    _, machine = may_change(vendor, request)
    body = await body_of(request)
    timeout = body.get("timeout")
    vendor.lifecycle.stop(machine, _signal(body.get("signal")), None if timeout is None else duration_s(timeout, 5))
    return {"ok": True}


async def suspend(vendor: FlyVendor, request: Request) -> Any:
    """Freeze with memory."""
    _, machine = may_change(vendor, request)
    vendor.lifecycle.suspend(machine)
    return {"ok": True}


async def restart(vendor: FlyVendor, request: Request) -> Any:
    """Stop and start."""
    _, machine = may_change(vendor, request)
    timeout = request.query_params.get("timeout")
    vendor.lifecycle.restart(machine, _signal(request.query_params.get("signal")), None if not timeout else duration_s(timeout, 5))
    return {"ok": True}


async def send_signal(vendor: FlyVendor, request: Request) -> Any:
    """Send a signal to the process."""
    _, machine = may_change(vendor, request)
    chosen = _signal((await body_of(request)).get("signal"))
    if chosen is None:
        raise Refusal(400, "invalid signal: ")
    if machine.running is None:
        raise Refusal(412, f"failed_precondition: unable to signal machine from current state: '{machine.state}'")
    machine.running.send(chosen)
    return {"ok": True}


async def cordon(vendor: FlyVendor, request: Request) -> Any:
    """Take a machine out of routing, or put it back."""
    _, machine = may_change(vendor, request)
    machine.cordoned = request.url.path.endswith("/cordon")
    vendor.lifecycle.touch(machine)
    return {"ok": True}


async def wait(vendor: FlyVendor, request: Request) -> Any:
    """Wait for a state, at most 60 s of real time."""
    _, machine = machine_of(vendor, request)
    query = request.query_params
    wanted = {state for text in query.getlist("state") for state in text.split(",") if state} or {"started"}
    unknown = wanted - {*PERSISTENT, "destroyed", "settled"}
    if unknown:
        raise Refusal(400, f"invalid state: {', '.join(sorted(unknown))}")
    version = query.get("version") or query.get("instance_id")
    seconds = number(request, "timeout", 60, 1, 60)
    try:
        async with asyncio.timeout(seconds):
            while not _reached(machine, wanted, version, query.get("from_event_id")):
                await machine.changed.wait()
    except TimeoutError:
        text = f"deadline_exceeded: machine failed to reach desired state, {', '.join(sorted(wanted))}, currently {machine.state}"
        raise Refusal(408, text) from None
    event_id = machine.events[0].id if machine.events else ""
    return {"ok": True, "event_id": event_id, "state": machine.state, "version": machine.version}


def _reached(machine: Machine, wanted: set[str], version: str | None, after: str | None) -> bool:
    if version and machine.version != version:
        return False
    # An event that came after the named one: ULIDs sort by time.
    if after and not (machine.events and machine.events[0].id > after):
        return False
    if "settled" in wanted and machine.state in PERSISTENT | {"destroyed"} and machine.timer_is_idle:
        return True
    return machine.state in wanted


async def run_command(vendor: FlyVendor, request: Request) -> Any:
    """Run a command in the machine's folder and with its variables; answers 200 whatever the exit code."""
    _, machine = may_change(vendor, request)
    body = await body_of(request)
    command = body.get("command") or ["/bin/sh", "-c", body.get("cmd") or ""]
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise Refusal(400, "json: cannot unmarshal value into Go struct field MachineExecRequest.command of type array")
    if machine.running is None or machine.state != "started":
        raise Refusal(412, f"failed_precondition: unable to exec in machine from current state: '{machine.state}'")
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=vendor.runtime.machine_path(machine.id),
            env=_environment(machine),
            start_new_session=True,
        )
    except OSError as error:
        return {"exit_code": 127, "exit_signal": 0, "stdout": "", "stderr": str(error)}
    limit = duration_s(body.get("timeout"), _EXEC_S)
    try:
        async with asyncio.timeout(limit):
            out, err = await process.communicate((body.get("stdin") or "").encode())
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise Refusal(408, "deadline_exceeded: exec request timed out") from None
    code = process.returncode or 0
    return {
        "exit_code": max(code, 0) if code >= 0 else 128 - code,
        "exit_signal": -code if code < 0 else 0,
        "stdout": out[:_MAX_OUTPUT].decode("utf-8", "replace"),
        "stderr": err[:_MAX_OUTPUT].decode("utf-8", "replace"),
    }


def _environment(machine: Machine) -> dict[str, str]:
    assert machine.running is not None
    try:
        return psutil.Process(machine.running.process.pid).environ()
    except psutil.Error:
        return {"PATH": os.environ.get("PATH", "")}


async def processes(vendor: FlyVendor, request: Request) -> Any:
    """The machine's process and its children."""
    _, machine = machine_of(vendor, request)
    if machine.running is None:
        raise Refusal(412, f"failed_precondition: machine is not running, currently {machine.state}")
    found = []
    try:
        leader = psutil.Process(machine.running.process.pid)
        for process in [leader, *leader.children(recursive=True)]:
            times = process.cpu_times()
            found.append(
                {
                    "pid": process.pid,
                    "command": " ".join(process.cmdline()),
                    "directory": process.cwd(),
                    "rss": process.memory_info().rss,
                    "stime": int(times.system),
                    "rtime": int(times.user),
                    "cpu": 0,
                    "listen_sockets": [{"proto": "tcp", "address": f"127.0.0.1:{machine.running.port}"}] if process is leader else [],
                }
            )
    except psutil.Error:
        return found
    return found


_ONE = "/apps/{app}/machines/{id}/"
ROUTES = [
    route(_ONE + "start", "POST", "machine_start", start),
    route(_ONE + "stop", "POST", "machine_stop", stop),
    route(_ONE + "suspend", "POST", "machine_suspend", suspend),
    route(_ONE + "restart", "POST", "machine_restart", restart),
    route(_ONE + "signal", "POST", "machine_signal", send_signal),
    route(_ONE + "cordon", "POST", "machine_cordon", cordon),
    route(_ONE + "uncordon", "POST", "machine_uncordon", cordon),
    route(_ONE + "wait", "GET", "machine_wait", wait),
    route(_ONE + "exec", "POST", "machine_exec", run_command),
    route(_ONE + "ps", "GET", "machine_ps", processes),
]
