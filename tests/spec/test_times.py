"""Times are aware UTC, spans are half-open, months are calendar months."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowhouse.spec.times import Period, instant, month, rfc3339

MOMENTS = st.integers(min_value=10**15, max_value=4 * 10**15).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)


@given(MOMENTS)
def test_a_time_survives_being_written_and_read(moment):
    assert instant(rfc3339(moment)) == moment


def test_offsets_are_taken_to_utc():
    assert instant("2026-11-01T01:00:00+02:00") == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert rfc3339(datetime(2026, 11, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-10-31T23:00:00Z"


@pytest.mark.parametrize(
    "text", ["2026-11-01", "2026-11-01T00:00:00", "2026-11-01 00:00:00Z", "now", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"]
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        instant(text)


def test_a_naive_time_is_no_instant():
    with pytest.raises(ValueError, match="without a zone"):
        rfc3339(datetime(2026, 11, 1))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize(("text", "days"), [("2026-11", 30), ("2026-12", 31), ("2027-02", 28), ("2028-02", 29)])
def test_a_month_is_its_calendar_days(text, days):
    assert month(text).seconds == days * 86400


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026", "26-11", "2026-11-01", "0000-01", "9999-12"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError, match="is not a month"):
        month(text)


@given(MOMENTS, st.integers(min_value=1, max_value=400_000))
def test_hours_are_disjoint_and_cover_the_span(start, seconds):
    span = Period(start, start + timedelta(seconds=seconds))
    hours = list(span.hours())
    assert hours[0].start == span.start
    assert hours[-1].end == span.end
    assert all(one.end == other.start for one, other in pairwise(hours))
    assert all(hour.end - hour.start <= timedelta(hours=1) for hour in hours)
    assert all(hour.start.hour == (hour.end - timedelta(microseconds=1)).hour for hour in hours)


def test_an_empty_or_naive_span_is_refused():
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    for start, end in ((moment, moment), (moment, moment - timedelta(1)), (moment.replace(tzinfo=None), moment)):
        with pytest.raises(ValueError, match="not a span"):
            Period(start, end)
