"""A change of plan as a person reads it: what was paid, what will be, instead of the ids of prices at Stripe.

Old terms come from the state, where the subscription has them as they were applied (or the stack has its own prices, with their amounts at
that time), new ones from the files. Where the state has neither, the old plan's terms are those in the files too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rowhouse.review.changes import Change, Outcome, Row, inside, tenant_of
from rowhouse.spec import Fleet
from rowhouse.spec.prices import BASE, rate_words, terms_words
from rowhouse.spec.terms import TermsError, plan_from

__all__ = ["in_plain_prices"]

_SUBSCRIPTION = "rowhouse:stripe:Subscription"
_ITEM = re.compile(r"^items(\[|$)")
_PLAN = "metadata.plan"
_PRICE, _METERS = "terms.plan.price", "terms.plan.meters"
_NICKNAME = re.compile(r"^(?P<plan>\S+) (?P<meter>\S+)(?: \((?P<unit>\w+)\))?$")


def in_plain_prices(outcome: Outcome, fleet: Fleet, state: Mapping[str, Any]) -> Outcome:
    """The outcome with changed subscriptions told by plan and amount. `state` is the one before the run."""
    resources = list((state.get("deployment") or {}).get("resources") or [])
    inputs = {resource["urn"]: resource.get("inputs") or {} for resource in resources}
    prices = {
        key: resource["inputs"]
        for resource in resources
        if resource.get("type") == "rowhouse:stripe:Price"
        for key in (resource.get("id"), resource["inputs"].get("lookupKey"))
        if key
    }
    terms = {plan.ref: terms_words(plan) for catalog in fleet.catalogs for plan in catalog.plans}
    plans = {tenant.id: tenant.plan.ref for tenant in fleet.tenants}

    def told(change: Change) -> Change:
        plan = plans.get(tenant_of(change.urn, outcome.parents))
        if change.type != _SUBSCRIPTION or plan is None or not any(_ITEM.match(row[0]) or row[0] == _PLAN for row in change.diff):
            return change
        before = _paid(inputs.get(change.urn, {}), prices, terms)
        # Of the noted terms, what the plan's own row does not say: another plan says all of its terms.
        is_same = all(row[0] != _PLAN for row in change.diff)
        said = (_PRICE, _METERS) if is_same else ("terms.plan.",)
        rest = (each for row in change.diff if not _ITEM.match(row[0]) and row[0] != _PLAN for each in inside(row))
        return replace(change, told=(*_rows(before, terms[plan]), *(row for row in rest if not row[0].startswith(said))))

    outcome.changes = [told(change) for change in outcome.changes]
    return outcome


def _paid(subscription: Mapping[str, Any], prices: Mapping[str, Any], terms: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """A recorded subscription's terms by meter: as they were noted when they were applied, or those of its plan in the files with the
    amounts of the prices that it has.
    """
    try:
        return terms_words(plan_from(json.loads(subscription["terms"])["plan"]))
    except (KeyError, TypeError, ValueError, TermsError):
        pass
    plan = str((subscription.get("metadata") or {}).get("plan") or "")
    found = dict(terms.get(plan, {BASE: plan}))
    for item in subscription.get("items") or []:
        price = prices.get(str(item.get("price") or item.get("lookupKey")), {})
        name = _NICKNAME.match(str(price.get("nickname") or ""))
        if name is not None and name["unit"] != "cent":
            amount = rate_words(price["unitAmountDecimal"], price["currency"], name["unit"] or "month")
            found[name["meter"]] = f"{name['plan']} {amount}" if name["meter"] == BASE else amount
    return found


def _rows(before: Mapping[str, str], after: Mapping[str, str]) -> list[Row]:
    """What differs, the base price first; when nothing does, the prices were only made anew at Stripe."""
    rows: list[Row] = []
    for meter in sorted({*before, *after}, key=lambda meter: (meter != BASE, meter)):
        old, new = before.get(meter), after.get(meter)
        kind = "add" if old is None else "delete" if new is None else "update"
        if old != new:
            rows.append(("plan" if meter == BASE else meter, kind, old, new))
    return rows or [("plan", "same", before[BASE], after[BASE])]
