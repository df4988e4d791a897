"""Fly resources for a Pulumi program: names and types of inputs and outputs, nothing else; the plugin does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from rowhouse.provider.sdk.sealing import sealed

__all__ = ["App", "Ip", "Machine", "Secrets", "Volume"]


class App(pulumi.CustomResource):
    """A Fly app in one organisation and private network; its id is its name."""

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        org: pulumi.Input[str],
        network: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "name": name,
            "org": org,
            "network": network,
            "appId": None,
        }
        super().__init__("rowhouse:fly:App", resource_name, props, opts)

    @property
    @pulumi.getter(name="name")
    def name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "name")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="org")
    def org(self) -> pulumi.Output[str]:
        return pulumi.get(self, "org")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="network")
    def network(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "network")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="appId")
    def app_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "appId")  # type: ignore[no-any-return]


class Ip(pulumi.CustomResource):
    """An address of a Fly app: `private_v6` (Flycast), `shared_v4`, `v4` or `v6`."""

    def __init__(
        self,
        resource_name: str,
        *,
        app: pulumi.Input[str],
        type: pulumi.Input[str],  # noqa: A002  # Fly's own word
        network: pulumi.Input[str] | None = None,
        org: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "app": app,
            "type": type,
            "network": network,
            "org": org,
            "ip": None,
        }
        super().__init__("rowhouse:fly:Ip", resource_name, props, opts)

    @property
    @pulumi.getter(name="app")
    def app(self) -> pulumi.Output[str]:
        return pulumi.get(self, "app")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="type")
    def type(self) -> pulumi.Output[str]:
        return pulumi.get(self, "type")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="network")
    def network(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "network")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="org")
    def org(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "org")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="ip")
    def ip(self) -> pulumi.Output[str]:
        return pulumi.get(self, "ip")  # type: ignore[no-any-return]


class Volume(pulumi.CustomResource):
    """A disk; it grows in place and is never replaced. `cpus` and `memory_mb` only help Fly to place it."""

    def __init__(
        self,
        resource_name: str,
        *,
        app: pulumi.Input[str],
        name: pulumi.Input[str],
        region: pulumi.Input[str],
        size_gb: pulumi.Input[int],
        snapshot_retention: pulumi.Input[int] | None = None,
        encrypted: pulumi.Input[bool] | None = None,
        cpus: pulumi.Input[int] | None = None,
        memory_mb: pulumi.Input[int] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "app": app,
            "name": name,
            "region": region,
            "sizeGb": size_gb,
            "snapshotRetention": snapshot_retention,
            "encrypted": encrypted,
            "cpus": cpus,
            "memoryMb": memory_mb,
            "volumeId": None,
            "zone": None,
        }
        super().__init__("rowhouse:fly:Volume", resource_name, props, opts)

    @property
    @pulumi.getter(name="app")
    def app(self) -> pulumi.Output[str]:
        return pulumi.get(self, "app")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="name")
    def name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "name")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="region")
    def region(self) -> pulumi.Output[str]:
        return pulumi.get(self, "region")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="sizeGb")
    def size_gb(self) -> pulumi.Output[int]:
        return pulumi.get(self, "sizeGb")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="snapshotRetention")
    def snapshot_retention(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "snapshotRetention")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="encrypted")
    def encrypted(self) -> pulumi.Output[bool | None]:
        return pulumi.get(self, "encrypted")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="cpus")
    def cpus(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "cpus")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="memoryMb")
    def memory_mb(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "memoryMb")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="volumeId")
    def volume_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "volumeId")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="zone")
    def zone(self) -> pulumi.Output[str]:
        return pulumi.get(self, "zone")  # type: ignore[no-any-return]


class Secrets(pulumi.CustomResource):
    """Secrets of a Fly app: `env:NAME`, `file:PATH`, or a literal, which becomes a Pulumi secret."""

    def __init__(
        self,
        resource_name: str,
        *,
        app: pulumi.Input[str],
        values: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "app": app,
            "values": sealed(values),
            "version": None,
            "digests": None,
            "fingerprint": None,
        }
        ours = pulumi.ResourceOptions(additional_secret_outputs=["fingerprint", "values"])
        opts = pulumi.ResourceOptions.merge(ours, opts)
        super().__init__("rowhouse:fly:Secrets", resource_name, props, opts)

    @property
    @pulumi.getter(name="app")
    def app(self) -> pulumi.Output[str]:
        return pulumi.get(self, "app")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="values")
    def values(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]]]:
        return pulumi.get(self, "values")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="version")
    def version(self) -> pulumi.Output[int]:
        return pulumi.get(self, "version")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="digests")
    def digests(self) -> pulumi.Output[Mapping[str, str]]:
        return pulumi.get(self, "digests")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="fingerprint")
    def fingerprint(self) -> pulumi.Output[Mapping[str, str]]:
        return pulumi.get(self, "fingerprint")  # type: ignore[no-any-return]


class Machine(pulumi.CustomResource):
    """A machine that runs an image. `services`, `checks` and `restart` have Fly's own shape."""

    def __init__(
        self,
        resource_name: str,
        *,
        app: pulumi.Input[str],
        name: pulumi.Input[str],
        region: pulumi.Input[str],
        image: pulumi.Input[str],
        cpus: pulumi.Input[int],
        memory_mb: pulumi.Input[int],
        env: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        cpu_kind: pulumi.Input[str] | None = None,
        volume: pulumi.Input[str] | None = None,
        mount_path: pulumi.Input[str] | None = None,
        services: pulumi.Input[Sequence[Any]] | None = None,
        checks: pulumi.Input[Mapping[str, Any]] | None = None,
        restart: pulumi.Input[Mapping[str, Any]] | None = None,
        metadata: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        autostop: pulumi.Input[str] | None = None,
        autostart: pulumi.Input[bool] | None = None,
        running: pulumi.Input[bool] | None = None,
        min_secrets_version: pulumi.Input[int] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "app": app,
            "name": name,
            "region": region,
            "image": image,
            "cpus": cpus,
            "memoryMb": memory_mb,
            "env": env,
            "cpuKind": cpu_kind,
            "volume": volume,
            "mountPath": mount_path,
            "services": services,
            "checks": checks,
            "restart": restart,
            "metadata": metadata,
            "autostop": autostop,
            "autostart": autostart,
            "running": running,
            "minSecretsVersion": min_secrets_version,
            "machineId": None,
            "privateIp": None,
            "instanceId": None,
            "ready": None,
        }
        super().__init__("rowhouse:fly:Machine", resource_name, props, opts)

    @property
    @pulumi.getter(name="app")
    def app(self) -> pulumi.Output[str]:
        return pulumi.get(self, "app")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="name")
    def name(self) -> pulumi.Output[str]:
        return pulumi.get(self, "name")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="region")
    def region(self) -> pulumi.Output[str]:
        return pulumi.get(self, "region")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="image")
    def image(self) -> pulumi.Output[str]:
        return pulumi.get(self, "image")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="cpus")
    def cpus(self) -> pulumi.Output[int]:
        return pulumi.get(self, "cpus")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="memoryMb")
    def memory_mb(self) -> pulumi.Output[int]:
        return pulumi.get(self, "memoryMb")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="env")
    def env(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "env")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="cpuKind")
    def cpu_kind(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "cpuKind")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="volume")
    def volume(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "volume")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="mountPath")
    def mount_path(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "mountPath")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="services")
    def services(self) -> pulumi.Output[Sequence[Any] | None]:
        return pulumi.get(self, "services")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="checks")
    def checks(self) -> pulumi.Output[Mapping[str, Any] | None]:
        return pulumi.get(self, "checks")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="restart")
    def restart(self) -> pulumi.Output[Mapping[str, Any] | None]:
        return pulumi.get(self, "restart")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="metadata")
    def metadata(self) -> pulumi.Output[Mapping[str, pulumi.Input[str]] | None]:
        return pulumi.get(self, "metadata")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="autostop")
    def autostop(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "autostop")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="autostart")
    def autostart(self) -> pulumi.Output[bool | None]:
        return pulumi.get(self, "autostart")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="running")
    def running(self) -> pulumi.Output[bool | None]:
        return pulumi.get(self, "running")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="minSecretsVersion")
    def min_secrets_version(self) -> pulumi.Output[int | None]:
        return pulumi.get(self, "minSecretsVersion")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="machineId")
    def machine_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "machineId")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="privateIp")
    def private_ip(self) -> pulumi.Output[str]:
        return pulumi.get(self, "privateIp")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="instanceId")
    def instance_id(self) -> pulumi.Output[str]:
        return pulumi.get(self, "instanceId")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="ready")
    def ready(self) -> pulumi.Output[bool]:
        return pulumi.get(self, "ready")  # type: ignore[no-any-return]
