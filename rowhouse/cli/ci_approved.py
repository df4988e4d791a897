"""What was reviewed of the merges that a cell is to get, as ranges of commits for `rowhouse up --reviewed`.

Does: go from each merged commit to its pull request, from that to the green status that this repository's own workflows set at its head,
and from that to the very commits that were compared; judge them again and believe nothing that has another digest, is blocked, or was
compared with a commit at which the branch never stood. Does not: approve anything by itself: a commit that was pushed without a pull
request has no range, so what it changes stays as it is until somebody says so.
"""

from __future__ import annotations

import asyncio
from typing import Final

from rowhouse.cli.ci_comment import REVIEW, approved_in
from rowhouse.cli.ci_event import Run
from rowhouse.cli.ci_git import Clone
from rowhouse.cli.ci_review import Reviewer, fetched, without_credentials
from rowhouse.cli.ci_told import say
from rowhouse.errors import RowhouseError
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Pull

__all__ = ["reviewed_ranges"]

_MERGES_MAX: Final = 50
"""More merges than these in one apply are not looked up one by one."""


async def reviewed_ranges(
    github: GitHub, clone: Clone, run: Run, start: str, end: str, token: str, reviewer: Reviewer
) -> list[tuple[str, str]]:
    """The ranges that were reviewed of all that was merged after `start`; an empty range stands for nothing."""
    merges = clone.merges(start, end)
    if len(merges) > _MERGES_MAX:
        say(f"{len(merges)} merges since {start[:12]}: too many to look up what was reviewed of each; apply with --unreviewed, or by hand")
        return [(start, start)]
    viewer = await github.viewer()
    found = [(start, start)]
    for commit in merges:
        for pull in await github.merged_by(commit):
            found += await _of(github, clone, run, pull, commit, viewer, token, reviewer)
    return found


async def _of(
    github: GitHub, clone: Clone, run: Run, pull: Pull, commit: str, viewer: str, token: str, reviewer: Reviewer
) -> list[tuple[str, str]]:
    """The range that was reviewed of one merged pull request; nothing where no record of ours tells of it, or tells of another change.

    A status says little: who may push a branch can write a workflow there that sets one. So the program and the policies of a commit that
    it names are run only where the branch itself stood at that commit once, and without any credential.
    """
    statuses = await github.statuses(pull.head.sha)
    ours = [one for one in statuses if one.context == REVIEW and one.creator is not None and one.creator.is_viewer(viewer)]
    told = approved_in(ours[0]) if ours else None
    if told is None:
        say(f"pull request {pull.number}: no review of it is recorded; what only it changes stays as it is")
        return []
    digest, base = told
    try:
        if not clone.stood_before(base, commit):
            say(f"pull request {pull.number}: its review compared it with {base}, at which the branch never stood; it stays as it is")
            return []
        merged = fetched(clone, run, pull.number, base, pull.head.sha, token)
        if not merged.commit:
            return []
        with without_credentials():
            review = await asyncio.to_thread(reviewer, clone.root, base, merged.commit, labels=pull.label_names)
    except RowhouseError as error:
        say(f"pull request {pull.number}: what was reviewed cannot be computed again: {error}")
        return []
    if review.digest != digest:
        say(f"pull request {pull.number}: its change has another digest ({review.digest}) than was reviewed ({digest}); it stays as it is")
        return []
    if review.blocked:
        say(f"pull request {pull.number}: {len(review.blocked)} reasons block it; it stays as it is")
        return []
    return [(base, merged.commit)]
