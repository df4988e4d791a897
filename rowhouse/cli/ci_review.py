"""The review of a pull request's data by the base's code, behind one seam.

Does: name what the workflows need of a review, and get the house's own. Does not: review; `rowhouse.review` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from rowhouse.cli.ci_event import Run
from rowhouse.cli.ci_git import Clone, Merged
from rowhouse.cli.ci_text import code

__all__ = [
    "MOST",
    "Review",
    "Reviewed",
    "Reviewer",
    "Selection",
    "Selector",
    "fetched",
    "house_judge",
    "house_reviewer",
    "house_selector",
    "reviewed",
    "without_credentials",
    "without_tokens",
]

MOST: Final = 60_000
"""Characters of a review; GitHub takes 65,536 in a comment."""
_TOKENS: Final = ("GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL")
_NEEDED: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "ROWHOUSE_NURSERY"})
_NAMED: Final = 20


class Review(Protocol):
    """What a change does, as `rowhouse.review` says it."""

    @property
    def blocked(self) -> tuple[str, ...]: ...
    @property
    def cells(self) -> tuple[str, ...]: ...
    @property
    def tenants(self) -> tuple[str, ...]: ...
    @property
    def digest(self) -> str: ...
    def markdown(self) -> str: ...
    def document(self) -> dict[str, Any]: ...


class Selection(Protocol):
    """Who can change between two commits, and where."""

    @property
    def cells(self) -> tuple[str, ...]: ...
    @property
    def tenants(self) -> Collection[str]: ...


Selector = Callable[[Path, str, str], Selection]
"""What lies between two commits of the clone at a path, without a render."""


class Reviewer(Protocol):
    """A review of what lies between two commits, both in the clone at `root`; runs no code of `head`."""

    def __call__(self, root: Path, base: str, head: str, *, labels: frozenset[str] = frozenset()) -> Review: ...


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A pull request's review, or why there is none."""

    base: str
    head: str
    markdown: str
    blocked: tuple[str, ...]
    tenants: frozenset[str] | None
    """Whom it changes; None while that cannot be said."""
    digest: str = ""
    """What it does to whom; empty where that cannot be said."""


def house_reviewer(*, priced: bool = True) -> Reviewer:
    """The house's own review; imported here alone, because it loads the engine."""
    from rowhouse.cli.reviewing import house_review

    def review(root: Path, base: str, head: str, *, labels: frozenset[str] = frozenset()) -> Review:
        # It has an event loop of its own, and who asks may be inside of one.
        with ThreadPoolExecutor(1) as elsewhere:
            return elsewhere.submit(house_review, root, base, head, labels=labels, priced=priced).result()

    return review


def house_judge() -> Reviewer:
    """The same without money: it needs no ledger, and says the same whenever it is asked."""
    return house_reviewer(priced=False)


def house_selector() -> Selector:
    """The house's own selection, in a process that a change can spoil for nobody else."""
    from rowhouse.cli.ci_select import selected_apart

    return selected_apart


def reviewed(clone: Clone, run: Run, number: int, head: str, labels: frozenset[str], token: str, reviewer: Reviewer) -> Reviewed:
    """Fetch a pull request's commits and review what its merge would change.

    Raises: MovedError when its branch moved, CiError, and what the review itself raises.
    """
    base = clone.head()
    merged = fetched(clone, run, number, base, head, token)
    if not merged.commit:
        paths = ", ".join(code(path) for path in merged.conflicts[:_NAMED]) or "files that git does not name"
        more = f" and {len(merged.conflicts) - _NAMED} more" if len(merged.conflicts) > _NAMED else ""
        why = "it conflicts with the base"
        text = f"**This change cannot be merged:** {why} in {paths}{more}. Merge the base into the branch, and it is reviewed again."
        return Reviewed(base, head, text, (why,), None)
    with without_tokens():
        review = reviewer(clone.root, base, merged.commit, labels=labels)
    return Reviewed(base, head, review.markdown(), tuple(review.blocked), frozenset(review.tenants), review.digest)


def fetched(clone: Clone, run: Run, number: int, base: str, head: str, token: str) -> Merged:
    """A pull request's commits in the clone, merged into a base there. Raises: MovedError, CiError."""
    clone.fetch_pull(run, number, head, token)
    return clone.merged(base, head)


def without_credentials() -> AbstractContextManager[None]:
    """Meanwhile this process and those it starts have nothing of their environment but what a program needs to run at all."""
    return _without(os.environ.keys() - _NEEDED)


def without_tokens() -> AbstractContextManager[None]:
    """While a change's data is looked at, this process and those it starts hold no token of the workflow."""
    return _without(_TOKENS)


@contextmanager
def _without(names: Iterable[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
