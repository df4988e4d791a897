"""A pull request's commits as data: fetched into the object database, merged there, never checked out.

Does: run git with no configuration but the clone's own, no hooks, no filters, no submodules, no prompts, a time limit, and the token in
the environment of one fetch alone. Does not: write a file of a pull request to disk, nor run anything that one brings along.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rowhouse.cli.ci_event import CiError, Run
from rowhouse.hiding import hidden
from rowhouse.review.commits import Commits

__all__ = ["Clone", "Merged", "MovedError"]

_TIMEOUT_S: Final = 300
_SHA: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_PASSED_ON: Final = (
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
)
_SETTINGS: Final = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "true",
    "http.followRedirects": "false",  # a redirect would carry the token to another address
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
}


class MovedError(CiError):
    """The branch of a pull request is no longer where the event said; the push that moved it has a run of its own."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What the base would be after the merge."""

    commit: str
    """Empty where the two conflict."""
    conflicts: tuple[str, ...] = ()
    """Paths, as git has them: text of strangers."""


class Clone:
    """A checkout of the base's code, to whose object database a pull request's commits are added."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.root = root
        self._env = env

    def head(self) -> str:
        """The commit that is checked out: the base. Raises: CiError where it is no git checkout."""
        return self._git("rev-parse", "--verify", "HEAD^{commit}")

    def fetch_pull(self, run: Run, number: int, sha: str, token: str) -> None:
        """Bring the commits of a pull request here.

        From the repository itself, where GitHub keeps forks' commits too under `refs/pull/`: no address of a fork is ever used.
        Raises: MovedError when the branch is elsewhere by now; CiError when it cannot be had.
        """
        kept = f"refs/rowhouse/pull/{number}"
        url = f"{run.server_url}/{run.repository}.git"
        options = ("--quiet", "--force", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        self._git("fetch", *options, url, f"+refs/pull/{number}/head:{kept}", settings=_with_token(url, token), secret=token)
        found = self._git("rev-parse", "--verify", f"{kept}^{{commit}}")
        if found != sha:
            raise MovedError(f"pull request {number}: its branch moved from {sha} to {found}. The push that moved it has its own run.")

    def merged(self, base: str, head: str) -> Merged:
        """What a merge of `head` into `base` gives, as a commit that only this clone has; `head` itself where it is up to date.

        Comparing `head` with a base that went on would show what others merged meanwhile as undone.
        Raises: CiError, CommitsError for one that cannot be merged or is too large to be looked at.
        """
        if self.contains(head, base):
            return Merged(head)
        Commits(self.root).refuse_endless(head)  # a merge would compare each of its files with each of the base's
        done = self._run("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", base, head)
        parts = done.stdout.split("\0")
        if done.returncode == 1:
            return Merged("", tuple(sorted({part for part in parts[1:] if part})))
        if done.returncode != 0 or _SHA.fullmatch(parts[0]) is None:
            raise CiError(f"git merge-tree: {self._said(done)}. The pull request has no history in common with the base; open it anew.")
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _NOBODY.items()}
        message = f"Merge of {head} for its review"
        return Merged(self._git("commit-tree", parts[0], "-p", base, "-p", head, "-m", message, more=who))

    def contains(self, commit: str, ancestor: str) -> bool:
        """Whether a commit has another one in its history. False too when one of them is not here."""
        return self._run("merge-base", "--is-ancestor", ancestor, commit).returncode == 0

    def merges(self, start: str, end: str) -> list[str]:
        """The branch's own commits after `start` up to `end`, the oldest first."""
        return self._git("rev-list", "--first-parent", "--reverse", f"{start}..{end}", "--").splitlines()

    def stood_before(self, base: str, merge: str) -> bool:
        """Whether the branch that `merge` is on stood at `base` at some time before: what a pull request brought along does not count."""
        return base in self._git("rev-list", "--first-parent", f"{merge}^", "--").splitlines()

    def has(self, commit: str) -> bool:
        """Whether a commit is here."""
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def _git(self, *args: str, settings: Mapping[str, str] | None = None, more: Mapping[str, str] | None = None, secret: str = "") -> str:
        done = self._run(*args, settings=settings, more=more)
        if done.returncode != 0:
            told = hidden(self._said(done), [secret])
            raise CiError(f"git {args[0]}: {told}. The checkout needs the base's whole history (`fetch-depth: 0`).")
        return done.stdout.strip()

    def _run(
        self, *args: str, settings: Mapping[str, str] | None = None, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *args],
                cwd=self.root,
                env={**self._surroundings({**_SETTINGS, **(settings or {})}), **(more or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CiError(f"git {args[0]}: not done after {_TIMEOUT_S} s. Run it again; if it stays so, the change is too large.") from None
        except OSError as error:
            raise CiError(f"git: cannot be started ({error.strerror}). Install git 2.38 or later.") from None

    def _surroundings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Git's environment: settings by variables, not arguments, because every process may read the arguments of every other."""
        counted = dict(enumerate(settings.items()))
        return {
            **{name: self._env[name] for name in _PASSED_ON if name in self._env},
            **{f"GIT_CONFIG_KEY_{index}": key for index, (key, _) in counted.items()},
            **{f"GIT_CONFIG_VALUE_{index}": value for index, (_, value) in counted.items()},
            "GIT_CONFIG_COUNT": str(len(counted)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": "https:http:file",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    @staticmethod
    def _said(done: subprocess.CompletedProcess[str]) -> str:
        return ascii(" ".join(done.stderr.split())[:300])[1:-1] or f"ended with {done.returncode}"


_NOBODY: Final = {"NAME": "rowhouse", "EMAIL": "rowhouse@localhost", "DATE": "2000-01-01T00:00:00Z"}
"""Whose the merge is that is only looked at; a fixed time makes the same merge the same commit."""


def _with_token(url: str, token: str) -> dict[str, str]:
    parts = urlsplit(url)
    if not token or parts.scheme == "file":
        return {}
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {f"http.{parts.scheme}://{parts.netloc}/.extraHeader": f"Authorization: Basic {basic}"}
