"""`rowhouse ci`, the part about pull requests and merges: review, comment, wait, cells.

Does: join event, clone, review, record and GitHub, each command reading the run's environment itself, so that no workflow step holds a
text of a stranger. Does not: hold a rule of its own; docs/pull-requests.md says which command runs where with which rights.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from rowhouse.cli import ci_jobs
from rowhouse.cli.ci_cells import known_cells, lanes, matrix
from rowhouse.cli.ci_comment import REVIEW, WAIT, comment_of, review_status, set_status, stick, wait_status
from rowhouse.cli.ci_event import PullEvent
from rowhouse.cli.ci_git import Clone, MovedError
from rowhouse.cli.ci_record import Record
from rowhouse.cli.ci_review import Reviewed, house_reviewer, house_selector, reviewed
from rowhouse.cli.ci_text import append, fenced
from rowhouse.cli.ci_told import connected, here, say, told
from rowhouse.cli.ci_wait import LOOKING_S, Held, Merges, hold_open_pulls
from rowhouse.cli.output import EXIT_FINDINGS
from rowhouse.errors import RowhouseError
from rowhouse.spec.load import read_fleet
from rowhouse.vendors.github import GitHub
from rowhouse.vendors.github_model import Pull

__all__ = ["app"]

app = typer.Typer(help="What the workflows in .github/workflows run.", no_args_is_help=True, add_completion=False)
app.command()(ci_jobs.apply)
app.command()(ci_jobs.reconcile)
app.command()(ci_jobs.look)
app.command()(ci_jobs.drift)
app.command()(ci_jobs.close)

BaseOption = Annotated[str, typer.Option("--base", help="The branch that is applied.", envvar="ROWHOUSE_BASE")]


@app.command()
@told
def review() -> None:
    """Review the pull request of the event, without any right: the run's summary has it; exit code 1 when something blocks the merge."""
    run, clone = here()
    event = run.pull()
    try:
        found = reviewed(clone, run, event.number, event.head_sha, event.labels, os.environ.get("GITHUB_TOKEN", ""), house_reviewer())
    except MovedError as error:
        say(str(error))
        return
    append(run.summary, found.markdown)
    for reason in found.blocked:
        say(f"blocks the merge: {reason}")
    if found.blocked:
        raise typer.Exit(EXIT_FINDINGS)


@app.command()
@told
def comment(base: BaseOption = "main") -> None:
    """Review the pull request of the event again and say it: one comment, and the statuses rowhouse/review and rowhouse/wait."""
    run, clone = here()
    asyncio.run(_comment(clone, run.pull(), base))


async def _comment(clone: Clone, event: PullEvent, base: str) -> None:
    run, _ = here()
    token = os.environ.get("GITHUB_TOKEN", "")
    async with connected() as github:
        pull = await github.pull(event.number)
        if why := _not_ours(pull, event, base):
            say(f"pull request {event.number}: {why}; nothing to say")
            return
        try:
            found = reviewed(clone, run, event.number, event.head_sha, pull.label_names, token, house_reviewer())
        except MovedError as error:
            say(str(error))
            return
        except Exception as error:
            # Whatever the change made the review stumble over, its old green status must not stand.
            await _say_failed(github, clone, event, error, run.url)
            raise
        merges = Merges(clone, Record(github, await github.viewer()), house_selector())
        waits = wait_status(found.tenants, await merges.pending(), pull.label_names)
        if why := _not_ours(await github.pull(event.number), event, base):
            say(f"pull request {event.number}: {why}; nothing to say")
            return
        await set_status(github, event.head_sha, REVIEW, review_status(found), run.url)
        await set_status(github, event.head_sha, WAIT, waits, run.url)
        written = await stick(github, event.number, comment_of(found))
        say(f"comment {written.id}; {REVIEW}: {review_status(found)[0]}; {WAIT}: {waits[0]}")


def _not_ours(pull: Pull, event: PullEvent, base: str) -> str:
    """Why this run has nothing to say of a pull request as GitHub knows it now; empty when it has."""
    if pull.state != "open":
        return "it is not open"
    if pull.head.sha != event.head_sha:
        return f"its branch moved to {pull.head.sha} since the event, and that push has a run of its own"
    if pull.base.ref != base:
        return f"it is not for {base}, the branch that is applied"
    return ""


async def _say_failed(github: GitHub, clone: Clone, event: PullEvent, error: Exception, url: str) -> None:
    """Say that there is no review, in the error's words where they are ours; of a bug only its kind, because its text may hold anything."""
    words = str(error) if isinstance(error, RowhouseError) else f"an error in the review itself ({type(error).__name__})"
    text = f"**This change could not be reviewed, so it cannot be merged.**\n\n{fenced(words)}"
    await set_status(github, event.head_sha, REVIEW, ("error", "the change could not be reviewed; the comment says why"), url)
    await stick(github, event.number, comment_of(Reviewed(clone.head(), event.head_sha, text, (words,), None)))


@app.command()
@told
def wait(
    base: BaseOption = "main",
    seconds: Annotated[
        float, typer.Option("--seconds", help="After these no further pull request is looked at.", envvar="ROWHOUSE_WAIT_SECONDS", min=0)
    ] = LOOKING_S,
) -> None:
    """Set rowhouse/wait on every open pull request: it waits while one of its tenants is in a merged change that is not applied whole.

    Exit code 1 when one could not be looked at, or there was no time for all; the others are told what is so.
    """
    run, clone = here()

    async def work() -> Held:
        async with connected() as github:
            merges = Merges(clone, Record(github, await github.viewer()), house_selector())
            return await hold_open_pulls(github, clone, run, merges, base, os.environ.get("GITHUB_TOKEN", ""), seconds=seconds)

    held = asyncio.run(work())
    waiting = sorted(number for number, state in held.states.items() if state == "pending")
    lines = [f"{len(held.states)} open pull requests, {len(waiting)} wait" + (f": {', '.join(map(str, waiting))}" if waiting else "")]
    lines += [f"pull request {number}: could not be looked at ({kind}); its status is error" for number, kind in held.broken.items()]
    if held.left:
        named = ", ".join(map(str, sorted(held.left)))
        lines.append(f"no time for {len(held.left)} pull requests: {named}; they wait until the next run, or run this job again")
    for line in lines:
        say(line)
    if len(lines) > 1:
        append(run.summary, fenced("\n".join(lines)))
        raise typer.Exit(EXIT_FINDINGS)


@app.command()
@told
def cells(
    all_cells: Annotated[bool, typer.Option("--all", help="Every cell, whatever is applied; asks nothing of GitHub.")] = False,
) -> None:
    """Write the cells that a merge has to be applied to as a job's matrix (outputs `matrix` and `any`), and note them in the record."""
    run, clone = here()
    known = known_cells(clone.root, read_fleet(clone.root)[0])

    async def to_apply() -> dict[str, str]:
        async with connected() as github:
            return await Merges(clone, Record(github, await github.viewer()), house_selector()).to_apply(run)

    chosen = list(known) if all_cells else list(asyncio.run(to_apply()))
    by_lane = lanes(chosen, known)
    append(run.output, f"matrix={matrix(by_lane)}\nany={'true' if chosen else 'false'}")
    say(f"{len(chosen)} of {len(known)} cells in {len(by_lane)} jobs" + (f": {', '.join(chosen[:20])}" if chosen else ""))
