from datetime import UTC, datetime, timedelta

import pytest

from rowhouse.demo.script import Act, Place, acts_of

MONTHS = [datetime(year, month, 1, tzinfo=UTC) for year in (2026, 2028) for month in range(1, 13)]
"""Of every length, one 29 February among them."""


@pytest.mark.parametrize("month", MONTHS, ids=lambda month: f"{month:%Y-%m}")
def test_every_month_is_lively_and_soon_over(month: datetime) -> None:
    acts = acts_of(month)
    came = [act for act in acts if act.what in {"visit", "arrive"}]
    assert 100 <= len(came) <= 250
    assert sum(act.what == "crash" for act in acts) == 2
    assert acts == sorted(acts)
    assert all(act.at >= month + timedelta(hours=2) for act in acts), "act one is on in the first hour"


@pytest.mark.parametrize("month", MONTHS, ids=lambda month: f"{month:%Y-%m}")
def test_a_page_is_never_opened_twice_and_each_is_closed_within_a_session(month: datetime) -> None:
    opened: dict[Place, Act] = {}
    for act in acts_of(month):
        if act.what == "arrive":
            assert act.place not in opened
            opened[act.place] = act
        elif act.what == "leave":
            assert act.at - opened.pop(act.place).at < timedelta(hours=24)
        elif act.what == "crash":
            assert act.place not in opened
    assert not opened


@pytest.mark.parametrize("month", MONTHS, ids=lambda month: f"{month:%Y-%m}")
def test_somebody_stays_past_midnight_and_past_the_months_end(month: datetime) -> None:
    acts = acts_of(month)
    end = (month + timedelta(days=32)).replace(day=1)
    stays = [
        (act, next(other for other in acts if other.what == "leave" and other.place == act.place and other.at > act.at))
        for act in acts
        if act.what == "arrive"
    ]
    assert any(came.at.date() != left.at.date() for came, left in stays)
    assert any(came.at < end < left.at for came, left in stays)
