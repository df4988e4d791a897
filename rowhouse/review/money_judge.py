"""What the project's limits say to a change's money: why it must not be merged, and what should be looked at.

Does: hold rows against `policies/settings.yaml`. Does not: compute a row, or loosen a limit: those in force before the change count.

The bill of a customer who begins or leaves does not change, so it is not judged; of who begins at a loss on a paid plan is warned. A bill
that goes from nothing to something changes by more than any percentage, and so does one that moves to another currency. What is estimated
blocks like what was replayed, and may be wrong; so the label lifts an estimated loss, too, and a replayed one the settings alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import islice
from typing import Final

from rowhouse.review.money_model import Judgement
from rowhouse.review.money_rows import Row
from rowhouse.spec.guardrails import FILE, Guardrails
from rowhouse.spec.money import shown
from rowhouse.spec.slug import is_slug, show

__all__ = ["CHANGES_BILLS", "judged", "percent_words"]

CHANGES_BILLS: Final = "changes-bills"
"""The label that says that a large change of bills is meant."""
_NAMED: Final = 5
"""So many tenants are named in a sentence."""


def judged(
    rows: Sequence[Row], failed: Mapping[str, str], currency: str, guardrails: Guardrails, labels: AbstractSet[str] = frozenset()
) -> Judgement:
    """What blocks a change and what warns of it. Args: currency: the cost's. labels: what a person put on the change."""
    blocks: list[str] = []
    warnings: list[str] = []
    large = sorted((row for row in rows if _is_large(row, guardrails)), key=_by_share)
    if large:
        limit = guardrails.bill_change_percent
        bills = "1 bill changes" if len(large) == 1 else f"{len(large):,} bills change"
        what = f"{bills} by more than {limit} % ({_named(large, map(_bill_words, large))})"
        if CHANGES_BILLS in labels:
            warnings.append(f"{what}. The label `{CHANGES_BILLS}` says that this is meant.")
        else:
            allowed = f"Allowed without a label: {limit} % (`bill_change_percent` in {FILE})"
            blocks.append(f"{what}. {allowed}. Add the label `{CHANGES_BILLS}` if it is meant.")
    lost = [row for row in rows if _turns_negative(row, currency)]
    proven, estimated = ([row for row in lost if row.basis == basis] for basis in ("replayed", "estimated"))
    if proven:
        advice = f"Raise the price, shrink the machine, or first set `negative_margin: warn` in {FILE} by a change of its own."
        is_refused = guardrails.negative_margin == "refuse"
        (blocks if is_refused else warnings).append(f"{_loss(proven, currency)}. {advice if is_refused else 'The settings allow it.'}")
    if estimated:
        what = f"By an estimate, {_loss(estimated, currency)}"
        if guardrails.negative_margin == "refuse" and CHANGES_BILLS not in labels:
            blocks.append(f"{what}. Raise the price or shrink the machine; add the label `{CHANGES_BILLS}` if the estimate is wrong.")
        else:
            warnings.append(f"{what}.")
    begun = [row for row in rows if _begins_at_a_loss(row, currency)]
    if begun:
        who = "1 new tenant on a paid plan costs" if len(begun) == 1 else f"{len(begun):,} new tenants on paid plans cost"
        words = _named(begun, (_cost_words(row, currency) for row in begun))
        warnings.append(f"By an estimate, {who} more than {'it brings' if len(begun) == 1 else 'they bring'} ({words}).")
    deeper = [row for row in rows if _sinks(row, currency)]
    if deeper:
        who = f"{_tenants(len(deeper))} at a loss already: it grows"
        warnings.append(f"{who} ({_named(deeper, (_cost_words(row, currency) for row in deeper))}).")
    if failed:
        names = ", ".join(_name(slug) for slug in sorted(failed)[:_NAMED])
        warnings.append(f"Nothing can be said of {_tenants(len(failed))} ({names}): the month's use cannot be rated.")
    return Judgement(tuple(blocks), tuple(warnings))


def percent_words(row: Row) -> str:
    """By how much a bill changes: `+25.0 %`, `from nothing`, `other currency`."""
    if row.change is None:
        return "other currency"
    if row.share is None:
        return "from nothing"
    return f"{row.share * 100:+.1f} %" if row.share else "0 %"


def _is_large(row: Row, guardrails: Guardrails) -> bool:
    if not row.stays or row.change == 0:
        return False
    return row.change is None or row.share is None or abs(row.share) > guardrails.bill_change


def _by_share(row: Row) -> tuple[bool, Decimal, str]:
    return (row.share is not None, -abs(row.share or Decimal(0)), row.tenant)


def _turns_negative(row: Row, currency: str) -> bool:
    """Whether a customer that brought money costs more than it brings."""
    if not row.stays or row.before is None or row.after is None:
        return False
    was, now = row.before.margin(currency), row.after.margin(currency)
    return was is not None and now is not None and row.before.bill > 0 and was >= 0 > now


def _begins_at_a_loss(row: Row, currency: str) -> bool:
    if row.before is not None or row.after is None or row.after.bill <= 0:
        return False
    now = row.after.margin(currency)
    return now is not None and now < 0


def _sinks(row: Row, currency: str) -> bool:
    if not row.stays or row.before is None or row.after is None:
        return False
    was, now = row.before.margin(currency), row.after.margin(currency)
    return was is not None and now is not None and now < was < 0


def _loss(rows: Sequence[Row], currency: str) -> str:
    named = _named(rows, (_cost_words(row, currency) for row in rows))
    verb = "that brought money costs more than it brings" if len(rows) == 1 else "that brought money cost more than they bring"
    return f"{_tenants(len(rows))} {verb} ({named})"


def _cost_words(row: Row, currency: str) -> str:
    return "" if row.after is None else f"{shown(row.after.bill, row.after.currency)} of revenue, {shown(row.after.cost, currency)} of cost"


def _bill_words(row: Row) -> str:
    if row.before is None or row.after is None:
        return ""
    before, after = shown(row.before.bill, row.before.currency), shown(row.after.bill, row.after.currency)
    return f"{before} to {after}, {percent_words(row)}"


def _named(rows: Sequence[Row], words: Iterable[str]) -> str:
    """The first tenants, each with its words, and how many more there are."""
    named = "; ".join(f"{_name(row.tenant)}: {said}" for row, said in islice(zip(rows, words, strict=False), _NAMED))
    return named if len(rows) <= _NAMED else f"{named}; and {len(rows) - _NAMED:,} more"


def _name(slug: str) -> str:
    return slug if is_slug(slug) else show(slug)


def _tenants(count: int) -> str:
    return f"{count:,} tenant{'' if count == 1 else 's'}"
