"""What a workflow run says of itself: the environment and the event that GitHub gives it, read here and nowhere else.

Does: take the few fields that a command needs, each checked for its shape, so that no text of a stranger reaches a shell, a path or an
address. Does not: believe an event where GitHub can be asked; `ci_comment` asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rowhouse.errors import RowhouseError
from rowhouse.vendors.github_model import Label, Repository, Sha

__all__ = ["CiError", "PullEvent", "Run", "read_run"]

M = TypeVar("M", bound=BaseModel)

_EVENT_MAX: Final = 32 * 1024 * 1024  # GitHub: an event has 25 MB at most (2026-10)
_SERVER: Final = re.compile(r"(https?|file)://[A-Za-z0-9._:/-]+", re.ASCII)


class CiError(RowhouseError):
    """A workflow run's environment or event is not what the command needs; nothing was done."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Base(_Event):
    ref: str
    repo: Repository


class _Head(_Event):
    sha: Sha


class _PullRequest(_Event):
    number: int
    head: _Head
    base: _Base
    labels: tuple[Label, ...] = ()


class _PullPayload(_Event):
    repository: Repository
    pull_request: _PullRequest


@dataclass(frozen=True, slots=True)
class PullEvent:
    """The pull request that an event is about."""

    number: int
    head_sha: str
    base_ref: str
    labels: frozenset[str]
    """As they were at the event; only people with the triage right set them."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow."""

    repository: str
    server_url: str
    event_name: str
    event_path: Path
    summary: Path | None
    """Where Markdown for people goes (GITHUB_STEP_SUMMARY)."""
    output: Path | None
    """Where values for later jobs go (GITHUB_OUTPUT)."""
    run_id: str

    @property
    def url(self) -> str:
        """The run's page; empty where it has none."""
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}" if self.server_url.startswith("http") else ""

    def pull(self) -> PullEvent:
        """The pull request of a `pull_request` or `pull_request_target` event. Raises: CiError when it is not one of this repository."""
        if self.event_name not in {"pull_request", "pull_request_target"}:
            raise CiError(
                f"event {self.event_name[:40]!a}: it carries no pull request. This command runs on `pull_request` and "
                "`pull_request_target`; see docs/pull-requests.md."
            )
        event = self._read(_PullPayload)
        pull = event.pull_request
        for named in (event.repository.full_name, pull.base.repo.full_name):
            if named.lower() != self.repository.lower():
                raise CiError(
                    f"event: it is about {named[:140]!a}, but this run is one of {self.repository}. Nothing was done; "
                    "look at who started the run."
                )
        if pull.number < 1:
            raise CiError(f"event: pull request {pull.number} cannot be. Its number is positive. Nothing was done.")
        return PullEvent(pull.number, pull.head.sha, pull.base.ref, frozenset(label.name for label in pull.labels))

    def _read(self, model: type[M]) -> M:
        try:
            if self.event_path.stat().st_size > _EVENT_MAX:
                raise CiError(f"{self.event_path}: larger than {_EVENT_MAX} bytes, which no event of GitHub's is. Nothing was done.")
            return model.model_validate_json(self.event_path.read_bytes())
        except OSError as error:
            raise CiError(f"GITHUB_EVENT_PATH: {self.event_path} cannot be read ({error.strerror}). A workflow run sets it.") from None
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise CiError(f"event: {place}: {first['msg']}. It is not an event of GitHub's; nothing was done.") from None


def read_run(env: Mapping[str, str]) -> Run:
    """The run that the environment describes.

    Raises: CiError for what is missing or is not what GitHub sets.
    """
    missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_EVENT_NAME", "GITHUB_EVENT_PATH") if not env.get(name)]
    if missing:
        raise CiError(f"environment: {', '.join(missing)} missing. `rowhouse ci` runs in a GitHub workflow, which sets them.")
    server = (env.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    if _SERVER.fullmatch(server) is None:
        raise CiError(f"GITHUB_SERVER_URL: {server[:100]!a} is no address. A workflow run sets it.")
    run_id = env.get("GITHUB_RUN_ID", "")
    return Run(
        repository=env["GITHUB_REPOSITORY"],
        server_url=server,
        event_name=env["GITHUB_EVENT_NAME"],
        event_path=Path(env["GITHUB_EVENT_PATH"]),
        summary=_path(env, "GITHUB_STEP_SUMMARY"),
        output=_path(env, "GITHUB_OUTPUT"),
        run_id=run_id if run_id.isascii() and run_id.isdigit() else "0",
    )


def _path(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None
