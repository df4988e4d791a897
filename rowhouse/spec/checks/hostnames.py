"""Checks of the names under which instances are reached: each its own, none that the operator needs, none too long."""

from __future__ import annotations

from typing import Final

from rowhouse.spec.model import Fleet
from rowhouse.spec.names import hostname_for
from rowhouse.spec.problem import Problem

__all__ = ["MAX_HOSTNAME_CHARS", "RESERVED_LABELS", "check_hostnames", "check_reserved_hostnames", "check_zone"]

MAX_HOSTNAME_CHARS: Final = 63  # Cloudflare Access: an application's address has at most 63 characters (2026-08)

RESERVED_LABELS: Final = frozenset(
    {
        "access",
        "account",
        "admin",
        "api",
        "app",
        "assets",
        "autoconfig",
        "autodiscover",
        "billing",
        "blog",
        "cdn",
        "cloudflare",
        "console",
        "dashboard",
        "dev",
        "docs",
        "edge",
        "ftp",
        "gateway",
        "help",
        "imap",
        "localhost",
        "login",
        "mail",
        "mta-sts",
        "ns",
        "ns1",
        "ns2",
        "pop",
        "pop3",
        "portal",
        "root",
        "rowhouse",
        "smtp",
        "sso",
        "status",
        "support",
        "test",
        "webmail",
        "wpad",
        "www",
    }
)


def _vendor_form(label: str) -> str:
    """A label as a vendor compares it: letters' case, trailing dots and doubled dashes do not make another name."""
    folded = label.casefold().rstrip(".")
    while "--" in folded:
        folded = folded.replace("--", "-")
    return folded


def check_hostnames(fleet: Fleet) -> list[Problem]:
    """No two instances of the fleet share a hostname, written or derived, as a vendor compares them."""
    problems: list[Problem] = []
    seen: dict[str, tuple[str, str]] = {}
    for tenant in fleet.tenants:
        for instance in tenant.instances:
            first = seen.setdefault(_vendor_form(instance.hostname), (tenant.id, instance.name))
            if first != (tenant.id, instance.name):
                problems.append(
                    Problem(
                        *fleet.locate("tenants", tenant.id, ("instances", instance.name, "hostname")),
                        "hostname.taken",
                        f"instance {instance.name}: hostname {instance.hostname!r} is also that of tenant {first[0]}, instance "
                        f"{first[1]}. Each "
                        "instance has its own (by default `<tenant>` for main, else `<tenant>-<instance>`). Write another "
                        "`hostname:` in one of them.",
                    )
                )
    return problems


def check_reserved_hostnames(fleet: Fleet) -> list[Problem]:
    """No instance takes a name that the operator, the mail or the edge of the zone needs."""
    return [
        Problem(
            *fleet.locate("tenants", tenant.id, ("instances", instance.name, "hostname")),
            "hostname.reserved",
            f"instance {instance.name}: hostname {instance.hostname!r} is reserved for the operator of the zone. Write another "
            f"`hostname:`, such as "
            f"'{tenant.id}-app'.",
        )
        for tenant in fleet.tenants
        for instance in tenant.instances
        if _vendor_form(instance.hostname) in RESERVED_LABELS
    ]


def check_zone(fleet: Fleet, zone: str) -> list[Problem]:
    """No hostname is too long once the zone is known, which is a stack's configuration and in no file of the fleet."""
    problems: list[Problem] = []
    for tenant in fleet.tenants:
        for instance in tenant.instances:
            name = hostname_for(instance, zone)
            if len(name) > MAX_HOSTNAME_CHARS:
                problems.append(
                    Problem(
                        *fleet.locate("tenants", tenant.id, ("instances", instance.name, "hostname")),
                        "hostname.length",
                        f"instance {instance.name}: {name!r} has {len(name)} characters. Allowed: {MAX_HOSTNAME_CHARS}, the zone included. "
                        "Write a shorter `hostname:`.",
                    )
                )
    return problems
