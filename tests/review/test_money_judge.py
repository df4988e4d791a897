"""What the project's limits say to a change's money."""

from decimal import Decimal

import pytest

from rowhouse.review.money_judge import CHANGES_BILLS, percent_words
from rowhouse.spec.guardrails import Guardrails
from tests.review.money_support import acme, fleet_of, instance, meter, money, plan, quiet, row, with_plan

STRICT = Guardrails()
BEFORE = fleet_of(acme())


def to(price: str, *, labels=(), guardrails=STRICT):
    """The quiet plan of 20.00 at another price."""
    return money(BEFORE, with_plan(BEFORE, plan(price=Decimal(price))), quiet(), labels=labels, guardrails=guardrails)


@pytest.mark.parametrize(("price", "blocks"), [("25.00", 0), ("25.01", 1), ("15.00", 0), ("14.99", 1), ("20.00", 0)])
def test_a_bill_may_change_by_the_limit_and_not_by_a_cent_more(price, blocks):
    assert len(to(price).blocks) == blocks


def test_the_sentence_names_tenant_amounts_limit_and_label():
    [words] = to("30.00").blocks
    assert words.startswith("1 bill changes by more than 25 % (acme: 20.00 USD to 30.00 USD, +50.0 %).")
    assert "`bill_change_percent` in policies/settings.yaml" in words
    assert f"`{CHANGES_BILLS}`" in words


def test_the_label_lifts_it_and_a_warning_stays():
    found = to("30.00", labels=["changes-bills"])
    assert found.blocks == ()
    assert "The label `changes-bills` says that this is meant." in found.judgement.warnings[0]
    assert to("30.00", labels=["interrupts-many"]).blocks


def test_the_limit_is_the_one_in_the_settings():
    assert to("30.00", guardrails=Guardrails(bill_change_percent=50)).blocks == ()
    assert to("20.01", guardrails=Guardrails(bill_change_percent=0)).blocks != ()


def test_from_nothing_to_something_is_over_any_percentage():
    free = fleet_of(acme(plan=plan(price=Decimal("0.00"))))
    found = money(free, with_plan(free, plan(price=Decimal("0.01"))), quiet(), guardrails=Guardrails(bill_change_percent=100_000))
    assert percent_words(row(found)) == "from nothing"
    assert len(found.blocks) == 1


def test_a_bill_by_an_estimate_is_judged_too():
    found = money(BEFORE, with_plan(BEFORE, plan(price=Decimal("30.00"))), guardrails=STRICT)
    assert (row(found).basis, len(found.blocks)) == ("estimated", 1)


def test_who_begins_or_leaves_is_not_judged_by_it():
    assert money(fleet_of(), BEFORE, guardrails=STRICT).blocks == ()
    assert money(BEFORE, fleet_of(), quiet(), guardrails=STRICT).blocks == ()
    assert money(BEFORE, fleet_of(acme(state="offboarding")), quiet(), guardrails=STRICT).blocks == ()


HUGE = fleet_of(acme(instances=(instance(memory_mb=16384, cpus=8),)))


def test_a_customer_that_brought_money_and_costs_more_after_is_refused():
    found = money(BEFORE, HUGE, quiet(hours=720, terms=plan(meters=(meter(included=None, beyond="unlimited", price=None),))))
    assert row(found).before.margin("usd") > 0 > row(found).after.margin("usd")
    [words] = found.judgement.warnings
    [refused] = money(BEFORE, HUGE, quiet(hours=500), guardrails=Guardrails(bill_change_percent=1000)).blocks
    assert refused.startswith("1 tenant that brought money costs more than it brings (acme: 50.00 USD of revenue, ")
    assert "The settings allow it" in words


def test_the_settings_can_make_a_warning_of_it():
    found = money(BEFORE, HUGE, quiet(hours=500), guardrails=Guardrails(negative_margin="warn"))
    assert (found.blocks, len(found.judgement.warnings)) == ((), 1)


def test_by_an_estimate_it_is_refused_too_and_the_label_lifts_that():
    always = plan(meters=(meter(included=None, beyond="unlimited", price=None),))
    before = fleet_of(acme(plan=always))
    after = fleet_of(acme(plan=always, instances=HUGE.tenants[0].instances))
    found = money(before, after, guardrails=STRICT)
    [words] = found.blocks
    assert words.startswith("By an estimate, 1 tenant that brought money costs more than it brings")
    for lifted in (
        money(before, after, guardrails=STRICT, labels=["changes-bills"]),
        money(before, after, guardrails=Guardrails(negative_margin="warn")),
    ):
        assert lifted.blocks == ()
        assert lifted.judgement.warnings[0].startswith("By an estimate, 1 tenant that brought money costs more than it brings")


def test_who_begins_at_a_loss_on_a_paid_plan_is_told_and_on_a_free_one_not():
    found = money(fleet_of(), HUGE, guardrails=STRICT)
    assert found.blocks == ()
    assert found.judgement.warnings[0].startswith(
        "By an estimate, 1 new tenant on a paid plan costs more than it brings (acme: 20.00 USD of"
    )
    free = fleet_of(acme(plan=plan(price=Decimal("0.00"), meters=()), instances=HUGE.tenants[0].instances))
    assert money(fleet_of(), free, guardrails=STRICT).judgement.warnings == ()


def test_a_loss_that_grows_is_a_warning():
    free = fleet_of(acme(plan=plan(price=Decimal("0.00"), meters=())))
    after = fleet_of(acme(plan=free.tenants[0].plan, instances=HUGE.tenants[0].instances))
    found = money(free, after, quiet(hours=500, terms=free.tenants[0].plan), guardrails=STRICT)
    assert found.blocks == ()
    assert found.judgement.warnings[0].startswith("1 tenant at a loss already: it grows (acme:")


def test_many_are_counted_and_five_are_named():
    slugs = [f"t{number}" for number in range(8)]
    before = fleet_of(*(acme(id=slug, instances=(instance(hostname=slug),)) for slug in slugs))
    after = with_plan(before, plan(price=Decimal("40.00")))
    [words] = money(before, after, *(quiet(slug) for slug in slugs), guardrails=STRICT).blocks
    assert words.startswith("8 bills change by more than 25 % (t0: ")
    assert "; and 3 more)" in words
