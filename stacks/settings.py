"""Configuration and environment of the program, read once and handed down typed."""

import os
from collections.abc import Sequence

import pulumi
from pulumi.runtime.config import get_config_env

from components.cell import Cell
from rowhouse.spec import model
from rowhouse.spec.accounts import account_problems, missing_tokens
from rowhouse.spec.settings import SETTINGS

__all__ = ["CATALOG_CELL", "read_cell", "refuse_what_cannot_run"]

CATALOG_CELL = "main"
"""The stack that registers products and prices; the others look prices up by their keys."""


def read_cell() -> Cell:
    """The surroundings of this stack, from `Pulumi.<stack>.yaml` and the environment.

    The environment wins where a value differs from machine to machine: where the local cloud's login and store are.
    """
    config = pulumi.Config("account")
    team = config.require("accessTeam")
    issuer = os.environ.get("ROWHOUSE_ACCESS_ISSUER") or f"https://{team}.cloudflareaccess.com"
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
        edge_secrets=_edge_credentials() if store.startswith("s3:") else {},
    )


def _edge_credentials() -> dict[str, str]:
    """References to the bucket's credentials for the gateways: their own (which only read routes and holds) where there are some."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {name: f"env:ROWHOUSE_EDGE_{name}" if os.environ.get(f"ROWHOUSE_EDGE_{name}") else f"env:{name}" for name in names}


def refuse_what_cannot_run(tenants: Sequence[model.Tenant], catalogs: Sequence[model.Catalog]) -> None:
    """End the program when its files, settings and environment do not belong together, or a file asks for a host that is not served.

    `rowhouse up` refuses the same before it starts an engine; this is for a bare `pulumi up`.

    Raises: pulumi.RunError with every problem.
    """
    config = pulumi.Config("account")
    names = {*SETTINGS, *(key.removeprefix("account:") for key in get_config_env() if key.startswith("account:"))}
    settings = {name: value for name in sorted(names) if (value := config.get(name)) is not None}
    problems = account_problems(f"stacks/Pulumi.{pulumi.get_stack()}.yaml", settings, tenants, catalogs, os.environ)
    if missing := missing_tokens(os.environ):
        problems.append(f"environment: {', '.join(missing)} missing. Export {'it' if len(missing) == 1 else 'them'} and run again.")
    other = [
        f"tenants/{tenant.id}.yaml: instance {i.name!r} wants host {i.host!r}"
        for tenant in tenants
        for i in tenant.instances
        if i.host != "fly"
    ]
    if other:
        problems += [*other, "Instances run on fly in this version. Set `host: fly`."]
    if problems:
        raise pulumi.RunError("\n".join(problems))
