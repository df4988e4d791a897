"""From files before and after to what an apply would do: the base's own program, run twice by the embedded engine, asking nobody.

Does: lay out a project with the base's code and some tenants' files, foresee its stacks from nothing, then from that with the files after.
Does not: take code from the head, a token from the environment, or a state from anywhere; the environment of the program is made here, with
addresses at which nothing listens, so that even a program that wanted to could reach no vendor.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rowhouse import engine
from rowhouse.errors import RowhouseError
from rowhouse.review.changes import Outcome
from rowhouse.review.commits import Commits
from rowhouse.review.outcomes import outcome_of

__all__ = ["CellWork", "RenderError", "Rendered", "Side", "render", "warm_parent"]

_CODE: Final = ("Pulumi.yaml", "stacks", "components", "rowhouse")
_NOWHERE: Final = "http://127.0.0.1:9"
"""The discard port: a connection is refused at once."""
_AT_ONCE: Final = 2
_NURSERY: Final = "ROWHOUSE_NURSERY"
_KEPT_VARIABLES: Final = (_NURSERY, "PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")


class RenderError(RowhouseError):
    """The base's program could not be run over the files; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Side:
    """The files of one side: every catalog, app and stack file, and the tenants' files one by one."""

    plans: Mapping[str, bytes]
    """File name to content."""
    apps: Mapping[str, bytes]
    stacks: Mapping[str, bytes]
    """`Pulumi.main.yaml` and the like."""
    tenants: Mapping[str, bytes]
    """By id."""


@dataclass(frozen=True, slots=True)
class CellWork:
    """What is rendered of one cell."""

    cell: str
    tenants: frozenset[str]


@dataclass(slots=True)
class Rendered:
    """What an apply would do to one cell, as far as it was asked for."""

    cell: str
    outcome: Outcome
    before: list[engine.State] = field(default_factory=list, repr=False)
    after: list[engine.State] = field(default_factory=list, repr=False)


async def render(
    commits: Commits,
    base: str,
    before: Side,
    after: Side,
    work: Sequence[CellWork],
    nursery: engine.Nursery | None = None,
    *,
    code_after: str | None = None,
) -> list[Rendered]:
    """What the base's program makes of the tenants of `work`, before and after, cell by cell.

    Args: code_after: the commit whose program makes the second side, where it is one that may run; default: the base's.

    A cell that has no stack file on one side is empty there. Raises: RenderError, CommitsError.
    """
    with tempfile.TemporaryDirectory(prefix="rowhouse-review-") as name:
        root = Path(name)
        _lay_out_code(commits, base, root)
        options = engine.Options(env=_environment(root), nursery=nursery)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def foresee(one: CellWork, side: Side, start: list[engine.State]) -> tuple[engine.Result, list[engine.State]]:
            if f"Pulumi.{one.cell}.yaml" not in side.stacks and not one.tenants & side.tenants.keys():
                return engine.Result(dry_run=True), []
            async with turns:
                try:
                    return await engine.foresee(engine.load_project(root), one.cell, options, start)
                except engine.EngineError as error:
                    raise RenderError(f"cell {one.cell} cannot be rendered: {error}") from error

        _lay_out_data(root, before, frozenset().union(*(one.tenants for one in work)))
        made = await asyncio.gather(*(foresee(one, before, []) for one in work))
        for one, (result, _) in zip(work, made, strict=True):
            if failed := [failure.message for failure in result.failures if not failure.skipped]:
                raise RenderError(f"cell {one.cell} cannot be rendered as it is before the change: {failed[0]}")
        if code_after not in {None, base}:
            _lay_out_code(commits, str(code_after), root)
        _lay_out_data(root, after, frozenset().union(*(one.tenants for one in work)))
        ended = await asyncio.gather(*(foresee(one, after, states) for one, (_, states) in zip(work, made, strict=True)))
        return [Rendered(one.cell, outcome_of(result), old, new) for one, (_, old), (result, new) in zip(work, made, ended, strict=True)]


def warm_parent() -> AbstractAsyncContextManager[engine.Nursery | None]:
    """Where programs are started from; None inside where somebody else's is to be used (ROWHOUSE_NURSERY)."""
    return nullcontext() if os.environ.get(_NURSERY) else engine.Nursery()


def _environment(root: Path) -> dict[str, str]:
    """What the program and the plugins see: no credential, and no vendor at the end of any address."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "HOME": str(root),
        "FLY_API_TOKEN": "none",
        "CLOUDFLARE_API_TOKEN": "none",
        "STRIPE_API_KEY": "sk_test_none",
        "FLY_FLAPS_BASE_URL": _NOWHERE,
        "CLOUDFLARE_BASE_URL": _NOWHERE,
        "ROWHOUSE_STRIPE_BASE_URL": _NOWHERE,
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _lay_out_code(commits: Commits, base: str, root: Path) -> None:
    """The program of a commit, regular files alone, in place of any other."""
    for name in _CODE[1:]:
        shutil.rmtree(root / name, ignore_errors=True)
    kept = [entry for entry in commits.kept(base, *_CODE) if entry.mode in {"100644", "100755"}]
    contents = commits.blobs((entry.blob for entry in kept), most=1 << 26)
    for entry in kept:
        if entry.path.startswith("stacks/Pulumi."):
            continue
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[entry.blob])
        path.chmod(0o700 if entry.mode == "100755" else 0o600)
    with suppress(FileExistsError):
        (root / ".venv").symlink_to(sys.prefix)


def _lay_out_data(root: Path, side: Side, tenants: Iterable[str]) -> None:
    """The files of one side in place of those of the other."""
    chosen = {f"{slug}.yaml": side.tenants[slug] for slug in tenants if slug in side.tenants}
    for folder, files in (("plans", side.plans), ("apps", side.apps), ("tenants", chosen), ("stacks", side.stacks)):
        (root / folder).mkdir(exist_ok=True)
        for old in (root / folder).glob("*.yaml"):
            old.unlink()
        for name, content in files.items():
            (root / folder / name).write_bytes(content)
