"""The shipped catalogs say enough to price every example of the five businesses, and the shipped tenants use them all.

The arithmetic here is deliberately plain and apart from the product's own: it shows that the terms in plans/ are complete and right.
"""

from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from rowhouse.spec import Plan, check_fleet, load_fleet
from rowhouse.spec.money import rounded

ROOT = Path(__file__).resolve().parents[2]
FLEET = load_fleet(ROOT)
HOUR = 3600
DAYS = 30


def rounded_hours(rounding: str | None, seconds: int) -> Fraction:
    per_hour = {"second": HOUR, "minute": 60, "hour_up": 1}[rounding or ""]
    return Fraction(ceil(Fraction(seconds * per_hour, HOUR)), per_hour)


def bill(plan: Plan, used: dict[str, Fraction | int], share: Fraction = Fraction(1)) -> Decimal:
    """Base, and what is billed beyond the included units, both for a share of the period."""
    total = rounded(Fraction(plan.price) * share)
    for name, quantity in used.items():
        meter = plan.meter(name)
        if meter.is_billed:
            assert meter.included is not None
            assert meter.price is not None
            total += rounded(max(Fraction(0), quantity - Fraction(meter.included) * share) * Fraction(meter.price))
    return total


def hours(plan: Plan, seconds: int) -> dict[str, Fraction | int]:
    return {"running_hours": rounded_hours(plan.meter("running_hours").rounding, seconds)}


@pytest.mark.parametrize(
    ("ref", "seconds", "expected"),
    [
        ("ai-diy-roadmap/hourly", 13 * HOUR + 20 * 60, "66.67"),
        ("ai-diy-roadmap/basic", 26 * HOUR + 30 * 60, "62.50"),
        ("my-jarvis/fixed", 4 * HOUR * DAYS, "20.00"),
        ("my-jarvis/usage", 4 * HOUR * DAYS, "12.00"),
        ("aether/team", 499 * HOUR + 59 * 60 + 59, "50.00"),
        ("aether/team", 500 * HOUR + 59 * 60, "50.10"),
    ],
)
def test_running_hours_come_out_as_designed(ref: str, seconds: int, expected: str):
    plan = FLEET.plan(ref)
    assert bill(plan, hours(plan, seconds)) == Decimal(expected)


def test_clock_hours_with_any_activity_come_out_as_designed():
    plan = FLEET.plan("ai-diy/standard")
    assert plan.meter("running_hours").rounding == "hour_any"
    assert bill(plan, {"running_hours": 4}) == Decimal("9.00")


def test_hours_and_storage_come_out_as_designed():
    plan = FLEET.plan("aether/pro")
    assert bill(plan, {**hours(plan, 212 * HOUR + 30 * 60), "storage_gb": 12}) == Decimal("22.25")


def test_a_change_of_plan_in_mid_month_comes_out_as_designed():
    half = Fraction(1, 2)
    first, second = FLEET.plan("aether/pro"), FLEET.plan("aether/team")
    assert bill(first, hours(first, 110 * HOUR), half) + bill(second, hours(second, 240 * HOUR), half) == Decimal("36.00")


def test_generations_are_granted_by_the_day_or_the_month_then_credits_then_refused():
    meters = {name: FLEET.plan(f"llamasketch/{name}").meter("generations") for name in ("free", "starter", "pro", "unlimited")}
    assert {name: (meter.included, meter.per, meter.beyond, meter.credits) for name, meter in meters.items()} == {
        "free": (Decimal(20), "day", "refuse", False),
        "starter": (Decimal(2000), "period", "refuse", True),
        "pro": (Decimal(8000), "period", "refuse", True),
        "unlimited": (Decimal(1000), "day", "refuse", False),
    }
    assert meters["starter"].warn_at == (80, 100)
    assert {name: FLEET.plan(f"llamasketch/{name}").price for name in meters} == {
        "free": Decimal("0.00"),
        "starter": Decimal("8.00"),
        "pro": Decimal("20.00"),
        "unlimited": Decimal("40.00"),
    }
    (pack,) = FLEET.plan("llamasketch/starter").packs
    assert (pack.name, pack.size, pack.price, pack.meter) == ("credits-500", 500, Decimal("5.00"), "generations")
    assert FLEET.plan("llamasketch/free").packs == ()


def test_the_free_plan_of_aether_is_capped():
    plan = FLEET.plan("aether/free")
    assert plan.is_free
    assert plan.limits.instances == 3
    assert [(meter.name, meter.included, meter.beyond) for meter in plan.meters if meter.beyond == "refuse"] == [
        ("running_hours", Decimal(50), "refuse"),
        ("storage_gb", Decimal(1), "refuse"),
    ]


@pytest.mark.parametrize(("ref", "instances"), [("aether/free", 3), ("aether/pro", 20), ("aether/team", None)])
def test_the_number_of_instances_is_the_sources(ref: str, instances: int | None):
    assert FLEET.plan(ref).limits.instances == instances


def test_the_costs_of_ai_calls_are_in_the_catalogs():
    assert FLEET.plan("ai-diy-roadmap/basic").meter("sprints").unit_cost == Decimal("0.75")
    assert FLEET.plan("llamasketch/pro").meter("generations").unit_cost == Decimal("0.00083")


def test_the_governor_of_four_hours_is_in_the_catalog():
    assert FLEET.plan("ai-diy-roadmap/hourly").lifecycle.max_runtime_minutes == 240


def test_every_catalog_is_a_demo():
    assert all(catalog.demo and all(plan.demo for plan in catalog.plans) for catalog in FLEET.catalogs)
    assert [catalog.id for catalog in FLEET.catalogs] == ["aether", "ai-diy", "ai-diy-roadmap", "llamasketch", "my-jarvis"]


def test_the_shipped_project_has_no_problem_and_not_even_a_warning():
    assert check_fleet(ROOT) == []


def test_the_shipped_tenants_cover_every_business_two_instances_and_a_free_plan():
    assert len(FLEET.tenants) >= 6
    assert {tenant.plan.catalog for tenant in FLEET.tenants} == {catalog.id for catalog in FLEET.catalogs}
    assert [instance.name for instance in FLEET.tenant("acme").instances] == ["main", "lab"]
    assert FLEET.tenant("acme").plan.ref == "aether/pro"
    assert any(tenant.plan.is_free for tenant in FLEET.tenants)
    assert {tenant.state for tenant in FLEET.tenants} == {"active"}
    assert {instance.host for tenant in FLEET.tenants for instance in tenant.instances} == {"fly"}
    assert all(tenant.owner.email.endswith(".example") for tenant in FLEET.tenants)
    assert all(member.endswith(".example") for tenant in FLEET.tenants for member in tenant.members)


def test_every_shipped_file_is_loaded():
    for folder, loaded in (("tenants", FLEET.tenants), ("plans", FLEET.catalogs), ("apps", FLEET.apps)):
        files = {file.stem for file in (ROOT / folder).glob("*.yaml") if not file.name.startswith("_")}
        assert {held.id for held in loaded} == files
