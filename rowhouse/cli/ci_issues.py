"""One issue a cause of drift: opened, updated, opened again, closed by itself.

Does: know its own issues by label, marker and author. Does not: touch an issue of anybody else, nor open again one that a person closed as
not planned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rowhouse.cli.ci_drift import Cause, issue_body, issue_title
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Issue

__all__ = ["LABEL", "Synced", "sync"]

LABEL: Final = "rowhouse-drift"
_MARKER: Final = re.compile(r"<!-- rowhouse:drift:([0-9a-f]{16})(?: cells:([a-z0-9 -]*))? -->")
_CELLS_MAX: Final = 300


@dataclass
class Synced:
    """What was done, by the issues' numbers."""

    opened: list[int] = field(default_factory=list)
    updated: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)


async def sync(github: GitHub, causes: Mapping[str, Cause], blind: frozenset[str], seen: frozenset[str]) -> Synced:
    """Make the issues say what the causes are.

    Args: seen: the cells that were looked at. blind: those of them of which not everything was seen. An issue that names a cell which is in
    `blind`, or not in `seen`, is not closed: nothing proves that its cause is gone.
    """
    viewer = await github.viewer()
    mine = _by_cause([issue for issue in await github.issues(LABEL) if issue.user is not None and issue.user.is_viewer(viewer)])
    done = Synced()
    if causes:
        await github.ensure_label(LABEL, "found by the daily look at the vendors")
    for cause in sorted(causes.values(), key=lambda cause: cause.id):
        await _tell(github, cause, mine.get(cause.id, []), done)
    for cause_id, issues in mine.items():
        if cause_id not in causes:
            await _close(github, issues, blind, seen, done)
    return done


async def _tell(github: GitHub, cause: Cause, issues: list[Issue], done: Synced) -> None:
    title, body = issue_title(cause), issue_body(cause, _marker(cause))
    still = next((issue for issue in issues if issue.state == "open"), None)
    if still is None and any(issue.state_reason == "not_planned" for issue in issues[:1]):
        done.kept.append(issues[0].number)
    elif still is None and not issues:
        done.opened.append((await github.create_issue(title, body, LABEL)).number)
    else:
        issue = still or issues[0]
        changes = {"title": title, "body": body} if (issue.title, _lf(issue.body)) != (title, body) else {}
        if issue.state != "open":
            await github.edit_issue(issue.number, {**changes, "state": "open"})
            done.reopened.append(issue.number)
        elif changes:
            await github.edit_issue(issue.number, changes)
            done.updated.append(issue.number)
        else:
            done.kept.append(issue.number)


async def _close(github: GitHub, issues: Iterable[Issue], blind: frozenset[str], seen: frozenset[str], done: Synced) -> None:
    for issue in issues:
        if issue.state != "open":
            continue
        found = _MARKER.match(issue.body or "")
        named = frozenset((found[2] or "").split()) if found is not None else frozenset()
        # Without names (there were too many) every cell counts as named.
        if blind & named or named - seen or (not named and blind):
            done.kept.append(issue.number)
            continue
        await github.edit_issue(issue.number, {"state": "closed", "state_reason": "completed"})
        done.closed.append(issue.number)


def _by_cause(issues: Iterable[Issue]) -> dict[str, list[Issue]]:
    found: dict[str, list[Issue]] = {}
    for issue in sorted(issues, key=lambda issue: issue.number, reverse=True):
        marker = _MARKER.match(issue.body or "")
        if marker is not None:
            found.setdefault(marker[1], []).append(issue)
    return found


def _marker(cause: Cause) -> str:
    cells = " ".join(cause.cells) if len(cause.cells) <= _CELLS_MAX else ""
    return f"<!-- rowhouse:drift:{cause.id} cells:{cells} -->"


def _lf(text: str | None) -> str:
    # GitHub may give a text back with other line ends.
    return (text or "").replace("\r\n", "\n")
