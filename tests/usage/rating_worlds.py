"""Strategies: plans on any terms, months in which they change, use by the hour, purchases; as segments and as the export's tables."""

import itertools
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from rowhouse.spec.model import Meter, Pack, Plan, Tier
from rowhouse.spec.terms import terms_of, terms_text
from rowhouse.usage.model import DAY_MS, GB_MICROS, HOUR_MS, Bill, Lot, SegmentUsage, Window
from rowhouse.usage.rate import rate
from tests.support import meter as quiet_meter
from tests.support import plan as quiet_plan

PERIODS = [Window.month(text) for text in ("2026-11", "2026-12", "2026-02", "2028-02")]
PRICES = ["0.10", "5.00", "6.00", "36.00", "0.50", "1.00", "0.01", "0.004", "0.005", "0.333333333333", "0.00"]
MONEY = st.integers(0, 9999).map(lambda cents: Decimal(cents).scaleb(-2))
UNIT_PRICES = st.sampled_from(PRICES).map(Decimal) | st.integers(0, 10**6).map(lambda price: Decimal(price).scaleb(-4))
INCLUDED = st.integers(0, 40).map(Decimal) | st.integers(0, 40_000).map(lambda amount: Decimal(amount).scaleb(-3))


@dataclass
class World:
    """One tenant's month."""

    period: Window
    segments: list[SegmentUsage]
    lots: list[Lot]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def bill(self) -> Bill:
        return rate(self.period, self.segments, self.lots)


@st.composite
def ladders(draw) -> tuple[Tier, ...]:
    """A graduated price."""
    ends = sorted(draw(st.sets(INCLUDED.filter(bool), min_size=1, max_size=3)))
    return tuple(Tier(end, draw(UNIT_PRICES)) for end in [*ends, None])


@st.composite
def meters(draw, name: str, kind: str, *, rounding: str | None = None) -> Meter:
    """A meter on terms that a catalog may have."""
    beyond = draw(st.sampled_from(["bill", "bill", "refuse", "unlimited"]))
    is_counter = kind == "counter"
    tiers = draw(ladders()) if beyond == "bill" and draw(st.booleans()) else ()
    return quiet_meter(
        name=name,
        kind=kind,
        unit=kind,
        rounding=rounding or (draw(st.sampled_from(["second", "minute", "hour_up", "hour_any"])) if kind == "running_hours" else None),
        counter=name if is_counter else None,
        included=None if beyond == "unlimited" else draw(INCLUDED),
        per=draw(st.sampled_from(["period", "period", "day", "hour"])) if is_counter else "period",
        beyond=beyond,
        price=draw(UNIT_PRICES) if beyond == "bill" and not tiers else None,
        tiers=tiers,
        credits=is_counter and beyond != "unlimited" and draw(st.booleans()),
        warn_at=(),
    )


@st.composite
def plans(draw, name: str = "pro", *, on_credits: bool = False) -> Plan:
    """A plan that measures and bills a bit of everything."""
    generations = draw(meters("generations", "counter"))
    if on_credits:
        generations = replace(generations, beyond="refuse", price=None, included=Decimal(draw(st.integers(0, 9))), credits=True)
    held = (
        generations,
        draw(meters("running_hours", "running_hours")),
        draw(meters("storage_gb", "storage_gb")),
        draw(meters("volume_gb", "volume_gb")),
    )
    packs = (Pack("credits", "generations", 10, Decimal("5.00"), None),) if held[0].credits else ()
    minimum = draw(st.just(Decimal("0.00")) | MONEY)
    return quiet_plan(name=name, price=draw(MONEY), meters=held, packs=packs, bill_inferred=draw(st.booleans()), minimum=minimum)


@st.composite
def spans(draw, period: Window) -> list[tuple[int, int]]:
    """Disjoint parts of a period: all of it, some of it, with changes at full seconds, at midnight, at any millisecond, with gaps."""
    edges = st.one_of(
        st.integers(0, period.length),
        st.integers(0, period.length // 1000).map(lambda second: second * 1000),
        st.integers(0, period.length // DAY_MS).map(lambda day: day * DAY_MS),
    )
    cuts = sorted({0, period.length, *draw(st.lists(edges, max_size=3))})
    parts = [(period.start + start, period.start + end) for start, end in itertools.pairwise(cuts)]
    kept = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=len(parts), max_size=len(parts)))
    return [part for part, keep in zip(parts, kept, strict=True) if keep] or parts


@st.composite
def lots(draw, period: Window, *, on_credits: bool = False) -> list[Lot]:
    """Purchases before, in and after a period; some expire in it."""
    around = st.integers(period.start - 3 * DAY_MS, period.end + DAY_MS)
    found = []
    for number in range(draw(st.integers(2 if on_credits else 0, 4))):
        at, size = draw(around), draw(st.integers(1, 30))
        expires = draw(st.none() | st.integers(at + 1, at + 40 * DAY_MS) | st.sampled_from([at + HOUR_MS, max(at + 1, period.end)]))
        left = size if at >= period.start else draw(st.integers(0, size))
        meter = "generations" if on_credits else draw(st.sampled_from(["generations", "generations", "others"]))
        found.append(Lot(f"pay_{number}", "credits", meter, size, left, draw(MONEY), "usd", at, expires))
    return found


@st.composite
def worlds(draw, *, on_credits: bool = False) -> World:
    """One tenant's month: what it used, hour by hour, as the meter sums it up and as the export lists it."""
    period = draw(st.sampled_from(PERIODS))
    shared = draw(plans(on_credits=on_credits))
    segments: list[SegmentUsage] = []
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("plans", "usage_hours", "active_hours", "counter_hours", "credits")}
    for number, (start, end) in enumerate(draw(spans(period))):
        plan = shared if draw(st.booleans()) else draw(plans(f"plan-{number}", on_credits=on_credits))
        hour = st.integers(start, end - 1).map(lambda at: at - at % HOUR_MS)
        run = st.integers(0, 5 * HOUR_MS) | st.integers(0, 20).map(lambda minutes: minutes * 60_000)
        rows = [
            {
                "tenant": "acme",
                "segment": number,
                "instance": draw(st.sampled_from(["main", "lab"])),
                "hour": at,
                "running_ms": draw(run),
                "inferred_ms": draw(st.sampled_from([0, 0, 600, HOUR_MS])),
                "volume_gb_ms": draw(st.integers(0, 60 * 720)) * GB_MICROS * HOUR_MS // 7,
                "storage_gb_ms": draw(st.integers(0, 60 * 720)) * GB_MICROS * HOUR_MS // 7,
            }
            for at in draw(st.lists(hour, max_size=4))
        ]
        counts: dict[int, int] = defaultdict(int)
        for at in draw(st.lists(hour, min_size=2 if on_credits else 0, max_size=5)):
            counts[at] += draw(st.integers(0, 25))
        active = draw(st.sets(hour, max_size=6))
        segments.append(
            SegmentUsage(
                "acme",
                number,
                start,
                end,
                plan,
                running_ms=sum(row["running_ms"] for row in rows),
                inferred_ms=sum(row["inferred_ms"] for row in rows),
                active_hours=len(active),
                counters={"generations": dict(counts)},
                storage_gb_ms=sum(row["storage_gb_ms"] for row in rows),
                storage_ms=end - start,
                volume_gb_ms=sum(row["volume_gb_ms"] for row in rows),
            )
        )
        own = {"tenant": "acme", "segment": number}
        tables["plans"].append({**own, "start_ms": start, "end_ms": end, "terms": terms_text(terms_of(plan))})
        tables["usage_hours"] += rows
        tables["active_hours"] += [{**own, "hour": at} for at in active]
        tables["counter_hours"] += [{**own, "meter": "generations", "hour": at, "n": n} for at, n in counts.items()]
    held = draw(lots(period, on_credits=on_credits))
    tables["credits"] = [
        {"tenant": "acme", **{name: getattr(lot, name) for name in Lot.__slots__}, "price": str(lot.price)} for lot in held
    ]
    return World(period, segments, held, tables)


def more(segment: SegmentUsage, what: str, hour: int, amount: int) -> SegmentUsage:
    """A segment with more of one thing."""
    if what == "counters":
        counts = dict(segment.counters["generations"])
        counts[hour] = counts.get(hour, 0) + amount
        return replace(segment, counters={"generations": counts})
    return replace(segment, **{what: getattr(segment, what) + amount})
