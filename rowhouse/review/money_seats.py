"""Who holds a seat of the gate, by the files: seats are bought for all tenants together.

Does: the people of a fleet, each once. Does not: price them (costs.py). Where a tenant lets in a whole domain, those who logged in last
month count in the place of its addresses when they are more: who else will come is not known. Gates of tenants that are not active are
closed, so nobody takes a seat there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rowhouse.review.money_model import Seats
from rowhouse.review.money_month import Month
from rowhouse.spec.model import Fleet
from rowhouse.spec.money import rounded
from rowhouse.usage.vendor_prices import Book

__all__ = ["people_of", "seats_of"]


def people_of(fleet: Fleet, months: Iterable[Month]) -> dict[str, list[str]]:
    """Each person (an address, or the mark of one who came) to the tenants whose gates are open to them."""
    came: dict[str, list[str]] = {}
    for month in months:
        for who, tenants in month.people.items():
            for slug in tenants:
                came.setdefault(slug, []).append(who)
    found: dict[str, list[str]] = {}
    for tenant in fleet.tenants:
        if not tenant.is_active:
            continue
        listed: Sequence[str] = [member for member in tenant.members if not member.startswith("@")]
        seen = came.get(tenant.id, ())
        by_domain = len(listed) < len(tenant.members) and len(seen) > len(listed)
        for person in seen if by_domain else listed:
            found.setdefault(person, []).append(tenant.id)
    return found


def seats_of(people: Mapping[str, Sequence[str]], book: Book) -> Seats:
    """How many there are and what they cost a month."""
    return Seats(len(people), rounded(book.cloudflare.seats_cost(len(people))))
