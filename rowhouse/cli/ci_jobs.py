"""`rowhouse ci`, the part that runs a verb on each cell of a job: apply, reconcile, look, drift, close.

Does: run the verb, note in the record what came of it, tell it in the summary. Does not: choose cells or hold a credential of a vendor.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from rowhouse.cli.ci_approved import reviewed_ranges
from rowhouse.cli.ci_cells import cells_in
from rowhouse.cli.ci_drift import Look, blind_cells, causes_of, looked, written
from rowhouse.cli.ci_event import CiError, Run
from rowhouse.cli.ci_git import Clone
from rowhouse.cli.ci_issues import sync
from rowhouse.cli.ci_record import Record
from rowhouse.cli.ci_review import house_judge, house_selector
from rowhouse.cli.ci_text import append, code
from rowhouse.cli.ci_told import connected, here, say, told
from rowhouse.cli.ci_verbs import Ran, Verb, failed_tenants, verb_in, worst
from rowhouse.cli.ci_wait import Merges
from rowhouse.cli.output import EXIT_BREAKER, EXIT_FINDINGS, EXIT_NOTHING_DONE
from rowhouse.cli.surroundings import EngineName
from rowhouse.spec import times

__all__ = ["apply", "apply_cell", "close", "drift", "look", "reconcile"]

CellsOption = Annotated[str, typer.Option("--cells", help="Ids of cells, separated by spaces.", envvar="ROWHOUSE_CELLS")]
EngineOption = Annotated[EngineName, typer.Option("--engine", help="Who applies.")]
_SHOWN = 20
_LOOK_MAX = 256 * 1024 * 1024


@told
def apply(
    cells: CellsOption,
    engine: EngineOption = "pulumi",
    unreviewed: Annotated[
        bool,
        typer.Option("--unreviewed", help="Apply too what was pushed without a review, or differs from it.", envvar="ROWHOUSE_UNREVIEWED"),
    ] = False,
) -> None:
    """Apply what was reviewed of the merged files to cells, one after the other, and note in the record which tenants are left."""
    run, clone = here()
    codes = []
    for cell in cells_in(cells):
        ran, failed = asyncio.run(apply_cell(run, clone, cell, engine, verb_in(clone.root), unreviewed=unreviewed))
        codes.append(ran.code)
        said = "not known which tenants failed" if failed is None else f"{len(failed)} tenants failed"
        append(run.summary, f"- {code(cell)}: " + ("applied" if failed == frozenset() else f"{said}, exit code {ran.code}"))
        for tenant in sorted(failed or ())[:_SHOWN]:
            append(run.summary, f"  - {code(tenant)}")
    _end(codes)


async def apply_cell(
    run: Run, clone: Clone, cell: str, engine: EngineName, verb: Verb, *, unreviewed: bool = False
) -> tuple[Ran, frozenset[str] | None]:
    """One cell's `up` between two notes in the record. Returns: how it ended, and who failed (None: not known).

    The note before it makes a run that is killed count as half done. A cell of which nothing is known is brought to what the files say:
    there is nothing yet that a review could have compared with.
    """
    async with connected() as github:
        record = Record(github, await github.viewer())
        merges = Merges(clone, record, house_selector())
        standing = await merges.standing(cell)
        begun = await record.begin(cell, merges.tip, standing.applied, run.url)
        ranges: list[tuple[str, str]] = []
        if standing.applied and not unreviewed:
            token = os.environ.get("GITHUB_TOKEN", "")
            ranges = await reviewed_ranges(github, clone, run, standing.applied, merges.tip, token, house_judge())
        reviewed = [word for base, head in ranges for word in ("--reviewed", f"{base}..{head}")]
        ran = await asyncio.to_thread(verb, ["up", "--yes", "--engine", engine, "--stack", cell, *reviewed])
        failed = failed_tenants(ran)
        await record.end(begun, cell, merges.tip, standing.applied, failed, run.url)
        return ran, failed


@told
def reconcile(
    cells: CellsOption,
    export_to: Annotated[str, typer.Option("--export-to", help="Also export use and bills there.", envvar="ROWHOUSE_EXPORT_URL")] = "",
) -> None:
    """One pass over each cell, and the export of its use. Findings are told and do not fail the job; what could not be done does."""
    run, clone = here()
    verb = verb_in(clone.root)
    codes = []
    for cell in cells_in(cells):
        ran = verb(["reconcile", "--stack", cell])
        codes.append(0 if ran.code == EXIT_FINDINGS and ran.document is not None else ran.code)
        _tell(run, cell, "reconcile", ran)
        if export_to and ran.code not in {EXIT_NOTHING_DONE, EXIT_BREAKER}:
            out = verb(["export", "--to", export_to, "--stack", cell])
            codes.append(out.code)
            _tell(run, cell, "export", out)
    _end(codes)


@told
def look(
    cells: CellsOption,
    out: Annotated[Path, typer.Option("--out", help="The folder that gets one JSON file a cell.")],
    engine: EngineOption = "pulumi",
) -> None:
    """Preview each cell against the vendors and write what was seen for `drift`. Ends well whatever is seen: `drift` tells it."""
    run, clone = here()
    verb = verb_in(clone.root)
    out.mkdir(parents=True, exist_ok=True)
    for cell in cells_in(cells):
        ran = verb(["preview", "--refresh", "--engine", engine, "--stack", cell])
        (out / f"{cell}.json").write_text(written(looked(cell, ran.code, ran.document)), encoding="ascii")
        _tell(run, cell, "preview", ran)


@told
def drift(source: Annotated[Path, typer.Option("--from", help="The folder that `look` filled.")]) -> None:
    """Make the issues say what is drift: one a cause, opened, updated, closed by itself. Tenants with a change under way are left out."""
    run, clone = here()
    looks = _looks(source)

    async def work() -> None:
        async with connected() as github:
            merges = Merges(clone, Record(github, await github.viewer()), house_selector())
            causes = causes_of(looks, await merges.pending())
            done = await sync(github, causes, blind_cells(looks), frozenset(look.cell for look in looks))
            counts = (
                f"{len(causes)} causes in {len(looks)} cells: {len(done.opened)} opened, {len(done.updated)} updated, "
                f"{len(done.reopened)} opened again, {len(done.closed)} closed, {len(done.kept)} as they were"
            )
            append(run.summary, counts)
            say(counts)

    asyncio.run(work())


@told
def close(
    cells: CellsOption,
    period: Annotated[
        str, typer.Option("--period", metavar="MONTH", help="Default: the month that ended last.", envvar="ROWHOUSE_PERIOD")
    ] = "",
    approved: Annotated[
        bool, typer.Option("--approved", help="A person looked at the drafts: invoices may go out.", envvar="ROWHOUSE_APPROVED")
    ] = False,
) -> None:
    """Close a month in each cell; run again, it goes on where it was."""
    run, clone = here()
    month = period.strip() or f"{datetime.now(UTC).replace(day=1) - timedelta(days=1):%Y-%m}"
    try:
        times.month(month)
    except ValueError as error:
        raise CiError(f"--period: {error}. Write the month that is over.") from None
    verb = verb_in(clone.root)
    codes = []
    for cell in cells_in(cells):
        ran = verb(["close", month, "--stack", cell, *(["--yes"] if approved else [])])
        codes.append(ran.code)
        _tell(run, cell, f"close {month}", ran)
    _end(codes)


def _looks(folder: Path) -> list[Look]:
    """What `look` wrote. Raises: CiError for a file that it did not write so; then no issue is touched."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise CiError(f"{folder}: holds no look at a cell. Run `rowhouse ci look --out {folder}` first. No issue was touched.")
    found = []
    for file in files:
        if file.is_symlink() or file.stat().st_size > _LOOK_MAX:
            raise CiError(f"{str(file)!a}: no file that `rowhouse ci look` writes. No issue was touched.")
        try:
            seen = Look.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise CiError(f"{str(file)!a}: {why}. It is no look at a cell; no issue was touched.") from None
        if file.name != f"{seen.cell}.json":
            raise CiError(f"{str(file)!a}: tells of cell {seen.cell}. It was renamed; no issue was touched.")
        found.append(seen)
    return found


def _tell(run: Run, cell: str, verb: str, ran: Ran) -> None:
    ended = {0: "all well", EXIT_FINDINGS: "findings", EXIT_NOTHING_DONE: "nothing done", EXIT_BREAKER: "stopped by the breaker"}
    append(run.summary, f"- {code(cell)}: {verb}: {ended.get(ran.code, f'exit code {ran.code}')}")
    if ran.code == EXIT_FINDINGS and ran.document is not None:
        counts = {key: len(value) for key, value in ran.document.items() if isinstance(value, list) and key in {"findings", "troubles"}}
        append(run.summary, f"  - {code(json.dumps(counts))}")
    say(f"{cell}: {verb}: exit code {ran.code}")


def _end(codes: list[int]) -> None:
    if (worst_code := worst(codes)) != 0:
        raise typer.Exit(worst_code)
