"""What Fly keeps: apps, addresses, secrets, volumes, machines, their events and leases.

Plain data and how it is written as JSON. What changes it lives in the modules named for the verbs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rowhouse.localcloud.clock import Timer
from rowhouse.localcloud.fly_config import service_checks

if TYPE_CHECKING:
    from rowhouse.localcloud.runtime import Running

__all__ = ["PERSISTENT", "App", "Event", "Ip", "Lease", "Machine", "Secret", "Snapshot", "Volume", "iso"]

PERSISTENT = frozenset({"created", "started", "stopped", "suspended", "failed"})
_KEPT_EVENTS = 500


def iso(timestamp: float) -> str:
    """A virtual time as Fly's answers write it."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Ip:
    """An address of an app."""

    ip: str
    kind: str  # v4, v6, shared_v4, private_v6, egress_*
    region: str
    network: str | None  # Flycast only: the network it is reachable from; None is the organisation's default
    service_name: str
    created_at: float

    def json(self) -> dict[str, Any]:
        """As Fly shows it: without its type."""
        return {
            "ip": self.ip,
            "region": self.region or "global",
            "service_name": self.service_name,
            "shared": self.kind == "shared_v4",
            "egress": self.kind.startswith("egress"),
            "network": self.network,
            "created_at": iso(self.created_at),
        }


@dataclass
class Secret:
    """A secret of an app; the value leaves only on request."""

    name: str
    value: str = field(repr=False)
    digest: str
    created_at: float
    updated_at: float

    def json(self, *, show: bool = False) -> dict[str, Any]:
        """Name and digest, and the value when shown."""
        out = {"name": self.name, "digest": self.digest, "created_at": iso(self.created_at), "updated_at": iso(self.updated_at)}
        return out | ({"value": self.value} if show else {})


@dataclass
class Snapshot:
    """A point in time of a volume."""

    id: str
    created_at: float
    size: int
    volume_size: int
    digest: str
    status: str
    retention_days: int

    def json(self) -> dict[str, Any]:
        """As Fly lists it."""
        return self.__dict__ | {"created_at": iso(self.created_at)}


@dataclass
class Volume:
    """A disk on one host (zone) of a region."""

    id: str
    app: str
    name: str
    region: str
    zone: str
    size_gb: int
    encrypted: bool
    snapshot_retention: int
    auto_backup_enabled: bool
    fstype: str
    created_at: float
    updated_at: float
    state: str = "created"
    machine_id: str | None = None  # what it is bound to
    host_status: str = "ok"
    snapshots: list[Snapshot] = field(default_factory=list)
    gone: bool = False

    def json(self) -> dict[str, Any]:
        """As Fly shows it."""
        blocks = self.size_gb * 1024**3 // 4096
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "size_gb": self.size_gb,
            "region": self.region,
            "zone": self.zone,
            "encrypted": self.encrypted,
            "attached_machine_id": self.machine_id,
            "attached_alloc_id": None,
            "created_at": iso(self.created_at),
            "blocks": blocks,
            "block_size": 4096,
            "blocks_free": blocks,
            "blocks_avail": blocks,
            "bytes_used": 0,
            "bytes_total": blocks * 4096,
            "fstype": self.fstype,
            "snapshot_retention": self.snapshot_retention,
            "auto_backup_enabled": self.auto_backup_enabled,
            "host_status": self.host_status,
            "type": "local",
        }


@dataclass
class Event:
    """Something that happened to a machine."""

    id: str
    type: str
    status: str
    source: str
    timestamp: int  # milliseconds, virtual
    request: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """As Fly lists it."""
        return {key: value for key, value in self.__dict__.items() if value is not None}


@dataclass
class Lease:
    """Who alone may change a machine, until when."""

    nonce: str
    expires_at: float
    owner: str
    description: str
    version: str

    def json(self) -> dict[str, Any]:
        """As Fly shows it."""
        return self.__dict__ | {"expires_at": int(self.expires_at)}


@dataclass
class Machine:
    """A machine, its history and, while it is up, its process."""

    id: str
    app: str
    name: str
    region: str
    zone: str
    version: str
    config: dict[str, Any]
    image_ref: dict[str, Any]
    private_ip: str
    created_at: float
    updated_at: float
    state: str = "created"
    cordoned: bool = False
    host_status: str = "ok"
    lease: Lease | None = None
    skip_services: bool = False
    events: list[Event] = field(default_factory=list)  # of this version, newest first
    versions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    ups: list[tuple[float, float | None]] = field(default_factory=list)  # half-open virtual spans in `started`
    overviews: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50))  # what organisation lists saw
    running: Running | None = None
    intent: str | None = None  # why the process is being ended, when it is
    timer: Timer | None = None  # the next step of its life
    epoch: int = 0  # counts what was asked of it, so that a step overtaken by another knows
    parked: bool = False  # created with skip_launch
    restarts: list[float] = field(default_factory=list)
    connections: int = 0
    last_activity: float = 0.0
    destroyed_at: float | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def volume_id(self) -> str | None:
        """The volume it mounts."""
        mounts = self.config.get("mounts") or []
        return mounts[0].get("volume") if mounts else None

    @property
    def timer_is_idle(self) -> bool:
        """Whether no step of its life is pending."""
        return self.timer is None

    @property
    def is_gone(self) -> bool:
        """Whether it is destroyed."""
        return self.state == "destroyed"

    def append(self, event: Event) -> None:
        """Note an event, newest first."""
        self.events.insert(0, event)
        del self.events[_KEPT_EVENTS:]

    def json(self, *, summary: bool = False, lease: bool = False) -> dict[str, Any]:
        """As Fly shows it."""
        out: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "region": self.region,
            "instance_id": self.version,
            "version": self.version,
            "private_ip": self.private_ip,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "cordoned": self.cordoned,
            "image_ref": self.image_ref,
        }
        if summary:
            return out
        out["host_status"] = self.host_status
        out["config" if self.host_status == "ok" else "incomplete_config"] = self.config
        out["events"] = [event.json() for event in self.events[:20]]
        out["checks"] = [{"name": name} | self.checks[name] for name in service_checks(self.config) if name in self.checks]
        if lease and self.lease:
            out["lease"] = self.lease.json()
        return out

    def overview(self) -> dict[str, Any]:
        """As organisation lists show it."""
        config = {"image": self.config["image"], "guest": self.config["guest"], "metadata": self.config.get("metadata") or {}}
        return {
            "id": self.id,
            "app_name": self.app,
            "name": self.name,
            "state": self.state,
            "region": self.region,
            "instance_id": self.version,
            "version": self.version,
            "private_ip": self.private_ip,
            "created_at": iso(self.created_at),
            "updated_at": datetime.fromtimestamp(self.updated_at, UTC).isoformat().replace("+00:00", "Z"),
            "config": config,
        }


@dataclass
class App:
    """An app: a name, a private network, and all that lives under it."""

    id: str
    number: int
    name: str
    org: str
    network: str | None  # None: the organisation's default network
    created_at: float
    idempotency_key: str | None = None
    hidden_until: float = 0.0  # real time (monotonic): eventual consistency after its creation
    ips: list[Ip] = field(default_factory=list)
    secrets: dict[str, Secret] = field(default_factory=dict)
    secrets_version: int = 0
    machines: dict[str, Machine] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def network_name(self) -> str:
        """The private network its machines are in."""
        return self.network or "default"

    def live_machines(self) -> list[Machine]:
        """Machines that are not destroyed."""
        return [machine for machine in self.machines.values() if not machine.is_gone]

    def live_volumes(self) -> list[Volume]:
        """Volumes that are not gone for good."""
        return [volume for volume in self.volumes.values() if not volume.gone]

    def json(self) -> dict[str, Any]:
        """As Fly shows it."""
        return {
            "id": self.id,
            "internal_numeric_id": self.number,
            "name": self.name,
            "status": "deployed" if self.live_machines() else "pending",
            "network": self.network_name,
            "machine_count": len(self.live_machines()),
            "volume_count": len(self.live_volumes()),
            "organization": {"name": self.org, "slug": self.org, "internal_numeric_id": 1},
        }
