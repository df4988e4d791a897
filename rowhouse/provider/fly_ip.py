"""Addresses of a Fly app: the private one (Flycast) that the edge reaches it by, or public ones.

Does: look first, because each POST would be another address. Does not: decide that an app is public; the program does.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.fly_app import Newborn, app_name, network_name
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["Ip"]

_TYPES: Final = ("private_v6", "shared_v4", "v4", "v6")


def _type(value: str) -> str | None:
    return None if value in _TYPES else f"'{value}' is not a type of address. Types: {', '.join(_TYPES)}."


class Ip(Declared):
    """An address assigned to a Fly app."""

    kind: ClassVar = "rowhouse:fly:Ip"
    fields: ClassVar = {
        "app": Field("string", required=True, change="replace", source="the rowhouse:fly:App", rule=app_name),
        "type": Field("string", required=True, change="replace", rule=_type),
        "network": Field("string", change="replace", rule=network_name),
        "org": Field("string", change="replace"),
    }
    computed: ClassVar = {"ip": Computed()}

    def __init__(self, clients: Clients, newborn: Newborn) -> None:
        self._clients = clients
        self._newborn = newborn

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """The address of that type and network, assigned before or now."""
        app, kind, network = inputs["app"], inputs["type"], inputs.get("network")
        body = {"type": kind, **({"network": network} if network else {}), **({"org_slug": inputs["org"]} if inputs.get("org") else {})}
        fly = self._clients.fly
        look = not self._newborn.is_empty_of(app, "ip", f"{kind}/{network}")
        for attempt in range(4):
            if look:
                listed = await fly.list_ips(app)
                if listed is None:
                    raise Refused(f"the Fly app '{app}' of {ctx.name} does not exist. Run `rowhouse refresh`, then apply again.")
                found = next((ip for ip in listed if _kind(ip) == kind and (not network or ip.get("network") in {None, "", network})), None)
                if found is not None:
                    return f"{app}/{found['ip']}", {"ip": found["ip"]}
            try:
                made = await fly.assign_ip(app, body)
            except VendorError as error:
                taken = error.says("already exists", "already been taken")
                if attempt == 3 or not (error.ambiguous or taken):
                    raise
                look = True  # it may have been assigned all the same
                await ctx.sleep(0.2 * 2**attempt)
            else:
                return f"{app}/{made['ip']}", {"ip": made["ip"]}
        raise AssertionError

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Nothing of an address can change in place."""
        del ctx, id, old_inputs, old_outputs, news
        return {}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By `app/address`, or on import also by `app/type`."""
        del ctx, outputs
        app, _, wanted = id.partition("/")
        listed = await self._clients.fly.list_ips(app)
        found = next((ip for ip in listed or [] if wanted in {ip["ip"], _kind(ip)}), None)
        if found is None:
            return None
        seen: dict[str, Any] = {"app": app, "type": _kind(found)}
        network = found.get("network") or inputs.get("network")
        if network:
            seen["network"] = network
        if inputs.get("org"):  # Fly does not tell whose network it is
            seen["org"] = inputs["org"]
        return Found(f"{app}/{found['ip']}", seen, self.outputs(seen, {"ip": found["ip"]}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Release it."""
        del ctx, inputs, outputs
        app, _, ip = id.partition("/")
        await self._clients.fly.release_ip(app, ip)


def _kind(ip: Props) -> str:
    """Fly's own type of an address; its list does not tell it (2026-08)."""
    if ip.get("type"):
        return str(ip["type"])
    text = str(ip["ip"])
    if ip.get("shared"):
        return "shared_v4"
    if text.startswith("fdaa:") or ip.get("network"):
        return "private_v6"
    return "v6" if ":" in text else "v4"
