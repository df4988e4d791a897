"""One instance on Fly: an app of its own in a private network of its own, a volume, a machine.

The only way in is a private address on the edge's network: no public address is ever registered here. The app and
the volume hold data and are protected; deleting the app would delete the volume with it. For the same reason the
machine has no `deleted_with`: the engine would drop it from its state without asking Fly, and leave it running.

Where the data lies comes first and what runs comes second, in `run`, because a volume can neither move nor shrink: a
tenant whose data cannot follow its file is refused there, before anything else of it has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.cell import Cell
from components.labels import marks
from rowhouse.provider.sdk import fly
from rowhouse.spec import names
from rowhouse.spec.model import App, Instance

__all__ = ["FlyHost", "FlyHostArgs"]


@dataclass(frozen=True)
class FlyHostArgs:
    """What a Fly host needs to know about its instance."""

    cell: Cell
    tenant: str
    instance: Instance
    app: App
    env: Mapping[str, str]
    """Complete: the app's, the plan's and the tenant's own."""
    secrets: Mapping[str, str]
    """Name to `env:NAME` or `file:PATH`; resolved by the plugin, never kept in state."""
    autostop: str
    running: bool
    """False: the machine is stopped and nothing starts it; its volume stays."""
    edge_network: pulumi.Input[str]


class FlyHost(pulumi.ComponentResource):
    """A machine with its volume, reachable from the edge alone."""

    TOKEN = "rowhouse:index:FlyHost"  # noqa: S105 - a type token, not a credential

    def __init__(self, name: str, args: FlyHostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register where the instance's data lies; `run` registers the rest."""
        super().__init__(self.TOKEN, name, None, opts)
        self._name, self._args = name, args
        child = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions(parent=self, protect=True)
        cell, instance = args.cell, args.instance

        self.app = fly.App(
            f"{name}-app",
            name=names.fly_app_name(cell.project, cell.stack, args.tenant, instance.name, zone=cell.zone),
            org=cell.fly_org,
            network=names.fly_network_name(cell.project, cell.stack, args.tenant, instance.name, zone=cell.zone),
            opts=kept,
        )
        address = fly.Ip(f"{name}-address", app=self.app.name, type="private_v6", network=args.edge_network, org=cell.fly_org, opts=child)
        self.volume = fly.Volume(
            f"{name}-volume",
            app=self.app.name,
            name=names.volume_name(),
            region=instance.region,
            size_gb=instance.volume_gb,
            cpus=instance.cpus,
            memory_mb=instance.memory_mb,
            opts=kept,
        )
        self.app_name = self.app.name
        self.upstream = pulumi.Output.concat("http://[", address.ip, "]:80")
        self.volume_id = self.volume.volume_id

    def run(self, after: Sequence[pulumi.Resource]) -> None:
        """Register what runs here, once the volumes of all the tenant's instances (`after`) are as its file says."""
        name, args = self._name, self._args
        cell, instance, app_file = args.cell, args.instance, args.app
        child = pulumi.ResourceOptions(parent=self, depends_on=after)
        secrets = fly.Secrets(f"{name}-secrets", app=self.app.name, values=dict(args.secrets), opts=child) if args.secrets else None
        machine = fly.Machine(
            f"{name}-machine",
            app=self.app.name,
            name=names.machine_name(instance.name),
            region=instance.region,
            image=app_file.image,
            env=dict(args.env),
            cpu_kind=instance.cpu_kind,
            cpus=instance.cpus,
            memory_mb=instance.memory_mb,
            volume=self.volume.volume_id,
            mount_path=app_file.data_dir,
            services=[
                {
                    "protocol": "tcp",
                    "internal_port": app_file.port,
                    "min_machines_running": 0,
                    "ports": [{"port": 80, "handlers": ["http"]}],
                }
            ],
            checks={
                "health": {
                    "type": "http",
                    "port": app_file.port,
                    "method": "GET",
                    "path": app_file.health.path,
                    "interval": f"{app_file.health.interval_s}s",
                    "timeout": f"{app_file.health.timeout_s}s",
                    "grace_period": f"{app_file.health.grace_s}s",
                }
            },
            restart={"policy": "on-failure", "max_retries": 10},
            metadata=marks(cell, args.tenant, instance.name),
            autostop=args.autostop,
            autostart=args.running,
            running=args.running,
            min_secrets_version=secrets.version if secrets else None,
            opts=child,
        )
        self.machine_id = machine.machine_id
        self.register_outputs(
            {"app_name": self.app_name, "upstream": self.upstream, "machine_id": self.machine_id, "volume_id": self.volume_id}
        )
