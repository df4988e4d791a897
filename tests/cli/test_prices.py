"""A change of plan is told by plan and amount, not by ids of prices."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from rowhouse.cli.prices import in_plain_prices
from rowhouse.review.changes import Change, Outcome
from rowhouse.spec.model import Plan
from rowhouse.spec.prices import price_specs
from rowhouse.spec.terms import applied_text
from tests.review.test_changes import printed
from tests.support import catalog, fleet, free_plan, meter, plan, tenant

TENANT = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant::acme"
URN = "urn:pulumi:main::rowhouse::rowhouse:index:Tenant$rowhouse:stripe:Subscription::acme-billing-subscription"
PRO = plan()
TEAM = plan(name="team", price=Decimal("50.00"))


def state_of(paid: Plan, *registered: Plan, by_key: bool = False) -> dict[str, Any]:
    """Acme on a plan, and the prices that this stack registered."""
    specs = price_specs("rowhouse", paid)
    items = [{"lookupKey": spec.lookup_key} if by_key else {"price": f"price_{spec.lookup_key}"} for spec in specs]
    prices = [
        {
            "urn": f"urn::{spec.lookup_key}",
            "type": "rowhouse:stripe:Price",
            "id": f"price_{spec.lookup_key}",
            "inputs": {
                "nickname": spec.nickname,
                "unitAmountDecimal": spec.unit_amount_decimal,
                "currency": spec.currency,
                "lookupKey": spec.lookup_key,
            },
        }
        for one in registered
        for spec in price_specs("rowhouse", one)
    ]
    subscription = {"urn": URN, "type": "rowhouse:stripe:Subscription", "inputs": {"items": items, "metadata": {"plan": paid.ref}}}
    return {"deployment": {"resources": [*prices, subscription]}}


def told(state: dict[str, Any], wanted: Plan, *plans: Plan, rows: tuple[tuple[str, str, Any, Any], ...] = ()) -> list[str]:
    """What a person reads of Acme's subscription when its file says another plan."""
    diff = (("items[0].price", "update", "price_1", "price_2"), ("items[1]", "add", None, {"price": "price_3"}), *rows)
    changed = Change("update", URN, "rowhouse:stripe:Subscription", TENANT, diff)
    files = replace(fleet(tenant(plan=wanted)), catalogs=(catalog(*plans),))
    outcome = in_plain_prices(Outcome(changes=[changed], parents={URN: TENANT}), files, state)
    assert outcome.document()["changes"][0]["diff"][0]["before"] == "price_1"  # programs get what there is
    lines = printed(outcome)
    assert not any("price_" in line for line in lines)
    return [line.strip() for line in lines[2:-1]]


def test_another_plan_is_told_by_name_and_amount():
    rows = (("metadata.plan", "update", "aether/pro", "aether/team"), ("daysUntilDue", "update", 14, 30))
    assert told(state_of(PRO, PRO, TEAM), TEAM, PRO, TEAM, rows=rows) == [
        "plan: aether/pro 20.00 USD a month -> aether/team 50.00 USD a month",
        "daysUntilDue: 14 -> 30",
    ]


def test_another_price_of_the_same_plan_is_told_as_that():
    dearer = plan(price=Decimal("25.00"))
    assert told(state_of(PRO, PRO), dearer, dearer) == ["plan: aether/pro 20.00 USD a month -> aether/pro 25.00 USD a month"]


def test_another_rate_of_a_meter_is_told_and_one_that_is_gone_too():
    hourly = meter(price=Decimal("36.00"), rounding="second")
    builds = meter(name="builds", kind="counter", rounding=None, counter="builds", unit="build", price=Decimal("0.05"))
    old, new = plan(meters=(hourly, builds)), plan(meters=(replace(hourly, price=Decimal("72.00")),))
    assert told(state_of(old, old), new, new) == [
        "builds: 0.05 USD each (gone)",
        "running_hours: 0.01 USD a second -> 0.02 USD a second",
    ]


def test_a_way_to_a_free_plan_and_back():
    free = free_plan()
    assert told(state_of(PRO, PRO), free, PRO, free) == [
        "plan: aether/pro 20.00 USD a month -> aether/free 0.00 USD a month",
        "running_hours: 0.10 USD an hour (gone)",
    ]
    assert told(state_of(free, PRO), PRO, PRO, free) == [
        "plan: aether/free 0.00 USD a month -> aether/pro 20.00 USD a month",
        "running_hours: 0.10 USD an hour (new)",
    ]


def test_a_cell_without_the_catalog_knows_the_plans_from_the_files():
    assert told(state_of(PRO, by_key=True), TEAM, PRO, TEAM) == ["plan: aether/pro 20.00 USD a month -> aether/team 50.00 USD a month"]


def test_a_plan_that_is_in_no_file_any_more_is_told_by_what_stripe_has_and_else_by_name():
    assert told(state_of(PRO, PRO), TEAM, TEAM)[0] == "plan: aether/pro 20.00 USD a month -> aether/team 50.00 USD a month"
    assert told(state_of(PRO), TEAM, TEAM)[0] == "plan: aether/pro -> aether/team 50.00 USD a month"


def test_prices_made_anew_with_the_same_terms_are_told_as_that():
    assert told(state_of(PRO, PRO), PRO, PRO) == ["plan: aether/pro 20.00 USD a month (under a new price at Stripe)"]


def noted(state: str, plan: Plan) -> str:
    """The terms of a subscription, as the program notes them for the ledger."""
    return applied_text(tenant(plan=plan, state=state))


def test_the_terms_that_are_noted_beside_a_change_of_plan_are_not_told_twice():
    rows = (("metadata.plan", "update", "aether/pro", "aether/team"), ("terms", "update", noted("active", PRO), noted("suspended", TEAM)))
    assert told(state_of(PRO, PRO, TEAM), TEAM, PRO, TEAM, rows=rows) == [
        "plan: aether/pro 20.00 USD a month -> aether/team 50.00 USD a month",
        "terms.state: active -> suspended",
    ]
    dearer = plan(price=Decimal("25.00"), title="Pro, dearer")
    rows = (("terms", "update", noted("active", PRO), noted("active", dearer)),)
    assert told(state_of(PRO, PRO), dearer, dearer, rows=rows) == [
        "plan: aether/pro 20.00 USD a month -> aether/pro 25.00 USD a month",
        f"terms.plan.title: {PRO.title} -> Pro, dearer",
    ]


def test_other_changes_of_a_subscription_stay_as_they_are():
    change = Change("update", URN, "rowhouse:stripe:Subscription", TENANT, (("active", "update", True, False),))
    assert in_plain_prices(Outcome(changes=[change], parents={URN: TENANT}), fleet(tenant()), state_of(PRO, PRO)).changes == [change]
