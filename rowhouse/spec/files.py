"""What stands in the YAML files, key by key; the descriptions here are the documentation and the editors' schema.

Each class is one mapping of a tenant, plan or app file as its author wrote it: frozen, no unknown keys, no conversion of kinds.
Defaults that depend on other files are resolved in resolve.py.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rowhouse.spec.fields import (
    AbsolutePath,
    Allowance,
    Autostop,
    CountLimit,
    Currency,
    Email,
    EnvName,
    EnvValue,
    Host,
    Image,
    Member,
    MeterName,
    Money,
    PlanRef,
    Quantity,
    SecretRef,
    Slug,
    State,
    Text,
    UnitPrice,
    failure,
)

__all__ = [
    "AppFile",
    "CatalogFile",
    "CounterFile",
    "HealthFile",
    "InstanceFile",
    "LifecycleFile",
    "LimitsFile",
    "MeterFile",
    "OwnerFile",
    "PackFile",
    "PlanFile",
    "SizeFile",
    "TenantFile",
    "TermsFile",
]


class _Mapping(BaseModel):
    """A mapping of a file: frozen, strict about kinds, closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SizeFile(_Mapping):
    """How large an instance is; what is left out comes from the level below (app, catalog, plan, tenant)."""

    cpu_kind: Literal["shared", "performance"] | None = Field(
        default=None, description="Kind of processors: `shared` or `performance` (Fly)."
    )
    cpus: int | None = Field(default=None, ge=1, le=16, description="Number of processors.")
    memory_mb: int | None = Field(default=None, ge=256, le=131072, description="Memory in MB, a multiple of 256.")
    volume_gb: int | None = Field(default=None, ge=1, le=1024, description="Size of the volume in GB. It can grow, never shrink.")


class OwnerFile(_Mapping):
    """Who owns the tenant and is its customer at Stripe."""

    name: Text | None = Field(default=None, description="Name on invoices; default: the e-mail address.")
    email: Email = Field(description="Where invoices go; also the default member.")


class InstanceFile(SizeFile):
    """One machine with its volume, hostname and gate."""

    host: Host | None = Field(default=None, description="Where it runs: `fly`, `railway` or `docker`; default: the catalog's.")
    region: Text | None = Field(
        default=None, description="The host's region; default: the catalog's, or the host's own default on another host."
    )
    hostname: Slug | None = Field(
        default=None, description="Host label below the cell's zone; default: the tenant's id for `main`, else `<tenant>-<instance>`."
    )


class TenantFile(_Mapping):
    """One tenant: who owns it, what it bought, who may enter, and what differs from its plan."""

    owner: OwnerFile = Field(description="Who owns the tenant.")
    plan: PlanRef = Field(description="`<catalog>/<plan>` in plans/.")
    app: Slug | None = Field(default=None, description="What its instances run, a file in apps/; default: the catalog's.")
    members: list[Member] | None = Field(
        default=None, description="Who passes the gate: e-mail addresses and `@domain`s; default: the owner. Replaces the default."
    )
    state: State = Field(
        default="active",
        description="`active`; `suspended` (stopped, gate closed, nothing deleted); `offboarding` (leaving: gate closed, machine "
        "stopped, volume kept for the grace period); `purge` (refused until backups exist).",
    )
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict,
        description="Variables of the app. Merged over the app's and the plan's, name by name. "
        "`{owner.name}`, `{owner.email}`, `{tenant.id}` and `{tenant.plan}` are filled in.",
    )
    secrets: dict[EnvName, SecretRef] = Field(
        default_factory=dict,
        description="Secret variables as references: `env:NAME`, a variable where `rowhouse up` runs, or "
        "`file:PATH`, below the project's root or in /run/secrets/. Merged like env.",
    )
    cell: Slug = Field(default="main", description="The Pulumi stack that holds it.")
    instances: dict[Slug, InstanceFile] | None = Field(
        default=None,
        description="Its instances by name; default: one, `main`. Replaces the default as a whole; inside an "
        "instance only what differs from the plan is written.",
    )


class HealthFile(_Mapping):
    """How a host sees that the app is well."""

    path: AbsolutePath = Field(default="/healthz", description="Path that answers 200 when the app is ready.")
    interval_s: int = Field(default=10, ge=1, le=300, description="Seconds between checks.")
    timeout_s: int = Field(default=2, ge=1, le=60, description="Seconds until a check counts as failed.")
    grace_s: int = Field(default=10, ge=0, le=600, description="Seconds after the start before checks count.")


class CounterFile(_Mapping):
    """Something the app counts and reports."""

    description: Text = Field(description="What one more means.")
    reported_as: MeterName | None = Field(
        default=None, description="The word under which the app reports it; default: the counter's own name."
    )


class AppFile(_Mapping):
    """One application image: what an instance runs."""

    title: Text = Field(description="Name for people.")
    image: Image = Field(description="The image by digest, `name@sha256:...`.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port on which the app listens for HTTP.")
    data_dir: AbsolutePath = Field(default="/data", description="Where the volume is mounted; all that must survive lives there.")
    health: HealthFile = Field(default_factory=HealthFile, description="Health check.")
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, description="Variables of every instance; plans and tenants may override them."
    )
    secrets: dict[EnvName, SecretRef] = Field(default_factory=dict, description="Secret variables as references.")
    counters: dict[MeterName, CounterFile] = Field(default_factory=dict, description="Activity counters that the app reports, by name.")
    counters_path: AbsolutePath = Field(
        default="/.app/counters", description="Path that answers the counters' totals since the volume was made, as one JSON mapping."
    )
    size: SizeFile = Field(default_factory=SizeFile, description="Size that the app needs; plans and tenants may override it.")


class MeterFile(_Mapping):
    """Something that is measured for every tenant of a catalog."""

    kind: Literal["running_hours", "counter", "storage_gb", "volume_gb"] = Field(
        description="`running_hours` (time in which machines run), `counter` (what the app counts), "
        "`storage_gb` (GB used, mean over the period), "
        "`volume_gb` (GB provisioned, mean over the period)."
    )
    unit: Text = Field(description="The word for one, as it stands on the bill.")
    rounding: Literal["second", "minute", "hour_up", "hour_any"] | None = Field(
        default=None,
        description="For running_hours only, and required there: up to the whole `second`, `minute` or hour (`hour_up`) of "
        "the period's total, or the number "
        "of clock hours with any running, login or activity (`hour_any`).",
    )
    counter: MeterName | None = Field(
        default=None, description="For counter only: the app's activity counter; default: the meter's own name."
    )
    unit_cost: UnitPrice = Field(
        default=Decimal(0), description="What one unit costs us outside the host, such as calls to an AI vendor; for margins, never billed."
    )


class PackFile(_Mapping):
    """Credits bought in advance."""

    meter: MeterName = Field(description="The counter meter whose use the credits pay for.")
    size: int = Field(ge=1, le=10_000_000, description="Units in one pack.")
    price: Money = Field(description="Price of one pack.")
    expires_days: int | None = Field(default=None, ge=1, le=3650, description="Days until unused credits expire; default: never.")


class TierFile(_Mapping):
    """One step of a graduated price."""

    up_to: Quantity | None = Field(
        default=None, description="Last unit beyond the included ones that this price is for; left out in the last tier, and only there."
    )
    price: UnitPrice = Field(description="Price of one unit of this tier.")


class TermsFile(_Mapping):
    """What a plan grants of one meter and what happens beyond it."""

    included: Allowance = Field(default=Decimal(0), description="Units included in the price, or `unlimited`.")
    per: Literal["period", "day", "hour"] = Field(
        default="period",
        description="How often the included units are granted anew: each billing period, UTC day or UTC hour (the last two for counters).",
    )
    beyond: Literal["bill", "refuse"] | None = Field(
        default=None,
        description="Beyond the included units and any credits: `bill` at the price, or `refuse`. Required unless `unlimited` is included.",
    )
    price: UnitPrice | None = Field(
        default=None, description="Price of one further unit (an hour, one count, a GB-month); only with `beyond: bill`."
    )
    tiers: list[TierFile] = Field(
        default_factory=list,
        description="In place of `price`: prices by how many units were used beyond the included ones in the period; each unit costs what "
        "its own tier says.",
    )
    credits: bool = Field(default=False, description="Whether packs of credits are used up before `beyond` applies; counters only.")
    warn_at: list[int] = Field(default_factory=list, description="Percentages of the included units at which the tenant is warned.")

    @model_validator(mode="after")
    def _is_decided(self) -> TermsFile:
        """Say what happens beyond the included units, and say it once."""
        if self.included is None and (self.beyond is not None or self.price is not None or self.tiers):
            raise failure(
                "plan.meter", "`unlimited` units have nothing beyond them. Delete `beyond`, `price` and `tiers`, or include a number."
            )
        if self.included is not None and self.beyond is None:
            raise failure(
                "plan.meter",
                "it is not said what happens beyond the included units. Allowed: `beyond: bill` with a `price`, or `beyond: "
                "refuse`. Add one.",
            )
        return self


class LimitsFile(_Mapping):
    """Hard limits of a plan on what a tenant file may ask for."""

    instances: CountLimit = Field(default=1, description="Most instances of a tenant, or `unlimited`.")
    cpus: int | None = Field(default=None, ge=1, le=16, description="Most processors of an instance; default: the plan's size.")
    memory_mb: int | None = Field(
        default=None, ge=256, le=131072, description="Most memory of an instance in MB; default: the plan's size."
    )
    volume_gb: int | None = Field(default=None, ge=1, le=1024, description="Largest volume of an instance in GB; default: the plan's size.")


class LifecycleFile(_Mapping):
    """When instances sleep, stop and go."""

    autostop: Autostop | None = Field(
        default=None, description='What idling does: `stop`, `suspend` (Fly, at most 2 GB of memory) or "off" (in quotes).'
    )
    idle_minutes: int | None = Field(
        default=None, ge=1, le=10080, description="Minutes without a request until autostop. Not enforced yet: the host decides by itself."
    )
    max_runtime_minutes: int | None = Field(
        default=None,
        ge=1,
        le=44640,
        description="Minutes of running in one go after which an instance is stopped even when busy. Not enforced yet.",
    )
    grace_days: int | None = Field(default=None, ge=1, le=3650, description="Days for which the data of a leaving tenant is kept.")


class PlanFile(_Mapping):
    """One plan of a catalog."""

    title: Text = Field(description="Name on invoices.")
    price: Money = Field(description="Base price of one month.")
    minimum: Money = Field(
        default=Decimal("0.00"),
        description="The least that a month costs: where base price and use come to less, the rest is a line of its own on the bill.",
    )
    meters: dict[MeterName, TermsFile] = Field(
        default_factory=dict, description="Terms by meter; a meter left out is measured and neither limited nor billed."
    )
    limits: LimitsFile = Field(default_factory=LimitsFile, description="Hard limits.")
    lifecycle: LifecycleFile = Field(default_factory=LifecycleFile, description="Overrides of the catalog's lifecycle.")
    size: SizeFile = Field(default_factory=SizeFile, description="Overrides of the catalog's size.")
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, description="Variables of the plan's instances, merged over the app's and the catalog's."
    )
    bill_inferred: bool = Field(default=False, description="Whether running time is billed that no event proves (after lost observations).")


class CatalogFile(_Mapping):
    """The plans of one product."""

    title: Text = Field(description="Name of the product.")
    demo: bool = Field(default=False, description="Whether this is an example; a live Stripe key with an example catalog is refused.")
    currency: Currency = Field(default="usd", description="Currency of all prices, a two-decimal one.")
    app: Slug = Field(description="What tenants run unless they say otherwise, a file in apps/.")
    host: Host = Field(default="fly", description="Where instances run unless a tenant says otherwise.")
    region: Text | None = Field(default=None, description="Region on that host; default: the host's own default.")
    size: SizeFile = Field(default_factory=SizeFile, description="Size of instances, over the app's.")
    env: dict[EnvName, EnvValue] = Field(default_factory=dict, description="Variables of all instances, merged over the app's.")
    lifecycle: LifecycleFile = Field(default_factory=LifecycleFile, description="Lifecycle of all plans.")
    meters: dict[MeterName, MeterFile] = Field(default_factory=dict, description="What is measured, by name.")
    packs: dict[Slug, PackFile] = Field(default_factory=dict, description="Packs of credits on sale, by name.")
    plans: dict[Slug, PlanFile] = Field(min_length=1, description="The plans, by name.")
