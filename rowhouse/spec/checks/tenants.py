"""Checks of what a tenant says about itself: state, members, variables, id."""

from __future__ import annotations

from typing import Final

from rowhouse.spec.marks import EDGE
from rowhouse.spec.model import Fleet
from rowhouse.spec.problem import Problem
from rowhouse.spec.slug import lookalike_skeleton, show

__all__ = ["MAX_MEMBERS", "check_lookalike_ids", "check_members", "check_name_clashes", "check_reserved_ids", "check_states"]

MAX_MEMBERS: Final = 1000  # Cloudflare Access: 1,000 e-mail addresses a rule (2026-08)

# Whoever can open a mailbox there would pass the gate.
_PUBLIC_MAIL: Final = frozenset(
    {
        "aol.com",
        "fastmail.com",
        "gmail.com",
        "gmx.de",
        "gmx.net",
        "googlemail.com",
        "hotmail.com",
        "hotmail.de",
        "icloud.com",
        "live.com",
        "mail.com",
        "mail.ru",
        "me.com",
        "msn.com",
        "outlook.com",
        "outlook.de",
        "pm.me",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "163.com",
        "t-online.de",
        "web.de",
        "yahoo.com",
        "yahoo.de",
        "yandex.com",
        "yandex.ru",
        "ymail.com",
        "zoho.com",
    }
)


# In marks and names these stand where a tenant's id stands.
_RESERVED_IDS: Final = frozenset({"catalog", EDGE, "rowhouse"})


def check_reserved_ids(fleet: Fleet) -> list[Problem]:
    """No tenant is called like the things that all tenants share, or its things would carry their mark."""
    return [
        Problem(
            *fleet.locate("tenants", tenant.id, ()),
            "tenant.reserved",
            f"the id {tenant.id!r} is the name of something that all tenants share. Not allowed: "
            f"{', '.join(sorted(_RESERVED_IDS))}. Rename the file.",
        )
        for tenant in fleet.tenants
        if tenant.id in _RESERVED_IDS
    ]


def check_states(fleet: Fleet) -> list[Problem]:
    """No tenant is purged before a verified backup of its data can exist."""
    return [
        Problem(
            *fleet.locate("tenants", tenant.id, ("state",)),
            "tenant.purge",
            f"state 'purge' would delete {tenant.id}'s volume for good, and there is no verified backup of it: this version makes "
            f"no backups yet. "
            f"Allowed: active, suspended, offboarding. Write `state: offboarding`: the gate is closed, the machine stopped, and "
            f"the data kept (this "
            f"plan promises {tenant.plan.lifecycle.grace_days} days) until a backup is verified.",
        )
        for tenant in fleet.tenants
        if tenant.state == "purge"
    ]


def check_members(fleet: Fleet) -> list[Problem]:
    """Somebody passes each gate, not too many for one rule, and not everybody with a free mailbox."""
    return [
        # Places cost a second reading of the file: they are asked for only where there is a problem.
        Problem(*fleet.locate("tenants", tenant.id, ("members",)), "tenant.members", fault)
        for tenant in fleet.tenants
        for fault in _member_faults(tenant.members)
    ]


def _member_faults(members: tuple[str, ...]) -> list[str]:
    """What is wrong with one tenant's members."""
    faults: list[str] = []
    if not members:
        faults.append(
            "the list of members is empty, so nobody passes the gate. Allowed: one member or more. "
            "Delete the key to let the owner in, or write `state: suspended` to close the gate."
        )
    if len(members) > MAX_MEMBERS:
        faults.append(
            f"{len(members):,} members are more than one Access rule holds. Allowed: {MAX_MEMBERS:,}. "
            "Name a domain (`@acme.example`) instead of its people."
        )
    faults.extend(
        f"{show(member)} is a public mail provider: anyone with a mailbox there would pass the gate. "
        "Allowed: domains that belong to the tenant. List the people's addresses instead."
        for member in members
        if member.startswith("@") and member[1:] in _PUBLIC_MAIL
    )
    return faults


def check_name_clashes(fleet: Fleet) -> list[Problem]:
    """A variable has one source."""
    return [
        Problem(
            *fleet.locate("tenants", tenant.id, ("secrets", name)),
            "tenant.name-clash",
            f"{name} is in env and in secrets (of the tenant, its plan or its app). A variable has one source. Delete one of them.",
        )
        for tenant in fleet.tenants
        for name in tenant.secrets
        if name in tenant.env
    ]


def check_lookalike_ids(fleet: Fleet) -> list[Problem]:
    """Two ids that a hurried reader takes for one are worth a warning: invoices and commands name tenants by them."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for tenant in fleet.tenants:
        first = seen.setdefault(lookalike_skeleton(tenant.id), tenant.id)
        if first != tenant.id:
            problems.append(
                Problem(
                    *fleet.locate("tenants", tenant.id, ()),
                    "tenant.lookalike",
                    f"ids {tenant.id!r} and {first!r} read alike. Ids are for ever and stand on invoices. Choose a clearer one "
                    f"before the first apply.",
                    "warning",
                )
            )
    return problems
