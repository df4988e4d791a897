"""What a change of a tenant's file takes away from its people or its data, as far as two files tell.

Does: say it in sentences, before anything is written. Does not: know what runs or what a volume holds (kept.py, with the state, does),
or refuse: a tenant may lose its gate on purpose.
"""

from __future__ import annotations

from rowhouse.spec.kept import KeptVolume, unfollowed
from rowhouse.spec.model import Fleet, Instance, Tenant

__all__ = ["losses"]


def losses(fleet: Fleet, before: Tenant, after: Tenant) -> list[str]:
    """Sentences about one tenant, in the order of its instances; none when nothing is lost.

    Args: fleet: the one that holds `after`, for the places of its values.
    """
    volumes = {each.name: KeptVolume(each.region, each.volume_gb) for each in before.instances if each.host == _host(after, each)}
    problems = unfollowed(fleet, after, volumes)
    told: list[str] = []
    for instance in before.instances:
        told.extend(problem.message for problem in problems.get(instance.name, ()))
        told.extend(_of_instance(after, instance))
    if before.cell != after.cell:
        told.append(
            f"{after.id} would leave cell {before.cell} for {after.cell}: its machines and volumes stay with the old stack, and "
            "nothing moves them. Keep the cell unless nothing of the tenant was made yet."
        )
    lost = [member for member in before.members if member not in after.members]
    if lost:
        told.append(f"{_counted(lost)} will not pass the gate any more.")
    return told


def _host(tenant: Tenant, instance: Instance) -> str | None:
    """Where the tenant's instance of the same name runs."""
    return next((each.host for each in tenant.instances if each.name == instance.name), None)


def _of_instance(after: Tenant, instance: Instance) -> list[str]:
    now = next((each for each in after.instances if each.name == instance.name), None)
    if now is None:
        why = "its volume is protected, so that `rowhouse up` fails for it while the volume is there. Copy its data first"
        return [f"instance {instance.name} would go: its address {instance.hostname!r} ends, and {why}."]
    told = []
    if now.host != instance.host:
        told.append(f"instance {instance.name} would go from {instance.host} to {now.host}: a new machine with an empty volume.")
    if now.hostname != instance.hostname:
        told.append(
            f"instance {instance.name} would be at {now.hostname!r}: links to {instance.hostname!r} lead nowhere once this is applied."
        )
    return told


def _counted(members: list[str]) -> str:
    return ", ".join(members) if len(members) <= 3 else f"{', '.join(members[:3])} and {len(members) - 3} more members"
