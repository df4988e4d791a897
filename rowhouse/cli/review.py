"""review: what a range of commits changes, what it costs, what speaks against it; offline, from the clone alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from rowhouse.cli.output import EXIT_FINDINGS, JsonOption, data, emit, handled, prose
from rowhouse.cli.surroundings import find_root

__all__ = ["review"]


@handled
def review(
    commits: Annotated[str, typer.Argument(metavar="BASE..HEAD", help="The change: `main..HEAD`; three dots begin where HEAD left BASE.")],
    label: Annotated[
        list[str] | None, typer.Option("--label", help="As if the pull request had it: `interrupts-many`, `changes-bills`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a change would do, cost and break: the comment of its pull request. Nothing of the change is run, nobody is asked."""
    from rowhouse.cli.reviewing import house_review
    from rowhouse.review.commits import Commits

    root = find_root(Path.cwd())
    base, head = Commits(root).range_of(commits)
    with prose.status("reading files") as status:
        found = house_review(root, base, head, labels=frozenset(label or ()), progress=status.update)
    if as_json:
        emit(found.document())
    elif data.is_terminal:
        data.print(Markdown(found.markdown()))
    else:
        typer.echo(found.markdown(), nl=False)
    if found.blocked:
        raise typer.Exit(EXIT_FINDINGS)
