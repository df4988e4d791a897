"""What the ledger remembers of closes: how far each month came, who was invoiced, what was corrected afterwards.

Entries of source `billing`:
    close       subject=the month, state=frozen | pushed | held | waiting | partial | done, at, id, data={count, number, why}
    invoice     a tenant's invoice of a month went out: tenant, subject=the month, id=the invoice, value=the bill's total, data={lines}
    correction  an adjustment of a closed month went out on a later invoice: tenant, subject=the month, value, id, data={target, reason}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from rowhouse.spec.money import minor_units
from rowhouse.usage.entries import Entry
from rowhouse.usage.matching import keyed
from rowhouse.usage.model import Bill
from rowhouse.usage.sink import Item

__all__ = ["CLOSED", "CloseLog", "close_entry", "correction_entry", "invoice_entry", "is_frozen"]

CLOSED: Final = frozenset({"partial", "done"})
_ORDER: Final = ("frozen", "waiting", "pushed", "held", "partial", "done")


@dataclass(slots=True)
class CloseLog:
    """What is known of closes before this one."""

    states: dict[str, str] = field(default_factory=dict)
    """Month to how far it came."""
    invoiced: dict[str, set[str]] = field(default_factory=dict)
    """Month to the tenants whose invoice is written down."""
    corrected: set[str] = field(default_factory=set)
    """Ids of corrections."""
    number: int = 0
    """How many closes were done; what is older than the entries given is remembered by the newest of them."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> CloseLog:
        """From entries in any order."""
        log = cls()
        for entry in entries:
            month = entry.subject or ""
            if entry.kind == "close" and entry.state in _ORDER:
                known = log.states.get(month, "frozen")
                log.states[month] = max(known, entry.state, key=_ORDER.index)
                if entry.state == "done":
                    log.number = max(log.number, int((entry.data or {}).get("number", 1)))
            elif entry.kind == "invoice" and entry.tenant:
                log.invoiced.setdefault(month, set()).add(entry.tenant)
            elif entry.kind == "correction" and entry.id:
                log.corrected.add(entry.id)
        return log


def is_frozen(log: CloseLog, month: str) -> bool:
    """Whether a pass must leave a month's totals to the close."""
    return month in log.states


def close_entry(month: str, state: str, now: int, **data: Any) -> Entry:
    """How far a month has come."""
    return Entry("close", now, subject=month, state=state, id=f"{month}.{state}.{now}", data=data or None)


def invoice_entry(bill: Bill, month: str, invoice: str, now: int, later: Iterable[Item]) -> Entry:
    """An invoice that went out, with the bill that it is for, line by line in cents; `later`: what waits for the next one."""
    lines = [[key, sum(minor_units(line.amount) for line in lines)] for key, lines in keyed(bill).items()]
    data: Mapping[str, Any] = {"lines": lines, "later": [[item.key, item.cents] for item in later]}
    return Entry("invoice", now, tenant=bill.tenant, subject=month, state="final", id=invoice, value=str(bill.total), data=data)


def correction_entry(tenant: str, item: Item, target: str, invoice: str, now: int) -> Entry:
    """An adjustment that went out, with its reason."""
    value = str(Decimal(item.cents).scaleb(-2))
    data = {"target": target, "reason": item.text, "invoice": invoice, "line": item.key, "currency": item.currency}
    name = f"{tenant}.{item.period}.{item.key}.{invoice}"
    return Entry("correction", now, tenant=tenant, subject=item.period, state="adjustment", id=name, value=value, data=data)
