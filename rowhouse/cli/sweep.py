"""What an interrupted run left at Cloudflare: found by this stack's mark, shown, and removed.

The published Cloudflare plugin adopts nothing: after a create whose answer was lost, the next run would make a second tunnel, policy or
application, and fail at the DNS name. So `up` and `preview` first look for objects that carry exactly this stack's name or mark and are in
no state. They hold no data. Nothing is removed when a list cannot be read whole, when the state is empty, or when such a tunnel has live
connections: then it is rather the state that is in another place. The caller holds the stack's lock, where the engine lends it: what a
living run made a moment ago is in no state either.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rowhouse.cli.surroundings import EnvironmentProblemError
from rowhouse.spec import names
from rowhouse.vendors.cloudflare import Cloudflare
from rowhouse.vendors.http import VendorError

__all__ = ["Leftover", "Owner", "Sweep", "foreign"]

Json = dict[str, Any]
_PREFIX: Final = "cloudflare:"
_TUNNEL_ADDRESS: Final = ".cfargotunnel.com"
_IDS_SHOWN: Final = 8


@dataclass(frozen=True)
class Owner:
    """Whose objects are looked for, and where."""

    project: str
    stack: str
    account_id: str
    zone_id: str

    @property
    def mark(self) -> str:
        """The start of comments and names (of an application's last word); it ends in a separator, so that `main` never matches `main2`."""
        return names.stack_mark(self.project, self.stack)


@dataclass(frozen=True)
class Leftover:
    """An object of this stack that is in no state."""

    kind: str
    name: str
    id: str
    path: str
    """Where it is removed."""
    live: bool = False
    """A tunnel that something is connected to."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Sweep:
    """Looks for what a killed run left, and removes it."""

    def __init__(self, cloudflare: Cloudflare, owner: Owner, warn: Callable[[str], None]) -> None:
        """Look for `owner`'s objects; `warn` tells a person what could not be done."""
        self.cloudflare, self.owner, self.warn = cloudflare, owner, warn
        self.found: list[Leftover] = []
        """In the order of removal: what stands on another goes first."""
        self.removed: list[Leftover] = []
        self._there: list[Leftover] | None = None
        """All of this stack's objects; None when they could not be listed."""

    async def look(self, state: Mapping[str, Any], again: Callable[[], Awaitable[Mapping[str, Any]]], *, adopting: bool) -> None:
        """Find what is left over, and refuse to call so what is more likely in use.

        Args: state: an export from before. again: exports once more, after the lists were read: what was finished meanwhile is in there.
            adopting: whether the engine's own provider would take the objects over, so that going on without removal is safe.
        Raises: EnvironmentProblemError when going on would make everything a second time.
        """
        try:
            there = self._there = await self._listed()
        except VendorError as error:
            self.warn(f"not looked for leftovers of an interrupted run, so nothing of the kind is removed: {error}")
            return
        if not _missing(there, state):
            return
        state = await again()
        if not (found := _missing(there, state)):
            return
        if why := self._not_ours_to_touch(found, state):
            if not adopting:
                raise EnvironmentProblemError(why)
            self.warn(why)
            return
        self.found = found

    def refuse_foreign(self, state: Mapping[str, Any]) -> None:
        """Say in one sentence what a local cloud that began anew means for an old state. Called after `look`, for loopback vendors alone.

        Raises: EnvironmentProblemError when the state knows objects of this kind and not one of them is there.
        """
        known = _known(state)
        if known and self._there is not None and known.isdisjoint(found.id for found in self._there):
            raise EnvironmentProblemError(foreign(self.owner.stack))

    async def remove(self, state: Mapping[str, Any]) -> None:
        """Remove what was found and is still in no state; what cannot be removed is said and stays for the next run."""
        for leftover in _missing(self.found, state):
            try:
                await self.cloudflare.delete(leftover.path)
            except VendorError as error:
                self.warn(f"left over and not removed: {leftover} ({leftover.id}): {error}")
            else:
                self.removed.append(leftover)

    async def _listed(self) -> list[Leftover]:
        """All of this stack's objects. Raises: VendorError when one of the lists is not whole."""
        owner, account, zone = self.owner, f"accounts/{self.owner.account_id}", f"zones/{self.owner.zone_id}"
        tunnel = names.tunnel_name(owner.project, owner.stack)
        records = await self.cloudflare.list(f"{zone}/dns_records", {"comment.startswith": owner.mark})
        applications = await self.cloudflare.list(f"{account}/access/apps")
        policies = await self.cloudflare.list(f"{account}/access/policies")
        tunnels = await self.cloudflare.list(f"{account}/cfd_tunnel", {"name": tunnel, "is_deleted": "false"})
        # What Cloudflare filters is compared again here: a filter that is ignored or loose must not widen what is removed.
        return [
            *(
                Leftover("DNS record", str(item["name"]), item["id"], f"{zone}/dns_records/{item['id']}")
                for item in records
                if self._marked(item.get("comment")) and str(item.get("content")).endswith(_TUNNEL_ADDRESS)
            ),
            *(
                Leftover("Access application", item["name"], item["id"], f"{account}/access/apps/{item['id']}")
                for item in applications
                if self._marked(names.mark_in(str(item.get("name")))) and item.get("type") == "self_hosted"
            ),
            *(
                Leftover("Access policy", item["name"], item["id"], f"{account}/access/policies/{item['id']}")
                for item in policies
                if self._marked(item.get("name"))
            ),
            *(
                Leftover("tunnel", item["name"], item["id"], f"{account}/cfd_tunnel/{item['id']}", live=bool(item.get("connections")))
                for item in tunnels
                if item.get("name") == tunnel and not item.get("deleted_at")
            ),
        ]

    def _marked(self, text: object) -> bool:
        return isinstance(text, str) and text.startswith(self.owner.mark) and len(text) > len(self.owner.mark)

    def _not_ours_to_touch(self, found: list[Leftover], state: Mapping[str, Any]) -> str:
        deployment = state.get("deployment") or {}
        empty = not deployment.get("resources") and not deployment.get("pending_operations")
        live = [leftover for leftover in found if leftover.live]
        if not empty and not live:
            return ""
        reason = f"the state of stack {self.owner.stack} is empty" if empty else f"tunnel {live[0].name} ({live[0].id}) is in use"
        shown = "\n".join(f"  {leftover} ({leftover.id})" for leftover in found[:_IDS_SHOWN])
        more = f"\n  and {len(found) - _IDS_SHOWN} more" if len(found) > _IDS_SHOWN else ""
        return (
            f"Cloudflare has {len(found)} object{'s' if len(found) > 1 else ''} of this stack that the state does not know, and {reason}: "
            f"the right state is probably in another place (`pulumi whoami -v`, PULUMI_BACKEND_URL, --engine). Nothing was removed.\n"
            f"{shown}{more}\nIf they really are left over, remove them at Cloudflare and run again."
        )


def foreign(stack: str) -> str:
    """What it means that a local cloud has nothing of what a state knows, and what to do."""
    option = "" if stack == "main" else f" --stack {stack}"
    return (
        f"The state of stack {stack} was made against another local cloud, whose objects are gone: stand-ins begin empty each time they "
        f"start. Make everything anew with `rowhouse up{option} --refresh`."
    )


def _missing(there: Iterable[Leftover], state: Mapping[str, Any]) -> list[Leftover]:
    """Those of which no resource of the state has the id."""
    known = _known(state)
    return [leftover for leftover in there if leftover.id not in known]


def _known(state: Mapping[str, Any]) -> set[str]:
    """The ids of Cloudflare's objects in the state."""
    resources = (state.get("deployment") or {}).get("resources") or []
    return {str(resource["id"]) for resource in resources if str(resource.get("type")).startswith(_PREFIX) and resource.get("id")}
