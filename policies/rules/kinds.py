"""The types of resources that the rules speak of, as engines write them, and how to tell what only groups others."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCESS_APPLICATION",
    "ACCESS_POLICY",
    "CUSTOMER",
    "DNS_RECORD",
    "FLY_APP",
    "FLY_IP",
    "FLY_MACHINE",
    "FLY_SECRETS",
    "FLY_VOLUME",
    "METER",
    "PRICE",
    "PRODUCT",
    "ROUTE",
    "SUBSCRIPTION",
    "TUNNEL",
    "TUNNEL_CONFIG",
    "is_at_a_vendor",
]

FLY_APP: Final = "rowhouse:fly:App"
FLY_IP: Final = "rowhouse:fly:Ip"
FLY_MACHINE: Final = "rowhouse:fly:Machine"
FLY_SECRETS: Final = "rowhouse:fly:Secrets"
FLY_VOLUME: Final = "rowhouse:fly:Volume"
ROUTE: Final = "rowhouse:edge:Route"
CUSTOMER: Final = "rowhouse:stripe:Customer"
METER: Final = "rowhouse:stripe:Meter"
PRICE: Final = "rowhouse:stripe:Price"
PRODUCT: Final = "rowhouse:stripe:Product"
SUBSCRIPTION: Final = "rowhouse:stripe:Subscription"
ACCESS_APPLICATION: Final = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
ACCESS_POLICY: Final = "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy"
DNS_RECORD: Final = "cloudflare:index/dnsRecord:DnsRecord"
TUNNEL: Final = "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared"
TUNNEL_CONFIG: Final = "cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig"

_OURS: Final = ("rowhouse:", "cloudflare:")
_COMPONENTS: Final = "rowhouse:index:"


def is_at_a_vendor(type_: str) -> bool:
    """Whether a resource is an object at a vendor whose objects the rules know, not a component, provider or stack."""
    return type_.startswith(_OURS) and not type_.startswith(_COMPONENTS)
