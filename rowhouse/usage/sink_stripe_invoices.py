"""Stripe's invoices as statements: whose lines are whose, and which draft takes more.

Does: read invoices and their lines into charges. Does not: write (sink_stripe.py), or decide what is missing (matching.py).
Source: Stripe API 2026-10-28 (an invoice shows its first ten lines, the rest has a list of its own; a line of an invoice item carries the
item's metadata).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from rowhouse.spec.prices import BASE
from rowhouse.usage.model import Window
from rowhouse.usage.sink import Charge, Statement
from rowhouse.usage.sink_stripe_accounts import Accounts, Subscription
from rowhouse.vendors.stripe import Stripe

__all__ = ["CLOSE", "HELD", "LINE", "PERIOD", "SUBSCRIPTION", "charges_of", "month_of", "statements"]

LINE: Final = "rowhouse_line"
"""Metadata of an invoice item: its key."""
PERIOD: Final = "rowhouse_period"
"""Metadata of an invoice item: the month that it is for."""
CLOSE: Final = "rowhouse_close"
"""Metadata of an invoice that a close wrote: its month."""
SUBSCRIPTION: Final = "subscription"
"""In a statement's context: the subscription whose collection is paused by us."""
HELD: Final = "held"
"""In a statement's context: last invoices of subscriptions that ended while we held them, which nobody else sends out."""
_AROUND_S: Final = 86_400
_PATIENCE_MS: Final = 3 * 86_400_000
"""Stripe writes a renewal within hours even on its bad days: one that is not there after so long was deleted."""
_RENEWAL_MS: Final = 20 * 86_400_000
"""A draft written up to so long after a period's end is that period's; Stripe writes a renewal at once, or soon."""

Json = Mapping[str, Any]


@dataclass(slots=True)
class _Gathered:
    """What is known of one tenant while invoices are read."""

    charges: list[Charge] = field(default_factory=list)
    draft: str = ""
    by_close: str = ""
    currency: str = ""
    renewed: bool = False
    final: bool = False
    own: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    voided: list[str] = field(default_factory=list)


def month_of(second: int) -> str:
    """The UTC month of a time in seconds, `2026-11`."""
    return datetime.fromtimestamp(second, tz=UTC).strftime("%Y-%m")


async def statements(stripe: Stripe, accounts: Accounts, months: Sequence[str], closing: Window) -> dict[str, Statement]:
    """By tenant, from one list of all invoices since the first of the months.

    What stands on a voided invoice is waived: it is not billed again, and nothing is given back for it.
    """
    first = min((Window.month(month).start for month in months), default=closing.start)
    gathered: dict[str, _Gathered] = {tenant: _Gathered() for tenant in accounts.tenants}
    wanted, closed = frozenset(months), month_of(closing.start // 1000)
    async for invoice in stripe.pages("/v1/invoices", {"created": {"gte": first // 1000 - _AROUND_S}}):
        tenant = _tenant_of(invoice, accounts, gathered)
        if tenant is None:
            continue
        known = gathered[tenant]
        is_draft = invoice["status"] == "draft"
        after = invoice["created"] * 1000 - closing.end
        renewal = invoice.get("billing_reason") == "subscription_cycle" and -60_000 <= after < _RENEWAL_MS
        by_close = (invoice.get("metadata") or {}).get(CLOSE) == closed
        last = is_draft and not (renewal or by_close) and _is_last_of_held(invoice, accounts, closing)
        known.held += [invoice["id"]] if last else []
        known.renewed |= renewal
        known.own += [invoice["id"]] if renewal or by_close else []
        known.final |= not is_draft and (renewal or by_close)
        known.voided += [invoice["id"]] if invoice["status"] == "void" and (renewal or by_close) else []
        if is_draft and renewal:
            known.draft, known.currency = invoice["id"], invoice["currency"]
        elif is_draft and by_close:
            known.by_close = invoice["id"]
            known.currency = known.currency or invoice["currency"]
        lines = [line async for line in _lines(stripe, invoice)]
        known.charges += charges_of(invoice, lines, accounts, wanted, on_draft=is_draft and (renewal or by_close or last))
    now = stripe.http.heard_ms
    return {tenant: _statement(tenant, known, accounts.tenants.get(tenant), closing, now) for tenant, known in gathered.items()}


def _is_last_of_held(invoice: Json, accounts: Accounts, closing: Window) -> bool:
    """Whether it is what a subscription wrote at its end in the closing period, and stays a draft because we held the subscription."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    subscription = accounts.subscriptions.get(details.get("subscription") or "")
    ended = subscription is not None and not subscription.is_live and bool(subscription.hold)
    return ended and closing.start <= invoice["created"] * 1000 < closing.end


def _tenant_of(invoice: Json, accounts: Accounts, gathered: Mapping[str, _Gathered]) -> str | None:
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    subscription = accounts.subscriptions.get(details.get("subscription") or "")
    if subscription is not None:
        return subscription.tenant
    if details.get("subscription"):
        return None  # of a subscription that is not ours, or another stack's
    customer = invoice["customer"]
    tenant = accounts.customers.get(customer if isinstance(customer, str) else customer["id"])
    tenant = tenant or (invoice.get("metadata") or {}).get("tenant")
    return tenant if tenant in gathered else None


async def _lines(stripe: Stripe, invoice: Json) -> AsyncIterator[Json]:
    shown = invoice["lines"]
    if not shown.get("has_more"):
        for line in shown["data"]:
            yield line
        return
    async for line in stripe.pages(f"/v1/invoices/{invoice['id']}/lines"):
        yield line


def charges_of(invoice: Json, lines: Sequence[Json], accounts: Accounts, months: frozenset[str] | None, *, on_draft: bool) -> list[Charge]:
    """An invoice's lines as charges; those of other months are left out, but for strangers on the draft that is to be finalized."""
    found = []
    for line in lines:
        charge = _charge(invoice, line, accounts)
        stranger = charge.source == "foreign"
        if (stranger and on_draft and charge.cents) or (not stranger and (months is None or charge.period in months)):
            found.append(charge)
    return found


def _charge(invoice: Json, line: Json, accounts: Accounts) -> Charge:
    metadata = line.get("metadata") or {}
    parent = line.get("parent") or {}
    details = parent.get("invoice_item_details") or {}
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price") or ""
    price_id: str = price if isinstance(price, str) else price["id"]
    period = line["period"]
    source, label, month = "foreign", "", month_of(period["start"])
    if details and metadata.get(LINE):
        source, label, month = "item", metadata[LINE], metadata.get(PERIOD) or month
    elif price_id in accounts.prices:
        billed_by = accounts.prices[price_id]
        source, label = ("base", "") if billed_by == BASE else ("meter", billed_by)
    return Charge(
        source=source,  # type: ignore[arg-type]  # one of the four words, by the lines above
        label=label,
        period=month,
        start=period["start"] * 1000,
        end=period["end"] * 1000,
        cents=line["amount"],
        currency=line["currency"],
        invoice=invoice["id"],
        final=invoice["status"] != "draft",
        id=details.get("invoice_item") or "",
        text=line.get("description") or "",
        waived=invoice["status"] == "void",
    )


def _by_hand(known: _Gathered, *, deleted: bool) -> str:
    if known.voided:
        return f"its invoice {', '.join(known.voided)} was voided: what stands on it counts as waived, and is not billed again"
    return (
        "Stripe has no invoice of its renewal, perhaps because somebody deleted the draft: it is billed on one of its own"
        if deleted
        else ""
    )


def _statement(tenant: str, known: _Gathered, subscription: Subscription | None, closing: Window, now: int | None) -> Statement:
    held = {HELD: " ".join(known.held)} if known.held else {}
    if subscription is None:
        return Statement(tenant, tuple(known.charges), draft=known.by_close, invoices=known.own, final=known.final, currency=known.currency)
    due = subscription.renews and subscription.created * 1000 < closing.end and not known.renewed
    deleted = due and now is not None and now >= closing.end + _PATIENCE_MS
    ours = bool(subscription.hold) and int(subscription.hold) * 1000 <= closing.end
    return Statement(
        tenant,
        tuple(known.charges),
        customer=subscription.customer,
        draft=known.draft or known.by_close,
        invoices=known.own,
        final=known.final,
        awaited=due and not deleted,
        by_hand=_by_hand(known, deleted=deleted),
        paused_by_hand=subscription.is_live and subscription.paused and not subscription.hold,
        currency=known.currency or subscription.currency,
        context=held | ({SUBSCRIPTION: subscription.id} if ours and subscription.is_live else {}),
    )
