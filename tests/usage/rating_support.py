"""Quiet builders for rating: a segment of the whole period in which nothing happened, and lots that never expire."""

from decimal import Decimal
from functools import cache
from pathlib import Path

from rowhouse.spec import load_fleet
from rowhouse.spec.model import Fleet, Plan
from rowhouse.usage.model import GB_MICROS, HOUR_MS, Lot, SegmentUsage, Window

ROOT = Path(__file__).resolve().parents[2]
NOVEMBER = Window.month("2026-11")  # thirty days, 2,592,000 s
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = HOUR_MS
DAY = 24 * HOUR_MS


@cache
def shipped() -> Fleet:
    """The catalogs that this project ships."""
    return load_fleet(ROOT)


def plan_of(ref: str) -> Plan:
    """A shipped plan."""
    return shipped().plan(ref)


def used(plan: Plan, period: Window = NOVEMBER, **overrides) -> SegmentUsage:
    """One plan for the whole period, unused; `running` in milliseconds, `storage` and `volume` in GB through the whole segment."""
    running, storage, volume = overrides.pop("running", 0), overrides.pop("storage", 0), overrides.pop("volume", 0)
    quiet = {"tenant": "acme", "segment": 0, "start": period.start, "end": period.end, "running_ms": running}
    held = {**quiet, **overrides}
    length = held["end"] - held["start"]
    full = {"storage_gb_ms": int(storage * GB_MICROS) * length, "storage_ms": length, "volume_gb_ms": int(volume * GB_MICROS) * length}
    return SegmentUsage(plan=plan, **{**full, **held})


def lot(**overrides) -> Lot:
    """Five hundred generations, bought on the 1st, that never expire."""
    quiet = {
        "payment": "pay_1",
        "pack": "credits-500",
        "meter": "generations",
        "size": 500,
        "left": overrides.get("size", 500),
        "price": Decimal("5.00"),
        "currency": "usd",
        "at": NOVEMBER.start,
        "expires_at": None,
    }
    return Lot(**{**quiet, **overrides})


def amounts(bill) -> dict[str, Decimal]:
    """Meter to the sum of its lines, those of nothing left out."""
    sums: dict[str, Decimal] = {}
    for line in bill.lines:
        if line.amount:
            sums[line.meter] = sums.get(line.meter, Decimal(0)) + line.amount
    return sums
