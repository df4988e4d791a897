"""What holds of all figures of a review: where vendor prices are from, what was taken for granted, what is not counted.

Does: say it in sentences. Does not: hold what is only one tenant's (a row's notes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rowhouse.review.money_side import Account
from rowhouse.spec.model import Fleet
from rowhouse.usage.costs import NOT_COUNTED
from rowhouse.usage.vendor_prices import Book

__all__ = ["assumed_of"]

Pair = tuple[Account | None, Account | None]


def assumed_of(fleets: tuple[Fleet, Fleet], pairs: Mapping[str, Pair], costs: Iterable[str], book: Book) -> tuple[str, ...]:
    """Sentences, each once. Args: costs: what pricing assumed."""
    found = [f"Vendor prices: {book.name}, {book.currency.upper()}, list prices without tax"]
    told = sorted(name for name, source in book.sources().items() if source.unverified)
    if told:
        found.append(f"Prices of {', '.join(told)} were told by others, not by the vendor")
    found += [f"Assumed: {words}" for words in dict.fromkeys(costs)]
    hosts = {machine.host for pair in pairs.values() for account in pair if account is not None for machine in account.use.machines}
    if "docker" in hosts:
        found.append("A Docker host has no vendor's price: what runs there counts as nothing")
    if "railway" in hosts:
        found.append("Railway is taken at the full size while a machine runs, which is the most that it can cost")
    found.append("Seats: one for each address in `members`, of all active tenants together")
    if any(member.startswith("@") for fleet in fleets for tenant in fleet.tenants for member in tenant.members):
        found.append("Of a whole domain in `members`: those who logged in last month")
    if _is_booked_otherwise(pairs):
        found.append("Counts between two readings stay in the day or hour in which the ledger booked them")
    found.append(f"Not counted: {NOT_COUNTED}")
    return tuple(found)


def _is_booked_otherwise(pairs: Mapping[str, Pair]) -> bool:
    """Whether a side grants what is counted by other days or hours, or other amounts, than the other one."""

    def grants(account: Account | None) -> set[tuple[object, ...]]:
        segments = () if account is None else account.use.segments
        return {
            (meter.name, meter.per, meter.included)
            for segment in segments
            for meter in segment.plan.meters
            if meter.kind == "counter" and meter.per != "period"
        }

    seen: set[tuple[int, int]] = set()
    for before, after in pairs.values():
        if before is None or after is None or not before.use.segments or not after.use.segments:
            continue
        key = (id(before.use.segments[-1].plan), id(after.use.segments[-1].plan))
        if key not in seen and grants(before) != grants(after):
            return True
        seen.add(key)
    return False
