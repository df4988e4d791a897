"""preview, up, refresh, destroy: what the files say, what would change, and making it so."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Protocol

import typer

from rowhouse.cli import guards
from rowhouse.cli.changes import Outcome
from rowhouse.cli.output import EXIT_FINDINGS, EXIT_NOTHING_DONE, JsonOption, data, emit, fail, handled, prose
from rowhouse.cli.progress import Teller
from rowhouse.cli.render import print_outcome
from rowhouse.cli.surroundings import EngineName, EnvironmentProblemError, Surroundings, surroundings
from rowhouse.spec import load_fleet

__all__ = ["Driver", "destroy", "driver_for", "prepared", "preview", "refresh", "up"]

EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Who applies: the Pulumi CLI where it is on PATH, else the embedded engine.")
]
StackOption = Annotated[str, typer.Option("--stack", "-s", help="The cell.", envvar="ROWHOUSE_STACK")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Read every object at the vendors before comparing.")]


class Driver(Protocol):
    """An engine behind the verbs."""

    name: str

    async def preview(self, teller: Teller, *, refresh: bool = False) -> Outcome: ...
    async def up(self, teller: Teller, review: object = None, *, refresh: bool = False) -> Outcome: ...
    async def refresh(self, teller: Teller) -> Outcome: ...
    async def destroy(self, teller: Teller, review: object = None, *, delete_data: bool = False) -> Outcome: ...
    async def export(self) -> dict[str, object]: ...


def driver_for(where: Surroundings, stack: str) -> Driver:
    """The engine that the surroundings chose."""
    if where.engine == "pulumi":
        from rowhouse.cli.drive_pulumi import PulumiDriver

        return PulumiDriver(where.root, stack, dict(where.env))  # type: ignore[return-value]
    from rowhouse.cli.drive_embedded import EmbeddedDriver

    return EmbeddedDriver(where.root, stack, dict(where.env))  # type: ignore[return-value]


def prepared(stack: str, engine: EngineName) -> tuple[Surroundings, Driver]:
    """Everything checked that can be checked before an engine starts.

    Raises: SpecError, EnvironmentProblemError.
    """
    where = surroundings(Path.cwd(), os.environ, engine=engine)
    fleet = load_fleet(where.root)
    guards.check_accounts(where, stack)
    guards.check_live_key(fleet, where.env)
    driver = driver_for(where, stack)
    guards.refuse_vanished(fleet, stack, asyncio.run(driver.export()))
    return where, driver


@handled
def preview(
    stack: StackOption = "main", engine: EngineOption = "auto", refresh: RefreshOption = False, as_json: JsonOption = False
) -> None:
    """Show what `up` would change, without changing anything."""
    _, driver = prepared(stack, engine)
    with Teller(prose, "previewing", quiet=as_json) as teller:
        outcome = asyncio.run(driver.preview(teller, refresh=refresh))
    _finish(outcome, as_json=as_json, done=False)


@handled
def up(
    stack: StackOption = "main",
    engine: EngineOption = "auto",
    yes: YesOption = False,
    refresh: RefreshOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make it so: show the preview, ask, apply."""
    _, driver = prepared(stack, engine)
    with Teller(prose, "applying", quiet=as_json) as teller:
        outcome = asyncio.run(driver.up(teller, None if yes else _asker(teller, "Apply these changes?"), refresh=refresh))
    _finish(outcome, as_json=as_json, done=not outcome.declined)


@handled
def refresh(stack: StackOption = "main", engine: EngineOption = "auto", as_json: JsonOption = False) -> None:
    """Read every object at the vendors again and correct the state; changes nothing at the vendors."""
    _, driver = prepared(stack, engine)
    with Teller(prose, "refreshing", quiet=as_json) as teller:
        outcome = asyncio.run(driver.refresh(teller))
    _finish(outcome, as_json=as_json, done=True)


@handled
def destroy(
    stack: StackOption = "main",
    engine: EngineOption = "auto",
    yes: YesOption = False,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Delete volumes too. On the local cloud alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete everything of a stack; volumes, their apps and subscriptions are protected."""
    where = surroundings(Path.cwd(), os.environ, engine=engine)
    if delete_data and where.vendors == "real":
        raise EnvironmentProblemError(
            "--delete-data: refused at real vendors. Customers' volumes leave by `state: offboarding` in their files."
        )
    driver = driver_for(where, stack)
    with Teller(prose, "destroying", quiet=as_json) as teller:
        outcome = asyncio.run(driver.destroy(teller, None if yes else _asker(teller, "Delete all this?"), delete_data=delete_data))
    _finish(outcome, as_json=as_json, done=not outcome.declined)


def _asker(teller: Teller, question: str) -> object:
    """A review that shows the plan and asks; without a person it declines."""

    def review(outcome: Outcome) -> bool:
        teller.pause()
        print_outcome(prose, outcome, done=False)
        if not outcome.changes:
            return True
        if not sys.stdin.isatty():
            fail("Nobody is here to ask. Review the preview, then run again with --yes.")
        answer = typer.confirm(question, err=True)
        teller.resume()
        return answer

    return review


def _finish(outcome: Outcome, *, as_json: bool, done: bool) -> None:
    code = 0
    if outcome.failures:
        # A run that could not even begin did nothing; one that lost some tenants did the others.
        code = EXIT_FINDINGS if any(failure.urn for failure in outcome.failures) or (done and outcome.changes) else EXIT_NOTHING_DONE
    if as_json:
        emit(outcome.document())
    else:
        print_outcome(data, outcome, done=done)
    if outcome.declined:
        code = EXIT_NOTHING_DONE
    if code:
        raise typer.Exit(code)
