"""Fly Machines: apps, addresses, volumes, secrets and machines over its REST API.

Does: the calls that make, change and remove; what spans an organisation is in fly_org. Does not: decide, adopt or wait for health.
Source: Machines API reference and specification of 2026-05 to 2026-08.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from rowhouse.vendors.fly_base import Json
from rowhouse.vendors.fly_org import FlyOrg
from rowhouse.vendors.http import Limit, VendorError

__all__ = ["GONE_VOLUME_STATES", "Fly"]

# A little below Fly's own limit, because its clock and ours start at different moments.
_GET_MACHINE: Final = Limit(per_s=4.8, burst=10)  # Fly: Get Machine 5/s, burst 10 (2026-08)
WAIT_MAX_S: Final = 60  # Fly: /wait takes at most 60 s (2026-08)

GONE_VOLUME_STATES: Final = frozenset(
    {"scheduling_destroy", "fork_cleanup", "waiting_for_detach", "pending_destroy", "destroying", "destroyed"}
)


class Fly(FlyOrg):
    """One organisation's Fly, as far as its token reaches."""

    # -- apps --------------------------------------------------------------------------------------

    async def create_app(self, name: str, org: str, network: str | None) -> Json:
        """POST an app. Repeating is safe: Fly refuses a taken name (422)."""
        body = {"name": name, "org_slug": org, **({"network": network} if network else {})}
        made = await self._send("POST", "/apps", who=name, json=body, repeatable=True)
        self.expect(name)
        return made

    async def get_app(self, name: str) -> Json | None:
        """The app, or None when Fly knows no app of that name."""
        return await self._get_or_none(f"/apps/{quote(name)}", who=name)

    async def delete_app(self, name: str) -> None:
        """Delete an app with its machines and volumes; gone already is a success."""
        await self._delete(f"/apps/{quote(name)}?force=true", who=name)

    # -- addresses ---------------------------------------------------------------------------------

    async def list_ips(self, app: str) -> list[Json] | None:
        """The app's addresses; None when the app is gone."""
        found = await self._get_or_none(f"/apps/{quote(app)}/ip_assignments", who=app)
        return None if found is None else list(found.get("ips") or [])

    async def assign_ip(self, app: str, body: Json) -> Json:
        """POST an address. Not repeatable: each POST is another address."""
        return await self._send("POST", f"/apps/{quote(app)}/ip_assignments", who=app, json=body, repeatable=False)

    async def release_ip(self, app: str, ip: str) -> None:
        """Give an address back; gone already is a success."""
        await self._delete(f"/apps/{quote(app)}/ip_assignments/{quote(ip, safe='')}", who=app)

    # -- secrets -----------------------------------------------------------------------------------

    async def list_secrets(self, app: str) -> Json | None:
        """`{secrets: [{name, digest}], version?}` without values; None when the app is gone."""
        return await self._get_or_none(f"/apps/{quote(app)}/secrets", who=app)

    async def set_secrets(self, app: str, values: Mapping[str, str | None]) -> Json:
        """Set (a string) and unset (None) secrets; answers digests and the new version."""
        return await self._send("POST", f"/apps/{quote(app)}/secrets", who=app, json={"values": dict(values)}, repeatable=True)

    # -- volumes -----------------------------------------------------------------------------------

    async def list_volumes(self, app: str) -> list[Json] | None:
        """The app's volumes, those on their way out included; None when the app is gone."""
        found = await self._get_or_none(f"/apps/{quote(app)}/volumes", who=app)
        listed: Any = found  # this endpoint answers a bare array
        return None if listed is None else list(listed)

    async def get_volume(self, app: str, volume: str) -> Json | None:
        """The volume; None when it or its app is gone."""
        return await self._get_or_none(f"/apps/{quote(app)}/volumes/{quote(volume)}", who=volume)

    async def create_volume(self, app: str, body: Json) -> Json:
        """POST a volume. Not repeatable: names are not unique."""
        return await self._send("POST", f"/apps/{quote(app)}/volumes", who=app, json=body, repeatable=False, timeout_s=90)

    async def set_volume(self, app: str, volume: str, body: Json) -> Json:
        """Change retention of snapshots or automatic backups."""
        return await self._send("PUT", f"/apps/{quote(app)}/volumes/{quote(volume)}", who=volume, json=body, repeatable=True)

    async def extend_volume(self, app: str, volume: str, size_gb: int) -> Json:
        """Grow to an absolute size in GB."""
        path = f"/apps/{quote(app)}/volumes/{quote(volume)}/extend"
        return await self._send("PUT", path, who=volume, json={"size_gb": size_gb}, repeatable=True)

    async def delete_volume(self, app: str, volume: str) -> None:
        """Delete one; gone already is a success. 412 while a machine holds it."""
        await self._delete(f"/apps/{quote(app)}/volumes/{quote(volume)}", who=volume)

    # -- machines ----------------------------------------------------------------------------------

    async def list_machines(self, app: str) -> list[Json] | None:
        """The app's machines; None when the app is gone."""
        found = await self._get_or_none(f"/apps/{quote(app)}/machines", who=app)
        listed: Any = found  # this endpoint answers a bare array
        return None if listed is None else list(listed)

    async def get_machine(self, app: str, machine: str) -> Json | None:
        """The machine; None when it or its app is gone. A destroyed one is still told for a while."""
        return await self._get_or_none(f"/apps/{quote(app)}/machines/{quote(machine)}", who=machine, limit=_GET_MACHINE)

    async def create_machine(self, app: str, body: Json) -> Json:
        """POST a machine. Repeating is safe: Fly refuses a second one of the same name (409)."""
        return await self._send("POST", f"/apps/{quote(app)}/machines", who=app, json=body, repeatable=True, timeout_s=90)

    async def update_machine(self, app: str, machine: str, body: Json, nonce: str) -> Json:
        """Replace the whole configuration. Not repeatable blindly: read again first."""
        path = f"/apps/{quote(app)}/machines/{quote(machine)}"
        return await self._send("POST", path, who=machine, json=body, repeatable=False, timeout_s=90, nonce=nonce)

    async def delete_machine(self, app: str, machine: str) -> None:
        """Ask for its destruction, running or not; gone already is a success."""
        await self._delete(f"/apps/{quote(app)}/machines/{quote(machine)}?force=true", who=machine)

    async def start_machine(self, app: str, machine: str, nonce: str = "") -> None:
        """Ask it to start."""
        await self._send("POST", f"/apps/{quote(app)}/machines/{quote(machine)}/start", who=machine, repeatable=True, nonce=nonce)

    async def stop_machine(self, app: str, machine: str, nonce: str = "") -> None:
        """Ask it to stop."""
        await self._send("POST", f"/apps/{quote(app)}/machines/{quote(machine)}/stop", who=machine, json={}, repeatable=True, nonce=nonce)

    async def patch_metadata(self, app: str, machine: str, metadata: Mapping[str, str], nonce: str = "") -> None:
        """Set metadata keys, or remove those with an empty value, without a restart."""
        path = f"/apps/{quote(app)}/machines/{quote(machine)}/metadata"
        await self._send("PATCH", path, who=machine, json={"metadata": dict(metadata)}, repeatable=True, nonce=nonce)

    async def wait(self, app: str, machine: str, states: tuple[str, ...], *, timeout_s: int, version: str = "") -> Json | None:
        """Hang until the machine reaches one of the states; None when it did not in time."""
        params = [("timeout", str(max(1, min(WAIT_MAX_S, timeout_s))))] + [("state", state) for state in states]
        if version:
            params.append(("version", version))
        path = f"/apps/{quote(app)}/machines/{quote(machine)}/wait"
        try:
            return await self._send("GET", path, who=machine, params=params, repeatable=True, timeout_s=timeout_s + 10)
        except VendorError as error:
            if error.status == 408:
                return None
            raise

    async def acquire_lease(self, app: str, machine: str, ttl_s: int, nonce: str = "") -> str:
        """Take (or, with its nonce, refresh) the machine's lease; answers the nonce. 409 while somebody else holds it."""
        path = f"/apps/{quote(app)}/machines/{quote(machine)}/lease"
        got = await self._send("POST", path, who=machine, params=[("ttl", str(ttl_s))], json={"ttl": ttl_s}, repeatable=False, nonce=nonce)
        held = got.get("data") if isinstance(got.get("data"), dict) else got  # documented flat, answered wrapped (2026-08)
        return str(held["nonce"]) if held else ""

    async def release_lease(self, app: str, machine: str, nonce: str) -> None:
        """Give the lease back; one that ran out is a success."""
        path = f"/apps/{quote(app)}/machines/{quote(machine)}/lease"
        try:
            await self._send("DELETE", path, who=machine, repeatable=True, nonce=nonce)
        except VendorError as error:
            if error.status not in {404, 409, 412}:
                raise
