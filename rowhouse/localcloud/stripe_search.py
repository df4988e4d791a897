"""Stripe's search query language, the part that Rowhouse's objects can be asked by.

`field:'x'`, `field~'part'`, `field>1` (and <, >=, <=), `metadata['k']:'v'`, `metadata['k']:null`, a `-` before a clause, and
either ANDs or ORs, not both and without parentheses, as at Stripe.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rowhouse.localcloud.stripe_errors import StripeError, invalid
from rowhouse.localcloud.stripe_state import Json

__all__ = ["FIELDS", "matcher"]

FIELDS: dict[str, frozenset[str]] = {
    "customer": frozenset({"created", "email", "metadata", "name", "phone"}),
    "product": frozenset({"active", "description", "metadata", "name", "url"}),
    "price": frozenset({"active", "currency", "lookup_key", "metadata", "product", "type"}),
    "subscription": frozenset({"canceled_at", "created", "metadata", "status"}),
    "invoice": frozenset({"created", "currency", "customer", "metadata", "number", "status", "subscription", "total"}),
}
_CLAUSE = re.compile(
    r"""\s*(?P<not>-?)(?P<field>\w+)(?:\[(?P<q>["'])(?P<key>(?:\\.|(?!(?P=q)).)+)(?P=q)\])?\s*(?P<op>:|~|>=|<=|>|<)\s*
    (?:(?P<vq>["'])(?P<text>(?:\\.|(?!(?P=vq)).)*)(?P=vq)|(?P<bare>null|true|false|-?\d+(?:\.\d+)?))\s*""",
    re.VERBOSE | re.DOTALL,
)
_JOIN = re.compile(r"(AND|OR)\b", re.IGNORECASE)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class _Clause:
    negated: bool
    field: str
    key: str | None
    op: str
    value: str | None  # None is null

    def holds(self, thing: Json) -> bool:
        return self._plain(thing) != self.negated

    def _plain(self, thing: Json) -> bool:
        have = thing.get(self.field)
        if self.key is not None:
            have = (thing.get("metadata") or {}).get(self.key)
        if self.value is None:
            return have is None
        if have is None:
            return False
        if self.op in _COMPARE:
            try:
                return _COMPARE[self.op](float(have), float(self.value))
            except (TypeError, ValueError):
                return False
        shown = str(have).lower() if isinstance(have, bool) else str(have)
        if self.op == "~":
            return self.value.lower() in shown.lower()
        # Exact match on strings ignores case, except for metadata's values.
        return shown == self.value if self.key is not None else shown.lower() == self.value.lower()


def _malformed(query: str, why: str) -> StripeError:
    return invalid(f"We were unable to parse your search query: {why}. Query: {query}", "query")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def matcher(query: str, kind: str) -> Callable[[Json], bool]:
    """A predicate for a query over objects of `kind`.

    Raises: StripeError (400) for a query that does not parse, a field that cannot be searched, or AND beside OR.
    """
    clauses: list[_Clause] = []
    joins: set[str] = set()
    at = 0
    while True:
        match = _CLAUSE.match(query, at)
        if match is None:
            raise _malformed(query, f"unexpected text at position {at}")
        clauses.append(_clause(match, kind, query))
        at = match.end()
        if at >= len(query):
            break
        join = _JOIN.match(query, at)
        if join is None:  # Stripe reads a mere blank between clauses as AND
            joins.add("AND")
            continue
        joins.add(join.group(1).upper())
        at = join.end()
    if len(joins) > 1:
        raise _malformed(query, "you cannot combine AND and OR in one query")
    if len(clauses) > 10:
        raise _malformed(query, "at most 10 clauses are allowed")
    together = any if "OR" in joins else all
    return lambda thing: together(clause.holds(thing) for clause in clauses)


def _clause(match: re.Match[str], kind: str, query: str) -> _Clause:
    field, key = match["field"], match["key"]
    if field not in FIELDS[kind]:
        allowed = ", ".join(sorted(FIELDS[kind]))
        raise _malformed(query, f"Field `{field}` is an unsupported search field for resource `{kind}s`; supported are {allowed}")
    if (field == "metadata") != (key is not None):
        raise _malformed(query, "metadata is searched as metadata['key']:'value'")
    value = _unescape(match["text"]) if match["text"] is not None else None
    if match["bare"] is not None and match["bare"] != "null":
        value = match["bare"]
    if match["op"] == "~" and (value is None or len(value) < 3):
        raise _malformed(query, "a substring needs at least 3 characters")
    return _Clause(bool(match["not"]), field, _unescape(key) if key else None, match["op"], value)
