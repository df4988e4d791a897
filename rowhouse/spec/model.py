"""A project's files, resolved: what the rest of the house works with. Frozen, complete, without a trace of YAML.

Does: hold tenants, instances, plans and apps after defaults were applied (app < catalog < plan < tenant). Does not: load or check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from rowhouse.spec.fields import Autostop, Host, State

__all__ = [
    "App",
    "Catalog",
    "Counter",
    "Fleet",
    "HealthCheck",
    "Instance",
    "Lifecycle",
    "Limits",
    "Locate",
    "Meter",
    "Owner",
    "Pack",
    "Plan",
    "Size",
    "Tenant",
]

Locate = Callable[[str, str, tuple[str | int, ...]], tuple[str, int, int]]
"""Folder, id and path of a value to the file, line and column where it (or what it was derived from) stands."""

_ZERO = Decimal(0)


def nowhere(folder: str, slug: str, path: tuple[str | int, ...]) -> tuple[str, int, int]:  # noqa: ARG001 - the shape of Locate
    """The place of a value that came from no file: the first line of the file it would have."""
    return (f"{folder}/{slug}.yaml", 1, 1)


@dataclass(frozen=True, slots=True)
class Size:
    """How large an instance is."""

    cpu_kind: Literal["shared", "performance"]
    cpus: int
    memory_mb: int
    volume_gb: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a host sees that the app is well."""

    path: str
    interval_s: int
    timeout_s: int
    grace_s: int


@dataclass(frozen=True, slots=True)
class Counter:
    """An activity counter that an app reports."""

    name: str
    description: str
    reported_as: str
    """The word under which the app reports it."""


@dataclass(frozen=True, slots=True)
class App:
    """One application image."""

    id: str
    title: str
    image: str
    """By digest."""
    port: int
    data_dir: str
    health: HealthCheck
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    counters: tuple[Counter, ...]
    counters_path: str


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a graduated price."""

    up_to: Decimal | None
    """The last unit beyond the included ones that it is for; None in the last tier alone."""
    price: Decimal
    """Of one unit, in the currency's major unit."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter of a catalog on the terms of one plan."""

    name: str
    kind: Literal["running_hours", "counter", "storage_gb", "volume_gb"]
    unit: str
    rounding: Literal["second", "minute", "hour_up", "hour_any"] | None
    """Of running_hours only."""
    counter: str | None
    """The app's activity counter, of counter only."""
    unit_cost: Decimal
    """Our own cost of one unit in the currency's major unit."""
    included: Decimal | None
    """Units; None is unlimited."""
    per: Literal["period", "day", "hour"]
    beyond: Literal["bill", "refuse", "unlimited"]
    price: Decimal | None
    """Of one further unit, in the currency's major unit; only when beyond is bill and there are no tiers."""
    credits: bool
    warn_at: tuple[int, ...]
    """Percent of the included units, ascending."""
    tiers: tuple[Tier, ...] = ()
    """Prices of further units by how many they are, ascending; in place of one price."""

    @property
    def is_billed(self) -> bool:
        """Whether use of it can cost the tenant money at the end of a period."""
        prices = (self.price or _ZERO, *(tier.price for tier in self.tiers))
        return self.beyond == "bill" and any(price > _ZERO for price in prices)


@dataclass(frozen=True, slots=True)
class Pack:
    """Credits bought in advance for one counter meter."""

    name: str
    meter: str
    size: int
    price: Decimal
    expires_days: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of a plan on what a tenant file may ask for; None is unlimited."""

    instances: int | None
    cpus: int
    memory_mb: int
    volume_gb: int


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """When instances sleep, stop and go."""

    autostop: Autostop
    idle_minutes: int
    max_runtime_minutes: int | None
    grace_days: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One plan with everything that its catalog adds."""

    catalog: str
    name: str
    title: str
    demo: bool
    currency: str
    price: Decimal
    """Base price of one month, in the currency's major unit."""
    meters: tuple[Meter, ...]
    """Every meter of the catalog, by name; one without terms in the plan has included None and beyond unlimited."""
    packs: tuple[Pack, ...]
    """Those whose meter draws on credits in this plan."""
    limits: Limits
    lifecycle: Lifecycle
    size: Size
    app: str
    host: Host
    region: str
    env: Mapping[str, str]
    bill_inferred: bool
    minimum: Decimal = _ZERO
    """The least that a month costs, base price and use together, in the currency's major unit."""

    @property
    def ref(self) -> str:
        """`<catalog>/<plan>`, as a tenant file names it."""
        return f"{self.catalog}/{self.name}"

    @property
    def is_free(self) -> bool:
        """Whether it can never cost anything: a free plan has no subscription."""
        return self.price == _ZERO and self.minimum == _ZERO and not self.packs and not any(meter.is_billed for meter in self.meters)

    def meter(self, name: str) -> Meter:
        """The meter of that name. Raises KeyError with the names there are."""
        for meter in self.meters:
            if meter.name == name:
                return meter
        msg = f"plan {self.ref} has no meter {name!r}; it has {', '.join(meter.name for meter in self.meters) or 'none'}"
        raise KeyError(msg)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The plans of one product."""

    id: str
    title: str
    demo: bool
    currency: str
    app: str
    plans: tuple[Plan, ...]
    packs: tuple[Pack, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a tenant."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine with its volume, hostname and gate."""

    name: str
    host: Host
    region: str
    cpu_kind: Literal["shared", "performance"]
    cpus: int
    memory_mb: int
    volume_gb: int
    hostname: str
    """A label below the cell's zone; see names.hostname_for."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, complete."""

    id: str
    owner: Owner
    plan: Plan
    app: App
    members: tuple[str, ...]
    """Lower case, without repetition, in the file's order: e-mail addresses and `@domain`s."""
    state: State
    env: Mapping[str, str]
    """App < catalog < plan < tenant, placeholders filled in."""
    secrets: Mapping[str, str]
    """Variable name to `env:NAME` or `file:PATH`."""
    cell: str
    instances: tuple[Instance, ...]
    """In the file's order."""

    @property
    def is_active(self) -> bool:
        """Whether its machines may run and its gate is open; in every other state both are closed and nothing is deleted."""
        return self.state == "active"

    def instance(self, name: str) -> Instance:
        """The instance of that name. Raises KeyError."""
        for instance in self.instances:
            if instance.name == name:
                return instance
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything in a project's files."""

    tenants: tuple[Tenant, ...]
    """By id."""
    catalogs: tuple[Catalog, ...]
    apps: tuple[App, ...]
    root: Path = Path()
    locate: Locate = field(default=nowhere, compare=False, repr=False)

    def tenant(self, slug: str) -> Tenant:
        """The tenant of that id. Raises KeyError."""
        for tenant in self.tenants:
            if tenant.id == slug:
                return tenant
        raise KeyError(slug)

    def plan(self, ref: str) -> Plan:
        """The plan `<catalog>/<plan>`. Raises KeyError."""
        for catalog in self.catalogs:
            for plan in catalog.plans:
                if plan.ref == ref:
                    return plan
        raise KeyError(ref)

    def cells(self) -> tuple[str, ...]:
        """The cells that tenants name, sorted."""
        return tuple(sorted({tenant.cell for tenant in self.tenants}))

    def in_cell(self, cell: str) -> tuple[Tenant, ...]:
        """The tenants of one cell, by id."""
        return tuple(tenant for tenant in self.tenants if tenant.cell == cell)
