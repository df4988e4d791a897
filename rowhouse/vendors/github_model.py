"""What GitHub answers, as far as anybody here reads it.

Everything else in an answer is ignored; a wrong shape is an error, not a default.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Comment", "CommitStatus", "Deployment", "DeploymentStatus", "Issue", "Pull", "Sha", "same_login"]

Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
_SUFFIX = "[bot]"


def same_login(one: str, other: str) -> bool:
    """Whether two logins are one account: REST says `github-actions[bot]` where GraphQL may say `github-actions`.

    A person cannot have a login with brackets, so a suffix is only ever left away, never invented: `github-actions` the person and the bot
    are told apart by `is_bot` where REST tells the kind.
    """
    return one.removesuffix(_SUFFIX).lower() == other.removesuffix(_SUFFIX).lower()


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class User(_Answer):
    """Who wrote something."""

    login: str
    type: str = "User"

    def is_viewer(self, viewer: str) -> bool:
        """Whether this is the token's own account; a person whose name is a bot's without its suffix is not."""
        return same_login(self.login, viewer) and (self.login == viewer or self.type == "Bot")


class Repository(_Answer):
    """A repository."""

    full_name: str


class Side(_Answer):
    """Where a pull request comes from or goes to."""

    ref: str
    sha: Sha
    repo: Repository | None = None
    """None when a fork was deleted."""


class Label(_Answer):
    """A label."""

    name: str


class Pull(_Answer):
    """A pull request as it is now."""

    number: int
    state: str
    head: Side
    base: Side
    labels: tuple[Label, ...] = ()
    merged_at: str | None = None
    merge_commit_sha: str | None = None
    """Of a merged one the commit on the base's branch; of an open one a trial of GitHub's."""

    @property
    def label_names(self) -> frozenset[str]:
        """Its labels; only people with the triage right set them."""
        return frozenset(label.name for label in self.labels)


class Comment(_Answer):
    """A comment; a deleted account's has no user."""

    id: int
    body: str | None = None
    user: User | None = None
    html_url: str = ""


class CommitStatus(_Answer):
    """One status of a commit."""

    id: int
    state: str
    context: str
    description: str | None = None
    creator: User | None = None


class Deployment(_Answer):
    """A note that a commit goes somewhere."""

    id: int
    sha: Sha
    environment: str
    payload: Any = None
    """An object, or text that holds one: GitHub gives back what it was given."""
    creator: User | None = None


class DeploymentStatus(_Answer):
    """How a deployment stands."""

    id: int
    state: str


class Issue(_Answer):
    """An issue."""

    number: int
    title: str
    state: str
    body: str | None = None
    state_reason: str | None = None
    user: User | None = None
    pull_request: Any = None
