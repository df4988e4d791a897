"""Meter events: received at once, judged later, counted by window and formula.

A 2xx says only that the event was received. One that does not count is reported afterwards as a thin event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from rowhouse.localcloud.stripe_errors import StripeError, invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import page
from rowhouse.localcloud.stripe_params import ADJUSTMENT_CREATE, METER_EVENT_CREATE, SUMMARY_LIST
from rowhouse.localcloud.stripe_reports import ErrorReports
from rowhouse.localcloud.stripe_state import Json, State, new_id

__all__ = ["Reading", "Usage"]

_DEDUPE_S = 24 * 3600  # reference: a rolling window of at least 24 h
_OLDEST_S, _AHEAD_S = 35 * 86400, 300
_WINDOW_S = {"hour": 3600, "day": 86400}


@dataclass
class Reading:
    """One event that counts."""

    number: int
    meter: str
    customer: str
    identifier: str
    timestamp: int
    value: Decimal
    received: float
    cancelled: bool = False


class Usage:
    """The meter event, adjustment and summary endpoints, and the totals that invoices ask for."""

    def __init__(
        self, state: State, *, summary_lag_s: float, report_lag_s: float, refuse_bad_timestamps: bool, last_arrived: bool = False
    ) -> None:
        """Keep readings beside `state`; summaries show what is older than `summary_lag_s`.

        last_arrived: what `last` means is said only as "the value from the last event in a time range" (Stripe's changelog, 2025-03-31):
        by its timestamp, or with this the one that arrived last. Rowhouse must be right under both.
        """
        self.last_arrived = last_arrived
        self.state, self.summary_lag_s, self.refuse_bad_timestamps = state, summary_lag_s, refuse_bad_timestamps
        self.reports = ErrorReports(state, report_lag_s)
        self.readings: dict[tuple[str, str], list[Reading]] = {}  # (meter, customer)
        self._received: dict[str, float] = {}  # identifier -> when
        self._count = 0

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/billing/meter_events", METER_EVENT_CREATE, self.create, lock=self._lock),
            Endpoint("POST", "/v1/billing/meter_event_adjustments", ADJUSTMENT_CREATE, self.adjust),
            Endpoint("GET", "/v1/billing/meters/{id}/event_summaries", SUMMARY_LIST, self.summaries),
        ]

    def _lock(self, call: Call) -> str | None:
        # Reference: one concurrent call per customer per meter.
        meter = self._meter(call.params["event_name"])
        key = meter["customer_mapping"]["event_payload_key"] if meter else "stripe_customer_id"
        return f"meter_event {call.params['event_name']} {call.params['payload'].get(key)}"

    def _meter(self, event_name: str) -> Json | None:
        named = [meter for meter in self.state.meters.objects.values() if meter["event_name"] == event_name]
        return next((meter for meter in named if meter["status"] == "active"), named[-1] if named else None)

    def create(self, call: Call) -> Json:
        """POST /v1/billing/meter_events.

        Raises: StripeError 400 without a code for an identifier that was received in the last 24 h, by whatever request.
        """
        params, received = call.params, self.state.clock.timestamp()
        identifier = params.get("identifier") or new_id("mtrevt")
        last = self._received.get(identifier)
        if last is not None and received - last < _DEDUPE_S:
            raise StripeError(400, f"An event already exists with identifier {identifier}.", headers={"Stripe-Should-Retry": "false"})
        meter = self._meter(params["event_name"])
        key = meter["customer_mapping"]["event_payload_key"] if meter else "stripe_customer_id"
        customer = params["payload"].get(key, "")
        now = self.state.timeline_of(customer).now()
        timestamp = params.get("timestamp", now)
        problem, value = self._judge(meter, customer, params["payload"], timestamp, now)
        if self.refuse_bad_timestamps and problem in {"timestamp_in_future", "timestamp_too_far_in_past"}:
            raise invalid(self.reports.words(problem, params["event_name"]), "timestamp", problem)
        self._received[identifier] = received
        if problem or meter is None:
            self.reports.add(meter, params["event_name"], problem or "no_meter", call.idempotency_key or identifier)
        else:
            self._count += 1
            reading = Reading(self._count, meter["id"], customer, identifier, timestamp, value, received)
            self.readings.setdefault((meter["id"], customer), []).append(reading)
        return {
            "object": "billing.meter_event",
            "created": now,
            "event_name": params["event_name"],
            "identifier": identifier,
            "livemode": self.state.livemode,
            "payload": params["payload"],
            "timestamp": timestamp,
        }

    def _judge(self, meter: Json | None, customer: str, payload: dict[str, str], timestamp: int, now: int) -> tuple[str | None, Decimal]:
        none = Decimal(0)
        if meter is None:
            return "no_meter", none
        if meter["status"] != "active":
            return "archived_meter", none
        if not customer:
            return "meter_event_no_customer_defined", none
        if customer not in self.state.customers.objects:
            return "meter_event_customer_not_found", none
        if timestamp > now + _AHEAD_S:
            return "timestamp_in_future", none
        if timestamp < now - _OLDEST_S:
            return "timestamp_too_far_in_past", none
        raw = payload.get(meter["value_settings"]["event_payload_key"], "1" if meter["default_aggregation"]["formula"] == "count" else "")
        try:
            value = Decimal(raw)
        except InvalidOperation:
            return "meter_event_invalid_value", none
        if not value.is_finite():
            return "meter_event_invalid_value", none
        if len(value.as_tuple().digits) > 15:
            return "meter_event_value_too_many_digits", none
        return None, value

    def adjust(self, call: Call) -> Json:
        """POST /v1/billing/meter_event_adjustments: takes an event back within 24 h of its receipt."""
        params, now = call.params, self.state.clock.timestamp()
        if "cancel" not in params:
            raise invalid("Missing required param: cancel.", "cancel", "parameter_missing")
        identifier = params["cancel"]["identifier"]
        meter = self._meter(params["event_name"])
        held = [
            reading
            for (meter_id, _), readings in self.readings.items()
            for reading in readings
            if meter is not None and meter_id == meter["id"] and reading.identifier == identifier and not reading.cancelled
        ]
        if not held:
            raise invalid(f"No event was found with identifier {identifier}.", "cancel[identifier]", "resource_missing")
        if now - held[-1].received >= _DEDUPE_S:
            raise invalid(f"The event with identifier {identifier} was received more than 24 hours ago.", "cancel[identifier]")
        held[-1].cancelled = True
        return {
            "object": "billing.meter_event_adjustment",
            "cancel": {"identifier": identifier},
            "event_name": params["event_name"],
            "livemode": self.state.livemode,
            "status": "pending",
            "type": "cancel",
        }

    def total(self, meter_id: str, customer: str, start: int, end: int, received_by: float | None = None) -> Decimal | None:
        """A meter's aggregate over `[start, end)`, or None where nothing was sent.

        With an event_time_window only the latest event of each hour or day counts. Equal times: the later arrival wins.
        """
        meter = self.state.meters.objects[meter_id]
        events = [
            reading
            for reading in self.readings.get((meter_id, customer), [])
            if start <= reading.timestamp < end and not reading.cancelled and (received_by is None or reading.received <= received_by)
        ]
        events.sort(key=lambda reading: (reading.timestamp, reading.number))
        width = _WINDOW_S.get(meter["event_time_window"] or "")
        if width:
            events = list({reading.timestamp // width: reading for reading in events}.values())
        if not events:
            return None
        formula = meter["default_aggregation"]["formula"]
        if formula == "count":
            return Decimal(len(events))
        if formula == "last" and self.last_arrived:
            return max(events, key=lambda reading: reading.number).value
        return events[-1].value if formula == "last" else sum((reading.value for reading in events), Decimal(0))

    def summaries(self, call: Call) -> Json:
        """GET .../event_summaries: start inclusive, end exclusive; buckets without events are absent."""
        params = call.params
        meter = self.state.meters.get(call.id)
        self.state.customers.get(params["customer"], "customer")
        start, end, window = params["start_time"], params["end_time"], params.get("value_grouping_window")
        width = _WINDOW_S.get(window or "", 60)
        for name in ("start_time", "end_time"):
            if params[name] % width:
                raise invalid(f"`{name}` must be aligned with {window or 'minute'} boundaries.", name)
        if end <= start:
            raise invalid("`end_time` must be after `start_time`.", "end_time")
        until = self.state.clock.timestamp() - self.summary_lag_s
        found = []
        for bucket_start, bucket_end in self._buckets(meter["id"], params["customer"], start, end, width if window else None):
            value = self.total(meter["id"], params["customer"], bucket_start, bucket_end, until)
            if value is None:
                continue
            found.append(
                {
                    "id": f"mtrusg_test_{meter['id'][-8:]}{params['customer'][-6:]}{bucket_start}",
                    "object": "billing.meter_event_summary",
                    "aggregated_value": float(value),
                    "end_time": bucket_end,
                    "livemode": self.state.livemode,
                    "meter": meter["id"],
                    "start_time": bucket_start,
                }
            )
        return page(reversed(found), params, call.url, "billing.meter_event_summary")

    def _buckets(self, meter_id: str, customer: str, start: int, end: int, width: int | None) -> Iterator[tuple[int, int]]:
        if width is None:
            yield start, end
            return
        held = {reading.timestamp // width * width for reading in self.readings.get((meter_id, customer), [])}
        for bucket in sorted(held):
            if start <= bucket < end:
                yield bucket, bucket + width
