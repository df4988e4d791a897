"""What stands before one instance: an Access application, a route at the edge, and last of all its DNS name.

The name comes last because a hostname without an application would be open to everyone for a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
import pulumi_cloudflare as cloudflare

from components.cell import Cell
from rowhouse.provider.sdk import edge
from rowhouse.spec import names

__all__ = ["SESSION", "Gate", "GateArgs", "includes_for"]

SESSION = "24h"  # said explicitly on policy and application: an empty one differs at every preview (pulumi-cloudflare 6.23)
_COUNTERS_PATH = "/.app/counters"  # what the gateway takes where a route says nothing


def includes_for(members: Sequence[str]) -> list[dict[str, Any]]:
    """Access selectors of a tenant's members: `ana@acme.example` is one person, `@acme.example` everyone there."""
    return [
        {"email_domain": {"domain": member[1:]}} if member.startswith("@") else {"email": {"email": member}}
        for member in sorted(set(members))
    ]


@dataclass(frozen=True)
class GateArgs:
    """What a gate needs to know about its instance."""

    cell: Cell
    tenant: str
    owner_name: str
    """What the login page calls the tenant."""
    instance: str
    hostname: str
    policy_id: pulumi.Input[str]
    tunnel_id: pulumi.Input[str]
    upstream: pulumi.Input[str]
    host: str
    access: Literal["open", "closed"]
    counters_path: str
    """Where the gateway reads the app's counters."""
    after: Sequence[pulumi.Resource] = ()
    """What must be as the tenant's file says before its gate changes."""


class Gate(pulumi.ComponentResource):
    """Application, route and DNS record of one hostname."""

    TOKEN = "rowhouse:index:Gate"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, args: GateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register the gate of one instance."""
        super().__init__(self.TOKEN, name, None, opts)
        child = pulumi.ResourceOptions(parent=self, depends_on=args.after)
        cell = args.cell

        application = cloudflare.ZeroTrustAccessApplication(
            f"{name}-application",
            account_id=cell.account_id,
            name=names.access_app_name(cell.project, cell.stack, args.tenant, args.instance, owner=args.owner_name, hostname=args.hostname),
            domain=args.hostname,
            type="self_hosted",
            session_duration=SESSION,
            policies=[{"id": args.policy_id, "precedence": 1}],
            opts=child,
        )
        route = edge.Route(
            f"{name}-route",
            hostname=args.hostname,
            upstream=args.upstream,
            store=None if cell.store_url.startswith("file:") else cell.store_url,
            audience=application.aud,
            tenant=args.tenant,
            instance=args.instance,
            access=args.access,
            host=args.host,
            counters_path=None if args.counters_path == _COUNTERS_PATH else args.counters_path,
            opts=child,
        )
        record = cloudflare.DnsRecord(
            f"{name}-dns",
            zone_id=cell.zone_id,
            name=args.hostname,
            type="CNAME",
            content=pulumi.Output.concat(args.tunnel_id, ".cfargotunnel.com"),
            proxied=True,
            ttl=1,  # the only one that Cloudflare takes for a proxied record
            comment=names.dns_comment(cell.project, cell.stack, args.tenant, args.instance),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.after, application, route]),
        )
        self.url = pulumi.Output.from_input(f"https://{args.hostname}")
        self.audience = application.aud
        self.dns_id = record.id
        self.register_outputs({"url": self.url, "audience": self.audience})
