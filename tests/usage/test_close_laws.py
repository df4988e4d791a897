"""Law 7 against Stripe's own arithmetic: whatever a tenant did in a month, the invoices' lines of that month are its bill, to the cent.

The stand-in rates, prorates and rounds with its own code (halves away from zero), counts by time or by arrival, and shows its drafts as
they come or not before they are final.
"""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rowhouse.spec.model import Tier
from rowhouse.usage import close_check, matching
from rowhouse.usage.push import push
from rowhouse.usage.sent import sent_from_entries
from tests.support import meter, plan
from tests.usage.billing_support import DECEMBER, NOVEMBER, Business, at
from tests.usage.rating_support import plan_of, used

TIERS = (Tier(Decimal(40), Decimal("0.10")), Tier(None, Decimal("0.033")))
GRADUATED = plan(name="graduated", meters=(meter(price=None, tiers=TIERS, included=Decimal(20)),), minimum=Decimal("31.00"))
MINUTES = plan(name="minutes", meters=(meter(rounding="minute", price=Decimal("6.00"), included=Decimal(30)),))
AETHER = [plan_of("aether/pro"), plan_of("aether/team"), GRADUATED, MINUTES]
LAST = NOVEMBER.end // 1000 - 1
SECONDS = st.integers(NOVEMBER.start // 1000 + 1, LAST)


@st.composite
def months(draw: st.DrawFn) -> dict[str, Any]:
    """When a tenant came, to which plans it went when, whether it left, and when passes ran."""
    moments = sorted(draw(st.lists(SECONDS, min_size=1, max_size=4, unique=True)))
    stays = draw(st.booleans()) or len(moments) == 1
    return {
        "moments": moments,
        "plans": draw(st.lists(st.sampled_from(AETHER), min_size=len(moments), max_size=len(moments))),
        "stays": stays,
        "use": draw(st.lists(st.floats(0, 1), min_size=len(moments), max_size=len(moments))),
        "passes": sorted(draw(st.lists(SECONDS, max_size=4))),
        "mode": draw(st.sampled_from(["flexible", "classic"])),
        "vendor": {"last_arrived": draw(st.booleans()), "live_drafts": draw(st.booleans())},
    }


def segments_at(month: dict[str, Any], until: int) -> list[Any]:
    """The tenant's segments with what it used until a moment, as a pass of that moment knows them."""
    found: list[Any] = []
    edges = [*(moment * 1000 for moment in month["moments"]), NOVEMBER.end]
    spans = list(itertools.pairwise(edges))
    if not month["stays"]:
        spans = spans[:-1]
    for number, (start, end) in enumerate(spans):
        if start >= until:
            break
        running = int((min(until, end) - start) * month["use"][number]) // 1000 * 1000
        closes = end if end <= until else NOVEMBER.end
        found.append(used(month["plans"][number], segment=number, start=start, end=closes, running=running, storage=12))
    return found


async def live_through(month: dict[str, Any]) -> tuple[Business, Any]:
    shop = Business(**month["vendor"])
    happenings = [(moment, "change", number) for number, moment in enumerate(month["moments"])]
    happenings += [(moment, "pass", 0) for moment in month["passes"]]
    for moment, what, number in sorted(happenings):
        await shop.to(moment * 1000)
        if what == "pass":
            segments = segments_at(month, moment * 1000)
            if segments:
                bill = shop.bill(*segments)
                sink = shop.sink()
                await sink.open()
                sent = sent_from_entries(shop.books.entries)
                await push(sink, [bill], moment * 1000, sent, now=shop.now(), record=shop.books.record)
        elif number == 0:
            await shop.join("acme", month["plans"][0], billing_mode={"type": month["mode"]})
        elif number == len(month["moments"]) - 1 and not month["stays"]:
            await shop.leave("acme")
        elif month["plans"][number] is not month["plans"][number - 1]:
            await shop.move("acme", month["plans"][number])
    bill = shop.bill(*segments_at(month, NOVEMBER.end))
    await shop.to(DECEMBER.start + 20 * 60_000)
    return shop, bill


async def billed_for_november(shop: Business) -> int:
    """Cents of all final invoices' lines whose service period began in November."""
    cents = 0
    for invoice in await shop.invoices("acme"):
        assert invoice["status"] in {"open", "paid"}
        lines = [line async for line in shop.stripe.pages(f"/v1/invoices/{invoice['id']}/lines")]
        cents += sum(line["amount"] for line in lines if line["period"]["start"] < DECEMBER.start // 1000)
    return cents


def law_7(month: dict[str, Any]) -> None:
    """The invoices of a month, of whatever happened in it, are the bill to the cent."""

    async def body() -> None:
        shop, bill = await live_through(month)
        done = await shop.close()
        assert (done.state, done.blocked) == ("done", [])
        if done.later:  # its invoice went out by itself when the tenant left: the rest is on the next close's, and named until then
            assert not month["stays"]
            await shop.to(at(2027, 1, 1) + 20 * 60_000)
            assert (await shop.close("2026-12")).state == "done"
        assert await billed_for_november(shop) == bill.total * 100
        assert (await shop.close()).finalized == 0

    asyncio.run(body())


SLOW: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=25, **SLOW)
@given(months())
@example(
    {
        "moments": [1_793_491_201, 1_793_512_586, 1_796_083_140],
        "plans": [AETHER[0]] * 3,
        "stays": False,
        "use": [0.0, 0.0, 0.0],
        "passes": [1_793_512_587],
        "mode": "flexible",
        "vendor": {"last_arrived": False, "live_drafts": False},
    }
)
def test_law_7_invoices_are_the_bill_to_the_cent_whatever_happened_in_the_month(month: dict[str, Any]) -> None:
    law_7(month)


@pytest.mark.long
@settings(max_examples=2_000, **SLOW)
@given(months())
def test_law_7_holds_for_long(month: dict[str, Any]) -> None:
    law_7(month)


# --- the mutants: one thing done as somebody might do it

true_compare, true_judge = close_check.compare, matching._judge


def what_the_sink_counted_is_believed(*arguments: Any, **named: Any) -> matching.Match:
    return matching.Match(strange=true_compare(*arguments, **named).strange)


def bases_are_left_to_the_sink(side: Any, *rest: Any, **named: Any) -> None:
    if not side.key.startswith("base"):
        true_judge(side, *rest, **named)


def ended_segments_are_left_to_the_sink(side: Any, match: Any, month: str, bill: Any, *rest: Any, **named: Any) -> None:
    if side.end == bill.period.end:
        true_judge(side, match, month, bill, *rest, **named)


@pytest.mark.parametrize(
    ("module", "name", "mutant"),
    [
        (close_check, "compare", what_the_sink_counted_is_believed),
        (matching, "_judge", bases_are_left_to_the_sink),
        (matching, "_judge", ended_segments_are_left_to_the_sink),
    ],
)
def test_law_7_catches_a_mutant(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, mutant: Any) -> None:
    monkeypatch.setattr(module, name, mutant)

    @settings(max_examples=200, phases=[Phase.generate], report_multiple_bugs=False, derandomize=True, database=None, **SLOW)
    @given(months())
    def holds(month: dict[str, Any]) -> None:
        law_7(month)

    with pytest.raises(AssertionError):
        holds()
