"""What a quantity costs under a price: per unit, graduated and volume tiers, exact until the line is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

__all__ = ["amount_for", "decimal_text", "to_minor", "unit_fields"]


def decimal_text(value: Decimal) -> str:
    """A decimal as Stripe writes it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def unit_fields(name: str, value: Decimal | None) -> dict[str, Any]:
    """`<name>` (None unless whole) and `<name>_decimal` of an amount."""
    if value is None:
        return {name: None, f"{name}_decimal": None}
    return {name: int(value) if value == value.to_integral_value() else None, f"{name}_decimal": decimal_text(value)}


def to_minor(amount: Decimal) -> int:
    """An amount rounded once, to whole minor units; halves away from zero (inferred)."""
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _dec(value: Any) -> Decimal:
    return Decimal(value) if value is not None else Decimal(0)


def amount_for(price: Mapping[str, Any], tiers: list[dict[str, Any]] | None, quantity: Decimal) -> Decimal:
    """The exact amount in minor units; a negative quantity costs nothing.

    Source: reference on tiered prices: graduated fills each tier in turn, volume takes the tier that the total lies in.
    """
    quantity = max(quantity, Decimal(0))
    if price["billing_scheme"] == "per_unit":
        transform = price.get("transform_quantity")
        if transform:
            rounding = ROUND_CEILING if transform["round"] == "up" else ROUND_FLOOR
            quantity = (quantity / transform["divide_by"]).to_integral_value(rounding=rounding)
        return quantity * _dec(price["unit_amount_decimal"])
    total, floor = Decimal(0), Decimal(0)
    for tier in tiers or []:
        ceiling = Decimal(tier["up_to"]) if tier["up_to"] is not None else None
        reached = ceiling is None or quantity <= ceiling
        if price["tiers_mode"] == "volume":
            if reached:
                return quantity * _dec(tier["unit_amount_decimal"]) + (_dec(tier["flat_amount_decimal"]) if quantity else 0)
            continue
        inside = (quantity if reached or ceiling is None else ceiling) - floor
        if inside > 0:
            total += inside * _dec(tier["unit_amount_decimal"]) + _dec(tier["flat_amount_decimal"])
        if reached or ceiling is None:
            break
        floor = ceiling
    return total
