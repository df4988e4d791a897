"""Configuration and environment of the program, read once and handed down typed."""

import os
from collections.abc import Sequence

import pulumi

from components.cell import Cell
from rowhouse.spec import model

__all__ = ["CATALOG_CELL", "read_cell", "refuse_what_cannot_run"]

CATALOG_CELL = "main"
"""The stack that registers products and prices; the others look prices up by their keys."""


def read_cell() -> Cell:
    """The surroundings of this stack, from `Pulumi.<stack>.yaml` and the environment.

    The environment wins where a value differs from machine to machine: where the local cloud's login and store are.
    """
    config = pulumi.Config("account")
    team = config.require("accessTeam")
    issuer = os.environ.get("ROWHOUSE_ACCESS_ISSUER") or (team if "://" in team else f"https://{team}.cloudflareaccess.com")
    store = os.environ.get("ROWHOUSE_STORE_URL") or config.get("store") or f"file://{pulumi.get_root_directory()}/.rowhouse/store"
    return Cell(
        project=pulumi.get_project(),
        stack=pulumi.get_stack(),
        zone=config.require("zone"),
        zone_id=config.require("cloudflareZoneId"),
        account_id=config.require("cloudflareAccountId"),
        fly_org=config.require("flyOrg"),
        access_issuer=issuer,
        access_certs_url=os.environ.get("ROWHOUSE_ACCESS_CERTS_URL") or f"{issuer}/cdn-cgi/access/certs",
        edge_image=config.require("edgeImage"),
        edge_region=config.get("edgeRegion") or "fra",
        store_url=store,
        # The gateway reads the same bucket with the same credentials as the run that writes to it.
        edge_secrets={name: f"env:{name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if store.startswith("s3:") else {},
    )


def refuse_what_cannot_run(tenants: Sequence[model.Tenant]) -> None:
    """End the program when a file asks for a host that no component serves.

    Raises: pulumi.RunError naming every such instance.
    """
    other = [
        f"tenants/{tenant.id}.yaml: instance {i.name!r} wants host {i.host!r}"
        for tenant in tenants
        for i in tenant.instances
        if i.host != "fly"
    ]
    if other:
        raise pulumi.RunError("\n".join([*other, "Instances run on fly in this version. Set `host: fly`."]))
