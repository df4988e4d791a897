"""What vendors charge, in dated files: for margins, never for a customer's bill.

Does: choose the book of a month, read it, check it. Does not: compute a cost (costs.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from rowhouse.errors import RowhouseError

__all__ = ["Book", "Cloudflare", "Fly", "ObjectStorage", "PriceBookError", "Railway", "Source", "Stripe", "book_for", "read_book"]

_DATE: Final = re.compile(r"^\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?$")
_REGION: Final = re.compile(r"^[a-z0-9-]{2,40}$")


class PriceBookError(RowhouseError):
    """A price book cannot be read; the text names file and figure."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a group of figures is from."""

    page: str
    read: str
    """`2026-08` or `2026-08-07`."""
    unverified: bool
    """Told by others, not by the vendor."""
    assumed: tuple[str, ...] = ()
    """Figures of the group that were read nowhere."""


@dataclass(frozen=True, slots=True)
class Fly:
    """A month is 30 days; machines are billed by the second that they run."""

    source: Source
    shared_cpu_month: Decimal
    performance_cpu_month: Decimal
    memory_gb_month: Decimal
    stopped_root_gb_month: Decimal
    volume_gb_month: Decimal
    region_markup: Mapping[str, Decimal]
    other_region_markup: Decimal
    assumed_root_gb: Decimal

    def markup(self, region: str) -> Decimal:
        """By what a region multiplies the base price."""
        return self.region_markup.get(region, self.other_region_markup)


@dataclass(frozen=True, slots=True)
class Railway:
    """A month is 30 days."""

    source: Source
    cpu_month: Decimal
    memory_gb_month: Decimal
    volume_gb_month: Decimal


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """Seats of Access, of all tenants together."""

    source: Source
    free_seats: Decimal
    seat_month: Decimal

    def seats_cost(self, seats: int) -> Decimal:
        """Of a month with so many seats: nothing up to the free ones, else every one."""
        return Decimal(0) if seats <= self.free_seats else seats * self.seat_month


@dataclass(frozen=True, slots=True)
class Stripe:
    """Percent of what is billed, and of what is paid with a card."""

    source: Source
    billing_percent: Decimal
    payment_percent: Decimal
    payment_fixed: Decimal

    def fee(self, billed: Decimal) -> Decimal:
        """Of one invoice; nothing of nothing."""
        return billed * (self.billing_percent + self.payment_percent) / 100 + self.payment_fixed if billed > 0 else Decimal(0)


@dataclass(frozen=True, slots=True)
class ObjectStorage:
    """Where the ledger lies."""

    source: Source
    gb_month: Decimal
    million_writes: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """One dated price book."""

    name: str
    currency: str
    valid_from: str
    """The first month that it is for, `2026-11`."""
    fly: Fly
    railway: Railway
    cloudflare: Cloudflare
    stripe: Stripe
    object_storage: ObjectStorage

    def sources(self) -> dict[str, Source]:
        """Vendor to where its figures are from."""
        return {name: getattr(self, name).source for name in _GROUPS}


_GROUPS: Final[Mapping[str, type[Any]]] = {
    "fly": Fly,
    "railway": Railway,
    "cloudflare": Cloudflare,
    "stripe": Stripe,
    "object_storage": ObjectStorage,
}


def book_for(month: str) -> Book:
    """The latest shipped book that is not newer than a month; the oldest one for a month before all of them."""
    folder = resources.files(__name__)
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".yaml"))
    fitting = [name for name in names if name.removesuffix(".yaml") <= month] or names[:1]
    return _book(fitting[-1], folder.joinpath(fitting[-1]).read_text(encoding="utf-8"))


def read_book(path: Path) -> Book:
    """A book of one's own. Raises: PriceBookError naming what is wrong in it."""
    try:
        return _book(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise PriceBookError(f"{path}: the price book cannot be read ({type(exc).__name__}). Give the path of a YAML file.") from exc


def _book(name: str, text: str) -> Book:
    try:
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes nothing but text, lists and maps
    except yaml.YAMLError as exc:
        raise PriceBookError(f"{name}: it is no YAML: {' '.join(str(exc).split())}. Compare it with the one that is shipped.") from exc
    _keys(name, "", document, {"currency", "valid_from", *_GROUPS})
    currency = document["currency"]
    if not re.fullmatch(r"[a-z]{3}", str(currency)):
        raise PriceBookError(f"{name}: currency {currency!r} is none. Write three small letters, such as usd.")
    return Book(
        name, currency, _date(name, "valid_from", document["valid_from"]), **{key: _group(name, key, document[key]) for key in _GROUPS}
    )


def _group(name: str, key: str, found: Any) -> Any:
    kind = _GROUPS[key]
    figures = {field.name for field in fields(kind)} - {"source"}
    _keys(name, key, found, {"page", "read", *figures}, {"unverified", "assumed"})
    page, flag = str(found["page"]), str(found.get("unverified", "false"))
    if not page.startswith("https://"):
        raise PriceBookError(f"{name}: {key}.page must be the address of the page that the figures are from, not {page!r}.")
    if flag not in {"true", "false"}:
        raise PriceBookError(f"{name}: {key}.unverified is {flag!r}. Allowed: true, false.")
    assumed = found.get("assumed", [])
    if not isinstance(assumed, list) or not figures.issuperset(assumed):
        raise PriceBookError(f"{name}: {key}.assumed must be a list of figures of {key}: {', '.join(sorted(figures))}.")
    source = Source(page, _date(name, f"{key}.read", found["read"]), flag == "true", tuple(assumed))
    values: dict[str, Any] = {}
    for figure in figures:
        values[figure] = (
            _markups(name, f"{key}.{figure}", found[figure])
            if figure == "region_markup"
            else _number(name, f"{key}.{figure}", found[figure])
        )
    return kind(source=source, **values)


def _keys(name: str, where: str, found: Any, wanted: set[str], allowed: frozenset[str] | set[str] = frozenset()) -> None:
    if not isinstance(found, dict):
        raise PriceBookError(f"{name}: {where or 'the book'} must be keys and values. Compare it with the one that is shipped.")
    missing, unknown = sorted(wanted - set(found)), sorted(set(found) - wanted - allowed)
    if missing or unknown:
        what = f"{missing[0]} is missing" if missing else f"{unknown[0]!r} is unknown"
        raise PriceBookError(f"{name}: {f'{where}: ' if where else ''}{what}. Keys: {', '.join(sorted(wanted | allowed))}.")


def _markups(name: str, where: str, found: Any) -> dict[str, Decimal]:
    if not isinstance(found, dict) or not all(_REGION.match(str(region)) for region in found):
        raise PriceBookError(f'{name}: {where} must be regions and numbers, such as {{ams: "1.041"}}.')
    return {str(region): _number(name, f"{where}.{region}", value) for region, value in found.items()}


def _number(name: str, where: str, text: Any) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0 or value >= 10**9:
        raise PriceBookError(f'{name}: {where} is {text!r}, which is no price. Write a number from 0 on, such as "0.15".')
    return value


def _date(name: str, where: str, text: Any) -> str:
    if not _DATE.match(str(text)):
        raise PriceBookError(f"{name}: {where} is {text!r}, which is no date. Write it like 2026-11 or 2026-11-21.")
    return str(text)
