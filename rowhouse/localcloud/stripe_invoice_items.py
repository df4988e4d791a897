"""Invoice items: amounts that wait for a customer's next invoice, or are put on a draft at once."""

from __future__ import annotations

from decimal import Decimal

from rowhouse.localcloud.stripe_errors import invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_invoice_shape import Line
from rowhouse.localcloud.stripe_invoices import Invoices, subscription_of
from rowhouse.localcloud.stripe_lists import in_range, page
from rowhouse.localcloud.stripe_params import INVOICE_ITEM_CREATE, INVOICE_ITEM_LIST, INVOICE_ITEM_UPDATE, NONE
from rowhouse.localcloud.stripe_pricing import decimal_text, to_minor
from rowhouse.localcloud.stripe_state import Json, State, clone, merge_metadata, new_id

__all__ = ["InvoiceItems"]


class InvoiceItems:
    """The invoice item endpoints."""

    def __init__(self, state: State, invoices: Invoices) -> None:
        """Keep items in `state` and hand them to `invoices` as it writes drafts."""
        self.state, self.invoices = state, invoices
        invoices.take_pending = self.take

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/invoiceitems", INVOICE_ITEM_CREATE, self.create),
            Endpoint("GET", "/v1/invoiceitems", INVOICE_ITEM_LIST, self.list_all),
            Endpoint("GET", "/v1/invoiceitems/{id}", NONE, lambda call: self.state.invoice_items.get(call.id)),
            Endpoint("POST", "/v1/invoiceitems/{id}", INVOICE_ITEM_UPDATE, self.update),
            Endpoint("DELETE", "/v1/invoiceitems/{id}", NONE, self.delete),
        ]

    def create(self, call: Call) -> Json:
        """POST /v1/invoiceitems: an amount, or a quantity at a unit amount."""
        params = call.params
        customer = self.state.customers.get(params["customer"], "customer")
        if ("amount" in params) == ("unit_amount_decimal" in params):
            raise invalid("You must specify exactly one of `amount` and `unit_amount_decimal`.", "amount")
        if "amount" in params and "quantity" in params:
            raise invalid("You may only specify `quantity` together with `unit_amount_decimal`.", "quantity")
        quantity = params.get("quantity", 1)
        unit: Decimal | None = params.get("unit_amount_decimal")
        amount = params["amount"] if unit is None else to_minor(unit * quantity)
        if "subscription" in params and self.state.subscriptions.get(params["subscription"], "subscription")["customer"] != customer["id"]:
            raise invalid("The subscription is not of this customer.", "subscription")
        now = self.state.timeline(customer["test_clock"]).now()
        subscription = params.get("subscription")
        item: Json = {
            "id": new_id("ii"),
            "object": "invoiceitem",
            "amount": amount,
            "currency": params["currency"].lower(),
            "customer": customer["id"],
            "customer_account": None,
            "date": now,
            "description": params.get("description"),
            "discountable": params.get("discountable", True),
            "discounts": [],
            "invoice": params.get("invoice"),
            "livemode": self.state.livemode,
            "metadata": merge_metadata({}, params.get("metadata", {})),
            "net_amount": amount,
            "parent": {"subscription_details": {"subscription": subscription, "subscription_item": None}, "type": "subscription_details"}
            if subscription
            else None,
            "period": params.get("period", {"start": now, "end": now}),
            "pricing": {"type": "price_details", "unit_amount_decimal": decimal_text(unit if unit is not None else Decimal(amount))},
            "proration": False,
            "quantity": quantity,
            "quantity_decimal": str(quantity),
            "tax_rates": [],
            "test_clock": customer["test_clock"],
        }
        if item["invoice"]:
            self.invoices.add_line(item["invoice"], _line(item), "invoice")
        return self.state.put(self.state.invoice_items, item, "invoiceitem.created")

    def update(self, call: Call) -> Json:
        """POST /v1/invoiceitems/{id}: while its invoice, if it has one, is a draft."""
        before, params = self.state.invoice_items.get(call.id), dict(call.params)
        if "amount" in params and ("quantity" in params or "unit_amount_decimal" in params):
            raise invalid("You may only specify `quantity` together with `unit_amount_decimal`.", "quantity")
        after = clone(before)
        if "metadata" in params:
            after["metadata"] = merge_metadata(before["metadata"], params.pop("metadata"))
        if "unit_amount_decimal" in params or "quantity" in params:
            unit: Decimal = params.get("unit_amount_decimal", Decimal(before["pricing"]["unit_amount_decimal"]))
            after["quantity"] = params.get("quantity", before["quantity"])
            after["quantity_decimal"] = str(after["quantity"])
            after["amount"] = to_minor(unit * after["quantity"])
            after["pricing"]["unit_amount_decimal"] = decimal_text(unit)
        elif "amount" in params:
            after["amount"] = params["amount"]
            after["pricing"]["unit_amount_decimal"] = decimal_text(Decimal(params["amount"]))
        after["net_amount"] = after["amount"]
        after |= {name: params[name] for name in ("description", "period") if name in params}
        if after["invoice"]:
            self.invoices.drop_item(after["invoice"], call.id)
            self.invoices.add_line(after["invoice"], _line(after), "invoice")
        return self.state.put(self.state.invoice_items, after, "invoiceitem.updated", before)

    def take(self, invoice: Json) -> list[Line]:
        """The lines of all items that wait for such an invoice, which now has them."""
        of = subscription_of(invoice)
        taken = []
        for item in list(self.state.invoice_items.objects.values()):
            wanted = item["parent"]["subscription_details"]["subscription"] if item["parent"] else None
            if item["customer"] != invoice["customer"] or item["invoice"] or item["currency"] != invoice["currency"]:
                continue
            if wanted is not None and wanted != of:
                continue
            self.state.put(self.state.invoice_items, {**item, "invoice": invoice["id"]}, "invoiceitem.updated", item)
            taken.append(_line(item))
        return taken

    def delete(self, call: Call) -> Json:
        """DELETE /v1/invoiceitems/{id}: while its invoice is not finalized."""
        item = self.state.invoice_items.get(call.id)
        if item["invoice"]:
            self.invoices.drop_item(item["invoice"], call.id)
        return self.state.remove(self.state.invoice_items, call.id, "invoiceitem.deleted")

    def list_all(self, call: Call) -> Json:
        """GET /v1/invoiceitems."""
        params = call.params
        found = [
            item
            for item in self.state.invoice_items.newest_first()
            if all(item[name] == params[name] for name in ("customer", "invoice") if name in params)
            and ("pending" not in params or (item["invoice"] is None) == params["pending"])
            and in_range(item["date"], params.get("created"))
        ]
        return page(found, params, call.url, "invoiceitem")


def _line(item: Json) -> Line:
    period = item["period"]
    return Line(
        item["description"] or "",
        period["start"],
        period["end"],
        Decimal(item["quantity"]),
        item["amount"],
        invoice_item=item["id"],
        metadata=dict(item["metadata"]),
    )
