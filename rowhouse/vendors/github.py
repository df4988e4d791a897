"""GitHub, as far as reviews, records of what was applied and issues of drift need it.

Does: read pull requests, comments, commit statuses, deployments and issues whole, page by page, and write them. Does not: decide what is
written or who is believed, and never touches code, branches or merges. Source: GitHub REST API, version 2022-11-28 (2026-10).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from rowhouse.errors import RowhouseError
from rowhouse.vendors.github_model import Comment, CommitStatus, Deployment, DeploymentStatus, Issue, Pull
from rowhouse.vendors.http import Http, Limit, Sleep, VendorError, token_from

__all__ = ["GitHub", "NotARepositoryError"]

M = TypeVar("M", bound=BaseModel)

DEFAULT_BASE_URL: Final = "https://api.github.com"
_PAGE: Final = 100
_PAGES_MAX: Final = 100
_WRITES: Final = Limit(per_s=1.0, burst=20)  # GitHub: about 80 requests a minute that create content (2026-10)
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_SHA: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)


class NotARepositoryError(RowhouseError):
    """A text that should name a repository or a commit does not."""


class GitHub:
    """One token's view of one repository."""

    def __init__(
        self,
        token: str,
        repository: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if _REPOSITORY.fullmatch(repository) is None:
            raise NotARepositoryError(f"{repository[:100]!a} is no repository. Write owner/name, as GITHUB_REPOSITORY has it.")
        base_url = base_url.rstrip("/")
        self.repository = repository
        # An own server has its REST API at /api/v3 and GraphQL beside it at /api/graphql; github.com has both at the root.
        self._graphql = f"{base_url.removesuffix('/v3')}/graphql"
        self._at = f"/repos/{repository}"
        self.http = Http(
            "GitHub",
            base_url,
            {
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "rowhouse",
            },
            secrets=(token,),
            explain=_explain,
            request_id_header="x-github-request-id",
            transport=transport,
            sleep=sleep,
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> GitHub:
        """The client that `GITHUB_TOKEN`, `GITHUB_REPOSITORY` and `GITHUB_API_URL` describe; raises MissingToken, NotARepositoryError."""
        env = os.environ if environment is None else environment
        token = token_from(env, "GITHUB_TOKEN", "GitHub", "a workflow step sets it to `${{ github.token }}`")
        return cls(token, env.get("GITHUB_REPOSITORY", ""), base_url=env.get("GITHUB_API_URL") or DEFAULT_BASE_URL, transport=transport)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

    async def viewer(self) -> str:
        """The login as which this token writes, such as `github-actions[bot]`.

        By GraphQL: the REST API refuses `GET /user` to a workflow's token (2026-10).
        """
        response = await self.http.send("POST", self._graphql, repeatable=True, json={"query": "query { viewer { login } }"})
        try:
            login = response.json()["data"]["viewer"]["login"]
            if not isinstance(login, str) or not login:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise VendorError("GitHub", "query viewer", status=response.status_code, message="the answer names nobody") from None
        # The two APIs spell the same account with and without its suffix; `same_login` compares them.
        return login

    async def pull(self, number: int) -> Pull:
        """One pull request as it is now."""
        return await self._get(f"{self._at}/pulls/{number}", Pull)

    async def open_pulls(self, base: str) -> list[Pull]:
        """The open pull requests into a branch."""
        return await self._list(f"{self._at}/pulls", Pull, {"state": "open", "base": base})

    async def merged_by(self, sha: str) -> list[Pull]:
        """The pull requests whose merge made a commit of the branch; none where it was pushed."""
        return [
            pull for pull in await self._list(f"{self._at}/commits/{sha}/pulls", Pull) if pull.merged_at and pull.merge_commit_sha == sha
        ]

    async def comments(self, number: int) -> list[Comment]:
        """All comments on a pull request or issue, oldest first."""
        return await self._list(f"{self._at}/issues/{number}/comments", Comment)

    async def create_comment(self, number: int, body: str) -> Comment:
        """Write a comment. Not repeated when its answer is lost: it may stand there all the same."""
        return await self._write("POST", f"{self._at}/issues/{number}/comments", Comment, {"body": body}, repeatable=False)

    async def edit_comment(self, comment: int, body: str) -> Comment:
        """Give a comment another text. Raises: VendorError, status 404 when it is gone."""
        return await self._write("PATCH", f"{self._at}/issues/comments/{comment}", Comment, {"body": body}, repeatable=True)

    async def delete_comment(self, comment: int) -> None:
        """Remove a comment; gone already is a success."""
        try:
            await self.http.send("DELETE", f"{self._at}/issues/comments/{comment}", repeatable=True, bucket=("writes", _WRITES))
        except VendorError as error:
            if error.status != 404:
                raise

    async def statuses(self, sha: str) -> list[CommitStatus]:
        """The commit statuses of a commit, newest first, older ones of the same context among them."""
        return await self._list(f"{self._at}/commits/{_commit(sha)}/statuses", CommitStatus)

    async def set_status(self, sha: str, context: str, state: str, description: str, url: str = "") -> CommitStatus:
        """Set a commit status: `success`, `failure`, `error` or `pending`. The description is cut at GitHub's 140 characters."""
        said = description if len(description) <= 140 else f"{description[:137]}..."
        body = {"context": context, "state": state, "description": said, **({"target_url": url} if url else {})}
        return await self._write("POST", f"{self._at}/statuses/{_commit(sha)}", CommitStatus, body, repeatable=True)

    async def deployments(self, environment: str) -> list[Deployment]:
        """The last hundred deployments of an environment, newest first."""
        page = await self._page(f"{self._at}/deployments", Deployment, {"environment": environment}, 1)
        return sorted(page, key=lambda deployment: deployment.id, reverse=True)

    async def create_deployment(self, sha: str, environment: str, payload: Mapping[str, Any], description: str) -> Deployment:
        """Note a deployment of a commit. GitHub merges nothing for it and asks no check: the commit is merged already."""
        body = {
            "ref": _commit(sha),
            "environment": environment,
            "payload": dict(payload),
            "description": description[:140],
            "auto_merge": False,
            "required_contexts": [],
        }
        return await self._write("POST", f"{self._at}/deployments", Deployment, body, repeatable=False)

    async def deployment_status(self, deployment: int) -> DeploymentStatus | None:
        """How a deployment stands; None when nobody said anything of it yet."""
        page = await self._page(f"{self._at}/deployments/{deployment}/statuses", DeploymentStatus, {}, 1)
        return max(page, key=lambda status: status.id, default=None)

    async def set_deployment_status(self, deployment: int, state: str, description: str, url: str = "") -> DeploymentStatus:
        """Say how a deployment stands: `in_progress`, `success`, `failure`, `error`."""
        body = {"state": state, "description": description[:140], "auto_inactive": False, **({"log_url": url} if url else {})}
        return await self._write("POST", f"{self._at}/deployments/{deployment}/statuses", DeploymentStatus, body, repeatable=True)

    async def issues(self, label: str) -> list[Issue]:
        """Issues with a label, open and closed, newest first; pull requests, which GitHub lists among them, left out."""
        found = await self._list(f"{self._at}/issues", Issue, {"labels": label, "state": "all"})
        return [issue for issue in found if issue.pull_request is None]

    async def create_issue(self, title: str, body: str, label: str) -> Issue:
        """Open an issue."""
        return await self._write("POST", f"{self._at}/issues", Issue, {"title": title, "body": body, "labels": [label]}, repeatable=False)

    async def edit_issue(self, number: int, changes: Mapping[str, str]) -> Issue:
        """Change title, body, `state` (with `state_reason`) of an issue."""
        return await self._write("PATCH", f"{self._at}/issues/{number}", Issue, dict(changes), repeatable=True)

    async def ensure_label(self, name: str, description: str) -> None:
        """Make a label that the repository does not have yet."""
        body = {"name": name, "description": description, "color": "d4c5f9"}
        try:
            await self.http.send("POST", f"{self._at}/labels", repeatable=True, json=body, bucket=("writes", _WRITES))
        except VendorError as error:
            if not (error.status == 422 and error.code == "already_exists"):
                raise

    async def _get(self, path: str, model: type[M]) -> M:
        response = await self.http.send("GET", path, repeatable=True)
        return _read(model, response, f"GET {path}")

    async def _write(self, method: str, path: str, model: type[M], body: Mapping[str, Any], *, repeatable: bool) -> M:
        response = await self.http.send(method, path, repeatable=repeatable, json=dict(body), bucket=("writes", _WRITES))
        return _read(model, response, f"{method} {path}")

    async def _list(self, path: str, model: type[M], params: Mapping[str, str] | None = None) -> list[M]:
        found: list[M] = []
        for number in range(1, _PAGES_MAX + 1):
            page = await self._page(path, model, params or {}, number)
            found.extend(page)
            if len(page) < _PAGE:
                return found
        raise VendorError("GitHub", f"GET {path}", message=f"the list does not end after {_PAGES_MAX} pages")

    async def _page(self, path: str, model: type[M], params: Mapping[str, str], number: int) -> list[M]:
        query = {**params, "per_page": str(_PAGE), "page": str(number)}
        response = await self.http.send("GET", path, params=query, repeatable=True)
        return _read_all(model, response, f"GET {path}")


def _commit(sha: str) -> str:
    if _SHA.fullmatch(sha) is None:
        raise NotARepositoryError(f"{sha[:100]!a} is no commit. Give its 40 hexadecimal digits.")
    return sha


def _read(model: type[M], response: httpx.Response, request: str) -> M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise _odd(request, response, error) from None


def _read_all(model: type[M], response: httpx.Response, request: str) -> list[M]:
    try:
        return TypeAdapter(list[model]).validate_json(response.content)  # type: ignore[valid-type]
    except ValidationError as error:
        raise _odd(request, response, error) from None


def _odd(request: str, response: httpx.Response, error: ValidationError) -> VendorError:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return VendorError("GitHub", request, status=response.status_code, message=f"an answer of another shape: {place}: {first['msg']}")


def _explain(response: httpx.Response) -> tuple[str, str]:
    """GitHub's code and words: `{"message", "errors": [{"resource", "code", "field"}]}`."""
    try:
        body = response.json()
        errors = [each for each in body.get("errors") or [] if isinstance(each, dict)]
        said = "; ".join([str(body.get("message", "")), *(str(each.get("message") or each.get("code") or "") for each in errors)])
        code = str(errors[0].get("code", "")) if errors else ""
    except (ValueError, AttributeError):
        return "", response.reason_phrase
    if response.status_code == 403 and "not accessible by integration" in said:
        said += ". The job's `permissions:` do not allow this, or the token is one for a fork or for Dependabot, which only reads"
    return code, said
