"""A review as one comment in Markdown: what is destroyed or interrupted first, then money, then policies, then the rest in groups.

Does: order, group, quote, and keep within the length that GitHub takes. Does not: judge. Whatever a file says is quoted (markup.py), and
what does not fit is counted, never silently dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rowhouse.review.changes import Change, inside, is_component, tenant_of
from rowhouse.review.markup import code, table, words
from rowhouse.review.objections import Objection
from rowhouse.review.review import Review, Told
from rowhouse.spec.policy import Violation

__all__ = ["LONGEST", "markdown"]

LONGEST: Final = 60_000
"""Characters; GitHub takes 65,536."""

_ROWS: Final = 20
_NAMED: Final = 5
_GONE: Final = frozenset({"delete", "replace", "create-replacement", "delete-replaced", "discard"})
_SIGNS: Final = {"update": "~", "delete": "✕", "discard": "✕", "import": "⇥"}
"""None of them is a mark of a list, which each stands in."""
_DIGEST: Final = re.compile(r"(@sha256:[0-9a-f]{8})[0-9a-f]{56}$")
_TELLS_LITTLE: Final = frozenset({"terms", "minSecretsVersion"})


def markdown(review: Review) -> str:
    """The comment, at most `LONGEST` characters. The sections stand in the order of what they may cost; the last ones give way first."""
    sections = [
        _head(review),
        _objections(review),
        _destroyed(review),
        _money(review),
        _policies(review),
        _changes(review),
        _shared(review),
        _files(review),
    ]
    foot = _foot(review)
    room = LONGEST - len(foot) - 200
    kept: list[str] = []
    for lines in sections:
        block, left = _fitted(lines, room)
        room -= len(block) + 2
        if block:
            kept.append(block)
        if left:
            whole = f"rowhouse review {review.base[:12]}..{review.head[:12]} --json"
            kept.append(f"_{left:,} more lines of this section do not fit; {code(whole)} shows all._")
            room -= len(kept[-1]) + 2
    return "\n\n".join([*kept, foot]) + "\n"


def _fitted(lines: list[str], room: int) -> tuple[str, int]:
    """The first lines that fit, and how many do not."""
    length = 0
    for number, line in enumerate(lines):
        length += len(line) + 1
        if length > room:
            return "\n".join(lines[:number]), len(lines) - number
    return "\n".join(lines), 0


def _head(review: Review) -> list[str]:
    count = len(review.affected.tenants)
    cells = len(review.cells)
    what = (
        f"{_count(count, 'tenant')} in {_count(cells, 'cell')}"
        if count
        else "no tenant"
        if not cells
        else f"no tenant, {_count(cells, 'cell')}"
    )
    kinds: dict[str, int] = {}
    for one in review.affected.tenants.values():
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    told = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
    blocked = len(review.blocked)
    verdict = f"**Blocked: {_count(blocked, 'reason')} below.**" if blocked else "**Nothing speaks against it.**"
    return [f"### Rowhouse: {what}{f' ({told})' if told else ''}", "", verdict]


def _objections(review: Review) -> list[str]:
    """Mandatory objections and errors in files, whatever they concern: who reads no further has read these."""
    errors = [problem for problem in review.problems if problem.severity == "error"]
    mandatory = [one for one in review.objections if one.is_mandatory]
    if not errors and not mandatory:
        return []
    lines = ["#### Must be mended"]
    lines += [f"- {words(str(problem), 600)}" for problem in errors[: _ROWS * 2]]
    if len(errors) > _ROWS * 2:
        lines.append(f"- and {_count(len(errors) - _ROWS * 2, 'more error')} in files")
    lines += _grouped(mandatory)
    return lines


def _grouped(found: Sequence[Objection]) -> list[str]:
    """Objections by rule, each rule's first ones in words."""
    by_rule: dict[str, list[Objection]] = {}
    for one in found:
        by_rule.setdefault(one.rule, []).append(one)
    lines = []
    for rule, several in sorted(by_rule.items()):
        lines += [f"- {words(one.message, 800)} ({code(rule)})" for one in several[:_ROWS]]
        if len(several) > _ROWS:
            more = [one.tenant for one in several[_ROWS:]]
            lines.append(f"- and {len(more):,} more of {code(rule)}: {_some(more)}")
    return lines


def _destroyed(review: Review) -> list[str]:
    """What goes, and who notices."""
    rows = []
    for told in review.told:
        gone = [change for change in _resources(told.changes) if change.op in _GONE]
        if gone:
            names = ", ".join(f"{change.kind} {code(change.name)}" for change in gone[:_NAMED])
            rows.append((told, f"**{'replaced' if all('replace' in change.op for change in gone) else 'destroyed'}**: {names}"))
    rows += [(told, told.interruption) for told in review.told if told.interruption]
    whole = [
        f"- {_some(slugs)}: **destroyed**, with machines, volumes and gates: {why}"
        for kind, why in (("removed", "no file is left"), ("moved", "another cell makes it anew, and its data stays behind"))
        if (slugs := [one.tenant for one in review.affected.tenants.values() if one.kind == kind and one.before and one.before.instances])
    ]
    if not rows and not whole:
        return ["#### Destroyed or interrupted", "Nothing."]
    lines = ["#### Destroyed or interrupted", *whole]
    lines += [f"- {_who(told)}: {what}" for told, what in rows[: _ROWS * 2]]
    if len(rows) > _ROWS * 2:
        left = sum(len(told.shape.tenants) for told, _ in rows[_ROWS * 2 :])
        lines.append(f"- and {_count(left, 'more tenant')}")
    return lines


def _money(review: Review) -> list[str]:
    if review.money is None:
        return []
    from rowhouse.review.money_words import markdown as money_markdown  # rich is only needed where there is money

    return ["#### Money", *money_markdown(review.money, rows=_ROWS)]


def _policies(review: Review) -> list[str]:
    if not review.rules:
        return []
    found = sorted(review.violations, key=lambda one: (one.level != "mandatory", one.rule, one.urn))
    if not found:
        already = f" ({_count(len(review.old_violations), 'older violation')} unchanged)" if review.old_violations else ""
        return ["#### Policies", f"{len(review.rules)} rules hold{already}."]
    rows = [
        [code(one.rule), one.level, _owner(review, one), words(f"{one.message} {_mend(review, one)}", 500)] for one in found[: _ROWS * 2]
    ]
    lines = ["#### Policies", *table(["rule", "", "resource", "what"], rows)]
    if len(found) > _ROWS * 2:
        lines.append(f"\nand {len(found) - _ROWS * 2:,} more")
    return lines


def _mend(review: Review, one: Violation) -> str:
    rule = review.rules.get(one.rule)
    return rule.mend if rule is not None else ""


def _owner(review: Review, one: Violation) -> str:
    if not one.urn:
        return "the whole stack"
    tenant = tenant_of(one.urn, review.outcome.parents)
    name = code(one.urn.rsplit("::", 1)[-1])
    alike = next((len(told.shape.tenants) for told in review.told if told.shape.example.tenant == tenant), 1)
    return name if alike == 1 else f"{name} and {_count(alike - 1, 'tenant')} like it"


def _changes(review: Review) -> list[str]:
    """Every change, tenants that change alike together; single ones first."""
    if not review.told:
        return []
    lines = ["#### Changes"]
    for told in review.told:
        lines.append(f"- {_who(told)} ({', '.join(code(reason) for reason in told.shape.example.reasons[:_NAMED])})")
        lines += [f"  - {row}" for row in _steps(told.changes)]
    return lines


def _shared(review: Review) -> list[str]:
    if not review.shared:
        return []
    lines = ["#### Shared by all tenants"]
    for cell, changes in review.shared.items():
        lines.append(f"- cell {code(cell)}")
        lines += [f"  - {row}" for row in _steps(changes)]
    return lines


def _steps(changes: Iterable[Change]) -> list[str]:
    """A change a line; what is made new is one line together."""
    lines = []
    resources = _resources(changes)
    made = [change for change in resources if change.op == "create"]
    if made:
        kinds: dict[str, int] = {}
        for change in made:
            kinds[change.kind] = kinds.get(change.kind, 0) + 1
        lines.append("new: " + ", ".join(f"{number} {kind}s" if number > 1 else kind for kind, number in sorted(kinds.items())))
    for change in resources:
        if change.op == "create":
            continue
        sign = _SIGNS.get(change.op, "±")
        rows = [row for each in change.diff for row in inside(each)]
        told = [_row(*row) for row in rows if row[0].split(".")[0] not in _TELLS_LITTLE or len(rows) == 1 or "." in row[0]]
        shown = "; ".join(told[:8]) + (f"; and {len(told) - 8} more" if len(told) > 8 else "")
        lines.append(f"{sign} {change.kind} {code(change.name)}{f': {shown}' if shown else ''}")
    return lines


def _row(path: str, kind: str, before: object, after: object) -> str:
    if kind == "add":
        return f"{code(path)} = {code(after)}"
    if kind == "delete":
        return f"{code(path)} {code(before)} goes"
    return f"{code(path)} {code(_short(before))} → {code(_short(after))}"


def _short(value: object) -> object:
    """An image's digest by its first digits, as everybody tells them apart; everything else as it is."""
    return _DIGEST.sub(r"\1…", value) if isinstance(value, str) else value


def _files(review: Review) -> list[str]:
    advisory = [one for one in review.objections if not one.is_mandatory]
    warnings = [problem for problem in review.problems if problem.severity == "warning"]
    if not advisory and not warnings and not review.affected.other:
        return []
    lines = ["#### Also"]
    lines += _grouped(advisory)
    lines += [f"- {words(str(problem), 600)}" for problem in warnings[:_ROWS]]
    if len(warnings) > _ROWS:
        lines.append(f"- and {_count(len(warnings) - _ROWS, 'more warning')}")
    if review.affected.other:
        lines.append(f"- {_count(len(review.affected.other), 'path')} that change nothing deployed: {_some(review.affected.other)}")
    return lines


def _foot(review: Review) -> str:
    return (
        f"_What is shown is what the program at {code(review.base[:12])} makes of the files at {code(review.head[:12])}; nothing of the "
        f"change was run. Digest {code(review.digest)}, in {review.seconds:.1f} s._"
    )


def _who(told: Told) -> str:
    tenants = told.shape.tenants
    return code(tenants[0]) if len(tenants) == 1 else f"**{len(tenants):,} tenants** ({_some(tenants)})"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(code(name) for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _resources(changes: Iterable[Change]) -> list[Change]:
    """One entry a resource; components are left out, their children tell more."""
    seen: set[str] = set()
    kept = []
    for change in changes:
        if not is_component(change.urn) and change.urn not in seen:
            seen.add(change.urn)
            kept.append(change)
    return kept
