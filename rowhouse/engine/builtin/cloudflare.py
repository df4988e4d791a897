"""The Cloudflare types that the components use, served without the published plugin.

Does: tunnel, its configuration and token, Access policy and application, DNS record, with the requests that the published plugin 6.17 was
seen to send, and, unlike it, adoption: a create first looks for an object of its name (tunnel, policy, application: in a list read once a
run; DNS record: when Cloudflare says the name is taken). Does not: any other type. Token and base address come from the environment.
Served to any engine: `python -m rowhouse.engine.builtin.cloudflare`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

from rowhouse.engine.builtin.cloudflare_access import Application, Policy
from rowhouse.engine.builtin.cloudflare_api import Api, ApiError
from rowhouse.engine.builtin.cloudflare_base import Kept, Props
from rowhouse.engine.builtin.cloudflare_dns import DnsRecord
from rowhouse.engine.builtin.cloudflare_tunnel import Tunnel, TunnelConfig
from rowhouse.hiding import hidden
from rowhouse.wire.kit import Provider, serve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowhouse.wire.contract import Context, Resource

VERSION: Final = "6.23.1"
"""The version of the SDK whose properties these are."""


class CloudflareProvider(Provider):
    """The provider; configured by the environment, or by an explicit provider resource."""

    def __init__(self, api: Api) -> None:
        self.api = api
        kept = Kept(api)
        resources: dict[str, Resource] = {
            "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared": Tunnel(kept),
            "cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig": TunnelConfig(kept),
            "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy": Policy(kept),
            "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication": Application(kept),
            "cloudflare:index/dnsRecord:DnsRecord": DnsRecord(kept),
        }
        functions = {"cloudflare:index/getZeroTrustTunnelCloudflaredToken:getZeroTrustTunnelCloudflaredToken": self.tunnel_token}
        super().__init__("cloudflare", VERSION, resources, functions=functions, clean_errors=(ApiError,))

    async def configured(self, args: Props) -> None:
        """An explicit provider's token and address win over the environment's."""
        self.api.configure(str(args.get("apiToken") or ""), str(args.get("baseUrl") or ""))

    def redact(self, text: str) -> str:
        """The token never appears in a message."""
        return hidden(text, [self.api.token], "[token]")

    async def close(self) -> None:
        """Let go of connections."""
        await self.api.close()
        await super().close()

    async def tunnel_token(self, _ctx: Context, args: Props) -> Props:
        """The token a connector runs with."""
        token = await self.api.get(f"accounts/{args['accountId']}/cfd_tunnel/{args['tunnelId']}/token")
        return {"accountId": args["accountId"], "tunnelId": args["tunnelId"], "token": token}


def provider(env: Mapping[str, str]) -> CloudflareProvider:
    """The provider of an environment."""
    return CloudflareProvider(Api(env))


if __name__ == "__main__":
    asyncio.run(serve(provider(os.environ), sys.argv[1:]))
