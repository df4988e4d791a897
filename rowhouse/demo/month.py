"""The second act: a month in which tenants work, sleep, crash and change plan, a pass each hour, and then the money.

Does: move the clock from hour to hour, have tenants do what script.py says and passes look meanwhile, close the month, show what came out
(money.py). Does not: compute anything; everything printed was asked of the pipeline, of the vendors or of the local cloud itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from rowhouse.cli.drive_embedded import EmbeddedDriver
from rowhouse.cli.pipeline import opened
from rowhouse.cli.progress import Teller
from rowhouse.cli.status import rows, tenants_in
from rowhouse.demo.money import Money
from rowhouse.demo.narrator import Narrator, promise
from rowhouse.demo.people import People
from rowhouse.demo.script import CHANGE_DAY, Act, Place, acts_of
from rowhouse.demo.stage import Stage
from rowhouse.demo.workspace import edit
from rowhouse.edge.clock import FileClock
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.observations import Finding, Observations
from rowhouse.usage.passes import PassResult, Pipeline, reconcile
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store_file import FileStore

__all__ = ["Month"]

_HOUR = timedelta(hours=1)
_TELL_EVERY = 7 * 24
"""Every so many passes one rates and tells Stripe too, and one a day before the month's end; the others look and remember."""
_CELL = "main"
_LOST = "fly.events-lost"


class Month:
    """One month of the demo's tenants."""

    def __init__(self, stage: Stage, driver: EmbeddedDriver, env: Mapping[str, str], project: Path, narrator: Narrator) -> None:
        """Go on with what act one left."""
        self._stage, self._driver, self._env, self._project, self._narrator = stage, driver, dict(env), project, narrator
        self._passes = self._pushed = self._gaps = 0
        self._apps: dict[str, Place] = {}

    async def play(self, month: datetime) -> None:
        """Show it. Args: month: its first moment; the virtual clock is in its first hour.

        Raises: PromiseBrokenError when something is not as it must be.
        """
        end = (month + timedelta(days=32)).replace(day=1)
        tenants = tenants_in(await self._driver.export())
        self._apps = {one["app"]: (tenant, name) for tenant, found in tenants.items() for name, one in found["instances"].items()}
        fly = Fly.from_environment(self._env)
        try:
            places = {(row.tenant, row.instance): row for row in await rows(tenants, fly, self._env)}
        finally:
            await fly.close()
        self._narrator.title(
            f"{month:%B %Y} goes by",
            f"Tenants work, sleep, crash and stay past midnight. A pass each hour; once a week one tells Stripe. "
            f"On the {CHANGE_DAY}th acme moves to aether/team.",
        )
        async with (
            People(self._stage, places, self._apps) as people,
            opened(self._project, _CELL, self._env, clock=FileClock(self._stage.clock_file)) as pipeline,
        ):
            pipeline.ledger = self._ledger()
            began = time.monotonic()
            await self._live(month, end, pipeline, people)
            self._narrator.say(
                f"{self._passes} passes, all complete; {people.wakings} times a machine was woken, {people.crashes} times an app crashed; "
                f"{self._pushed} totals sent to Stripe: {time.monotonic() - began:.0f} s"
            )
            self._narrator.say(
                f"machines replaced between two passes: {self._gaps}; what they did since the pass before stays unknown, unbilled"
            )
            await Money(self._stage, self._env, self._project, self._narrator, pipeline, self._apps).play(month)

    def _ledger(self) -> Ledger:
        """The same ledger, that need not survive a power cut: the disk would take longer than all passes."""
        folder = Path(self._env["ROWHOUSE_STORE_URL"].removeprefix("file://"))
        return Ledger(FileStore(folder, durable=False), _CELL, cache=self._project / ".rowhouse" / "cache" / "ledger")

    async def _live(self, month: datetime, end: datetime, pipeline: Pipeline, people: People) -> None:
        acts = acts_of(month)
        console = self._narrator.console
        with Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress:
            hours = int((end - month) / _HOUR)
            bar = progress.add_task(f"{month:%d %B}", total=hours)
            for number in range(hours + 2):  # one pass more than hours: only that proves the month's last minutes
                start = month + number * _HOUR
                if number:
                    await self._stage.advance_to(start)
                    await self._pass(pipeline, tells=number % _TELL_EVERY == 0 or number in {hours - 24, hours + 1})
                if start == month.replace(day=CHANGE_DAY):
                    await self._change_plan()
                await self._hour([act for act in acts if start <= act.at < start + _HOUR], people)
                progress.update(bar, completed=number, description=f"{start:%d %B}")

    async def _hour(self, acts: list[Act], people: People) -> None:
        for at in sorted({act.at for act in acts}):
            if at > await self._stage.now():
                await self._stage.advance_to(at)
            await people.do([act for act in acts if act.at == at])

    async def _pass(self, pipeline: Pipeline, *, tells: bool) -> None:
        if tells:
            result: PassResult = await reconcile(pipeline)
            self._pushed += result.pushed
            findings = self._unexpected(result.findings)
            promise(result.is_well or not (findings or result.troubles), f"the pass at {_time(result.now)} was not well: {_ills(result)}")
        else:
            seen, remembered = await pipeline.look()
            promise(remembered and seen.complete and not self._unexpected(seen.findings), f"a pass was not complete: {_gaps(seen)}")
        self._passes += 1

    def _unexpected(self, findings: Sequence[Finding]) -> list[Finding]:
        """Findings that are no consequence of the script: a machine that is replaced takes the events since the last pass with it."""
        self._gaps += sum(finding.rule == _LOST for finding in findings)
        return [finding for finding in findings if finding.rule != _LOST]

    async def _change_plan(self) -> None:
        """Acme's file names another plan; lilach's app learns to crash on request."""
        edit(self._project / "tenants" / "acme.yaml", r"^plan: aether/pro$", "plan: aether/team")
        lilach = self._project / "tenants" / "lilach.yaml"
        lilach.write_text(lilach.read_text(encoding="utf-8") + 'env: {NOTEBOOK_CHAOS: "1"}\n', encoding="utf-8")
        with Teller(self._narrator.console, "applying", quiet=True) as teller:
            outcome = await self._driver.up(teller)
        promise(outcome.ok and {"acme", "lilach"} == set(outcome.by_tenant()), "the change of plan did not apply to acme and lilach alone")


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M}"


def _ills(result: PassResult) -> str:
    gaps = [f"{name}: {source.reason}" for name, source in result.sources.items() if not source.complete]
    return (
        "; ".join([*gaps, *(finding.message for finding in result.findings), *(str(trouble) for trouble in result.troubles)])
        or "not remembered"
    )


def _gaps(seen: Observations) -> str:
    gaps: list[Any] = [f"{name}: {source.reason}" for name, source in seen.completeness.items() if not source.complete]
    return "; ".join([*gaps, *(finding.message for finding in seen.findings)]) or "not remembered"
