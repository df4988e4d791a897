"""A stand-in of GitHub's API on loopback, for one repository: strict where GitHub is.

Every token has an author and the rights of a job's `permissions:`; a call without the right is 403 in GitHub's words, an unknown route 404,
a wrong body 422. Lists are really paged. It shares no code with the client that it judges.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BOT = "github-actions[bot]"
Json = dict[str, Any]


@dataclass
class Token:
    """Who a token writes as, and what it may."""

    login: str = BOT
    permissions: dict[str, str] = field(default_factory=dict)

    def may(self, area: str, level: str) -> bool:
        return self.permissions.get(area) in ({"read", "write"} if level == "read" else {"write"})


@dataclass
class GitHubStandIn:
    """One repository's objects, and what was asked."""

    repository: str = "octo/houses"
    url: str = ""
    tokens: dict[str, Token] = field(default_factory=dict)
    pulls: dict[int, Json] = field(default_factory=dict)
    comments: dict[int, list[Json]] = field(default_factory=dict)
    statuses: dict[str, list[Json]] = field(default_factory=dict)
    deployments: list[Json] = field(default_factory=list)
    deployment_statuses: dict[int, list[Json]] = field(default_factory=dict)
    issues: list[Json] = field(default_factory=list)
    labels: dict[str, Json] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    """Called before each request is answered: where a test lets something happen meanwhile."""
    _next: int = 100
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fresh(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.calls if method != "GET" and path != "/graphql"]

    def status(self, sha: str, context: str) -> str | None:
        """The state that a branch's protection would see."""
        found = [each for each in self.statuses.get(sha, []) if each["context"] == context]
        return found[-1]["state"] if found else None

    def description(self, sha: str, context: str) -> str:
        return [each for each in self.statuses.get(sha, []) if each["context"] == context][-1]["description"]

    def user(self, login: str) -> Json:
        return {"login": login, "type": "Bot" if login.endswith("[bot]") else "User", "id": len(login)}

    def add_pull(
        self, number: int, sha: str, *, base: str = "main", labels: tuple[str, ...] = (), fork: bool = True, state: str = "open"
    ) -> Json:
        self.pulls[number] = {
            "number": number,
            "state": state,
            "head": {"ref": "topic", "sha": sha, "repo": {"full_name": "mallory/houses" if fork else self.repository}},
            "base": {"ref": base, "sha": "0" * 40, "repo": {"full_name": self.repository}},
            "labels": [{"name": name} for name in labels],
            "merged_at": None,
            "merge_commit_sha": "f" * 40,  # a trial merge of GitHub's own
        }
        return self.pulls[number]

    def add_comment(self, number: int, login: str, body: str) -> Json:
        comment = {"id": self.fresh(), "body": body, "user": self.user(login), "html_url": f"https://github.test/{number}"}
        self.comments.setdefault(number, []).append(comment)
        return comment


Answer = tuple[int, Any]
_ROUTES: list[tuple[str, re.Pattern[str], str, str, str]] = [
    # method, path below the repository, area of the right, level, handler
    ("GET", re.compile(r"/pulls/(\d+)"), "pull-requests", "read", "pull"),
    ("GET", re.compile(r"/pulls"), "pull-requests", "read", "open_pulls"),
    ("GET", re.compile(r"/issues/(\d+)/comments"), "pull-requests", "read", "list_comments"),
    ("POST", re.compile(r"/issues/(\d+)/comments"), "pull-requests", "write", "create_comment"),
    ("PATCH", re.compile(r"/issues/comments/(\d+)"), "pull-requests", "write", "edit_comment"),
    ("DELETE", re.compile(r"/issues/comments/(\d+)"), "pull-requests", "write", "delete_comment"),
    ("GET", re.compile(r"/commits/([0-9a-f]{40})/pulls"), "pull-requests", "read", "pulls_of"),
    ("GET", re.compile(r"/commits/([0-9a-f]{40})/statuses"), "statuses", "read", "list_statuses"),
    ("POST", re.compile(r"/statuses/([0-9a-f]{40})"), "statuses", "write", "create_status"),
    ("GET", re.compile(r"/deployments"), "deployments", "read", "list_deployments"),
    ("POST", re.compile(r"/deployments"), "deployments", "write", "create_deployment"),
    ("GET", re.compile(r"/deployments/(\d+)/statuses"), "deployments", "read", "list_deployment_statuses"),
    ("POST", re.compile(r"/deployments/(\d+)/statuses"), "deployments", "write", "create_deployment_status"),
    ("GET", re.compile(r"/issues"), "issues", "read", "list_issues"),
    ("POST", re.compile(r"/issues"), "issues", "write", "create_issue"),
    ("PATCH", re.compile(r"/issues/(\d+)"), "issues", "write", "edit_issue"),
    ("POST", re.compile(r"/labels"), "issues", "write", "create_label"),
]


class _Refused(Exception):  # noqa: N818
    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.answer = (status, {"message": message, **({"errors": [{"resource": "X", "code": code, "field": "y"}]} if code else {})})


def _want(condition: object, message: str = "Validation Failed", code: str = "invalid") -> None:
    if not condition:
        raise _Refused(422, message, code)


class _Api:
    """The routes, on one repository's objects."""

    def __init__(self, hub: GitHubStandIn) -> None:
        self.hub = hub

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, token: Token) -> Answer:
        if (method, path) == ("POST", "/graphql"):
            _want(re.sub(r"\s", "", body.get("query", "")) == "query{viewer{login}}")
            return 200, {"data": {"viewer": {"login": token.login}}}
        prefix = f"/repos/{self.hub.repository}"
        if not path.startswith(prefix + "/"):
            raise _Refused(404, "Not Found")
        for wanted, pattern, area, level, name in _ROUTES:
            found = pattern.fullmatch(path.removeprefix(prefix))
            if wanted == method and found:
                if not token.may(area, level) and not (area == "pull-requests" and token.may("issues", level) and "/issues/" in path):
                    raise _Refused(403, "Resource not accessible by integration")
                return getattr(self, name)(*found.groups(), query=query, body=body, token=token)
        raise _Refused(404, "Not Found")

    def pull(self, number: str, **_: Any) -> Answer:
        if int(number) not in self.hub.pulls:
            raise _Refused(404, "Not Found")
        return 200, self.hub.pulls[int(number)]

    def open_pulls(self, *, query: dict[str, str], **_: Any) -> Answer:
        found = [p for p in self.hub.pulls.values() if p["state"] == query.get("state", "open") and p["base"]["ref"] == query["base"]]
        return 200, found

    def pulls_of(self, sha: str, **_: Any) -> Answer:
        return 200, [pull for pull in self.hub.pulls.values() if sha in {pull["merge_commit_sha"], pull["head"]["sha"]}]

    def list_comments(self, number: str, **_: Any) -> Answer:
        return 200, self.hub.comments.get(int(number), [])

    def create_comment(self, number: str, *, body: Any, token: Token, **_: Any) -> Answer:
        _want(int(number) in self.hub.pulls)
        _want(isinstance(body.get("body"), str) and 0 < len(body["body"]) <= 65536, "body is too long", "custom")
        return 201, self.hub.add_comment(int(number), token.login, body["body"])

    def _comment(self, comment: str) -> tuple[list[Json], Json]:
        for each in self.hub.comments.values():
            for one in each:
                if one["id"] == int(comment):
                    return each, one
        raise _Refused(404, "Not Found")

    def edit_comment(self, comment: str, *, body: Any, **_: Any) -> Answer:
        _want(isinstance(body.get("body"), str) and 0 < len(body["body"]) <= 65536, "body is too long", "custom")
        one = self._comment(comment)[1]
        one["body"] = body["body"]
        return 200, one

    def delete_comment(self, comment: str, **_: Any) -> Answer:
        where, one = self._comment(comment)
        where.remove(one)
        return 204, None

    def list_statuses(self, sha: str, **_: Any) -> Answer:
        return 200, list(reversed(self.hub.statuses.get(sha, [])))

    def create_status(self, sha: str, *, body: Any, token: Token, **_: Any) -> Answer:
        _want(body.get("state") in {"error", "failure", "pending", "success"})
        _want(len(body.get("description") or "") <= 140, "description is too long (maximum is 140 characters)", "custom")
        made = {"id": self.hub.fresh(), "creator": self.hub.user(token.login), **body}
        self.hub.statuses.setdefault(sha, []).append(made)
        return 201, made

    def list_deployments(self, *, query: dict[str, str], **_: Any) -> Answer:
        wanted = query.get("environment")
        found = [each for each in self.hub.deployments if wanted is None or each["environment"] == wanted]
        return 200, list(reversed(found))

    def create_deployment(self, *, body: Any, token: Token, **_: Any) -> Answer:
        _want(isinstance(body.get("ref"), str) and len(body.get("description") or "") <= 140)
        if body.get("required_contexts") != [] or body.get("auto_merge") is not False:
            raise _Refused(409, "Conflict: Commit status checks failed for main")
        made = {
            "id": self.hub.fresh(),
            "sha": body["ref"],
            "environment": body.get("environment", "production"),
            "payload": body.get("payload", {}),
            "creator": self.hub.user(token.login),
        }
        self.hub.deployments.append(made)
        return 201, made

    def list_deployment_statuses(self, deployment: str, **_: Any) -> Answer:
        return 200, list(reversed(self.hub.deployment_statuses.get(int(deployment), [])))

    def create_deployment_status(self, deployment: str, *, body: Any, **_: Any) -> Answer:
        _want(any(each["id"] == int(deployment) for each in self.hub.deployments))
        _want(body.get("state") in {"error", "failure", "inactive", "in_progress", "queued", "pending", "success"})
        made = {"id": self.hub.fresh(), "state": body["state"]}
        self.hub.deployment_statuses.setdefault(int(deployment), []).append(made)
        return 201, made

    def list_issues(self, *, query: dict[str, str], **_: Any) -> Answer:
        wanted, state = query.get("labels"), query.get("state", "open")
        found = [
            issue
            for issue in self.hub.issues
            if (wanted is None or wanted in [label["name"] for label in issue["labels"]]) and state in {"all", issue["state"]}
        ]
        return 200, list(reversed(found))

    def create_issue(self, *, body: Any, token: Token, **_: Any) -> Answer:
        _want(isinstance(body.get("title"), str) and 0 < len(body["title"]) <= 256 and len(body.get("body") or "") <= 65536)
        issue = {
            "number": self.hub.fresh(),
            "title": body["title"],
            "body": body.get("body"),
            "state": "open",
            "state_reason": None,
            "user": self.hub.user(token.login),
            "labels": [{"name": name} for name in body.get("labels", [])],
        }
        self.hub.issues.append(issue)
        return 201, issue

    def edit_issue(self, number: str, *, body: Any, **_: Any) -> Answer:
        for issue in self.hub.issues:
            if issue["number"] == int(number):
                _want(set(body) <= {"title", "body", "state", "state_reason"})
                issue |= body
                if body.get("state") == "open":
                    issue["state_reason"] = "reopened"
                return 200, issue
        raise _Refused(404, "Not Found")

    def create_label(self, *, body: Any, **_: Any) -> Answer:
        _want(body["name"] not in self.hub.labels, code="already_exists")
        self.hub.labels[body["name"]] = body
        return 201, body


def _handler(hub: GitHubStandIn) -> type[BaseHTTPRequestHandler]:
    api = _Api(hub)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.before(self.command, parts.path)
            with hub._lock:
                hub.calls.append((self.command, parts.path))
                try:
                    token = hub.tokens.get(self.headers.get("authorization", "").removeprefix("Bearer "))
                    if token is None:
                        raise _Refused(401, "Bad credentials")
                    status, found = api.answer(self.command, parts.path, query, json.loads(raw) if raw else {}, token)
                except _Refused as refused:
                    status, found = refused.answer
                links = ""
                if isinstance(found, list):
                    size, page = min(100, int(query.get("per_page", 30))), int(query.get("page", 1))
                    if len(found) > size * page:
                        links = f'<{hub.url}{parts.path}?page={page + 1}>; rel="next"'
                    found = found[size * (page - 1) : size * page]
                data = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-github-request-id", "AAAA:1")
            if links:
                self.send_header("link", links)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

    return Handler


@contextmanager
def running(hub: GitHubStandIn) -> Iterator[GitHubStandIn]:
    """The stand-in on a free port of this machine, stopped at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
