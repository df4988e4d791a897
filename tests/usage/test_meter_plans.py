"""Segments of a period: which plan was in force when, by what the ledger recorded."""

from tests.usage.telling import HOUR, NOVEMBER, START, at, plan, ran, used


def segments(rows):
    return [(one.segment, one.plan.ref, (one.start - START) / HOUR, (one.end - START) / HOUR) for one in used(rows)]


def test_the_plan_before_the_period_is_in_force_at_its_start():
    assert segments([plan(hours=-900), plan("aether/team", hours=-48)]) == [(0, "aether/team", 0, 720)]


def test_a_change_in_mid_month_ends_a_segment_and_totals_start_again():
    rows = [plan(), plan("aether/team", hours=360), *ran(300, 400)]
    assert segments(rows) == [(0, "aether/pro", 0, 360), (1, "aether/team", 360, 720)]
    assert [one.running_ms for one in used(rows)] == [60 * HOUR, 40 * HOUR]


def test_a_change_inside_an_hour_is_where_it_was_made():
    first, second = used([plan(), plan("aether/team", hours=10.25), *ran(10, 11)])
    assert (first.running_ms, second.running_ms) == (HOUR // 4, HOUR - HOUR // 4)


def test_the_same_terms_recorded_again_change_nothing():
    assert segments([plan(), plan(hours=100), plan(hours=100), plan(hours=300)]) == [(0, "aether/pro", 0, 720)]


def test_a_tenant_that_came_in_mid_month_has_a_segment_from_then_on():
    assert segments([plan(hours=100)]) == [(0, "aether/pro", 100, 720)]


def test_a_suspended_tenant_stays_on_its_plan_and_one_that_leaves_does_not():
    suspended = [plan(), plan(hours=100, state="suspended")]
    assert segments(suspended) == [(0, "aether/pro", 0, 720)]
    assert segments([*suspended, plan(hours=200, state="offboarding")]) == [(0, "aether/pro", 0, 200)]
    came_back = [plan(), plan(hours=100, state="offboarding"), plan(hours=300)]
    assert segments(came_back) == [(0, "aether/pro", 0, 100), (1, "aether/pro", 300, 720)]


def test_a_change_after_the_period_is_of_the_next_one():
    assert segments([plan(), plan("aether/team", hours=720)]) == [(0, "aether/pro", 0, 720)]


def test_a_tenant_without_use_has_a_segment_of_nothing():
    (one,) = used([plan()])
    assert (one.running_ms, one.active_hours, dict(one.counters), one.end) == (0, 0, {}, NOVEMBER.end)


def test_use_without_a_plan_is_not_billed_to_anybody():
    assert used(ran(2, 5)) == []
    assert [one.running_ms for one in used([plan(hours=4), *ran(2, 5)])] == [HOUR]


def test_terms_are_those_recorded_and_not_those_of_todays_file():
    (one,) = used([plan(), {**plan(), "tenant": "zeta", "at": at(-3)}][:1])
    assert one.plan.price == 20
    assert one.plan.app == ""
