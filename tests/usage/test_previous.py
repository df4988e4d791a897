"""What the next pass needs to know is read off the ledger, whatever the order and however often; and from a table without reading it all."""

import random
from pathlib import Path

import duckdb

from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.previous import Previous
from rowhouse.vendors.store import open_store
from tests.usage.fly_world import MINUTE, START, FlyWorld, rfc
from tests.usage.test_observe_list import volume

HOUR = 60 * MINUTE


def history() -> list[Entry]:
    """Some hours of three machines, as passes would have written them."""
    world, previous, entries = FlyWorld(), Previous(), list[Entry]()
    for number in range(3):
        world.machine(f"m{number}")
        world.event(f"m{number}", START - 60 * MINUTE, "launch", "created", "user")
        world.event(f"m{number}", START - 59 * MINUTE)
    world.volumes = [volume("vol_a", "m0-app")]
    for hour in range(4):
        world.now = START + hour * HOUR
        if hour == 1:
            world.change("m1", "stopped", START + 5 * MINUTE)
            world.event("m1", START + 5 * MINUTE, "exit", "stopped")
        if hour == 2:
            world.change("m2", "stopped", START + 70 * MINUTE)
            world.event("m2", START + 500 * MINUTE, "exit", "stopped")
            world.volumes = [volume("vol_a", "m0-app", state="destroyed", updated_at=rfc(START + 71 * MINUTE))]
        seen = world.look(previous)
        assert seen.now is not None
        entries += seen.entries["fly"]
        entries += [
            Entry("activity", START, "m0", "main", "gw", value="1", id="x", data={"object": "activity/a/gw.json", "etag": str(hour)}),
            Entry("pass", seen.now, data={"sources": {"cloudflare": {"asof": seen.now - MINUTE}}}),
        ]
        previous = Previous.of(entries)
    return entries


def test_neither_order_nor_repetition_of_entries_changes_what_is_known() -> None:
    entries = history()
    wanted = Previous.of(entries)
    assert wanted.machines["m1"].state == "stopped"
    assert wanted.machines["m2"].doubtful
    assert (wanted.at, wanted.logins_to) == (START + 3 * HOUR, START + 3 * HOUR - MINUTE)
    for seed in range(20):
        mixed = entries + random.Random(seed).choices(entries, k=20)
        random.Random(seed).shuffle(mixed)
        assert Previous.of(mixed) == wanted


def test_a_ledgers_table_tells_the_same_as_its_entries(tmp_path: Path) -> None:
    entries = history()
    ledger = Ledger(open_store(tmp_path.as_uri()), "main")
    for source, kinds in {"fly": {"machine", "events", "event", "volume", "storage"}, "gateway": {"activity"}, "pass": {"pass"}}.items():
        ledger.append(source, "20261118T110000Z", [entry for entry in entries if entry.kind in kinds])
    connection = duckdb.connect()
    ledger.table(connection)
    assert Previous.from_table(connection) == Previous.of(entries)


def test_a_source_that_was_silent_through_hundreds_of_passes_is_asked_from_where_it_was_last_heard(tmp_path: Path) -> None:
    """Else logins that the vendor kept no longer would be missing, and nobody would say so."""
    asofs = [START, *[None] * 300]
    entries = [
        Entry("pass", START + number * 5 * MINUTE, data={"sources": {"cloudflare": {"complete": asof is not None, "asof": asof}}})
        for number, asof in enumerate(asofs)
    ]
    ledger = Ledger(open_store(tmp_path.as_uri()), "main")
    ledger.append("pass", "20261118T110000Z", entries)
    connection = duckdb.connect()
    ledger.table(connection)
    found = Previous.from_table(connection)
    assert (found.at, found.logins_to) == (START + 1500 * MINUTE, START)


def test_a_machine_that_was_seen_before_its_tenant_left_keeps_its_owner() -> None:
    previous = Previous.of(history())
    assert {key: mark.tenant for key, mark in previous.machines.items()} == {"m0": "m0", "m1": "m1", "m2": "m2"}
