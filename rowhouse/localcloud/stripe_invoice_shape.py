"""An invoice and its lines as they go over the wire."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from rowhouse.localcloud.stripe_pricing import decimal_text
from rowhouse.localcloud.stripe_state import Json, State, new_id

__all__ = ["Line", "invoice_object", "line_object"]


@dataclass
class Line:
    """What one invoice line is made of."""

    description: str
    start: int
    end: int
    quantity: Decimal = Decimal(1)
    amount: int = 0  # minor units; recounted while `meter` is set
    price: Json | None = None
    item: str | None = None  # subscription item
    meter: str | None = None  # counted from this meter until the invoice is finalized
    proration: bool = False
    invoice_item: str | None = None
    metadata: dict[str, str] | None = None  # of an invoice item; a subscription's line shows the subscription's
    id: str = ""

    def __post_init__(self) -> None:
        """Give the line its id, which it keeps through every count."""
        self.id = self.id or new_id("il")


def line_object(state: State, invoice: Json, line: Line, quantity: Decimal, amount: int) -> Json:
    """The wire form of a line."""
    subscription = invoice["parent"]["subscription_details"]["subscription"] if invoice["parent"] else None
    details = {"proration": line.proration, "proration_details": {"credited_items": None}, "subscription": subscription}
    own = line.item is not None
    price = line.price
    held = state.subscriptions.objects.get(subscription or "") or {}
    return {
        "id": line.id,
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": line.description,
        "discount_amounts": [],
        "discountable": not line.proration,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": state.livemode,
        "metadata": dict(line.metadata if line.metadata is not None else held.get("metadata") or {}),
        "parent": {
            "invoice_item_details": None if own else {"invoice_item": line.invoice_item, **details},
            "subscription_item_details": {"invoice_item": line.invoice_item, "subscription_item": line.item, **details} if own else None,
            "type": "subscription_item_details" if own else "invoice_item_details",
        },
        "period": {"start": line.start, "end": line.end},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        }
        if price
        else None,
        "quantity": int(quantity),
        "quantity_decimal": decimal_text(quantity),
        "subscription": subscription,
        "subtotal": amount,
        "taxes": [],
    }


def invoice_object(state: State, customer: Json, subscription: Json | None, reason: str, *, currency: str, now: int) -> Json:
    """The wire form of an empty draft."""
    invoice_id = new_id("in")
    return {
        "id": invoice_id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Local stand-in",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": False,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"] if subscription else "charge_automatically",
        "created": now,
        "currency": currency,
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {"object": "list", "data": [], "has_more": False, "url": f"/v1/invoices/{invoice_id}/lines"},
        "livemode": state.livemode,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]},
            "type": "subscription_details",
        }
        if subscription
        else None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": customer["test_clock"],
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }
