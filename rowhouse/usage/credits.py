"""Credits bought in advance, used up soonest to expire first.

Does: keep what is left of each purchase while a period is rated in the order of time. Does not: decide what draws on credits (rate.py),
or sell any (the ledger's purchases).
Use is known by the UTC hour, so a purchase counts for the whole hour in which it was made, and one that expires for the whole hour in
which it does: the doubt is the tenant's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from rowhouse.errors import RowhouseError
from rowhouse.usage.model import HOUR_MS, Lot, Window

__all__ = ["CreditError", "Credits", "soonest_first"]

_NEVER = 1 << 62


class CreditError(RowhouseError):
    """Purchases contradict each other or themselves."""


def soonest_first(lots: Iterable[Lot]) -> list[Lot]:
    """Lots in the order in which they are used up: soonest to expire, then oldest, then by payment."""
    return sorted(lots, key=lambda lot: (_NEVER if lot.expires_at is None else lot.expires_at, lot.at, lot.payment))


class Credits:
    """One tenant's lots during one period. The same payment twice is one lot; the order in which they are given changes nothing.

    Raises: CreditError where one payment is two different purchases, or less than nothing or more than its size is left of one.
    """

    def __init__(self, lots: Iterable[Lot], period: Window) -> None:
        by_payment: dict[str, Lot] = {}
        for lot in lots:
            if by_payment.setdefault(lot.payment, lot) != lot:
                raise CreditError(
                    f"payment {lot.payment} is two different purchases of credits. A payment buys one pack once. Restore the ledger."
                )
            if not 0 <= lot.left <= lot.size:
                raise CreditError(
                    f"payment {lot.payment}: {lot.left} of {lot.size} credits are left. Allowed: 0 to all of them. Restore the ledger."
                )
        self._period = period
        self._lots = soonest_first(lot for lot in by_payment.values() if lot.at < period.end)
        self._left = {lot.payment: lot.left for lot in self._lots}
        self._meters = {lot.meter for lot in self._lots if lot.left and not _is_over(lot, period.start)}

    def has(self, meter: str) -> bool:
        """Whether there were any for a meter in the period."""
        return meter in self._meters

    def draw(self, meter: str, hour: int, wanted: int) -> int:
        """Use up to so many for what happened in the UTC hour that starts at `hour`; how many it were."""
        drawn = 0
        for lot in self._lots:
            if drawn == wanted:
                break
            if lot.meter == meter and lot.at < hour + HOUR_MS and not _is_over(lot, hour):
                taken = min(wanted - drawn, self._left[lot.payment])
                self._left[lot.payment] -= taken
                drawn += taken
        return drawn

    def bought(self) -> list[Lot]:
        """What was bought in the period, in the order of purchase."""
        within = [lot for lot in self._lots if lot.at >= self._period.start]
        return sorted(within, key=lambda lot: (lot.at, lot.payment))

    def leftovers(self) -> tuple[Lot, ...]:
        """What can still be used when the period ends, soonest to expire first."""
        return tuple(
            replace(lot, left=self._left[lot.payment])
            for lot in self._lots
            if self._left[lot.payment] and not _is_over(lot, self._period.end)
        )

    def left(self) -> dict[str, Decimal]:
        """Meter to what can still be used of it when the period ends, by meter, for each meter that had any."""
        sums = dict.fromkeys(sorted(self._meters), 0)
        for lot in self.leftovers():
            sums[lot.meter] += lot.left
        return {meter: Decimal(count) for meter, count in sums.items()}


def _is_over(lot: Lot, at: int) -> bool:
    """Whether a lot has expired at an instant."""
    return lot.expires_at is not None and lot.expires_at <= at
