"""Whether what is about to be done is what was reviewed: step by step, tenant by tenant.

Does: foresee reviewed ranges of commits again, exactly and for one cell, and compare an engine's preview against the real state with them.
Does not: keep anything. Commits cannot be changed, so a range that the record names (and nobody who may open a pull request can write the
record) says at any time what was reviewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rowhouse import engine
from rowhouse.engine.properties import UNKNOWN_TEXT, redacted
from rowhouse.review.affected import CATALOG_CELL
from rowhouse.review.changes import Outcome, Step, tenant_of
from rowhouse.review.commits import Commits
from rowhouse.review.digests import plain
from rowhouse.review.render import CellWork, render, warm_parent
from rowhouse.review.resources import NOT_KNOWN
from rowhouse.review.sides import Sides

__all__ = ["Approved", "approved_in", "held_urns", "unapproved"]

_TENANT = "rowhouse:index:Tenant"
_NOT_KNOWN = NOT_KNOWN | {UNKNOWN_TEXT}
_ABSENT = object()


@dataclass(slots=True)
class Approved:
    """What may be done to one cell."""

    steps: dict[str, list[Step]] = field(default_factory=dict)
    """URN to its steps in the order of the reviewed ranges, as they were foreseen without vendors."""
    standing: dict[str, Step] = field(default_factory=dict)
    """URN to a resource that the reviewed ranges leave as it is: it may follow one that they change, where it has that one's outputs."""

    def covers(self, step: Step) -> bool:
        """Whether a step was reviewed. Finishing what an earlier attempt of a reviewed step left half done counts as that step."""
        return not self.unlike(step)

    def unlike(self, step: Step) -> list[str]:
        """The properties in which a step is not the one that was reviewed; its operation, in brackets, where that is not."""
        chain = self.steps.get(step.urn)
        changed = _changed(step)
        if chain is None:
            same = self.standing.get(step.urn)
            if step.op != "update" or not changed:
                return [f"[{step.op}]"]
            if same is None:
                return changed
            return [key for key in changed if not (self._follows(same, key) and _alike([same], step, key))]
        if step.op == "update" and not changed:
            return []
        if step.op not in {one.op for one in chain} or (step.op == "delete") != (chain[-1].op == "delete"):
            return [f"[{step.op}]"]
        if step.op == "delete":
            return []
        if step.op == "create":
            changed = sorted({*changed, *_keys(chain[-1].after)})
        return [key for key in changed if not _alike(chain, step, key)]

    def _follows(self, same: Step, key: str) -> bool:
        return any(urn in self.steps for urn in same.comes_from.get(key, ()))


def _keys(inputs: Mapping[str, Any] | None) -> set[str]:
    return {key for key in inputs or {} if not key.startswith("__")}  # what bridged plugins note for themselves


def _changed(step: Step) -> list[str]:
    before, after = step.before or {}, step.after or {}
    keys = sorted(_keys(before) | _keys(after))
    return keys if step.op in {"create", "delete"} else [key for key in keys if plain(before.get(key)) != plain(after.get(key))]


def _alike(chain: Sequence[Step], step: Step, key: str) -> bool:
    """Whether a property becomes what the last reviewed step that changes it makes it, from what it was at some point on the way there.

    Ranges may begin at one commit, so a later one need not know what an earlier one changes; what it does not change it says nothing of.
    """
    changing = [one for one in chain if key in _changed(one)] or list(chain[-1:])
    last = changing[-1]
    if not _fits((last.after or {}).get(key, _ABSENT), (step.after or {}).get(key, _ABSENT), key in last.comes_from):
        return False
    if step.op == "create":
        return True
    value = (step.before or {}).get(key, _ABSENT)
    stations = [(one, one.before) for one in changing] + [(one, one.after) for one in changing[:-1]]
    return any(_fits((inputs or {}).get(key, _ABSENT), value, key in one.comes_from) for one, inputs in stations)


def _fits(foreseen: Any, value: Any, open_: bool) -> bool:
    """Whether a value is the foreseen one; where `open_`, what was not known without vendors may be anything."""
    if not open_:
        return bool(plain(foreseen) == plain(value))
    if isinstance(foreseen, str) and foreseen in _NOT_KNOWN:
        return value is not _ABSENT
    if isinstance(value, str) and value in _NOT_KNOWN:
        return _has_unknown(foreseen)
    if isinstance(foreseen, Mapping) and isinstance(value, Mapping):
        return foreseen.keys() == value.keys() and all(_fits(item, value[name], open_) for name, item in foreseen.items())
    if isinstance(foreseen, list) and isinstance(value, list):
        return len(foreseen) == len(value) and all(_fits(one, other, open_) for one, other in zip(foreseen, value, strict=True))
    return bool(plain(foreseen) == plain(value))


def _has_unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(_has_unknown, value))
    return isinstance(value, str) and value in _NOT_KNOWN


async def approved_in(root: Path, ranges: Sequence[tuple[str, str]], cell: str) -> Approved:
    """What reviewed ranges do to one cell, one after the other. Raises: CommitsError, RenderError."""
    commits = Commits(root)
    found = Approved()
    async with warm_parent() as nursery:
        for base, head in ranges:
            sides = await asyncio.to_thread(Sides, commits, base, head)
            affected = sides.affected()
            tenants = frozenset(affected.in_cell(cell))
            if not tenants and cell not in affected.stacks and not (cell == CATALOG_CELL and affected.catalogs) and not affected.program:
                continue
            # The range is merged: its program is what applies it, so each side is rendered by its own.
            code = head if affected.program else base
            (made,) = await render(commits, base, sides.side(0), sides.side(1), [CellWork(cell, tenants)], nursery, code_after=code)
            for urn, step in made.outcome.steps.items():
                found.steps.setdefault(urn, []).append(step)
            found.standing |= {state.urn: _standing(state) for state in made.after if state.custom}
    return found


def unapproved(preview: Outcome, approved: Approved) -> dict[str, str]:
    """Tenant to the first reason for which its change is not the one that was reviewed; the empty name for what all tenants share.

    Who has nothing to do is not among them: a change that is applied already needs no approval. Who could not be previewed is: what would
    be done to them is not known.
    """
    found: dict[str, list[Step]] = {}
    for step in preview.steps.values():
        if not approved.covers(step):
            found.setdefault(tenant_of(step.urn, preview.parents), []).append(step)
    reasons = {tenant: _why(steps, approved) for tenant, steps in sorted(found.items())}
    for failure in preview.failures:
        tenant = tenant_of(failure.urn, preview.parents) if failure.urn else ""
        if not failure.skipped:
            reasons.setdefault(tenant, f"the preview failed, so it is not known what would be done: {failure.message}")
    return reasons


def held_urns(preview: Outcome, reasons: Mapping[str, str]) -> dict[str, str]:
    """URN of each tenant's component to why the tenant is held."""
    seen = {*preview.parents, *preview.parents.values()}
    return {urn: reasons[name] for urn in sorted(seen) if _is_tenant(urn) and (name := urn.rsplit("::", 1)[-1]) in reasons}


def _is_tenant(urn: str) -> bool:
    return bool(urn) and urn.split("::")[2].rsplit("$", 1)[-1] == _TENANT


def _why(steps: Sequence[Step], approved: Approved) -> str:
    first = min(steps, key=lambda step: step.urn)
    name = first.urn.rsplit("::", 1)[-1]
    more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
    what = ", ".join(approved.unlike(first)[:5]) if first.op == "update" else ""
    return f"{first.op} of {name}{f' ({what})' if what and what != '[update]' else ''}{more} was not in what was reviewed"


def _standing(state: engine.State) -> Step:
    inputs = redacted(state.inputs)
    return Step("same", state.urn, state.type, inputs, inputs, {key: urns for key, urns in state.property_dependencies.items() if urns})
