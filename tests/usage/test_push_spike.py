"""What Stripe does with absolute totals of plan segments, tried on the stand-in before anything was built on it.

Where Stripe's behaviour is documented the stand-in has it; where it is not, both ways are tried (`last_arrived`, `live_drafts`), and
what Rowhouse does must be right under both. docs/decisions/billing.md draws the conclusions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.localcloud.stripe_support import Bench, customer, licensed_price, metered_price, run

ANCHOR = {
    f"billing_cycle_anchor_config[{name}]": value
    for name, value in (("day_of_month", "1"), ("hour", "0"), ("minute", "0"), ("second", "0"))
}
SENT = {"collection_method": "send_invoice", "days_until_due": "14"}


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())


NOVEMBER, DECEMBER = at(2026, 11, 1), at(2026, 12, 1)


class World:
    """A customer on a test clock with a base price and a metered one, from the first second of November on."""

    def __init__(self, held: Bench) -> None:
        self.held = held

    async def begin(self, **more: str) -> World:
        held = self.held
        self.clock = (await held.make("/v1/test_helpers/test_clocks", {"frozen_time": str(NOVEMBER)}))["id"]
        self.buyer = (await customer(held, test_clock=self.clock))["id"]
        self.base = await licensed_price(held, 2000)
        self.use = await metered_price(held, unit_amount_decimal="10")
        items = {"items[0][price]": self.base["id"], "items[1][price]": self.use["id"]}
        self.subscription = await held.make("/v1/subscriptions", {"customer": self.buyer, **items, **SENT, **ANCHOR, **more})
        return self

    async def to(self, moment: int) -> None:
        await self.held.make(f"/v1/test_helpers/test_clocks/{self.clock}/advance", {"frozen_time": str(moment)})
        await self.held.clock.advance(5)

    async def total(self, value: int, moment: int) -> None:
        data = {"event_name": "hours", "payload[stripe_customer_id]": self.buyer, "payload[value]": str(value), "timestamp": str(moment)}
        await self.held.make("/v1/billing/meter_events", data)

    async def change_plan(self, dear: dict[str, Any], proration: str) -> None:
        """The metered item of the old plan out, that of the new one in: both stand on the catalog's one meter."""
        old = next(item for item in self.subscription["items"]["data"] if item["price"]["id"] == self.use["id"])
        data = {"items[0][id]": old["id"], "items[0][deleted]": "true", "items[1][price]": dear["id"], "proration_behavior": proration}
        self.subscription = await self.held.make(f"/v1/subscriptions/{self.subscription['id']}", data)

    async def update(self, **params: str) -> None:
        await self.held.make(f"/v1/subscriptions/{self.subscription['id']}", params)

    async def last_invoice(self) -> dict[str, Any]:
        found = (await self.held.get("/v1/invoices", subscription=self.subscription["id"])).json()["data"][0]
        assert isinstance(found, dict)
        return found

    async def metered(self) -> list[tuple[str, int]]:
        """(price, cents) of the newest invoice's metered lines."""
        lines = (await self.last_invoice())["lines"]["data"]
        prices = [(line["pricing"]["price_details"]["price"], line["amount"]) for line in lines if line["pricing"]]
        return [(price, cents) for price, cents in prices if price != self.base["id"]]


def test_totals_are_absolute_so_that_sending_one_again_changes_nothing() -> None:
    async def body(held: Bench) -> None:
        world = await World(held).begin()
        await world.to(at(2026, 11, 3))
        for moment, value in ((at(2026, 11, 1, 5), 4), (at(2026, 11, 2, 5), 9), (at(2026, 11, 2, 6), 9)):
            await world.total(value, moment)
        await world.to(at(2026, 12, 1, 0, 10))
        assert await world.metered() == [(world.use["id"], 90)]

    run(body)


@pytest.mark.parametrize(("arrived", "billed"), [(False, 90), (True, 40)])
def test_a_stale_late_pass_does_not_lower_a_total_unless_last_means_the_last_to_arrive(arrived: bool, billed: int) -> None:
    """Undocumented: hence a pass reads what was pushed before it pushes, and Stripe's own sum is compared afterwards."""

    async def body(held: Bench) -> None:
        world = await World(held).begin()
        await world.to(at(2026, 11, 3))
        await world.total(9, at(2026, 11, 2, 5))
        await world.total(4, at(2026, 11, 2, 4))  # a pass that began before the other, and ended after it
        await world.to(at(2026, 12, 1, 0, 10))
        assert await world.metered() == [(world.use["id"], billed)]

    run(body, last_arrived=arrived)


@pytest.mark.parametrize("arrived", [False, True])
def test_a_revision_one_second_later_corrects_a_total_downwards(arrived: bool) -> None:
    async def body(held: Bench) -> None:
        world = await World(held).begin()
        await world.to(at(2026, 11, 3))
        await world.total(9, at(2026, 11, 2, 5))
        await world.total(8, at(2026, 11, 2, 5) + 1)
        await world.to(at(2026, 12, 1, 0, 10))
        assert await world.metered() == [(world.use["id"], 80)]

    run(body, last_arrived=arrived)


@pytest.mark.parametrize(
    ("mode", "proration", "old"),
    [("flexible", "create_prorations", 90), ("flexible", "none", None), ("classic", "create_prorations", None), ("classic", "none", None)],
)
def test_a_plan_change_bills_the_old_item_as_of_that_moment_or_not_at_all(mode: str, proration: str, old: int | None) -> None:
    """The pass that sees the old plan's last minutes runs after the change, and Stripe no longer takes its total for the old plan."""

    async def body(held: Bench) -> None:
        world = await World(held).begin(**{"billing_mode[type]": mode})
        dear = await metered_price(held, unit_amount_decimal="7")
        await world.to(at(2026, 11, 16))
        await world.total(9, at(2026, 11, 15, 23, 10))
        await world.change_plan(dear, proration)
        await world.total(11, at(2026, 11, 15, 23, 59))  # what the old plan came to in the end
        await world.to(at(2026, 11, 20))
        await world.total(5, at(2026, 11, 20))  # the new plan's own total: it starts again
        await world.to(at(2026, 12, 1, 0, 10))
        expected = ([(world.use["id"], old)] if old is not None else []) + [(dear["id"], 35)]
        assert await world.metered() == expected  # 110 cents of the old plan are on no invoice

    run(body)


@pytest.mark.parametrize("mode", ["flexible", "classic"])
@pytest.mark.parametrize("arrived", [False, True])
def test_without_prorations_an_invoice_item_bills_the_ended_segment_whole_and_once(mode: str, arrived: bool) -> None:
    """The conclusion: Stripe prorates nothing, the meter bills the plan in force last, and what ended is an item on the held draft."""

    async def body(held: Bench) -> None:
        world = await World(held).begin(**{"billing_mode[type]": mode})
        dear = await metered_price(held, unit_amount_decimal="7")
        await world.to(at(2026, 11, 16))
        await world.total(9, at(2026, 11, 15, 23, 10))
        await world.change_plan(dear, "none")
        await world.total(0, at(2026, 11, 16) + 1)  # the new segment has spoken: under any window its total is the last
        await world.to(at(2026, 11, 20))
        await world.total(5, at(2026, 11, 20))
        await world.to(at(2026, 12, 1, 0, 10))
        draft = await world.last_invoice()
        period = {"period[start]": str(NOVEMBER), "period[end]": str(at(2026, 11, 16))}
        item = {"customer": world.buyer, "invoice": draft["id"], "amount": "110", "currency": "usd", "description": "Use until 16 November"}
        await held.make("/v1/invoiceitems", {**item, **period})
        await held.make(f"/v1/invoices/{draft['id']}/finalize", {"auto_advance": "true"})
        assert await world.metered() == [(dear["id"], 35)]
        final = await world.last_invoice()
        assert (final["status"], final["total"]) == ("open", 2000 + 35 + 110)

    run(body, last_arrived=arrived)


@pytest.mark.parametrize("held_by", ["pause", "draft", "nothing"])
def test_a_held_draft_waits_for_days_and_counts_what_arrives(held_by: str) -> None:
    async def body(held: Bench) -> None:
        world = await World(held).begin()
        if held_by == "pause":
            await world.update(**{"pause_collection[behavior]": "keep_as_draft"})
        await world.to(at(2026, 12, 1, 0, 10))
        draft = await world.last_invoice()
        assert (draft["status"], draft["auto_advance"]) == ("draft", held_by != "pause")
        if held_by == "draft":
            draft = await held.make(f"/v1/invoices/{draft['id']}", {"auto_advance": "false"})
            assert draft["automatically_finalizes_at"] is None
        await world.to(at(2026, 12, 4))
        await world.total(9, at(2026, 11, 30, 23, 59, 1))  # the job was three days late
        late = await world.last_invoice()
        assert (late["status"], late["total"]) == (("open", 2000) if held_by == "nothing" else ("draft", 2090))
        if held_by == "pause":
            await world.update(pause_collection="")
        if held_by != "nothing":
            final = await held.make(f"/v1/invoices/{draft['id']}/finalize", {"auto_advance": "true"})
            assert (final["status"], final["total"], final["auto_advance"]) == ("open", 2090, True)

    run(body)


def test_what_arrives_after_finalization_is_on_no_invoice_ever() -> None:
    async def body(held: Bench) -> None:
        world = await World(held).begin()
        await world.to(at(2026, 12, 1, 2))
        await world.total(9, at(2026, 11, 30, 23, 59, 1))
        await world.to(at(2027, 1, 1, 2))
        found = (await held.get("/v1/invoices", subscription=world.subscription["id"])).json()["data"]
        assert [invoice["total"] for invoice in found] == [2000, 2000, 2000]

    run(body)


def test_a_draft_may_show_old_quantities_until_it_is_finalized() -> None:
    """Documented is only that finalization takes the latest quantity; hence Stripe's sums are asked where a draft differs."""

    async def body(held: Bench) -> None:
        world = await World(held).begin()
        await world.to(at(2026, 12, 1, 0, 10))
        await world.total(9, at(2026, 11, 30, 23, 59, 1))
        draft = await world.last_invoice()
        assert draft["total"] == 2000
        final = await held.make(f"/v1/invoices/{draft['id']}/finalize", {})
        assert final["total"] == 2090

    run(body, live_drafts=False)
