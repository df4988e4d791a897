"""Checks of each cell against the vendors' ceilings for one account or zone, and against the size at which an apply is still quick."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rowhouse.spec.model import Fleet, Tenant
from rowhouse.spec.problem import Problem

__all__ = ["SOFT_RESOURCES", "check_ceilings", "check_resources", "estimated_resources"]

# Cloudflare, 2026-08: for each account 500 Access applications and 500 reusable policies; for each zone 200 records where it is a free
# one made
# after 2024-09-01, 3,500 where it is paid.
_MAX_ACCESS_APPS: Final = 500
_MAX_ACCESS_POLICIES: Final = 500
_MAX_DNS_FREE: Final = 200
_MAX_DNS_PAID: Final = 3500

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
    for cell in sorted(tenants):
        for what, count, most in (
            ("Access applications", instances[cell], _MAX_ACCESS_APPS),
            ("reusable Access policies", tenants[cell], _MAX_ACCESS_POLICIES),
            ("DNS records", instances[cell], _MAX_DNS_PAID),
        ):
            if count > most:
                problems.append(
                    _cell_problem(
                        fleet,
                        cell,
                        "cell.ceiling",
                        f"cell {cell!r} needs {count:,} {what}. Allowed by Cloudflare: {most:,}. "
                        "Give some tenants another `cell:` with its own account.",
                    )
                )
            elif count * 5 > most * 4:
                problems.append(
                    _cell_problem(
                        fleet,
                        cell,
                        "cell.ceiling",
                        f"cell {cell!r} needs {count:,} {what}, more than four fifths of the {most:,} that Cloudflare "
                        "allows. Plan another `cell:` for new tenants.",
                        "warning",
                    )
                )
        if _MAX_DNS_FREE < instances[cell] <= _MAX_DNS_PAID * 4 // 5:
            problems.append(
                _cell_problem(
                    fleet,
                    cell,
                    "cell.ceiling",
                    f"cell {cell!r} needs {instances[cell]:,} DNS records. A free zone holds {_MAX_DNS_FREE}, a paid one "
                    f"{_MAX_DNS_PAID:,}. Make sure that its zone is a paid one.",
                    "warning",
                )
            )
    return problems


def check_resources(fleet: Fleet) -> list[Problem]:
    """A cell that has grown beyond the size at which an apply is quick is worth a warning."""
    total: Counter[str] = Counter()
    for tenant in fleet.tenants:
        total[tenant.cell] += estimated_resources(tenant)
    return [
        _cell_problem(
            fleet,
            cell,
            "cell.resources",
            f"cell {cell!r} has about {count + _PER_CELL:,} resources. Applies stay quick up to about {SOFT_RESOURCES}. "
            "Give new tenants another `cell:`.",
            "warning",
        )
        for cell, count in sorted(total.items())
        if count + _PER_CELL > SOFT_RESOURCES
    ]


def _cell_problem(fleet: Fleet, cell: str, rule: str, message: str, severity: str = "error") -> Problem:
    """A problem of a whole cell, placed at the last of its tenants by id: the one that a person would move."""
    last = fleet.in_cell(cell)[-1]
    return Problem(*fleet.locate("tenants", last.id, ("cell",)), rule, message, "warning" if severity == "warning" else "error")
