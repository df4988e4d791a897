"""The house's review of a range: with the project's policies as they were before it, and with the ledgers that can be read from here.

Does: put rules and money to `rowhouse.review`. Does not: fail for want of a ledger; a clone alone gives estimates, which say so. Nor go to
an address that only a file names: a remote ledger is read where ROWHOUSE_STORE_URL is set, else the review says that it was not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rowhouse.cli.ledger import is_named, open_ledger
from rowhouse.cli.policy_pack import FOLDER, rules_of
from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.review.affected import Affected
from rowhouse.review.commits import Commits
from rowhouse.review.money import money_of
from rowhouse.review.money_concern import wanted
from rowhouse.review.money_model import Money
from rowhouse.review.money_month import Month, months_closed
from rowhouse.review.review import Review, review_range
from rowhouse.review.sides import Sides
from rowhouse.spec.guardrails import Guardrails
from rowhouse.spec.model import Fleet
from rowhouse.spec.policy import Rule
from rowhouse.usage.vendor_prices import book_for

__all__ = ["house_review", "house_selection"]

_CODE_MAX: Final = 1 << 22


def house_review(
    root: Path,
    base: str,
    head: str,
    *,
    labels: frozenset[str] = frozenset(),
    priced: bool = True,
    progress: Callable[[str], None] = lambda _what: None,
) -> Review:
    """Judge what lies between two commits of the clone at `root`: infrastructure, policies, money. Nothing of `head` is run.

    Args: priced: False leaves money out, and with it the ledgers.

    Raises: CommitsError, RenderError, SpecError; LedgerError or StoreError where there is a ledger that cannot be read.
    """

    def pricing(before: Fleet, after: Fleet, found: Affected, limits: Guardrails, agreed: frozenset[str]) -> Money | None:
        if not found.tenants and not found.catalogs:
            return None
        months, unopened = _months(root, before, after, found, progress)
        newest = max((month.name for month in months.values()), default=f"{datetime.now(UTC):%Y-%m}")
        return money_of(before, after, months, book_for(newest), limits, labels=agreed, unopened=unopened)

    chosen = pricing if priced else None
    return review_range(root, base, head, labels=labels, rules=_rules_at(root, base), pricing=chosen, progress=progress)


def house_selection(root: Path, base: str, head: str) -> Affected:
    """Only who can change between two commits, and where: files are read, nothing is rendered. Raises: CommitsError."""
    commits = Commits(root)
    return Sides(commits, commits.commit(base), commits.commit(head)).affected()


def _rules_at(root: Path, base: str) -> tuple[Rule, ...]:
    """The project's policies as they stand in a commit: a change does not loosen its own."""
    commits = Commits(root)
    kept = [one for one in commits.kept(commits.commit(base), FOLDER) if one.mode in {"100644", "100755"} and one.path.endswith(".py")]
    contents = commits.blobs((one.blob for one in kept), most=_CODE_MAX)
    with TemporaryDirectory(prefix="rowhouse-policies-") as name:
        for one in kept:
            path = Path(name) / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[one.blob])
        return rules_of(Path(name))


def _months(
    root: Path, before: Fleet, after: Fleet, found: Affected, progress: Callable[[str], None]
) -> tuple[dict[str, Month], tuple[str, ...]]:
    """The last closed month of each cell whose bills can change, where there is one; and the cells whose remote ledger was left alone."""
    cells = {tenant.cell for one in found.tenants.values() for tenant in (one.before, one.after) if tenant is not None}
    if found.catalogs:
        cells |= {tenant.cell for tenant in before.tenants if tenant.plan.catalog in found.catalogs}
    ledgers = []
    unopened = []
    for cell in sorted(cells):
        try:
            if not is_named(root, cell, os.environ):
                unopened.append(cell)
                continue
            ledger = open_ledger(root, cell, os.environ)
        except EnvironmentProblemError:  # a cell that the change adds has no settings here yet
            continue
        if ledger.heads():
            ledgers.append(ledger)
    return months_closed(ledgers, wanted(before, after), progress=progress), tuple(unopened)
