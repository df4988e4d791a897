"""The third act: pull requests. A branch that may be merged, three that may not, and a merge that is applied as it was reviewed.

Does: make a scratch clone of the demo's project, review branches in it as a workflow would, apply one. Does not: judge; what is printed is
the review's own comment.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.markdown import Markdown
from rich.text import Text

from rowhouse.cli.drive_embedded import EmbeddedDriver
from rowhouse.cli.progress import Teller
from rowhouse.cli.render import changes_text
from rowhouse.cli.reviewing import house_review
from rowhouse.demo.narrator import Narrator, promise
from rowhouse.demo.workspace import COPIED, edit
from rowhouse.review.approved import approved_in, held_urns, unapproved
from rowhouse.review.review import Review

__all__ = ["Proposal"]

_WHO = ("-c", "user.name=Demo", "-c", "user.email=demo@rowhouse.example", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main")
_ELSEWHERE = "registry.elsewhere.example/notebook@sha256:" + "ab" * 32


class Proposal:
    """Branches of a scratch clone, reviewed and one of them applied."""

    def __init__(self, driver: EmbeddedDriver, env: Mapping[str, str], project: Path, narrator: Narrator) -> None:
        """Go on with what the acts before left in `project`."""
        self._driver, self._env, self._project, self._narrator = driver, env, project, narrator
        self._clone = project.parent / "clone"

    async def play(self) -> None:
        """Show it. Raises: PromiseBrokenError when something is not as it must be."""
        base = self._begin()
        with self._as_a_workflow():
            await self._good_one(base)
            await self._bad_ones(base)
            await self._merge(base)

    def _begin(self) -> str:
        """The project as it is now, in a clone of its own; the program is in it, as in everybody's."""
        if self._clone.exists():
            shutil.rmtree(self._clone)
        self._clone.mkdir(parents=True)
        for name in (*COPIED, "rowhouse"):
            source = self._project / name
            if source.is_dir():
                shutil.copytree(source, self._clone / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, self._clone / name)
        self._git("init", "-q")
        return self._commit("As it is")

    # -- the steps ----------------------------------------------------------------------------------------------------------------------

    async def _good_one(self, base: str) -> None:
        self._narrator.title("A pull request", "A branch adds tenants/willow.yaml and raises aether/team from 50 to 55 dollars.")
        self._branch("more", base)
        (self._clone / "tenants" / "willow.yaml").write_text(
            "owner: {name: Willow & Daughters, email: hello@willow.example}\nplan: aether/pro\n", encoding="utf-8"
        )
        edit(self._clone / "plans" / "aether.yaml", r'price: "50\.00"', 'price: "55.00"')
        review = await self._review(base, self._commit("Add Willow; aether/team costs 55"))
        self._narrator.console.print(Markdown(review.markdown()))
        promise(not review.blocked, f"the good branch is blocked: {review.blocked[:1]}")
        promise(set(review.tenants) == {"acme", "willow"}, f"the review is of {review.tenants}")
        replayed = {row.tenant for row in review.money.rows if row.basis == "replayed"} if review.money else set()
        promise(replayed == {"acme"}, f"replayed were the bills of {sorted(replayed)}, not acme's")

    async def _bad_ones(self, base: str) -> None:
        self._narrator.title("Three that may not be merged", "Each is said in the comment's first lines, with what to do instead.")
        tries = (
            ("an app's image from somewhere else", "image.registry", self._other_image),
            ("the file of a customer that is still there is deleted", "review.leaves-in-two-steps", self._deleted_file),
            ("a volume with data is to shrink", "review.volume-kept", self._smaller_volume),
        )
        for number, (what, rule, change) in enumerate(tries):
            self._branch(f"bad-{number}", base)
            change()
            review = await self._review(base, self._commit(what))
            rules = {one.rule for one in review.objections if one.is_mandatory}
            rules |= {one.rule for one in review.violations if one.level == "mandatory"}
            promise(rules == {rule}, f"{what}: the review objects by {sorted(rules) or 'nothing'}, not by {rule}")
            self._narrator.say(f"- {what}:")
            for reason in review.blocked[:1]:
                self._narrator.console.print(Text(f"    {reason}", style="yellow"), soft_wrap=True)

    async def _merge(self, base: str) -> None:
        self._narrator.title(
            "The merge, applied as reviewed", "Willow's branch is merged. Somebody also edited fern's file, and nobody reviewed that."
        )
        head = self._git("rev-parse", "more")
        self._git("checkout", "-q", "more")
        for folder in ("tenants", "plans", "apps"):
            shutil.copytree(self._clone / folder, self._project / folder, dirs_exist_ok=True)
        fern = self._project / "tenants" / "fern.yaml"
        fern.write_text(fern.read_text(encoding="utf-8") + "members: [eve@elsewhere.example]\n", encoding="utf-8")
        approved = await approved_in(self._clone, [(base, head)], "main")
        with Teller(self._narrator.console, "previewing") as teller:
            preview = await self._driver.preview(teller)
        left = unapproved(preview, approved)
        promise(set(left) == {"fern"}, f"left alone are {left}, not fern alone")
        with Teller(self._narrator.console, "applying") as teller:
            outcome = await self._driver.up(teller, held=held_urns(preview, left))
        self._narrator.console.print(changes_text(outcome), end="")
        touched = set(outcome.by_tenant())
        promise("willow" in touched and "fern" not in touched, f"applied were {sorted(touched)}")
        for tenant, why in left.items():
            self._narrator.console.print(Text(f"  {tenant} stays as it was: {why}", style="yellow"))

    def _other_image(self) -> None:
        edit(self._clone / "apps" / "notebook.yaml", r"^image: .*$", f"image: {_ELSEWHERE}")

    def _deleted_file(self) -> None:
        (self._clone / "tenants" / "quill.yaml").unlink()

    def _smaller_volume(self) -> None:
        edit(self._clone / "tenants" / "acme.yaml", r"volume_gb: 10", "volume_gb: 5")

    # -- what the steps share -----------------------------------------------------------------------------------------------------------

    async def _review(self, base: str, head: str) -> Review:
        with Teller(self._narrator.console, "reviewing"):
            return await asyncio.to_thread(house_review, self._clone, base, head)

    @contextlib.contextmanager
    def _as_a_workflow(self) -> Iterator[None]:
        """A review reads where the ledger is from its environment, and starts programs from the parent that is warm already."""
        assert self._driver.nursery is not None
        told = {"ROWHOUSE_STORE_URL": self._env["ROWHOUSE_STORE_URL"], "ROWHOUSE_NURSERY": self._driver.nursery.socket}
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def _branch(self, name: str, base: str) -> None:
        self._git("checkout", "-q", "-B", name, base)

    def _commit(self, message: str) -> str:
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message)
        return self._git("rev-parse", "HEAD")

    def _git(self, *args: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *_WHO, *args], cwd=self._clone, env=env, capture_output=True, text=True, check=False)
        promise(done.returncode == 0, f"git {args[0]}: {done.stderr.strip()}")
        return done.stdout.strip()
