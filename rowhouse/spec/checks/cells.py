"""Checks of each cell against the vendors' ceilings for one account or zone, and against the size at which an apply is still quick."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from rowhouse.spec.model import Fleet, Tenant
from rowhouse.spec.problem import Problem

__all__ = ["CEILINGS", "SOFT_RESOURCES", "Ceiling", "check_ceilings", "check_resources", "estimated_resources"]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many of something a vendor lets one account or zone hold."""

    what: str
    """In the plural, as a message says it."""
    most: int
    each: Literal["instance", "tenant"]
    """Of what a cell has one such thing."""

    def is_passed_by(self, count: int) -> bool:
        """Whether so many are more than the vendor allows."""
        return count > self.most

    def is_near(self, count: int) -> bool:
        """Whether so many are allowed, but more than four fifths of the most."""
        return not self.is_passed_by(count) and count * 5 > self.most * 4


# Cloudflare, 2026-08: for each account 500 Access applications and 500 reusable policies; for each zone 200 records where it is a free
# one made after 2024-09-01, 3,500 where it is paid.
_DNS: Final = Ceiling("DNS records", 3500, "instance")
_MAX_DNS_FREE: Final = 200
CEILINGS: Final = (Ceiling("Access applications", 500, "instance"), Ceiling("reusable Access policies", 500, "tenant"), _DNS)
"""What Cloudflare allows one cell."""

SOFT_RESOURCES: Final = 450  # design: an apply of one stack stays quick up to about here

# A tenant: component, customer, policy; subscription unless free. An instance: component, app, address, volume, machine, application,
# record, route.
_PER_CELL: Final = 12
_PER_TENANT: Final = 3
_PER_INSTANCE: Final = 8


def estimated_resources(tenant: Tenant) -> int:
    """About how many Pulumi resources a tenant is."""
    per_instance = _PER_INSTANCE + (1 if tenant.secrets else 0)
    return _PER_TENANT + (0 if tenant.plan.is_free else 1) + per_instance * len(tenant.instances)


def check_ceilings(fleet: Fleet) -> list[Problem]:
    """No cell needs more of something than one Cloudflare account or zone can hold; from four fifths on there is a warning."""
    problems: list[Problem] = []
    instances: Counter[str] = Counter()
    tenants: Counter[str] = Counter()
    for tenant in fleet.tenants:
        tenants[tenant.cell] += 1
        instances[tenant.cell] += len(tenant.instances)
    last = _last_of_cells(fleet)
    for cell in sorted(tenants):
        for ceiling in CEILINGS:
            what, most = ceiling.what, ceiling.most
            count = (instances if ceiling.each == "instance" else tenants)[cell]
            if ceiling.is_passed_by(count):
                problems.append(
                    _cell_problem(
                        fleet,
                        last[cell],
                        "cell.ceiling",
                        f"cell {cell!r} needs {count:,} {what}. Allowed by Cloudflare: {most:,}. "
                        "Give some tenants another `cell:` with its own account.",
                    )
                )
            elif ceiling.is_near(count):
                problems.append(
                    _cell_problem(
                        fleet,
                        last[cell],
                        "cell.ceiling",
                        f"cell {cell!r} needs {count:,} {what}, more than four fifths of the {most:,} that Cloudflare "
                        "allows. Plan another `cell:` for new tenants.",
                        "warning",
                    )
                )
        if instances[cell] > _MAX_DNS_FREE and not (_DNS.is_near(instances[cell]) or _DNS.is_passed_by(instances[cell])):
            problems.append(
                _cell_problem(
                    fleet,
                    last[cell],
                    "cell.ceiling",
                    f"cell {cell!r} needs {instances[cell]:,} DNS records. A free zone holds {_MAX_DNS_FREE}, a paid one "
                    f"{_DNS.most:,}. Make sure that its zone is a paid one.",
                    "warning",
                )
            )
    return problems


def check_resources(fleet: Fleet) -> list[Problem]:
    """A cell that has grown beyond the size at which an apply is quick is worth a warning."""
    total: Counter[str] = Counter()
    for tenant in fleet.tenants:
        total[tenant.cell] += estimated_resources(tenant)
    last = _last_of_cells(fleet)
    return [
        _cell_problem(
            fleet,
            last[cell],
            "cell.resources",
            f"cell {cell!r} has about {count + _PER_CELL:,} resources. Applies stay quick up to about {SOFT_RESOURCES}. "
            "Give new tenants another `cell:`.",
            "warning",
        )
        for cell, count in sorted(total.items())
        if count + _PER_CELL > SOFT_RESOURCES
    ]


def _last_of_cells(fleet: Fleet) -> dict[str, Tenant]:
    """The last tenant of each cell by id: the one that a person would move."""
    return {tenant.cell: tenant for tenant in fleet.tenants}


def _cell_problem(fleet: Fleet, last: Tenant, rule: str, message: str, severity: str = "error") -> Problem:
    """A problem of a whole cell, placed at the last of its tenants."""
    return Problem(*fleet.locate("tenants", last.id, ("cell",)), rule, message, "warning" if severity == "warning" else "error")
