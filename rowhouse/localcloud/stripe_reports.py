"""Thin events that tell which meter events did not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from rowhouse.localcloud.stripe_errors import invalid
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


def _within(moment: str, bounds: Mapping[str, str]) -> bool:
    """Whether a time as `_iso` writes it lies within gt, gte, lt and lte."""
    at = datetime.fromisoformat(moment)
    limits = {name: datetime.fromisoformat(text) for name, text in bounds.items()}
    compare = {"gt": at.__gt__, "gte": at.__ge__, "lt": at.__lt__, "lte": at.__le__}
    return all(compare[name](limit) for name, limit in limits.items())


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
        """GET /v2/core/events: newest first; `next_page_url` leads on."""
        self.flush()
        params = call.params
        wanted, types, bounds = params.get("object_id"), params.get("types"), params.get("created", {})
        token = params.get("page", "0")
        if not token.isdecimal():
            raise invalid(f"Invalid page: {token}", "page")
        found = [
            event
            for event in self.state.thin_events.newest_first()
            if (wanted is None or (event.get("related_object") or {}).get("id") == wanted)
            and (types is None or event["type"] in types)
            and _within(event["created"], bounds)
        ]
        start, limit = int(token), params.get("limit", 20)
        more = start + limit < len(found)
        query = {"limit": limit, "page": start + limit}
        query |= {name: params[name] for name in ("object_id",) if name in params}
        query |= {f"types[{index}]": name for index, name in enumerate(types or [])}
        query |= {f"created[{name}]": moment for name, moment in bounds.items()}
        following = f"{call.url}?{urlencode(query)}" if more else None
        return {"data": found[start : start + limit], "next_page_url": following, "previous_page_url": None}

    def retrieve(self, call: Call) -> Json:
        """GET /v2/core/events/{id}."""
        self.flush()
        return self.state.thin_events.get(call.id)
