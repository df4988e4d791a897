"""Invoices: drafts that count usage until they are finalized, and what happens to them then.

Who writes one (a subscription's start, renewal, change or end) is in `stripe_subscriptions`; this module knows how a draft
becomes open, paid, void or uncollectible, and tells whoever listens.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from rowhouse.localcloud.stripe_errors import StripeError, invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_invoice_shape import Line, invoice_object, line_object
from rowhouse.localcloud.stripe_lists import in_range, page, search_page
from rowhouse.localcloud.stripe_params import (
    INVOICE_CREATE,
    INVOICE_FINALIZE,
    INVOICE_LIST,
    INVOICE_PAY,
    INVOICE_UPDATE,
    LINES_LIST,
    NONE,
    SEARCH,
)
from rowhouse.localcloud.stripe_pricing import amount_for, to_minor
from rowhouse.localcloud.stripe_schema import check_count
from rowhouse.localcloud.stripe_search import matcher
from rowhouse.localcloud.stripe_state import Json, State, clone, merge_metadata
from rowhouse.localcloud.stripe_usage import Usage

__all__ = ["Invoices", "is_good_card"]

_GRACE_S = 3600  # reference: renewal invoices stay draft 1 h
_RETRY_DAYS = (3, 5, 7)


def is_good_card(card: str | None) -> bool:
    """Whether a charge succeeds; Stripe's test cards say in their names when it does not."""
    return card is not None and not any(word in card.lower() for word in ("fail", "decline"))


class Invoices:
    """The invoice endpoints."""

    def __init__(self, state: State, usage: Usage, tiers: dict[str, list[Json]]) -> None:
        """Keep invoices in `state`; metered lines are counted by `usage`."""
        self.state, self.usage, self.tiers = state, usage, tiers
        self.live_drafts = True  # whether a draft shows usage as it arrives; documented is only that finalization counts it
        self.lines: dict[str, list[Line]] = {}  # invoice -> what its lines are made of
        self.terms: dict[str, int] = {}  # invoice -> days until due
        self.take_pending: Callable[[Json], list[Line]] = lambda _invoice: []  # invoice items that wait for this invoice
        self.on_paid: Callable[[Json], None] = lambda _invoice: None
        self.on_unpaid: Callable[[Json], None] = lambda _invoice: None

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/invoices", INVOICE_CREATE, self.create),
            Endpoint("GET", "/v1/invoices", INVOICE_LIST, self.list_all),
            Endpoint("GET", "/v1/invoices/search", SEARCH, self.search, search=True),
            Endpoint("GET", "/v1/invoices/{id}", NONE, lambda call: self.shown(call.id)),
            Endpoint("POST", "/v1/invoices/{id}", INVOICE_UPDATE, self.update),
            Endpoint("DELETE", "/v1/invoices/{id}", NONE, self.delete),
            Endpoint("GET", "/v1/invoices/{id}/lines", LINES_LIST, self.list_lines),
            Endpoint("POST", "/v1/invoices/{id}/finalize", INVOICE_FINALIZE, self.finalize_by_hand),
            Endpoint("POST", "/v1/invoices/{id}/pay", INVOICE_PAY, self.pay),
            Endpoint("POST", "/v1/invoices/{id}/void", NONE, lambda call: self._close(call.id, "void", "voided_at", "invoice.voided")),
            Endpoint(
                "POST",
                "/v1/invoices/{id}/mark_uncollectible",
                NONE,
                lambda call: self._close(call.id, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible"),
            ),
        ]

    # Writing

    def draft(self, subscription: Json, customer: Json, lines: list[Line], reason: str, *, currency: str, now: int) -> Json:
        """A new draft with its lines; nothing is scheduled."""
        invoice = invoice_object(self.state, customer, subscription, reason, currency=currency, now=now)
        if lines:
            invoice["period_start"] = min(line.start for line in lines)
            invoice["period_end"] = now
        self.lines[invoice["id"]] = lines + self.take_pending(invoice)
        if subscription["days_until_due"] is not None:
            self.terms[invoice["id"]] = subscription["days_until_due"]
        self._count(invoice)
        return self.state.put(self.state.invoices, invoice, "invoice.created")

    def create(self, call: Call) -> Json:
        """POST /v1/invoices: a draft by hand, with the customer's waiting invoice items when asked for."""
        params = call.params
        customer = self.state.customers.get(params["customer"], "customer")
        sent = params.get("collection_method") == "send_invoice"
        if sent and "days_until_due" not in params:
            raise invalid("Missing required param: days_until_due.", "days_until_due", "parameter_missing")
        if not sent and "days_until_due" in params:
            raise invalid("`days_until_due` can only be set when `collection_method` is `send_invoice`.", "days_until_due")
        now = self.state.timeline(customer["test_clock"]).now()
        currency = params.get("currency") or customer["currency"] or "usd"
        invoice = invoice_object(self.state, customer, None, "manual", currency=currency, now=now)
        invoice["collection_method"] = params.get("collection_method", "charge_automatically")
        invoice["description"] = params.get("description")
        invoice["metadata"] = merge_metadata({}, params.get("metadata", {}))
        if sent:
            self.terms[invoice["id"]] = params["days_until_due"]
        self.lines[invoice["id"]] = self.take_pending(invoice) if params.get("pending_invoice_items_behavior") == "include" else []
        self._count(invoice)
        self.state.put(self.state.invoices, invoice, "invoice.created")
        if params.get("auto_advance"):
            self.finalize_later(invoice)
        return invoice

    def add_line(self, invoice_id: str, line: Line, param: str) -> None:
        """Put a line on a draft.

        Raises: StripeError when there is no such invoice, or it is finalized.
        """
        invoice = self.state.invoices.get(invoice_id, param)
        if invoice["status"] != "draft":
            raise invalid("This invoice is no longer editable.", param, "invoice_not_editable")
        self.lines[invoice_id].append(line)
        self._count(invoice)

    def drop_item(self, invoice_id: str, item_id: str) -> None:
        """Take an invoice item's line off a draft."""
        invoice = self._draft(invoice_id)
        self.lines[invoice_id] = [line for line in self.lines[invoice_id] if line.invoice_item != item_id]
        self._count(invoice)

    def withhold(self, invoice: Json, behavior: str) -> None:
        """What becomes of the draft of a subscription whose collection is paused (Stripe, pause-payment, 2026-10)."""
        if behavior == "keep_as_draft":
            return  # auto_advance is off: it waits for whoever finalizes it
        final = self.finalize(invoice, charge=False)
        if final["status"] == "open":
            if behavior == "void":
                self._close(final["id"], "void", "voided_at", "invoice.voided")
            else:
                self._close(final["id"], "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")

    def finalize_by_hand(self, call: Call) -> Json:
        """POST /v1/invoices/{id}/finalize: what it asks for is collected when it advances by itself, then or from now on."""
        draft = self._draft(call.id)
        return self.finalize(draft, charge=bool(call.params.get("auto_advance", draft["auto_advance"])))

    def finalize_later(self, invoice: Json) -> None:
        """Finalize when the hour of grace is over."""
        now = self.state.timeline(invoice["test_clock"]).now()
        due = max(invoice["created"] + _GRACE_S, now)
        invoice["automatically_finalizes_at"] = due
        invoice["auto_advance"] = True
        self.state.timeline(invoice["test_clock"]).call_at(due, lambda: self._finalize_when_due(invoice["id"]))

    def _finalize_when_due(self, invoice_id: str) -> None:
        invoice = self.state.invoices.objects.get(invoice_id)
        if invoice is not None and invoice["status"] == "draft" and invoice["auto_advance"]:
            self.finalize(invoice)

    def finalize(self, draft: Json, *, charge: bool = True) -> Json:
        """Count for the last time, give a number, and ask for payment. Usage that comes later is billed nowhere."""
        now = self.state.timeline(draft["test_clock"]).now()
        invoice = clone(draft)
        self._count(invoice)
        customer = self.state.customers.objects.get(invoice["customer"])
        if customer:
            sequence = customer["next_invoice_sequence"]
            invoice["number"] = f"{customer['invoice_prefix']}-{sequence:04d}"
            self.state.put(self.state.customers, {**customer, "next_invoice_sequence": sequence + 1})
        invoice.update(status="open", auto_advance=charge, automatically_finalizes_at=None, effective_at=now)
        invoice["status_transitions"]["finalized_at"] = now
        if invoice["collection_method"] == "send_invoice":
            invoice["due_date"] = now + self.terms.get(invoice["id"], 30) * 86400
            self.state.timeline(invoice["test_clock"]).call_at(invoice["due_date"], lambda: self._overdue(invoice["id"]))
        base = f"https://invoice.stripe.com/i/{self.state.account_id}/test_{invoice['id']}"
        invoice.update(hosted_invoice_url=base, invoice_pdf=f"{base}/pdf")
        self.state.put(self.state.invoices, invoice, "invoice.finalized", draft)
        if invoice["amount_due"] == 0:
            return self._paid(invoice)
        if invoice["collection_method"] == "charge_automatically" and charge:
            return self._charge(invoice)
        return invoice

    def _count(self, invoice: Json) -> None:
        """Build the lines and sums of a draft as of now."""
        rendered = []
        for line in self.lines[invoice["id"]]:
            quantity, amount = line.quantity, line.amount
            if line.meter:
                total = self.usage.total(line.meter, invoice["customer"], line.start, line.end) or Decimal(0)
                quantity = max(total, Decimal(0))
                amount = to_minor(amount_for(line.price or {}, self.tiers.get((line.price or {}).get("id", "")), total))
            rendered.append(line_object(self.state, invoice, line, quantity, amount))
        subtotal = sum(line["amount"] for line in rendered)
        due = max(subtotal, 0)
        # A negative total goes to the customer's balance at Stripe; here the invoice is simply not asked for.
        invoice["lines"]["data"] = rendered
        invoice.update(subtotal=subtotal, subtotal_excluding_tax=subtotal, total=subtotal, total_excluding_tax=subtotal)
        invoice.update(amount_due=due, amount_remaining=due)

    # Money

    def _charge(self, invoice: Json) -> Json:
        now = self.state.timeline(invoice["test_clock"]).now()
        before = clone(invoice)
        invoice = {**invoice, "attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if is_good_card(self.state.cards.get(invoice["customer"])):
            self.state.invoices.objects[invoice["id"]] = invoice
            return self._paid(invoice)
        tries = invoice["attempt_count"] - 1
        retry = (
            now + _RETRY_DAYS[tries] * 86400 if tries < len(_RETRY_DAYS) and invoice["billing_reason"] != "subscription_create" else None
        )
        invoice["next_payment_attempt"] = retry
        self.state.put(self.state.invoices, invoice, "invoice.payment_failed", before)
        if retry:
            self.state.timeline(invoice["test_clock"]).call_at(retry, lambda: self._retry(invoice["id"]))
        self.on_unpaid(invoice)
        return self.state.invoices.objects[invoice["id"]]

    def _retry(self, invoice_id: str) -> None:
        invoice = self.state.invoices.objects[invoice_id]
        if invoice["status"] == "open" and invoice["auto_advance"]:
            self._charge(invoice)

    def _overdue(self, invoice_id: str) -> None:
        invoice = self.state.invoices.objects[invoice_id]
        if invoice["status"] == "open":
            self.state.emit("invoice.overdue", invoice)
            self.on_unpaid(invoice)

    def _paid(self, invoice: Json) -> Json:
        now = self.state.timeline(invoice["test_clock"]).now()
        before = clone(invoice)
        after = clone(invoice)
        after.update(status="paid", attempted=True, amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None)
        after.update(auto_advance=False)
        after["status_transitions"]["paid_at"] = now
        self.state.put(self.state.invoices, after, "invoice.paid", before)
        if after["amount_due"]:
            self.state.emit("invoice.payment_succeeded", after)
        self.on_paid(after)
        return after

    def pay(self, call: Call) -> Json:
        """POST /v1/invoices/{id}/pay: by the customer's card, or out of band."""
        invoice, params = self.state.invoices.get(call.id), call.params
        if invoice["status"] == "draft":
            invoice = self.finalize(invoice, charge=False)
        if invoice["status"] == "paid":
            raise invalid("Invoice is already paid", code="invoice_already_paid")
        if invoice["status"] not in {"open", "uncollectible"}:
            raise invalid(f"This invoice cannot be paid because its status is {invoice['status']}.", code="invoice_not_payable")
        if params.get("paid_out_of_band") or params.get("forgive"):
            return self._paid(invoice)
        card = params.get("payment_method") or self.state.cards.get(invoice["customer"])
        if card is None:
            raise invalid(
                "There is no `default_payment_method` set on this Customer or Invoice. Please add a payment method to continue.",
                code="resource_missing",
            )
        if not is_good_card(card):
            self.state.put(
                self.state.invoices,
                {**invoice, "attempted": True, "attempt_count": invoice["attempt_count"] + 1},
                "invoice.payment_failed",
                invoice,
            )
            raise StripeError(402, "Your card was declined.", kind="card_error", code="card_declined")
        return self._paid(invoice)

    # Reading and changing

    def shown(self, invoice_id: str) -> Json:
        """An invoice as of now: a draft counts anew."""
        invoice = self.state.invoices.get(invoice_id)
        if invoice["status"] == "draft" and self.live_drafts:
            self._count(invoice)
        return invoice

    def list_all(self, call: Call) -> Json:
        """GET /v1/invoices."""
        params = call.params
        found = [
            self.shown(invoice["id"])
            for invoice in list(self.state.invoices.newest_first())
            if all(invoice[name] == params[name] for name in ("collection_method", "customer", "status") if name in params)
            and ("subscription" not in params or subscription_of(invoice) == params["subscription"])
            and in_range(invoice["created"], params.get("created"))
            and ("due_date" not in params or in_range(invoice["due_date"], params["due_date"]))
        ]
        return page(found, params, call.url, "invoice")

    def search(self, call: Call) -> Json:
        """GET /v1/invoices/search."""
        matches = matcher(call.params["query"], "invoice")
        seen = self.state.invoices.as_of(self.state.clock.timestamp() - self.state.search_lag_s)
        return search_page([thing for thing in seen if matches({**thing, "subscription": subscription_of(thing)})], call.params, call.url)

    def list_lines(self, call: Call) -> Json:
        """GET /v1/invoices/{id}/lines."""
        return page(self.shown(call.id)["lines"]["data"], call.params, call.url, "line_item")

    def update(self, call: Call) -> Json:
        """POST /v1/invoices/{id}."""
        before: Json = self.state.invoices.get(call.id)
        params: dict[str, Any] = dict(call.params)
        if "auto_advance" in params and before["status"] not in {"draft", "open"}:
            raise invalid("You can only update `auto_advance` on draft and open invoices.", "auto_advance", "invoice_not_editable")
        after = clone(before)
        if "metadata" in params:
            after["metadata"] = merge_metadata(before["metadata"], params.pop("metadata"))
            check_count(after["metadata"])
        after.update(params)
        if before["status"] == "draft" and before["auto_advance"] != after["auto_advance"]:
            after["automatically_finalizes_at"] = None
            if after["auto_advance"]:
                self.finalize_later(after)
        return self.state.put(self.state.invoices, after, "invoice.updated", before)

    def delete(self, call: Call) -> Json:
        """DELETE /v1/invoices/{id}: drafts that no subscription wrote."""
        invoice = self._draft(call.id)
        if subscription_of(invoice):
            raise invalid("You can't delete invoices created by subscriptions.")
        return self.state.remove(self.state.invoices, call.id, "invoice.deleted")

    def _draft(self, invoice_id: str) -> Json:
        invoice = self.state.invoices.get(invoice_id)
        if invoice["status"] != "draft":
            raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.", code="invoice_not_editable")
        return invoice

    def _close(self, invoice_id: str, status: str, transition: str, event: str) -> Json:
        before = self.state.invoices.get(invoice_id)
        if before["status"] not in {"open", "uncollectible"}:
            raise invalid(f"You can only mark open invoices as {status}. This invoice is {before['status']}.", code="invoice_not_editable")
        after = clone(before)
        after["status"] = status
        after["status_transitions"][transition] = self.state.timeline(before["test_clock"]).now()
        after["auto_advance"] = False
        return self.state.put(self.state.invoices, after, event, before)


def subscription_of(invoice: Json) -> str | None:
    """The subscription that an invoice is of."""
    parent = invoice["parent"]
    return parent["subscription_details"]["subscription"] if parent else None
