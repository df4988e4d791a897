"""One side of a change: every tenant's use under the files of that side, its bill, its cost.

Does: choose replay or estimate, rate, price. Does not: compare the sides (money.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rowhouse.review.money_concern import is_leaving, tenants_of
from rowhouse.review.money_guess import Mean, guess_missing, guessed
from rowhouse.review.money_month import Month
from rowhouse.review.money_replay import Shelf, Use, replayed
from rowhouse.review.money_rows import Side
from rowhouse.spec.model import Fleet, Tenant
from rowhouse.spec.money import rounded
from rowhouse.usage.costs import PARTS, Costs, TenantCost, disk_cost, machine_cost, priced
from rowhouse.usage.model import Bill
from rowhouse.usage.rate import rate
from rowhouse.usage.vendor_prices import Book
from rowhouse.usage.vendor_use import VendorUse

__all__ = ["Account", "FleetSide"]


@dataclass(frozen=True, slots=True)
class Account:
    """One tenant on one side."""

    use: Use
    bill: Bill | None
    """None where its plan has ended."""


class FleetSide:
    """A fleet as one side of a change."""

    def __init__(self, fleet: Fleet) -> None:
        self.tenants: Mapping[str, Tenant] = tenants_of(fleet)
        self._shelf = Shelf.of(fleet)

    def account(self, slug: str, other: FleetSide, month: Month | None, means: Mapping[str, Mean]) -> Account | None:
        """A tenant's use and bill on this side; None where this side has no such tenant.

        Args: month: of the tenant's cell; its use is replayed where the month has any, else estimated. Raises: RatingError, CreditError.
        """
        mine, theirs = self.tenants.get(slug), other.tenants.get(slug)
        if mine is None:
            return None
        if month is not None and slug in month.used:
            use = replayed(mine, theirs, month, self._shelf, other._shelf)
            guess_missing(use, mine, theirs, month, means)
        else:
            use = guessed(mine, theirs, month, means)
        return Account(use, rate(use.period, use.segments, use.lots) if use.segments else None)

    def sides(self, accounts: Mapping[str, Account], people: Mapping[str, Sequence[str]], book: Book) -> tuple[dict[str, Side], Costs]:
        """Tenant to what it brings and costs on this side, and all costs. Args: people: who holds a seat, of all tenants."""
        use = VendorUse(
            [machine for account in accounts.values() for machine in account.use.machines],
            [disk for account in accounts.values() for disk in account.use.disks],
            people,
        )
        bills = [account.bill for account in accounts.values() if account.bill is not None]
        costs = priced(use, bills, {slug: account.use.segments for slug, account in accounts.items()}, book)
        return {slug: self._side(slug, account, costs.tenants[slug], book) for slug, account in accounts.items()}, costs

    def _side(self, slug: str, account: Account, cost: TenantCost, book: Book) -> Side:
        tenant = self.tenants[slug]
        parts = cost.document()
        return Side(
            plan=tenant.plan.ref,
            currency=tenant.plan.currency if account.bill is None else account.bill.currency,
            revenue={} if account.bill is None else account.bill.totals,
            cost=cost.total,
            parts={name: parts[name] for name in PARTS},
            guessed=_guessed(account.use, book),
            leaving=is_leaving(tenant),
        )


def _guessed(use: Use, book: Book) -> Decimal:
    """What those machines and volumes cost whose time is an estimate."""
    machines = sum((machine_cost(one, book) for one in use.machines if one.instance in use.guessed), Decimal(0))
    return rounded(machines + sum((disk_cost(one, book) for one in use.disks if one.instance in use.guessed), Decimal(0)))
