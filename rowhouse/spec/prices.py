"""A plan as Stripe's products, meters and prices, as plain data.

Does: decide names, amounts and the unit in which a meter's quantity is sent. Does not: talk to Stripe, or apply allowances there:
Rowhouse rates (allowances are prorated on a plan change and credits come first, which a tier cannot know), and sends what is to be
billed beyond them.

The unit: a meter's own whole unit (second, minute, hour, count) where that unit costs a whole number of cents, else rated cents at one
cent each.
Stripe takes prices with twelve decimals of a cent, but how it rounds a line with a fraction of a cent is its own business and ours is
half-even:
whole cents make bill and invoice equal whatever it does. Graduated prices are always sent as cents.
Source: design.md decisions 6 and 7; Stripe API 2026-10-28 (metered prices need a meter; unit_amount_decimal is in cents).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from rowhouse.spec.model import Catalog, Meter, Plan
from rowhouse.spec.money import exact_decimal, rounded, shown
from rowhouse.spec.names import meter_event_name, price_lookup_key, stripe_product_id

__all__ = [
    "BASE",
    "MINIMUM",
    "BilledUnit",
    "MeterSpec",
    "PriceSpec",
    "ProductSpec",
    "billed_unit",
    "meter_specs",
    "monthly_price",
    "price_specs",
    "product_spec",
    "rate_words",
    "rates_words",
    "terms_words",
    "tiers_words",
]

BASE = "base"
"""The name under which a plan's base price stands among its meters, on bills and in lookup keys."""

MINIMUM = "minimum"
"""The name of the line that brings a month up to the plan's minimum."""

BilledUnit = Literal["second", "minute", "hour", "count", "cent"]

_STRIPE_DECIMALS = 12
_UNITS_PER_HOUR: dict[str | None, tuple[BilledUnit, int]] = {
    "second": ("second", 3600),
    "minute": ("minute", 60),
    "hour_up": ("hour", 1),
    "hour_any": ("hour", 1),
}


@dataclass(frozen=True, slots=True)
class ProductSpec:
    """One plan as a Stripe product."""

    product_id: str
    name: str
    catalog: str
    plan: str


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """One meter at Stripe: a meter of a catalog that at least one plan bills, in one unit."""

    event_name: str
    display_name: str
    catalog: str


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """One price of a plan: its base, or one billed meter."""

    lookup_key: str
    product_id: str
    nickname: str
    currency: str
    unit_amount_decimal: str
    """Of one unit, in cents, a decimal string that is exact in Stripe's twelve decimals."""
    usage_type: Literal["licensed", "metered"]
    meter: str
    """The meter's name, or `base`."""
    meter_event_name: str | None
    """Of metered prices only."""
    unit: BilledUnit
    """What one of the quantity is; a base is counted."""
    interval: Literal["month"] = "month"


def monthly_price(plan: Plan) -> Decimal:
    """What a plan costs each month before any use beyond what it includes, in the currency's major unit."""
    return plan.price


def billed_unit(meter: Meter) -> tuple[BilledUnit, Decimal]:
    """The unit in which what a meter bills is sent to Stripe, and the price of one in cents (whole, by the rule above)."""
    if meter.tiers:
        return "cent", Decimal(1)  # which unit falls into which tier depends on the allowance, and that on the time on the plan
    price = Fraction(meter.price or 0) * 100
    if meter.kind == "running_hours":
        unit, per_hour = _UNITS_PER_HOUR[meter.rounding]
        if (price / per_hour).denominator == 1:
            return unit, Decimal(int(price / per_hour))
    elif meter.kind == "counter" and price.denominator == 1:
        return "count", Decimal(int(price))
    # A mean of GB over a period is no whole number of anything, and neither is a cent split among seconds.
    return "cent", Decimal(1)


def product_spec(project: str, plan: Plan) -> ProductSpec | None:
    """A plan's product; None for a free plan, which is not at Stripe."""
    if plan.is_free:
        return None
    return ProductSpec(stripe_product_id(project, plan.catalog, plan.name), plan.title, plan.catalog, plan.name)


def price_specs(project: str, plan: Plan) -> tuple[PriceSpec, ...]:
    """A plan's prices: the base, then each billed meter by name; none for a free plan.

    A base of zero is left out where a metered price stands, because a subscription needs one item and an invoice no line of nothing.
    """
    if plan.is_free:
        return ()
    product = stripe_product_id(project, plan.catalog, plan.name)
    metered = tuple(_metered(project, plan, product, meter) for meter in plan.meters if meter.is_billed)
    if plan.price == 0 and metered:
        return metered
    base = PriceSpec(
        lookup_key=price_lookup_key(project, plan.catalog, plan.name, BASE),
        product_id=product,
        nickname=f"{plan.ref} {BASE}",
        currency=plan.currency,
        unit_amount_decimal=_cents(Fraction(plan.price) * 100),
        usage_type="licensed",
        meter=BASE,
        meter_event_name=None,
        unit="count",
    )
    return (base, *metered)


def _metered(project: str, plan: Plan, product: str, meter: Meter) -> PriceSpec:
    """The price of one billed meter of a plan."""
    unit, cents = billed_unit(meter)
    return PriceSpec(
        lookup_key=price_lookup_key(project, plan.catalog, plan.name, meter.name),
        product_id=product,
        nickname=f"{plan.ref} {meter.name} ({unit})",
        currency=plan.currency,
        unit_amount_decimal=_cents(Fraction(cents)),
        usage_type="metered",
        meter=meter.name,
        meter_event_name=_event_name(project, plan.catalog, meter),
        unit=unit,
    )


def _event_name(project: str, catalog: str, meter: Meter) -> str:
    """The event name of a meter in its billed unit: a price change that changes the unit gets another Stripe meter, so units never mix."""
    return meter_event_name(project, catalog, f"{meter.name}_{billed_unit(meter)[0]}")


def _cents(value: Fraction) -> str:
    """A price in cents as Stripe takes it. Prices of files are exact in it, because files allow at most twelve decimals of the major
    unit.
    """
    text = exact_decimal(value, _STRIPE_DECIMALS)
    assert text is not None, value
    return text


def rate_words(cents: str | Decimal, currency: str, unit: str) -> str:
    """What one unit costs, for people: `20.00 USD a month`, `0.10 USD an hour`, `0.05 USD each` of what is counted."""
    major = Decimal(cents).scaleb(-2)
    amount = shown(major, currency) if major == rounded(major) else f"{major.normalize():f} {currency.upper()}"
    if unit == "count":
        return f"{amount} each"
    return f"{amount} {'an' if unit == 'hour' else 'a'} {unit}"


def terms_words(plan: Plan) -> dict[str, str]:
    """What a plan costs, for people: the base price with the plan's name, and what each billed meter costs beyond what is included."""
    least = f", at least {rate_words(plan.minimum * 100, plan.currency, 'month')} with all use" if plan.minimum else ""
    words = {BASE: f"{plan.ref} {rate_words(monthly_price(plan) * 100, plan.currency, 'month')}{least}"}
    for meter in plan.meters:
        if meter.is_billed and meter.tiers:
            words[meter.name] = tiers_words(meter, plan.currency)
        elif meter.is_billed:
            unit, cents = billed_unit(meter)
            rated = unit == "cent"  # sent as money: the rate is the meter's own
            words[meter.name] = rate_words(
                (meter.price or Decimal(0)) * 100 if rated else cents, plan.currency, meter.unit if rated else unit
            )
    return words


def tiers_words(meter: Meter, currency: str) -> str:
    """A graduated price for people: `0.10 USD an hour up to 100, then 0.05 USD an hour`."""
    steps = [
        rate_words(tier.price * 100, currency, meter.unit) + ("" if tier.up_to is None else f" up to {tier.up_to.normalize():f}")
        for tier in meter.tiers
    ]
    return ", then ".join(steps)


def rates_words(plan: Plan) -> tuple[str, ...]:
    """What each billed meter of a plan costs beyond what is included, for people, in the order of the meters: `0.10 USD an hour`."""
    return tuple(words for name, words in terms_words(plan).items() if name != BASE)


def meter_specs(project: str, catalog: Catalog) -> tuple[MeterSpec, ...]:
    """The meters at Stripe that a catalog needs, by name: one for each meter that any plan bills and each unit in which it is billed."""
    billed = {
        _event_name(project, catalog.id, meter): f"{catalog.title}: {meter.name} ({billed_unit(meter)[0]})"
        for plan in catalog.plans
        for meter in plan.meters
        if meter.is_billed
    }
    return tuple(MeterSpec(event_name, title, catalog.id) for event_name, title in sorted(billed.items()))
