"""What files say about each other: one function a subject, `check_x(fleet) -> list[Problem]`, all of them over the whole fleet before
anything is built.

A check is pure and takes any fleet, from files or from a test's builders; places come from `fleet.locate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rowhouse.spec.checks.cells import check_ceilings, check_resources
from rowhouse.spec.checks.hostnames import check_hostnames, check_reserved_hostnames, check_zone
from rowhouse.spec.checks.instances import check_instance_counts, check_regions, check_sizes, check_suspend, check_volumes
from rowhouse.spec.checks.plans import check_counters, check_meters, check_packs, check_plan_sizes
from rowhouse.spec.checks.secrets import check_plain_secrets
from rowhouse.spec.checks.tenants import check_lookalike_ids, check_members, check_name_clashes, check_reserved_ids, check_states
from rowhouse.spec.model import Fleet
from rowhouse.spec.problem import Problem

__all__ = [
    "ALL_CHECKS",
    "check_ceilings",
    "check_counters",
    "check_hostnames",
    "check_instance_counts",
    "check_lookalike_ids",
    "check_members",
    "check_meters",
    "check_name_clashes",
    "check_packs",
    "check_plain_secrets",
    "check_plan_sizes",
    "check_regions",
    "check_reserved_hostnames",
    "check_reserved_ids",
    "check_resources",
    "check_sizes",
    "check_states",
    "check_suspend",
    "check_volumes",
    "check_zone",
]

ALL_CHECKS: Final[tuple[Callable[[Fleet], list[Problem]], ...]] = (
    check_meters,
    check_packs,
    check_counters,
    check_plan_sizes,
    check_plain_secrets,
    check_name_clashes,
    check_members,
    check_reserved_ids,
    check_states,
    check_lookalike_ids,
    check_instance_counts,
    check_regions,
    check_sizes,
    check_volumes,
    check_suspend,
    check_hostnames,
    check_reserved_hostnames,
    check_ceilings,
    check_resources,
)
"""Those that load_fleet runs; check_zone needs a zone and is run by the program of a stack."""
