"""Tenants, plans and apps: the files of a project as one frozen, checked fleet.

Does: read, refuse, resolve, check, name. Does not: import Pulumi or a vendor's library, or read a clock, the environment or the network;
so every other room may depend on it and every test of it is quick.
"""

from __future__ import annotations

from rowhouse.errors import SpecError
from rowhouse.spec.load import check_fleet, load_fleet, read_fleet
from rowhouse.spec.model import (
    App,
    Catalog,
    Counter,
    Fleet,
    HealthCheck,
    Instance,
    Lifecycle,
    Limits,
    Meter,
    Owner,
    Pack,
    Plan,
    Size,
    Tenant,
)
from rowhouse.spec.problem import Problem

__all__ = [
    "App",
    "Catalog",
    "Counter",
    "Fleet",
    "HealthCheck",
    "Instance",
    "Lifecycle",
    "Limits",
    "Meter",
    "Owner",
    "Pack",
    "Plan",
    "Problem",
    "Size",
    "SpecError",
    "Tenant",
    "check_fleet",
    "load_fleet",
    "read_fleet",
]
