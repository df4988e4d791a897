"""One tenant: who pays, who may enter, and for each instance a host behind a gate.

The parts of one instance depend on each other and on the cell's edge, never on another tenant: what breaks here
stops here.

Its data leads: a volume can neither move nor shrink, so everything else of a tenant waits until the volumes of all its
instances are as its file says. Otherwise a plan that moves the data would be billed while the instance stays where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_cloudflare as cloudflare

from components.billing import Billing, BillingArgs
from components.cell import Cell
from components.edge import Edge
from components.gate import SESSION, Gate, GateArgs, includes_for
from components.host_fly import FlyHost, FlyHostArgs
from rowhouse.spec import model, names
from rowhouse.spec.prices import monthly_price, rates_words
from rowhouse.spec.terms import applied_text

__all__ = ["Tenant", "TenantArgs"]


@dataclass(frozen=True)
class TenantArgs:
    """What a tenant is made from."""

    cell: Cell
    tenant: model.Tenant
    edge: Edge
    prices: Sequence[Mapping[str, pulumi.Input[str]]]
    """Items of the subscription, `{"price": id}` or `{"lookupKey": key}`; none for a free plan."""


class Tenant(pulumi.ComponentResource):
    """A tenant with all its instances."""

    TOKEN = "rowhouse:index:Tenant"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register the tenant `name`."""
        super().__init__(self.TOKEN, name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        cell, tenant = args.cell, args.tenant

        hosts = {
            instance.name: FlyHost(
                f"{name}-{instance.name}",
                FlyHostArgs(
                    cell=cell,
                    tenant=tenant.id,
                    instance=instance,
                    app=tenant.app,
                    env=tenant.env,
                    secrets=tenant.secrets,
                    autostop=tenant.plan.lifecycle.autostop,
                    running=tenant.is_active,
                    edge_network=args.edge.network,
                ),
                opts=child,
            )
            for instance in tenant.instances
        }
        volumes = [host.volume for host in hosts.values()]

        billing = Billing(
            f"{name}-billing",
            BillingArgs(
                cell=cell,
                tenant=tenant.id,
                owner_name=tenant.owner.name,
                owner_email=tenant.owner.email,
                plan=tenant.plan.ref,
                items=args.prices,
                terms=applied_text(tenant),
                active=tenant.state in {"active", "suspended"},
                after=volumes,
            ),
            opts=child,
        )
        policy = cloudflare.ZeroTrustAccessPolicy(
            f"{name}-members",
            account_id=cell.account_id,
            name=names.access_policy_name(cell.project, cell.stack, tenant.id),
            decision="allow",
            includes=includes_for(tenant.members),
            session_duration=SESSION,
            opts=pulumi.ResourceOptions(parent=self, depends_on=volumes),
        )
        self.instances: dict[str, dict[str, Any]] = {}
        self._last: list[pulumi.Output[Any]] = [billing.customer_id, billing.settled]
        for instance in tenant.instances:
            part = f"{name}-{instance.name}"
            host = hosts[instance.name]
            host.run(volumes)
            gate = Gate(
                f"{part}-gate",
                GateArgs(
                    cell=cell,
                    tenant=tenant.id,
                    owner_name=tenant.owner.name,
                    instance=instance.name,
                    hostname=names.hostname_for(instance, cell.zone),
                    policy_id=policy.id,
                    tunnel_id=args.edge.tunnel_id,
                    upstream=host.upstream,
                    host=instance.host,
                    access="open" if tenant.is_active else "closed",
                    counters_path=tenant.app.counters_path,
                    after=volumes,
                ),
                opts=child,
            )
            self.instances[instance.name] = {
                "url": gate.url,
                "host": instance.host,
                "app": host.app_name,
                "machine": host.machine_id,
                "volume": host.volume_id,
            }
            self._last += [host.machine_id, gate.dns_id]
        self.summary: dict[str, Any] = {
            "plan": tenant.plan.ref,
            "state": tenant.state,
            "customer": billing.customer_id,
            "subscription": billing.subscription_id,
            "monthly_price": f"{monthly_price(tenant.plan)} {tenant.plan.currency.upper()}",
            "rates": list(rates_words(tenant.plan)),
            "members": list(tenant.members),
            "instances": self.instances,
        }
        self.register_outputs({"instances": self.instances, "customer": billing.customer_id, "subscription": billing.subscription_id})

    async def settled(self) -> None:
        """Wait until the tenant's last resources are answered, well or badly: the window of registrations moves on then."""
        await asyncio.gather(*(output.future() for output in self._last), return_exceptions=True)
