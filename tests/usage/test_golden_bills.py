"""The bills of the five businesses that must come out right: through the command line and through `rate`."""

from decimal import Decimal

import pytest

from rowhouse.usage.model import SegmentUsage
from rowhouse.usage.rate import rate
from tests.usage.quoting import Quoter
from tests.usage.rating_support import DAY, HOUR, MINUTE, NOVEMBER, SECOND, amounts, lot, plan_of, used


@pytest.fixture
def quote(tmp_path, monkeypatch) -> Quoter:
    return Quoter(tmp_path, monkeypatch)


def day(number: int, clock: str = "00:00:00") -> str:
    return f"2026-11-{number:02}T{clock}Z"


def runs_of(hours: int, minutes: int = 0, seconds: int = 0) -> list[list[str]]:
    """Runs of so long in all: whole days from the 1st on, and what is left on the 30th."""
    days, rest = divmod(hours * HOUR + minutes * MINUTE + seconds * SECOND, DAY)
    whole = [[day(1 + number), day(2 + number)] for number in range(days)]
    hour, rest = divmod(rest // SECOND, 3600)
    return [*whole, [day(30), day(30, f"{hour:02}:{rest // 60:02}:{rest % 60:02}")]]


GENERATIONS_2150 = {
    "counters": {"generations": [[day(3, "10:00:00"), 2000], [day(20, "10:00:00"), 150]]},
    "purchases": [{"pack": "credits-500", "at": day(19)}],
}
GOLDEN = [
    ("ai-diy-roadmap/hourly", {"running": runs_of(13, 20)}, "66.67", {}, {}),
    ("ai-diy-roadmap/basic", {"running": runs_of(26, 30)}, "62.50", {}, {}),
    (
        "ai-diy/standard",
        {
            "running": [
                [day(10, "09:50:00"), day(10, "10:10:00")],
                [day(10, "10:30:00"), day(10, "10:40:00")],
                [day(10, "23:59:00"), day(11, "00:01:00")],
            ]
        },
        "9.00",
        {},
        {},
    ),
    (
        "llamasketch/free",
        {"counters": {"generations": [[day(7, "08:00:00"), 12], [day(7, "22:59:59"), 13]]}},
        "0.00",
        {"generations": "5"},
        {},
    ),
    ("llamasketch/starter", GENERATIONS_2150, "13.00", {}, {"generations": "350"}),
    ("llamasketch/pro", {"counters": {"generations": [[day(5), 8000]]}}, "20.00", {}, {}),
    ("llamasketch/unlimited", {"counters": {"generations": [[day(5), 1400]]}}, "40.00", {"generations": "400"}, {}),
    ("my-jarvis/fixed", {"running": [[day(n), day(n, "04:00:00")] for n in range(1, 31)]}, "20.00", {}, {}),
    ("my-jarvis/usage", {"running": [[day(n), day(n, "04:00:00")] for n in range(1, 31)]}, "12.00", {}, {}),
    ("aether/free", {"running": runs_of(50), "storage_gb": [[day(1), 1]]}, "0.00", {}, {}),
    ("aether/pro", {"running": runs_of(212, 30), "storage_gb": [[day(1), 12]]}, "22.25", {}, {}),
    ("aether/team", {"running": runs_of(499, 59, 59)}, "50.00", {}, {}),
    ("aether/team", {"running": runs_of(500, 59)}, "50.10", {}, {}),
]


@pytest.mark.parametrize(("plan", "use", "total", "refused", "left"), GOLDEN, ids=[f"{plan} {total}" for plan, _, total, _, _ in GOLDEN])
def test_the_quote_is_the_golden_bill(quote, plan, use, total, refused, left):
    answer = quote(plan, use)
    document = answer.document
    assert (answer.code, answer.err) == (0, "")
    assert (document["plan"], document["period"], document["currency"]) == (plan, "2026-11", "usd")
    assert (document["total"], document["refused"], document["credits_left"]) == (total, refused, left)
    assert sum(Decimal(line["amount"]) for line in document["lines"]) == Decimal(total)


def golden(plan: str, **use) -> SegmentUsage:
    return used(plan_of(plan), **use)


AT = NOVEMBER.start + 10 * HOUR
RATED = [
    (golden("ai-diy-roadmap/hourly", running=13 * HOUR + 20 * MINUTE), {"running_hours": "66.67"}),
    (golden("ai-diy-roadmap/basic", running=26 * HOUR + 30 * MINUTE), {"base": "30.00", "running_hours": "32.50"}),
    (golden("ai-diy/standard", running=32 * MINUTE, active_hours=4), {"base": "5.00", "running_hours": "4.00"}),
    (golden("llamasketch/free", counters={"generations": {AT: 25}}), {}),
    (golden("llamasketch/starter", counters={"generations": {AT: 2150}}), {"base": "8.00", "pack:credits-500": "5.00"}),
    (golden("llamasketch/pro", counters={"generations": {AT: 8000}}), {"base": "20.00"}),
    (golden("llamasketch/unlimited", counters={"generations": {AT: 1400}}), {"base": "40.00"}),
    (golden("my-jarvis/fixed", running=120 * HOUR), {"base": "20.00"}),
    (golden("my-jarvis/usage", running=120 * HOUR), {"running_hours": "12.00"}),
    (golden("aether/free", running=50 * HOUR), {}),
    (golden("aether/pro", running=212 * HOUR + 30 * MINUTE, storage=12), {"base": "20.00", "running_hours": "1.25", "storage_gb": "1.00"}),
    (golden("aether/team", running=500 * HOUR - SECOND), {"base": "50.00"}),
    (golden("aether/team", running=500 * HOUR + 59 * MINUTE), {"base": "50.00", "running_hours": "0.10"}),
]


@pytest.mark.parametrize(("segment", "lines"), RATED, ids=[segment.plan.ref for segment, _ in RATED])
def test_rate_gives_the_golden_lines(segment, lines):
    bill = rate(NOVEMBER, [segment], [lot()] if segment.plan.name == "starter" else [])
    assert amounts(bill) == {meter: Decimal(amount) for meter, amount in lines.items()}
    assert bill.total == sum(map(Decimal, lines.values()))


def test_a_change_from_pro_to_team_at_half_time_is_36_dollars():
    change = NOVEMBER.start + 15 * DAY
    first = used(plan_of("aether/pro"), end=change, running=110 * HOUR)
    bill = rate(NOVEMBER, [first, used(plan_of("aether/team"), start=change, segment=1, running=240 * HOUR)])
    assert [(line.meter, line.segment, line.amount) for line in bill.lines if line.amount] == [
        ("base", 0, Decimal("10.00")),
        ("running_hours", 0, Decimal("1.00")),
        ("base", 1, Decimal("25.00")),
    ]
    assert bill.total == Decimal("36.00")


def test_starter_is_warned_at_80_and_at_100_percent():
    reached = [
        rate(NOVEMBER, [golden("llamasketch/starter", counters={"generations": {AT: n}})]).warnings for n in (1599, 1600, 1999, 2000)
    ]
    assert reached == [{}, {"generations": 80}, {"generations": 80}, {"generations": 100}]


def test_fifty_hours_of_the_free_plan_are_allowed_and_one_second_more_is_not():
    assert rate(NOVEMBER, [golden("aether/free", running=50 * HOUR)]).refused == {}
    assert rate(NOVEMBER, [golden("aether/free", running=50 * HOUR + SECOND)]).refused == {"running_hours": Decimal("0.000277778")}
