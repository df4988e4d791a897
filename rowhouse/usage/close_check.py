"""One tenant at the close: is its invoice what its bill says, and what is missing on it?

Does: compare, put what is missing on the draft, compare again. Does not: finalize. Every doubt leaves the draft a draft, with a reason.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from rowhouse.errors import RowhouseError
from rowhouse.spec.prices import BASE
from rowhouse.usage.matching import Match, Waiting, compare
from rowhouse.usage.model import Bill
from rowhouse.usage.push import total_of
from rowhouse.usage.sent import Key
from rowhouse.usage.sink import Item, Sink, Statement

__all__ = ["Case", "Checker", "Outcome"]

_UNITS: Final = {"second": 3600, "minute": 60}
"""How many of what the sink counts make one unit of the line's price; of all others one."""


@dataclass(frozen=True, slots=True)
class Case:
    """A tenant with what is to be compared."""

    tenant: str
    bill: Bill | None
    """Of the closing month; None where the tenant had no plan in it."""
    earlier: Bill | None
    """Of the month before as it is known now, if that one was closed."""
    statement: Statement
    failed: str = ""
    """Why there is no bill although there should be one; empty where that is not so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check gave."""

    case: Case
    state: Literal["ready", "settled", "again", "blocked"]
    """`ready`: it may go out. `settled`: nothing is left to send. `again`: the sink's sums are not there yet."""
    reason: str = ""
    items: tuple[Item, ...] = ()
    """Put on the draft by this check or an earlier one, as far as known."""
    later: tuple[Item, ...] = ()
    """Missing on an invoice that went out already: for the next close."""
    adjustments: tuple[Item, ...] = ()
    note: str = ""
    """What a person should look at although it does not stand in the way."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks tenants of one closing month."""

    sink: Sink
    month: str
    before: str
    """The month before."""
    late: Collection[Key]

    async def check(self, case: Case) -> Outcome:
        """Compare, settle, compare again. A failure of this tenant is an outcome."""
        try:
            return await self._check(case)
        except RowhouseError as error:
            return Outcome(case, "blocked", str(error))

    async def _check(self, case: Case) -> Outcome:
        statement = case.statement
        if case.failed:
            return Outcome(case, "blocked", f"its bill cannot be made: {case.failed}")
        if case.bill is None and statement.draft:
            return Outcome(case, "blocked", f"there is a draft {statement.draft} and no bill: no plan of this month is in the ledger")
        if statement.awaited:
            return Outcome(
                case, "blocked", f"{self.sink.name} has not written its invoice of {self.month} yet. Run the close again in an hour."
            )
        if statement.paused_by_hand and statement.draft:
            return Outcome(case, "blocked", "somebody paused the collection of its subscription. Resume it, then run the close again.")
        now, earlier = self._compare(case)
        if now.strange:
            return Outcome(case, "blocked", "; ".join(now.strange) + ". Take it off the draft, or finalize that draft by hand.")
        counted, problem = await self._count(case, now)
        if problem is not None:
            return problem
        items = (*now.items, *counted)
        later: tuple[Item, ...] = ()
        if statement.final and not statement.draft:
            items, later = (), items
        wanted = (*items, *earlier.items)
        if wanted:
            statement = await self.sink.settle(statement, wanted, self.month)
            case = replace(case, statement=statement)
            problem = self._left(case, later, {waiting.key for waiting in now.waiting})
            if problem is not None:
                return problem
        state: Literal["ready", "settled"] = "ready" if statement.draft or statement.context else "settled"
        note = statement.by_hand or self._note(case, items + later)
        return Outcome(case, state, items=items, later=later, adjustments=tuple(earlier.items), note=note)

    def _note(self, case: Case, items: Collection[Item]) -> str:
        """A base that differs for no reason of ours: somebody changed the subscription by hand."""
        bill = case.bill
        bases = [line for line in bill.lines if line.is_base] if bill else []
        whole = bill is not None and len(bases) == 1 and (bases[0].start, bases[0].end) == bill.period
        cents = next((item.cents for item in items if item.key == BASE), 0)
        if not whole or not cents:
            return ""
        return (
            f"{self.sink.name} invoiced {-cents} cents more of its base of {self.month} than its plan says, "
            "although its plan did not change. Look at the subscription's items."
        )

    def _compare(self, case: Case) -> tuple[Match, Match]:
        statement, label = case.statement, self.sink.label
        now = Match()
        if case.bill is not None:
            now = compare(case.bill, self.month, statement.charges, label, draft=statement.draft, late=self.late)
        earlier = Match()
        charges = [charge for charge in statement.charges if charge.period == self.before and charge.source != "foreign"]
        # An invoice of the month before that is still a draft is that close's to finish.
        if case.earlier is not None and all(charge.final or charge.invoice == statement.draft for charge in charges):
            earlier = compare(case.earlier, self.before, charges, label, draft=statement.draft, adjusting=True)
        return now, earlier

    async def _count(self, case: Case, match: Match) -> tuple[list[Item], Outcome | None]:
        """Ask the sink's sums where a draft's metered line is not what the bill says; items to stand beside what it counts."""
        items: list[Item] = []
        for waiting in match.waiting:
            line = waiting.line
            found = await self.sink.sum_of(total_of(line, case.tenant, line.end // 1000 - 1))
            if found is None:
                return [], Outcome(
                    case, "blocked", f"{self.sink.name} cannot say what it counts of {line.meter}, and its draft says otherwise"
                )
            if found != line.stripe_quantity and not waiting.late:
                words = f"{self.sink.name} counts {found} {line.stripe_unit}s of {line.meter}, the bill {line.stripe_quantity}"
                return [], Outcome(case, "again", words)
            item = waiting.item(found * _unit_cents(waiting), self.month)
            if item is not None:
                items.append(item)
        return items, None

    def _left(self, case: Case, later: Collection[Item], waiting: Collection[str]) -> Outcome | None:
        """What still differs after settling."""
        now, earlier = self._compare(case)
        known = {item.key for item in later}
        left = [item for item in now.items if item.key not in known] + earlier.items
        if left or now.strange or any(one.key not in waiting for one in now.waiting):
            words = ", ".join([*(f"{item.key} by {item.cents} cents" for item in left), *now.strange]) or "its metered lines"
            return Outcome(case, "blocked", f"the draft {case.statement.draft} still differs from the bill: {words}. Run the close again.")
        return None


def _unit_cents(waiting: Waiting) -> int:
    """What the sink bills for one unit of a metered line; prices at the sink are whole cents."""
    line = waiting.line
    if line.stripe_unit == "cent" or line.unit_price is None:
        return 1
    return int(Fraction(line.unit_price) * 100 / _UNITS.get(str(line.stripe_unit), 1))
