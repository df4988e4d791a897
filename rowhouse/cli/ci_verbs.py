"""A verb of `rowhouse` on each cell of a job, as a process of its own.

Does: run it without the workflow's token, keep its words from being taken for commands of the runner, read its document. Does not: decide
which cells; the matrix does.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rowhouse.cli.ci_review import without_tokens
from rowhouse.cli.output import EXIT_FINDINGS, EXIT_NOTHING_DONE

__all__ = ["Ran", "Verb", "failed_tenants", "verb_in", "worst"]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a verb ended."""

    code: int
    document: Mapping[str, Any] | None
    """What it printed with `--json`; None when that is no JSON object."""


Verb = Callable[[Sequence[str]], Ran]
"""Run `rowhouse ARGS --json`. Tests pass a function."""


def verb_in(root: Path) -> Verb:
    """The verbs of the `rowhouse` that runs now, in a project."""

    def run(args: Sequence[str]) -> Ran:
        # Names of vendors' objects and their words pass through the log: for so long the runner obeys no line of it.
        word = secrets.token_hex(16)
        sys.stderr.write(f"::stop-commands::{word}\n")
        sys.stderr.flush()
        try:
            with without_tokens():
                done = subprocess.run(
                    [sys.executable, "-m", "rowhouse.cli", *args, "--json"],
                    cwd=root,
                    env=dict(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    check=False,
                )
        finally:
            sys.stderr.write(f"\n::{word}::\n")
            sys.stderr.flush()
        return Ran(done.returncode if done.returncode >= 0 else EXIT_NOTHING_DONE, _document(done.stdout))

    return run


def _document(said: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def failed_tenants(ran: Ran) -> frozenset[str] | None:
    """The tenants that `up` did not bring to what the files say; empty when all are; None when it is not known which.

    A failure without a tenant (the edge, the catalog, the run itself) may have kept anybody from being applied.
    """
    if ran.document is None or ran.document.get("declined") or ran.code not in {0, EXIT_FINDINGS}:
        return None
    failures = ran.document.get("failures")
    if not isinstance(failures, list):
        return None
    tenants = [failure.get("tenant") if isinstance(failure, dict) else None for failure in failures]
    named = frozenset(tenant for tenant in tenants if isinstance(tenant, str))
    if len(named) < len(set(tenants)) or (ran.code != 0 and not named):
        return None
    return named


def worst(codes: Sequence[int]) -> int:
    """The exit code of several runs: the largest, and 1 for any that no command of ours ends with."""
    return max((code if code in {0, 1, 2, 3} else 1 for code in codes), default=0)
