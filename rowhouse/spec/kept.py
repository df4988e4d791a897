"""What a change of the files asks of volumes that hold data already, and that they cannot do: a volume neither moves nor shrinks.

Does: compare the files with the volumes as the state records them, in the files' own words. Does not: judge new instances, or stop a run:
the tenant's other changes wait for its volumes (components/tenant.py), and nobody else's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rowhouse.spec.model import Fleet, Instance, Tenant
from rowhouse.spec.problem import Problem

__all__ = ["KeptVolume", "unfollowed"]


@dataclass(frozen=True, slots=True)
class KeptVolume:
    """A volume that exists."""

    region: str
    size_gb: int


def unfollowed(fleet: Fleet, tenant: Tenant, volumes: Mapping[str, KeptVolume]) -> dict[str, list[Problem]]:
    """By instance, why its volume (given by instance) cannot become what the tenant's file says; those that can are left out."""
    found: dict[str, list[Problem]] = {}
    for instance in tenant.instances:
        kept = volumes.get(instance.name)
        if kept is not None and kept.region != instance.region:
            found.setdefault(instance.name, []).append(_moved(fleet, tenant, instance, kept.region))
        if kept is not None and kept.size_gb > instance.volume_gb:
            found.setdefault(instance.name, []).append(_shrunk(fleet, tenant, instance, kept.size_gb))
    return found


def _moved(fleet: Fleet, tenant: Tenant, instance: Instance, region: str) -> Problem:
    where, by = _said(fleet, tenant, instance, "region")
    return Problem(
        *where,
        "instance.moved",
        f"instance {instance.name} would move from {region!r} to {instance.region!r}{by}, and a volume with data cannot move. "
        f"Write `{_written(instance, 'region', region)}` to stay where it is, or add a new instance in {instance.region!r} and copy "
        f"the data. Until then nothing of {tenant.id} changes.",
    )


def _shrunk(fleet: Fleet, tenant: Tenant, instance: Instance, size_gb: int) -> Problem:
    where, by = _said(fleet, tenant, instance, "volume_gb")
    most = tenant.plan.limits.volume_gb
    advice = f"Write `{_written(instance, 'volume_gb', size_gb)}`"
    if size_gb > most:
        advice = f"Plan {tenant.plan.ref} allows {most} GB: take one that allows {size_gb} GB"
    return Problem(
        *where,
        "instance.shrunk",
        f"instance {instance.name}'s volume would shrink from {size_gb} to {instance.volume_gb} GB{by}, and a volume only grows. "
        f"{advice}, or add a new instance with a smaller volume and copy the data. Until then nothing of {tenant.id} changes.",
    )


def _said(fleet: Fleet, tenant: Tenant, instance: Instance, key: str) -> tuple[tuple[str, int, int], str]:
    """Where the file says a value of an instance; for one that it leaves to its plan, the plan's place and a hint to it."""
    above = ("instances", instance.name)
    place = fleet.locate("tenants", tenant.id, (*above, key))
    if place == fleet.locate("tenants", tenant.id, (*above, "")):
        return fleet.locate("tenants", tenant.id, ("plan",)), f" with plan {tenant.plan.ref}"
    return place, ""


def _written(instance: Instance, key: str, value: object) -> str:
    return f"instances: {{{instance.name}: {{{key}: {value}}}}}"
