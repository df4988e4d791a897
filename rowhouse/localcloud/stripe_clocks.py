"""Test clocks: time that stands still for the customers attached to it, and is advanced in steps."""

from __future__ import annotations

from rowhouse.localcloud.stripe_errors import invalid
from rowhouse.localcloud.stripe_http import Call, Endpoint
from rowhouse.localcloud.stripe_lists import page
from rowhouse.localcloud.stripe_params import CLOCK_ADVANCE, CLOCK_CREATE, NONE, PAGE
from rowhouse.localcloud.stripe_state import Json, State, new_id
from rowhouse.localcloud.stripe_time import TestTimeline, step

__all__ = ["TestClocks"]

_KEPT_S = 30 * 86400


class TestClocks:
    """The test clock endpoints."""

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, state: State, *, advance_lag_s: float) -> None:
        """An advance takes `advance_lag_s` (virtual) before it is done."""
        self.state, self.advance_lag_s = state, advance_lag_s
        self._advancing: dict[str, tuple[float, int]] = {}  # clock -> (done at, frozen time then)

    def endpoints(self) -> list[Endpoint]:
        """The rows of the API."""
        return [
            Endpoint("POST", "/v1/test_helpers/test_clocks", CLOCK_CREATE, self.create),
            Endpoint("GET", "/v1/test_helpers/test_clocks", PAGE, self.list_all),
            Endpoint("GET", "/v1/test_helpers/test_clocks/{id}", NONE, self.retrieve),
            Endpoint("POST", "/v1/test_helpers/test_clocks/{id}/advance", CLOCK_ADVANCE, self.advance),
            Endpoint("DELETE", "/v1/test_helpers/test_clocks/{id}", NONE, self.delete),
        ]

    def create(self, call: Call) -> Json:
        """POST /v1/test_helpers/test_clocks."""
        now = self.state.virtual.now()
        frozen = call.params["frozen_time"]
        clock: Json = {
            "id": new_id("clock"),
            "object": "test_helpers.test_clock",
            "created": now,
            "deletes_after": now + _KEPT_S,
            "frozen_time": frozen,
            "livemode": self.state.livemode,
            "name": call.params.get("name"),
            "status": "ready",
            "status_details": {},
        }
        self.state.timelines[clock["id"]] = TestTimeline(frozen)
        return self.state.put(self.state.test_clocks, clock, "test_helpers.test_clock.created")

    def advance(self, call: Call) -> Json:
        """POST .../advance: answers `advancing`; the work is done afterwards.

        Raises: StripeError for a time that does not lie ahead, a clock that is busy, or more than two intervals of the
            shortest subscription.
        """
        self.settle()
        clock, target = self.state.test_clocks.get(call.id), call.params["frozen_time"]
        if clock["status"] != "ready":
            raise invalid("This test clock is already advancing; wait until its status is `ready`.")
        if target <= clock["frozen_time"]:
            raise invalid("The frozen time must be after the test clock's current frozen time.", "frozen_time")
        furthest = self._furthest(clock)
        if target > furthest:
            raise invalid(
                "A test clock cannot be advanced by more than two intervals of its shortest subscription at a time: "
                f"at most to {furthest}.",
                "frozen_time",
            )
        due = self.state.clock.timestamp() + self.advance_lag_s
        self._advancing[call.id] = (due, target)
        details = {"advancing": {"target_frozen_time": target}}
        answer = self.state.put(
            self.state.test_clocks, {**clock, "status": "advancing", "status_details": details}, "test_helpers.test_clock.advancing", clock
        )
        self.state.clock.call_at(due, self.settle)
        return answer

    def settle(self) -> None:
        """Finish every advance that is due."""
        for clock_id, (due, target) in list(self._advancing.items()):
            if due > self.state.clock.timestamp() or clock_id not in self.state.test_clocks.objects:
                continue
            del self._advancing[clock_id]
            self.state.timelines[clock_id].advance_to(target)
            before = self.state.test_clocks.objects[clock_id]
            after = {**before, "frozen_time": target, "status": "ready", "status_details": {}}
            self.state.put(self.state.test_clocks, after, "test_helpers.test_clock.ready", before)

    def _furthest(self, clock: Json) -> int:
        frozen: int = clock["frozen_time"]
        reach = [
            step(frozen, item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"], 2)
            for subscription in self.state.subscriptions.objects.values()
            if subscription["test_clock"] == clock["id"] and subscription["status"] != "canceled"
            for item in subscription["items"]["data"]
        ]
        return min(reach, default=step(frozen, "year", 1, 2))

    def retrieve(self, call: Call) -> Json:
        """GET /v1/test_helpers/test_clocks/{id}."""
        self.settle()
        return self.state.test_clocks.get(call.id)

    def list_all(self, call: Call) -> Json:
        """GET /v1/test_helpers/test_clocks."""
        self.settle()
        return page(self.state.test_clocks.newest_first(), call.params, call.url, "test_helpers.test_clock")

    def delete(self, call: Call) -> Json:
        """DELETE: its customers and all that is theirs go with it."""
        self.state.test_clocks.get(call.id)
        customers = [customer["id"] for customer in self.state.customers.objects.values() if customer["test_clock"] == call.id]
        for shelf in (self.state.subscriptions, self.state.invoices):
            for thing in [thing for thing in shelf.objects.values() if thing["test_clock"] == call.id]:
                del shelf.objects[thing["id"]]
        for customer_id in customers:
            self.state.remove(self.state.customers, customer_id, "customer.deleted")
        return self.state.remove(self.state.test_clocks, call.id, "test_helpers.test_clock.deleted")
