"""All sources together: none loses, spoils or delays another's observations."""

import asyncio
import time
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from rowhouse.spec.model import Counter
from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Observations, Part, Source, Told, VendorTime
from rowhouse.usage.observe import observe
from rowhouse.usage.previous import Previous
from rowhouse.usage.sources import sources_for, words_of
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store import open_store
from tests.usage.fly_world import MINUTE, START, FlyWorld, no_sleep, rfc
from tests.usage.test_observe_notes import Watched, host, put_activity

HOUR = 60 * MINUTE


class Voice:
    """A source that says what a test wants."""

    calls = 1

    def __init__(self, name: str, now: int | None = START, *, fault: Exception | None = None, ahead_s: float | None = 0.0) -> None:
        self.name, self.now, self.fault, self.ahead_s = name, now, fault, ahead_s
        self.tells_time = now is not None
        self.wait_s = 0.0
        self.heard: int | None = None

    async def observe(self, told: Told, _previous: Previous, clock: VendorTime) -> None:
        part = told.part("all")
        clock.heard(self.now)
        part.entries.append(Entry("machine", START, "acme", "main", self.name))
        await asyncio.sleep(self.wait_s)
        if self.fault:
            raise self.fault
        self.heard = await clock.now()
        part.is_done = True


def look(*sources: Source, patience_s: float = 5.0) -> Observations:
    return asyncio.run(observe(sources, Previous(), patience_s=patience_s))


def test_one_source_that_fails_keeps_what_it_said_and_the_others_are_complete() -> None:
    seen = look(Voice("fly", fault=RuntimeError("planted-secret")), Voice("cloudflare"))
    assert [name for name, source in seen.completeness.items() if not source.complete] == ["fly"]
    assert {name: len(entries) for name, entries in seen.entries.items()} == {"fly": 1, "cloudflare": 1}
    assert "RuntimeError" in seen.completeness["fly"].reason
    assert "planted-secret" not in str(seen)
    assert not seen.complete


def test_a_source_that_is_slow_is_not_waited_for_beyond_its_time() -> None:
    slow = Voice("fly")
    slow.wait_s = 60
    began = time.monotonic()
    seen = look(slow, Voice("cloudflare"), patience_s=0.2)
    assert time.monotonic() - began < 30
    assert seen.completeness["fly"].reason == "all: it was not heard out within 0.2 s"
    assert len(seen.entries["fly"]) == 1
    assert seen.completeness["cloudflare"].complete


def test_the_time_of_a_pass_is_the_latest_that_a_vendor_told() -> None:
    timeless = Voice("gateway", None, ahead_s=None)
    assert look(Voice("fly", START), Voice("cloudflare", START + 5_000), timeless).now == START + 5_000
    assert timeless.heard in {START, START + 5_000}


def test_without_any_vendor_a_pass_has_no_time_and_still_ends() -> None:
    timeless = Voice("gateway", None, ahead_s=None)
    seen = look(Voice("fly", None, fault=ValueError()), timeless)
    assert (seen.now, timeless.heard) == (None, None)


@pytest.mark.parametrize("hours", [-1, 1])
def test_this_machines_clock_being_wrong_by_an_hour_is_said_and_changes_no_fact(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Row 'wrong clock, integer division, month attribution'."""
    world = FlyWorld(now=int(time.time()) * 1000)
    world.machine("m1")
    world.event("m1", START)
    right = world.look()
    real = time.time
    monkeypatch.setattr("rowhouse.vendors.http.time.time", lambda: real() + hours * 3600)
    wrong = world.look()
    assert (wrong.now, wrong.entries) == (right.now, right.entries)
    assert wrong.machine_clock_off_s is not None
    assert abs(wrong.machine_clock_off_s - hours * 3600) < 60


def test_vendors_whose_clocks_are_far_apart_are_a_finding() -> None:
    assert look(Voice("fly", ahead_s=2.0), Voice("cloudflare", ahead_s=40.0)).findings == ()
    (finding,) = look(Voice("fly", ahead_s=2.0), Voice("cloudflare", ahead_s=-3600.0)).findings
    assert finding.rule == "vendors.clocks-apart"


@pytest.mark.parametrize("wrong", ["fly", "cloudflare"])
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_vendor_whose_clock_is_wrong_by_an_hour_does_not_move_the_pass(wrong: str, hours: int) -> None:
    """Else the windows of an hour would be taken before their time, and the passes of that hour be forgotten."""
    voices = [
        Voice(name, START + hours * HOUR, ahead_s=-3600.0 * hours) if name == wrong else Voice(name, START, ahead_s=2.0)
        for name in ("fly", "cloudflare")
    ]
    assert look(*voices).now == START
    both = [Voice(name, START, ahead_s=3600.0) for name in ("fly", "cloudflare")]  # it is this machine's that is wrong
    assert (look(*both).now, look(*both).findings) == (START, ())


def test_many_reasons_are_told_by_the_first_three_and_their_number() -> None:
    part = Part()
    part.is_done = True
    for number in range(9):
        part.fail(f"reason {number}")
    assert part.completeness(1.0).reason == "reason 0; reason 1; reason 2; and 6 more"


def test_a_source_that_names_no_part_was_not_heard() -> None:
    class Silent(Voice):
        async def observe(self, told: Told, _previous: Previous, clock: VendorTime) -> None:
            pass

    assert look(Silent("fly")).completeness["fly"].reason == "it was not asked"


def test_completeness_is_told_as_a_pass_entry_holds_it() -> None:
    world = FlyWorld()
    world.machine("m1")
    world.event("m1", START)
    document = world.look().completeness["fly"].document()
    assert document["complete"] is True
    assert document["parts"]["machines"] == {"complete": True, "asof": START - 10 * MINUTE - 1000, "reason": ""}


@pytest.mark.parametrize("down", ["fly", "cloudflare", "store"])
def test_one_vendor_down_never_loses_anothers_observations(tmp_path: Path, down: str) -> None:
    world = FlyWorld()
    world.machine("acme")
    world.event("acme", START)
    store = Watched(open_store(tmp_path.as_uri()))
    put_activity(store, {"acme.example": host({"05": 2})}, hour=START - START % HOUR)
    row = {"user_email": "a@b.example", "app_name": "shop:main:acme:main", "action": "login", "allowed": True, "created_at": rfc(START)}

    def cloudflare(request: httpx.Request) -> httpx.Response:
        if down == "cloudflare":
            raise httpx.ConnectError("down", request=request)
        return httpx.Response(200, json={"success": True, "result": [row | {"ray_id": "r1"}]})

    def fly(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if down == "fly" else world.answer(request)

    def dated(request: httpx.Request) -> httpx.Response:
        answer = cloudflare(request)
        answer.headers["date"] = formatdate(START / 1000, usegmt=True)
        return answer

    store.away = down == "store"

    async def body() -> Observations:
        sources = sources_for(
            fly=Fly("t", base_url="http://fly", transport=httpx.MockTransport(fly), sleep=no_sleep),
            cloudflare=Cloudflare("t", base_url="http://cf", transport=httpx.MockTransport(dated), sleep=no_sleep),
            store=store,
            org="acme",
            account="a",
            project="shop",
            stack="main",
            words={},
        )
        return await observe(sources, Previous(), patience_s=10)

    seen = asyncio.run(body())
    lost = {"fly": {"fly"}, "cloudflare": {"cloudflare"}, "store": {"gateway", "app"}}[down]
    assert {name for name, source in seen.completeness.items() if not source.complete} == lost
    assert {name for name, entries in seen.entries.items() if entries} == {"fly", "cloudflare", "gateway"} - lost
    assert seen.now == START


def test_words_are_the_counters_that_a_tenants_app_declares() -> None:
    class _App:
        counters = (Counter("drawings", "", "generations"),)

    class _Tenant:
        id, app = "acme", _App

    assert words_of([_Tenant]) == {"acme": {"drawings": "generations"}}  # type: ignore[list-item]
