"""The edge of a cell: one tunnel with one static rule, and two small machines with cloudflared and our gateway.

Every tenant's hostname leads here. Nothing in it depends on a tenant: routes are objects in a store, read by the
gateway, so adding a tenant changes no resource of the edge.
"""

from __future__ import annotations

from typing import cast

import pulumi
import pulumi_cloudflare as cloudflare

from components.cell import Cell
from components.labels import marks
from rowhouse.provider.sdk import fly
from rowhouse.spec import names
from rowhouse.spec.marks import EDGE

__all__ = ["GATEWAY_PORT", "HEALTH_PORT", "Edge"]

GATEWAY_PORT = 8080
HEALTH_PORT = 8081
EDGE_DATA = "/data"


class Edge(pulumi.ComponentResource):
    """A cell's tunnel and gateways."""

    TOKEN = "rowhouse:index:Edge"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, cell: Cell, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register the edge of `cell`."""
        super().__init__(self.TOKEN, name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        tunnel = cloudflare.ZeroTrustTunnelCloudflared(
            f"{name}-tunnel",
            account_id=cell.account_id,
            name=names.tunnel_name(cell.project, cell.stack),
            config_src="cloudflare",
            opts=child,
        )
        cloudflare.ZeroTrustTunnelCloudflaredConfig(
            f"{name}-tunnel-config",
            account_id=cell.account_id,
            tunnel_id=tunnel.id,
            # One rule for all tenants, so that no tenant's change touches it; Cloudflare wants a last rule without a hostname.
            config={
                "ingresses": [
                    {"hostname": f"*.{cell.zone}", "service": f"http://localhost:{GATEWAY_PORT}"},
                    {"service": "http_status:404"},
                ]
            },
            opts=child,
        )
        # The SDK does not mark this answer as secret.
        token = pulumi.Output.secret(
            cloudflare.get_zero_trust_tunnel_cloudflared_token_output(
                account_id=cell.account_id, tunnel_id=tunnel.id, opts=pulumi.InvokeOutputOptions(parent=self)
            ).token
        )

        app = fly.App(
            f"{name}-app",
            name=names.edge_app_name(cell.project, cell.stack, zone=cell.zone),
            org=cell.fly_org,
            network=names.edge_network_name(cell.project, cell.stack, zone=cell.zone),
            opts=child,
        )
        secrets = fly.Secrets(f"{name}-secrets", app=app.name, values={"TUNNEL_TOKEN": token, **cell.edge_secrets}, opts=child)
        self.machines: list[fly.Machine] = []
        for number in range(1, cell.edge_machines + 1):
            # A volume of a gigabyte for the routes that were good last: a gateway that restarts while the store is away still knows them.
            volume = fly.Volume(
                f"{name}-volume-{number}", app=app.name, name=f"routes_{number}", region=cell.edge_region, size_gb=1, opts=child
            )
            machine = fly.Machine(
                f"{name}-machine-{number}",
                app=app.name,
                name=names.edge_machine_name(number),
                region=cell.edge_region,
                image=cell.edge_image,
                cpus=1,
                memory_mb=512,
                volume=volume.volume_id,
                mount_path=EDGE_DATA,
                env={
                    "ROWHOUSE_STORE_URL": cell.store_url,
                    "ROWHOUSE_ACCESS_ISSUER": cell.access_issuer,
                    "ROWHOUSE_ACCESS_CERTS_URL": cell.access_certs_url,
                    "ROWHOUSE_GATEWAY_PORT": str(GATEWAY_PORT),
                    "ROWHOUSE_GATEWAY_HEALTH_PORT": str(HEALTH_PORT),
                    "ROWHOUSE_GATEWAY_CACHE": f"{EDGE_DATA}/routes",
                },
                # A check without a service: Fly asks it, and nobody outside can. Its port answers nothing else.
                checks={
                    "gateway": {
                        "type": "http",
                        "port": HEALTH_PORT,
                        "method": "GET",
                        "path": "/.rowhouse/health",
                        "interval": "10s",
                        "timeout": "3s",
                        "grace_period": "10s",
                    }
                },
                restart={"policy": "always"},
                metadata=marks(cell, EDGE),
                autostop="off",
                min_secrets_version=secrets.version,
                # One after the other, and the next only when the last is healthy: one answers while the other is replaced.
                opts=pulumi.ResourceOptions(parent=self, depends_on=self.machines[-1:]),
            )
            self.machines.append(machine)
        self.tunnel_id = tunnel.id
        self.network = cast("pulumi.Output[str]", app.network)  # given above, so never absent
        self.register_outputs({"tunnel_id": self.tunnel_id, "network": self.network})
