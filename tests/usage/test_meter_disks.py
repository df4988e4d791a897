"""Gigabytes provisioned and gigabytes used."""

import pytest

from rowhouse.usage.meter_disks import HOLD_MS
from rowhouse.usage.model import GB_MICROS
from tests.usage.telling import HOUR, at, plan, poll, used

HOLD = HOLD_MS / HOUR


def volume(hours, gb, *, state="created", made=0, name="vol"):
    about = {"kind": "volume", "tenant": "acme", "instance": "main", "subject": name, "at": at(hours), "asof": at(hours)}
    return {**about, "value": str(gb), "state": state, "data": {"created_at": at(made)}}


def reading(hours, gb, *, name="vol"):
    return {"kind": "storage", "tenant": "acme", "instance": "main", "subject": name, "at": at(hours), "value": str(gb)}


def provisioned(*rows):
    return used([plan(), *rows])[0].volume_gb_ms / GB_MICROS / HOUR


def stored(*rows):
    (one,) = used([plan(), poll(700, "stopped", 0), *rows])
    return one.storage_gb_ms / GB_MICROS / HOUR, one.storage_ms / HOUR


def test_a_volume_counts_from_its_first_sight_to_its_last():
    assert provisioned(*[volume(hour, 10) for hour in range(1, 11)]) == 90
    assert provisioned(volume(1, 10), volume(10, 10)) == 90


def test_a_larger_size_counts_from_when_it_was_first_seen():
    assert provisioned(volume(1, 10), volume(4, 10), volume(6, 12), volume(8, 12)) == 10 * 5 + 12 * 2


def test_a_volume_that_is_gone_counts_to_when_it_was_last_there():
    assert provisioned(volume(1, 10), volume(4, 10), volume(6, 10, state="pending_destroy"), volume(9, 10, state="gone")) == 30


def test_a_stopped_machines_volume_counts_as_well_and_two_add_up():
    assert provisioned(volume(1, 10), volume(3, 10), volume(1, 5, name="other"), volume(3, 5, name="other")) == 30


def test_a_reading_holds_until_the_next_one():
    assert stored(reading(10, 2), reading(14, 3), reading(16, 3)) == (2 * 4 + 3 * 2 + 3 * min(HOLD, 700 - 10 / 60 - 16), 6 + HOLD)


def test_where_use_fell_the_lower_reading_holds_because_nobody_knows_when():
    assert stored(reading(10, 5), reading(14, 1), reading(14.5, "1.0"))[0] == 4 + 0.5 + HOLD


def test_a_reading_holds_a_week_at_most_and_then_the_use_is_not_known():
    known = HOLD + 700 - 10 / 60 - 600
    assert stored(reading(10, 2), reading(600, 2)) == pytest.approx((2 * known, known))


def test_use_ends_with_its_volume():
    rows = [volume(1, 10), volume(12, 10), volume(13, 10, state="gone")]
    assert stored(*rows, reading(10, 2))[0] == 2 * 3


def test_the_same_reading_told_twice_is_one():
    assert stored(reading(10, 2), reading(10, 2), reading(14, 2)) == stored(reading(14, 2), reading(10, 2))
