"""A bill against what the sink has billed of the same service period: line by line, to the cent.

Does: say what agrees, what must be put on the next invoice, what waits for the sink's own count, and what nobody here can explain. Does
not: ask or change anything. Pure.

The base is one line of the period whatever plans it went through, because a sink invoices it in advance. A meter's line belongs to the
last segment that it was there for. A line that a sink still counts (a draft's metered one) must come to the bill's amount by itself;
every other difference is an item, so that what a sink billed of an ended segment by its own rules is billed once.
Source: design.md decisions 6 and 7, law 7.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rowhouse.spec.money import minor_units
from rowhouse.spec.prices import BASE
from rowhouse.usage.model import PACK, Bill, Line
from rowhouse.usage.sink import Charge, Item

__all__ = ["Match", "Waiting", "compare", "keyed", "shown_cents"]


_SKEW_MS = 1500
"""By how much the sink's and the ledger's second of the same change may differ."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A metered line of a draft that is not what the bill says, yet."""

    key: str
    line: Line
    expected: int
    """Cents, of this line alone: the bill's amount less what is billed of it elsewhere."""
    found: int
    late: bool
    """No total of it can be sent any more, because it is too late or its segment ended before the period did; so the rest is an item."""
    existing: Charge | None = None
    """The item that stands beside it on the draft."""

    def item(self, counted: int, month: str) -> Item | None:
        """What must stand beside the line when the sink counts so many cents of it; None where nothing changes."""
        existing = self.existing.cents if self.existing else 0
        missing = self.expected - counted
        if not missing:
            return None
        text = _text(self.line)
        replaces = self.existing.id if self.existing else ""
        return Item(self.key, month, existing + missing, self.line.currency, self.line.start, self.line.end, text, replaces)


@dataclass(slots=True)
class Match:
    """What comparing gave."""

    items: list[Item] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """Lines that are nobody's of ours; while there are any, the invoice stays a draft."""

    @property
    def agrees(self) -> bool:
        """Whether bill and sink say the same."""
        return not (self.items or self.waiting or self.strange)


@dataclass(slots=True)
class _Side:
    """One line of the bill (or of nothing), and what was charged for it."""

    key: str
    cents: int
    currency: str
    start: int
    end: int
    text: str
    lines: tuple[Line, ...] = ()
    charges: list[Charge] = field(default_factory=list)


def keyed(bill: Bill) -> dict[str, tuple[Line, ...]]:
    """The bill's lines by the key that names them in their period: all bases together, each other line alone."""
    found: dict[str, tuple[Line, ...]] = {}
    for line in bill.lines:
        key = _base_key(line.currency, bill) if line.is_base else f"{line.meter}/{line.start}"
        if not line.is_base:
            twin = 2
            while key in found:  # two packs of one kind, bought in the same millisecond
                key, twin = f"{line.meter}/{line.start}/{twin}", twin + 1
        found[key] = (*found.get(key, ()), line)
    return found


def _base_key(currency: str, bill: Bill) -> str:
    """One a currency: a tenant may move to a catalog of another one."""
    return BASE if currency == bill.currency else f"{BASE}/{currency}"


def shown_cents(cents: int, currency: str) -> str:
    """Cents for people: `-12.05 USD`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02} {currency.upper()}"


def compare(
    bill: Bill,
    month: str,
    charges: Iterable[Charge],
    label: Callable[[Line], str],
    *,
    draft: str = "",
    late: Collection[tuple[str, str, int]] = (),
    adjusting: bool = False,
) -> Match:
    """A tenant's bill of one month against its charges.

    Args: draft: the invoice on which items can still be changed. late: (tenant, meter, segment start) of totals that cannot be sent any
        more. adjusting: the month was closed before, and differences are told to the customer as adjustments.
    """
    sides = _sides(bill)
    match = Match()
    for charge in charges:
        if charge.source == "foreign":
            match.strange.append(f"'{charge.text}' of {shown_cents(charge.cents, charge.currency)} was not put there by Rowhouse")
        elif charge.period == month:
            _file(charge, bill, sides, label, match)
    for side in sides.values():
        _judge(side, match, month, bill, draft, late, adjusting=adjusting)
    return match


def _sides(bill: Bill) -> dict[str, _Side]:
    sides = {}
    for key, lines in keyed(bill).items():
        cents = sum(minor_units(line.amount) for line in lines)
        text = _base_text(lines) if lines[0].is_base else _text(lines[0])
        sides[key] = _Side(key, cents, lines[-1].currency, lines[0].start, lines[-1].end, text, lines)
    return sides


def _file(charge: Charge, bill: Bill, sides: dict[str, _Side], label: Callable[[Line], str], match: Match) -> None:
    """Put a charge beside the line that it is for."""
    key = _base_key(charge.currency, bill) if charge.source == "base" else charge.label
    if charge.source == "meter":
        near = [(_closeness(charge, line, bill), side.key) for side in sides.values() for line in side.lines if _is_on(line, charge, label)]
        if not near:
            if charge.cents:
                money = shown_cents(charge.cents, charge.currency)
                match.strange.append(f"'{charge.text}' of {money} is metered, and the bill has no line on {charge.label}")
            return
        key = max(near)[1]
    if key not in sides:  # an item of ours for a line that the bill has no more
        sides[key] = _Side(key, 0, charge.currency, charge.start, charge.end, charge.text)
    sides[key].charges.append(charge)


def _is_on(line: Line, charge: Charge, label: Callable[[Line], str]) -> bool:
    return line.stripe_quantity is not None and label(line) == charge.label


def _closeness(charge: Charge, line: Line, bill: Bill) -> tuple[bool, int, int]:
    """Orders lines by how likely a metered charge is theirs.

    A sink's item may go on through several segments (terms changed, and no price did). What it counts is the last total, so it is the
    last segment's: the one in force at the period's end while it still counts, else the last one that it was there for.
    """
    overlap = min(charge.end, line.end) - max(charge.start, line.start)
    counts_on = not charge.final and line.end == bill.period.end
    return counts_on, line.start if overlap > _SKEW_MS else -1, overlap


def _charged(side: _Side) -> int:
    """Cents that were billed for a line; what was waived stands in for what is missing, and for no more than that."""
    paid = sum(charge.cents for charge in side.charges if not charge.waived)
    waived = sum(charge.cents for charge in side.charges if charge.waived)
    missing = side.cents - paid
    return paid + (min(waived, max(0, missing)) if waived > 0 else max(waived, min(0, missing)))


def _judge(
    side: _Side, match: Match, month: str, bill: Bill, draft: str, late: Collection[tuple[str, str, int]], *, adjusting: bool
) -> None:
    charged = _charged(side)
    if charged == side.cents:
        return
    existing = next((charge for charge in side.charges if charge.source == "item" and charge.invoice == draft and not charge.final), None)
    counting = [charge for charge in side.charges if charge.source == "meter" and not charge.final]
    if counting and side.lines:
        line = side.lines[0]
        counted = sum(charge.cents for charge in counting)
        is_late = (bill.tenant, line.meter, line.start) in late or line.end != bill.period.end
        match.waiting.append(Waiting(side.key, line, side.cents - (charged - counted), counted, is_late, existing))
        return
    missing = side.cents - charged
    text = f"Adjustment for {month}: {side.text}" if adjusting else side.text
    match.items.append(
        Item(
            key=side.key,
            period=month,
            cents=missing + (existing.cents if existing else 0),
            currency=side.currency,
            start=side.start,
            end=side.end,
            text=text,
            replaces=existing.id if existing else "",
        )
    )


def _base_text(lines: Sequence[Line]) -> str:
    if len(lines) == 1:
        return f"{lines[0].plan}, base price, {_days(lines[0])}"
    parts = ", ".join(f"{line.plan} {_days(line)}" for line in lines)
    return f"Base price, shared by time after a change of plan: {parts}"


def _text(line: Line) -> str:
    if line.is_pack:
        return f"{line.meter.removeprefix(PACK)}, bought {_day(line.start)}"
    if line.is_minimum:
        return f"{line.plan}, what base price and use lack to the minimum, {_days(line)}"
    return f"{line.plan}, {line.billed.normalize():f} {line.unit} of {line.meter} beyond what is included, {_days(line)}"


def _days(line: Line) -> str:
    return f"{_day(line.start)} to {_day(line.end - 1)}"


def _day(at: int) -> str:
    moment = datetime.fromtimestamp(at // 1000, tz=UTC)
    return f"{moment.day} {moment:%b %Y}"
