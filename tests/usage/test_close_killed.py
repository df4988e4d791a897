"""Killed after any call and before any line of the ledger, and run again: what a close did is what one that lived through would have done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rowhouse.localcloud.kernel import Fault
from rowhouse.localcloud.stripe_faults import dropped_after_commit, error_after_commit, lock_timeout_once, rate_limited_once
from tests.usage.billing_support import DECEMBER, Business, Killed, at, run
from tests.usage.rating_support import HOUR, lot, plan_of, used

PRO, TEAM, FREE = plan_of("aether/pro"), plan_of("aether/team"), plan_of("llamasketch/free")
MIDDLE = at(2026, 11, 16)
CLOSING = DECEMBER.start + 20 * 60_000


async def build(shop: Business) -> None:
    """One who stays, one who changed plan, one who left, and one who only bought credits."""
    await shop.join("acme", PRO)
    await shop.join("brook", PRO)
    await shop.join("cedar", PRO)
    await shop.join("fern", FREE)
    await shop.to(MIDDLE)
    await shop.move("brook", TEAM)
    await shop.leave("cedar")
    shop.bill(used(PRO, running=212 * HOUR, storage=12))
    shop.bill(used(PRO, tenant="brook", end=MIDDLE, running=110 * HOUR), used(TEAM, tenant="brook", segment=1, start=MIDDLE))
    shop.bill(used(PRO, tenant="cedar", end=MIDDLE, running=101 * HOUR))
    shop.bill(used(FREE, tenant="fern"), lots=[lot()])
    await shop.to(at(2026, 11, 29, 12))
    sink = shop.sink()
    await sink.open()
    await sink.hold(shop.now())
    await shop.to(CLOSING)


async def outcome(shop: Business) -> dict[str, Any]:
    """What customers and the ledger see."""
    seen: dict[str, Any] = {}
    for tenant in shop.customers:
        invoices = await shop.invoices(tenant)
        lines = [sorted(await shop.lines(tenant, number)) for number in range(len(invoices))]
        seen[tenant] = [(one["status"], one["total"], found) for one, found in zip(invoices, lines, strict=True)]
    seen["ledger"] = sorted((entry.tenant, entry.value) for entry in shop.books.of_kind("invoice"))
    return seen


_KNOWN: dict[str, Any] = {}


async def expected() -> dict[str, Any]:
    """The outcome of a close that nothing disturbs."""
    if not _KNOWN:
        shop = Business()
        await build(shop)
        assert (await shop.close()).state == "done"
        _KNOWN.update(await outcome(shop))
    return dict(_KNOWN)


async def until_done(shop: Business, *, partial: bool = False) -> None:
    """Run it, and again while it died, or (with `partial`) left something undone."""
    for _ in range(3):
        try:
            done = await shop.close()
        except Killed:
            shop.die_at = shop.books.die_at = 0
            continue
        if partial and done.state == "partial":
            continue
        assert done.state == "done", [*done.blocked, *done.troubles]
        return
    raise AssertionError


def test_the_undisturbed_close_bills_all_of_it() -> None:
    seen = asyncio.run(expected())
    assert [total for _, total, _ in seen["acme"]] == [2000, 2220]
    assert seen["fern"][0][:2] == ("open", 500)
    assert seen["ledger"] == [("acme", "22.20"), ("brook", "36.00"), ("cedar", "10.10"), ("fern", "5.00")]


def test_killed_after_the_effect_of_any_call() -> None:
    async def body() -> None:
        wanted, call = await expected(), 0
        while True:
            call += 1
            shop = Business()
            await build(shop)
            shop.die_at = last = shop.calls + call
            await until_done(shop)
            assert await outcome(shop) == wanted, call
            if shop.calls < last:
                break
        assert call > 12

    asyncio.run(body())


def test_killed_before_any_line_of_the_ledger() -> None:
    async def body() -> None:
        wanted, write = await expected(), 0
        while True:
            write += 1
            shop = Business()
            await build(shop)
            shop.books.die_at = write
            await until_done(shop)
            assert await outcome(shop) == wanted, write
            if shop.books.writes < write:
                break
        assert write > 5

    asyncio.run(body())


FAULTS = [error_after_commit, dropped_after_commit, lock_timeout_once, rate_limited_once]
PATHS = ["/v1/billing/meter_events$", "/v1/invoiceitems$", "/v1/invoices$", "/v1/invoices/.*/finalize$", "/v1/subscriptions/"]


@pytest.mark.parametrize("fault", FAULTS)
def test_stripe_fails_once_after_or_before_the_effect_of_each_kind_of_call(fault: Callable[..., Fault]) -> None:
    async def body(shop: Business) -> None:
        await build(shop)
        rules = [shop.faults.add(fault(path)) for path in PATHS]
        await until_done(shop, partial=True)
        assert [rule.hits for rule in rules] == [1] * len(PATHS)
        assert await outcome(shop) == await expected()

    run(body)


def test_lago_api_1988_a_close_that_is_late_or_started_twice_gives_the_same_invoices() -> None:
    async def body(shop: Business) -> None:
        await build(shop)
        await shop.to(at(2026, 12, 9))
        await shop.close()
        await shop.close()
        assert await outcome(shop) == await expected()

    run(body)


def test_press_2407_two_closes_side_by_side_bill_once() -> None:
    async def body(shop: Business) -> None:
        await build(shop)
        both = await asyncio.gather(shop.close(), shop.close(), return_exceptions=True)
        if any(isinstance(one, BaseException) or one.state != "done" for one in both):
            await shop.close()
        seen, wanted = await outcome(shop), await expected()
        assert sorted(set(seen.pop("ledger"))) == wanted.pop("ledger")
        assert seen == wanted

    run(body)
