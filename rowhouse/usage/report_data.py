"""The numbers of a report: one month of a whole fleet, as one document.

Does: put bills, use against limits, costs, gaps, freshness, pushes and the close together. Does not: draw (report.py), decide anything.
Every instant in the document is UTC with Z, every number that matters decimal text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any, Final

from rowhouse.spec.marks import EDGE
from rowhouse.spec.money import rounded
from rowhouse.usage.bills import Context, Freshness, entries_in, month_of
from rowhouse.usage.close_log import CloseLog
from rowhouse.usage.costs import NOT_COUNTED, Costs, costs_of
from rowhouse.usage.limits import plain, uses_of
from rowhouse.usage.model import HOUR_MS, Bill, written_instant
from rowhouse.usage.sent import sent_from_table
from rowhouse.usage.vendor_prices import Book

__all__ = ["CLOCK_MAX_S", "Problem", "problems_of", "report_data"]

CLOCK_MAX_S: Final = 300
"""By so much this machine's clock may differ from the vendors' before it is told."""
_INTERVALS: Final = 2
_DEFAULT_INTERVAL_MS: Final = HOUR_MS
_PASSES: Final = 50
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be: then the report says so at its top, and the exit code is 1."""

    rule: str
    text: str
    tenant: str | None = None

    def document(self) -> dict[str, str | None]:
        """As plain values."""
        return {"rule": self.rule, "tenant": self.tenant, "text": self.text}


def report_data(bills: Sequence[Bill], context: Context, book: Book, *, cell: str, now: int) -> dict[str, Any]:
    """The document. Args: now: what time it is (ms), by the best clock at hand; only freshness depends on it."""
    costs = costs_of(bills, context, book)
    hours = _hours(context)
    interval = _interval(context)
    month = month_of(context.period.start)
    billing = _billing(context, month)
    problems = [*problems_of(context, now=now, interval=interval), *_billing_problems(billing, month)]
    tenants = [_tenant(bill, context, costs, hours.get(bill.tenant, _NO_HOURS), book) for bill in bills]
    fresh = context.fresh
    return {
        "cell": cell,
        "period": month,
        "start": written_instant(context.period.start),
        "end": written_instant(context.period.end),
        "now": written_instant(now),
        "observed_until": None if fresh.watermark is None else written_instant(fresh.watermark),
        "is_over": fresh.watermark is not None and fresh.watermark >= context.period.end,
        "ok": not problems,
        "problems": [problem.document() for problem in problems],
        "currency": book.currency,
        "totals": _totals(tenants, hours, costs, book),
        "plans": _plans(tenants, book),
        "tenants": tenants,
        "days": _days(context),
        "shared_cost": {name: cost.document() for name, cost in sorted(costs.shared.items())}
        | {"ledger": {"total": str(rounded(costs.ledger))}},
        "not_observed": _not_observed(context, hours),
        "freshness": _freshness(fresh, interval, context, now),
        "billing": billing,
        "prices": {
            "book": book.name,
            "sources": {
                vendor: {"page": source.page, "read": source.read, "unverified": source.unverified, "assumed": list(source.assumed)}
                for vendor, source in book.sources().items()
            },
            "assumed": costs.assumed,
            "not_counted": NOT_COUNTED,
            "seats": costs.seats,
        },
    }


def problems_of(context: Context, *, now: int, interval: int | None = None) -> list[Problem]:
    """What keeps this from being whole: nothing may be called well while any of these is there."""
    fresh, found = context.fresh, []
    # Of a month that is over and vouched for, what passes do now changes nothing.
    is_known = fresh.watermark is not None and fresh.watermark >= context.period.end
    limit = _INTERVALS * (_interval(context) if interval is None else interval)
    if fresh.last is None:
        found.append(Problem("no-pass", "No pass has ever finished. Run `rowhouse reconcile`."))
    elif now < fresh.last - CLOCK_MAX_S * 1000:
        behind = _span((fresh.last - now) // 1000)
        text = (
            f"This machine's clock is {behind} behind the last pass, which has the vendors' time: nobody can say how old this is. Set it."
        )
        found.append(Problem("clock", text))
    else:
        last = fresh.last_complete
        if not is_known and (last is None or now - last > limit):
            since = (
                "No pass was ever complete"
                if last is None
                else f"The last complete pass was {_span((now - last) // 1000)} ago, at {written_instant(last)}"
            )
            found.append(
                Problem(
                    "stale", f"{since}; one is expected every {_span(limit // _INTERVALS // 1000)}. Look at what runs `rowhouse reconcile`."
                )
            )
    for source, reason in ({} if is_known else dict(fresh.incomplete)).items():
        asof = fresh.sources.get(source)
        until = "it never was" if asof is None else f"it was up to {written_instant(asof)}"
        found.append(Problem("incomplete", f"The last pass did not hear {source} out ({until}): {reason}"))
    off = fresh.machine_clock_off_s
    if off is not None and abs(off) > CLOCK_MAX_S:
        off_by = f"{_span(int(abs(off)))} {'ahead of' if off > 0 else 'behind'}"
        text = f"The clock of the machine that runs passes is {off_by} the vendors' clocks. Nothing is computed by it, but set it."
        found.append(Problem("clock", text))
    found += [Problem("no-bill", f"{tenant} has no bill: {why}", tenant) for tenant, why in sorted(context.failed.items())]
    found += [
        Problem("no-plan", f"{tenant} has a file, and its plan was never recorded, so it is not billed. Run `rowhouse up`.", tenant)
        for tenant in context.unplanned
    ]
    return found


def _span(seconds: int) -> str:
    """A length of time in words: two units at most."""
    parts = []
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts) or "0 seconds"


def _interval(context: Context) -> int:
    """How far passes are apart: the median of the last ones; an hour where there are too few to tell."""
    rows = context.connection.execute(
        f'SELECT DISTINCT "at" FROM entries WHERE kind = \'pass\' ORDER BY "at" DESC LIMIT {_PASSES}'
    ).fetchall()
    times = [row[0] for row in rows]
    steps = [later - earlier for later, earlier in pairwise(times)]
    return int(median(steps)) if len(steps) >= 3 else _DEFAULT_INTERVAL_MS


_NO_HOURS: Final = {"running": 0, "inferred": 0, "stopped": 0, "unknown": 0, "instances": 0}


def _hours(context: Context) -> dict[str, dict[str, int]]:
    """Tenant to milliseconds by class and the count of instances; also of those that have no plan, but not of the gateways."""
    rows = context.connection.execute(
        "SELECT tenant, class, sum(end_ms - start_ms) FROM instance_spans WHERE tenant <> $edge GROUP BY ALL UNION ALL"
        " SELECT tenant, 'instances', count(DISTINCT instance) FROM instance_spans WHERE tenant <> $edge GROUP BY ALL",
        {"edge": EDGE},
    ).fetchall()
    found: dict[str, dict[str, int]] = {}
    for tenant, name, value in rows:
        found.setdefault(tenant, dict(_NO_HOURS))[name] = int(value)
    return found


def _in_hours(ms: int) -> str:
    return plain((Decimal(ms) / HOUR_MS).quantize(Decimal("0.01")))


def _tenant(bill: Bill, context: Context, costs: Costs, hours: Mapping[str, int], book: Book) -> dict[str, Any]:
    segments = context.usage[bill.tenant]
    last = segments[-1].plan
    cost = costs.tenants[bill.tenant]
    comparable = bill.currency == book.currency
    margin = bill.total - cost.total if comparable else None
    return {
        "tenant": bill.tenant,
        "plan": last.ref,
        "title": last.title,
        "plan_changes": len(segments) - 1,
        "instances": hours["instances"],
        "instances_limit": last.limits.instances,
        "running_hours": _in_hours(hours["running"]),
        "inferred_hours": _in_hours(hours["inferred"]),
        "unknown_hours": _in_hours(hours["unknown"]),
        "uses": [use.document() for use in uses_of(bill, segments)],
        "credits_left": {meter: plain(left) for meter, left in bill.credits_left.items()},
        "refused": {meter: plain(count) for meter, count in bill.refused.items()},
        "revenue": str(bill.total),
        "currency": bill.currency,
        "cost": cost.document(),
        "margin": None if margin is None else str(margin),
        "margin_percent": None if not margin or not bill.total else str((margin * 100 / bill.total).quantize(Decimal(1))),
    }


def _money(rows: Sequence[Mapping[str, Any]], currency: str) -> dict[str, str]:
    """Revenue, cost and margin of rows in one currency."""
    own = [row for row in rows if row["currency"] == currency]
    revenue = sum((Decimal(row["revenue"]) for row in own), Decimal("0.00"))
    cost = sum((Decimal(row["cost"]["total"]) for row in own), Decimal("0.00"))
    return {"revenue": str(revenue), "cost": str(cost), "margin": str(revenue - cost)}


def _totals(tenants: Sequence[Mapping[str, Any]], hours: Mapping[str, Mapping[str, int]], costs: Costs, book: Book) -> dict[str, Any]:
    money = _money(tenants, book.currency)
    revenue: dict[str, Decimal] = {}
    for row in tenants:
        revenue[row["currency"]] = revenue.get(row["currency"], Decimal("0.00")) + Decimal(row["revenue"])
    shared = costs.total - sum((cost.total for cost in costs.tenants.values()), Decimal("0.00"))
    return {
        "tenants": len(tenants),
        "instances": sum(own["instances"] for own in hours.values()),
        **{f"{name}_hours": _in_hours(sum(own[name] for own in hours.values())) for name in ("running", "inferred", "unknown")},
        "revenue": {currency: str(amount) for currency, amount in sorted(revenue.items())} or {book.currency: "0.00"},
        "cost": str(costs.total),
        "shared_cost": str(shared),
        "margin": str(Decimal(money["revenue"]) - costs.total),
        "warned": sum(any(use["warning"] or _is_at_limit(use) for use in row["uses"]) for row in tenants),
        "at_limit": sum(any(_is_at_limit(use) for use in row["uses"]) for row in tenants),
    }


def _is_at_limit(use: Mapping[str, Any]) -> bool:
    """All that is included is used; where nothing is, because each unit is paid for, there is no limit to reach."""
    return (use["percent"] or 0) >= 100 and (use["included"] != "0" or use["beyond"] == "refuse")


def _plans(tenants: Sequence[Mapping[str, Any]], book: Book) -> list[dict[str, Any]]:
    by_plan: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in tenants:
        by_plan.setdefault((row["plan"], row["currency"]), []).append(row)
    found = []
    for (plan, currency), rows in sorted(by_plan.items()):
        money = _money(rows, currency)
        if currency != book.currency:
            money |= {"margin": ""}
        found.append({"plan": plan, "title": rows[0]["title"], "tenants": len(rows), "currency": currency, **money})
    return found


def _days(context: Context) -> list[dict[str, str]]:
    """Hours of all instances by UTC day and class."""
    rows = context.connection.execute(
        "SELECT hour - hour % 86400000 AS day, sum(running_ms), sum(inferred_ms), sum(unknown_ms) FROM usage_hours"
        " WHERE tenant <> ? GROUP BY 1 ORDER BY 1",
        [EDGE],
    ).fetchall()
    return [
        {
            "day": written_instant(day)[:10],
            "running": _in_hours(int(ran)),
            "inferred": _in_hours(int(guessed)),
            "unknown": _in_hours(int(lost)),
        }
        for day, ran, guessed, lost in rows
    ]


def _not_observed(context: Context, hours: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Seconds that nobody can prove, and the passes that did not hear everybody out."""
    by_tenant = {
        tenant: {"inferred_s": own["inferred"] // 1000, "unknown_s": own["unknown"] // 1000}
        for tenant, own in sorted(hours.items(), key=lambda item: (-item[1]["unknown"] - item[1]["inferred"], item[0]))
        if own["inferred"] >= 1000 or own["unknown"] >= 1000
    }
    passes, incomplete = 0, []
    for entry in entries_in(context.connection, 'kind = \'pass\' AND "at" >= ? AND "at" < ?', *context.period):
        passes += 1
        if entry.state != "complete":
            sources = (entry.data or {}).get("sources") or {}
            why = {name: str(said.get("reason") or "") for name, said in sorted(sources.items()) if not said.get("complete")}
            incomplete.append({"at": written_instant(entry.at), "sources": why})
    return {
        "inferred_s": sum(own["inferred"] for own in hours.values()) // 1000,
        "unknown_s": sum(own["unknown"] for own in hours.values()) // 1000,
        "tenants": by_tenant,
        "passes": passes,
        "incomplete_passes": len(incomplete),
        "latest_incomplete": incomplete[-_SHOWN:],
    }


def _freshness(fresh: Freshness, interval: int, context: Context, now: int) -> dict[str, Any]:
    def shown(at: int | None) -> str | None:
        return None if at is None else written_instant(at)

    return {
        "last_pass": shown(fresh.last),
        "last_complete_pass": shown(fresh.last_complete),
        "interval_s": interval // 1000,
        "stale": any(problem.rule in {"stale", "no-pass"} for problem in problems_of(context, now=now, interval=interval)),
        "sources": {source: {"until": shown(asof), "incomplete": fresh.incomplete.get(source)} for source, asof in fresh.sources.items()},
        "machine_clock_off_s": fresh.machine_clock_off_s,
    }


def _billing(context: Context, month: str) -> dict[str, Any]:
    """What was sent to the billing sink for this month, and how far its close came."""
    sent = {key: last for key, last in sent_from_table(context.connection).items() if context.period.start <= key[2] < context.period.end}
    log = CloseLog.of(entries_in(context.connection, "kind IN ('close', 'invoice', 'correction')"))
    last = [
        entry for entry in entries_in(context.connection, "kind = 'close' AND subject = ?", month) if entry.state == log.states.get(month)
    ]
    adjustments = entries_in(context.connection, "kind = 'correction' AND subject = ?", month)
    return {
        "totals_sent": len(sent),
        "watermark": None if not sent else written_instant(max(last.asof for last in sent.values())),
        "uncertain": sum(not last.certain for last in sent.values()),
        "refused": [
            {"tenant": tenant, "meter": meter, "reason": last.reason} for (tenant, meter, _), last in sorted(sent.items()) if last.reason
        ],
        "close": log.states.get(month, "open"),
        "close_why": str((last[-1].data or {}).get("why") or "") if last else "",
        "invoices": len(log.invoiced.get(month, ())),
        "adjustments": [
            {"tenant": entry.tenant, "amount": entry.value, "reason": json.loads(json.dumps(dict(entry.data or {}))).get("reason")}
            for entry in adjustments
        ],
    }


def _billing_problems(billing: Mapping[str, Any], month: str) -> list[Problem]:
    """What keeps invoices from being right or from going out."""
    found = [
        Problem(
            "push",
            f"{said['tenant']}: a total of {said['meter']} does not count: {said['reason']}. The next pass sends it again.",
            said["tenant"],
        )
        for said in billing["refused"]
    ]
    if billing["close"] in {"waiting", "held", "partial"}:
        why = billing["close_why"] or "some invoices did not agree with their bills"
        found.append(
            Problem("close", f"{month} was begun to be closed and is not done ({billing['close']}): {why}. Run `rowhouse close {month}`.")
        )
    return found
