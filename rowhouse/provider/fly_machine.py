"""Fly machines: the running part of an instance. Disposable; the data is on the volume.

Does: create or adopt by name, update under a lease, keep the run state that it had, wait for health. Does not: touch volumes.
A machine that went to sleep by itself stays asleep through an update, because waking it would be billed to its tenant.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.fly_app import Newborn, app_name
from rowhouse.provider.machine_runner import ASLEEP, GONE, Runner, no_room
from rowhouse.provider.machine_shape import checks_in, configuration, covers, metadata_only, observed_inputs, overlay
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import CheckFailure, Context, Diff, Found, InitFailed, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props
from rowhouse.wire.values import has_unknown

__all__ = ["Machine"]

_PATIENCE_S: Final = 120.0
_CLAIMED_ID: Final = re.compile(r"machine ID ([0-9a-z]+) already exists")
_CPUS: Final = {"shared": (1, 2, 4, 6, 8), "performance": (1, 2, 4, 6, 8, 10, 12, 14, 16)}  # Fly's guests (2026-08)
_MEMORY_STEP_MB: Final = 256
_MEMORY_PER_CPU_MB: Final = {"shared": (256, 2048), "performance": (2048, 8192)}


def _texts(values: Props) -> str | None:
    wrong = sorted(key for key, value in values.items() if not isinstance(value, str))
    return f"{', '.join(wrong)}: values must be text. Put quotes around them." if wrong else None


def _one_of(*allowed: str) -> Any:
    return lambda value: None if value in allowed else f"'{value}' is not allowed. Allowed: {', '.join(allowed)}."


class Machine(Declared):
    """A Fly machine that runs an image."""

    kind: ClassVar = "rowhouse:fly:Machine"
    fields: ClassVar = {
        "app": Field("string", required=True, change="replace", source="the rowhouse:fly:App", rule=app_name),
        "name": Field("string", required=True, change="replace"),
        "region": Field("string", required=True, change="replace"),
        "image": Field("string", required=True),
        "env": Field("object", default={}, rule=_texts),
        "cpuKind": Field("string", default="shared", rule=_one_of("shared", "performance")),
        "cpus": Field("integer", required=True),
        "memoryMb": Field("integer", required=True),
        "volume": Field("string", change="replace", source="the rowhouse:fly:Volume"),
        "mountPath": Field("string"),
        "services": Field("array"),
        "checks": Field("object"),
        "restart": Field("object", default={"policy": "on-failure", "max_retries": 10}),  # Fly's own default (2026-08)
        "metadata": Field("object", default={}, rule=_texts),
        "autostop": Field("string", rule=_one_of("off", "stop", "suspend")),
        "autostart": Field("boolean"),
        "running": Field("boolean", default=True),
        "minSecretsVersion": Field("integer", source="the rowhouse:fly:Secrets"),
    }
    computed: ClassVar = {
        "machineId": Computed(),
        "privateIp": Computed(),
        "instanceId": Computed(stable=False),
        "ready": Computed("boolean", stable=False),
        "imported": Computed("boolean", stable=False),
    }
    delete_before_replace: ClassVar = True  # its name exists once in the app, and a volume has one machine

    def __init__(self, clients: Clients, newborn: Newborn) -> None:
        self._clients = clients
        self._newborn = newborn

    def rules(self, olds: Props, news: Props) -> list[CheckFailure]:
        """Sizes that Fly has, and a mount that is whole."""
        del olds
        failures: list[CheckFailure] = []
        if news.get("mountPath") is not None and news.get("volume") is None:
            text = "'volume' has no value though mountPath is set: the rowhouse:fly:Volume failed in this run; mend that one first."
            failures.append(CheckFailure("volume", text))
        if news.get("volume") is not None and news.get("mountPath") is None:
            failures.append(
                CheckFailure("mountPath", "'mountPath' says where the volume is mounted, e.g. /data. It is required with a volume.")
            )
        if not has_unknown([news["cpuKind"], news["cpus"], news["memoryMb"]]):
            failures += _size(news["cpuKind"], news["cpus"], news["memoryMb"])
        if news.get("autostop") in {"stop", "suspend"} and news.get("autostart") is False and news["running"] is True:
            text = "a machine that stops by itself and is never started by a request is gone for good: set 'autostart', or autostop 'off'."
            failures.append(CheckFailure("autostart", text))
        return failures

    async def diff(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Diff:  # noqa: A002
        """As the table says; but Fly does not tell which secrets an imported machine has read, so naming their version is no difference."""
        diff = await super().diff(ctx, id, old_inputs, old_outputs, news)
        if old_outputs.get("imported") is True and old_inputs.get("minSecretsVersion") is None:
            return Diff({path: kind for path, kind in diff.paths.items() if path != "minSecretsVersion"}, diff.delete_before_replace)
        return diff

    # -- create ------------------------------------------------------------------------------------

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """POST, or adopt the machine that already has the name; then wait until it is healthy (or stopped, as wished)."""
        app, fly = inputs["app"], self._clients.fly
        run = bool(inputs["running"])
        body: dict[str, Any] = {"name": inputs["name"], "region": inputs["region"], "config": configuration(inputs)}
        if not run:
            body["skip_launch"] = True
        if inputs.get("minSecretsVersion"):
            body["min_secrets_version"] = inputs["minSecretsVersion"]
        runner = Runner(fly, ctx, app, "", ctx.patience(_PATIENCE_S))
        try:
            made = await runner.patiently(lambda: fly.create_machine(app, body))
        except VendorError as error:
            taken = _CLAIMED_ID.search(error.message)
            if taken:
                return await self._adopt(ctx, inputs, taken.group(1))
            if no_room(error):
                raise Refused(
                    f"{error}. Fly has no room for {ctx.name} in region '{inputs['region']}': try again later, or choose another."
                ) from error
            raise
        runner.machine = made["id"]
        machine_id = f"{app}/{made['id']}"
        ctx.keep(machine_id, self.outputs(inputs, _computed(made, ready=False)))
        try:
            if run:
                await runner.reach(("started",), version=_version(made))
                if checks_in(inputs):
                    made = await runner.healthy(checks_in(inputs))
            else:
                await runner.reach(("stopped",))
        except TimeoutError as error:
            raise InitFailed(machine_id, self.outputs(inputs, _computed(made, ready=False)), [str(error)]) from error
        return machine_id, _computed(made, ready=True)

    async def _adopt(self, ctx: Context, inputs: Props, machine: str) -> tuple[str, Props]:
        found = await self._clients.fly.get_machine(inputs["app"], machine)
        if found is None or found.get("state") in GONE:
            raise Refused(f"the machine name '{inputs['name']}' is still held by {machine}, which is going away. Apply again in a minute.")
        theirs = ((found.get("config") or {}).get("metadata") or {}).get("managed-by")
        if theirs not in {None, (inputs.get("metadata") or {}).get("managed-by")}:
            raise Refused(
                f"the machine '{inputs['name']}' ({machine}) in app '{inputs['app']}' is managed by {theirs}. Choose another name."
            )
        if found.get("region") != inputs["region"]:
            raise Refused(
                f"the app '{inputs['app']}' has a machine '{inputs['name']}' ({machine}) in region '{found.get('region')}', not "
                f"'{inputs['region']}'. Remove it at Fly, or give {ctx.name} its region."
            )
        machine_id = f"{inputs['app']}/{machine}"
        ctx.keep(machine_id, self.outputs(inputs, _computed(found, ready=False)))
        return machine_id, await self._bring(ctx, machine_id, inputs, {}, wake=bool(inputs["running"]))

    # -- update ------------------------------------------------------------------------------------

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Lease, replace the configuration, restore the run state, wait for health."""
        first_start = old_outputs.get("ready") is False or (old_inputs.get("running") is False and news["running"])
        return await self._bring(ctx, id, news, old_inputs, wake=bool(news["running"] and first_start))

    async def _bring(self, ctx: Context, machine_id: str, news: Props, olds: Props, *, wake: bool) -> Props:
        """Make the machine as `news` says. `wake`: it must run in the end, even if it sleeps now."""
        app, _, machine = machine_id.partition("/")
        runner = Runner(self._clients.fly, ctx, app, machine, ctx.patience(_PATIENCE_S))
        # None left counts too: a machine keeps the secrets of its start until it is started anew.
        secrets_changed = news.get("minSecretsVersion") != olds.get("minSecretsVersion")
        wanted = configuration(news)
        try:
            async with runner.lease():
                found = await runner.settled()
                run = bool(news["running"]) and (wake or found["state"] not in ASLEEP)
                there = found.get("config")
                if there is None:
                    raise Refused(
                        f"the Fly machine {machine} of {ctx.name} is on a host that is not reachable ({found.get('host_status')}). "
                        "Nothing was changed; apply again when Fly has its host back."
                    )
                ctx.keep(machine_id, self.outputs(news, _computed(found, ready=False)))
                if secrets_changed or not covers(there, wanted):
                    found = await self._replace(runner, found, wanted, olds, news, run=run, secrets=secrets_changed)
                await self._run_state(runner, run=run, version=_version(found))
                found = await runner.settled()
                if run and checks_in(news):
                    found = await runner.healthy(checks_in(news))
        except TimeoutError as error:
            current = await self._clients.fly.get_machine(app, machine) or {"id": machine}
            raise InitFailed(machine_id, self.outputs(news, _computed(current, ready=False)), [str(error)]) from error
        except VendorError as error:
            if error.status == 404:
                raise Refused(f"the Fly machine {machine} of {ctx.name} is gone. Run `rowhouse refresh`, then apply again.") from error
            if no_room(error):
                raise Refused(f"{error}. Fly has no room for {ctx.name} as it is now: try again later, or ask for less.") from error
            raise
        return _computed(found, ready=True)

    async def _replace(self, runner: Runner, found: Props, wanted: Props, olds: Props, news: Props, *, run: bool, secrets: bool) -> Props:
        """Give Fly the new configuration; what changed under our hands is read again first."""
        fly, app, machine = self._clients.fly, runner.app, runner.machine
        dropped = set(olds.get("metadata") or {}) - set(wanted["metadata"])
        if not secrets and metadata_only(found["config"], wanted):
            await fly.patch_metadata(app, machine, {**dict.fromkeys(dropped, ""), **wanted["metadata"]}, runner.nonce)
            return found
        for attempt in range(5):
            body: dict[str, Any] = {
                "region": found["region"],
                "name": found["name"],
                "config": overlay(found["config"], wanted, dropped),
                "current_version": _version(found),
            }
            if not run:
                body["skip_launch"] = True
            if news.get("minSecretsVersion"):
                body["min_secrets_version"] = news["minSecretsVersion"]
            try:
                updated: Props = await fly.update_machine(app, machine, body, runner.nonce)
            except VendorError as error:
                again = error.ambiguous or (error.status in {409, 412} and not no_room(error))
                if attempt == 4 or not again:
                    raise
            else:
                return updated
            await runner.ctx.sleep(0.25 * 2**attempt)
            await runner.keep_lease()
            found = await runner.settled()
            if not secrets and covers(found["config"], wanted):
                return found  # it had its effect, only the answer was lost
        raise AssertionError

    async def _run_state(self, runner: Runner, *, run: bool, version: str) -> None:
        """An update starts a machine or leaves it stopped as Fly likes; this makes it what it should be."""
        state = await runner.reach(("started", "stopped", "suspended", "failed"), version=version)
        if run and state != "started":
            await runner.start()
            await runner.reach(("started",))
        elif not run and state == "started":
            await runner.stop()

    # -- read, delete ------------------------------------------------------------------------------

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By `app/machine id`, or on import also by `app/name`."""
        del ctx
        app, _, machine = id.partition("/")
        fly = self._clients.fly
        found = await fly.get_machine(app, machine)
        if found is None and not inputs:
            found = next((m for m in await fly.list_machines(app) or [] if m.get("name") == machine), None)
        if found is None or found.get("state") in GONE:
            return None
        if not found.get("config") and inputs:
            # Its host is away: what little Fly tells is not drift.
            return Found(id, inputs, self.outputs(inputs, {**outputs, **_computed(found, ready=outputs.get("ready") is not False)}))
        seen = observed_inputs(found, app, inputs)
        computed = _computed(found, ready=outputs.get("ready") is not False)
        if not inputs or outputs.get("imported"):
            computed["imported"] = True
        return Found(f"{app}/{found['id']}", seen, self.outputs(seen, computed))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Destroy it, running or not, and wait until its name and its volume are free."""
        del inputs, outputs
        app, _, machine = id.partition("/")
        runner = Runner(self._clients.fly, ctx, app, machine, ctx.patience(_PATIENCE_S))
        await runner.patiently(lambda: self._clients.fly.delete_machine(app, machine), extra_s=60)
        await runner.destroyed()


def _version(machine: Props) -> str:
    return str(machine.get("version") or machine.get("instance_id") or "")


def _computed(machine: Props, *, ready: bool) -> Props:
    found = {"machineId": machine.get("id"), "privateIp": machine.get("private_ip"), "instanceId": _version(machine) or None}
    return {**{name: value for name, value in found.items() if value is not None}, "ready": ready}


def _size(kind: str, cpus: int, memory_mb: int) -> list[CheckFailure]:
    if cpus not in _CPUS[kind]:
        return [CheckFailure("cpus", f"Fly has no {kind} machine with {cpus} CPUs. It has: {', '.join(map(str, _CPUS[kind]))}.")]
    low, high = (per * cpus for per in _MEMORY_PER_CPU_MB[kind])
    if not low <= memory_mb <= high or memory_mb % _MEMORY_STEP_MB:
        text = f"memoryMb is {memory_mb}; a {kind} machine with {cpus} CPUs has {low} to {high} MB, in steps of {_MEMORY_STEP_MB}."
        return [CheckFailure("memoryMb", text)]
    return []
