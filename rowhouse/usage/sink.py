"""Where bills go: what a billing sink must be able to do, and what is handed to it and comes back.

Does: name the contract (Stripe's is sink_stripe.py, the one of files sink_csv.py). Does not: decide what is owed (rate.py), what to send
(push.py), or when an invoice may go out (close.py).

Transitions: `push` of the same total twice is one total. `hold` twice holds once. `settle` makes the invoice have exactly the items given,
whatever was there of them before. `finalize` of what is final already changes nothing.
Amounts are whole cents of the currency; instants are milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rowhouse.spec.prices import BilledUnit
from rowhouse.usage.model import Line, Window

__all__ = ["Charge", "Held", "Item", "Receipt", "Refusals", "Sink", "Statement", "Total", "Trouble"]


@dataclass(frozen=True, slots=True)
class Total:
    """The absolute total of one meter in one plan segment, as of one second."""

    tenant: str
    plan: str
    """`<catalog>/<plan>`."""
    meter: str
    unit: BilledUnit
    start: int
    """Of the segment."""
    end: int
    value: int
    """In `unit`."""
    at: int
    """The event's time in whole seconds since 1970, inside the segment; of two totals the later one counts."""
    identifier: str
    """The same for the same total sent again; at most 100 characters."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one total."""

    state: Literal["sent", "refused", "failed"]
    """`refused`: sending the same again is of no use. `failed`: it may have arrived, and is sent again."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Totals that were received and did not count, told afterwards."""

    reasons: Mapping[str, str]
    """Identifier to the sink's word for why."""
    complete: bool = True
    """False: there are more than the sink names, so sums must be compared."""
    until: int = 0
    """Up to when the sink has told."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that needs a person, in words; a pass or a close goes on without it."""

    tenant: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.tenant}: {self.text}" if self.tenant else self.text


@dataclass(frozen=True, slots=True)
class Charge:
    """One line that the sink has billed, or will when its invoice goes out."""

    source: Literal["base", "meter", "item", "foreign"]
    """`meter`: counted from totals until the invoice is final. `item`: put there by us. `foreign`: by somebody else."""
    label: str
    """Of a meter what `Sink.label` gives for its line, of an item its key, else empty."""
    period: str
    """The month that it is for, `2026-11`."""
    start: int
    end: int
    cents: int
    currency: str
    invoice: str
    final: bool
    id: str = ""
    """Of an item, to change it by."""
    text: str = ""
    waived: bool = False
    """Of an invoice that was voided: nobody pays it, and what it is for is not billed again."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line to put on an invoice."""

    key: str
    """Names the line among those of its tenant and period; the same key again is the same item."""
    period: str
    cents: int
    currency: str
    start: int
    end: int
    text: str
    """For the customer."""
    replaces: str = ""
    """The id of the item with this key that is on the draft already, with another amount."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sink has for one tenant: lines of the periods asked for, and the draft that can take more."""

    tenant: str
    charges: Sequence[Charge] = ()
    customer: str = ""
    """Empty: the sink knows nobody to send an invoice to."""
    draft: str = ""
    """The invoice that is not final yet; empty where there is none, and `settle` makes one."""
    invoices: Sequence[str] = ()
    """The closing month's own invoices, drafts and final ones."""
    final: bool = False
    """The closing period's own invoice went out already: what is missing on it waits for the next one."""
    awaited: bool = False
    """A draft must come (a subscription renews) and is not there yet."""
    by_hand: str = ""
    """What somebody did to the closing month's own invoice, for the person who closes: that it was voided, or is not there."""
    paused_by_hand: bool = False
    """Somebody else stopped the collection: the draft stays."""
    currency: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    """The sink's own."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a sink keeps from going out by itself."""

    held: int
    """How many were newly held."""
    troubles: Sequence[Trouble] = ()


class Sink(Protocol):
    """A billing system. One tenant's failure is raised for that tenant alone, as a RowhouseError."""

    @property
    def name(self) -> str:
        """For people: `Stripe`."""

    @property
    def counts(self) -> bool:
        """Whether it counts totals by itself; one that does not gets every line as an item at the close."""

    def label(self, line: Line) -> str:
        """How charges of this line's meter are labelled."""

    def bills(self, total: Total) -> bool:
        """Whether a total of this tenant, plan and meter is billed from now on by what the sink holds (a live subscription's item)."""

    async def open(self) -> None:
        """Learn whom the sink knows; called once before the others."""

    async def push(self, total: Total) -> Receipt:
        """Hand over a total. Called for one total of a tenant at a time."""

    async def sum_of(self, total: Total) -> int | None:
        """What the sink counts in the total's segment now; None where it cannot be said."""

    async def refusals(self, since: int) -> Refusals:
        """What did not count, of all that was told since then."""

    async def hold(self, now: int) -> Held:
        """Keep invoices of a period that ends soon, or just ended, from going out by themselves."""

    async def statements(self, months: Sequence[str], closing: Window) -> Mapping[str, Statement]:
        """By tenant: charges of these months, and the drafts written at the end of the closing period."""

    def blank(self, tenant: str) -> Statement:
        """The statement of a tenant that `statements` does not name."""

    async def settle(self, statement: Statement, items: Sequence[Item], month: str) -> Statement:
        """Put items on the tenant's draft of the closing month, one of its own where there is none; the statement as it is afterwards."""

    async def finalize(self, statement: Statement) -> Statement:
        """Send the draft out; the statement as it is afterwards."""

    async def finish(self, month: str) -> None:
        """Called when every tenant's statement of a month is final or was left with a reason."""
