"""The money of a change laid out for people: sentences and tables of plain text, each table bounded.

Does: choose what is shown first, count what is not shown. Does not: escape or print (money_words.py): texts of files are as they were
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rowhouse.review.money_judge import percent_words
from rowhouse.review.money_model import Money, Seats, Sum
from rowhouse.review.money_rows import Crossing, Row, Side
from rowhouse.spec.money import shown

__all__ = ["Block", "Id", "Sentence", "Table", "layout"]

_CELLS: Final = 5
_CROSSED: Final = {
    "reaches": "reaches its limit: more is refused",
    "leaves": "is below its limit again",
    "starts-paying": "begins to pay for use beyond what is included",
    "stops-paying": "pays for no use beyond what is included any more",
}


class Id(str):
    """A text that is a name: of a tenant, a plan, a meter."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of prose."""

    text: str
    weight: str = ""
    """`block`, `warning`, `small` or nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """At most so many rows, and what is said of the others."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    rest: str = ""


Block = Sentence | Table


def layout(money: Money, rows: int = 20) -> list[Block]:
    """What blocks, totals, who pays more or less, limits, cost alone, who begins and ends, what was assumed. Args: rows: of each table."""
    found: list[Block] = [Sentence(text, "block") for text in money.judgement.blocks]
    found += [Sentence(text, "warning") for text in money.judgement.warnings]
    if money.unopened:
        found.append(Sentence(_unopened(money.unopened)))
    if money.is_nothing:
        found.append(Sentence(_nothing(money)))
    if money.totals:
        found.append(_totals(money))
    found += _bills(money, rows)
    found += _limits(money.crossings, rows)
    found += _others(money, rows)
    if money.unread:
        found.append(
            Sentence(f"{_count(money.unread)} only by the price of a seat; their month was not read, so they are in no table", "warning")
        )
    found += [Sentence(text, "small") for text in (*_notes(money.rows, rows), *money.assumed)]
    return found


def _unopened(cells: Sequence[str]) -> str:
    """That ledgers were left alone, and how to have them read."""
    named = ", ".join(cells[:_CELLS]) + (f" and {len(cells) - _CELLS} more" if len(cells) > _CELLS else "")
    return (
        f"The ledger of {'cell' if len(cells) == 1 else 'cells'} {named} was not read, because it is at a remote store: use is "
        "estimated below. To have it read, run rowhouse review on a clone with ROWHOUSE_STORE_URL and the keys of the store set; for "
        "branches of the repository itself set them in the environment review of the workflows."
    )


def _nothing(money: Money) -> str:
    """That all is as it was, and how that was found."""
    replayed = sum(row.basis == "replayed" for row in money.rows)
    guessed = len(money.rows) - replayed
    if not money.rows:
        return "Nothing of this change costs or brings money."
    how = [f"{_many(replayed, 'closed month')} replayed"] if replayed else []
    how += [f"{_many(guessed, 'tenant')} estimated"] if guessed else []
    return f"No bill and no cost changes by a cent: {' and '.join(how)}."


def _totals(money: Money) -> Table:
    """Revenue, cost and margin by basis and currency; then seats and what is shared."""
    rows: list[tuple[str, ...]] = []
    months = ", ".join(sorted({row.month for row in money.rows if row.basis == "replayed"}))
    for one in money.totals:
        tenants = _many(max(one.tenants_before, one.tenants_after), "tenant")
        how = f"replay of {months}, {tenants}" if one.basis == "replayed" else f"estimate, {tenants}"
        rows += [_total(f"{name} ({how})", *values) for name, values in _sums(one, money.currency)]
    seats: tuple[Seats, Seats] = (money.seats_before, money.seats_after)
    if seats[0] != seats[1]:
        people = "people who may pass a gate, and their seats"
        rows.append(
            (people, *(f"{one.people:,}: {shown(one.cost, money.currency)}" for one in seats), _plus(seats[1].cost - seats[0].cost))
        )
    if money.shared:
        rows.append(_total("shared cost, of no tenant", money.shared, money.shared, money.currency))
    return Table("Money, a month", ("", "before", "after", "change"), tuple(rows))


def _sums(one: Sum, currency: str) -> list[tuple[str, tuple[Decimal, Decimal, str]]]:
    found = [
        ("customers' bills", (one.revenue_before, one.revenue_after, one.currency)),
        ("vendor cost", (one.cost_before, one.cost_after, currency)),
    ]
    margins = one.margins(currency)
    return [*found, ("margin", (*margins, currency))] if margins else found


def _total(name: str, before: Decimal, after: Decimal, currency: str) -> tuple[str, ...]:
    return (name, shown(before, currency), shown(after, currency), _plus(after - before))


def _bills(money: Money, limit: int) -> list[Block]:
    columns = ("tenant", "plan", "bill before", "after", "change", "", "margin after", "from")
    kinds = ((money.losers, "pay more"), (money.winners, "pay less"), (money.incomparable, "are billed in another currency"))
    found: list[Block] = []
    for rows, what in kinds:
        if rows:
            title = f"{_many(len(rows), 'customer')} {what if len(rows) != 1 else _singular(what)}"
            found.append(_bounded(title, columns, rows, limit, lambda row: _bill(row, money.currency), lambda row: row.change))
    return found


def _singular(what: str) -> str:
    return {"pay more": "pays more", "pay less": "pays less"}.get(what, "is billed in another currency")


def _bill(row: Row, currency: str) -> tuple[str, ...]:
    before, after = row.before, row.after
    assert before is not None
    assert after is not None
    margin = after.margin(currency)
    return (
        Id(row.tenant),
        _plan(before, after),
        _billed(before),
        _billed(after),
        "" if row.change is None else _plus(row.change),
        percent_words(row),
        "not comparable" if margin is None else str(margin),
        row.month if row.basis == "replayed" else "estimate",
    )


def _billed(side: Side) -> str:
    """The bill, in every currency that it has lines in."""
    return " + ".join(shown(amount, currency) for currency, amount in side.revenue.items() if amount) or shown(side.bill, side.currency)


def _plan(before: Side, after: Side) -> str:
    return Id(after.plan) if before.plan == after.plan else Id(f"{before.plan} to {after.plan}")


def _limits(crossings: Sequence[Crossing], limit: int) -> list[Block]:
    if not crossings:
        return []
    order = list(_CROSSED)
    ordered = sorted(crossings, key=lambda one: (order.index(one.what), one.tenant, one.meter))
    rows = tuple((Id(one.tenant), Id(one.meter), _CROSSED[one.what], one.words) for one in ordered[:limit])
    counts = [(what, sum(one.what == what for one in ordered[limit:])) for what in order]
    rest = ", ".join(f"{count:,} {what.replace('-', ' ')}" for what, count in counts if count)
    title = f"{_many(len({one.tenant for one in crossings}), 'tenant')} with the same use at another limit"
    return [Table(title, ("tenant", "meter", "what", "used"), rows, f"and {len(ordered) - limit:,} more: {rest}" if rest else "")]


def _others(money: Money, limit: int) -> list[Block]:
    """Rows whose bill begins, ends, or stays while their cost does not."""
    found: list[Block] = []
    columns = ("tenant", "plan", "cost before", "after", "change", "margin after")
    if money.dearer:
        title = f"{_many(len(money.dearer), 'tenant')} with the same bill and another cost"
        rows = money.dearer
        found.append(_bounded(title, columns, rows, limit, lambda row: _cost(row, money.currency), lambda row: row.cost_change))
    return [*found, *_come_and_go(money.begins, "begin", money.currency, limit), *_come_and_go(money.ends, "end", money.currency, limit)]


def _come_and_go(rows: Sequence[Row], what: str, currency: str, limit: int) -> list[Block]:
    """Whose bill begins or ends: what it is, and what the tenant costs."""
    if not rows:
        return []

    def cells(row: Row) -> tuple[str, ...]:
        side = row.after if what == "begin" else row.before
        assert side is not None
        how = row.month if row.basis == "replayed" else "estimate"
        return (Id(row.tenant), Id(side.plan), _billed(side), shown(side.cost, currency), how)

    title = f"{_many(len(rows), 'tenant')} {what}{'s' if len(rows) == 1 else ''}"
    rest = f"and {len(rows) - limit:,} more" if len(rows) > limit else ""
    return [Table(title, ("tenant", "plan", "bill", "cost", "from"), tuple(cells(row) for row in rows[:limit]), rest)]


def _cost(row: Row, currency: str) -> tuple[str, ...]:
    before, after = row.before, row.after
    assert before is not None
    assert after is not None
    margin = after.margin(currency)
    words = "not comparable" if margin is None else str(margin)
    guess = ", estimated in part" if after.guessed else ""
    return (Id(row.tenant), _plan(before, after), str(before.cost), f"{after.cost}{guess}", _plus(row.cost_change), words)


def _bounded(
    title: str,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    limit: int,
    cells: Callable[[Row], tuple[str, ...]],
    change: Callable[[Row], Decimal | None],
) -> Table:
    """The first rows, and how many more there are with what they come to."""
    rest = rows[limit:]
    if not rest:
        return Table(title, columns, tuple(cells(row) for row in rows))
    sums: dict[str, Decimal] = {}
    for row in rest:
        amount = change(row)
        if amount is not None and row.after is not None:
            sums[row.after.currency] = sums.get(row.after.currency, Decimal(0)) + amount
    total = ", ".join(f"{_plus(amount)} {currency.upper()}" for currency, amount in sorted(sums.items()))
    return Table(title, columns, tuple(cells(row) for row in rows[:limit]), f"and {len(rest):,} more{f': {total} in all' if total else ''}")


def _notes(rows: Iterable[Row], limit: int) -> list[str]:
    """What was assumed of single tenants: each sentence once, with whom it is about; those about most first."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.tenant)
    ordered = sorted(about.items(), key=lambda item: (-len(item[1]), item[0]))
    found = [f"{who[0] if len(who) == 1 else _many(len(who), 'tenant')}: {note}" for note, who in ordered[:limit]]
    return [*found, f"and {len(ordered) - limit:,} more such notes"] if len(ordered) > limit else found


def _plus(amount: Decimal) -> str:
    """With its sign; nothing is `0.00`."""
    return f"{amount:+.2f}" if amount else "0.00"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _count(count: int) -> str:
    return f"{_many(count, 'tenant')} {'is' if count == 1 else 'are'} concerned"
