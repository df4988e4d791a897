"""One tenant's money before and after a change of the files: a row, its two sides, the limits that it meets otherwise.

Does: hold values, frozen, compare them, and lay them out as JSON. Does not: compute a bill (money_replay.py) or add rows up
(money_model.py). Money is in the currency's major unit; cost is in the price book's currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal

__all__ = ["NOTHING", "Basis", "Crossing", "Row", "Side"]

NOTHING: Final = Decimal("0.00")
Basis = Literal["replayed", "estimated"]
"""`replayed`: from what was used in a closed month. `estimated`: from an assumption, which the row's notes say."""


@dataclass(frozen=True, slots=True)
class Side:
    """One tenant before or after the change, a month."""

    plan: str
    """`<catalog>/<plan>`."""
    currency: str
    """That of the bill."""
    revenue: Mapping[str, Decimal]
    """Currency to the sum of the bill's lines in it; catalogs may differ in one bill."""
    cost: Decimal
    """At the vendors, in the book's currency, to the cent."""
    parts: Mapping[str, str]
    """What the cost is made of, as `costs.PARTS` names it, each to the cent."""
    guessed: Decimal = NOTHING
    """How much of the cost is an estimate, because an instance has no use yet."""
    leaving: bool = False
    """Whether the plan has ended."""

    @property
    def bill(self) -> Decimal:
        """What is billed in the bill's own currency."""
        return self.revenue.get(self.currency, NOTHING)

    def margin(self, currency: str) -> Decimal | None:
        """Revenue less cost; None where any of it is in a currency other than the cost's."""
        if any(amount for name, amount in self.revenue.items() if name != currency) or self.currency != currency:
            return None
        return self.bill - self.cost

    def document(self, currency: str) -> dict[str, Any]:
        """As plain values."""
        margin = self.margin(currency)
        return {
            "plan": self.plan,
            "revenue": {name: str(amount) for name, amount in self.revenue.items()},
            "cost": {**self.parts, "total": str(self.cost), "estimated": str(self.guessed)},
            "margin": None if margin is None else str(margin),
            "leaving": self.leaving,
        }


@dataclass(frozen=True, slots=True, order=True)
class Crossing:
    """A limit that the same use meets otherwise after the change."""

    tenant: str
    meter: str
    what: Literal["reaches", "leaves", "starts-paying", "stops-paying"]
    """A limit beyond which use is refused is reached or left; use beyond what is included begins or ceases to cost."""
    words: str
    """How much was used, and of how much."""


@dataclass(frozen=True)  # no slots: what is asked for ten times over is computed once
class Row:
    """One tenant before and after."""

    tenant: str
    basis: Basis
    month: str
    """The closed month that was replayed; empty for an estimate without one."""
    before: Side | None
    """None for a new tenant."""
    after: Side | None
    """None where the file is gone."""
    notes: tuple[str, ...] = ()
    """What was assumed or could not be known, in sentences without an end."""
    crossings: tuple[Crossing, ...] = ()

    @property
    def stays(self) -> bool:
        """Whether it is a customer before and after: else its bill begins or ends, and does not change."""
        return self.before is not None and self.after is not None and not self.before.leaving and not self.after.leaving

    @cached_property
    def change(self) -> Decimal | None:
        """By how much the bill changes; None where the currencies differ, or one side has no bill."""
        if self.before is None or self.after is None:
            return None
        currencies = {name for side in (self.before, self.after) for name, amount in side.revenue.items() if amount}
        if len(currencies) > 1:
            return None
        currency = next(iter(currencies), self.after.currency)
        return self.after.revenue.get(currency, NOTHING) - self.before.revenue.get(currency, NOTHING)

    @cached_property
    def share(self) -> Decimal | None:
        """The same as a share of the bill before, 0.25 for 25 % more; None where that was nothing or there is no change to tell."""
        if not self.change or self.before is None or not self.before.bill:
            return Decimal(0) if self.change == 0 else None
        return self.change / self.before.bill

    @cached_property
    def cost_change(self) -> Decimal:
        """By how much the cost changes; what is not there costs nothing."""
        return (self.after.cost if self.after else NOTHING) - (self.before.cost if self.before else NOTHING)

    def document(self, currency: str) -> dict[str, Any]:
        """As plain values."""
        change, share = self.change, self.share
        return {
            "tenant": self.tenant,
            "basis": self.basis,
            "month": self.month or None,
            "before": None if self.before is None else self.before.document(currency),
            "after": None if self.after is None else self.after.document(currency),
            "bill_change": None if change is None else str(change),
            "bill_change_percent": None if share is None else f"{share * 100:.2f}",
            "cost_change": str(self.cost_change),
            "limits": [{"meter": one.meter, "what": one.what, "words": one.words} for one in self.crossings],
            "notes": list(self.notes),
        }
