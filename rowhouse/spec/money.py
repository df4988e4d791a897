"""Money: Decimal in the currency's major unit, rounded once, half-even, to the minor unit. Currencies here have two decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

__all__ = ["CENT", "exact_decimal", "minor_units", "rounded", "shown"]

CENT = Decimal("0.01")


def rounded(amount: Decimal | Fraction) -> Decimal:
    """An exact amount in the major unit, rounded half-even to two decimals: the one rounding of an invoice's line."""
    # In whole numbers, because a bill has many lines: four times as quick as `round(Fraction(amount) * 100)`, which it equals.
    top, bottom = amount.as_integer_ratio()
    cents, rest = divmod(top * 100, bottom)
    # From text, because arithmetic would cut a number off at the context's digits.
    return Decimal(f"{cents + (2 * rest > bottom or (2 * rest == bottom and cents % 2 == 1))}E-2")


def minor_units(amount: Decimal) -> int:
    """An amount in cents. Raises ValueError where it has a fraction of a cent: rounding is the line's business, not the vendor edge's."""
    cents = amount.scaleb(2)
    if cents != cents.to_integral_value():
        msg = f"{amount} has a fraction of a cent; round it first"
        raise ValueError(msg)
    return int(cents)


def exact_decimal(value: Fraction, decimals: int) -> str | None:
    """A fraction as a decimal string, when it is exact with so many decimals; else None."""
    scaled = value * 10**decimals
    if scaled.denominator != 1:
        return None
    with localcontext() as context:
        context.prec = 60
        return f"{Decimal(scaled.numerator).scaleb(-decimals).normalize():f}"


def shown(amount: Decimal, currency: str) -> str:
    """An amount for people: `20.00 USD`."""
    return f"{amount.quantize(CENT, rounding=ROUND_HALF_EVEN)} {currency.upper()}"
