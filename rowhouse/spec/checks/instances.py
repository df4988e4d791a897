"""Checks of each instance against what its plan allows and what its host sells."""

from __future__ import annotations

from collections.abc import Iterator

from rowhouse.spec.hosts import MAX_SUSPEND_MEMORY_MB, why_not_region, why_not_size, why_not_volume
from rowhouse.spec.model import Fleet, Instance, Tenant
from rowhouse.spec.problem import Problem

__all__ = ["check_instance_counts", "check_regions", "check_sizes", "check_suspend", "check_volumes"]


def _each(fleet: Fleet) -> Iterator[tuple[Tenant, Instance]]:
    return ((tenant, instance) for tenant in fleet.tenants for instance in tenant.instances)


def _at(fleet: Fleet, tenant: Tenant, instance: Instance, key: str, rule: str, message: str) -> Problem:
    return Problem(*fleet.locate("tenants", tenant.id, ("instances", instance.name, key)), rule, f"instance {instance.name}: {message}")


def check_instance_counts(fleet: Fleet) -> list[Problem]:
    """At least one instance and no more than the plan allows."""
    problems: list[Problem] = []
    for tenant in fleet.tenants:
        count, most = len(tenant.instances), tenant.plan.limits.instances
        if not count:
            problems.append(
                Problem(
                    *fleet.locate("tenants", tenant.id, ("instances",)),
                    "tenant.instances",
                    "there is no instance here. A tenant has at least one. Delete the key to get `main`, "
                    "or write `state: suspended` to stop everything.",
                )
            )
        elif most is not None and count > most:
            names = ", ".join(instance.name for instance in tenant.instances)
            problems.append(
                Problem(
                    *fleet.locate("tenants", tenant.id, ("instances",)),
                    "tenant.instances",
                    f"{count} instances ({names}) are more than plan {tenant.plan.ref} allows. Allowed: {most}. "
                    "Delete one (its data goes with a purge only) or choose a larger plan.",
                )
            )
    return problems


def check_regions(fleet: Fleet) -> list[Problem]:
    """Each instance's region is one of its host's."""
    found = ((tenant, instance, why_not_region(instance.host, instance.region)) for tenant, instance in _each(fleet))
    return [_at(fleet, tenant, instance, "region", "instance.region", why) for tenant, instance, why in found if why]


def check_sizes(fleet: Fleet) -> list[Problem]:
    """Each instance's processors and memory are sold by its host and allowed by its plan."""
    problems: list[Problem] = []
    for tenant, instance in _each(fleet):
        why = why_not_size(instance.host, instance.cpu_kind, instance.cpus, instance.memory_mb)
        if why:
            problems.append(_at(fleet, tenant, instance, "memory_mb", "instance.size", why))
        limits = tenant.plan.limits
        if instance.memory_mb > limits.memory_mb:
            problems.append(
                _at(
                    fleet,
                    tenant,
                    instance,
                    "memory_mb",
                    "instance.size",
                    f"{instance.memory_mb} MB of memory is more than plan {tenant.plan.ref} "
                    f"allows. Allowed: {limits.memory_mb} MB. Make it smaller or choose a larger plan.",
                )
            )
        if instance.cpus > limits.cpus:
            problems.append(
                _at(
                    fleet,
                    tenant,
                    instance,
                    "cpus",
                    "instance.size",
                    f"{instance.cpus} processors are more than plan {tenant.plan.ref} allows. "
                    f"Allowed: {limits.cpus}. Use fewer or choose a larger plan.",
                )
            )
        if instance.cpu_kind != tenant.plan.size.cpu_kind and instance.cpu_kind == "performance":
            problems.append(
                _at(
                    fleet,
                    tenant,
                    instance,
                    "cpu_kind",
                    "instance.size",
                    f"performance processors are not part of plan {tenant.plan.ref}. "
                    f"Allowed: {tenant.plan.size.cpu_kind}. Delete the key or choose a larger plan.",
                )
            )
    return problems


def check_volumes(fleet: Fleet) -> list[Problem]:
    """Each instance's volume fits its host and its plan."""
    problems: list[Problem] = []
    for tenant, instance in _each(fleet):
        why = why_not_volume(instance.host, instance.volume_gb)
        if why:
            problems.append(_at(fleet, tenant, instance, "volume_gb", "instance.volume", why))
        most = tenant.plan.limits.volume_gb
        if instance.volume_gb > most:
            problems.append(
                _at(
                    fleet,
                    tenant,
                    instance,
                    "volume_gb",
                    "instance.volume",
                    f"{instance.volume_gb} GB is a larger volume than plan {tenant.plan.ref} "
                    f"allows. Allowed: 1 to {most} GB. Make it smaller or choose a larger plan.",
                )
            )
    return problems


def check_suspend(fleet: Fleet) -> list[Problem]:
    """An instance on Fly that suspends when idle is small enough to be suspended."""
    return [
        _at(
            fleet,
            tenant,
            instance,
            "memory_mb",
            "instance.suspend",
            f"{instance.memory_mb} MB of memory cannot be suspended when idle, as plan {tenant.plan.ref} "
            f"wants. Allowed on Fly: up to {MAX_SUSPEND_MEMORY_MB} MB. Use less memory, or `autostop: stop` in the plan.",
        )
        for tenant, instance in _each(fleet)
        if instance.host == "fly" and tenant.plan.lifecycle.autostop == "suspend" and instance.memory_mb > MAX_SUSPEND_MEMORY_MB
    ]
