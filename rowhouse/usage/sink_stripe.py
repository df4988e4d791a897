"""Stripe as a billing sink: totals as meter events, what meters do not bill as invoice items, drafts held until they are right.

Does: what rowhouse.usage.sink names. Does not: decide what is owed or when.
Rules of Stripe's that matter here (2026-10): one call at a time for each customer and meter; an identifier once in 24 hours, then HTTP 400
without a code; a stored answer, even a 500, replayed for its idempotency key; meter events judged afterwards and told as thin events; a
renewal finalized an hour after it was written unless it is kept; what is finalized changes no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.marks import labels_for
from rowhouse.spec.names import meter_event_name
from rowhouse.usage.model import Line, Window
from rowhouse.usage.side_by_side import each
from rowhouse.usage.sink import Held, Item, Receipt, Refusals, Statement, Total, Trouble
from rowhouse.usage.sink_stripe_accounts import HOLD, Accounts, Subscription
from rowhouse.usage.sink_stripe_invoices import CLOSE, HELD, LINE, PERIOD, SUBSCRIPTION, charges_of, statements
from rowhouse.vendors.http import VendorError
from rowhouse.vendors.stripe import Stripe

__all__ = ["HOLD_AHEAD_MS", "SinkError", "StripeSink"]

HOLD_AHEAD_MS: Final = 2 * 86_400_000
"""How long before its renewal a subscription is held: a weekend without a pass loses nothing."""
_DRAFTS_BACK_S: Final = 3 * 86_400
_EVENTS: Final = "/v1/billing/meter_events"
_ATTEMPTS: Final = 4
_REPORTS: Final = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
_REPORT_PAGES: Final = 50
_DAYS_UNTIL_DUE: Final = 14


class SinkError(RowhouseError):
    """A tenant's invoice cannot be what it should be; the text says why and what to do."""


class StripeSink:
    """One Stripe account, as far as it bears the mark of one project and stack."""

    name = "Stripe"
    counts = True

    def __init__(self, stripe: Stripe, project: str, stack: str) -> None:
        self._stripe, self._project, self._stack = stripe, project, stack
        self._accounts = Accounts()
        self._strays: dict[str, str] | None = None  # tenant -> customer, of those without a subscription

    async def open(self) -> None:
        """Read meters, prices and subscriptions."""
        self._accounts = await Accounts.read(self._stripe, self._project, self._stack)

    def label(self, line: Line) -> str:
        """The event name of the line's meter in its billed unit."""
        return self._event(line.plan, line.meter, line.stripe_unit or "")

    def bills(self, total: Total) -> bool:
        """Whether the tenant's live subscription has an item on the total's meter."""
        held = self._accounts.tenants.get(total.tenant)
        meter = self._accounts.meters.get(self._event(total.plan, total.meter, total.unit))
        return held is not None and held.is_live and meter in held.meters

    def _event(self, plan: str, meter: str, unit: str) -> str:
        return meter_event_name(self._project, plan.partition("/")[0], f"{meter}_{unit}")

    # Totals

    async def push(self, total: Total) -> Receipt:
        """One meter event; received is not counted yet, see `refusals`."""
        held = self._accounts.tenants.get(total.tenant)
        if held is None:
            return Receipt("refused", "Stripe has no subscription of this tenant with this stack's mark. Run `rowhouse up`.")
        params = {
            "event_name": self._event(total.plan, total.meter, total.unit),
            "identifier": total.identifier,
            "timestamp": total.at,
            "payload": {"stripe_customer_id": held.customer, "value": total.value},
        }
        for attempt in range(_ATTEMPTS):
            # Error reports name the request by its key. A 5xx is replayed for the same key, and the identifier still counts once.
            key = total.identifier if attempt == 0 else f"{total.identifier}:{attempt}"
            try:
                await self._stripe.post_once(_EVENTS, params, key=key)
            except VendorError as error:
                if error.code == "duplicate_meter_event" or (error.status == 400 and error.says("already exists with identifier")):
                    return Receipt("sent")
                if error.ambiguous and attempt + 1 < _ATTEMPTS:
                    await self._stripe.http.sleep(0.25 * 2**attempt)
                    continue
                return Receipt("refused" if error.status == 400 else "failed", str(error))
            return Receipt("sent")
        raise AssertionError

    async def sum_of(self, total: Total) -> int | None:
        """Stripe's summary over the segment; it lags, so a difference may be gone a minute later."""
        held = self._accounts.tenants.get(total.tenant)
        meter = self._accounts.meters.get(self._event(total.plan, total.meter, total.unit))
        if held is None or meter is None:
            return None
        start, end = total.start // 60_000 * 60, -(-total.end // 60_000) * 60  # Stripe: whole minutes
        query = {"customer": held.customer, "start_time": start, "end_time": end}
        rows = [row async for row in self._stripe.pages(f"/v1/billing/meters/{meter}/event_summaries", query)]
        value = float(rows[0]["aggregated_value"]) if rows else 0.0
        return int(value) if value.is_integer() else None

    async def refusals(self, since: int) -> Refusals:
        """Meter error reports, newest first until `since`. Each names at most ten requests a reason."""
        reasons: dict[str, str] = {}
        complete, until = True, since
        path: str | None = "/v2/core/events?limit=100"
        for _ in range(_REPORT_PAGES):
            page = await self._stripe.get(path) if path else None
            if page is None:
                return Refusals(reasons, complete, until)
            for event in page.get("data") or []:
                created = int(datetime.fromisoformat(event["created"]).timestamp() * 1000)
                if created < since:
                    return Refusals(reasons, complete, until)
                until = max(until, created)
                if event["type"] in _REPORTS:
                    complete &= await self._reported(event, reasons)
            path = page.get("next_page_url")
        return Refusals(reasons, False, until)

    async def _reported(self, event: Mapping[str, Any], reasons: dict[str, str]) -> bool:
        """Add what one report names; whether it names all."""
        whole = event if event.get("data") else await self._stripe.get(f"/v2/core/events/{event['id']}")
        complete = True
        for kind in (((whole or {}).get("data") or {}).get("reason") or {}).get("error_types") or []:
            samples = kind.get("sample_errors") or []
            complete &= len(samples) >= int(kind.get("error_count") or 0)
            for sample in samples:
                key = (sample.get("request") or {}).get("identifier") or ""
                reasons.setdefault(key.partition(":")[0], f"{kind['code']} ({sample.get('error_message') or 'no words'})")
        return complete

    # Holding

    async def hold(self, now: int) -> Held:
        """Pause collection of what renews within two days, and keep drafts that were written all the same."""
        troubles: list[Trouble] = []
        count = 0
        due = [
            held
            for held in self._accounts.subscriptions.values()
            if held.renews and not held.paused and held.period_end * 1000 - now <= HOLD_AHEAD_MS
        ]

        async def pause(held: Subscription) -> None:
            nonlocal count
            params = {"pause_collection": {"behavior": "keep_as_draft"}, "metadata": {HOLD: str(held.period_end)}}
            try:
                await self._stripe.post(f"/v1/subscriptions/{held.id}", params)
            except VendorError as error:
                troubles.append(Trouble(held.tenant, f"its next invoice is not held, and goes out by itself: {error}"))
                return
            held.paused, held.hold = True, str(held.period_end)
            count += 1

        await each(due, pause)
        query = {"status": "draft", "created": {"gte": now // 1000 - _DRAFTS_BACK_S}}
        drafts = [invoice async for invoice in self._stripe.pages("/v1/invoices", query)]
        for invoice in drafts:
            held_by = ((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription")
            known = self._accounts.subscriptions.get(held_by or "")
            if known is None or not invoice.get("auto_advance"):
                continue
            try:
                await self._stripe.post(f"/v1/invoices/{invoice['id']}", {"auto_advance": False})
            except VendorError as error:
                troubles.append(Trouble(known.tenant, f"its draft {invoice['id']} is not held, and goes out by itself: {error}"))
            else:
                count += 1
        return Held(count, troubles)

    # Invoices

    async def statements(self, months: Sequence[str], closing: Window) -> Mapping[str, Statement]:
        """By tenant, from all invoices of these months."""
        return await statements(self._stripe, self._accounts, months, closing)

    def blank(self, tenant: str) -> Statement:
        """Of somebody without a subscription: an invoice of its own, if anything is owed."""
        return Statement(tenant)

    async def settle(self, statement: Statement, items: Sequence[Item], month: str) -> Statement:
        """Put items on the draft, or on an invoice of its own where no subscription writes one."""
        strange = next((item for item in items if statement.draft and item.currency != statement.currency), None)
        if strange is not None:
            raise SinkError(
                f"{strange.text}: {strange.currency.upper()} cannot go on an invoice in {statement.currency.upper()}. "
                "Write an invoice for it by hand at Stripe."
            )
        if not statement.draft:
            statement = await self._begin_invoice(statement, items[0].currency, month)
        for item in items:
            await self._put(statement, item)
        return await self._read_again(statement)

    async def _begin_invoice(self, statement: Statement, currency: str, month: str) -> Statement:
        customer = statement.customer or await self._customer_of(statement.tenant)
        held = self._accounts.tenants.get(statement.tenant)
        by_card = held is not None and held.collection == "charge_automatically"
        params = {
            "customer": customer,
            "currency": currency,
            "auto_advance": False,
            "collection_method": "charge_automatically" if by_card else "send_invoice",
            "days_until_due": None if by_card else (held.days_until_due if held else None) or _DAYS_UNTIL_DUE,
            "pending_invoice_items_behavior": "exclude",
            "metadata": {**labels_for(self._project, self._stack, statement.tenant), CLOSE: month},
        }
        made = await self._create("/v1/invoices", params, f"close:{month}:{currency}:{statement.tenant}", statement)
        return replace(statement, draft=made["id"], customer=customer, currency=currency, invoices=(*statement.invoices, made["id"]))

    async def _put(self, statement: Statement, item: Item) -> None:
        words = {"amount": item.cents, "description": item.text}
        if item.replaces and item.cents:
            await self._stripe.post(f"/v1/invoiceitems/{item.replaces}", words)
        elif item.replaces:
            await self._stripe.delete(f"/v1/invoiceitems/{item.replaces}")
        else:
            marks = labels_for(self._project, self._stack, statement.tenant)
            params = {
                **words,
                "customer": statement.customer,
                "invoice": statement.draft,
                "currency": item.currency,
                "period": {"start": item.start // 1000, "end": max(item.start, item.end) // 1000},
                "metadata": {**marks, LINE: item.key, PERIOD: item.period},
            }
            await self._create("/v1/invoiceitems", params, f"{statement.draft}:{item.period}:{item.key}:{item.cents}", statement)

    async def _create(self, path: str, params: Mapping[str, Any], key: str, statement: Statement) -> Mapping[str, Any]:
        """Make an object once: the key is that of the wish, and after a lost answer Stripe replays what it made for it.

        A replayed failure, or an object that was deleted since, is left to the statement that is read afterwards.
        """
        hashed = hashlib.sha256(f"{self._project}\n{self._stack}\n{key}".encode()).hexdigest()[:32]
        for attempt in range(_ATTEMPTS):
            try:
                made, replayed = await self._stripe.post_once(path, params, key=f"rowhouse:{hashed}" + (f":{attempt}" if attempt else ""))
            except VendorError as error:
                if not error.ambiguous or attempt + 1 == _ATTEMPTS:
                    raise
                found = await self._made(path, params, statement)
                if found is not None:
                    return found
            else:
                if not replayed or await self._stripe.get(f"{path}/{made['id']}") is not None:
                    return made
        raise AssertionError

    async def _made(self, path: str, params: Mapping[str, Any], statement: Statement) -> Mapping[str, Any] | None:
        """What an attempt made whose answer was lost."""
        query = {"customer": params["customer"]}
        if path == "/v1/invoiceitems":
            query["invoice"] = statement.draft
        async for found in self._stripe.pages(path, query):
            if (found.get("metadata") or {}) == params["metadata"] and found.get("status", "draft") == "draft":
                return found
        return None

    async def _customer_of(self, tenant: str) -> str:
        """The customer of a tenant that never had a subscription."""
        if self._strays is None:
            marks = labels_for(self._project, self._stack, "")
            self._strays = {}
            async for customer in self._stripe.pages("/v1/customers"):
                metadata = customer.get("metadata") or {}
                if all(metadata.get(name) == value for name, value in marks.items() if value) and metadata.get("tenant"):
                    self._strays.setdefault(metadata["tenant"], customer["id"])
        if tenant not in self._strays:
            raise SinkError("Stripe has no customer of this tenant to send an invoice to. Run `rowhouse up`, or bill it by hand.")
        return self._strays[tenant]

    async def _read_again(self, statement: Statement) -> Statement:
        invoice = await self._invoice(statement.draft)
        return replace(await self._with(statement, invoice), draft=statement.draft if invoice["status"] == "draft" else "")

    async def _invoice(self, key: str) -> Mapping[str, Any]:
        invoice = await self._stripe.get(f"/v1/invoices/{key}")
        if invoice is None:
            raise SinkError(f"the draft {key} is gone from Stripe. Run the close again.")
        return invoice

    async def _with(self, statement: Statement, invoice: Mapping[str, Any]) -> Statement:
        """The statement with an invoice as it is now."""
        lines = [line async for line in self._stripe.pages(f"/v1/invoices/{invoice['id']}/lines")]
        now = charges_of(invoice, lines, self._accounts, None, on_draft=True)
        others = [charge for charge in statement.charges if charge.invoice != invoice["id"]]
        return replace(statement, charges=(*others, *now))

    async def finalize(self, statement: Statement) -> Statement:
        """Resume collection where we paused it, then finalize; Stripe sends or charges as the subscription says."""
        paused, held = statement.context.get(SUBSCRIPTION), statement.context.get(HELD, "").split()
        if paused:
            await self._stripe.post(f"/v1/subscriptions/{paused}", {"pause_collection": "", "metadata": {HOLD: ""}})
        for invoice in held:
            await self._send_out(invoice)
            statement = await self._with(statement, await self._invoice(invoice))
        statement = replace(statement, context={})
        if not statement.draft:
            return statement
        await self._send_out(statement.draft)
        return await self._read_again(statement)

    async def _send_out(self, invoice: str) -> None:
        try:
            # Finalizing twice is refused and changes nothing, so a lost answer is asked for, not repeated.
            await self._stripe.post(f"/v1/invoices/{invoice}/finalize", {"auto_advance": True}, repeatable=False)
        except VendorError as error:
            found = await self._stripe.get(f"/v1/invoices/{invoice}")
            if found is None or found["status"] == "draft":
                raise SinkError(f"invoice {invoice} stays a draft: {error}") from error

    async def finish(self, month: str) -> None:
        """Nothing: each invoice went out by itself."""
