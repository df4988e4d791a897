"""Fly Machines: apps, addresses, volumes, secrets and machines over its REST API.

Does: the calls, Fly's rate limits, the minute after an app's creation in which Fly may not know it yet. Does not: decide, adopt or
wait for health. Source: Machines API reference and specification of 2026-05 to 2026-08.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from rowhouse.vendors.http import Http, Limit, Sleep, VendorError, token_from

__all__ = ["GONE_VOLUME_STATES", "Fly"]

Json = dict[str, Any]

DEFAULT_BASE_URL: Final = "https://api.machines.dev"
# A little below Fly's own limits, because its clock and ours start at different moments.
_ACTION: Final = Limit(per_s=0.95, burst=3)  # Fly: per action and machine (or app) 1/s, burst 3 (2026-08)
_GET_MACHINE: Final = Limit(per_s=4.8, burst=10)  # Fly: Get Machine 5/s, burst 10 (2026-08)
_YOUNG_S: Final = 60.0  # Fly's own client repeats 404 and 401 for a minute after an app's creation (2026-08)
WAIT_MAX_S: Final = 60  # Fly: /wait takes at most 60 s (2026-08)

GONE_VOLUME_STATES: Final = frozenset(
    {"scheduling_destroy", "fork_cleanup", "waiting_for_detach", "pending_destroy", "destroying", "destroyed"}
)


class Fly:
    """One organisation's Fly, as far as its token reaches."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        # A macaroon that brings its own scheme keeps it; `Bearer` suits every other form.
        authorization = token if token.startswith("FlyV1 ") else f"Bearer {token}"
        self.http = Http(
            "Fly",
            base_url.rstrip("/") + "/v1",
            {"Authorization": authorization, "User-Agent": "rowhouse"},
            secrets=(token, token.removeprefix("FlyV1 ")),
            explain=_explain,
            request_id_header="fly-request-id",
            transport=transport,
            sleep=sleep,
        )
        self._young: dict[str, float] = {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, *, transport: httpx.AsyncBaseTransport | None = None) -> Fly:
        """The client that `FLY_API_TOKEN` and `FLY_FLAPS_BASE_URL` describe; raises MissingToken."""
        env = os.environ if environment is None else environment
        token = token_from(env, "FLY_API_TOKEN", "Fly", "`fly tokens create org` makes one")
        return cls(token, base_url=env.get("FLY_FLAPS_BASE_URL") or DEFAULT_BASE_URL, transport=transport)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()

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

    def expect(self, name: str) -> None:
        """Note that this app is new: for a minute Fly may answer 404 or 401 to calls below it, and they are repeated."""
        self._young[name] = time.monotonic() + _YOUNG_S

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

    # -- parts -------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        path: str,
        *,
        who: str,
        repeatable: bool,
        limit: Limit = _ACTION,
        json: Any = None,
        params: list[tuple[str, str]] | None = None,
        timeout_s: float | None = None,
        nonce: str = "",
    ) -> Json:
        action = path.partition("?")[0].rsplit("/", 1)[-1]
        headers = {"fly-machine-lease-nonce": nonce} if nonce else None
        pause_s = 0.2
        while True:
            try:
                response = await self.http.send(
                    method,
                    path,
                    repeatable=repeatable,
                    json=json,
                    params=params,
                    headers=headers,
                    timeout_s=timeout_s,
                    bucket=((method, who if action == who else action, who), limit),
                )
            except VendorError as error:
                if not self._too_young(path, error):
                    raise
                await self.http.sleep(pause_s)
                pause_s = min(2.0, pause_s * 1.6)
            else:
                parts = path.strip("/").split("/")
                if len(parts) > 2:
                    self._young.pop(parts[1], None)  # Fly has answered for the app: from now on a 404 is the truth
                answered: Json = response.json() if response.content else {}
                return answered

    def _too_young(self, path: str, error: VendorError) -> bool:
        """Whether a 404 or 401 only says that Fly does not know the new app everywhere yet.

        Only for the app itself and its collections: below them a 404 is the truth about one object.
        """
        if error.status not in {401, 404}:
            return False
        parts = path.partition("?")[0].strip("/").split("/")
        if len(parts) not in {2, 3} or parts[0] != "apps":
            return False
        return time.monotonic() < self._young.get(parts[1], 0.0)

    async def _get_or_none(self, path: str, *, who: str, limit: Limit = _ACTION) -> Json | None:
        try:
            return await self._send("GET", path, who=who, repeatable=True, limit=limit)
        except VendorError as error:
            if error.status in {404, 410}:
                return None
            raise

    async def _delete(self, path: str, *, who: str) -> None:
        try:
            await self._send("DELETE", path, who=who, repeatable=True)
        except VendorError as error:
            if error.status not in {404, 410}:
                raise


def _explain(response: httpx.Response) -> tuple[str, str]:
    """Fly's code and words: `{"error": text, "status": code}`, sometimes `message`, sometimes nothing at all."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return str(body.get("status") or ""), str(body.get("error") or body.get("message") or response.text)
    return "", response.text or "no body"
