"""Made-up use, metered by the queries for real use, is what counting on one's fingers gives."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowhouse.usage.model import GB_MICROS, HOUR_MS, SegmentUsage, Window
from rowhouse.usage.quote_file import WrittenUse
from rowhouse.usage.quote_meter import metered
from tests.support import meter, plan
from tests.usage.rating_support import DAY, NOVEMBER, plan_of

MARGIN = 3 * DAY
MOMENTS = st.one_of(
    st.integers(NOVEMBER.start - MARGIN, NOVEMBER.end + MARGIN),
    st.integers(-72, 24 * 33).map(lambda hour: NOVEMBER.start + hour * HOUR_MS),
    st.sampled_from([NOVEMBER.start - 1, NOVEMBER.start, NOVEMBER.end - 1, NOVEMBER.end]),
)
RUNS = st.tuples(MOMENTS, st.integers(0, 2 * DAY)).map(lambda run: (run[0], run[0] + run[1]))
LEVELS = st.dictionaries(MOMENTS, st.integers(0, 500 * GB_MICROS), max_size=5).map(lambda levels: sorted(levels.items()))
COUNTS = st.lists(st.tuples(MOMENTS, st.integers(0, 10**12)), max_size=6)


@st.composite
def uses(draw) -> WrittenUse:
    """What a file may say."""
    return WrittenUse(
        running=draw(st.lists(RUNS, max_size=5)),
        logins=draw(st.lists(MOMENTS, max_size=5)),
        activity=draw(st.lists(MOMENTS, max_size=5)),
        counters={"sprints": draw(COUNTS)},
        storage=draw(LEVELS),
        volume=draw(LEVELS),
    )


def on_fingers(use: WrittenUse, period: Window) -> SegmentUsage:
    """The same by the plainest means: clip, add, collect hours."""
    runs = [(max(start, period.start), min(end, period.end)) for start, end in use.running]
    runs = [(start, end) for start, end in runs if start < end]
    active = {hour for start, end in runs for hour in range(start - start % HOUR_MS, end, HOUR_MS)}
    active |= {at - at % HOUR_MS for at in (*use.logins, *use.activity) if period.start <= at < period.end}
    hours: dict[int, int] = {}
    for at, count in use.counters["sprints"]:
        if count and period.start <= at < period.end:
            hours[at - at % HOUR_MS] = hours.get(at - at % HOUR_MS, 0) + count
    return SegmentUsage(
        "acme",
        0,
        *period,
        plan_of("ai-diy/standard"),
        running_ms=sum(end - start for start, end in runs),
        active_hours=len(active),
        counters={"sprints": hours} if hours else {},
        storage_gb_ms=integral(use.storage, period),
        volume_gb_ms=integral(use.volume, period),
    )


def integral(levels, period: Window) -> int:
    ends = [at for at, _ in levels[1:]] + [period.end]
    parts = [(max(start, period.start), min(end, period.end), held) for (start, held), end in zip(levels, ends, strict=False)]
    return sum((end - start) * held for start, end, held in parts if start < end)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(uses())
def test_the_meters_sums_are_those_on_ones_fingers(use):
    found = metered("acme", plan_of("ai-diy/standard"), NOVEMBER, use)
    expected = on_fingers(use, NOVEMBER)
    assert replace(found, plan=expected.plan, storage_ms=0) == expected


def test_a_day_in_which_nothing_is_left_takes_no_count_from_another_day():
    """A count in a file has its own moment: it is not spread over days as a reading after a silence would be."""
    daily = plan(meters=(meter(name="sprints", kind="counter", rounding=None, counter="sprints", per="day", warn_at=()),))
    use = WrittenUse(counters={"sprints": [(NOVEMBER.start, 500), (NOVEMBER.start + DAY, 1)]})
    assert metered("acme", daily, NOVEMBER, use).counters == {"sprints": {NOVEMBER.start: 500, NOVEMBER.start + DAY: 1}}


def test_a_counter_that_several_meters_count_is_counted_in_each():
    twice = tuple(meter(name=name, kind="counter", rounding=None, counter="sprints", warn_at=()) for name in ("builds", "sprints"))
    use = WrittenUse(counters={"sprints": [(NOVEMBER.start, 5)]})
    assert metered("acme", plan(meters=twice), NOVEMBER, use).counters == {name: {NOVEMBER.start: 5} for name in ("builds", "sprints")}
