"""Routes: what the edge's gateway does with one hostname, as one small object.

Does: write `routes/<hostname>.json`, never over another tenant's. Does not: holds, which passes write; a gateway polls both.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from rowhouse.provider.clients import Clients
from rowhouse.vendors.store import Conflict
from rowhouse.wire.contract import Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["Route"]

_HOSTNAME: Final = re.compile(r"^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$")
_NAMES: Final = {"upstreamHost": "upstream_host", "countersPath": "counters_path"}
_KEPT: Final = ("hostname", "upstream", "upstreamHost", "audience", "tenant", "instance", "access", "host", "countersPath")


def _hostname(value: str) -> str | None:
    return None if _HOSTNAME.match(value) else f"'{value}' is not a hostname: lowercase labels of letters, digits and dashes."


def _upstream(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 80) and not parts.username
    except ValueError:
        whole = False
    return None if whole else f"'{value}' is not an address like http://[fdaa::3]:80."


def _path(value: str) -> str | None:
    return None if re.fullmatch(r"/[!-~]{0,199}", value) else f"'{value}' is not a path like /.app/counters."


def _one_of(*allowed: str) -> Any:
    return lambda value: None if value in allowed else f"'{value}' is not allowed. Allowed: {', '.join(allowed)}."


class Route(Declared):
    """One hostname's way from the edge to its instance."""

    kind: ClassVar = "rowhouse:edge:Route"
    fields: ClassVar = {
        "hostname": Field("string", required=True, change="replace", rule=_hostname),
        "upstream": Field("string", required=True, source="the instance's address", rule=_upstream),
        "audience": Field("string", required=True, source="the Access application"),
        "tenant": Field("string", required=True),
        "instance": Field("string", required=True),
        "access": Field("string", required=True, rule=_one_of("open", "closed")),
        "host": Field("string", default="fly", rule=_one_of("fly", "railway", "docker")),
        "upstreamHost": Field("string"),
        # Where the gateway reads the app's counters; absent: at /.app/counters.
        "countersPath": Field("string", rule=_path),
        # Where the gateways look; absent: the project's own folder, whose path differs from machine to machine and stays out of the state.
        "store": Field("string", change="replace"),
    }
    computed: ClassVar = {"etag": Computed(stable=False)}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Write it; one of the same tenant and instance is overwritten, any other hostname's owner is refused."""
        key, data = _key(inputs["hostname"]), _object(inputs)
        store = self._clients.store(inputs.get("store"))
        for _ in range(5):
            found = await asyncio.to_thread(store.get, key)
            try:
                if found is None:
                    etag = await asyncio.to_thread(store.put, key, data, if_none_match=True)
                elif found.data == data:
                    etag = found.etag
                else:
                    _refuse_foreign(ctx, inputs, found.data)
                    etag = await asyncio.to_thread(store.put, key, data, if_match=found.etag)
            except Conflict:
                continue  # somebody wrote meanwhile: look whose it is now
            return inputs["hostname"], {"etag": etag}
        raise Refused(f"the route of {inputs['hostname']} is being written by others all the time. Apply again when they are done.")

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Write it anew."""
        del id, old_inputs, old_outputs
        _, computed = await self.make(ctx, news)
        return computed

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By hostname."""
        del ctx, outputs
        found = await asyncio.to_thread(self._clients.store(inputs.get("store")).get, _key(id))
        route = _parsed(found.data) if found is not None else None
        if found is None or route is None:
            return None
        seen = {name: route[_NAMES.get(name, name)] for name in _KEPT if route.get(_NAMES.get(name, name)) is not None}
        if inputs.get("store"):
            seen["store"] = inputs["store"]
        return Found(id, seen, self.outputs(seen, {"etag": found.etag}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Remove it, unless the hostname is another tenant's by now."""
        del ctx, outputs
        key = _key(id)
        store = self._clients.store(inputs.get("store"))
        found = await asyncio.to_thread(store.get, key)
        route = _parsed(found.data) if found is not None else None
        if found is None or (route is not None and inputs.get("tenant") and route.get("tenant") != inputs["tenant"]):
            return
        await asyncio.to_thread(store.delete, key)


def _key(hostname: str) -> str:
    return f"routes/{hostname}.json"


def _object(inputs: Props) -> bytes:
    route = {"v": 1, **{_NAMES.get(name, name): inputs[name] for name in _KEPT if inputs.get(name) is not None}}
    return (json.dumps(route, sort_keys=True, separators=(",", ":")) + "\n").encode()


def _parsed(data: bytes) -> Props | None:
    try:
        route = json.loads(data)
    except ValueError:
        return None
    return route if isinstance(route, dict) else None


def _refuse_foreign(ctx: Context, inputs: Props, data: bytes) -> None:
    route = _parsed(data)
    if route is None:
        return  # unreadable, so of no use to anybody
    owner = (route.get("tenant"), route.get("instance"))
    if owner != (inputs["tenant"], inputs["instance"]):
        raise Refused(
            f"the hostname {inputs['hostname']} of {ctx.name} belongs to tenant '{owner[0]}', instance '{owner[1]}'. "
            "Remove it there and apply, then give it to this one."
        )
