"""The vendor accounts and edge settings that every tenant of one stack shares.

Read once by `stacks/`; nothing here looks them up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Cell"]


@dataclass(frozen=True)
class Cell:
    """One Pulumi stack's surroundings."""

    project: str
    stack: str
    zone: str
    """DNS zone name, such as `example.com`; tenants get one label below it."""
    zone_id: str
    account_id: str
    """Cloudflare account that owns the zone, the tunnel and the Access applications."""
    fly_org: str
    access_issuer: str
    """Issuer of Access tokens, `https://<team>.cloudflareaccess.com`."""
    access_certs_url: str
    """Where that issuer publishes its keys."""
    edge_image: str
    """Image with cloudflared and the gateway, by digest."""
    edge_region: str
    store_url: str
    """Object store of routes and holds, as the edge machines reach it."""
    edge_secrets: dict[str, str] = field(default_factory=dict)
    """Secrets of the edge machines besides the tunnel's token, as `env:NAME` references."""
    edge_machines: int = 2
    """Two, so that one can be replaced while the other answers."""
