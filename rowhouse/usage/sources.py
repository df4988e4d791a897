"""Whom a pass asks about one cell: Fly, Cloudflare Access, the gateways' notes, the apps' counters.

Does: put together the sources for a stack's accounts. Does not: read the environment or the project's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rowhouse.spec.model import Tenant
from rowhouse.usage.observations import Source
from rowhouse.usage.observe_app import AppSource
from rowhouse.usage.observe_cloudflare import CloudflareSource
from rowhouse.usage.observe_fly import FlySource
from rowhouse.usage.observe_gateway import GatewaySource
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.fly import Fly
from rowhouse.vendors.store import Store

__all__ = ["sources_for", "words_of"]


def sources_for(
    *,
    fly: Fly,
    cloudflare: Cloudflare,
    store: Store,
    org: str,
    account: str,
    project: str,
    stack: str,
    words: Mapping[str, Mapping[str, str]],
) -> list[Source]:
    """One source for each of the ledger's; `store` is the cell's, `org` and `account` are Fly's and Cloudflare's, `words` of `words_of`."""
    return [
        FlySource(fly, org=org, project=project, stack=stack),
        CloudflareSource(cloudflare, store, account=account, project=project, stack=stack),
        GatewaySource(store),
        AppSource(store, words),
    ]


def words_of(tenants: Iterable[Tenant]) -> dict[str, dict[str, str]]:
    """For each tenant its app's counters and the word under which the app reports each."""
    return {tenant.id: {counter.name: counter.reported_as for counter in tenant.app.counters} for tenant in tenants}
