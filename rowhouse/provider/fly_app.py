"""Fly apps: one for each instance, in a private network of its own.

Does: create, adopt, find, delete. Does not: change one; Fly has no update of an app. Nor delete one with
a volume in it, because Fly would delete the data too.
"""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.vendors.fly import GONE_VOLUME_STATES
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Found, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props

__all__ = ["App", "Newborn", "app_name", "network_name"]

_NAME: Final = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")  # Fly: under 63 chars, numbers, lowercase, dashes (2026-08)
_NETWORK: Final = re.compile(r"^[A-Za-z][A-Za-z0-9-]*$")  # Fly: letters, digits, dashes, starts with a letter (2026-08)
_NEW_S: Final = 600.0


def app_name(value: str) -> str | None:
    """What is wrong with an app's name."""
    if _NAME.match(value):
        return None
    return f"'{value}' is not a Fly app name: up to 63 lowercase letters, digits and dashes, no dash at either end."


def network_name(value: str) -> str | None:
    """What is wrong with a private network's name."""
    return None if _NETWORK.match(value) else f"'{value}' is not a Fly network name: letters, digits and dashes, a letter first."


class Newborn:
    """Which apps this very process made a moment ago, so that their lists are known to be empty.

    Each kind of child may use the knowledge once a name: a second attempt at the same child looks, as a new process does.
    """

    def __init__(self) -> None:
        self._apps: dict[str, float] = {}
        self._tried: set[tuple[str, str, str]] = set()

    def add(self, app: str) -> None:
        """The app was made now, and by us."""
        self._apps[app] = time.monotonic() + _NEW_S

    def forget(self, app: str) -> None:
        """The app is no longer known to be empty."""
        self._apps.pop(app, None)
        self._tried = {key for key in self._tried if key[0] != app}

    def is_empty_of(self, app: str, kind: str, name: str) -> bool:
        """Whether the app cannot have this child yet."""
        key = (app, kind, name)
        first = key not in self._tried
        self._tried.add(key)
        return first and time.monotonic() < self._apps.get(app, 0.0)


class App(Declared):
    """A Fly app in one organisation and private network."""

    kind: ClassVar = "rowhouse:fly:App"
    fields: ClassVar = {
        "name": Field("string", required=True, change="replace", rule=app_name),
        "org": Field("string", required=True, change="replace"),
        "network": Field("string", change="replace", rule=network_name),
    }
    computed: ClassVar = {"appId": Computed()}

    delete_before_replace: ClassVar = True  # a name exists once in all of Fly

    def __init__(self, clients: Clients, newborn: Newborn) -> None:
        self._clients = clients
        self._newborn = newborn

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """POST; a taken name that is ours in this organisation and network is adopted, any other is refused."""
        name = inputs["name"]
        fly = self._clients.fly
        try:
            made = await fly.create_app(name, inputs["org"], inputs.get("network"))
        except VendorError as error:
            if error.status != 422:
                raise
            return name, await self._adopt(ctx, inputs, error)
        self._newborn.add(name)
        app_id = made.get("id")
        return name, {"appId": str(app_id if app_id is not None else name)}

    async def _adopt(self, ctx: Context, inputs: Props, refused: VendorError) -> Props:
        name, org, network = inputs["name"], inputs["org"], inputs.get("network")
        taken = refused.code == "name_taken" or refused.says("already been taken", "uniqueness constraint")
        if not taken:
            raise refused
        self._newborn.forget(name)
        self._clients.fly.expect(name)  # it may be our own of a minute ago, made by a process that was killed
        try:
            found = await self._clients.fly.get_app(name)
        except VendorError as error:
            if error.status not in {401, 403}:
                raise
            found = None
        if found is None:
            raise Refused(f"the Fly app name '{name}' is taken by another organisation. Choose another name for {ctx.name}.") from refused
        its_org = (found.get("organization") or {}).get("slug")
        its_network = found.get("network")
        if its_org not in {None, org} or (network and its_network not in {None, "", network}):
            raise Refused(
                f"the Fly app '{name}' exists already, in organisation '{its_org}' and network '{its_network}', and was not made for "
                f"{ctx.name}. Choose another name, or remove that app."
            ) from refused
        return {"appId": str(found.get("id") or name)}

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Nothing of an app can change in place."""
        del ctx, id, old_inputs, old_outputs, news
        return {}

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """GET by name."""
        del ctx
        found = await self._clients.fly.get_app(id)
        if found is None:
            return None
        seen: dict[str, Any] = {"name": id}
        seen["org"] = (found.get("organization") or {}).get("slug") or inputs.get("org")
        network = found.get("network") or None
        # Fly says `default` (or nothing) where no network was asked for.
        if network and network != "default":
            seen["network"] = network
        elif inputs.get("network") and found.get("network") is None:
            seen["network"] = inputs["network"]
        app_id = str(found.get("id") or outputs.get("appId") or id)
        return Found(id, seen, self.outputs(seen, {"appId": app_id}))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """DELETE, but only when no volume is left in it: Fly would delete the data along with the app, protected or not."""
        del inputs, outputs
        self._newborn.forget(id)
        listed = await self._clients.fly.list_volumes(id)
        if listed is None:
            return
        left = [f"{v['id']} ('{v.get('name')}', {v.get('size_gb')} GB)" for v in listed if v.get("state") not in GONE_VOLUME_STATES]
        if left:
            raise Refused(
                f"the Fly app '{id}' of {ctx.name} still has {', '.join(left)}, and deleting the app would delete that data. Delete the "
                "volume first, on purpose: take the instance through `state: offboarding` and `purge`. To keep the app, undo the change "
                "that removes or replaces it."
            )
        await self._clients.fly.delete_app(id)
