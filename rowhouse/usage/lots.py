"""Credits between the ledger and rating: purchases as lots, and lots as what is carried from one period into the next.

Does: read `purchase` entries, write and read what is left of them. Does not: use any up (credits.py), or sell any (intake.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Any

from rowhouse.errors import RowhouseError
from rowhouse.usage.credits import CreditError
from rowhouse.usage.entries import Entry
from rowhouse.usage.model import Lot

__all__ = ["UNDONE", "lot_data", "lot_from", "lot_of", "lots_of"]

UNDONE = "undone"
"""The state of a `purchase` entry that takes the purchase of its id back."""


def lots_of(purchases: Iterable[Entry]) -> dict[str, list[Lot]]:
    """Tenant to its purchases, whole; less what was taken back. Raises: CreditError naming the payment that cannot be read."""
    found: dict[str, list[Lot]] = {}
    told = [entry for entry in purchases if entry.kind == "purchase"]
    undone = {(entry.tenant, entry.id) for entry in told if entry.state == UNDONE}
    for entry in told:
        if (entry.tenant, entry.id) not in undone:
            found.setdefault(entry.tenant or "", []).append(lot_of(entry))
    return found


def lot_of(purchase: Entry) -> Lot:
    """A purchase as a lot of which nothing is used. Raises: CreditError when a field is missing or no number."""
    try:
        data = purchase.data or {}
        size = int(purchase.number)
        return lot_from({**data, "payment": purchase.id, "pack": purchase.subject, "size": size, "left": size, "at": purchase.at})
    except (InvalidOperation, RowhouseError) as exc:
        raise CreditError(
            f"purchase {purchase.id} of {purchase.tenant} cannot be read: {exc} Restore the ledger from a backup of its store."
        ) from exc


def lot_data(lot: Lot) -> dict[str, Any]:
    """A lot as plain JSON values, the price as exact decimal text: for what a period hands to the next, and for the export."""
    return {**asdict(lot), "price": f"{lot.price:f}"}


def lot_from(data: Mapping[str, Any]) -> Lot:
    """The lot of what `lot_data` wrote. Raises: CreditError when a field is missing, unknown or no number."""
    try:
        return Lot(**{**data, "price": Decimal(data["price"])})
    except (KeyError, TypeError, InvalidOperation) as exc:
        raise CreditError(f"credits cannot be read ({type(exc).__name__}: {exc}). They were not written by this version.") from exc
