"""verify finds and names every object of the ledger that is not as it was written."""

from __future__ import annotations

import gzip
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from rowhouse.usage.entries import Entry
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.segments import Header, encode, head_key
from rowhouse.usage.verify import examine
from tests.usage.stores import START, MemoryStore, filled


def whole() -> dict[str, bytes]:
    """Two chains of several segments over the end of a month."""
    store = MemoryStore()
    ledger = filled(store, 9, sources=("fly", "gateway"))
    ledger.remember("account", START, [Entry("plan", START, "acme")])
    return store.objects


WHOLE = whole()
KEYS = sorted(WHOLE)
SEGMENTS = [key for key in KEYS if not key.endswith("head.jsonl.gz")]
HEADS = [key for key in KEYS if key.endswith("head.jsonl.gz")]
LAST = {head: max(key for key in SEGMENTS if key.startswith(head.removesuffix("head.jsonl.gz"))) for head in HEADS}


def named(objects: dict[str, bytes]) -> dict[str, str]:
    """Faulty keys and what is wrong with each."""
    store = MemoryStore()
    store.objects = objects
    return {fault.key: fault.kind for fault in Ledger(store, "main").verify()}


def test_what_is_as_it_was_written_has_no_fault_and_is_counted():
    store = MemoryStore()
    store.objects = dict(WHOLE)
    told: list[tuple[int, int]] = []
    examined = examine(store, "main", progress=lambda done, of: told.append((done, of)))
    assert (examined.faults, examined.segments, examined.entries) == ((), 19, 37)
    assert examined.heads == Ledger(store, "main").heads()
    assert told[-1] == (len(WHOLE), len(WHOLE))
    assert named({}) == {}


@settings(max_examples=400, deadline=None)
@given(key=st.sampled_from(KEYS), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_and_its_object_named(key: str, place: int, bit: int):
    data = bytearray(WHOLE[key])
    data[place % len(data)] ^= 1 << bit
    found = named({**WHOLE, key: bytes(data)})
    assert key in found
    # A head and the segment that it repeats may both be named: which of the two was changed cannot be told.
    assert set(found) <= {key, *(pair for head, last in LAST.items() if key in (head, last) for pair in (head, last))}


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(KEYS), length=st.integers(0, 10**6))
def test_any_truncated_object_is_found_and_named(key: str, length: int):
    assert set(named({**WHOLE, key: WHOLE[key][: length % len(WHOLE[key])]})) == {key}


def test_any_missing_object_is_found_and_named_and_no_other():
    for key in KEYS:
        objects = {name: data for name, data in WHOLE.items() if name != key}
        assert named(objects) == {key: "missing"}


def test_any_two_missing_segments_are_found_and_the_later_one_is_always_named():
    for first, second in itertools.combinations(SEGMENTS, 2):
        found = named({name: data for name, data in WHOLE.items() if name not in (first, second)})
        assert second in found
        neighbours = first.split("/")[2] == second.split("/")[2] and SEGMENTS.index(second) == SEGMENTS.index(first) + 1
        assert first in found or neighbours
        assert set(found) <= {first, second}


def test_any_two_swapped_segments_are_found_and_named():
    for first, second in itertools.combinations(SEGMENTS, 2):
        found = named({**WHOLE, first: WHOLE[second], second: WHOLE[first]})
        assert found == {first: "moved", second: "moved"}


def test_a_renamed_segment_is_missing_there_and_moved_here():
    for key in SEGMENTS:
        objects = {name: data for name, data in WHOLE.items() if name != key}
        other = key.replace("T000000Z", "T010000Z").replace("T120000Z", "T130000Z")
        assert named({**objects, other: WHOLE[key]}) == {key: "missing", other: "moved"}


def test_a_segment_of_another_cell_or_source_is_moved():
    fly = next(key for key in SEGMENTS if "/fly/" in key)
    assert named({**WHOLE, fly.replace("/fly/", "/railway/"): WHOLE[fly]})[fly.replace("/fly/", "/railway/")] == "moved"
    store = MemoryStore()
    filled(store, 1)
    elsewhere = {key.replace("/main/", "/eu/"): data for key, data in store.objects.items()}
    store.objects = elsewhere
    assert {fault.kind for fault in examine(store, "eu").faults} == {"moved"}


def test_an_added_object_is_foreign():
    for key in (
        "ledger/main/notes.txt",
        "ledger/main/stripe/2026-11/x.gz",
        "ledger/main/fly/2026-11/notes.txt",
        "ledger/main/fly/2026-10/20261101T000000Z.jsonl.gz",
    ):
        assert named({**WHOLE, key: b"hello"}) == {key: "foreign"}


def test_a_forged_segment_that_no_other_vouches_for_is_foreign():
    for window, after in (("20261128T010000Z", "20261128T000000Z"), ("20261001T000000Z", ""), ("20270101T000000Z", "")):
        header = Header("main", "fly", window, after, "0" * 64 if after else "", 0)
        assert named({**WHOLE, header.key: encode(header, [])}) == {header.key: "foreign"}


def test_an_edited_segment_that_is_well_formed_is_named():
    keys = [key for key in SEGMENTS if "/fly/" in key]
    for key in keys:
        text = gzip.decompress(WHOLE[key]).decode().replace('"started"', '"stopped"').splitlines()
        header = Header("main", "fly", key.rsplit("/", 1)[1].removesuffix(".jsonl.gz"), *after_of(text[0]), 2)
        found = named({**WHOLE, key: encode(header, text[1:])})
        assert found.pop(key) == "edited"
        assert found in ({}, {head_key("main", "fly"): "edited"})


def after_of(line: str) -> tuple[str, str]:
    import json

    header = json.loads(line)
    return header["after"], header["prev"]


def test_a_head_that_was_put_back_names_what_stands_after_it():
    keys = [key for key in SEGMENTS if "/fly/" in key]
    assert named({**WHOLE, head_key("main", "fly"): WHOLE[keys[-3]]}) == {keys[-1]: "foreign", keys[-2]: "foreign"}


def test_a_chain_whose_end_was_cut_off_is_missed_by_its_head():
    keys = [key for key in SEGMENTS if "/fly/" in key]
    cut = {name: data for name, data in WHOLE.items() if name not in keys[-3:]}
    assert keys[-1] in named(cut)
