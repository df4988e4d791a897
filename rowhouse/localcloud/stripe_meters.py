"""Meters: what usage is counted by. One active meter an event name; a meter is deactivated, never deleted."""

from __future__ import annotations

from rowhouse.localcloud.stripe_errors import invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import page
from rowhouse.localcloud.stripe_params import METER_CREATE, METER_LIST, METER_UPDATE, NONE
from rowhouse.localcloud.stripe_state import Json, State, clone, new_id

__all__ = ["Meters"]


class Meters:
    """The meter endpoints."""

    def __init__(self, state: State) -> None:
        """Keep meters in `state`."""
        self.state = state

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/billing/meters", METER_CREATE, self.create),
            Endpoint("GET", "/v1/billing/meters", METER_LIST, self.list_all),
            Endpoint("GET", "/v1/billing/meters/{id}", NONE, lambda call: self.state.meters.get(call.id)),
            Endpoint("POST", "/v1/billing/meters/{id}", METER_UPDATE, self.update),
            Endpoint("POST", "/v1/billing/meters/{id}/deactivate", NONE, self.deactivate),
            Endpoint("POST", "/v1/billing/meters/{id}/reactivate", NONE, self.reactivate),
        ]

    def create(self, call: Call) -> Json:
        """POST /v1/billing/meters."""
        params, now = call.params, self.state.virtual.now()
        self._claim(params["event_name"])
        meter: Json = {
            "id": new_id("mtr"),
            "object": "billing.meter",
            "created": now,
            "customer_mapping": params.get("customer_mapping", {"event_payload_key": "stripe_customer_id", "type": "by_id"}),
            "default_aggregation": params["default_aggregation"],
            "display_name": params["display_name"],
            "event_name": params["event_name"],
            "event_time_window": params.get("event_time_window"),
            "livemode": self.state.livemode,
            "status": "active",
            "status_transitions": {"deactivated_at": None},
            "updated": now,
            "value_settings": params.get("value_settings", {"event_payload_key": "value"}),
        }
        return self.state.put(self.state.meters, meter, "billing.meter.created")

    def update(self, call: Call) -> Json:
        """POST /v1/billing/meters/{id}: the display name only."""
        return self._change(call.id, "billing.meter.updated", **call.params)

    def deactivate(self, call: Call) -> Json:
        """POST .../deactivate; one that is inactive already is refused (inferred: clients must read first)."""
        if self.state.meters.get(call.id)["status"] != "active":
            raise invalid("This meter is already inactive.")
        moment = self.state.virtual.now()
        return self._change(call.id, "billing.meter.deactivated", status="inactive", status_transitions={"deactivated_at": moment})

    def reactivate(self, call: Call) -> Json:
        """POST .../reactivate; refused while another active meter has the event name."""
        meter = self.state.meters.get(call.id)
        if meter["status"] == "active":
            raise invalid("This meter is already active.")
        self._claim(meter["event_name"])
        return self._change(call.id, "billing.meter.reactivated", status="active", status_transitions={"deactivated_at": None})

    def list_all(self, call: Call) -> Json:
        """GET /v1/billing/meters."""
        wanted = call.params.get("status")
        found = [meter for meter in self.state.meters.newest_first() if wanted in {None, meter["status"]}]
        return page(found, call.params, call.url, "billing.meter")

    def _claim(self, event_name: str) -> None:
        for meter in self.state.meters.objects.values():
            if meter["event_name"] == event_name and meter["status"] == "active":
                raise invalid(f"An active meter with the event name `{event_name}` already exists: {meter['id']}.", "event_name")

    def _change(self, meter_id: str, event: str, **changes: object) -> Json:
        before = self.state.meters.get(meter_id)
        after = {**clone(before), **changes, "updated": self.state.virtual.now()}
        return self.state.put(self.state.meters, after, event, before)
