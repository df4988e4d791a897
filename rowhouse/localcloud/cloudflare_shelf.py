"""Where the stand-in keeps its objects, and how the vendor looked before the last change.

A shelf never changes an object in place: it is replaced. So undoing the last change for one stale answer costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History", "Shelf"]

Json = dict[str, Any]


@dataclass
class History:
    """The last change to any shelf: which shelf, which id, and the object before it (None: it did not exist)."""

    shelf: Shelf | None = None
    key: str = ""
    before: Json | None = None
    changes: int = field(default=0)


class Shelf:
    """Objects of one kind by id, in order of creation."""

    def __init__(self, history: History) -> None:
        """Begin empty, sharing `history` with the vendor's other shelves."""
        self._items: dict[str, Json] = {}
        self._history = history

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        """Whether the id is there."""
        return key in self._items

    def __iter__(self) -> Iterator[Json]:
        """All objects, oldest first, over a copy: the caller may change the shelf meanwhile."""
        return iter(list(self._items.values()))

    def get(self, key: str, *, stale: bool = False) -> Json | None:
        """One object, or None; `stale` gives it as it was before the vendor's last change."""
        if stale and self._history.shelf is self and self._history.key == key:
            return self._history.before
        return self._items.get(key)

    def all(self, *, stale: bool = False) -> list[Json]:
        """Every object, oldest first."""
        if not stale or self._history.shelf is not self:
            return list(self._items.values())
        seen = {key: item for key, item in self._items.items() if key != self._history.key}
        return [*seen.values(), *([self._history.before] if self._history.before is not None else [])]

    def put(self, key: str, item: Json) -> Json:
        """Store or replace an object, and give it back."""
        self._remember(key)
        self._items[key] = item
        return item

    def drop(self, key: str) -> None:
        """Remove an object that is there."""
        self._remember(key)
        del self._items[key]

    def snapshot(self) -> dict[str, Json]:
        """What is on the shelf, to go back to."""
        return dict(self._items)

    def restore(self, snapshot: dict[str, Json]) -> None:
        """Go back to a snapshot."""
        self._items = dict(snapshot)
        self._history.shelf = None

    def _remember(self, key: str) -> None:
        history = self._history
        history.shelf, history.key, history.before = self, key, self._items.get(key)
        history.changes += 1
