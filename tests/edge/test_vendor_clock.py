import asyncio
import time
from email.utils import formatdate

import httpx
import pytest

from rowhouse.edge.vendor_clock import VendorClock


def clock_with(dates: list[str | None], ours: float = 1_000_000.0) -> tuple[VendorClock, list[float]]:
    moment = [0.0]

    def answer(_request: httpx.Request) -> httpx.Response:
        date = dates.pop(0)
        return httpx.Response(200, headers={"date": date} if date else {})

    made = VendorClock("http://certs/", transport=httpx.MockTransport(answer), clock=lambda: ours + moment[0], monotonic=lambda: moment[0])
    return made, moment


def at(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def test_until_the_vendor_was_heard_this_machines_clock_counts() -> None:
    made, moment = clock_with([])
    moment[0] = 5
    assert made() == 1_000_005


@pytest.mark.parametrize("off", [-3600, 3600, 86_400 * 30])
def test_a_wrong_clock_is_set_right_and_goes_on_from_there(off: int) -> None:
    made, moment = clock_with([at(1_000_000 + off)])
    assert asyncio.run(made.refresh())
    moment[0] = 7
    assert made() == 1_000_007 + off


def test_a_clock_that_is_right_is_left_alone() -> None:
    made, _ = clock_with([at(999_999)])
    assert asyncio.run(made.refresh())
    assert made() == 1_000_000


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_a_date_is_universal_time_however_it_says_so(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        made, _ = clock_with([at(2_000_000).replace("GMT", zone)])
        assert asyncio.run(made.refresh())
        assert made() == 2_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("date", [None, "yesterday", ""])
def test_an_answer_without_a_date_changes_nothing(date: str | None) -> None:
    made, _ = clock_with([at(2_000_000), date])

    async def body() -> list[bool]:
        return [await made.refresh(), await made.refresh()]

    assert asyncio.run(body()) == [True, False]
    assert made() == 2_000_000
