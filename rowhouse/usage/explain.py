"""From a line of a bill down to what machines and vendors said: first sentences for the customer, last ledger segments for the auditor.

Does: say each step of a line with its numbers (explain_words.py), give its hours, spans, entries, and where those stand in the ledger.
Does not: compute a bill anew; what is explained is the bill itself, and the numbers of hours and spans are those it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rowhouse.errors import RowhouseError
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.usage.bills import Context, month_of
from rowhouse.usage.explain_words import Times, sentences_of
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.limits import plain
from rowhouse.usage.model import DAY_MS, GB_MICROS, HOUR_MS, Bill, Line, SegmentUsage, month_before, written_instant
from rowhouse.usage.summary import bill_for

__all__ = ["UnknownLineError", "explain"]

Progress = Callable[[int], None]
"""Told how many segments of the ledger were read."""

_KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "base": (("account",), ("plan",)),
    "pack": (("account",), ("purchase",)),
    "running_hours": (("fly", "railway", "docker"), ("event", "events", "machine")),
    "hour_any": (("fly", "railway", "docker", "cloudflare", "gateway"), ("event", "events", "machine", "login", "activity")),
    "storage_gb": (("fly", "railway", "docker"), ("storage", "volume")),
    "volume_gb": (("fly", "railway", "docker"), ("volume",)),
    "counter": (("app", "gateway", "account"), ("counter", "purchase")),
}
"""By what a line is: the sources that speak of it, and the kinds of their entries."""


class UnknownLineError(RowhouseError):
    """The bill has no such line."""


def explain(
    tenant: str,
    bills: Sequence[Bill],
    context: Context,
    *,
    line: str | None = None,
    ledger: Ledger | None = None,
    progress: Progress = lambda _count: None,
) -> dict[str, Any]:
    """A tenant's bill as a JSON document: each line with its sentences; of the chosen line also hours, spans, entries and segments.

    Args: line: a meter's name, `base` or `pack:<name>`; ledger: to name the segments, for the chosen line only.
    Raises: UnknownTenantError, UnknownLineError; LedgerError naming the segment that cannot be read.
    """
    bill = bill_for(tenant, bills, context)
    names = list(dict.fromkeys(each.meter for each in bill.lines))
    if line is not None and line not in names:
        raise UnknownLineError(
            f"{tenant}'s bill of {month_of(bill.period.start)} has no line {show(line)}. {did_you_mean(line, names)}Lines: {listed(names)}."
        )
    times = _times(context, tenant)
    watermark = context.fresh.watermark
    document: dict[str, Any] = {
        "tenant": tenant,
        "period": month_of(bill.period.start),
        "start": written_instant(bill.period.start),
        "end": written_instant(bill.period.end),
        "observed_until": None if watermark is None else written_instant(min(watermark, bill.period.end)),
        "currency": bill.currency,
        "total": str(bill.total),
        "lines": [_line(each, bill, context, times) for each in bill.lines if line in {None, each.meter}],
    }
    if line is not None:
        document["evidence"] = _evidence(line, bill, context, ledger, progress)
    return document


def _line(line: Line, bill: Bill, context: Context, times: Mapping[int, Times]) -> dict[str, Any]:
    segments = context.usage[bill.tenant]
    own = segments[line.segment] if line.segment is not None else None
    lots = context.lots.get(bill.tenant, ())
    return {
        "meter": line.meter,
        "plan": line.plan,
        "from": written_instant(line.start),
        "until": written_instant(line.end),
        "quantity": plain(line.quantity),
        "unit": line.unit,
        "included": None if line.included is None else plain(line.included),
        "credits_used": plain(line.credits_used),
        "billed": plain(line.billed),
        "refused": plain(line.refused),
        "unit_price": None if line.unit_price is None else plain(line.unit_price),
        "exact": str(line.exact),
        "amount": str(line.amount),
        "stripe": None if line.stripe_quantity is None else {"quantity": line.stripe_quantity, "unit": line.stripe_unit},
        "sentences": sentences_of(line, bill, own, times.get(line.segment if line.segment is not None else -1, {}), lots),
    }


def _times(context: Context, tenant: str) -> dict[int, Times]:
    """Segment to instance to milliseconds by class."""
    rows = context.connection.execute(
        "SELECT g.segment, coalesce(s.instance, ''), s.class, sum(least(s.end_ms, g.end_ms) - greatest(s.start_ms, g.start_ms))"
        " FROM instance_spans AS s JOIN segments AS g ON s.tenant = g.tenant AND s.start_ms < g.end_ms AND s.end_ms > g.start_ms"
        " WHERE s.tenant = ? GROUP BY ALL ORDER BY ALL",
        [tenant],
    ).fetchall()
    found: dict[int, dict[str, dict[str, int]]] = {}
    for segment, instance, name, ms in rows:
        found.setdefault(segment, {}).setdefault(instance, {})[name] = int(ms)
    return dict(found)


def _what(line: str, segments: Sequence[SegmentUsage]) -> tuple[str, str | None]:
    """What a line is (a key of _KINDS), and its app's counter."""
    if line == "base" or line.startswith("pack:"):
        return line.partition(":")[0], None
    for segment in reversed(segments):
        for meter in segment.plan.meters:
            if meter.name == line:
                return ("hour_any" if meter.rounding == "hour_any" else meter.kind), meter.counter
    return "base", None


def _evidence(line: str, bill: Bill, context: Context, ledger: Ledger | None, progress: Progress) -> dict[str, Any]:
    """Hours, spans, entries and segments of one line."""
    segments = context.usage[bill.tenant]
    what, counter = _what(line, segments)
    found: dict[str, Any] = {"days": [], "hours": [], "spans": []}
    if what in {"running_hours", "hour_any"}:
        found["hours"] = _running_hours(context, bill.tenant, what, segments)
        found["spans"] = _spans(context, bill.tenant)
        found["days"] = _by_day(found["hours"])
    elif what == "counter":
        counted = [(hour, n) for segment in segments for hour, n in segment.counters.get(line, {}).items()]
        found["hours"] = [{"hour": written_instant(hour), "count": str(n)} for hour, n in sorted(counted)]
        days: dict[int, int] = {}
        for hour, n in counted:
            days[hour - hour % DAY_MS] = days.get(hour - hour % DAY_MS, 0) + n
        found["days"] = [{"day": written_instant(day)[:10], "count": str(n)} for day, n in sorted(days.items())]
    elif what in {"storage_gb", "volume_gb"}:
        found["spans"] = _steps(context, bill.tenant, "storage_steps" if what == "storage_gb" else "volume_steps")
    sources, kinds = _KINDS[what]
    entries = list(_entries(ledger, bill, sources, kinds, counter, progress)) if ledger is not None else []
    polls = [entry for entry in entries if entry["kind"] == "machine"]
    found["entries"] = [entry for entry in entries if entry["kind"] != "machine"]
    found["polls"] = {
        "count": len(polls),
        "first": polls[0]["at"] if polls else None,
        "last": polls[-1]["at"] if polls else None,
    }
    places: dict[str, dict[str, Any]] = {}
    for entry in entries:
        place = places.setdefault(entry["segment"], {"key": entry["segment"], "sha256": entry.pop("sha256"), "entries": 0})
        entry.pop("sha256", None)
        place["entries"] += 1
    found["segments"] = [places[key] for key in sorted(places)]
    return found


def _running_hours(context: Context, tenant: str, what: str, segments: Sequence[SegmentUsage]) -> list[dict[str, Any]]:
    rows = context.connection.execute("SELECT hour, first_ms FROM active WHERE tenant = ?", [tenant]).fetchall()
    active = {hour for hour, first in rows if any(segment.start <= first < segment.end for segment in segments)}
    any_of = "running_ms + inferred_ms + unknown_ms" + (" + logins + requests" if what == "hour_any" else "")
    rows = context.connection.execute(
        "SELECT hour, coalesce(instance, ''), running_ms, inferred_ms, unknown_ms, logins, requests FROM usage_hours"
        f" WHERE tenant = ? AND {any_of} > 0 ORDER BY hour, 2",
        [tenant],
    ).fetchall()
    found = []
    for hour, instance, ran, guessed, lost, logins, requests in rows:
        row = {"hour": written_instant(hour), "instance": instance, "running_s": _seconds(ran), "inferred_s": _seconds(guessed)}
        row["unknown_s"] = _seconds(lost)
        if what == "hour_any":
            row |= {"logins": logins, "requests": requests, "counts": hour in active}
        found.append(row)
    return found


def _by_day(hours: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    days: dict[str, Decimal] = {}
    for row in hours:
        days[row["hour"][:10]] = days.get(row["hour"][:10], Decimal(0)) + Decimal(row["running_s"])
    return [{"day": day, "running_s": plain(total)} for day, total in sorted(days.items())]


def _spans(context: Context, tenant: str) -> list[dict[str, Any]]:
    rows = context.connection.execute(
        "SELECT coalesce(instance, ''), machine, start_ms, end_ms, class FROM spans WHERE tenant = ? ORDER BY start_ms, machine", [tenant]
    ).fetchall()
    return [
        {
            "instance": instance,
            "machine": machine,
            "from": written_instant(start),
            "until": written_instant(end),
            "seconds": _seconds(end - start),
            "class": name,
        }
        for instance, machine, start, end, name in rows
    ]


def _steps(context: Context, tenant: str, table: str) -> list[dict[str, Any]]:
    start, end = context.period
    rows = context.connection.execute(
        f"SELECT coalesce(instance, ''), volume, greatest(start_ms, {start}), least(end_ms, {end}), micro_gb FROM {table}"
        f" WHERE tenant = ? AND start_ms < {end} AND end_ms > {start} ORDER BY start_ms, volume",
        [tenant],
    ).fetchall()
    return [
        {
            "instance": instance,
            "volume": volume,
            "from": written_instant(begin),
            "until": written_instant(until),
            "hours": plain((Decimal(until - begin) / HOUR_MS).quantize(Decimal("0.0001"))),
            "gb": plain(Decimal(int(micro_gb)) / GB_MICROS),
        }
        for instance, volume, begin, until, micro_gb in rows
    ]


def _seconds(ms: int) -> str:
    return plain(Decimal(int(ms)) / 1000)


def _entries(
    ledger: Ledger, bill: Bill, sources: Sequence[str], kinds: Sequence[str], counter: str | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Entries of the ledger that speak of a tenant's line, with where they stand, in the order of time; each once."""
    needle = f'"tenant":{json.dumps(bill.tenant, ensure_ascii=False)}'.encode()
    wanted = tuple(f'{{"kind":"{kind}"'.encode() for kind in kinds)
    # The month before as well: it has the last word on what ran when this one began. Plans and purchases may be older.
    since = None if "account" in sources else month_before(month_of(bill.period.start))
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    read = 0
    for source in sources:
        for segment in ledger.segments(source, since=since):
            read += 1
            progress(read)
            numbers = [number for number, text in enumerate(segment.lines) if text.startswith(wanted) and needle in text]
            if not numbers:
                continue
            entries = list(segment.entries())
            for number in numbers:
                entry = entries[number]
                if entry.tenant != bill.tenant or entry.at >= bill.period.end:
                    continue
                if entry.kind == "counter" and entry.subject != counter:
                    continue
                key = (entry.kind, entry.at, entry.subject, entry.id, entry.state, entry.value, entry.instance, entry.asof)
                found.setdefault(
                    key,
                    {
                        "at": written_instant(entry.at),
                        "kind": entry.kind,
                        "instance": entry.instance,
                        "subject": entry.subject,
                        "state": entry.state,
                        "value": entry.value,
                        "id": entry.id,
                        "vouched_until": None if entry.asof is None else written_instant(entry.asof),
                        "segment": segment.header.key,
                        "line": number + 2,
                        "sha256": segment.sha256,
                    },
                )
    ordered = sorted(found.values(), key=lambda each: (each["at"], each["kind"], str(each["subject"]), str(each["id"])))
    start = written_instant(bill.period.start)
    latest = {(each["kind"], each["subject"], each["instance"]): number for number, each in enumerate(ordered) if each["at"] < start}
    for number, each in enumerate(ordered):
        reaches = each["kind"] == "events" and (each["vouched_until"] or "") >= start
        before = each["kind"] in {"plan", "purchase"} or latest.get((each["kind"], each["subject"], each["instance"])) == number
        if each["at"] >= start or reaches or before:
            yield each
