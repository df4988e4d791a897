"""What holds of a change's money whatever was used and whatever the plans are."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rowhouse.review.money import money_of
from rowhouse.review.money_model import Money
from rowhouse.spec.load import load_fleet
from rowhouse.usage.model import SegmentUsage
from tests.review.money_support import BOOK, LOOSE, acme, fleet_of, instance, money, month_of
from tests.usage.rating_support import HOUR, NOVEMBER, ROOT, lot, plan_of, used
from tests.usage.rating_worlds import World, plans, worlds

SIZES = st.sampled_from([(256, 1, "fra"), (512, 1, "ams"), (1024, 5, "fra"), (2048, 10, "iad")])


def of_tenant(slug: str, world: World):
    """A world's month as that of a tenant of this name, all of one period."""
    length = NOVEMBER.length
    found: list[SegmentUsage] = []
    for one in world.segments:
        shift = NOVEMBER.start - world.period.start
        start, end = one.start + shift, min(one.end + shift, NOVEMBER.start + length)
        if start < end:
            counters = {name: {hour + shift: n for hour, n in hours.items() if hour + shift < end} for name, hours in one.counters.items()}
            found.append(replace(one, tenant=slug, start=start, end=end, counters=counters))
    return found


def tenant_of(slug: str, plan, size=(512, 1, "fra")):
    memory, volume, region = size
    held = instance(hostname=slug, memory_mb=memory, volume_gb=volume, region=region)
    return acme(id=slug, plan=plan, instances=(held,), members=(f"ops@{slug}.example",))


@st.composite
def changes(draw):
    """Up to three tenants with a month each, on plans that are others before and after, at other sizes; the third has no month."""
    months, before, after = {}, [], []
    for slug in draw(st.lists(st.sampled_from(["acme", "birch", "cedar"]), min_size=1, max_size=3, unique=True)):
        world = draw(worlds())
        segments = of_tenant(slug, world)
        old = replace(world.segments[-1].plan, name=f"plan-{slug}")
        if slug != "cedar":
            months[slug] = [replace(one, plan=old if one.plan == world.segments[-1].plan else one.plan) for one in segments]
        new = draw(st.just(old) | plans(f"plan-{slug}"))
        before.append(tenant_of(slug, old, draw(SIZES)))
        after.append(tenant_of(slug, new, draw(SIZES)))
    return fleet_of(*before), fleet_of(*after), month_of({slug: held for slug, held in months.items() if held})


def figures(found: Money, *, swapped: bool = False):
    """Every amount of every row: before and after, or the other way about."""
    sides = [(row.tenant, row.basis, *((row.after, row.before) if swapped else (row.before, row.after))) for row in found.rows]
    return [
        (slug, basis, *(None if side is None else (side.plan, dict(side.revenue), side.cost, dict(side.parts)) for side in (one, other)))
        for slug, basis, one, other in sides
    ]


@settings(deadline=None, max_examples=60)
@given(changes())
def test_the_same_files_give_exactly_nothing_through_a_full_replay(change):
    before, _, month = change
    found = money(before, replace(before), month=month, full=True)
    assert len(found.rows) == len(before.tenants)
    assert found.is_nothing
    assert all(one.revenue_before == one.revenue_after and one.cost_before == one.cost_after for one in found.totals)
    assert (found.blocks, found.judgement.warnings, found.winners, found.losers, found.crossings) == ((), (), (), (), ())


@settings(deadline=None, max_examples=60)
@given(changes())
def test_sides_exchanged_exchange_every_figure(change):
    before, after, month = change
    there, back = (money(one, other, month=month, full=True) for one, other in ((before, after), (after, before)))
    assert figures(there) == figures(back, swapped=True)
    assert [row.change for row in there.rows] == [None if row.change is None else -row.change for row in back.rows]


@settings(deadline=None, max_examples=40)
@given(changes())
def test_rows_add_up_to_the_totals(change):
    before, after, month = change
    found = money(before, after, month=month, full=True)
    for at, name in enumerate(("before", "after")):
        sides = [side for row in found.rows if (side := (row.before, row.after)[at]) is not None]
        assert sum(getattr(one, f"revenue_{name}") for one in found.totals) == sum(sum(side.revenue.values()) for side in sides)
        assert sum(getattr(one, f"cost_{name}") for one in found.totals) == sum(side.cost for side in sides)


@settings(deadline=None, max_examples=40)
@given(changes())
def test_the_order_of_tenants_changes_nothing(change):
    before, after, month = change
    turned = [replace(fleet, tenants=fleet.tenants[::-1]) for fleet in (before, after)]
    months = replace(month, used=dict(reversed(month.used.items())))
    assert money(before, after, month=month, full=True) == money(*turned, month=months, full=True)


@settings(deadline=None, max_examples=40)
@given(changes())
def test_what_is_looked_at_for_the_change_alone_has_all_that_changes(change):
    before, after, month = change
    some, every = (money(before, after, month=month, full=full) for full in (False, True))
    looked = {row.tenant for row in some.rows}
    assert some.rows == tuple(row for row in every.rows if row.tenant in looked)
    assert not [row for row in every.rows if row.tenant not in looked and (row.change or row.cost_change)]


@settings(deadline=None, max_examples=60)
@given(changes(), st.integers(0, 5000), st.integers(0, 5000))
def test_bills_of_whole_months_are_linear_in_the_base_price(change, first, second):
    before, _, _ = change
    plain = [replace(one, plan=replace(one.plan, minimum=Decimal(0))) for one in before.tenants]
    before = fleet_of(*plain)
    month = month_of({one.id: [used(one.plan, tenant=one.id, running=30 * HOUR)] for one in plain})

    def dearer(cents: int):
        amount = Decimal(cents).scaleb(-2)
        return fleet_of(*(replace(one, plan=replace(one.plan, price=one.plan.price + amount)) for one in plain))

    both, one, other = (money(before, dearer(cents), month=month) for cents in (first + second, first, second))
    for slug in {row.tenant for row in both.rows}:
        changed = [sum((row.change or Decimal(0) for row in found.rows if row.tenant == slug), Decimal(0)) for found in (both, one, other)]
        assert changed[0] == changed[1] + changed[2] == Decimal(first + second).scaleb(-2)


def reversed_keys(value):
    """The same document with the keys of every mapping in the other order."""
    if isinstance(value, dict):
        return {key: reversed_keys(held) for key, held in reversed(value.items())}
    return [reversed_keys(held) for held in value] if isinstance(value, list) else value


def rewritten(root: Path, target: Path) -> Path:
    """The shipped files without comments, every key elsewhere, in flow style, unit prices with more or fewer zeros."""
    for folder in ("plans", "apps", "tenants"):
        (target / folder).mkdir()
        for path in sorted((root / folder).glob("*.yaml")):
            text = path.read_text().replace('"0.10"', '"0.1000"').replace('"0.50"', '"0.5"').replace('"0.75"', '"0.750"')
            made = yaml.safe_dump(reversed_keys(yaml.safe_load(text)), sort_keys=False, default_flow_style=folder == "tenants")
            (target / folder / path.name).write_text(f"# written otherwise\n{made}")
    return target


def test_shipped_catalogs_that_are_only_written_otherwise_give_exactly_nothing(tmp_path: Path):
    before, after = load_fleet(ROOT), load_fleet(rewritten(ROOT, tmp_path))
    assert (tmp_path / "plans/aether.yaml").read_text().index("plans:") < (tmp_path / "plans/aether.yaml").read_text().index(
        "title: aether"
    )
    counts = {"generations": {NOVEMBER.start + 5 * HOUR: 2150}}
    segments = {
        one.id: [used(one.plan, tenant=one.id, running=230 * HOUR, storage=12, active_hours=4, counters=counts)] for one in before.tenants
    }
    starter = plan_of("llamasketch/starter")
    lots = {one.id: [lot()] for one in before.tenants if one.plan.ref == starter.ref}
    found = money_of(before, after, {"main": month_of(segments, lots=lots)}, BOOK, LOOSE, full=True)
    assert {row.tenant for row in found.rows} == {one.id for one in before.tenants}
    assert found.is_nothing
    assert any(row.before.bill for row in found.rows)
    assert figures(found) == figures(found, swapped=True)
