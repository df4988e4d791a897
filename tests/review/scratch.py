"""Scratch clones of a small project: its program is this tree's, its tenants are the test's."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

from rowhouse.review.affected import Affected, affected
from rowhouse.review.commits import Commits
from rowhouse.spec.load import read_fleet
from rowhouse.spec.model import Fleet

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("Pulumi.yaml", "stacks", "components", "rowhouse", "plans", "apps", "policies")


def git(root: Path, *args: str, given: str | None = None) -> str:
    """Run git in a clone, as somebody without any configuration."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=T", "-c", "user.email=t@rowhouse.example", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false")
    ended = subprocess.run(["git", *who, *args], cwd=root, env=env, input=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"git {args}: {ended.stderr}"
    return ended.stdout.strip()


class Scratch:
    """One clone with a first commit."""

    def __init__(self, root: Path, tenants: dict[str, str], *, program: bool = True) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in PROGRAM if program else ("plans", "apps"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=ignored)
            else:
                shutil.copy(source, root / name)
        (root / "tenants").mkdir()
        for slug, text in tenants.items():
            self.write(f"tenants/{slug}.yaml", text)
        git(root, "init", "-q", "-b", "main")
        self.base = self.commit("as it is")

    @classmethod
    def opened(cls, root: Path) -> Scratch:
        """A clone that is there already."""
        made = cls.__new__(cls)
        made.root = root
        made.base = git(root, "rev-parse", "HEAD")
        return made

    def write(self, path: str, content: str | bytes) -> None:
        """A file of the work tree."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())

    def edit(self, path: str, old: str, new: str) -> None:
        """One text of a file in place of another, which must be there."""
        text = (self.root / path).read_text()
        assert old in text, f"{path} does not hold {old!r}"
        (self.root / path).write_text(text.replace(old, new))

    def remove(self, path: str) -> None:
        """A file of the work tree, away."""
        (self.root / path).unlink()

    def commit(self, message: str = "a change") -> str:
        """Everything in the work tree as a commit; its hash."""
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.root, "rev-parse", "HEAD")

    def fleet(self, commit: str) -> Fleet:
        """The files of a commit."""
        return read_fleet(self.root, read=Commits(self.root).reader(commit))[0]

    def affected(self, base: str, head: str) -> Affected:
        """Who can change between two commits."""
        return affected(self.fleet(base), self.fleet(head), Commits(self.root).changed(base, head))


TENANTS = {
    "acme": """\
        # The first of them.
        owner: {name: Acme Ltd, email: ops@acme.example}
        plan: aether/pro
        app: notebook
        members: [ana@acme.example, "@acme.example"]
        env: {GREETING: "Hello {owner.name}"}
        instances:
          main: {memory_mb: 1024, volume_gb: 10}
          lab: {memory_mb: 256, volume_gb: 1}
        """,
    "birch": "owner: {name: Birch, email: b@birch.example}\nplan: aether/pro\n",
    "cedar": "owner: {email: c@cedar.example}\nplan: aether/pro\nstate: suspended\n",
    "dale": "owner: {email: d@dale.example}\nplan: aether/free\n",
    "elm": "owner: {email: e@elm.example}\nplan: llamasketch/starter\n",
}
