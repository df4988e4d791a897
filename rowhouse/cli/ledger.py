"""ledger verify, purchase, refund: what the memory of use and money is asked and told by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from rowhouse.cli.apply import StackOption
from rowhouse.cli.guards import stack_settings
from rowhouse.cli.output import EXIT_FINDINGS, JsonOption, data, emit, handled, prose
from rowhouse.cli.surroundings import EnvironmentProblemError, find_root
from rowhouse.spec import times
from rowhouse.spec.load import load_fleet
from rowhouse.spec.model import Tenant
from rowhouse.spec.problem import did_you_mean, listed
from rowhouse.spec.slug import show
from rowhouse.usage.bills import NoLedgerError
from rowhouse.usage.intake import record_purchase, undo_purchase
from rowhouse.usage.ledger import Ledger
from rowhouse.usage.model import milliseconds
from rowhouse.usage.verify import Examined, examine
from rowhouse.vendors.store import open_store
from rowhouse.vendors.stripe import Stripe

__all__ = ["app", "is_named", "open_ledger", "purchase", "refund", "stripes_time"]

_REASON_MAX = 200

app = typer.Typer(help="Look at the memory of use and money.", no_args_is_help=True, add_completion=False)


def open_ledger(root: Path, stack: str, env: Mapping[str, str]) -> Ledger:
    """The ledger of a cell: in ROWHOUSE_STORE_URL, else the stack's `account:store`, else the project's own folder.

    Raises: EnvironmentProblemError when the stack has no settings; StoreError for an address that is none.
    """
    url, _ = _address(root, stack, env)
    return Ledger(open_store(url), stack, cache=root / ".rowhouse" / "cache" / "ledger")


def is_named(root: Path, stack: str, env: Mapping[str, str]) -> bool:
    """Whether a cell's ledger may be opened without having been asked for: it is in the project's own folder, or the environment names it.

    Raises: EnvironmentProblemError when the stack has no settings.
    """
    return _address(root, stack, env)[1]


def _address(root: Path, stack: str, env: Mapping[str, str]) -> tuple[str, bool]:
    """Where a cell's ledger is, and whether that is the project's own folder or said by the environment."""
    said = str(stack_settings(root, stack).get("store") or "file:")
    if url := env.get("ROWHOUSE_STORE_URL"):
        return url, True
    return ((root / ".rowhouse" / "store").as_uri(), True) if said.startswith("file:") else (said, False)


@app.callback()
def _ledger() -> None:
    pass


@app.command()
@handled
def verify(stack: StackOption = "main", as_json: JsonOption = False) -> None:
    """Read the whole ledger and name every object that was edited, cut off, removed, moved or added."""
    ledger = open_ledger(find_root(Path.cwd()), stack, os.environ)
    with Progress(console=prose, transient=True, disable=as_json or not prose.is_terminal) as progress:
        bar = progress.add_task("reading the ledger", total=None)
        examined = examine(ledger.store, ledger.cell, progress=lambda done, of: progress.update(bar, completed=done, total=of))
    if not examined.heads and not examined.faults:
        raise NoLedgerError(f"cell {stack} has no ledger in this store yet: nothing was ever observed. Run `rowhouse reconcile` first.")
    if as_json:
        emit(_document(stack, examined))
    else:
        for fault in examined.faults:
            data.print(str(fault), markup=False, soft_wrap=True)
        data.print(_sum(examined), markup=False)
    if examined.faults:
        prose.print("Restore these objects from a backup of the store; until then no bill is computed from them.", style="red")
        raise typer.Exit(EXIT_FINDINGS)


def _document(stack: str, examined: Examined) -> dict[str, object]:
    faults = [{"key": fault.key, "kind": fault.kind, "text": fault.text} for fault in examined.faults]
    return {"cell": stack, "segments": examined.segments, "entries": examined.entries, "heads": dict(examined.heads), "faults": faults}


def _sum(examined: Examined) -> str:
    count = len(examined.faults)
    told = "as they were written" if not count else f"{count} object{'s are' if count > 1 else ' is'} not as written"
    return f"{examined.segments} segments with {examined.entries} entries in {len(examined.heads)} chains: {told}"


@handled
def purchase(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="A tenant in tenants/.")],
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A pack of credits of the tenant's plan.")],
    payment: Annotated[str, typer.Option("--payment", metavar="ID", help="The payment's id; it counts once.")],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="When it was paid, RFC 3339 in UTC; default: now, by Stripe.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record that a tenant bought a pack of credits; the next pass books it."""
    root = find_root(Path.cwd())
    owner = _tenant(root, tenant)
    sold = next((each for each in owner.plan.packs if each.name == pack), None)
    if sold is None:
        names = [each.name for each in owner.plan.packs]
        raise EnvironmentProblemError(
            f"pack {show(pack)} is not sold on {owner.plan.ref}, the plan of {owner.id}. {did_you_mean(pack, names)}"
            f"Packs: {listed(names) if names else 'none'}. Pick one of them, or change the plan."
        )
    when = _when(at)
    ledger = open_ledger(root, owner.cell, os.environ)
    done = record_purchase(ledger, owner.id, sold, owner.plan.currency, payment, at=when, at_given=at is not None)
    if as_json:
        emit({"tenant": owner.id, "pack": sold.name, "payment": payment, "outcome": done})
    elif done == "known":
        data.print(f"payment {payment} was recorded before; nothing new", markup=False)
    else:
        data.print(f"{owner.id} bought {sold.size} {sold.meter} ({sold.name}); the next pass books it", markup=False)


@handled
def refund(
    payment: Annotated[str, typer.Argument(metavar="PAYMENT", help="The id under which `rowhouse purchase` recorded it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the ledger: a mistake, a chargeback.")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="When it was taken back; default: now, by Stripe.")] = None,
    stack: StackOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Take a recorded pack of credits back: it counts as never bought, and a bill that has it loses its price."""
    if not reason.strip() or len(reason) > _REASON_MAX or not reason.isprintable():
        raise EnvironmentProblemError(f"--reason: it needs one line of 1 to {_REASON_MAX} characters. Say why.")
    ledger = open_ledger(find_root(Path.cwd()), stack, os.environ)
    done, tenant = undo_purchase(ledger, payment, reason.strip(), at=_when(at))
    if as_json:
        emit({"payment": payment, "tenant": tenant, "outcome": done})
    elif done == "known":
        data.print(f"payment {payment} was taken back before; nothing new", markup=False)
    else:
        data.print(
            f"payment {payment} of {tenant} is taken back; the next pass books it. The money itself is at its provider.", markup=False
        )


def _tenant(root: Path, slug: str) -> Tenant:
    fleet = load_fleet(root)
    try:
        return fleet.tenant(slug)
    except KeyError:
        known = [each.id for each in fleet.tenants]
        raise EnvironmentProblemError(
            f"tenant {show(slug)} has no file in tenants/. {did_you_mean(slug, known)}Tenants: {listed(known)}. Pick one."
        ) from None


def _when(text: str | None) -> int:
    """The instant that was said, or Stripe's present: this machine's clock may be wrong, and the tenant's use has the vendors' time."""
    if text is None:
        return asyncio.run(stripes_time())
    try:
        said: datetime = times.instant(text)
    except ValueError:
        raise EnvironmentProblemError(f"--at: {show(text)} is not a time. Write it in UTC, such as 2026-11-21T08:00:00Z.") from None
    return milliseconds(said)


async def stripes_time() -> int:
    """What time it is by Stripe's clock, in milliseconds UTC. Raises: VendorError, EnvironmentProblemError where it does not tell."""
    stripe = Stripe.from_environment()
    try:
        await stripe.get("/v1/products", {"limit": 1})
        heard = stripe.http.heard_ms
    finally:
        await stripe.close()
    if heard is None:
        raise EnvironmentProblemError("Stripe's answer carries no time. Say when it was paid with --at.")
    return heard
