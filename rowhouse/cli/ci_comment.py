"""One comment a pull request, and the commit statuses that a branch's protection can require.

Does: find the comment by a marker and by its author, edit it in place, and leave one when two runs wrote at once.
Does not: word the review.
"""

from __future__ import annotations

import re
from typing import Final

from rowhouse.cli.ci_review import MOST, Reviewed
from rowhouse.cli.ci_text import bounded
from rowhouse.spec.slug import is_slug
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Comment, CommitStatus
from rowhouse.vendors.http import VendorError

__all__ = [
    "MARKER",
    "MENDS",
    "REVIEW",
    "UNKNOWN",
    "WAIT",
    "approved_in",
    "comment_of",
    "review_status",
    "set_status",
    "stick",
    "wait_status",
]

MARKER: Final = "<!-- rowhouse:review -->"
REVIEW: Final = "rowhouse/review"
WAIT: Final = "rowhouse/wait"
MENDS: Final = "mends-apply"
"""The label of a pull request that mends a merged change which failed for its tenants."""
UNKNOWN: Final = "it cannot be said yet whether a tenant of this change waits for an earlier one; the comment says why"
"""Of `rowhouse/wait`, where the change could not be reviewed."""
_SHOWN: Final = 4
_APPROVED: Final = re.compile(r"change (?P<digest>[0-9a-f]{16}) of (?P<base>[0-9a-f]{40})$", re.ASCII)


def comment_of(reviewed: Reviewed) -> str:
    """The comment's text: marker, review, and what was compared."""
    text = reviewed.markdown.encode("utf-8", "replace").decode()  # a name of a file may hold bytes that are no text
    told = bounded(text, MOST, "cut: the review was longer than a comment may be.")
    return f"{MARKER}\n{told}\n\n<sub>`{reviewed.head[:12]}`, as its merge would change `{reviewed.base[:12]}`</sub>\n"


async def stick(github: GitHub, number: int, body: str) -> Comment:
    """Make `body` the one comment of ours on a pull request.

    A comment of somebody else with the same marker is neither edited nor believed. Two runs that find none both write one; both then look
    again, both keep the oldest and remove the rest, so that one is left whichever was faster.
    """
    viewer = await github.viewer()
    ours = _ours(await github.comments(number), viewer)
    if not ours:
        await github.create_comment(number, body)
        ours = _ours(await github.comments(number), viewer)
    for kept in ours:
        try:
            written = kept if kept.body == body else await github.edit_comment(kept.id, body)
        except VendorError as error:
            if error.status != 404:  # somebody removed it meanwhile: the next one is the one that stays
                raise
            continue
        for extra in ours:
            if extra.id > kept.id:
                await github.delete_comment(extra.id)
        return written
    return await github.create_comment(number, body)


def _ours(comments: list[Comment], viewer: str) -> list[Comment]:
    found = [
        comment
        for comment in comments
        if comment.user is not None and comment.user.is_viewer(viewer) and (comment.body or "").startswith(MARKER)
    ]
    return sorted(found, key=lambda comment: comment.id)


def review_status(reviewed: Reviewed) -> tuple[str, str]:
    """State and description of `rowhouse/review`; no text of a stranger is in it."""
    count = len(reviewed.blocked)
    if count:
        return (
            "failure",
            f"{count} reason{'s block' if count > 1 else ' blocks'} the merge; the comment names {'them' if count > 1 else 'it'}",
        )
    return "success", f"nothing blocks the merge; change {reviewed.digest} of {reviewed.base}"


def approved_in(status: CommitStatus) -> tuple[str, str] | None:
    """The digest and the base that a green `rowhouse/review` tells of; None where it tells of none."""
    found = _APPROVED.search(status.description or "") if status.state == "success" else None
    return None if found is None else (found["digest"], found["base"])


def wait_status(tenants: frozenset[str] | None, pending: frozenset[str], labels: frozenset[str] = frozenset()) -> tuple[str, str]:
    """State and description of `rowhouse/wait`: pending while one of the tenants is in a merged change that is not applied whole.

    A change that mends what could not be applied would wait for ever; somebody who may set labels says that it is one.
    """
    if MENDS in labels and pending:
        return "success", f"the label {MENDS} says that this change mends one that could not be applied"
    if tenants is None and pending:
        return "pending", UNKNOWN
    tenants = tenants or frozenset()
    both = sorted(tenant for tenant in tenants & pending if is_slug(tenant))
    if not tenants & pending:
        return "success", "no tenant of this change waits for an earlier one"
    more = f" and {len(both) - _SHOWN} more" if len(both) > _SHOWN else ""
    return "pending", f"in a merged change that is not applied yet: {', '.join(both[:_SHOWN])}{more}"


async def set_status(github: GitHub, sha: str, context: str, said: tuple[str, str], url: str) -> bool:
    """Set a commit status unless it says so already: GitHub takes a thousand of one context at one commit. Returns: whether it wrote."""
    state, description = said
    before = next((status for status in await github.statuses(sha) if status.context == context), None)
    if before is not None and (before.state, before.description) == (state, description[:140]):
        return False
    await github.set_status(sha, context, state, description, url)
    return True
