"""The Pulumi program: load the fleet, check it, register one Tenant for each file of this cell.

Run by `pulumi up`, by `rowhouse up`, by the embedded engine: it cannot tell which.
"""

import os
import signal
import sys
from pathlib import Path

# With `main: stacks/` only this folder is on sys.path; the rooms stand beside it.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# The engine interrupts the program when a resource fails; without this every failure ends in a traceback of asyncio's.
signal.signal(signal.SIGINT, lambda *_: os._exit(1))

import asyncio  # noqa: E402

import pulumi  # noqa: E402

from components.catalog import Catalog  # noqa: E402
from components.edge import Edge  # noqa: E402
from components.tenant import Tenant, TenantArgs  # noqa: E402
from rowhouse.errors import SpecError  # noqa: E402
from rowhouse.spec import load_fleet, model  # noqa: E402
from rowhouse.spec.checks import check_zone  # noqa: E402
from stacks.settings import CATALOG_CELL, read_cell, refuse_what_cannot_run  # noqa: E402

WINDOW = 48  # tenants in flight: more only makes the SDK wait on more outputs at once


async def main() -> None:
    """Register the edge, the catalog and every tenant of this stack."""
    try:
        fleet = load_fleet(ROOT)
    except SpecError as error:
        raise pulumi.RunError(str(error)) from None
    tenants = fleet.in_cell(pulumi.get_stack())
    refuse_what_cannot_run(tenants, fleet.catalogs)
    cell = read_cell()
    if problems := check_zone(fleet, cell.zone):
        raise pulumi.RunError("\n".join(map(str, problems)))

    catalog = Catalog("catalog", cell, fleet.catalogs) if cell.stack == CATALOG_CELL else None
    edge = Edge("edge", cell)
    window = asyncio.Semaphore(WINDOW)

    async def build(tenant: model.Tenant) -> None:
        async with window:
            items = catalog.items(tenant.plan) if catalog else Catalog.items_elsewhere(cell, tenant.plan)
            component = Tenant(tenant.id, TenantArgs(cell=cell, tenant=tenant, edge=edge, prices=items))
            pulumi.export(tenant.id, component.summary)
            await component.settled()

    await asyncio.gather(*(build(tenant) for tenant in tenants))


pulumi.run(main)
