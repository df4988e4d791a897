"""A new image in waves: each applied, looked at, and the next only when it is well.

Does: find whose image changes from the files and the state, hold back those whose wave has not come, ask the host whether machines are
healthy. Does not: take an image back: what is unhealthy stays as it is for a person to look at, and everybody else keeps the old image.
A machine that does not run when it is updated takes the image when it wakes; nothing is proven by it, and it is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from rowhouse.cli.status import tenants_in
from rowhouse.review.changes import Failed, Outcome, tenant_of
from rowhouse.spec import Fleet
from rowhouse.spec.guardrails import Rollout
from rowhouse.spec.waves import waves_of
from rowhouse.vendors.fly_events import exit_of, how_ended
from rowhouse.vendors.http import VendorError

__all__ = ["NewImages", "Unwell", "new_images", "roll_out", "unwell_in", "why_unwell"]

_MACHINE: Final = "rowhouse:fly:Machine"
_TENANT: Final = "rowhouse:index:Tenant"
_RUNNING: Final = frozenset({"started", "starting", "restarting", "replacing", "updating"})
_AT_ONCE: Final = 16
_SAMPLE: Final = 20
_WAITS: Final = "waits for its wave of the rollout"


class Machines(Protocol):
    """Where machines are asked for."""

    async def get_machine(self, app: str, machine: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class NewImages:
    """Who gets a new image."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Tenant to the image."""
    asleep: frozenset[str] = frozenset()
    """Of those, whose file says that nothing of them runs."""
    ahead: tuple[str, ...] = ()
    """Tenants that run one of these images already."""


@dataclass(frozen=True, slots=True)
class Unwell:
    """One machine that is not as it should be."""

    tenant: str
    instance: str
    why: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.instance}: {self.why}"


def new_images(fleet: Fleet, stack: str, state: Mapping[str, Any]) -> NewImages:
    """Whose machines run another image than the files say, by the stack's state before the run."""
    runs: dict[str, set[str]] = {}
    resources = (state.get("deployment") or {}).get("resources") or []
    parents = {resource["urn"]: str(resource.get("parent") or "") for resource in resources}
    for resource in resources:
        if resource.get("type") == _MACHINE and not resource.get("delete") and (tenant := tenant_of(resource["urn"], parents)):
            runs.setdefault(tenant, set()).add(str((resource.get("inputs") or {}).get("image") or ""))
    here = {tenant.id: tenant for tenant in fleet.in_cell(stack)}
    images = {slug: here[slug].app.image for slug, found in runs.items() if slug in here and found != {here[slug].app.image}}
    wanted = set(images.values())
    ahead = [slug for slug, found in sorted(runs.items()) if slug not in images and found <= wanted and slug in here]
    return NewImages(images, frozenset(slug for slug in images if not here[slug].is_active), tuple(ahead[:_SAMPLE]))


Apply = Callable[[Mapping[str, str]], Awaitable[Outcome]]
"""Apply everything but what is held: URN to the reason."""


async def roll_out(
    found: NewImages,
    rollout: Rollout,
    apply: Apply,
    export: Callable[[], Awaitable[Mapping[str, Any]]],
    machines: Machines,
    held: Mapping[str, str],
    tenant_urn: Callable[[str], str],
    tell: Callable[[str], None],
) -> Outcome:
    """Apply wave after wave. What is not of the rollout is applied with the first one.

    Args: held: URNs that stay as they are whatever their wave. tenant_urn: from a tenant to the URN of its component.
    Returns: all waves' changes; of a halt also a failure for each tenant that keeps the old image.
    """
    waves = waves_of(found.images, found.asleep, rollout)
    whole = Outcome()
    waiting = [tenant for wave in waves for tenant in wave]
    sick = await unwell_in(found.ahead, await export(), machines, 0) if found.ahead else []
    for number, wave in enumerate(waves, 1):
        if sick:
            break
        waiting = [tenant for tenant in waiting if tenant not in wave]
        tell(f"wave {number} of {len(waves)}: {_named(wave)}")
        later = {tenant_urn(tenant): _WAITS for tenant in waiting}
        outcome = await apply({**later, **held})
        _take(whole, outcome, set(waiting))
        if outcome.declined or any(not failure.urn for failure in outcome.failures):
            return whole
        lost = {tenant_of(failure.urn, whole.parents) for failure in outcome.failures} & set(wave)
        if waiting:
            sick = [Unwell(tenant, "all", "its change failed") for tenant in sorted(lost - _held(held))]
            sick += await unwell_in([tenant for tenant in wave if tenant not in lost], await export(), machines, rollout.health_seconds)
    if sick:
        why = f"the rollout halted: {_named([str(one) for one in sick])}"
        tell(why)
        stays = f"keeps its image: {why}. Mend it or take the image back, then run again."
        whole.failures += [Failed(tenant_urn(tenant), stays) for tenant in waiting]
        if not waves or not whole.changes:
            whole.parents |= {tenant_urn(tenant): "" for tenant in waiting}
    return whole


async def unwell_in(tenants: Any, state: Mapping[str, Any], machines: Machines, seconds: float) -> list[Unwell]:
    """The machines of these tenants that are not healthy after so many seconds; those that do not run are not asked to be.

    They are not looked at before: an image that comes up and then falls over is what a rollout is to find.
    """
    known = tenants_in(state)
    asked = [(tenant, name, one) for tenant in tenants if tenant in known for name, one in known[tenant]["instances"].items()]
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(tenant: str, name: str, instance: Mapping[str, Any]) -> Unwell | None:
        async with turns:
            why = await _why_unwell(machines, instance)
        return Unwell(tenant, name, why) if why else None

    await asyncio.sleep(seconds)
    found = await asyncio.gather(*(look(*one) for one in asked))
    return [one for one in found if one is not None]


async def _why_unwell(machines: Machines, instance: Mapping[str, Any]) -> str:
    try:
        return why_unwell(await machines.get_machine(str(instance.get("app")), str(instance.get("machine"))))
    except VendorError as error:
        return f"its host cannot say how it is ({error.status or 'no answer'})"


def why_unwell(machine: Mapping[str, Any] | None) -> str:
    """What speaks against one machine as its host tells of it; empty when nothing does.

    One that sleeps is as it should be, but not one that lies down because its process failed until the host gave up.
    """
    if machine is None:
        return "it is gone"
    state = machine["state"]
    if state in {"stopped", "suspended"}:
        return _why_ended(machine.get("events") or ())
    if state not in _RUNNING:
        return f"it is {state}"
    bad = [check.get("name", "a check") for check in machine.get("checks") or [] if check.get("status") != "passing"]
    if bad:
        return f"{', '.join(map(str, bad))} does not pass"
    return "" if state == "started" else f"it is {state}"


def _why_ended(events: Iterable[Mapping[str, Any]]) -> str:
    """How the process failed that ran last since the machine was made or updated; empty where none did. The newest event is the first."""
    for event in events:
        if event.get("type") in {"update", "launch"}:
            return ""
        if ended := exit_of(event):
            failed = ended.get("exit_code") or ended.get("oom_killed")
            return f"its process {how_ended(ended)}, and the host gave up" if failed and not ended.get("requested_stop") else ""
    return ""


def _take(whole: Outcome, outcome: Outcome, waiting: set[str]) -> None:
    """Add one wave's outcome; that tenants wait for theirs is no failure."""
    whole.changes += outcome.changes
    whole.parents |= outcome.parents
    whole.violations = outcome.violations
    whole.seconds += outcome.seconds
    whole.unchanged = outcome.unchanged
    whole.declined = outcome.declined
    whole.outputs = outcome.outputs
    told = {(failure.urn, failure.message) for failure in whole.failures}
    for failure in outcome.failures:
        its = tenant_of(failure.urn, outcome.parents) if failure.urn else ""
        if its not in waiting and (failure.urn, failure.message) not in told:
            whole.failures.append(replace(failure))


def _held(held: Mapping[str, str]) -> set[str]:
    return {urn.rsplit("::", 1)[-1] for urn in held}


def _named(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
