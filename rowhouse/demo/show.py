"""The first act: files to gated, billed instances, and a small life with them; then a month and its bills, and then pull requests.

Everything that is printed was seen: a promise that does not hold ends the demo with exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.text import Text

from rowhouse import engine
from rowhouse.cli.drive_embedded import EmbeddedDriver
from rowhouse.cli.progress import Teller
from rowhouse.cli.render import changes_text, print_outcome, resources, table
from rowhouse.cli.status import Row, rows, status_table, tenants_in
from rowhouse.demo.month import Month
from rowhouse.demo.narrator import Narrator, promise
from rowhouse.demo.proposal import Proposal
from rowhouse.demo.stage import PromiseBrokenError, Stage, local_cloud
from rowhouse.demo.visits import hostname_of, member_of, visit_all
from rowhouse.demo.workspace import edit, make_workspace
from rowhouse.localcloud.browser import Browser
from rowhouse.review.changes import Outcome, tenant_of
from rowhouse.spec import check_fleet, load_fleet
from rowhouse.vendors.fly import Fly

__all__ = ["run"]

T = TypeVar("T")

_IDLE_S = 30 * 60
_VENDOR_VARIABLES = ("FLY_", "CLOUDFLARE_", "STRIPE_", "ROWHOUSE_", "PULUMI_", "AWS_")


async def run(root: Path, *, keep: bool) -> int:
    """Show everything; 0 when every promise held."""
    console = Console(highlight=False, width=None if Console().is_terminal else 200)
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await _Show(root, console, keep=keep).play()
    except PromiseBrokenError as error:
        console.print(Text(f"\nThe demo failed: {error}", style="bold red"))
        return 1
    except asyncio.CancelledError:
        console.print("\nStopped. Everything that was started is gone.")
        return 0 if keep else 130
    console.print(
        Text(f"\nAll promises held; everything that was started is stopped. {time.monotonic() - began:.0f} s", style="bold green")
    )
    return 0


class _Show:
    def __init__(self, root: Path, console: Console, *, keep: bool) -> None:
        self.root, self.console, self.keep = root, console, keep
        self.narrator = Narrator(console)
        self.project = root / ".rowhouse" / "demo" / "project"
        self.clouds = root / ".rowhouse" / "demo" / "localcloud"
        self.stage: Stage
        self.driver: EmbeddedDriver
        self.env: dict[str, str]

    async def play(self) -> None:
        """Act one: files to instances. Act two: a month of use, to invoices (month.py). Act three: pull requests (proposal.py)."""
        self.narrator.title("Starting the local cloud", "Fly, Cloudflare and Stripe as stand-ins on this machine; no account, no network.")
        make_workspace(self.root, self.project)
        async with contextlib.AsyncExitStack() as stack:
            with self.narrator.timed("local cloud and warm interpreter"):
                nursery = engine.Nursery(modules=("pulumi", "pulumi_cloudflare"))
                self.stage, _ = await asyncio.gather(
                    stack.enter_async_context(local_cloud(self.clouds, start=_this_month())), stack.enter_async_context(nursery)
                )
            kept = {name: value for name, value in os.environ.items() if not name.startswith(_VENDOR_VARIABLES)}
            self.env = {**kept, **self.stage.env, "ROWHOUSE_STORE_URL": f"file://{self.project}/.rowhouse/store"}
            self.driver = EmbeddedDriver(self.project, "main", self.env, nursery)
            await self._first_apply()
            found = await self._open_all()
            await self._life(found)
            await self._nothing_left_to_do()
            await Month(self.stage, self.driver, self.env, self.project, self.narrator).play(_this_month())
            await Proposal(self.driver, self.env, self.project, self.narrator).play()
            if self.keep:
                await self._stay(await self._status())

    # -- the steps ----------------------------------------------------------------------------------------------------------------------

    async def _first_apply(self) -> None:
        fleet = load_fleet(self.project)
        instances = sum(len(tenant.instances) for tenant in fleet.tenants)
        self.narrator.title(
            "Preview and apply tenants/",
            f"{len(fleet.tenants)} files, {instances} instances, {len({t.plan.catalog for t in fleet.tenants})} businesses.",
        )
        outcome = await self._preview()
        created = {tenant: len(resources(changes)) for tenant, changes in outcome.by_tenant().items()}
        for tenant, count in created.items():
            self.console.print(f"  + {tenant or 'shared by all (edge, catalog)':32} {count} resources", markup=False)
        promise(
            set(created) - {""} == {tenant.id for tenant in fleet.tenants}, "the preview does not show exactly the tenants of the files"
        )
        await self._up()

    async def _open_all(self) -> list[Row]:
        self.narrator.title(
            "Open every instance", "As a member, as a stranger, with another tenant's token, and around the gate by the host's own name."
        )
        found = await self._status()
        apps = {(row.tenant, row.instance): app for row, app in await self._apps(found)}
        with self.narrator.timed("logins and visits"):
            visits = await visit_all(self.stage, found, apps)
        shown = table("", "hostname", "member", "page", "WebSocket", "stranger", "another's token", "<app>.fly.dev")
        for visit in visits:
            shown.add_row(
                visit.hostname, visit.member, str(visit.page), visit.websocket, visit.stranger, visit.other_tenant, visit.around_the_gate
            )
        self.console.print(shown)
        self.console.print(status_table(await self._status()))
        return found

    async def _life(self, found: list[Row]) -> None:
        tenants = self.project / "tenants"
        self.narrator.title("A new customer", "tenants/maple.yaml is added.")
        (tenants / "maple.yaml").write_text(
            "owner: {name: Maple Works, email: hello@maple.example}\nplan: my-jarvis/fixed\n", encoding="utf-8"
        )
        await self._change("maple", only={"create"})

        self.narrator.title("A new member", "tenants/acme.yaml: li@partner.example joins.")
        edit(tenants / "acme.yaml", r"^members: \[", "members: [li@partner.example, ")
        await self._change("acme", only={"update"}, exactly=1)

        self.narrator.title("A larger machine", "tenants/acme.yaml: the lab gets 512 MB.")
        edit(tenants / "acme.yaml", r"lab: \{memory_mb: 256", "lab: {memory_mb: 512")
        await self._change("acme", only={"update"}, exactly=1)

        await self._sleep_and_wake(found)
        await self._leave()

    async def _sleep_and_wake(self, found: list[Row]) -> None:
        row = next(row for row in found if row.tenant == "acme" and row.instance == "main")
        self.narrator.title("Asleep, and woken by a request", f"{row.url} is left alone for {_IDLE_S // 60} minutes of virtual time.")
        now = await self.stage.advance(_IDLE_S)
        state = await self._state_of(row)
        promise(state in {"stopped", "suspended"}, f"the idle machine is {state}")
        self.console.print(f"  at {now} the machine is {state}", markup=False)
        browser = Browser(self.stage.urls["front"])
        try:
            promise(await browser.login(hostname_of(row), member_of(row)), "the member could not log in")
            began = time.monotonic()
            page = await browser.get(hostname_of(row), "/")
            promise(page.status_code == 200, f"the request that should wake it was answered {page.status_code}")
            self.console.print(
                f"  one request later it is {await self._state_of(row)}, and the page was there after {time.monotonic() - began:.1f} s",
                markup=False,
            )
        finally:
            await browser.aclose()
        outcome = await self._preview()
        promise(not outcome.changes, "a machine that slept by itself shows as a change")

    async def _leave(self) -> None:
        leaving = "hazel"
        self.narrator.title("A customer leaves", f"tenants/{leaving}.yaml: state: offboarding.")
        before = next(row for row in await self._status() if row.tenant == leaving)
        path = self.project / "tenants" / f"{leaving}.yaml"
        path.write_text(path.read_text(encoding="utf-8") + "state: offboarding\n", encoding="utf-8")
        await self._change(leaving, only={"update"})
        state = await self._state_of(before)
        promise(state == "stopped", f"the machine of a leaving tenant is {state}")
        browser = Browser(self.stage.urls["front"])
        try:
            let_in = await browser.login(hostname_of(before), member_of(before))
            # The gateways hear of it within their polling interval; until then a request finds a machine that may not wake.
            page = await browser.get(hostname_of(before), "/")
            for _ in range(20):
                if page.status_code == 403:
                    break
                await asyncio.sleep(0.5)
                page = await browser.get(hostname_of(before), "/")
            promise(page.status_code == 403, f"the gate of a leaving tenant answered {page.status_code} (login {let_in})")
        finally:
            await browser.aclose()
        volume = await self._volume_of(leaving)
        self.console.print(f"  gate closed (403), machine {state}, volume {volume} kept", markup=False)

        self.narrator.title("And wants its data gone", f"tenants/{leaving}.yaml: state: purge.")
        edit(path, r"^state: offboarding$", "state: purge")
        problems = [problem for problem in check_fleet(self.project) if problem.severity == "error"]
        promise(len(problems) == 1, "purging was not refused by exactly one rule")
        self.console.print(Text(f"  refused: {problems[0]}", style="yellow"))
        edit(path, r"^state: purge$", "state: offboarding")

    async def _nothing_left_to_do(self) -> None:
        self.narrator.title("Preview once more", "Files, state and vendors agree.")
        outcome = await self._preview()
        print_outcome(self.console, outcome, done=False)
        promise(not outcome.changes, "there are changes left")

    async def _stay(self, found: list[Row]) -> None:
        self.narrator.title("Still up", "Stop it with Ctrl-C.")
        tenants = tenants_in(await self.driver.export())
        for row in found:
            closed = "" if tenants[row.tenant]["state"] == "active" else f"   (gate closed: {tenants[row.tenant]['state']})"
            self.console.print(f"  {row.url}/   as {member_of(row)}{closed}", markup=False)
        self.console.print(
            f"  login codes arrive at {self.stage.urls['front']}/mailbox; the vendors' side is at {self.stage.urls['control']}/",
            markup=False,
        )
        commands = self.project / ".rowhouse" / "env"
        told = {name: value for name, value in self.env.items() if name in self.stage.env or name == "ROWHOUSE_STORE_URL"}
        commands.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(told.items())), encoding="utf-8")
        self.console.print(
            f"  commands: cd {self.project} && . .rowhouse/env && rowhouse status   (rowhouse is in this project's .venv/bin)", markup=False
        )
        try:
            await asyncio.Event().wait()
        finally:
            commands.unlink(missing_ok=True)

    # -- what the steps share -----------------------------------------------------------------------------------------------------------

    async def _preview(self) -> Outcome:
        with Teller(self.console, "previewing") as teller:
            outcome = await self.driver.preview(teller)
        self._no_failures(outcome)
        return outcome

    async def _up(self) -> Outcome:
        with Teller(self.console, "applying") as teller:
            outcome = await self.driver.up(teller)
        self._no_failures(outcome)
        count = len(resources(outcome.changes))
        self.console.print(Text(f"  applied {count} change{'' if count == 1 else 's'} in {outcome.seconds:.1f} s", style="dim"))
        return outcome

    async def _change(self, tenant: str, *, only: set[str], exactly: int | None = None) -> None:
        """Preview, show, apply; the change must touch one tenant and do nothing but `only`."""
        outcome = await self._preview()
        self.console.print(changes_text(outcome), end="")
        touched = {tenant_of(change.urn, outcome.parents) for change in outcome.changes}
        promise(touched == {tenant}, f"the change of {tenant} touches {sorted(touched)}")
        operations = {change.op for change in outcome.changes}
        promise(operations <= only, f"the change of {tenant} wants to {sorted(operations - only)}")
        promise(
            exactly is None or len(outcome.changes) == exactly, f"the change of {tenant} is {len(outcome.changes)} steps, not {exactly}"
        )
        applied = await self._up()
        promise({c.urn for c in applied.changes} == {c.urn for c in outcome.changes}, "what was applied is not what was previewed")

    async def _status(self) -> list[Row]:
        tenants = tenants_in(await self.driver.export())
        return await self._with_fly(lambda fly: rows(tenants, fly, self.env))

    async def _apps(self, found: list[Row]) -> list[tuple[Row, str]]:
        tenants = tenants_in(await self.driver.export())
        return [(row, tenants[row.tenant]["instances"][row.instance]["app"]) for row in found]

    async def _state_of(self, row: Row) -> str:
        return next(now.state for now in await self._status() if (now.tenant, now.instance) == (row.tenant, row.instance))

    async def _volume_of(self, tenant: str) -> str:
        instance = tenants_in(await self.driver.export())[tenant]["instances"]["main"]
        volume = await self._with_fly(lambda fly: fly.get_volume(instance["app"], instance["volume"]))
        promise(volume is not None and volume["state"] == "created", f"the volume of {tenant} is gone")
        return str(instance["volume"])

    async def _with_fly(self, use: Callable[[Fly], Awaitable[T]]) -> T:
        fly = Fly.from_environment(self.env)
        try:
            return await use(fly)
        finally:
            await fly.close()

    def _no_failures(self, outcome: Outcome) -> None:
        if outcome.failures:
            print_outcome(self.console, outcome, done=False)
        promise(outcome.ok, "the run had failures")


def _this_month() -> datetime:
    """Its first moment, when the demo's time begins: so the month that goes by is a whole one."""
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
