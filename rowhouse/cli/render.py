"""What a run changes, as a person reads it: what would be destroyed first, then tenant by tenant."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rowhouse.review.changes import Change, Outcome, inside, is_component, tenant_of
from rowhouse.spec.policy import Violation

__all__ = ["changes_text", "print_outcome", "resources", "table"]

_SIGNS = {
    "create": ("+", "green"),
    "import": ("=", "cyan"),
    "update": ("~", "yellow"),
    "replace": ("±", "magenta"),
    "create-replacement": ("±", "magenta"),
    "delete-replaced": ("±", "magenta"),
    "delete": ("-", "red"),
    "discard": ("-", "red"),
}
_WORDS = {"discard": "forget", "create-replacement": "replace", "delete-replaced": "replace"}
_SHARED = "shared by all tenants"
_VALUE_LIMIT = 48
_NAMED = 10


def print_outcome(console: Console, outcome: Outcome, *, done: bool) -> None:
    """Print changes, what policies say, failures and one line of sum."""
    console.print(changes_text(outcome), end="")
    console.print(_policies_text(outcome), end="", soft_wrap=True)
    console.print(_failures_text(outcome), end="", soft_wrap=True)
    console.print(Text(_sum(outcome, done=done), style="bold"))


def changes_text(outcome: Outcome) -> Text:
    """All changes, grouped by tenant."""
    text = Text()
    for tenant, changes in outcome.by_tenant().items():
        text.append(f"{tenant or _SHARED}\n", style="bold")
        for change in resources(changes):
            sign, style = _SIGNS.get(change.op, ("?", "white"))
            text.append(f"  {sign} {_WORDS.get(change.op, change.op):8}", style=style)
            text.append(f" {change.kind:22} {change.name}\n")
            rows = change.diff if change.told is None else change.told
            for path, kind, before, after in (each for row in rows for each in inside(row)):
                told = path if before is None and after is None else f"{path}: {_shown(kind, before, after)}"
                text.append(f"      {told}\n", style="dim")
    return text


def _policies_text(outcome: Outcome) -> Text:
    """What the policies say, each once: mandatory ones first, in red, with the resource, what is wrong and what to do."""
    text = Text()
    for violation in outcome.by_weight():
        mandatory = violation.level == "mandatory"
        text.append(f"policy {violation.rule}{'' if mandatory else ' (advisory)'}: ", style="red bold" if mandatory else "yellow bold")
        text.append(f"{_whose(violation, outcome)}{violation.message}\n", style="red" if mandatory else "yellow")
        text.append(f"      {violation.mend}\n" if violation.mend else "", style="dim")
    return text


def _whose(violation: Violation, outcome: Outcome) -> str:
    if not violation.urn:
        return ""
    tenant, name = tenant_of(violation.urn, outcome.parents), violation.urn.rsplit("::", 1)[-1]
    return f"{tenant}: {name}: " if tenant else f"{name}: "


def _failures_text(outcome: Outcome) -> Text:
    """What failed, in full, each reason once; then what was left alone for it: a line a tenant, or, when it is much, a count."""
    text = Text(style="red")
    failed: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    for failure in sorted(outcome.failures, key=lambda failure: (not failure.in_files, failure.urn)):
        tenant = tenant_of(failure.urn, outcome.parents) if failure.urn else ""
        name = failure.urn.rsplit("::", 1)[-1] if failure.urn else "run"
        if failure.in_files:
            text.append(f"refused: {failure.message.strip()}\n")
        elif not failure.skipped:
            failed.setdefault(failure.message.strip(), []).append(f"{tenant}: {name}" if tenant else name)
        elif not is_component(failure.urn):
            left.setdefault(tenant, []).append(name)
    for message, names in failed.items():
        text.append(f"failed: {_some(names)}: {message}\n")
    if len(left) > 1 and (count := sum(map(len, left.values()))) > _NAMED:
        tenants = len(left.keys() - {""})
        text.append(f"left alone: {count} resources that depend on what failed, of {tenants} tenant{'s' if tenants > 1 else ''}\n")
        return text
    for tenant, names in sorted(left.items()):
        text.append(f"left alone: {tenant + ': ' if tenant else ''}{_some(sorted(names))}\n")
    return text


def _some(names: list[str]) -> str:
    """The first names and how many more there are: a long list buries the reason."""
    return f"{', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"


def table(title: str, *columns: str) -> Table:
    """An empty table in the house's look."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def resources(changes: list[Change]) -> list[Change]:
    """One line for a replacement, which engines tell as up to three steps; components are left out, their children tell more."""
    seen: set[str] = set()
    kept = []
    for change in changes:
        if is_component(change.urn) or change.urn in seen:
            continue
        seen.add(change.urn)
        kept.append(change)
    return kept


def _shown(kind: str, before: Any, after: Any) -> str:
    if kind == "add":
        return f"{_short(after)} (new)"
    if kind == "delete":
        return f"{_short(before)} (gone)"
    if kind == "same":
        return f"{_short(after)} (under a new price at Stripe)"
    return f"{_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 1]}…"


def _sum(outcome: Outcome, *, done: bool) -> str:
    counts: dict[str, int] = {}
    for changes in outcome.by_tenant().values():
        for change in resources(changes):
            word = _WORDS.get(change.op, change.op)
            counts[word] = counts.get(word, 0) + 1
    told = ", ".join(f"{count} to {word}" if not done else f"{count} {_past(word)}" for word, count in sorted(counts.items()))
    bad = [failure for failure in outcome.failures if not failure.skipped]
    refused = sum(failure.in_files for failure in bad)
    left = sum(failure.skipped and not is_component(failure.urn) for failure in outcome.failures)
    mandatory = sum(violation.level == "mandatory" for violation in outcome.by_weight())
    counted = ((mandatory, "against the policies"), (refused, "refused"), (len(bad) - refused, "failed"), (left, "left alone"))
    parts = [told or "no changes", f"{outcome.unchanged} unchanged", *(f"{count} {word}" for count, word in counted if count)]
    return f"{'applied' if done else 'preview'}: {', '.join(parts)} ({outcome.seconds:.1f} s)"


def _past(word: str) -> str:
    return {"forget": "forgotten", "import": "imported"}.get(word, f"{word}d" if word.endswith("e") else f"{word}ed")
