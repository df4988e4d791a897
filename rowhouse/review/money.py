"""What a change of the files does to money: vendors' cost, customers' bills, margin, a month, before and after.

Does: replay the last closed month of every tenant concerned under the files of both sides, estimate where there is none and say so, price
both, put them side by side, judge. Pure. Does not: read a ledger (money_month.py) or write a comment (money_words.py).

What is compared is the same use under two sets of files. Both sides go through the same steps, so that files that mean the same give
exactly zero, whatever their text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from rowhouse.review.money_assumed import assumed_of
from rowhouse.review.money_concern import changed_plans, concerned
from rowhouse.review.money_guess import means_of
from rowhouse.review.money_judge import judged
from rowhouse.review.money_limits import crossings_of
from rowhouse.review.money_model import Money
from rowhouse.review.money_month import Month
from rowhouse.review.money_rows import Basis, Crossing, Row, Side
from rowhouse.review.money_seats import people_of, seats_of
from rowhouse.review.money_side import Account, FleetSide
from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.model import Fleet
from rowhouse.usage.costs import priced
from rowhouse.usage.credits import CreditError
from rowhouse.usage.rate import RatingError
from rowhouse.usage.vendor_prices import Book
from rowhouse.usage.vendor_use import VendorUse

__all__ = ["money_of"]

Pair = tuple[Account | None, Account | None]
People = Mapping[str, Sequence[str]]


def money_of(
    before: Fleet,
    after: Fleet,
    months: Mapping[str, Month],
    book: Book,
    guardrails: Guardrails,
    *,
    labels: Iterable[str] = (),
    full: bool = False,
    unopened: Iterable[str] = (),
) -> Money:
    """What the files of `after` cost and bring a month, against those of `before`. Pure; the order of tenants changes nothing.

    Args: months: cell to its last closed month; a cell without one is left out. guardrails: those in force before the change.
        labels: what a person put on the change. full: rows of every tenant, not only of those concerned. unopened: cells that have a
        ledger which was not read.
    """
    known = [months[cell] for cell in sorted(months)]
    people = (people_of(before, known), people_of(after, known))
    sides = (FleetSide(before), FleetSide(after))
    slugs = _looked_at(before, after, known, people, book, full=full)
    pairs, found, failed, unread = _accounts(slugs, sides, months)
    valued = [
        side.sides({slug: account for slug, pair in pairs.items() if (account := pair[at]) is not None}, people[at], book)
        for at, side in enumerate(sides)
    ]
    (old, old_costs), (new, new_costs) = valued
    rows = tuple(_row(slug, pairs[slug], found[slug], old.get(slug), new.get(slug)) for slug in pairs)
    cells = {tenant.cell for fleet in (before, after) for tenant in fleet.tenants} | set(months)
    return Money(
        currency=book.currency,
        rows=rows,
        months={cell: months[cell].name if cell in months else None for cell in sorted(cells)},
        seats_before=seats_of(people[0], book),
        seats_after=seats_of(people[1], book),
        shared=_shared(known, book),
        assumed=assumed_of((before, after), pairs, (*old_costs.assumed, *new_costs.assumed), book),
        book=book.name,
        failed=failed,
        unread=unread,
        unopened=tuple(sorted(unopened)),
        judgement=judged(rows, failed, book.currency, guardrails, frozenset(labels)),
    )


def _looked_at(before: Fleet, after: Fleet, months: Sequence[Month], people: tuple[People, People], book: Book, *, full: bool) -> list[str]:
    """Whose money to look at, by id: those concerned; when the price of a seat changes, also all who have people; or all."""
    if full:
        return sorted({tenant.id for fleet in (before, after) for tenant in fleet.tenants})
    slugs = set(concerned(before, after))
    prices = {book.cloudflare.seats_cost(len(held)) / len(held) if held else None for held in people}
    if len(prices) > 1:
        slugs.update(slug for held in people for tenants in held.values() for slug in tenants)
    changed = changed_plans(before, after)
    # Who has left a changed plan since, but was on it in the month: its bill of that month is another one too.
    files = {tenant.id for fleet in (before, after) for tenant in fleet.tenants}
    slugs.update(
        slug
        for month in months
        for slug, segments in month.used.items()
        if slug in files and any(segment.plan.ref in changed for segment in segments)
    )
    return sorted(slugs)


def _accounts(
    slugs: Iterable[str], sides: tuple[FleetSide, FleetSide], months: Mapping[str, Month]
) -> tuple[dict[str, Pair], dict[str, tuple[Basis, str]], dict[str, str], int]:
    """Tenant to its accounts on both sides, to how they were found, and to why there are none; how many were not read."""
    means = means_of(months[cell] for cell in sorted(months))
    pairs: dict[str, Pair] = {}
    found: dict[str, tuple[Basis, str]] = {}
    failed: dict[str, str] = {}
    unread = 0
    for slug in slugs:
        cells = sorted({tenant.cell for side in sides if (tenant := side.tenants.get(slug)) is not None})
        own = [months[cell] for cell in cells if cell in months]
        month = next((month for month in own if slug in month.used), own[0] if own else None)
        if month is not None and slug in month.failed:
            failed[slug] = month.failed[slug]
            continue
        if not all(month.covers_tenant(slug) for month in own):
            unread += 1
            continue
        try:
            pairs[slug] = (sides[0].account(slug, sides[1], month, means), sides[1].account(slug, sides[0], month, means))
        except (RatingError, CreditError) as error:
            failed[slug] = str(error)
            continue
        found[slug] = ("replayed" if month is not None and slug in month.used else "estimated", month.name if month is not None else "")
    return pairs, found, failed, unread


def _row(slug: str, pair: Pair, found: tuple[Basis, str], old: Side | None, new: Side | None) -> Row:
    basis, month = found
    before, after = pair
    crossings: tuple[Crossing, ...] = ()
    if before is not None and after is not None and before.bill is not None and after.bill is not None:
        crossings = crossings_of(before.bill, before.use.segments, after.bill, after.use.segments)
    return Row(slug, basis, month, old, new, _notes(before, after), crossings)


def _notes(before: Account | None, after: Account | None) -> tuple[str, ...]:
    """What both sides say of themselves, once; what only one of two says with its name."""
    if before is None or after is None:
        return tuple(dict.fromkeys(note for account in (before, after) if account is not None for note in account.use.notes))
    old, new = before.use.notes, after.use.notes
    both = [note for note in old if note in new]
    return tuple(
        dict.fromkeys(
            [
                *both,
                *(f"before: {note}" for note in old if note not in new),
                *(f"after: {note}" for note in new if note not in old),
            ]
        )
    )


def _shared(months: Sequence[Month], book: Book) -> Decimal | None:
    """What of the closed months belongs to no tenant with a plan: the edge, the ledger, what those who left still cost."""
    if not months or any(month.covers is not None for month in months):
        return None
    use = VendorUse(
        [one for month in months for slug, held in month.machines.items() if slug not in month.used for one in held],
        [one for month in months for slug, held in month.volumes.items() if slug not in month.used for one in held],
        {},
        sum(month.writes for month in months),
    )
    return priced(use, (), {}, book).total
