"""A pull request's commits as data: what git is given, what it may not do, and what a merge gives."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rowhouse.cli.ci_event import CiError, Run
from rowhouse.cli.ci_git import Clone, MovedError

TOKEN = "ghs_planted9b1e" + "x" * 23
WHO = {f"GIT_{role}_{key}": "t@t.example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


def git(at: Path, *args: str) -> str:
    env = {"PATH": os.environ["PATH"], **WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *args], cwd=at, env=env, capture_output=True, text=True, check=True).stdout.strip()


def committed(at: Path, **files: str) -> str:
    for name, text in files.items():
        (at / name).write_text(text)
    git(at, "add", "-A")
    git(at, "commit", "-q", "--allow-empty", "-m", "c")
    return git(at, "rev-parse", "HEAD")


class Place:
    """A repository at `octo/houses`, a checkout of its main, and one pull request."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.work, self.dev = folder / "octo/houses.git", folder / "work", folder / "dev"
        self.bare.mkdir(parents=True)
        self.dev.mkdir()
        git(self.bare, "init", "-q", "--bare", "-b", "main")
        git(self.dev, "init", "-q", "-b", "main")
        self.base = committed(self.dev, a="1\n", b="1\n")
        git(self.dev, "push", "-q", str(self.bare), "main")
        git(folder, "clone", "-q", str(self.bare), "work")
        self.run = Run("octo/houses", f"file://{folder}", "pull_request_target", folder, None, None, "1")
        self.clone = Clone(self.work, {"PATH": os.environ["PATH"]})

    def propose(self, **files: str) -> str:
        git(self.dev, "checkout", "-q", "--detach", self.base)
        sha = committed(self.dev, **files)
        git(self.dev, "push", "-q", "-f", str(self.bare), "HEAD:refs/pull/1/head")
        return sha

    def fetched(self, **files: str) -> str:
        sha = self.propose(**files)
        self.clone.fetch_pull(self.run, 1, sha, "")
        return sha


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def served(folder: Path, seen: list[dict[str, str]], *, elsewhere: str = "") -> Iterator[str]:
    """A folder over HTTP, as git's plain protocol reads it; with `elsewhere`, a server that only sends there."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            if not elsewhere:
                super().do_GET()
                return
            self.send_response(302)
            self.send_header("location", elsewhere + self.path)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def over(place: Place, url: str) -> Run:
    return Run("octo/houses", url, "pull_request_target", place.work, None, None, "1")


def test_a_head_that_is_up_to_date_is_compared_as_it_is(place: Place):
    head = place.fetched(a="2\n")
    assert place.clone.merged(place.base, head).commit == head


def test_a_head_that_is_behind_is_merged_in_the_database_alone(place: Place):
    head = place.fetched(a="2\n")
    git(place.dev, "checkout", "-q", "main")
    base = committed(place.dev, b="3\n")
    git(place.dev, "push", "-q", str(place.bare), "main")
    git(place.work, "pull", "-q")
    merged = place.clone.merged(base, head).commit
    assert [git(place.work, "show", f"{merged}:{name}") for name in ("a", "b")] == ["2", "3"]
    assert place.clone.merged(base, head).commit == merged
    assert (git(place.work, "status", "--porcelain"), git(place.work, "rev-parse", "HEAD")) == ("", base)


def test_a_conflict_names_its_files_whatever_they_are_called(place: Place):
    odd = "$(touch x)\n`b`"
    head = place.fetched(**{odd: "2\n", "a": "2\n"})
    git(place.dev, "checkout", "-q", "main")
    base = committed(place.dev, **{odd: "3\n", "a": "3\n"})
    git(place.dev, "push", "-q", str(place.bare), "main")
    git(place.work, "pull", "-q")
    merged = place.clone.merged(base, head)
    assert (merged.commit, set(merged.conflicts)) == ("", {odd, "a"})


def test_a_head_without_a_common_history_is_refused_in_words(place: Place):
    git(place.dev, "checkout", "-q", "--orphan", "other")
    sha = committed(place.dev, a="9\n")
    git(place.dev, "push", "-q", "-f", str(place.bare), "HEAD:refs/pull/1/head")
    place.clone.fetch_pull(place.run, 1, sha, "")
    with pytest.raises(CiError, match="no history in common"):
        place.clone.merged(place.base, sha)


def test_a_branch_that_moved_is_told_from_one_that_cannot_be_had(place: Place):
    place.propose(a="2\n")
    with pytest.raises(MovedError, match="moved from"):
        place.clone.fetch_pull(place.run, 1, place.base, "")
    with pytest.raises(CiError, match="git fetch") as raised:
        place.clone.fetch_pull(place.run, 2, place.base, "")
    assert not isinstance(raised.value, MovedError)


def test_no_hook_filter_or_setting_of_anybody_runs_while_commits_come_in(place: Place, tmp_path: Path):
    trap = f"touch {tmp_path}/trapped"
    for name in ("reference-transaction", "post-merge", "post-checkout", "pre-auto-gc"):
        hook = place.work / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\n{trap}\n")
        hook.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[core]\n\tfsmonitor = "{trap}"\n[credential]\n\thelper = "!{trap}"\n[alias]\n\tmerge-tree = "!{trap}"\n'
    )
    clone = Clone(place.work, {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_DIR": "/nowhere", "GIT_SSH_COMMAND": trap})
    sha = place.propose(**{".gitattributes": "* filter=t merge=t\n", "a": "2\n"})
    clone.fetch_pull(place.run, 1, sha, "")
    assert clone.merged(place.base, sha).commit == sha
    assert not (tmp_path / "trapped").exists()


def test_commits_that_git_itself_calls_broken_are_refused(place: Place):
    tree = git(place.dev, "rev-parse", "HEAD^{tree}")
    broken = f"tree {tree}\nauthor t <t@t.example> nonsense\ncommitter t <t@t.example> 0 +0000\n\nm\n"
    sha = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        cwd=place.bare,
        input=broken,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (place.bare / "refs/pull/1").mkdir(parents=True)
    (place.bare / "refs/pull/1/head").write_text(f"{sha}\n")
    with pytest.raises(CiError, match="git fetch"):
        place.clone.fetch_pull(place.run, 1, sha, "")


def test_the_token_goes_to_the_server_and_into_no_file_of_the_clone(place: Place):
    sha = place.propose(a="2\n")
    git(place.bare, "update-server-info")
    seen: list[dict[str, str]] = []
    with served(place.bare.parents[1], seen) as url:
        place.clone.fetch_pull(over(place, url), 1, sha, TOKEN)
    wanted = f"Basic {base64.b64encode(f'x-access-token:{TOKEN}'.encode()).decode()}"
    assert {headers.get("Authorization") for headers in seen} == {wanted}
    texts = [file.read_bytes() for file in (place.work / ".git").rglob("*") if file.is_file()]
    assert not any(TOKEN.encode() in text or wanted.encode() in text for text in texts)


def test_a_redirect_does_not_carry_the_token_away(place: Place):
    sha = place.propose(a="2\n")
    git(place.bare, "update-server-info")
    first: list[dict[str, str]] = []
    second: list[dict[str, str]] = []
    with (
        served(place.bare.parents[1], second) as there,
        served(place.bare.parents[1], first, elsewhere=there) as url,
        pytest.raises(CiError) as raised,
    ):
        place.clone.fetch_pull(over(place, url), 1, sha, TOKEN)
    assert (len(first) > 0, second) == (True, [])
    assert TOKEN not in str(raised.value)
