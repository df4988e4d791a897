"""The organisation list on bad days; failure library of peers.md section 5: 'pages shift, culls missed', 'partial error_regions, short or
empty pages', 'compute unknown to control plane' and 'newborn suspended as orphan', as far as observing goes."""

import asyncio

import httpx
import pytest

from rowhouse.usage.entries import Entry
from rowhouse.usage.observations import Observations
from rowhouse.usage.observe import observe
from rowhouse.usage.previous import Previous
from tests.usage.fly_world import MINUTE, START, FlyWorld, rfc


def fleet(count: int, **options: int) -> FlyWorld:
    world = FlyWorld(**options)
    for number in range(count):
        key = f"m{number:03d}"
        world.machine(key, updated_at=rfc(START - 60 * MINUTE + number))
        world.event(key, START - 60 * MINUTE, "launch", "created", "user")
        world.event(key, START - 59 * MINUTE)
    return world


def of(seen: Observations, kind: str) -> list[Entry]:
    return [entry for entry in seen.entries["fly"] if entry.kind == kind]


def after(seen: Observations, previous: Previous | None = None) -> Previous:
    previous = previous or Previous()
    for entry in seen.entries["fly"]:
        previous.add(entry)
    return previous


def test_a_list_of_many_pages_is_read_to_its_end() -> None:
    world = fleet(25, page=10)
    seen = world.look()
    assert seen.complete
    assert len(of(seen, "machine")) == 25
    assert (world.listed("machines"), len(world.asked())) == (3, 25)


def test_an_empty_page_with_a_cursor_is_followed() -> None:
    world = fleet(3)
    first = iter([httpx.Response(200, json={"machines": [], "next_cursor": "0", "error_regions": []})])
    world.hook = lambda request: next(first, None) if request.url.path.endswith("/orgs/acme/machines") else None
    seen = world.look()
    assert seen.complete
    assert len(of(seen, "machine")) == 3


def test_only_machines_that_changed_are_asked_for_their_events() -> None:
    world = fleet(5)
    previous = after(world.look())
    world.calls.clear()
    world.change("m002", "stopped", START + MINUTE)
    world.event("m002", START + MINUTE, "exit", "stopped")
    world.now += 60 * MINUTE
    seen = world.look(previous)
    assert world.asked() == ["m002"]
    assert len(of(seen, "machine")) == 5
    assert [(entry.subject, entry.state) for entry in of(seen, "event")] == [("m002", "stopped")]


def test_a_machine_whose_events_could_not_be_had_is_asked_again_in_the_next_pass() -> None:
    world = fleet(3)
    world.hook = lambda request: httpx.Response(500) if "/m001/" in request.url.path else None
    seen = world.look()
    assert not seen.complete
    assert "answered 500" in seen.completeness["fly"].parts["events"].reason
    assert seen.completeness["fly"].parts["machines"].complete
    world.hook = lambda _request: None
    world.calls.clear()
    assert world.look(after(seen)).complete
    assert world.asked() == ["m001"]


def test_regions_that_fly_could_not_read_make_the_pass_incomplete_and_nothing_is_inferred_about_what_is_there() -> None:
    world = fleet(3)
    previous = after(world.look())
    world.hidden, world.error_regions = {"m001"}, ["ams"]
    seen = world.look(previous)
    assert not seen.complete
    assert "ams" in seen.completeness["fly"].reason
    assert {entry.subject for entry in of(seen, "machine")} == {"m000", "m002"}


def test_a_failure_in_the_middle_of_the_list_keeps_what_came_before_it() -> None:
    world = fleet(25, page=10)
    previous = after(world.look())
    world.hook = lambda request: httpx.Response(503) if request.url.params.get("cursor") else None
    seen = world.look(previous)
    assert not seen.complete
    assert "503" in seen.completeness["fly"].parts["machines"].reason
    assert len(of(seen, "machine")) == 10
    assert all(entry.state == "running" for entry in of(seen, "machine"))


def test_a_machine_that_moves_between_pages_is_seen_because_the_list_is_read_once_more() -> None:
    world = fleet(20, page=10)

    def shift(_calls: int) -> None:
        if world.listed("machines") == 1:
            world.change("m003", "stopped", START)

    world.after_page = shift
    seen = world.look()
    assert seen.complete
    states = {entry.subject: entry.state for entry in of(seen, "machine")}
    assert len(states) == 20
    assert states["m003"] == "stopped"
    assert world.listed("machines") == 4


def test_a_list_that_never_stands_still_is_said_to_be_incomplete() -> None:
    world = fleet(20, page=10)
    moment = [0]

    def shift(_calls: int) -> None:
        for number in range(20):
            moment[0] += 1
            if world.listed("machines") in {1, 4}:  # at the first page of each reading
                world.change(f"m{number:03d}", "stopped", START + moment[0])

    world.after_page = shift
    seen = world.look()
    assert not seen.complete
    assert "moved" in seen.completeness["fly"].parts["machines"].reason


def test_a_known_machine_that_the_list_lacks_is_asked_for_and_gone_only_when_fly_says_so() -> None:
    world = fleet(3)
    previous = after(world.look())
    del world.machines["m001"]
    world.hidden = {"m002"}
    seen = world.look(previous)
    states = {entry.subject: entry.state for entry in of(seen, "machine")}
    assert states == {"m000": "running", "m001": "gone"}
    assert not seen.complete
    assert "m002 of m002 is there, but not in the list" in seen.completeness["fly"].reason


@pytest.mark.parametrize("left", [0, 60])
def test_many_machines_that_went_at_once_are_gone_when_fly_says_so_of_each(left: int) -> None:
    world = fleet(100)
    previous = after(world.look())
    for key in sorted(world.machines)[left:]:
        del world.machines[key]
    seen = world.look(previous)
    assert seen.complete
    assert sum(entry.state == "gone" for entry in of(seen, "machine")) == 100 - left
    again = world.look(after(seen, previous))
    assert again.complete
    assert not any(entry.state == "gone" for entry in of(again, "machine"))


def test_a_machine_that_is_there_again_is_a_finding() -> None:
    world = fleet(3)
    first = world.look()
    row = world.machines.pop("m001")
    second = world.look(after(first))
    assert [entry.subject for entry in of(second, "machine") if entry.state == "gone"] == ["m001"]
    world.machines["m001"] = row
    third = world.look(after(second, after(first)))
    assert [(finding.rule, finding.subject) for finding in third.findings] == [("fly.came-back", "m001")]
    assert {entry.subject: entry.state for entry in of(third, "machine")}["m001"] == "running"


def test_a_list_with_a_hole_proves_nothing_about_the_others_that_it_lacks() -> None:
    world = fleet(100)
    previous = after(world.look())
    world.hidden = set(world.machines)
    world.calls.clear()
    seen = world.look(previous)
    assert not seen.complete
    assert "100 of 100 known machines are not in the list; nothing is concluded about the 75 others" in str(seen.completeness["fly"].parts)
    assert of(seen, "machine") == []
    assert sum("/apps/" in call for call in world.calls) == 25


def test_an_empty_list_of_a_fleet_that_nobody_knows_is_complete() -> None:
    assert FlyWorld().look().complete


def test_foreign_machines_are_not_looked_at() -> None:
    world = fleet(1)
    strange = {"managed-by": "rowhouse", "project": "shop", "stack": "main"}
    for number, mark in enumerate(({}, {**strange, "project": "other", "tenant": "t"}, {**strange, "stack": "b", "tenant": "t"}, strange)):
        world.machine(f"f{number}", config={"metadata": mark})
    world.machine("f9", config=None)
    seen = world.look()
    assert {entry.tenant for entry in seen.entries["fly"]} == {"m000"}
    assert world.asked() == ["m000"]


def test_coder_15461_a_machine_that_somebody_put_into_an_app_of_ours_is_a_finding_of_one_pass() -> None:
    world = fleet(2)
    world.machine("f0", app_name="m001-app", config={"metadata": {}, "guest": {}})
    world.machine("f1", app_name="elsewhere", config={"metadata": {}, "guest": {}})
    world.machine("f2", app_name="m001-app", state="destroyed", config={"metadata": {}, "guest": {}})
    seen = world.look()
    assert seen.complete
    assert [(finding.rule, finding.subject, finding.tenant) for finding in seen.findings] == [("fly.unmanaged", "f0", "m001")]
    assert {entry.subject for entry in of(seen, "machine")} == {"m000", "m001"}


def test_a_machine_of_ours_that_has_lost_its_mark_is_observed_as_before_and_a_finding() -> None:
    world = fleet(2)
    previous = after(world.look())
    world.machines["m001"]["config"] = {"metadata": {}}
    seen = world.look(previous)
    assert {entry.subject for entry in of(seen, "machine")} == {"m000", "m001"}
    assert [(finding.rule, finding.tenant) for finding in seen.findings] == [("fly.mark-lost", "m001")]


def test_a_machine_whose_host_is_away_shows_no_configuration_and_stays_whose_it_was() -> None:
    world = fleet(1)
    previous = after(world.look())
    del world.machines["m000"]["config"]
    seen = world.look(previous)
    assert [entry.tenant for entry in of(seen, "machine")] == ["m000"]
    assert seen.findings == ()


def test_an_undocumented_state_is_unknown_and_a_finding() -> None:
    world = fleet(1)
    world.machines["m000"]["state"] = "hibernating"
    seen = world.look()
    (entry,) = of(seen, "machine")
    assert entry.data is not None
    assert (entry.state, entry.data["word"]) == ("unknown", "hibernating")
    assert [finding.rule for finding in seen.findings] == ["fly.state-unknown"]


def test_answers_without_a_date_prove_nothing() -> None:
    world = fleet(1)
    world.dated = False
    seen = world.look()
    assert (seen.now, seen.entries["fly"]) == (None, ())
    assert not seen.complete


def test_when_many_machines_in_a_row_are_refused_the_rest_is_not_asked() -> None:
    world = fleet(200)
    world.hook = lambda request: httpx.Response(403) if request.url.path.endswith("/events") else None
    seen = world.look()
    assert len(world.asked()) < 60
    assert "were not asked for their events" in seen.completeness["fly"].parts["events"].reason or not seen.complete


def test_an_answer_that_is_no_list_makes_only_its_part_incomplete() -> None:
    world = fleet(2)
    world.hook = lambda request: httpx.Response(200, text="<html>") if request.url.path.endswith("/volumes") else None
    seen = world.look()
    parts = seen.completeness["fly"].parts
    assert [name for name, part in parts.items() if not part.complete] == ["volumes"]
    assert len(of(seen, "machine")) == 2


def test_a_silent_fly_ends_when_its_time_is_over_and_keeps_what_it_said() -> None:
    world = fleet(12, page=10)

    async def body() -> Observations:
        source = world.source()

        async def never(*_args: object, **_options: object) -> None:
            await asyncio.Event().wait()

        source._fly.events = never  # type: ignore[method-assign,assignment]
        return await observe([source], Previous(), patience_s=0.1)

    seen = asyncio.run(body())
    assert len(of(seen, "machine")) == 12
    assert "not heard out within 0.1 s" in seen.completeness["fly"].parts["events"].reason
    assert seen.completeness["fly"].parts["machines"].complete


def test_the_same_answers_in_any_order_give_the_same_entries() -> None:
    world = fleet(12, page=5)
    one = world.look()
    world.machines = dict(reversed(world.machines.items()))
    assert world.look().entries == one.entries


def volume(key: str, app: str, **more: object) -> dict[str, object]:
    made = {"id": key, "app_name": app, "state": "created", "size_gb": 10, "region": "fra", "created_at": rfc(START - 90 * MINUTE)}
    return made | {"updated_at": rfc(START - 80 * MINUTE)} | more


def test_a_volume_is_whose_the_machine_of_its_app_is_and_one_of_an_app_without_a_machine_is_nobodys_yet() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app", attached_machine_id="m000"), volume("vol_new", "newborn-app")]
    seen = world.look()
    (entry,) = of(seen, "volume")
    assert entry.data is not None
    assert (entry.tenant, entry.subject, entry.value, entry.data["machine"]) == ("m000", "vol_a", "10", "m000")
    assert seen.complete
    assert seen.findings == ()


def test_a_volume_stays_whose_it_was_when_its_machine_is_gone() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    previous = after(world.look())
    world.machines.clear()
    assert [entry.tenant for entry in of(world.look(previous), "volume")] == ["m000"]


def test_a_deleted_volume_is_told_once() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    previous = after(world.look())
    world.volumes = [volume("vol_a", "m000-app", state="pending_destroy")]
    seen = world.look(previous)
    assert [entry.state for entry in of(seen, "volume")] == ["gone"]
    assert of(world.look(after(seen, previous)), "volume") == []


def test_a_volume_that_the_list_lacks_is_gone_when_fly_says_so() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    previous = after(world.look())
    world.volumes = []
    assert [(entry.state, entry.value) for entry in of(world.look(previous), "volume")] == [("gone", "10")]


@pytest.mark.parametrize(("text", "gb"), [("1073741824", "1.000000000"), ("536870912.5", "0.500000000"), ("0", "0.000000000")])
def test_gb_used_come_from_one_query_for_all_apps(text: str, gb: str) -> None:
    world = fleet(2)
    world.volumes = [volume("vol_a", "m000-app")]
    world.used = [
        {"metric": {"app": "m000-app"}, "value": [START / 1000, text]},
        {"metric": {"app": "other"}, "value": [START / 1000, "5"]},
    ]
    seen = world.look()
    assert [(entry.subject, entry.value) for entry in of(seen, "storage")] == [("vol_a", gb)]
    assert sum("/prometheus/" in call for call in world.calls) == 1


def test_more_used_than_provisioned_is_a_finding_and_never_billed() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    world.used = [{"metric": {"app": "m000-app"}, "value": [START / 1000, str(11 * 2**30)]}]
    seen = world.look()
    assert [entry.value for entry in of(seen, "storage")] == ["10"]
    assert [finding.rule for finding in seen.findings] == ["fly.storage-too-much"]


@pytest.mark.parametrize("value", [[0, "NaN"], [0, "+Inf"], [0, "-1"], [0, "x"], [0], None])
def test_a_use_that_is_no_number_makes_storage_incomplete(value: object) -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    world.used = [{"metric": {"app": "m000-app"}, "value": value}]
    seen = world.look()
    assert of(seen, "storage") == []
    assert not seen.completeness["fly"].parts["storage"].complete


def test_prometheus_that_is_down_costs_nothing_but_the_gb_used() -> None:
    world = fleet(1)
    world.volumes = [volume("vol_a", "m000-app")]
    world.hook = lambda request: httpx.Response(404) if "/prometheus/" in request.url.path else None
    seen = world.look()
    assert {entry.kind for entry in seen.entries["fly"]} == {"machine", "event", "events", "volume"}
    assert [name for name, part in seen.completeness["fly"].parts.items() if not part.complete] == ["storage"]
