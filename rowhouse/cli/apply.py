"""preview, up, refresh, destroy: what the files say, what would change, and making it so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
import yaml
from rich.console import Console

from rowhouse.cli import guards
from rowhouse.cli.output import EXIT_FINDINGS, EXIT_NOTHING_DONE, JsonOption, data, emit, fail, handled, prose, resumable
from rowhouse.cli.prices import in_plain_prices
from rowhouse.cli.progress import Teller
from rowhouse.cli.render import print_outcome
from rowhouse.cli.surroundings import EngineName, EnvironmentProblemError, StackBusyError, Surroundings, surroundings
from rowhouse.cli.sweep import Leftover, Owner, Sweep
from rowhouse.review.changes import Outcome
from rowhouse.spec import Fleet
from rowhouse.spec.guardrails import load_guardrails

if TYPE_CHECKING:
    from rowhouse.cli.rollout import NewImages

__all__ = ["Driver", "destroy", "driver_for", "prepared", "preview", "refresh", "up"]

EngineOption = Annotated[
    EngineName, typer.Option("--engine", help="Who applies: the Pulumi CLI where it is on PATH, else the embedded engine.")
]
StackOption = Annotated[str, typer.Option("--stack", "-s", help="The cell.", envvar="ROWHOUSE_STACK")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")]
ReviewedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reviewed",
        metavar="BASE..HEAD",
        help="Do only what this reviewed range of commits does; a tenant whose change is another stays as it is. May be repeated.",
    ),
]
RefreshOption = Annotated[bool, typer.Option("--refresh", help="Read every object at the vendors before comparing.")]


Words = Callable[[Outcome], Outcome]
"""An outcome in the words of the files: an engine knows only resources."""


class Driver(Protocol):
    """An engine behind the verbs."""

    name: str
    adopts: bool

    async def preview(self, teller: Teller, *, refresh: bool = False) -> Outcome: ...
    async def up(
        self, teller: Teller, review: object = None, *, refresh: bool = False, held: Mapping[str, str] | None = None
    ) -> Outcome: ...
    async def refresh(self, teller: Teller) -> Outcome: ...
    async def destroy(self, teller: Teller, review: object = None, *, delete_data: bool = False) -> Outcome: ...
    async def export(self) -> dict[str, object]: ...
    def held(self) -> contextlib.AbstractContextManager[None]: ...
    async def settled(self, teller: Teller) -> dict[str, object]: ...


def driver_for(where: Surroundings, stack: str) -> Driver:
    """The engine that the surroundings chose."""
    if where.engine == "pulumi":
        from rowhouse.cli.drive_pulumi import PulumiDriver

        return PulumiDriver(where.root, stack, dict(where.env))  # type: ignore[return-value]
    from rowhouse.cli.drive_embedded import EmbeddedDriver

    return EmbeddedDriver(where.root, stack, dict(where.env))  # type: ignore[return-value]


@dataclass(frozen=True)
class Prepared:
    """What a run over a stack works with."""

    where: Surroundings
    driver: Driver
    state: dict[str, object]
    """Before the run."""
    words: Words
    fleet: Fleet


def prepared(stack: str, engine: EngineName) -> Prepared:
    """Everything checked that can be checked before an engine starts.

    Raises: SpecError, EnvironmentProblemError.
    """
    where, fleet = guards.checked(Path.cwd(), os.environ, engine=engine, stack=stack)
    driver = driver_for(where, stack)
    state = asyncio.run(driver.export())
    guards.refuse_vanished(fleet, stack, state)

    def words(outcome: Outcome) -> Outcome:
        return in_plain_prices(guards.in_the_files_words(outcome, fleet, stack, state), fleet, state)

    return Prepared(where, driver, state, words, fleet)


@contextlib.asynccontextmanager
async def _sweeping(
    where: Surroundings, driver: Driver, stack: str, state: dict[str, object], teller: Teller, *, changing: bool = True
) -> AsyncIterator[Sweep]:
    """A sweep that has looked, its client closed at the end.

    What a living run has made and not written down yet looks like a leftover. So who is going to change the stack looks under its lock, and
    is refused while another holds it; a preview, which keeps nobody from working, takes the lock only to read the state once more.
    """
    from rowhouse.engine import load_project  # costs gRPC: only where something is applied
    from rowhouse.vendors.cloudflare import Cloudflare

    settings = guards.stack_settings(where.root, stack)
    account, zone = str(settings.get("cloudflareAccountId", "")), str(settings.get("cloudflareZoneId", ""))
    owner = Owner(load_project(where.root).name, stack, account, zone)
    cloudflare = Cloudflare.from_environment(where.env)

    async def quiet() -> dict[str, object]:
        with driver.held():
            return await driver.export()

    try:
        sweep = Sweep(cloudflare, owner, lambda text: teller.said("warning", text))
        try:
            with driver.held() if changing else contextlib.nullcontext():
                await sweep.look(state, driver.export if changing else quiet, adopting=driver.adopts)
        except StackBusyError as error:
            if changing:
                raise
            teller.said("warning", f"not looked for leftovers of an interrupted run: {error}")
        yield sweep
    finally:
        await cloudflare.close()


@handled
def preview(
    stack: StackOption = "main", engine: EngineOption = "auto", refresh: RefreshOption = False, as_json: JsonOption = False
) -> None:
    """Show what `up` would change, without changing anything."""
    made = prepared(stack, engine)
    where, driver, state, words = made.where, made.driver, made.state, made.words

    async def look(teller: Teller) -> tuple[Outcome, list[Leftover]]:
        async with _sweeping(where, driver, stack, state, teller, changing=False) as sweep:
            if where.vendors == "loopback" and not refresh:
                sweep.refuse_foreign(state)
            return words(await driver.preview(teller, refresh=refresh)), sweep.found

    with Teller(prose, "previewing", quiet=as_json) as teller:
        outcome, found = asyncio.run(look(teller))
    if not as_json:
        _print_leftovers(data, found)
    _finish(outcome, as_json=as_json, done=False, leftovers=found)


@handled
@resumable
def up(
    stack: StackOption = "main",
    engine: EngineOption = "auto",
    yes: YesOption = False,
    refresh: RefreshOption = False,
    reviewed: ReviewedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make it so: show the preview, ask, apply."""
    made = prepared(stack, engine)
    where, driver, state, words = made.where, made.driver, made.state, made.words
    ranges = _ranges(where, reviewed or [])

    from rowhouse.cli.rollout import new_images

    async def work(teller: Teller) -> tuple[Outcome, list[Leftover]]:
        async with _sweeping(where, driver, stack, state, teller) as sweep:
            if where.vendors == "loopback" and not refresh:
                sweep.refuse_foreign(state)
            review = await _swept_after(
                _asker(teller, "Apply these changes?", "applying", sweep.found, words), driver, sweep, teller, asks=not yes
            )
            held = await _held(where, driver, stack, ranges, teller, refresh=refresh) if ranges else {}
            found = new_images(made.fleet, stack, state)
            if len(found.images) < 2:
                return words(await driver.up(teller, review, refresh=refresh, held=held)), sweep.removed
            return words(await _in_waves(made, stack, found, teller, review, held, refresh=refresh)), sweep.removed

    with Teller(prose, "applying" if yes else "previewing", quiet=as_json) as teller:
        outcome, removed = asyncio.run(work(teller))
    _finish(outcome, as_json=as_json, done=not outcome.declined, leftovers=removed)


async def _in_waves(
    made: Prepared, stack: str, found: NewImages, teller: Teller, review: object, held: Mapping[str, str], *, refresh: bool
) -> Outcome:
    """Apply a change that brings several tenants a new image."""
    from rowhouse.cli.rollout import roll_out
    from rowhouse.vendors.fly import Fly

    project = str(yaml.safe_load((made.where.root / "Pulumi.yaml").read_text(encoding="utf-8"))["name"])
    asked = review
    machines = Fly.from_environment(made.where.env)

    async def apply(kept: Mapping[str, str]) -> Outcome:
        nonlocal asked
        now, asked = asked, None  # who agreed to the rollout is not asked again for each wave
        return await made.driver.up(teller, now, refresh=refresh, held=kept)

    try:
        return await roll_out(
            found,
            load_guardrails(made.where.root).rollout,
            apply,
            made.driver.export,
            machines,
            held,
            lambda tenant: f"urn:pulumi:{stack}::{project}::rowhouse:index:Tenant::{tenant}",
            lambda text: teller.said("info", text),
        )
    finally:
        await machines.close()


def _ranges(where: Surroundings, reviewed: Sequence[str]) -> list[tuple[str, str]]:
    """The commits of reviewed ranges. Raises: CommitsError."""
    if not reviewed:
        return []
    from rowhouse.review.commits import Commits

    commits = Commits(where.root)
    return [commits.range_of(text) for text in reviewed]


async def _held(
    where: Surroundings, driver: Driver, stack: str, ranges: Sequence[tuple[str, str]], teller: Teller, *, refresh: bool
) -> dict[str, str]:
    """URNs of tenants whose change is not the one that was reviewed, to the reason; they stay as they were last applied.

    Raises: EnvironmentProblemError where what all tenants share differs: then nothing is applied.
    """
    from rowhouse.review.approved import approved_in, held_urns, unapproved

    approved = await approved_in(where.root, ranges, stack)
    preview = await driver.preview(teller, refresh=refresh)
    reasons = unapproved(preview, approved)
    if shared := reasons.pop("", ""):
        raise EnvironmentProblemError(
            f"cell {stack}: {shared}, and all its tenants stand on it; nothing was applied. Look at `rowhouse preview`: "
            "it fails, or objects were changed by hand (`rowhouse refresh`), or another change is not applied yet. Then review again."
        )
    return held_urns(preview, {tenant: f"left as it was last applied: {why}. Review the change again." for tenant, why in reasons.items()})


@handled
@resumable
def refresh(stack: StackOption = "main", engine: EngineOption = "auto", as_json: JsonOption = False) -> None:
    """Read every object at the vendors again and correct the state; changes nothing at the vendors."""
    driver = prepared(stack, engine).driver
    with Teller(prose, "refreshing", quiet=as_json) as teller:
        outcome = asyncio.run(driver.refresh(teller))
    _finish(outcome, as_json=as_json, done=True)


@handled
@resumable
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
    state = asyncio.run(driver.export())
    if not delete_data:
        guards.refuse_protected(stack, state)

    async def work(teller: Teller) -> tuple[Outcome, list[Leftover]]:
        async with _sweeping(where, driver, stack, state, teller) as sweep:
            review = await _swept_after(_asker(teller, "Delete all this?", "destroying", sweep.found), driver, sweep, teller, asks=not yes)
            return await driver.destroy(teller, review, delete_data=delete_data), sweep.removed

    with Teller(prose, "destroying" if yes else "previewing", quiet=as_json) as teller:
        outcome, removed = asyncio.run(work(teller))
    _finish(outcome, as_json=as_json, done=not outcome.declined, leftovers=removed)


Review = Callable[[Outcome], bool]


async def _swept_after(ask: Review, driver: Driver, sweep: Sweep, teller: Teller, *, asks: bool) -> object:
    """A review after whose yes the leftovers are removed; without a person to ask they are removed now and there is no review."""

    async def remove() -> None:
        if sweep.found:
            with driver.held():
                await sweep.remove(await driver.settled(teller))

    async def review(outcome: Outcome) -> bool:
        agreed = ask(outcome)
        if agreed:
            await remove()
        return agreed

    if asks:
        return review
    await remove()
    return None


def _asker(teller: Teller, question: str, doing: str, leftovers: Sequence[Leftover], words: Words = lambda outcome: outcome) -> Review:
    """A review that shows the plan and asks; without a person it declines. What follows a yes is told as `doing`."""

    def review(outcome: Outcome) -> bool:
        teller.pause()
        _print_leftovers(prose, leftovers)
        print_outcome(prose, words(outcome), done=False)
        if not outcome.changes and not leftovers:
            teller.resume(doing)
            return True
        if not sys.stdin.isatty():
            fail("Nobody is here to ask. Review the preview, then run again with --yes.")
        answer = typer.confirm(question, err=True)
        teller.resume(doing)
        return answer

    return review


def _print_leftovers(console: Console, leftovers: Sequence[Leftover]) -> None:
    if leftovers:
        console.print("left over from an interrupted run", style="bold", markup=False)
        for leftover in leftovers:
            console.print(f"  - delete   {leftover} ({leftover.id})", style="red", markup=False)


def _finish(outcome: Outcome, *, as_json: bool, done: bool, leftovers: Sequence[Leftover] = ()) -> None:
    code = 0
    if outcome.failures:
        # A run that could not even begin did nothing; one that lost some tenants did the others.
        code = EXIT_FINDINGS if any(failure.urn for failure in outcome.failures) or (done and outcome.changes) else EXIT_NOTHING_DONE
    elif outcome.refused:
        code = EXIT_FINDINGS
    if as_json:
        emit({**outcome.document(), "leftovers": [{"kind": item.kind, "name": item.name, "id": item.id} for item in leftovers]})
    else:
        print_outcome(data, outcome, done=done)
    if outcome.declined:
        code = EXIT_NOTHING_DONE
    if code:
        raise typer.Exit(code)
