import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rowhouse.edge.activity import Activity
from rowhouse.edge.model import parse_route
from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Observations, Source, Told, VendorTime
from rowhouse.usage.observe import observe
from rowhouse.usage.observe_app import AppSource
from rowhouse.usage.observe_gateway import GatewaySource
from rowhouse.usage.previous import Previous
from rowhouse.vendors.store import Store, StoreError, open_store
from tests.edge.support import route

HOUR = 3_600_000
TEN = int(datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()) * 1000
NOW = TEN + HOUR + 5 * 60_000


class Teller:
    """A source that tells the time and nothing else."""

    name, tells_time, calls, ahead_s = "fly", True, 0, None

    def __init__(self, now: int | None = NOW) -> None:
        self.now = now

    async def observe(self, told: Told, _previous: Previous, time: VendorTime) -> None:
        await asyncio.sleep(0.01)
        time.heard(self.now)
        told.part("all").is_done = True


def look(source: Source, previous: Previous | None = None, now: int | None = NOW) -> Observations:
    return asyncio.run(observe([source, Teller(now)], previous or Previous(), patience_s=10))


def stamp(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour / 1000, UTC):%Y-%m-%dT%H}"


def host(minutes: Mapping[str, int], tenant: str = "acme", instance: str = "main", **more: Any) -> dict[str, Any]:
    return {"tenant": tenant, "instance": instance, "minutes": dict(minutes), "service_requests": 0} | more


def put_activity(store: Store, hosts: Mapping[str, Any], gateway: str = "gw-1", hour: int = TEN) -> None:
    store.put(f"activity/{stamp(hour)}/{gateway}.json", json.dumps({"v": 1, "gateway": gateway, "hosts": dict(hosts)}).encode())


def put_counters(store: Store, readings: list[Any], gateway: str = "gw-1", hour: int = TEN, tenant: str = "acme") -> None:
    instance = {"tenant": tenant, "instance": "main", "readings": readings}
    store.put(f"counters/{stamp(hour)}/{gateway}.json", json.dumps({"v": 1, "instances": [instance]}).encode())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path.as_uri())


class Watched:
    """A store that counts what is read and may be away."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.read, self.asked, self.away = inner, [], [], False

    def get(self, key: str) -> Any:
        self.read.append(key)
        return self.inner.get(key)

    def put(self, key: str, data: bytes, **options: Any) -> str:
        return self.inner.put(key, data, **options)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def list(self, prefix: str) -> list[tuple[str, str]]:
        self.asked.append(prefix)
        if self.away:
            raise StoreError("the store is away. Look at its status.")
        return self.inner.list(prefix)


def after(seen: Observations, at: int = NOW) -> Previous:
    previous = Previous.of(entry for entries in seen.entries.values() for entry in entries)
    previous.add(Entry("pass", at, data={"sources": {}}))
    return previous


def test_requests_of_people_are_told_by_hour_and_minute(store: Store) -> None:
    put_activity(store, {"acme.example": host({"05": 2, "59": 1}, service_requests=9), "quiet.example": host({}, tenant="quiet")})
    seen = look(GatewaySource(store))
    (entry,) = seen.entries["gateway"]
    assert (entry.tenant, entry.instance, entry.subject, entry.at, entry.value) == ("acme", "main", "gw-1", TEN, "3")
    assert entry.id == "gw-1/2026-11-20T10/main"
    assert entry.data is not None
    assert entry.data["minutes"] == {"05": 2, "59": 1}
    assert seen.complete
    assert seen.completeness["gateway"].asof == NOW - 60_000


def test_what_the_gateway_writes_is_what_is_read(store: Store) -> None:
    activity = Activity(store, "gw-1", clock=lambda: TEN / 1000 + 61)
    for _ in range(3):
        activity.note(parse_route("routes/acme.example.json", route("acme.example", 1)))
    asyncio.run(activity.flush())
    (entry,) = look(GatewaySource(store)).entries["gateway"]
    assert (entry.tenant, entry.value) == ("acme", "3")


def test_only_notes_that_changed_are_read_again(store: Store) -> None:
    put_activity(store, {"acme.example": host({"05": 2})})
    put_activity(store, {"acme.example": host({"06": 2})}, gateway="gw-2")
    watched = Watched(store)
    previous = after(look(GatewaySource(watched)))
    watched.read.clear()
    put_activity(store, {"acme.example": host({"05": 2, "30": 4})})
    seen = look(GatewaySource(watched), previous)
    assert watched.read == ["activity/2026-11-20T10/gw-1.json"]
    assert [entry.value for entry in seen.entries["gateway"]] == ["6"]


def test_a_pass_asks_for_the_days_that_can_have_news_however_old_the_store_is(store: Store) -> None:
    watched = Watched(store)
    look(GatewaySource(watched), Previous(at=NOW - HOUR))
    assert watched.asked == ["activity/2026-11-18", "activity/2026-11-19", "activity/2026-11-20"]


def test_a_pass_after_three_days_of_silence_reads_all_that_was_noted_meanwhile(store: Store) -> None:
    for day in range(4):
        put_activity(store, {"acme.example": host({"05": 1})}, hour=TEN - day * 24 * HOUR)
    put_activity(store, {"acme.example": host({"05": 1})}, hour=TEN - 10 * 24 * HOUR)
    seen = look(GatewaySource(store), Previous(at=NOW - 72 * HOUR))
    assert len(seen.entries["gateway"]) == 4


def test_without_a_vendors_time_everything_there_is_is_read(store: Store) -> None:
    put_activity(store, {"acme.example": host({"05": 1})}, hour=TEN - 90 * 24 * HOUR)
    assert len(look(GatewaySource(store), Previous(at=NOW), now=None).entries["gateway"]) == 1


def test_an_hour_that_has_not_begun_is_left_out_and_said(store: Store) -> None:
    put_activity(store, {"acme.example": host({"05": 1})}, hour=TEN + 2 * HOUR)
    seen = look(GatewaySource(store))
    assert seen.entries["gateway"] == ()
    assert "has not begun" in seen.completeness["gateway"].reason


def test_two_hostnames_of_one_instance_are_one_total(store: Store) -> None:
    put_activity(store, {"a.example": host({"05": 1}), "b.example": host({"05": 2, "06": 1})})
    (entry,) = look(GatewaySource(store)).entries["gateway"]
    assert (entry.value, (entry.data or {})["minutes"]) == ("4", {"05": 3, "06": 1})


@pytest.mark.parametrize(
    "data", [b"", b"x", b"[]", b'{"v": 2}', b'{"v": 1, "hosts": {"a": 5}}', b'{"v": 1, "hosts": {"a": {"tenant": "t"}}}']
)
def test_notes_that_cannot_be_read_are_a_fault_and_the_others_are_read(store: Store, data: bytes) -> None:
    put_activity(store, {"acme.example": host({"05": 1})})
    store.put("activity/2026-11-20T10/gw-2.json", data)
    seen = look(GatewaySource(store))
    assert len(seen.entries["gateway"]) == 1
    assert "gw-2.json" in seen.completeness["gateway"].reason


@pytest.mark.parametrize("minutes", [{"5": 1}, {"60": 1}, {"05": -1}, {"05": "x"}, {"05": 1.5}, []])
def test_minutes_that_cannot_be_are_no_use(store: Store, minutes: Any) -> None:
    put_activity(store, {"acme.example": {"tenant": "acme", "instance": "main", "minutes": minutes}})
    seen = look(GatewaySource(store))
    assert seen.entries["gateway"] == ()
    assert not seen.complete


def test_a_store_that_is_away_makes_its_sources_incomplete_in_its_own_words(store: Store) -> None:
    watched = Watched(store)
    watched.away = True
    seen = look(GatewaySource(watched))
    assert seen.completeness["gateway"].reason == "activity: the store is away. Look at its status."
    assert seen.completeness["fly"].complete


WORDS = {"acme": {"drawings": "generations"}}


def test_readings_of_counters_have_the_names_that_the_file_declares(store: Store) -> None:
    put_counters(store, [[TEN + 60_000, {"generations": 3, "notes": 9}], [TEN + 360_000, {"generations": 5}]])
    previous = Previous.of([Entry("volume", TEN, "acme", "main", "vol_1", state="created", value="1")])
    seen = look(AppSource(store, WORDS), previous)
    told = [(entry.subject, entry.at, entry.value, (entry.data or {})["volume"]) for entry in seen.entries["app"]]
    assert told == [("drawings", TEN + 60_000, "3", "vol_1"), ("drawings", TEN + 360_000, "5", "vol_1")]
    assert seen.complete


def test_a_tenant_without_a_file_is_read_in_the_apps_own_words(store: Store) -> None:
    put_counters(store, [[TEN, {"generations": 3}]], tenant="gone")
    assert [entry.subject for entry in look(AppSource(store, WORDS)).entries["app"]] == ["generations"]


def test_a_declared_counter_that_the_app_does_not_report_is_a_finding(store: Store) -> None:
    put_counters(store, [[TEN, {"notes": 3}]])
    seen = look(AppSource(store, WORDS))
    assert [(finding.rule, finding.tenant) for finding in seen.findings] == [("app.counter-missing", "acme")]


def test_two_gateways_whose_clocks_differ_a_little_do_not_make_an_app_begin_again(store: Store) -> None:
    put_counters(store, [[TEN + 5_000, {"generations": 6}]], gateway="gw-1")
    put_counters(store, [[TEN + 7_000, {"generations": 5}], [TEN + 60_000, {"generations": 7}]], gateway="gw-2")
    assert [entry.value for entry in look(AppSource(store, WORDS)).entries["app"]] == ["6", "7"]


def test_a_lower_total_of_the_same_gateway_is_told_as_it_is(store: Store) -> None:
    put_counters(store, [[TEN + 5_000, {"generations": 6}], [TEN + 305_000, {"generations": 1}]])
    assert [entry.value for entry in look(AppSource(store, WORDS)).entries["app"]] == ["6", "1"]


def test_the_order_is_judged_with_what_was_read_in_the_hour_before(store: Store) -> None:
    put_counters(store, [[TEN - 1_000, {"generations": 6}]], hour=TEN - HOUR)
    first = look(AppSource(store, WORDS), now=TEN + 120_000)
    put_counters(store, [[TEN + 1_000, {"generations": 5}]], gateway="gw-2")
    second = look(AppSource(store, WORDS), after(first, TEN + 120_000))
    assert [entry.value for entry in first.entries["app"]] == ["6"]
    assert second.entries["app"] == ()


def test_a_reading_is_taken_when_the_other_gateways_have_written_too(store: Store) -> None:
    put_counters(store, [[TEN + 5_000, {"generations": 6}], [TEN + 300_000, {"generations": 8}]])
    early = look(AppSource(store, WORDS), now=TEN + 330_000)
    assert [entry.value for entry in early.entries["app"]] == ["6"]
    late = look(AppSource(store, WORDS), after(early, TEN + 330_000), now=TEN + 400_000)
    assert [entry.value for entry in late.entries["app"]] == ["6", "8"]
    assert look(AppSource(store, WORDS), after(late, TEN + 400_000), now=TEN + 500_000).entries["app"] == ()


@pytest.mark.parametrize("readings", [[["x", {}]], [[TEN - HOUR, {"generations": 1}]], 5, [[TEN]], [[TEN, [1]]]])
def test_readings_that_cannot_be_are_a_fault(store: Store, readings: Any) -> None:
    put_counters(store, readings)
    seen = look(AppSource(store, WORDS))
    assert seen.entries["app"] == ()
    assert not seen.complete


def test_a_forged_total_stays_a_number_of_a_counter(store: Store) -> None:
    put_counters(store, [[TEN, {"generations": 2**60, "notes": -1}], [TEN + 300_000, {"generations": 4}]])
    assert [entry.value for entry in look(AppSource(store, WORDS)).entries["app"]] == ["4"]
