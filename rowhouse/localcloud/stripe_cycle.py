"""What time and change do to a subscription: first invoice, renewals, prorations, dunning, the end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rowhouse.localcloud.stripe_errors import StripeError
from rowhouse.localcloud.stripe_invoice_shape import Line
from rowhouse.localcloud.stripe_invoices import Invoices, is_good_card, subscription_of
from rowhouse.localcloud.stripe_pricing import amount_for, to_minor
from rowhouse.localcloud.stripe_state import Json, State, clone
from rowhouse.localcloud.stripe_subscription_shape import period_at, prorated, shown

__all__ = ["LIVE", "Cycle"]

LIVE = frozenset({"active", "incomplete", "past_due", "paused", "trialing", "unpaid"})
_EXPIRES_S = 23 * 3600  # reference: an unpaid first invoice expires the subscription after 23 h


class Cycle:
    """Bills subscriptions through their life."""

    def __init__(self, state: State, invoices: Invoices) -> None:
        """Write invoices with `invoices` and hear from them what was paid."""
        self.state, self.invoices = state, invoices
        self.pending: dict[str, list[Line]] = {}  # subscription -> lines that the next invoice takes along
        invoices.on_paid, invoices.on_unpaid = self._paid, self._unpaid

    # The start

    def check_payable(
        self, subscription: Json, customer: Json, items: list[Json], behavior: str, *, part: tuple[int, int], params: dict[str, Any]
    ) -> None:
        """Refuse a subscription whose first invoice cannot be paid, unless it may begin incomplete.

        Raises: StripeError 400 without a payment method, 402 for a declined card with error_if_incomplete.
        """
        if subscription["collection_method"] != "charge_automatically" or behavior == "default_incomplete":
            return
        if params.get("default_payment_method"):
            self.state.cards[customer["id"]] = params["default_payment_method"]
        due = sum(self._licensed_amount(item, *part) for item in items)
        if not due or (params.get("proration_behavior") == "none" and part[0] != part[1]):
            return
        card = self.state.cards.get(customer["id"])
        if card is None:
            raise StripeError(
                400,
                "This customer has no attached payment source or default payment method. Please consider adding a default payment "
                "method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
                "#payment-method-priority.",
                code="resource_missing",
            )
        if behavior == "error_if_incomplete" and not is_good_card(card):
            raise StripeError(402, "Your card was declined.", kind="card_error", code="card_declined")

    def begin(self, subscription_id: str, full: int, *, prorate: bool, behavior: str) -> None:
        """Write the first invoice, finalize it at once, and wait for the first renewal."""
        subscription = self._subscription(subscription_id)
        customer = self.state.customers.objects[subscription["customer"]]
        now = self._now(subscription)
        lines = []
        for item in subscription["items"]["data"]:
            seconds = item["current_period_end"] - now
            stub = seconds != full
            if item["price"]["recurring"]["usage_type"] == "metered" or (stub and not prorate):
                continue
            lines.append(self._licensed_line(item, now, item["current_period_end"], full if stub else seconds))
        draft = self.invoices.draft(subscription, customer, lines, "subscription_create", currency=subscription["currency"], now=now)
        automatic = subscription["collection_method"] == "charge_automatically"
        if automatic and draft["amount_due"]:
            self._change(subscription_id, status="incomplete", latest_invoice=draft["id"])
        else:
            self._change(subscription_id, latest_invoice=draft["id"])
        invoice = self.invoices.finalize(draft, charge=automatic and behavior != "default_incomplete")
        if invoice["status"] == "open" and automatic:
            self.state.timeline(subscription["test_clock"]).call_at(now + _EXPIRES_S, lambda: self._expire(subscription_id, invoice["id"]))
        self._await_renewal(subscription_id)

    def _expire(self, subscription_id: str, invoice_id: str) -> None:
        if self.state.subscriptions.objects[subscription_id]["status"] != "incomplete":
            return
        now = self._now(self._subscription(subscription_id))
        self._change(subscription_id, "customer.subscription.updated", status="incomplete_expired", ended_at=now)
        invoice = self.state.invoices.objects[invoice_id]
        self.state.put(self.state.invoices, {**clone(invoice), "status": "void", "auto_advance": False}, "invoice.voided", invoice)

    # Renewal

    def _await_renewal(self, subscription_id: str) -> None:
        subscription = self._subscription(subscription_id)
        edge = max(item["current_period_end"] for item in subscription["items"]["data"])
        self.state.timeline(subscription["test_clock"]).call_at(edge, lambda: self._renew(subscription_id, edge))

    def _renew(self, subscription_id: str, edge: int) -> None:
        subscription = self._subscription(subscription_id)
        items = subscription["items"]["data"]
        if subscription["status"] not in {"active", "past_due", "unpaid"} or all(item["current_period_end"] != edge for item in items):
            return
        if subscription["cancel_at_period_end"]:
            lines = [self._metered_line(item, item["current_period_end"]) for item in items if item["price"]["recurring"]["meter"]]
            self._finish(subscription_id, lines, edge, at_once=False, why="cancellation_requested")
            return
        recurring = items[0]["price"]["recurring"]
        start, end, full = period_at(subscription["billing_cycle_anchor"], recurring["interval"], recurring["interval_count"], edge)
        lines = []
        for item in items:
            metered = item["price"]["recurring"]["usage_type"] == "metered"
            lines.append(self._metered_line(item, edge) if metered else self._licensed_line(item, start, end, full))
            self.state.put(self.state.items, {**item, "current_period_start": start, "current_period_end": end})
        self._invoice(subscription_id, lines, edge, "subscription_cycle", at_once=False)
        self._change(subscription_id, "customer.subscription.updated")
        self._await_renewal(subscription_id)

    def _invoice(self, subscription_id: str, lines: list[Line], now: int, reason: str, *, at_once: bool) -> None:
        subscription = self._subscription(subscription_id)
        customer = self.state.customers.objects[subscription["customer"]]
        waiting = self.pending.pop(subscription_id, [])
        draft = self.invoices.draft(subscription, customer, waiting + lines, reason, currency=subscription["currency"], now=now)
        self._change(subscription_id, latest_invoice=draft["id"])
        if subscription["pause_collection"]:
            self.invoices.withhold(draft, subscription["pause_collection"]["behavior"])
        elif at_once:
            self.invoices.finalize(draft)
        else:
            self.invoices.finalize_later(draft)

    # Change

    def change_items(
        self,
        subscription_id: str,
        added: list[Json],
        removed: list[tuple[str, bool]],
        changed: list[dict[str, Any]],
        proration: str,
        date: int | None,
    ) -> None:
        """Put items in place of others; the difference waits for the next invoice, or is invoiced at once, or is let go."""
        subscription = self._subscription(subscription_id)
        moment = date or self._now(subscription)
        held = {item["id"]: item for item in subscription["items"]["data"]}
        lines: list[Line] = []
        for item_id, clear_usage in removed:
            lines += self._leave(subscription, held[item_id], moment, proration, clear_usage=clear_usage)
            self.state.items.gone[item_id] = {"id": item_id, "object": "subscription_item", "deleted": True}
            del self.state.items.objects[item_id]
        for change in changed:
            item, price = held[change["id"]], change["price"]
            after = clone(item)
            if price["id"] != item["price"]["id"] or change.get("quantity", item.get("quantity")) != item.get("quantity"):
                lines += self._leave(subscription, item, moment, proration, clear_usage=False)
                after["price"] = price
                if price["recurring"]["usage_type"] == "licensed":
                    after["quantity"] = change.get("quantity", item.get("quantity", 1))
                else:
                    after.pop("quantity", None)
                    after["current_period_start"] = moment
                lines += self._join(subscription, after, moment, proration)
            if "metadata" in change:
                given = change["metadata"]
                after["metadata"] = {} if given is None else {k: v for k, v in {**item["metadata"], **given}.items() if v}
            self.state.put(self.state.items, after)
        for item in added:
            lines += self._join(subscription, item, moment, proration)
            self.state.put(self.state.items, item)
        self.pending.setdefault(subscription_id, []).extend(lines)
        if proration == "always_invoice" and self.pending[subscription_id]:
            self._invoice(subscription_id, [], moment, "subscription_update", at_once=True)

    def _leave(self, subscription: Json, item: Json, moment: int, proration: str, *, clear_usage: bool) -> list[Line]:
        price = item["price"]
        if price["recurring"]["meter"]:
            # Stripe, billing-mode/compare (2026-04): only flexible billing invoices what a removed usage-based item had not billed yet,
            # and not with proration_behavior none; classic drops it.
            flexible = subscription["billing_mode"]["type"] == "flexible"
            return self._used(subscription, item, moment) if flexible and proration != "none" and not clear_usage else []
        if proration == "none":
            return []
        seconds, full = self._remaining(subscription, item, moment)
        amount = -to_minor(prorated(price, self.invoices.tiers.get(price["id"]), item["quantity"], seconds, full))
        return [self._proration_line(f"Unused time on {self._named(item)}", item, moment, amount)]

    def _used(self, subscription: Json, item: Json, moment: int) -> list[Line]:
        """What a metered item that ends here has to bill, counted now: usage that arrives later is added to nothing."""
        price = item["price"]
        total = self.invoices.usage.total(price["recurring"]["meter"], subscription["customer"], item["current_period_start"], moment)
        if total is None:
            return []
        line = self._metered_line(item, moment)
        line.meter, line.quantity = None, max(total, Decimal(0))
        line.amount = to_minor(amount_for(price, self.invoices.tiers.get(price["id"]), total))
        return [line]

    def _join(self, subscription: Json, item: Json, moment: int, proration: str) -> list[Line]:
        if item["price"]["recurring"]["meter"] or proration == "none":
            return []
        seconds, full = self._remaining(subscription, item, moment)
        amount = to_minor(prorated(item["price"], self.invoices.tiers.get(item["price"]["id"]), item["quantity"], seconds, full))
        return [self._proration_line(f"Remaining time on {self._named(item)}", item, moment, amount)]

    def _remaining(self, subscription: Json, item: Json, moment: int) -> tuple[int, int]:
        recurring = item["price"]["recurring"]
        _, _, full = period_at(subscription["billing_cycle_anchor"], recurring["interval"], recurring["interval_count"], moment)
        return max(item["current_period_end"] - moment, 0), full

    # The end

    def end(self, subscription_id: str, *, invoice_now: bool, prorate: bool, why: str = "cancellation_requested") -> None:
        """Cancel now. Without `invoice_now` usage that is on no invoice, and what waited for the next one, is dropped."""
        subscription = self._subscription(subscription_id)
        now = self._now(subscription)
        lines = []
        for item in subscription["items"]["data"]:
            metered = item["price"]["recurring"]["meter"] is not None
            if invoice_now and metered:
                lines += self._used(subscription, item, now + 1)
            if prorate and not metered:
                lines += self._leave(subscription, item, now, "create_prorations", clear_usage=False)
        self._finish(subscription_id, lines if invoice_now else [], now, at_once=True, why=why, keep_pending=invoice_now)

    def end_all(self, customer_id: str) -> None:
        """Cancel every subscription of a customer."""
        for subscription in list(self.state.subscriptions.objects.values()):
            if subscription["customer"] == customer_id and subscription["status"] in LIVE:
                self.end(subscription["id"], invoice_now=False, prorate=False)

    def _finish(self, subscription_id: str, lines: list[Line], now: int, *, at_once: bool, why: str, keep_pending: bool = True) -> None:
        if not keep_pending:
            self.pending.pop(subscription_id, None)
        if lines or self.pending.get(subscription_id):
            self._invoice(subscription_id, lines, now, "subscription_cycle", at_once=at_once)
        subscription = self._subscription(subscription_id)
        details = {**subscription["cancellation_details"], "reason": why}
        canceled_at = subscription["canceled_at"] or now
        self._change(
            subscription_id,
            "customer.subscription.deleted",
            status="canceled",
            canceled_at=canceled_at,
            ended_at=now,
            cancellation_details=details,
        )

    # Payment

    def _paid(self, invoice: Json) -> None:
        subscription = self.state.subscriptions.objects.get(subscription_of(invoice) or "")
        if subscription and subscription["status"] in {"incomplete", "past_due", "unpaid"}:
            owed = any(
                subscription_of(other) == subscription["id"] and other["status"] == "open" and other["id"] != invoice["id"]
                for other in self.state.invoices.objects.values()
            )
            if not owed:
                self._change(subscription["id"], "customer.subscription.updated", status="active")

    def _unpaid(self, invoice: Json) -> None:
        subscription = self.state.subscriptions.objects.get(subscription_of(invoice) or "")
        if subscription and subscription["status"] == "active":
            self._change(subscription["id"], "customer.subscription.updated", status="past_due")

    # Small things

    def _now(self, subscription: Json) -> int:
        return self.state.timeline(subscription["test_clock"]).now()

    def _subscription(self, subscription_id: str) -> Json:
        return shown(self.state, self.state.subscriptions.objects[subscription_id])

    def _change(self, subscription_id: str, event: str | None = None, **changes: Any) -> None:
        before = self.state.subscriptions.objects[subscription_id]
        after = shown(self.state, {**clone(before), **changes})
        deleted = event == "customer.subscription.deleted"
        self.state.put(self.state.subscriptions, after, event, None if deleted else before)

    def _named(self, item: Json) -> str:
        product = self.state.products.objects.get(item["price"]["product"])
        return product["name"] if product else str(item["price"]["product"])

    def _licensed_amount(self, item: Json, seconds: int, full: int) -> int:
        if item["price"]["recurring"]["usage_type"] == "metered":
            return 0
        return to_minor(prorated(item["price"], self.invoices.tiers.get(item["price"]["id"]), item["quantity"], seconds, full))

    def _licensed_line(self, item: Json, start: int, end: int, full: int) -> Line:
        description = f"{item['quantity']} × {self._named(item)}"  # noqa: RUF001 - the sign that Stripe writes
        amount = self._licensed_amount(item, end - start, full)
        return Line(description, start, end, Decimal(item["quantity"]), amount, item["price"], item["id"])

    def _metered_line(self, item: Json, end: int) -> Line:
        meter = item["price"]["recurring"]["meter"]
        return Line(self._named(item), item["current_period_start"], end, Decimal(0), 0, item["price"], item["id"], meter)

    @staticmethod
    def _proration_line(description: str, item: Json, moment: int, amount: int) -> Line:
        end = item["current_period_end"]
        return Line(description, moment, end, Decimal(item["quantity"]), amount, item["price"], item["id"], proration=True)
