"""A repository at GitHub and a runner's checkout of it, in a temporary folder; steps of the shipped workflows run there as GitHub runs them."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.workflows.github_stand_in import GitHubStandIn, Token

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
SHIPPED = ("Pulumi.yaml", "plans", "apps", "stacks", "components", "policies", "rowhouse")
TENANT = "owner: {{email: ops@{name}.example}}\nplan: aether/pro\n"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
STEP_S = 90


def workflow(name: str) -> dict[str, Any]:
    """A workflow as parsed; `on` is read as the word that it is, not as YAML 1.1's true."""
    return yaml.load((WORKFLOWS / f"{name}.yml").read_text(), Loader=yaml.BaseLoader)


def steps() -> list[tuple[str, str, dict[str, Any]]]:
    """Every step of every job of every workflow."""
    return [
        (file.stem, job, step)
        for file in sorted(WORKFLOWS.glob("*.yml"))
        for job, body in workflow(file.stem)["jobs"].items()
        for step in body["steps"]
    ]


@dataclass
class Ended:
    """How a step ended."""

    code: int
    out: str
    summary: str
    output: dict[str, str]


@dataclass
class Town:
    """The repository, its stand-in at GitHub, and a runner's checkout."""

    folder: Path
    hub: GitHubStandIn
    values: dict[str, str] = field(default_factory=dict)
    """What expressions other than the token's give: `matrix.cells`, `inputs.period`."""

    @property
    def bare(self) -> Path:
        return self.folder / "server" / f"{self.hub.repository}.git"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def git(self, *args: str, at: Path | None = None) -> str:
        who = {f"GIT_{role}_{key}": "t@t.example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *args], cwd=at or self.folder / "dev", capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self) -> Town:
        """A repository with three tenants in cell main and one in cell two."""
        dev = self.folder / "dev"
        dev.mkdir(parents=True)
        for name in SHIPPED:
            source = ROOT / name
            shutil.copytree(source, dev / name, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else shutil.copy(
                source, dev / name
            )
        (dev / "tenants").mkdir()
        self.bare.parent.mkdir(parents=True)
        self.git("init", "-q", "--bare", "-b", "main", str(self.bare), at=self.folder)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", str(self.bare))
        for name in ("acme", "bolt", "cork"):
            self.write(f"tenants/{name}.yaml", TENANT.format(name=name))
        shutil.copy(dev / "stacks/Pulumi.main.yaml", dev / "stacks/Pulumi.two.yaml")
        self.write("tenants/dune.yaml", TENANT.format(name="dune") + "cell: two\n")
        self.commit("four tenants")
        self.push()
        return self

    def write(self, path: str, text: str) -> None:
        file = self.folder / "dev" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, message: str = "a change") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self) -> str:
        """Push main, and let the runner check it out anew, whole."""
        self.git("push", "-q", "origin", "main")
        shutil.rmtree(self.work, ignore_errors=True)
        self.git("clone", "-q", "--no-local", str(self.bare), str(self.work), at=self.folder)
        return self.git("rev-parse", "HEAD", at=self.work)

    def merge(self, path: str, text: str | None) -> str:
        """A change that is merged: one file, new, other or (without a text) gone."""
        self.write(path, text) if text is not None else (self.folder / "dev" / path).unlink()
        self.commit(f"merge {path}")
        return self.push()

    def accept(self, number: int, *, squash: bool = False) -> str:
        """Merge a pull request as GitHub's button does. Returns: the commit on main."""
        pull = self.hub.pulls[number]
        self.git("fetch", "-q", "origin", f"refs/pull/{number}/head")
        self.git("merge", "-q", *(["--squash"] if squash else ["--no-ff", "-m", f"Merge #{number}"]), pull["head"]["sha"])
        if squash:
            self.commit(f"Squash #{number}")
        pull |= {"state": "closed", "merged_at": "2026-11-21T00:00:00Z", "merge_commit_sha": self.git("rev-parse", "HEAD")}
        return self.push()

    def propose(self, number: int, files: dict[str, str | None], *, at: str = "main", **about: Any) -> str:
        """A pull request with these files, whose commits GitHub keeps under refs/pull. Returns its head."""
        self.git("checkout", "-q", "--detach", at)
        for path, text in files.items():
            self.write(path, text) if text is not None else (self.folder / "dev" / path).unlink()
        sha = self.commit(f"pull request {number}")
        self.git("push", "-q", "--force", "origin", f"HEAD:refs/pull/{number}/head")
        self.git("checkout", "-q", "main")
        self.hub.add_pull(number, sha, **about)
        return sha

    def event(self, number: int, *, action: str = "opened", **changes: Any) -> dict[str, Any]:
        """The event of a pull request, with the fields that GitHub sends and many that it also sends left out."""
        pull = self.hub.pulls[number]
        event = {
            "action": action,
            "number": number,
            "pull_request": {**pull, "title": "A change", "body": "Please merge.", "user": {"login": "mallory"}, "draft": False},
            "repository": {"full_name": self.hub.repository, "default_branch": "main", "private": False},
            "sender": {"login": "mallory"},
        }
        return {**event, **changes}

    def token(self, permissions: dict[str, str]) -> str:
        text = f"ghs_{secrets.token_hex(18)}"
        self.hub.tokens[text] = Token(permissions=permissions)
        return text

    def step(self, name: str, job: str, starts: str, event_name: str, event: object, **extra: str) -> Ended:
        """Run a job's step as the runner does: its own environment, a token with the job's own rights, bash."""
        body = workflow(name)["jobs"][job]
        step = next(step for step in body["steps"] if step.get("run", "").startswith(starts))
        token = self.token(body.get("permissions", {}))
        return self.run(
            step["run"], event_name, event, {key: self._value(text, token) for key, text in step.get("env", {}).items()} | extra
        )

    def _value(self, text: str, token: str) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name == "github.token":
                return token
            if name in self.values:
                return self.values[name]
            assert re.fullmatch(r"(vars|secrets|inputs)\.\w+( \|\| env\.\w+)?", name), f"a step's environment takes {name}"
            return ""

        return EXPRESSION.sub(value, text)

    def run(self, command: str, event_name: str, event: object, env: dict[str, str]) -> Ended:
        runner = self.folder / "runner"
        shutil.rmtree(runner, ignore_errors=True)
        runner.mkdir()
        files = {"GITHUB_STEP_SUMMARY": runner / "summary", "GITHUB_OUTPUT": runner / "output", "GITHUB_PATH": runner / "path"}
        for file in files.values():
            file.touch()
        path = runner / "event.json"
        path.write_text(event if isinstance(event, str) else json.dumps(event))
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
            cwd=self.work,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "HOME": str(runner),
                **({"ROWHOUSE_NURSERY": os.environ["ROWHOUSE_NURSERY"]} if "ROWHOUSE_NURSERY" in os.environ else {}),
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.hub.url,
                "GITHUB_SERVER_URL": f"file://{self.folder / 'server'}",
                "GITHUB_REPOSITORY": self.hub.repository,
                "GITHUB_EVENT_NAME": event_name,
                "GITHUB_EVENT_PATH": str(path),
                "GITHUB_RUN_ID": "7",
                **{key: str(file) for key, file in files.items()},
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=STEP_S,
            check=False,
        )
        lines = (runner / "output").read_text().splitlines()
        return Ended(
            done.returncode,
            done.stdout.decode(errors="replace"),
            (runner / "summary").read_text(),
            dict(line.split("=", 1) for line in lines),
        )
