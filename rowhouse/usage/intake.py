"""What others remember for the ledger as small objects, each written once, and taken in by a pass.

Does: read the plan terms that the provider notes when they are applied, record purchases of credits, move both into `account`. Does not:
judge whether a tenant exists or a payment was made. docs/ledger.md has the objects' fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from rowhouse.spec.model import Pack
from rowhouse.spec.terms import TermsError, billed_id, plan_from
from rowhouse.usage.bills import month_of
from rowhouse.usage.close_log import CLOSED, CloseLog
from rowhouse.usage.entries import Entry, LedgerError, canonical, line_of
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.lots import UNDONE
from rowhouse.usage.model import Window
from rowhouse.usage.segments import month_of as month_of_window
from rowhouse.vendors.store import Conflict, Store

__all__ = ["Collected", "collect", "record_purchase", "undo_purchase"]

_PLANS: Final = "intake/plans/"
_PURCHASES: Final = "intake/purchases/"
_KNOWN: Final = "purchases/"
"""Every payment that was ever recorded, one object each: what makes an id count once."""
_UNDONE: Final = "undone/"
"""Under both of them: purchases that were taken back."""
_PAYMENT: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")
_THREADS: Final = 16
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of the objects that were found."""

    taken: int
    """How many stand in the ledger now and were removed."""
    problems: tuple[str, ...]
    """One sentence for each that could not be read and was left where it is."""


def collect(store: Store, ledger: Ledger) -> Collected:
    """Take this cell's objects into the ledger, then remove them; killed in between or run twice, each still counts once.

    Raises: LedgerError and StoreError, and then nothing is removed that is not in the ledger.
    """
    keys = [key for prefix in (_PLANS, _PURCHASES) for key, _ in store.list(prefix)]
    found: dict[str, Entry] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for key, blob in zip(keys, pool.map(store.get, keys), strict=True):
            if blob is None:
                continue  # another pass took it
            try:
                cell, entry = _entry_of(key, blob.data)
            except (LedgerError, TermsError) as exc:
                problems.append(f"intake object {key} cannot be taken in: {exc} Mend or remove it.")
            else:
                if cell == ledger.cell:
                    found[key] = entry
        if found:
            _append(ledger, found)
            list(pool.map(store.delete, found))
    return Collected(len(found), tuple(problems))


def _append(ledger: Ledger, found: Mapping[str, Entry]) -> None:
    """Append those that a pass that was killed has not appended already, in the order in which they happened."""
    ordered = sorted(found.values(), key=lambda entry: (entry.at, entry.tenant or "", line_of(entry)))
    there = _lines_since(ledger, ordered[0].at)
    fresh = [entry for entry in ordered if line_of(entry).encode() not in there]
    if fresh:
        ledger.remember("account", ordered[-1].at, fresh)


def _lines_since(ledger: Ledger, at: int) -> set[bytes]:
    """Plans and purchases that were written down in or after the month of `at`."""
    kinds = (b'{"kind":"plan"', b'{"kind":"purchase"')
    return {line for segment in ledger.segments("account", since=month_of(at)) for line in segment.lines if line.startswith(kinds)}


def _entry_of(key: str, data: bytes) -> tuple[str, Entry]:
    """The cell and the entry that an object stands for. Raises LedgerError or TermsError."""
    try:
        noted = json.loads(data)
        if noted.pop("v") != 1:
            raise LedgerError("it is of another version.")
        entry = _plan(noted) if key.startswith(_PLANS) else _purchase(noted)
        line_of(entry)
        return str(noted["cell"]), entry
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise LedgerError(f"its fields are not those of version 1 ({type(exc).__name__}: {exc}).") from exc


def _plan(noted: Mapping[str, Any]) -> Entry:
    terms = noted["plan"]
    plan = plan_from(terms)
    return Entry("plan", noted["at"], noted["tenant"], subject=plan.ref, state=noted["state"], id=billed_id(terms), data=terms)


def _purchase(noted: Mapping[str, Any]) -> Entry:
    data = {name: noted[name] for name in ("meter", "price", "currency", "expires_at")}
    state = None
    if "undone" in noted:
        state, data["reason"] = UNDONE, str(noted["undone"])
    size = str(noted["size"])
    return Entry("purchase", noted["at"], noted["tenant"], subject=noted["pack"], state=state, value=size, id=noted["payment"], data=data)


def record_purchase(
    ledger: Ledger, tenant: str, pack: Pack, currency: str, payment: str, *, at: int, at_given: bool = False
) -> Literal["recorded", "known"]:
    """Record that a tenant bought a pack; the next pass takes it into the ledger.

    Args: payment: the payment's id, under which it counts once. at: when it was paid (ms); at_given: whether a person said so, rather than
        the time of this call.
    Returns: `known` when the same purchase was recorded before.
    Raises: LedgerError when the id is none, or stands for another purchase, or no invoice would ever have one of that time.
    """
    if not _PAYMENT.match(payment):
        raise LedgerError(
            f"{payment[:80]!r} is not a payment's id: letters, digits, '_', '-' and '.', at most 200. Give the id the payment has."
        )
    noted = {
        "v": 1,
        "cell": ledger.cell,
        "tenant": tenant,
        "payment": payment,
        "at": at,
        "pack": pack.name,
        "meter": pack.meter,
        "size": pack.size,
        "price": f"{pack.price:f}",
        "currency": currency,
        "expires_at": None if pack.expires_days is None else at + pack.expires_days * _DAY_MS,
    }
    data = (canonical(noted) + "\n").encode()
    if ledger.store.get(f"{_KNOWN}{payment}.json") is None:
        _refuse_far_off(ledger, at)
    try:
        ledger.store.put(f"{_KNOWN}{payment}.json", data, if_none_match=True)
    except Conflict:
        if ledger.store.get(f"{_KNOWN}{_UNDONE}{payment}.json") is not None:
            raise LedgerError(
                f"payment {payment} was taken back, and an id counts once. Record it under another one, such as {payment}-2."
            ) from None
        data = _same_or_refused(ledger.store, payment, noted, at_given=at_given)
        if _is_taken_in(ledger, payment, data):
            return "known"
        known = True
    else:
        known = False
    ledger.store.put(f"{_PURCHASES}{payment}.json", data)
    return "known" if known else "recorded"


def undo_purchase(ledger: Ledger, payment: str, reason: str, *, at: int) -> tuple[Literal["recorded", "known"], str]:
    """Take a recorded purchase back: from the next pass on it counts as never made. The entry of it stays, and this one has the reason.

    Args: at: the time of this call (ms).
    Returns: `known` when it was taken back before; and the tenant that had bought.
    Raises: LedgerError when the payment is unknown, or no invoice gives its price back any more.
    """
    blob = ledger.store.get(f"{_KNOWN}{payment}.json") if _PAYMENT.match(payment) else None
    if blob is None:
        raise LedgerError(
            f"no pack was recorded under payment {payment[:80]!r}. Look at `rowhouse usage TENANT`, or at the payment's provider."
        )
    bought = json.loads(blob.data)
    if bought["cell"] != ledger.cell:
        raise LedgerError(f"payment {payment} was recorded in cell {bought['cell']}. Choose it with --stack.")
    _refuse_far_off(ledger, bought["at"])
    if at < bought["at"]:
        raise LedgerError(f"payment {payment} was made later than it is to be taken back. Give a time after it, or none.")
    _refuse_far_off(ledger, at)
    noted = {**bought, "at": at, "undone": reason}
    data = (canonical(noted) + "\n").encode()
    outcome: Literal["recorded", "known"] = "recorded"
    try:
        ledger.store.put(f"{_KNOWN}{_UNDONE}{payment}.json", data, if_none_match=True)
    except Conflict:
        outcome, first = "known", ledger.store.get(f"{_KNOWN}{_UNDONE}{payment}.json")
        if first is None or _is_taken_in(ledger, payment, first.data):
            return outcome, str(bought["tenant"])
        data = first.data
    ledger.store.put(f"{_PURCHASES}{_UNDONE}{payment}.json", data)
    return outcome, str(bought["tenant"])


def _refuse_far_off(ledger: Ledger, at: int) -> None:
    """Raise LedgerError for a time that no close looks at any more, or that no pass comes to soon."""
    month = Window.month(month_of(at))
    after = month_of(month.end)
    closes = CloseLog.of(entry for entry in ledger.read("billing", since=after) if entry.kind == "close")
    if closes.states.get(after) in CLOSED:
        raise LedgerError(
            f"a pack that was paid in {month_of(at)} is on no invoice any more: {after} is closed, and closes adjust one month back. "
            "Record it with a time of the running month, and it is on that invoice; give one back at the payment's provider."
        )
    last = ledger.last_window("pass")
    if last is not None and month_of(at) > month_of(Window.month(month_of_window(last)).end):
        raise LedgerError(f"{month_of(at)} is more than a month after the last pass. Say when the pack was paid.")


def _same_or_refused(store: Store, payment: str, noted: Mapping[str, Any], *, at_given: bool) -> bytes:
    """The bytes of the purchase that was recorded under this id, when it is the same one."""
    key = f"{_KNOWN}{payment}.json"
    blob = store.get(key)
    try:
        known = json.loads(blob.data) if blob is not None else None
        what = {name: known[name] for name in ("tenant", "pack", "cell", "at")} if known is not None else {}
    except (ValueError, KeyError, TypeError) as exc:
        raise LedgerError(f"object {key} cannot be read. Restore it from a backup of the store.") from exc
    if blob is None:
        raise LedgerError(f"object {key} was there and is gone. Run the command again.")
    said = ("cell", "tenant", "pack", "at") if at_given else ("cell", "tenant", "pack")
    if any(what[name] != noted[name] for name in said):
        when = datetime.fromtimestamp(what["at"] / 1000, tz=UTC).isoformat(timespec="seconds")
        raise LedgerError(
            f"payment {payment} is recorded already: pack {what['pack']} of {what['tenant']}, at {when}. "
            "A payment counts once: give the id of the other payment, or take this one back with `rowhouse refund` and record the "
            f"right one as {payment}-2."
        )
    return blob.data


def _is_taken_in(ledger: Ledger, payment: str, data: bytes) -> bool:
    _, entry = _entry_of(_PURCHASES, data)
    return any(line == line_of(entry).encode() for line in _lines_since(ledger, entry.at)) and payment == entry.id
