"""One tenant's usage as a customer sees it: plan, period, limits, usage with percent, history of past months with what they cost.

Does: put numbers of bills into the shape of a dashboard's address (`GET /billing/usage`). Does not: compute any (rate.py, limits.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.usage.bills import Context, entries_in, month_of
from rowhouse.usage.close_log import CLOSED, CloseLog
from rowhouse.usage.limits import Use, plain, uses_of
from rowhouse.usage.model import HOUR_MS, Bill, SegmentUsage, written_instant

__all__ = ["UnknownTenantError", "bill_for", "summary", "warnings_of"]

Month = Callable[[str], tuple[Sequence[Bill], Context]]
"""A month's bills, `2026-10`, as bills.py gives them."""

_CENTS: Final = Decimal("0.01")


class UnknownTenantError(RowhouseError):
    """The ledger has no plan of this tenant in this month."""


def bill_for(tenant: str, bills: Sequence[Bill], context: Context) -> Bill:
    """One tenant's bill. Raises: UnknownTenantError saying who has one, or why this tenant has none."""
    for bill in bills:
        if bill.tenant == tenant:
            return bill
    month = month_of(context.period.start)
    if tenant in context.failed:
        raise UnknownTenantError(f"{tenant} has no bill of {month}: {context.failed[tenant]}")
    if tenant in context.unplanned:
        raise UnknownTenantError(
            f"{tenant} has a file, but no plan was recorded for {month}. Run `rowhouse up`, then `rowhouse reconcile`."
        )
    known = sorted(context.usage)
    told = f"{did_you_mean(tenant, known)}Tenants then: {listed(known) if known else 'none'}."
    raise UnknownTenantError(f"{show(tenant)} had no plan in {month}. {told} Pick one, or another month.")


def summary(tenant: str, bills: Sequence[Bill], context: Context, history: Sequence[str], month: Month) -> dict[str, Any]:
    """The summary as a JSON document; quantities and money are decimal text.

    Args: history: earlier months to tell of, the latest first; those in which the tenant had no plan are left out.
    """
    bill = bill_for(tenant, bills, context)
    segments = context.usage[tenant]
    plan = segments[-1].plan
    uses = uses_of(bill, segments)
    watermark = context.fresh.watermark
    instances = _instances(context, tenant)
    return {
        "tenant": tenant,
        "plan": plan.ref,
        "title": plan.title,
        "period": {"start": written_instant(bill.period.start), "end": written_instant(bill.period.end)},
        "observed_until": None if watermark is None else written_instant(min(watermark, bill.period.end)),
        "limits": {
            **{_named(use): None if use.included is None else plain(use.included) for use in uses},
            "instances": plan.limits.instances,
        },
        "usage": {
            **{key: value for use in uses for key, value in _used(use).items()},
            "instances": instances,
        },
        "meters": [use.document() for use in uses],
        "credits_left": {meter: plain(left) for meter, left in bill.credits_left.items()},
        "warnings": warnings_of(uses),
        "cost": str(bill.total),
        "currency": bill.currency,
        "plan_changes": [
            {"plan": segment.plan.ref, "from": written_instant(segment.start), "until": written_instant(segment.end)}
            for segment in segments
        ]
        if len(segments) > 1
        else [],
        "history": [_past(bill, context, uses, plan_of=segments), *_history(tenant, history, month)],
    }


def warnings_of(uses: Sequence[Use]) -> list[str]:
    """What a customer should know, in sentences: the worst first."""
    found: list[tuple[Decimal, str]] = []
    for use in uses:
        name, percent = use.meter.replace("_", " "), use.percent or Decimal(0)
        each = "" if use.per == "period" else f" a {use.per}"
        if use.included is None or (not use.included and use.beyond == "bill"):
            continue
        of = f"{_short(use.included)} {use.unit}{'' if use.included == 1 else 's'}{each}"
        if use.refused:
            found.append((percent, f"{name}: all of {of} are used; {_short(use.refused)} more were refused."))
        elif percent >= 100 and use.beyond == "bill":
            found.append((percent, f"{name}: all of {of} are used; {_short(use.billed)} more cost {use.amount} so far."))
        elif percent >= 100:
            found.append((percent, f"{name}: all of {of} are used; more is refused."))
        elif use.warned is not None:
            found.append((percent, f"{name}: {percent} % of {of} are used."))
    return [text for _, text in sorted(found, key=lambda pair: (-pair[0], pair[1]))]


def _short(value: Decimal) -> str:
    return plain(value.quantize(_CENTS) if value != value.to_integral_value() else value)


def _named(use: Use) -> str:
    return use.meter if use.per == "period" else f"{use.meter}_per_{use.per}"


def _used(use: Use) -> dict[str, Any]:
    found: dict[str, Any] = {use.meter: plain(use.used)}
    if use.per != "period":
        found[f"{use.meter}_busiest_{use.per}"] = plain(use.busiest)
    return found | {f"{use.meter}_percent": None if use.percent is None else int(use.percent)}


def _instances(context: Context, tenant: str) -> int:
    rows = context.connection.execute("SELECT count(DISTINCT coalesce(instance, '')) FROM instance_spans WHERE tenant = ?", [tenant])
    return int(rows.fetchall()[0][0])


def _history(tenant: str, months: Sequence[str], month: Month) -> list[dict[str, Any]]:
    found = []
    for name in months:
        bills, context = month(name)
        segments = context.usage.get(tenant, ())
        found += [_past(bill, context, uses_of(bill, segments), plan_of=segments) for bill in bills if bill.tenant == tenant]
    return found


def _past(bill: Bill, context: Context, uses: Sequence[Use], *, plan_of: Sequence[SegmentUsage]) -> dict[str, Any]:
    """One month as a line: what was used over all its plans, and what it cost."""
    month = month_of(bill.period.start)
    running = sum(segment.running_ms for segment in plan_of)
    base = sum((line.amount for line in bill.lines if line.is_base), Decimal("0.00"))
    log = CloseLog.of(entries_in(context.connection, "kind = 'close' AND subject = ?", month))
    return {
        "month": month,
        "plan": plan_of[-1].plan.ref,
        "running_hours": plain((Decimal(running) / HOUR_MS).quantize(_CENTS)),
        **{
            use.meter: plain(sum((line.quantity for line in bill.lines if line.meter == use.meter), Decimal(0)))
            for use in uses
            if use.meter != "running_hours"
        },
        "overage_cost": str(bill.total - base),
        "cost": str(bill.total),
        "currency": bill.currency,
        "closed": log.states.get(month) in CLOSED,
    }
