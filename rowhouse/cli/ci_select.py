"""Who a change can concern, found out in a process of its own: whatever the change does to that process, it ends, and the others go on.

Does: bound its time and its memory, and hand back ids alone. Does not: render or judge; `rowhouse.cli.reviewing` selects.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rowhouse.cli.ci_event import CiError
from rowhouse.errors import RowhouseError

__all__ = ["BrokenOffError", "Chosen", "selected_apart"]

_TIMEOUT_S: Final = 120
"""A change of one file among 10,000 takes about two."""
_MEMORY: Final = 4 << 30
"""Bytes of address space; a GitHub runner has 16 GB, and a selection among 10,000 tenants takes about 0.3."""
_SHOWN: Final = 1000


class BrokenOffError(CiError):
    """A selection came to no end of its own; `kind` says how, and holds no text of the change."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"whom the change concerns could not be found out ({kind}). Look at its files for what is unusual in them.")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who can change between two commits, and where."""

    cells: tuple[str, ...]
    tenants: frozenset[str]


def selected_apart(root: Path, base: str, head: str, *, timeout_s: float = _TIMEOUT_S, memory: int = _MEMORY) -> Chosen:
    """Who can change between two commits of the clone at `root`.

    Args: memory: bytes of address space of the process and of each that it starts.
    Raises: CiError with the selection's own words; BrokenOffError when it takes too long, too much memory, or fails otherwise.
    """
    with subprocess.Popen(
        [sys.executable, "-m", __name__, base, head, str(memory)],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it may hold any text of the change
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise BrokenOffError(f"not done after {timeout_s:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    try:
        found = json.loads(said)
    except ValueError:
        raise BrokenOffError(f"ended with {process.returncode}") from None
    return _read(found)


def _read(found: Mapping[str, Any]) -> Chosen:
    if "error" in found:
        raise CiError(found["error"])
    if "broke" in found:
        raise BrokenOffError(found["broke"])
    return Chosen(tuple(found["cells"]), frozenset(found["tenants"]))


def _selected(base: str, head: str) -> dict[str, Any]:
    """What the process says: ids, our own error's words, or the kind and place of any other."""
    try:
        from rowhouse.cli.reviewing import house_selection

        found = house_selection(Path.cwd(), base, head)
        return {"cells": list(found.cells), "tenants": list(found.tenants)}
    except RowhouseError as error:
        return {"error": str(error)[:_SHOWN]}
    except Exception as error:  # noqa: BLE001 - who started this process tells of it
        trace, place = error.__traceback__, ""
        while trace is not None:
            place, trace = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
        return {"broke": f"{type(error).__name__} in {place}"}


if __name__ == "__main__":
    with suppress(ValueError, OSError):  # a machine whose limit is lower keeps it
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))
    sys.stdout.write(json.dumps(_selected(sys.argv[1], sys.argv[2])))
