"""Cells in lanes: what a matrix of jobs runs over.

Does: know the project's cells, and put them into at most 256 lanes, always the same cell into the same lane. Does not: say which cells are
to be applied; `ci_record` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from rowhouse.cli.ci_event import CiError
from rowhouse.spec.model import Fleet
from rowhouse.spec.slug import is_slug

__all__ = ["JOBS_MAX", "cells_in", "known_cells", "lanes", "matrix"]

JOBS_MAX: Final = 256  # GitHub: jobs that one matrix may make in a run (2026-10)
_STACKS: Final = "stacks"


def known_cells(root: Path, fleet: Fleet) -> tuple[str, ...]:
    """The cells that tenants name or that have settings, sorted: one whose tenants all left still has objects to take down."""
    settings = (path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in (root / _STACKS).glob("Pulumi.*.yaml"))
    return tuple(sorted({*fleet.cells(), *(name for name in settings if is_slug(name))}))


def lanes(chosen: Iterable[str], known: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Chosen cells by lane. A lane is a cell, or, in a project with more cells than a matrix has jobs, one of 256 groups of cells.

    A cell's lane depends on its name and on how many cells the project has, not on which of them a run is about: two runs that both apply
    a cell meet in the same lane, and a lane runs one at a time. Only the change that makes the 257th cell moves cells between lanes; then
    the lock of the stack's own state still keeps two runs apart.
    """
    grouped = len(set(known)) > JOBS_MAX
    found: dict[str, list[str]] = {}
    for cell in sorted(set(chosen)):
        lane = f"group-{int.from_bytes(hashlib.sha256(cell.encode()).digest()[:4]) % JOBS_MAX:03}" if grouped else cell
        found.setdefault(lane, []).append(cell)
    return {lane: tuple(cells) for lane, cells in sorted(found.items())}


def matrix(by_lane: Mapping[str, tuple[str, ...]]) -> str:
    """The lanes as a job's `matrix:` takes them, on one line."""
    return json.dumps({"include": [{"lane": lane, "cells": " ".join(cells)} for lane, cells in by_lane.items()]})


def cells_in(text: str) -> tuple[str, ...]:
    """The cells of one job, as its matrix gives them. Raises: CiError for what is none."""
    cells = tuple(text.split())
    wrong = [cell for cell in cells if not is_slug(cell)]
    if not cells or wrong:
        raise CiError(
            f"ROWHOUSE_CELLS: {(wrong or [text])[0][:60]!a} names no cell. Give ids separated by spaces, as `rowhouse ci cells` does."
        )
    return cells
