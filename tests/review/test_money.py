"""Bills replayed under other files: each kind of change alone, to the cent."""

from dataclasses import replace
from decimal import Decimal

import pytest

from rowhouse.review.money_concern import concerned, wanted
from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.model import Pack, Tier
from tests.review.money_support import BOOK, acme, bills, fleet_of, instance, lots_of, meter, money, month_of, plan, quiet, row, with_plan
from tests.usage.rating_support import DAY, HOUR, NOVEMBER, lot, plan_of, shipped, used
from tests.usage.test_golden_bills import RATED

BEFORE = fleet_of(acme())
DEARER = plan(price=Decimal("24.00"))


@pytest.mark.parametrize(("segment", "lines"), RATED, ids=[segment.plan.ref for segment, _ in RATED])
def test_the_golden_bills_stand_on_both_sides_of_a_change_that_changes_nothing(segment, lines):
    fleet = replace(shipped(), tenants=(acme(plan=segment.plan),))
    lots = lots_of(lot()) if segment.plan.name == "starter" else {}
    found = money(fleet, fleet, month=month_of({"acme": [segment]}, lots=lots), full=True)
    total = sum(map(Decimal, lines.values()), Decimal("0.00"))
    assert bills(found) == (f"{total:.2f}", f"{total:.2f}")
    assert found.is_nothing


def golden(ref: str, **changes):
    """A shipped plan with another base price."""
    return replace(plan_of(ref), **changes)


@pytest.mark.parametrize(("segment", "lines"), RATED, ids=[segment.plan.ref for segment, _ in RATED])
def test_a_dearer_base_price_adds_itself_to_each_golden_bill(segment, lines):
    before = replace(shipped(), tenants=(acme(plan=segment.plan),))
    after = with_plan(before, golden(segment.plan.ref, price=segment.plan.price + Decimal("3.00")))
    lots = lots_of(lot()) if segment.plan.name == "starter" else {}
    found = money(before, after, month=month_of({"acme": [segment]}, lots=lots))
    assert row(found).change == Decimal("3.00")


def test_every_segment_of_a_month_is_rated_with_the_new_plan_of_its_name():
    """Pro to Team at half time is 36.00; both dearer by 10.00 it is 5.00 more for each half."""
    middle = NOVEMBER.start + 15 * DAY
    pro, team = plan_of("aether/pro"), plan_of("aether/team")
    before = replace(shipped(), tenants=(acme(plan=team),))
    after = with_plan(with_plan(before, replace(pro, price=Decimal("30.00"))), replace(team, price=Decimal("60.00")))
    first, second = used(pro, end=middle, running=110 * HOUR), used(team, start=middle, segment=1, running=240 * HOUR)
    assert bills(money(before, after, first, second)) == ("36.00", "46.00")


def test_a_tenant_that_its_file_moves_has_its_use_rated_with_the_plan_it_goes_to():
    pro, team = plan_of("aether/pro"), plan_of("aether/team")
    before, after = (replace(shipped(), tenants=(acme(plan=one),)) for one in (pro, team))
    assert bills(money(before, after, quiet(hours=212.5, terms=pro))) == ("21.25", "50.00")


def test_use_on_a_plan_that_was_left_since_is_rated_on_the_present_one_and_this_is_said():
    free, pro = plan_of("aether/free"), plan_of("aether/pro")
    before = replace(shipped(), tenants=(acme(plan=pro),))
    after = with_plan(before, replace(pro, price=Decimal("25.00")))
    found = money(before, after, quiet(hours=10, terms=free))
    assert bills(found) == ("20.00", "25.00")
    assert "it was on aether/free in 2026-11: its use is rated on its present plan" in row(found).notes


def test_a_plan_that_no_file_has_any_more_is_rated_as_it_was_recorded_and_this_is_said():
    middle = NOVEMBER.start + 15 * DAY
    gone = plan(name="old", price=Decimal("10.00"))
    first, second = used(gone, end=middle), used(plan(), start=middle, segment=1)
    found = money(BEFORE, with_plan(BEFORE, DEARER), first, second)
    assert bills(found) == ("15.00", "17.00")
    assert any("aether/old" in note and "rated as recorded" in note for note in row(found).notes)


def test_a_plan_removed_with_its_last_tenants_moved_is_rated_with_the_plan_they_go_to():
    old, new = plan(name="old", price=Decimal("10.00")), plan()
    before, after = fleet_of(acme(plan=old), plans=[new]), fleet_of(acme(plan=new))
    assert bills(money(before, after, quiet(terms=old))) == ("10.00", "20.00")


def test_what_nobody_counted_is_said_and_not_taken_for_nothing():
    counted = meter(
        name="images", kind="counter", unit="image", rounding=None, counter="images", included=Decimal(0), price=Decimal("0.10")
    )
    found = money(BEFORE, with_plan(BEFORE, plan(meters=(*plan().meters, counted))), quiet())
    assert any(note.startswith("after: nothing was counted for images in 2026-11") for note in row(found).notes)


def test_a_meter_of_another_name_for_the_same_counter_has_its_counts():
    old = meter(name="images", kind="counter", unit="image", rounding=None, counter="pictures", included=Decimal(0), price=Decimal("0.10"))
    before = fleet_of(acme(plan=plan(meters=(old,))))
    after = with_plan(before, plan(meters=(replace(old, name="renders", price=Decimal("0.20")),)))
    found = money(before, after, quiet(terms=plan(meters=(old,)), counters={"images": {NOVEMBER.start: 7}}))
    assert (bills(found), row(found).notes) == (("20.70", "21.40"), ())


def test_tiers_and_a_minimum_of_the_new_plan_count():
    tiers = (Tier(Decimal(50), Decimal("0.20")), Tier(None, Decimal("0.05")))
    changed = plan(meters=(meter(included=Decimal(0), price=None, tiers=tiers),), minimum=Decimal("40.00"))
    found = money(BEFORE, with_plan(BEFORE, changed), quiet(hours=100))
    assert bills(found) == ("20.00", "40.00")  # 20.00 + 50 * 0.20 + 50 * 0.05 = 32.50, and what is missing to 40.00


def test_a_pack_bought_in_the_month_costs_and_holds_what_the_new_catalog_says():
    starter = plan_of("llamasketch/starter")
    before = replace(shipped(), tenants=(acme(plan=starter),))
    pack = Pack("credits-500", "generations", 100, Decimal("2.00"), None)
    catalogs = tuple(
        replace(one, packs=(pack,), plans=tuple(replace(own, packs=(pack,)) if own.packs else own for own in one.plans))
        if one.id == "llamasketch"
        else one
        for one in before.catalogs
    )
    after = replace(before, catalogs=catalogs, tenants=(acme(plan=replace(starter, packs=(pack,))),))
    month = month_of({"acme": [used(starter, counters={"generations": {NOVEMBER.start + HOUR: 2150}})]}, lots=lots_of(lot()))
    found = money(before, after, month=month)
    assert bills(found) == ("13.00", "10.00")
    assert [(one.meter, one.what) for one in found.crossings] == [("generations", "reaches")]  # fifty more than the smaller pack holds


def test_a_pack_bought_before_the_month_keeps_what_it_held():
    starter = plan_of("llamasketch/starter")
    before = replace(shipped(), tenants=(acme(plan=starter),))
    pack = Pack("credits-500", "generations", 100, Decimal("2.00"), None)
    catalogs = tuple(replace(one, packs=(pack,)) if one.id == "llamasketch" else one for one in before.catalogs)
    month = month_of(
        {"acme": [used(starter, counters={"generations": {NOVEMBER.start + HOUR: 2150}})]},
        lots=lots_of(lot(at=NOVEMBER.start - DAY, left=200)),
    )
    found = money(before, replace(before, catalogs=catalogs), month=month)
    assert bills(found) == ("8.00", "8.00")
    assert found.is_nothing


def test_another_currency_is_not_compared_and_blocks_without_the_label():
    after = with_plan(BEFORE, plan(currency="eur"))
    found = money(BEFORE, after, quiet(), guardrails=Guardrails())
    assert row(found).change is None
    assert [(one.currency, str(one.revenue_before), str(one.revenue_after)) for one in found.totals] == [
        ("eur", "0.00", "20.00"),
        ("usd", "20.00", "0.00"),
    ]
    assert "other currency" in found.blocks[0]


def test_a_larger_machine_costs_what_the_book_says_for_the_same_hours():
    after = fleet_of(acme(instances=(instance(memory_mb=1024),)))
    found = row(money(BEFORE, after, quiet(hours=720)))
    assert found.before is not None
    assert found.after is not None
    month = BOOK.fly.other_region_markup
    assert found.cost_change == (BOOK.fly.memory_gb_month / 2 * month).quantize(Decimal("0.01"))
    assert found.change == 0


def test_a_larger_volume_costs_more_and_is_billed_where_the_plan_bills_it():
    volumes = plan(
        meters=(meter(name="volume_gb", kind="volume_gb", unit="GB-month", rounding=None, included=Decimal(0), price=Decimal("0.50")),)
    )
    before = fleet_of(acme(plan=volumes))
    after = fleet_of(acme(plan=volumes, instances=(instance(volume_gb=5),)))
    found = money(before, after, quiet(terms=volumes, volume=1))
    assert bills(found) == ("20.50", "22.50")
    assert [side.parts["volumes"] for side in (row(found).before, row(found).after)] == ["0.15", "0.75"]


def test_a_docker_host_has_no_vendors_price_and_this_is_said():
    after = fleet_of(acme(instances=(instance(host="docker", region="local"),)))
    found = money(BEFORE, after, quiet(hours=720))
    assert row(found).after.parts["machines"] == "0.00"
    assert any("Docker" in words for words in found.assumed)


def test_railway_is_priced_by_its_own_group_of_the_book():
    after = fleet_of(acme(instances=(instance(host="railway", region="us-west2"),)))
    found = row(money(BEFORE, after, quiet(hours=720)))
    assert found.after.parts["machines"] == str((BOOK.railway.cpu_month + BOOK.railway.memory_gb_month / 2).quantize(Decimal("0.01")))


def test_an_instance_that_is_taken_away_costs_nothing_any_more():
    two = fleet_of(acme(instances=(instance(), instance(name="lab", hostname="lab"))))
    month = month_of({"acme": [quiet()]})
    lab = [replace(one, instance="lab") for one in (*month.machines["acme"], *month.volumes["acme"])]
    month = replace(month, machines={"acme": [*month.machines["acme"], lab[0]]}, volumes={"acme": [*month.volumes["acme"], lab[1]]})
    there, back = row(money(two, BEFORE, month=month)), row(money(BEFORE, two, month=month))
    assert there.cost_change == -back.cost_change < 0


def test_a_new_instance_of_a_replayed_tenant_is_an_estimated_part_of_the_cost():
    two = fleet_of(acme(instances=(instance(), instance(name="lab", hostname="lab"))))
    found = row(money(BEFORE, two, quiet()))
    assert found.basis == "replayed"
    assert found.after.guessed == found.cost_change > 0
    assert any("lab did not exist in 2026-11" in note for note in found.notes)


def test_the_fifty_first_seat_makes_everybodys_seats_cost():
    people = tuple(f"p{number}@acme.example" for number in range(48))
    other = acme(id="birch", members=("b@birch.example",), instances=(instance(hostname="birch"),))
    before, after = fleet_of(acme(members=people[:47]), other), fleet_of(acme(members=(*people, "x@y.example", "y@y.example")), other)
    found = money(before, after, quiet(), quiet("birch"))
    assert (found.seats_before.cost, found.seats_after.people, found.seats_after.cost) == (Decimal(0), 51, Decimal(357))
    assert row(found, "birch").cost_change == Decimal("7.00")
    assert row(found).cost_change == Decimal("350.00")


def test_stripe_takes_its_share_of_the_new_bill():
    found = row(money(BEFORE, with_plan(BEFORE, plan(price=Decimal("120.00"))), quiet()))
    assert found.cost_change == Decimal("100.00") * BOOK.stripe.billing_percent / 100


def test_the_plans_own_cost_of_a_unit_is_that_of_each_side():
    counted = meter(
        name="sprints", kind="counter", unit="sprint", rounding=None, counter="sprints", included=None, beyond="unlimited", price=None
    )
    before = fleet_of(acme(plan=plan(meters=(counted,))))
    after = with_plan(before, plan(meters=(replace(counted, unit_cost=Decimal("0.75")),)))
    found = money(before, after, quiet(terms=plan(meters=(counted,)), counters={"sprints": {NOVEMBER.start: 4}}))
    assert row(found).cost_change == Decimal("3.00")
    assert [one.tenant for one in found.dearer] == ["acme"]


def test_a_new_tenant_begins_with_its_list_price_and_the_mean_of_its_plan():
    birch = acme(id="birch", instances=(instance(hostname="birch"),))
    found = money(BEFORE, fleet_of(acme(), birch), quiet(hours=120))
    new = row(found, "birch")
    assert (new.basis, new.before, new.after.bill) == ("estimated", None, Decimal("20.00"))
    assert "assumed: each instance runs 120 hours, the mean of 1 tenant of aether/pro in 2026-11" in new.notes
    assert [one.tenant for one in found.begins] == ["birch"]
    assert "acme" not in {one.tenant for one in found.rows}


def test_without_any_ledger_the_included_hours_are_assumed_and_with_none_included_a_quarter():
    found = money(fleet_of(), BEFORE)
    assert "assumed: each instance runs 200 hours, what the plan includes by instance" in row(found).notes
    unlimited = plan(meters=(meter(included=None, beyond="unlimited", price=None),))
    found = money(fleet_of(), fleet_of(acme(plan=unlimited)))
    assert any("180 hours, a quarter of the time" in note for note in row(found).notes)


def test_what_nothing_stops_is_assumed_to_run_all_the_time_and_billed_for_it():
    always = plan(lifecycle=replace(plan().lifecycle, autostop="off"))
    found = money(fleet_of(), fleet_of(acme(plan=always)))
    assert row(found).after.bill == Decimal("20.00") + (720 - 200) * Decimal("0.10")


def test_a_tenant_that_leaves_has_no_bill_and_keeps_its_volume():
    found = money(BEFORE, fleet_of(acme(state="offboarding")), quiet(hours=720))
    after = row(found).after
    assert (after.bill, after.parts["machines"], after.parts["volumes"]) == (Decimal(0), "0.15", "0.15")  # 1 GB of root, 1 GB of volume
    assert [one.tenant for one in found.ends] == ["acme"]
    assert not found.losers
    assert not found.winners


def test_a_purged_tenant_costs_nothing():
    found = money(fleet_of(acme(state="offboarding")), fleet_of(acme(state="purge")), quiet(hours=720))
    assert row(found).after.cost == 0


def test_who_reaches_a_cap_and_who_begins_to_pay_are_named():
    capped = plan(meters=(meter(included=Decimal(90), beyond="refuse", price=None),))
    found = money(BEFORE, with_plan(BEFORE, capped), quiet())
    assert [(one.tenant, one.meter, one.what, one.words) for one in found.crossings] == [
        ("acme", "running_hours", "reaches", "100 of 90 hour"),
    ]
    paying = money(BEFORE, with_plan(BEFORE, plan(meters=(meter(included=Decimal(90)),))), quiet())
    assert [one.what for one in paying.crossings] == ["starts-paying"]


def test_only_those_concerned_are_looked_at_unless_all_are_asked_for():
    birch = acme(id="birch", plan=plan(name="team"), instances=(instance(hostname="birch"),))
    before = fleet_of(acme(), birch)
    after = with_plan(before, DEARER)
    segments = (quiet(), quiet("birch", terms=birch.plan))
    assert [one.tenant for one in money(before, after, *segments).rows] == ["acme"]
    assert [one.tenant for one in money(before, after, *segments, full=True).rows] == ["acme", "birch"]
    assert (concerned(before, after), concerned(before, before)) == (frozenset({"acme"}), frozenset())
    assert wanted(before, after).plans == {"aether/pro"}


def test_a_month_that_was_read_for_others_is_not_taken_for_one_without_use():
    month = replace(month_of({"birch": [quiet("birch")]}), covers=frozenset({"birch"}))
    found = money(BEFORE, with_plan(BEFORE, DEARER), month=month)
    assert (found.rows, found.unread) == ((), 1)


def test_one_tenant_that_cannot_be_rated_stops_nobody():
    birch = acme(id="birch", instances=(instance(hostname="birch"),))
    before = fleet_of(acme(), birch)
    odd = lot(size=5, left=9)
    month = month_of({"acme": [quiet()], "birch": [quiet("birch")]}, lots=lots_of(odd))
    found = money(before, with_plan(before, DEARER), month=month)
    assert ([one.tenant for one in found.rows], list(found.failed)) == (["birch"], ["acme"])
    assert any("acme" in words for words in found.judgement.warnings)


def test_a_tenant_that_moves_to_another_cell_is_found_in_the_one_where_it_was():
    months = {"main": month_of({"acme": [quiet()]}), "west": month_of({})}
    found = money(BEFORE, fleet_of(acme(cell="west", plan=DEARER)), months=months)
    assert (row(found).basis, bills(found)) == ("replayed", ("20.00", "24.00"))


def test_what_belongs_to_no_tenant_is_told_apart_and_only_when_all_was_read():
    month = month_of({"acme": [quiet()]})
    edge = replace(month.machines["acme"][0], tenant="edge", ran_ms=NOVEMBER.length)
    month = replace(month, machines={**month.machines, "edge": [edge]}, writes=2_000_000)
    assert money(BEFORE, BEFORE, month=month, full=True).shared > BOOK.object_storage.million_writes * 2
    assert money(BEFORE, BEFORE, month=replace(month, covers=frozenset({"acme"})), full=True).shared is None
