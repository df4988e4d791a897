"""Every invoice once more, from the export alone, by other means than ours.

Whoever doubts a bill runs this on the export: it reads no ledger, no catalog and no code of `rowhouse`, has whole numbers only (an amount
is a numerator and a denominator until it is cents), and was written from docs/rating.md, not from `rate`.

The export's tables, each a list of rows (a mapping from column to value); instants and hours are milliseconds UTC. All are of one period:

    plans          tenant, segment, start_ms, end_ms, terms      one row for each plan segment; terms is the JSON text recorded when applied
    usage_hours    tenant, segment, instance, hour, running_ms, inferred_ms, volume_gb_ms, storage_gb_ms
                                                                an hour in which the plan changed has a row for each segment's part of it
    active_hours   tenant, segment, hour                        hours with any running, login or activity; segment: where the first of it was
    counter_hours  tenant, segment, meter, hour, n              completions by the plan's meter, in the hour to which they were booked
    credits        tenant, payment, pack, meter, size, left, price, currency, at, expires_at
                                                                left: when the period began, or the size of what was bought in it;
                                                                price: decimal text; expires_at: null is never

`*_gb_ms` are millionths of a GB times milliseconds.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

HOUR = 3_600_000
SIZES = {"hour": HOUR, "day": 24 * HOUR}
UNITS = {"second": 3600, "minute": 60, "hour_up": 1, "hour_any": 1}


@dataclass
class Invoice:
    """One tenant's lines: (segment or None, meter) to cents, and what became of credits."""

    lines: dict[tuple[int | None, str], int] = field(default_factory=dict)
    credits_left: dict[str, int] = field(default_factory=dict)
    refused: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Meter to a numerator and a denominator, in the meter's unit."""

    @property
    def cents(self) -> int:
        return sum(self.lines.values())


def invoices(period: tuple[int, int], tables: Mapping[str, Iterable[Row]]) -> dict[str, Invoice]:
    """Tenant to invoice, for everyone who had a plan in the period."""
    by_tenant: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for name, rows in tables.items():
        for row in rows:
            by_tenant[row["tenant"]][name].append(row)
    return {tenant: _invoice(period, own) for tenant, own in sorted(by_tenant.items()) if own["plans"]}


def _invoice(period: tuple[int, int], own: Mapping[str, list[Row]]) -> Invoice:
    length = period[1] - period[0]
    found = Invoice()
    beyond: dict[str, list[tuple[int, int, int, bool]]] = defaultdict(list)  # meter: (hour, segment, how many, whether credits may pay)
    plans = sorted(own["plans"], key=lambda row: row["start_ms"])
    for row in plans:
        terms, segment = json.loads(row["terms"]), row["segment"]
        time = row["end_ms"] - row["start_ms"]
        price, scale = number(terms["price"])
        found.lines[segment, "base"] = to_cents(price * time, scale * length)
        hours = [each for each in own["usage_hours"] if each["segment"] == segment]
        for meter in terms["meters"]:
            if meter["kind"] == "counter":
                beyond[meter["name"]] += _beyond_of_counter(meter, row, plans, own["counter_hours"], length)
                continue
            if meter["kind"] == "running_hours":
                units = UNITS[meter["rounding"]]
                if meter["rounding"] == "hour_any":
                    amount = len({each["hour"] for each in own["active_hours"] if each["segment"] == segment})
                else:
                    ran = sum(each["running_ms"] + (each["inferred_ms"] if terms["bill_inferred"] else 0) for each in hours)
                    seconds = ran // 1000
                    amount = (seconds * units + 3599) // 3600
                quantity = (amount, 1)
            else:
                units = 1
                column = "storage_gb_ms" if meter["kind"] == "storage_gb" else "volume_gb_ms"
                quantity = (sum(each[column] for each in hours), 1_000_000 * length)
            _settle(found, segment, meter, units, over(quantity, granted(meter, units, time, length)), (time, length))
    _settle_counters(found, period, plans, own["credits"], beyond)
    for row in plans:
        least, scale = number(json.loads(row["terms"]).get("minimum", "0"))
        if least:
            charged = sum(cents for (segment, _), cents in found.lines.items() if segment == row["segment"])
            wanted = to_cents(least * (row["end_ms"] - row["start_ms"]), scale * length)
            found.lines[row["segment"], "minimum"] = max(0, wanted - charged)
    return found


def _settle(found: Invoice, segment: int, meter: Row, units: int, rest: tuple[int, int], time: tuple[int, int]) -> None:
    """Bill or refuse what is beyond, in the units in which the meter counts."""
    cents = 0
    if meter["beyond"] == "bill" and meter.get("tiers"):
        cents = to_cents(*by_tiers(meter["tiers"], (rest[0], rest[1] * units), time))
    elif meter["beyond"] == "bill":
        price, scale = number(meter["price"])
        cents = to_cents(rest[0] * price, rest[1] * units * scale)
    elif rest[0]:
        one, two = found.refused.get(meter["name"], (0, 1)), (rest[0], rest[1] * units)
        found.refused[meter["name"]] = (one[0] * two[1] + two[0] * one[1], one[1] * two[1])
    found.lines[segment, meter["name"]] = cents


def by_tiers(tiers: Iterable[Row], rest: tuple[int, int], time: tuple[int, int]) -> tuple[int, int]:
    """What so many units cost: peel each tier off from below. Tiers are as long as the plan's part of the period."""
    cost = (0, 1)
    begun = (0, 1)
    for tier in tiers:
        top = rest
        if tier["up_to"] is not None:
            ends, scale = number(tier["up_to"])
            top = (ends * time[0], scale * time[1])
        if top[0] * rest[1] > rest[0] * top[1]:
            top = rest
        inside = max(0, top[0] * begun[1] - begun[0] * top[1]), top[1] * begun[1]
        price, scale = number(tier["price"])
        cost = cost[0] * inside[1] * scale + inside[0] * price * cost[1], cost[1] * inside[1] * scale
        begun = top
    return cost


def _beyond_of_counter(meter: Row, own: Row, plans: list[Row], counts: list[Row], length: int) -> list[tuple[int, int, int, bool]]:
    """Hour by hour, how many completions were beyond what was included."""
    mine = sorted((row["hour"], row["n"]) for row in counts if row["segment"] == own["segment"] and row["meter"] == meter["name"])
    if meter["included"] is None:
        return []
    found = []
    used: dict[int, int] = defaultdict(int)
    for hour, n in mine:
        if meter["per"] == "period":
            start, free = 0, granted(meter, 1, own["end_ms"] - own["start_ms"], length)
        else:
            size = SIZES[meter["per"]]
            start = hour // size * size
            in_it = {row["segment"]: max(0, min(row["end_ms"], start + size) - max(row["start_ms"], start)) for row in plans}
            free = granted(meter, 1, in_it[own["segment"]], sum(in_it.values()))
        assert free is not None
        free_left = max(0, free[0] - used[start])
        used[start] += n
        found.append((hour, own["segment"], max(0, n - free_left), meter["credits"]))
    return found


def _settle_counters(
    found: Invoice, period: tuple[int, int], plans: list[Row], purchases: list[Row], beyond: Mapping[str, list[tuple[int, int, int, bool]]]
) -> None:
    """Credits lot by lot, the soonest to expire first, each pays for the earliest use that is still unpaid; then what remains."""
    lots = {row["payment"]: row for row in purchases if row["at"] < period[1]}
    rest = {meter: [list(use) for use in sorted(uses)] for meter, uses in beyond.items()}
    for lot in sorted(lots.values(), key=lambda row: (row["expires_at"] is None, row["expires_at"] or 0, row["at"], row["payment"])):
        left = lot["left"]
        for use in rest.get(lot["meter"], []):
            if use[3] and use[0] + HOUR > lot["at"] and (lot["expires_at"] is None or use[0] < lot["expires_at"]):
                paid = min(left, use[2])
                use[2] -= paid
                left -= paid
        lives = lot["expires_at"] is None or lot["expires_at"] > period[1]
        if lot["left"] and (lot["expires_at"] is None or lot["expires_at"] > period[0]):
            found.credits_left[lot["meter"]] = found.credits_left.get(lot["meter"], 0) + (left if lives else 0)
        if lot["at"] >= period[0]:
            price, scale = number(lot["price"])
            key = (None, f"pack:{lot['pack']}")
            found.lines[key] = found.lines.get(key, 0) + to_cents(price, scale)
    for row in plans:
        for meter in json.loads(row["terms"])["meters"]:
            if meter["kind"] == "counter":
                left = sum(use[2] for use in rest[meter["name"]] if use[1] == row["segment"])
                _settle(found, row["segment"], meter, 1, (left, 1), (row["end_ms"] - row["start_ms"], period[1] - period[0]))


def granted(meter: Row, units: int, time: int, length: int) -> tuple[int, int] | None:
    """What is included for `time` out of `length`, in the units in which the meter counts; None is unlimited."""
    if meter["included"] is None:
        return None
    included, scale = number(meter["included"])
    top, bottom = included * units * time, scale * length
    if not _comes_whole(meter, units):
        return top, bottom
    return -(-top // bottom), 1


def _comes_whole(meter: Row, units: int) -> bool:
    """Whether a part of a unit can be neither billed nor refused: counts, and time whose unit costs whole cents."""
    if meter["kind"] == "counter":
        return True
    if meter["kind"] != "running_hours" or meter.get("tiers"):
        return False
    price, scale = number(meter["price"] or "0")
    return price * 100 % (scale * units) == 0


def over(quantity: tuple[int, int], free: tuple[int, int] | None) -> tuple[int, int]:
    """What of a quantity is beyond what is included, and not less than nothing."""
    if free is None:
        return 0, 1
    return max(0, quantity[0] * free[1] - free[0] * quantity[1]), quantity[1] * free[1]


def number(text: str) -> tuple[int, int]:
    """Decimal text as a whole number and the power of ten that divides it."""
    whole, _, part = text.partition(".")
    return int(whole + part), 10 ** len(part)


def to_cents(top: int, bottom: int) -> int:
    """A fraction of the major unit in cents; a half goes to the even neighbour."""
    cents, rest = divmod(top * 100, bottom)
    if 2 * rest > bottom or (2 * rest == bottom and cents % 2):
        cents += 1
    return cents
