"""status: every tenant as it stands, from the state and from the hosts themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table

from rowhouse.cli.apply import EngineOption, StackOption, driver_for
from rowhouse.cli.output import JsonOption, data, emit, handled, prose
from rowhouse.cli.render import table
from rowhouse.cli.surroundings import surroundings
from rowhouse.cli.sweep import foreign
from rowhouse.spec.accounts import is_loopback
from rowhouse.spec.source import read_folder
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.http import VendorError

__all__ = ["Row", "reachable", "rows", "status", "status_table", "tenants_in"]


@dataclass(frozen=True)
class Row:
    """One instance of one tenant."""

    tenant: str
    plan: str
    instance: str
    host: str
    url: str
    state: str
    """What the host says of the machine; `unknown` when it could not be asked, `missing` when it has none."""
    members: tuple[str, ...]
    customer: str
    subscription: str
    monthly_price: str
    tenant_state: str = "active"
    """What the tenant's file said when it was applied last."""
    rates: tuple[str, ...] = ()
    """What use costs beyond what the plan includes, in words."""

    @property
    def shown_state(self) -> str:
        """The state for people: that a tenant leaves or is suspended comes first."""
        return self.state if self.tenant_state == "active" else f"{self.tenant_state} ({self.state})"

    @property
    def shown_price(self) -> str:
        """What a month costs, for people: rates where there is no base price."""
        if self.tenant_state not in {"active", "suspended"}:
            return "not billed"
        free = self.monthly_price.startswith("0.00 ")
        return ", ".join(self.rates) if free and self.rates else self.monthly_price


def tenants_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tenants that a stack's outputs tell of, by id; those that never came to be are left out."""
    for resource in (state.get("deployment") or {}).get("resources") or []:
        if resource.get("type") == "pulumi:pulumi:Stack":
            outputs = resource.get("outputs") or {}
            return {key: value for key, value in sorted(outputs.items()) if isinstance(value, dict) and "instances" in value}
    return {}


def reachable(url: str, env: Mapping[str, str]) -> str:
    """Where a hostname is reached: at the local cloud's own port when its login runs on this machine."""
    issuer = urlsplit(env.get("ROWHOUSE_ACCESS_ISSUER", ""))
    if not url or not is_loopback(issuer.geturl()):
        return url
    return f"http://{urlsplit(url).hostname}:{issuer.port}"


async def rows(tenants: Mapping[str, Any], fly: Fly, env: Mapping[str, str]) -> list[Row]:
    """One row an instance, machines asked at their host, 16 at a time."""
    turns = asyncio.Semaphore(16)

    async def machine_state(instance: Mapping[str, Any]) -> str:
        if not instance.get("app") or not instance.get("machine"):
            return "missing"
        async with turns:
            try:
                machine = await fly.get_machine(instance["app"], instance["machine"])
            except VendorError:
                return "unknown"
        return str(machine["state"]) if machine else "missing"

    async def row(tenant: str, summary: Mapping[str, Any], name: str, instance: Mapping[str, Any]) -> Row:
        return Row(
            tenant=tenant,
            plan=str(summary.get("plan") or ""),
            instance=name,
            host=str(instance.get("host") or ""),
            url=reachable(str(instance.get("url") or ""), env),
            state=await machine_state(instance),
            members=tuple(summary.get("members") or ()),
            customer=str(summary.get("customer") or ""),
            subscription=str(summary.get("subscription") or ""),
            monthly_price=str(summary.get("monthly_price") or ""),
            tenant_state=str(summary.get("state") or "active"),
            rates=tuple(summary.get("rates") or ()),
        )

    return list(
        await asyncio.gather(
            *(
                row(tenant, summary, name, instance)
                for tenant, summary in tenants.items()
                for name, instance in summary["instances"].items()
            )
        )
    )


def status_table(found: list[Row]) -> Table:
    """Rows as a person reads them; what a tenant's second instance shares with its first is not said twice."""
    made = table("", "tenant", "plan", "instance", "host", "state", "URL", "members", "Stripe customer", "subscription", "a month")
    before = ""
    for row in found:
        first = row.tenant != before
        before = row.tenant
        shared = [row.tenant, row.plan] if first else ["", ""]
        owner = [", ".join(row.members), row.customer, row.subscription or "none", row.shown_price] if first else ["", "", "", ""]
        made.add_row(*shared, row.instance, row.host, row.shown_state, row.url, *owner)
    return made


@handled
def status(stack: StackOption = "main", engine: EngineOption = "auto", as_json: JsonOption = False) -> None:
    """Show every tenant: its instances, where they are, whether they run, who pays."""
    where = surroundings(Path.cwd(), os.environ, engine=engine)

    async def look() -> list[Row]:
        state = await driver_for(where, stack).export()
        fly = Fly.from_environment(where.env)
        try:
            return await rows(tenants_in(state), fly, where.env)
        finally:
            await fly.close()

    found = asyncio.run(look())
    if where.vendors == "loopback" and found and all(row.state == "missing" for row in found):
        prose.print(foreign(stack), style="yellow", markup=False, soft_wrap=True)
    if as_json:
        emit([asdict(row) | {"members": list(row.members), "rates": list(row.rates)} for row in found])
    elif found:
        data.print(status_table(found))
    else:
        data.print(_nothing(len(read_folder(where.root, "tenants")[0])), markup=False, soft_wrap=True)


def _nothing(files: int) -> str:
    """Why there is nothing to show, and what to do."""
    if not files:
        return "No tenants yet. `rowhouse new` writes the file of one, `rowhouse up` makes it."
    counted = "1 file" if files == 1 else f"{files} files"
    return f"Nothing applied yet, {counted} in tenants/: `rowhouse up` makes what is written there."
