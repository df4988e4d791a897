"""The embedded engine's result in the shape that every engine's is told in."""

from __future__ import annotations

from rowhouse import engine
from rowhouse.review.changes import CHANGING, Change, Failed, Outcome, Row, difference
from rowhouse.review.resources import NOT_KNOWN
from rowhouse.spec.policy import Violation

__all__ = ["outcome_of"]


def outcome_of(result: engine.Result) -> Outcome:
    """The engine's result in the command's own shape."""
    outcome = Outcome(outputs=dict(result.outputs), seconds=result.duration_s, declined=result.declined)
    outcome.violations = [Violation(told.rule, told.urn, told.message, told.level, told.mend) for told in result.violations]
    for step in result.steps:
        old, new = step.old or {}, step.new or {}
        outcome.parents[step.urn] = str((new or old).get("parent") or "")
        if step.op not in CHANGING:
            outcome.unchanged += step.op == "same"
            continue
        outcome.foresee(step.op, step.urn, step.old, step.new)
        kinds = {path: str(entry.get("kind", "update")) for path, entry in step.detailed_diff.items()}
        diff = difference(step.detailed_diff or step.reasons, kinds, old.get("inputs", {}), new.get("inputs", {})) if old and new else ()
        # A value that neither side knows tells nobody anything, unless it is all there is.
        told = tuple(row for row in diff if not _is_blind(row)) or diff
        outcome.changes.append(Change(step.op, step.urn, step.type, outcome.parents[step.urn], told))
    for failure in result.failures:
        if failure.urn:
            outcome.parents.setdefault(failure.urn, failure.parent)
        outcome.failures.append(Failed(failure.urn, failure.message, failure.skipped))
    return outcome


def _is_blind(row: Row) -> bool:
    return all(isinstance(value, str) and value in NOT_KNOWN for value in row[2:])
