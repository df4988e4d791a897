"""From files to the resolved model: defaults, each level over the one before: built in < app < catalog < plan < tenant.

Does: merge maps (env, secrets, size, lifecycle) key by key, replace lists (members) and the map of instances as a whole, link a tenant
to its plan and app. Does not: judge the outcome (checks do), except that a reference to nothing cannot be resolved.
"""

from __future__ import annotations

from rowhouse.spec.files import AppFile, CatalogFile, InstanceFile, LifecycleFile, MeterFile, PlanFile, SizeFile, TenantFile, TermsFile
from rowhouse.spec.hosts import DEFAULT_REGION
from rowhouse.spec.model import (
    App,
    Catalog,
    Counter,
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
    Tier,
)
from rowhouse.spec.names import hostname_label
from rowhouse.spec.placeholders import filled

__all__ = ["resolved_app", "resolved_catalog", "resolved_tenant"]

_BUILT_IN_SIZE = Size(cpu_kind="shared", cpus=1, memory_mb=256, volume_gb=1)
_BUILT_IN_LIFECYCLE = Lifecycle(autostop="stop", idle_minutes=15, max_runtime_minutes=None, grace_days=30)
_NO_SIZE = SizeFile()


def resolved_app(slug: str, file: AppFile) -> App:
    """One app."""
    health = file.health
    return App(
        id=slug,
        title=file.title,
        image=file.image,
        port=file.port,
        data_dir=file.data_dir,
        health=HealthCheck(health.path, health.interval_s, health.timeout_s, health.grace_s),
        env=dict(file.env),
        secrets=dict(file.secrets),
        counters=tuple(Counter(name, counter.description, counter.reported_as or name) for name, counter in sorted(file.counters.items())),
        counters_path=file.counters_path,
    )


def resolved_catalog(slug: str, file: CatalogFile, app: AppFile | None) -> Catalog:
    """One catalog with its plans, by name, on its app. An app that does not exist adds nothing (the checks name it)."""
    packs = tuple(Pack(name, pack.meter, pack.size, pack.price, pack.expires_days) for name, pack in sorted(file.packs.items()))
    plans = tuple(_plan(slug, file, name, plan, packs, app) for name, plan in sorted(file.plans.items()))
    return Catalog(id=slug, title=file.title, demo=file.demo, currency=file.currency, app=file.app, plans=plans, packs=packs)


def resolved_tenant(slug: str, file: TenantFile, plan: Plan, catalog: CatalogFile, app: App, app_file: AppFile) -> Tenant:
    """One tenant on its plan and app."""
    owner = Owner(name=file.owner.name or file.owner.email, email=file.owner.email)
    values = {"owner.name": owner.name, "owner.email": owner.email, "tenant.id": slug, "tenant.plan": plan.ref}
    env = {**app.env, **plan.env, **file.env}
    size = plan.size if app.id == plan.app else _size(app_file.size, catalog.size, catalog.plans[plan.name].size)
    written = file.instances if file.instances is not None else {"main": InstanceFile()}
    return Tenant(
        id=slug,
        owner=owner,
        plan=plan,
        app=app,
        state=file.state,
        cell=file.cell,
        members=tuple(dict.fromkeys([owner.email] if file.members is None else file.members)),
        env={name: filled(text, values) for name, text in sorted(env.items())},
        secrets=dict(sorted({**app.secrets, **file.secrets}.items())),
        instances=tuple(_instance(slug, name, instance, plan, size) for name, instance in written.items()),
    )


def _size(*levels: SizeFile) -> Size:
    """The built-in size with what each level says over it."""
    said: dict[str, object] = {}
    for level in levels:
        said.update(level.model_dump(exclude_none=True, include={"cpu_kind", "cpus", "memory_mb", "volume_gb"}))
    return Size(**{**{name: getattr(_BUILT_IN_SIZE, name) for name in Size.__slots__}, **said})


def _lifecycle(*levels: LifecycleFile) -> Lifecycle:
    """The built-in lifecycle with what each level says over it."""
    said: dict[str, object] = {}
    for level in levels:
        said.update(level.model_dump(exclude_none=True))
    return Lifecycle(**{**{name: getattr(_BUILT_IN_LIFECYCLE, name) for name in Lifecycle.__slots__}, **said})


def _plan(slug: str, catalog: CatalogFile, name: str, file: PlanFile, packs: tuple[Pack, ...], app: AppFile | None) -> Plan:
    """One plan with everything that its catalog adds."""
    size = _size(app.size if app is not None else _NO_SIZE, catalog.size, file.size)
    meters = tuple(_meter(meter, catalog.meters[meter], file.meters.get(meter)) for meter in sorted(catalog.meters))
    on_credits = {meter.name for meter in meters if meter.credits}
    return Plan(
        catalog=slug,
        name=name,
        title=file.title,
        demo=catalog.demo,
        currency=catalog.currency,
        price=file.price,
        meters=meters,
        packs=tuple(pack for pack in packs if pack.meter in on_credits),
        limits=Limits(
            instances=file.limits.instances,
            cpus=file.limits.cpus or size.cpus,
            memory_mb=file.limits.memory_mb or size.memory_mb,
            volume_gb=file.limits.volume_gb or size.volume_gb,
        ),
        lifecycle=_lifecycle(catalog.lifecycle, file.lifecycle),
        size=size,
        app=catalog.app,
        host=catalog.host,
        region=catalog.region or DEFAULT_REGION[catalog.host],
        env={**catalog.env, **file.env},
        bill_inferred=file.bill_inferred,
        minimum=file.minimum,
    )


def _meter(name: str, file: MeterFile, terms: TermsFile | None) -> Meter:
    """A catalog's meter on a plan's terms; without terms it is measured, neither limited nor billed."""
    counter = (file.counter or name) if file.kind == "counter" else None
    if terms is None:
        terms = TermsFile.model_validate({"included": "unlimited"})
    unlimited = terms.included is None
    return Meter(
        name=name,
        kind=file.kind,
        unit=file.unit,
        rounding=file.rounding,
        counter=counter,
        unit_cost=file.unit_cost,
        included=terms.included,
        per=terms.per,
        beyond="unlimited" if unlimited else terms.beyond or "refuse",
        price=None if unlimited else terms.price,
        tiers=() if unlimited else tuple(Tier(tier.up_to, tier.price) for tier in terms.tiers),
        credits=terms.credits,
        warn_at=tuple(sorted(set(terms.warn_at))),
    )


def _instance(tenant: str, name: str, file: InstanceFile, plan: Plan, size: Size) -> Instance:
    """One instance: what its file says over the plan's size."""
    host = file.host or plan.host
    region = file.region or (plan.region if host == plan.host else DEFAULT_REGION[host])
    return Instance(
        name=name,
        host=host,
        region=region,
        cpu_kind=file.cpu_kind or size.cpu_kind,
        cpus=file.cpus or size.cpus,
        memory_mb=file.memory_mb or size.memory_mb,
        volume_gb=file.volume_gb or size.volume_gb,
        hostname=file.hostname or hostname_label(tenant, name),
    )
