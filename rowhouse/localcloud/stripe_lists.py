"""Lists and searches as Stripe pages them, and `expand`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rowhouse.localcloud.stripe_errors import invalid, no_such
from rowhouse.localcloud.stripe_state import Json, State, clone

__all__ = ["expand", "first_lines", "in_range", "page", "search_page"]

_LINES_SHOWN = 10  # Stripe: an invoice shows its first lines, the rest has its own list (API reference, 2026-10)


def in_range(value: int | None, bounds: Mapping[str, int] | None) -> bool:
    """Whether a time lies within gt, gte, lt and lte."""
    if bounds is None:
        return True
    if value is None:
        return False
    return (
        value > bounds.get("gt", -1)
        and value >= bounds.get("gte", 0)
        and value < bounds.get("lt", value + 1)
        and value <= bounds.get("lte", value)
    )


def page(found: Iterable[Json], params: Mapping[str, Any], url: str, kind: str) -> Json:
    """One page of `found` (newest first), after or before the object that the caller names."""
    rows = list(found)
    limit = params.get("limit", 10)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise invalid("You cannot use both `starting_after` and `ending_before`.", "starting_after")
    if after or before:
        name = "starting_after" if after else "ending_before"
        at = next((index for index, row in enumerate(rows) if row["id"] == (after or before)), None)
        if at is None:
            raise no_such(kind, str(after or before), name)
        if after:
            rows = rows[at + 1 :]
        else:
            shown = rows[max(0, at - limit) : at]
            return {"object": "list", "data": shown, "has_more": at > limit, "url": url}
    return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit, "url": url}


def first_lines(answer: Json) -> Json:
    """An invoice, or a list of them, with the first ten lines of each; all of them are in the invoice's own list of lines."""
    if answer.get("object") in {"list", "search_result"}:
        return {**answer, "data": [first_lines(one) for one in answer["data"]]}
    lines = answer.get("lines") or {}
    if answer.get("object") != "invoice" or len(lines.get("data", ())) <= _LINES_SHOWN:
        return answer
    return {**answer, "lines": {**lines, "data": lines["data"][:_LINES_SHOWN], "has_more": True}}


def search_page(found: list[Json], params: Mapping[str, Any], url: str) -> Json:
    """One page of a search; `page` is the opaque place to go on from."""
    limit = params.get("limit", 10)
    token = params.get("page", "")
    if token and not (token.startswith("p") and token[1:].isdecimal()):
        raise invalid(f"Invalid page: {token}", "page")
    start = int(token[1:]) if token else 0
    shown, more = found[start : start + limit], len(found) > start + limit
    return {"object": "search_result", "data": shown, "has_more": more, "next_page": f"p{start + limit}" if more else None, "url": url}


def expand(answer: Json, paths: list[str], state: State, includable: Mapping[str, Callable[[Json], Any]]) -> Json:
    """A copy of `answer` with ids replaced by their objects.

    `includable` gives properties that are left out unless asked for, by `<object>.<property>` (`price.tiers`).
    Raises: StripeError (400) for a path that leads nowhere or is deeper than four levels.
    """
    if not paths:
        return answer
    full = clone(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) > (5 if parts[0] == "data" else 4):
            raise invalid(f"You cannot expand more than 4 levels of a property (you passed {path})", "expand")
        _expand_at(full, parts, path, state, includable)
    return full


def _expand_at(node: Any, parts: list[str], path: str, state: State, includable: Mapping[str, Callable[[Json], Any]]) -> None:
    if node is None:
        return
    if isinstance(node, list):
        for item in node:
            _expand_at(item, parts, path, state, includable)
        return
    head, rest = parts[0], parts[1:]
    key = f"{node.get('object')}.{head}"
    if key in includable and head not in node:
        node[head] = includable[key](node)
    if head not in node:
        raise invalid(
            f"This property cannot be expanded ({path}). You may want to try expanding a list with `data` at the start.", "expand"
        )
    if isinstance(node[head], str):
        shelf = next((shelf for shelf in state.shelves if node[head] in shelf.objects or node[head] in shelf.gone), None)
        if shelf is None:
            raise invalid(f"This property cannot be expanded ({path}).", "expand")
        node[head] = clone(shelf.objects.get(node[head]) or shelf.gone[node[head]])
    if rest:
        _expand_at(node[head], rest, path, state, includable)
