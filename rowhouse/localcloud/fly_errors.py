"""Refusals in Fly's own words, and the ones that no request provokes here, as faults on demand.

What a request can provoke is raised where it is checked. Capacity, quotas, host trouble and the like depend on
Fly's fleet, so they are a table to inject. Source: Fly docs, spec and field reports (2026-08 to 2026-10).
"""

from __future__ import annotations

from typing import Any

from rowhouse.localcloud.kernel import Fault

__all__ = ["FLEET_REFUSALS", "Refusal", "fleet_fault"]


class Refusal(Exception):  # noqa: N818 - it is an answer of the vendor, not a failure of ours
    """An answer other than the asked one."""

    def __init__(self, status: int, error: str, code: str | None = None) -> None:
        """Answer `status` with Fly's error body; `code` is its machine-readable `status`, where Fly has one."""
        super().__init__(error)
        self.status, self.error, self.code = status, error, code

    @property
    def body(self) -> dict[str, Any]:
        """The JSON answer."""
        return {"error": self.error} | ({"status": self.code} if self.code else {})


_MACHINES = r"/machines$"
_VOLUMES = r"/volumes$"
_START = r"/machines/[0-9a-f]{14}/start$"
_NO_ROOM = "aborted: could not reserve resource for machine: insufficient {} available to fulfill request"

# name -> (status, error, code, path of the requests that Fly answers so)
FLEET_REFUSALS: dict[str, tuple[int, str, str | None, str]] = {
    "insufficient_capacity": (422, "insufficient capacity in the region to create the machine", "insufficient_capacity", _MACHINES),
    "volume_placement_capacity": (
        412,
        "insufficient resources to create new machine with existing volume 'vol_0000000000000000'",
        "volume_placement_capacity",
        _MACHINES,
    ),
    "insufficient_memory": (409, _NO_ROOM.format("memory"), None, _MACHINES),
    "insufficient_cpus": (409, _NO_ROOM.format("CPUs"), None, _MACHINES),
    "insufficient_ips": (409, _NO_ROOM.format("IPs"), None, _MACHINES),
    "volume_no_capacity": (409, "aborted: no capacity", None, _VOLUMES),
    "volume_no_capacity_400": (400, "no capacity", None, _VOLUMES),
    "memory_quota": (403, 'organization "local" is using 40960 MB of memory in dfw which is over the allowed quota', None, _MACHINES),
    "host_deploys_disabled": (409, "deploys to this host are temporarily disabled", None, _MACHINES),
    "governor_blocked_start": (409, "governor policy blocked start", None, _START),
    "machine_limit": (422, "Your organization has reached its machine limit. Please contact billing@fly.io", None, _MACHINES),
    "app_name_race": (422, "uniqueness constraint violated", None, r"/apps$"),
    "concurrent_update": (409, "aborted: machine update failed due to concurrent update", None, r"/machines/[0-9a-f]{14}$"),
}


def fleet_fault(name: str, **overrides: Any) -> Fault:
    """The fault that makes Fly answer with a row of FLEET_REFUSALS.

    Raises: KeyError for an unknown row.
    """
    status, error, code, path = FLEET_REFUSALS[name]
    rule: dict[str, Any] = {"vendor": "fly", "method": "POST", "path": path, "status": status}
    return Fault("error_before", **(rule | {"body": Refusal(status, error, code).body} | overrides))
