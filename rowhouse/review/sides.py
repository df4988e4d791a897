"""The files of two commits as fleets, and as what is rendered of them."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from rowhouse.review.affected import Affected, affected
from rowhouse.review.commits import Commits, Folders
from rowhouse.review.render import Side
from rowhouse.spec.load import Memory, read_fleet
from rowhouse.spec.problem import Problem, sorted_problems
from rowhouse.spec.stack_file import read_stack

__all__ = ["Sides"]

_STACKS: Final = "stacks"
_VALUES_MOST: Final = 1_000_000
"""In the YAML of both sides, what they share counted once: a hundred for each of 10,000 tenants. A value that is read takes half a
kilobyte, so that files of few bytes may be expensive.
"""


class Sides:
    """The files before and after, read once each."""

    def __init__(self, commits: Commits, base: str, head: str) -> None:
        memory = Memory(_VALUES_MOST)
        self._folders = [commits.reader(base), commits.reader(head)]
        with _without_collection():
            (self.before, old), (self.after, new) = (read_fleet(commits.root, read=folders, memory=memory) for folders in self._folders)
        known = {(problem.file, problem.rule, problem.message) for problem in old}
        self._of_fleet = [p for p in new if p.severity == "error" or (p.file, p.rule, p.message) not in known]
        self._stacks = [_stack_files(commits, commit) for commit in (base, head)]
        self.changed = commits.changed(base, head)

    @cached_property
    def problems(self) -> list[Problem]:
        """What is wrong with the files after the change, stack files too; of those before it nothing: they are merged, and have run."""
        stacks = (problem for name, text in self._stacks[1].items() for problem in read_stack(text, name)[1])
        return sorted_problems([*self._of_fleet, *stacks])

    def affected(self) -> Affected:
        """Who can change."""
        return affected(self.before, self.after, self.changed)

    @property
    def stacks_after(self) -> Collection[str]:
        """The names of the stack files after the change."""
        return self._stacks[1].keys()

    def side(self, number: int) -> Side:
        """0: before; 1: after."""
        folders, fleet = self._folders[number], (self.before, self.after)[number]
        return Side(
            plans=_chosen(folders, "plans", (catalog.id for catalog in fleet.catalogs)),
            apps=_chosen(folders, "apps", (app.id for app in fleet.apps)),
            stacks={name: text for name, text in self._stacks[number].items() if text is not None},
            tenants={name.removesuffix(".yaml"): text for name, text in folders.texts("tenants").items()},
        )

    def zone(self, cell: str, number: int) -> str:
        """The zone of a cell; empty where its settings have none."""
        name = f"Pulumi.{cell}.yaml"
        config = read_stack(self._stacks[number].get(name, b""), name)[0].get("config") or {}
        zone = config.get("account:zone")
        return zone if isinstance(zone, str) else ""


@contextmanager
def _without_collection() -> Iterator[None]:
    """Reading makes many small values and no circles; looking for circles among them again and again is a quarter of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _chosen(folders: Folders, folder: str, slugs: Iterable[str]) -> dict[str, bytes]:
    texts = folders.texts(folder)
    return {f"{slug}.yaml": texts[f"{slug}.yaml"] for slug in slugs}


def _stack_files(commits: Commits, commit: str) -> dict[str, bytes | None]:
    """Name to bytes; None of one that is too large to be read."""
    kept = [one for one in commits.kept(commit, _STACKS) if one.mode in {"100644", "100755"}]
    files = {one.path.removeprefix(f"{_STACKS}/"): one for one in kept}
    wanted = {name: one for name, one in files.items() if name.startswith("Pulumi.") and name.endswith(".yaml") and "/" not in name}
    contents = commits.contents([*wanted.values()])
    return {name: contents.get(one.blob) for name, one in wanted.items()}
