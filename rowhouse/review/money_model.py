"""What a change of the files does to money as a whole: all rows, their sums, seats, what was assumed and what the limits say.

Does: hold values, frozen, sort and add them up, and lay them out as JSON. Does not: compute a row (money.py), judge (money_judge.py) or
write a comment (money_words.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from rowhouse.review.money_rows import NOTHING, Basis, Crossing, Row

__all__ = ["Judgement", "Money", "Seats", "Sum", "totals_of"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Rows of one basis whose bills are in one currency, added up. Cost is in the book's currency whatever the bills' is."""

    basis: Basis
    currency: str
    tenants_before: int
    tenants_after: int
    revenue_before: Decimal
    revenue_after: Decimal
    cost_before: Decimal
    cost_after: Decimal

    def margins(self, currency: str) -> tuple[Decimal, Decimal] | None:
        """Before and after; None where bills are in another currency than cost."""
        return (self.revenue_before - self.cost_before, self.revenue_after - self.cost_after) if self.currency == currency else None

    def document(self, currency: str) -> dict[str, Any]:
        """As plain values."""
        margins = self.margins(currency)
        return {
            "basis": self.basis,
            "currency": self.currency,
            "tenants": {"before": self.tenants_before, "after": self.tenants_after},
            "revenue": {"before": str(self.revenue_before), "after": str(self.revenue_after)},
            "cost": {"before": str(self.cost_before), "after": str(self.cost_after)},
            "margin": None if margins is None else {"before": str(margins[0]), "after": str(margins[1])},
        }


@dataclass(frozen=True, slots=True)
class Seats:
    """People who may pass a gate, of all tenants together, and what their seats cost a month."""

    people: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the project's limits say to a change."""

    blocks: tuple[str, ...] = ()
    """Why it must not be merged, in sentences; empty when nothing forbids it."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, and forbids nothing."""


@dataclass(frozen=True, slots=True)
class Money:
    """What a change of the files does to cost, bills and margin, a month."""

    currency: str
    """The price book's."""
    rows: tuple[Row, ...]
    """Those concerned (or all, when all were asked for), by tenant."""
    months: Mapping[str, str | None]
    """Cell to the closed month that was replayed; None where there is none."""
    seats_before: Seats
    seats_after: Seats
    shared: Decimal | None
    """What belongs to no tenant (edge, ledger, what those who left still cost), of the months; the same before and after. None where
    only some tenants were read.
    """
    assumed: tuple[str, ...]
    """What holds of all figures, in sentences."""
    book: str
    failed: Mapping[str, str] = field(default_factory=dict)
    """Tenant to why nothing can be said about it."""
    unread: int = 0
    """Tenants whose share of the seats changes and whose month was not read."""
    unopened: tuple[str, ...] = ()
    """Cells whose ledger is at a remote store that was not asked; their tenants are estimated."""
    judgement: Judgement = field(default_factory=Judgement)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Why the change must not be merged, in sentences."""
        return self.judgement.blocks

    @property
    def totals(self) -> tuple[Sum, ...]:
        """By basis (replayed first) and currency."""
        return totals_of(self.rows)

    @property
    def losers(self) -> tuple[Row, ...]:
        """Customers who pay more, largest change first."""
        return _by_size(row for row in self.rows if row.stays and (row.change or 0) > 0)

    @property
    def winners(self) -> tuple[Row, ...]:
        """Customers who pay less, largest change first."""
        return _by_size(row for row in self.rows if row.stays and (row.change or 0) < 0)

    @property
    def incomparable(self) -> tuple[Row, ...]:
        """Customers whose bill moves to another currency."""
        return tuple(row for row in self.rows if row.stays and row.change is None)

    @property
    def begins(self) -> tuple[Row, ...]:
        """Who becomes a customer."""
        return tuple(row for row in self.rows if row.after and not row.after.leaving and (row.before is None or row.before.leaving))

    @property
    def ends(self) -> tuple[Row, ...]:
        """Who ceases to be one."""
        return tuple(row for row in self.rows if row.before and not row.before.leaving and (row.after is None or row.after.leaving))

    @property
    def dearer(self) -> tuple[Row, ...]:
        """Customers with the same bill who cost another amount, largest change first."""
        same = (row for row in self.rows if row.stays and row.change == 0 and row.cost_change)
        return tuple(sorted(same, key=lambda row: (-abs(row.cost_change), row.tenant)))

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """Of all rows, by tenant and meter."""
        return tuple(crossing for row in self.rows for crossing in row.crossings)

    @property
    def is_nothing(self) -> bool:
        """Whether no figure of any tenant changes."""
        return not any((row.change is None or row.change or row.cost_change or row.crossings) for row in self.rows)

    def document(self) -> dict[str, Any]:
        """As plain JSON values, money as decimal text."""
        seats = {"before": self.seats_before, "after": self.seats_after}
        return {
            "currency": self.currency,
            "months": dict(self.months),
            "totals": [one.document(self.currency) for one in self.totals],
            "seats": {name: {"people": one.people, "cost": str(one.cost)} for name, one in seats.items()},
            "shared_cost": None if self.shared is None else str(self.shared),
            "tenants": len(self.rows),
            "pay_more": len(self.losers),
            "pay_less": len(self.winners),
            "rows": [row.document(self.currency) for row in self.rows],
            "failed": dict(self.failed),
            "unread": self.unread,
            "unopened": list(self.unopened),
            "blocks": list(self.judgement.blocks),
            "warnings": list(self.judgement.warnings),
            "assumed": list(self.assumed),
            "prices": self.book,
        }


def _by_size(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (-abs(row.change or NOTHING), row.tenant)))


def totals_of(rows: Sequence[Row]) -> tuple[Sum, ...]:
    """The sums of rows, replayed and estimated ones apart, by the currency of their bills."""
    sums: dict[tuple[Basis, str], list[Decimal]] = {}

    def add(row: Row, currency: str, at: int, amount: Decimal | int) -> None:
        sums.setdefault((row.basis, currency), [Decimal(0), Decimal(0), NOTHING, NOTHING, NOTHING, NOTHING])[at] += amount

    for row in rows:
        for at, side in enumerate((row.before, row.after)):
            if side is not None:
                add(row, side.currency, at, 0 if side.leaving else 1)
                add(row, side.currency, 4 + at, side.cost)
                for currency, amount in side.revenue.items():
                    add(row, currency, 2 + at, amount)
    order = sorted(sums.items(), key=lambda item: (item[0][0] != "replayed", item[0][1]))
    return tuple(Sum(basis, currency, int(held[0]), int(held[1]), *held[2:]) for (basis, currency), held in order)
