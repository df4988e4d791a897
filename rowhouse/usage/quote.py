"""What would this use cost? A file of made-up use, through the same functions as real use.

Does: clip the file's use to the period, meter it, rate it, and lay the bill out as design.md section 7 says. Does not: read the file
(quote_file.py) or print.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rowhouse.spec import times
from rowhouse.spec.model import Plan
from rowhouse.usage.model import DAY_MS, Bill, Lot, Window
from rowhouse.usage.quote_file import WrittenUse
from rowhouse.usage.quote_meter import metered
from rowhouse.usage.rate import rate

__all__ = ["document_of", "lots_of", "quote"]

TENANT = "quote"


def quote(plan: Plan, period: times.Period, use: WrittenUse) -> Bill:
    """The bill of a tenant who is on a plan for the whole of a period. What lies outside the period is cut off."""
    window = Window.of(period)
    return rate(window, [metered(TENANT, plan, window, use)], lots_of(plan, use))


def lots_of(plan: Plan, use: WrittenUse) -> list[Lot]:
    """The packs that a file says were bought; one bought before the period is not in its bill, and what it holds is still there."""
    packs = {pack.name: pack for pack in plan.packs}
    return [
        Lot(
            payment=f"{TENANT}-{number}",
            pack=name,
            meter=packs[name].meter,
            size=packs[name].size,
            left=packs[name].size,
            price=packs[name].price,
            currency=plan.currency,
            at=at,
            expires_at=None if (days := packs[name].expires_days) is None else at + days * DAY_MS,
        )
        for number, (name, at) in enumerate(use.purchases, start=1)
    ]


def document_of(bill: Bill, plan: Plan, period: str) -> dict[str, Any]:
    """A bill as the document of design.md section 7; every number is a decimal string."""
    return {
        "plan": plan.ref,
        "period": period,
        "currency": bill.currency,
        "lines": [
            {
                "meter": line.meter,
                "quantity": _written(line.quantity),
                "unit": line.unit,
                "included": None if line.included is None else _written(line.included),
                "amount": f"{line.amount:.2f}",
            }
            for line in bill.lines
        ],
        "refused": {meter: _written(count) for meter, count in bill.refused.items()},
        "credits_left": {meter: _written(count) for meter, count in bill.credits_left.items()},
        "total": f"{bill.total:.2f}",
    }


def _written(quantity: Decimal) -> str:
    """A quantity as a decimal string, without an exponent."""
    return f"{quantity:f}"
