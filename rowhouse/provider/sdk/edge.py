"""Resources of the edge for a Pulumi program.

Does: names and types of inputs and outputs. Does not: anything else; the plugin does. Imports Pulumi alone.
"""

from __future__ import annotations

from typing import Any

import pulumi

__all__ = ["Route"]


class Route(pulumi.CustomResource):
    """One hostname's way from the edge to its instance; its id is the hostname."""

    def __init__(
        self,
        resource_name: str,
        *,
        hostname: pulumi.Input[str],
        upstream: pulumi.Input[str],
        audience: pulumi.Input[str],
        tenant: pulumi.Input[str],
        instance: pulumi.Input[str],
        access: pulumi.Input[str],
        host: pulumi.Input[str] | None = None,
        upstream_host: pulumi.Input[str] | None = None,
        counters_path: pulumi.Input[str] | None = None,
        store: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register it; the arguments are the resource's inputs."""
        props: dict[str, Any] = {
            "hostname": hostname,
            "upstream": upstream,
            "audience": audience,
            "tenant": tenant,
            "instance": instance,
            "access": access,
            "host": host,
            "upstreamHost": upstream_host,
            "countersPath": counters_path,
            "store": store,
            "etag": None,
        }
        super().__init__("rowhouse:edge:Route", resource_name, props, opts)

    @property
    @pulumi.getter(name="hostname")
    def hostname(self) -> pulumi.Output[str]:
        return pulumi.get(self, "hostname")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="upstream")
    def upstream(self) -> pulumi.Output[str]:
        return pulumi.get(self, "upstream")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="audience")
    def audience(self) -> pulumi.Output[str]:
        return pulumi.get(self, "audience")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="tenant")
    def tenant(self) -> pulumi.Output[str]:
        return pulumi.get(self, "tenant")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="instance")
    def instance(self) -> pulumi.Output[str]:
        return pulumi.get(self, "instance")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="access")
    def access(self) -> pulumi.Output[str]:
        return pulumi.get(self, "access")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="host")
    def host(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "host")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="upstreamHost")
    def upstream_host(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "upstreamHost")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="countersPath")
    def counters_path(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "countersPath")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="store")
    def store(self) -> pulumi.Output[str | None]:
        return pulumi.get(self, "store")  # type: ignore[no-any-return]

    @property
    @pulumi.getter(name="etag")
    def etag(self) -> pulumi.Output[str]:
        return pulumi.get(self, "etag")  # type: ignore[no-any-return]
