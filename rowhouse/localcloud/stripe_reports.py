"""Thin events that tell which meter events did not count."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_params import NONE, THIN_EVENT_LIST
from rowhouse.localcloud.stripe_state import Json, State, new_id

__all__ = ["ErrorReports"]

_WORDS = {
    "archived_meter": "The meter for event_name {name} is inactive.",
    "meter_event_customer_not_found": "The customer of an event for {name} does not exist.",
    "meter_event_invalid_value": "The value of an event for {name} is not a number.",
    "meter_event_no_customer_defined": "An event for {name} names no customer.",
    "meter_event_value_too_many_digits": "The value of an event for {name} has more than 15 digits.",
    "no_meter": "No meter exists for event_name {name}.",
    "timestamp_in_future": "The timestamp of an event for {name} is more than 5 minutes in the future.",
    "timestamp_too_far_in_past": "The timestamp of an event for {name} is more than 35 days in the past.",
}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass
class _Pending:
    meter: Json | None
    due: float
    began: float
    errors: list[tuple[str, str, str]] = field(default_factory=list)  # code, words, request identifier


class ErrorReports:
    """Collects refused meter events and reports them once a while, as `GET /v2/core/events` shows."""

    def __init__(self, state: State, lag_s: float) -> None:
        """Report each meter's errors `lag_s` (virtual) after the first of them."""
        self.state, self.lag_s = state, lag_s
        self._pending: dict[str, _Pending] = {}

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("GET", "/v2/core/events", THIN_EVENT_LIST, self.list_all),
            Endpoint("GET", "/v2/core/events/{id}", NONE, self.retrieve),
        ]

    @staticmethod
    def words(code: str, event_name: str) -> str:
        """What Stripe says of an error (inferred; only the codes are given)."""
        return _WORDS[code].format(name=event_name)

    def add(self, meter: Json | None, event_name: str, code: str, identifier: str) -> None:
        """Note one event that did not count."""
        now = self.state.clock.timestamp()
        key = meter["id"] if meter else ""
        if key not in self._pending:
            self._pending[key] = _Pending(meter, now + self.lag_s, now)
            self.state.clock.call_at(now + self.lag_s, self.flush)
        self._pending[key].errors.append((code, self.words(code, event_name), identifier))

    def flush(self) -> None:
        """Publish the reports that are due."""
        now = self.state.clock.timestamp()
        for key, pending in list(self._pending.items()):
            if pending.due > now:
                continue
            del self._pending[key]
            types = []
            for code in sorted({code for code, _, _ in pending.errors}):
                same = [(words, identifier) for found, words, identifier in pending.errors if found == code]
                samples = [{"error_message": words, "request": {"identifier": identifier}} for words, identifier in same[:10]]
                types.append({"code": code, "error_count": len(same), "sample_errors": samples})
            event: Json = {
                "id": new_id("evt"),
                "object": "v2.core.event",
                "created": _iso(now),
                "data": {
                    "developer_message_summary": f"Errors among the meter events: {len(pending.errors)}",
                    "reason": {"error_count": len(pending.errors), "error_types": types},
                    "validation_start": _iso(pending.began),
                    "validation_end": _iso(now),
                },
                "livemode": self.state.livemode,
                "type": "v1.billing.meter.error_report_triggered" if pending.meter else "v1.billing.meter.no_meter_found",
            }
            if pending.meter:
                meter_id = pending.meter["id"]
                event["related_object"] = {"id": meter_id, "type": "billing.meter", "url": f"/v1/billing/meters/{meter_id}"}
            self.state.thin_events.objects[event["id"]] = event

    def list_all(self, call: Call) -> Json:
        """GET /v2/core/events: newest first, without pages."""
        self.flush()
        wanted = call.params.get("object_id")
        found = [
            event
            for event in self.state.thin_events.newest_first()
            if wanted is None or (event.get("related_object") or {}).get("id") == wanted
        ]
        return {"data": found[: call.params.get("limit", 20)], "next_page_url": None, "previous_page_url": None}

    def retrieve(self, call: Call) -> Json:
        """GET /v2/core/events/{id}."""
        self.flush()
        return self.state.thin_events.get(call.id)
