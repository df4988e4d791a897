"""Quiet builders: each makes a valid thing that no check complains about; a test overrides the one part that it is about."""

from dataclasses import replace
from decimal import Decimal

from rowhouse.spec.model import App, Catalog, Fleet, HealthCheck, Instance, Lifecycle, Limits, Meter, Owner, Plan, Size, Tenant

IMAGE = "registry.localhost/notebook@sha256:9955d796e712b38b52e6d3b2d16f99f9b6961abef56cba5a2ff344b6a21acc8f"


def app(**overrides) -> App:
    """A notebook without counters."""
    quiet = App(
        id="notebook",
        title="Notebook",
        image=IMAGE,
        port=8080,
        data_dir="/data",
        health=HealthCheck("/healthz", 10, 2, 10),
        env={},
        secrets={},
        counters=(),
        counters_path="/.app/counters",
    )
    return replace(quiet, **overrides)


def meter(**overrides) -> Meter:
    """Running hours, 200 included, $0.10 each beyond."""
    quiet = Meter(
        name="running_hours",
        kind="running_hours",
        unit="hour",
        rounding="second",
        counter=None,
        unit_cost=Decimal(0),
        included=Decimal(200),
        per="period",
        beyond="bill",
        price=Decimal("0.10"),
        credits=False,
        warn_at=(80, 100),
    )
    return replace(quiet, **overrides)


def plan(**overrides) -> Plan:
    """A paid plan with one billed meter and room for three instances."""
    quiet = Plan(
        catalog="aether",
        name="pro",
        title="aether Pro",
        demo=True,
        currency="usd",
        price=Decimal("20.00"),
        meters=(meter(),),
        packs=(),
        limits=Limits(instances=3, cpus=2, memory_mb=2048, volume_gb=10),
        lifecycle=Lifecycle(autostop="stop", idle_minutes=15, max_runtime_minutes=None, grace_days=30),
        size=Size(cpu_kind="shared", cpus=1, memory_mb=512, volume_gb=1),
        app="notebook",
        host="fly",
        region="fra",
        env={},
        bill_inferred=False,
    )
    return replace(quiet, **overrides)


def free_plan(**overrides) -> Plan:
    """A plan that can never cost anything."""
    return plan(**{"name": "free", "price": Decimal("0.00"), "meters": (meter(beyond="refuse", price=None),), **overrides})


def instance(**overrides) -> Instance:
    """A small machine on Fly in Frankfurt."""
    quiet = Instance(name="main", host="fly", region="fra", cpu_kind="shared", cpus=1, memory_mb=512, volume_gb=1, hostname="acme")
    return replace(quiet, **overrides)


def tenant(**overrides) -> Tenant:
    """Acme on the paid plan with one instance."""
    quiet = Tenant(
        id="acme",
        owner=Owner("Acme Ltd", "ops@acme.example"),
        plan=plan(),
        app=app(),
        members=("ops@acme.example",),
        state="active",
        env={},
        secrets={},
        cell="main",
        instances=(instance(),),
    )
    return replace(quiet, **overrides)


def catalog(*plans: Plan, **overrides) -> Catalog:
    """A catalog of the given plans (default: the quiet one)."""
    held = plans or (plan(),)
    quiet = Catalog(id="aether", title="aether", demo=True, currency="usd", app="notebook", plans=held, packs=held[0].packs)
    return replace(quiet, **overrides)


def fleet(*tenants: Tenant, **overrides) -> Fleet:
    """A fleet of the given tenants (default: none) with the quiet catalog and app."""
    return replace(Fleet(tenants=tenants, catalogs=(catalog(),), apps=(app(),)), **overrides)
