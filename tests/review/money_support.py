"""Fleets and closed months for the review's money: quiet ones, of which a test changes one part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from rowhouse.review.money import money_of
from rowhouse.review.money_model import Money
from rowhouse.review.money_month import Month, SegmentDisk
from rowhouse.review.money_rows import Row
from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.model import Catalog, Fleet, Plan, Tenant
from rowhouse.usage.model import GB_MICROS, Lot, SegmentUsage, Window
from rowhouse.usage.vendor_prices import book_for
from rowhouse.usage.vendor_use import DiskTime, MachineTime
from tests.support import instance, meter, plan, tenant
from tests.usage.rating_support import HOUR, NOVEMBER, used

BOOK = book_for("2026-11")
LOOSE = Guardrails(bill_change_percent=100_000, negative_margin="warn")
"""Limits that nothing breaks."""


def fleet_of(*tenants: Tenant, plans: Iterable[Plan] = ()) -> Fleet:
    """These tenants, and catalogs of their plans and of those given, without packs but those that the plans have."""
    held = {one.ref: one for one in [*(one.plan for one in tenants), *plans]}
    by_catalog: dict[str, list[Plan]] = {}
    for ref in sorted(held):
        by_catalog.setdefault(held[ref].catalog, []).append(held[ref])
    catalogs = tuple(
        Catalog(name, name, True, own[0].currency, "notebook", tuple(own), tuple(dict.fromkeys(pack for one in own for pack in one.packs)))
        for name, own in by_catalog.items()
    )
    return Fleet(tenants=tuple(sorted(tenants, key=lambda one: one.id)), catalogs=catalogs, apps=())


def with_plan(fleet: Fleet, changed: Plan) -> Fleet:
    """The fleet after one plan's terms changed, in its catalog and for every tenant on it."""
    catalogs = tuple(replace(one, plans=tuple(changed if own.ref == changed.ref else own for own in one.plans)) for one in fleet.catalogs)
    tenants = tuple(replace(one, plan=changed) if one.plan.ref == changed.ref else one for one in fleet.tenants)
    return replace(fleet, tenants=tenants, catalogs=catalogs)


def month_of(
    used: Mapping[str, Sequence[SegmentUsage]], *, period: Window = NOVEMBER, ran: Mapping[str, int] | None = None, gb: int = 1, **more: Any
) -> Month:
    """A closed month in which each tenant's one instance ran as long as its segments say, at the quiet size, with a volume of `gb`."""
    name = more.pop("name", "2026-11")
    machines, volumes, disks = {}, {}, {}
    for slug, segments in used.items():
        hours = sum(one.running_ms for one in segments) if ran is None else ran.get(slug, 0)
        stopped = max(0, period.length - hours)
        machines[slug] = [MachineTime(slug, "main", "fly", "fra", "shared", 1, 512, hours, stopped)]
        volumes[slug] = [DiskTime(slug, "main", "fly", gb * GB_MICROS * period.length, period.length)]
        disks[slug] = [SegmentDisk(one.segment, "main", gb * GB_MICROS * (one.end - one.start), one.end - one.start) for one in segments]
    held: dict[str, Any] = {"machines": machines, "volumes": volumes, "disks": disks}
    return Month(name, period, used, **{**held, **more})


def quiet(slug: str = "acme", hours: float = 100, terms: Plan | None = None, **more: Any) -> SegmentUsage:
    """A month of one tenant on the quiet plan, that ran so many hours."""
    return used(terms or plan(), tenant=slug, running=int(hours * HOUR), **more)


def money(before: Fleet, after: Fleet, *segments: SegmentUsage, month: Month | None = None, **options: Any) -> Money:
    """What a change does, with a month of these segments (or this month) in the cell `main`."""
    by_tenant: dict[str, list[SegmentUsage]] = {}
    for one in segments:
        by_tenant.setdefault(one.tenant, []).append(one)
    months = {"main": month} if month is not None else {"main": month_of(by_tenant)} if segments else {}
    return money_of(before, after, options.pop("months", months), BOOK, options.pop("guardrails", LOOSE), **options)


def row(found: Money, slug: str = "acme") -> Row:
    """A tenant's row."""
    return next(one for one in found.rows if one.tenant == slug)


def bills(found: Money, slug: str = "acme") -> tuple[str, str]:
    """A tenant's bill before and after."""
    one = row(found, slug)
    assert one.before is not None
    assert one.after is not None
    return str(one.before.bill), str(one.after.bill)


def acme(**overrides: Any) -> Tenant:
    """The quiet tenant."""
    return tenant(**overrides)


def lots_of(*lots: Lot) -> dict[str, list[Lot]]:
    """Acme's purchases."""
    return {"acme": list(lots)}


__all__ = [
    "BOOK",
    "LOOSE",
    "Decimal",
    "acme",
    "bills",
    "fleet_of",
    "instance",
    "lots_of",
    "meter",
    "money",
    "month_of",
    "plan",
    "quiet",
    "row",
    "with_plan",
]
