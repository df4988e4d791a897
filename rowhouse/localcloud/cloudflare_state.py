"""Everything the Cloudflare stand-in remembers, and the switches by which it is made strict.

Limits are dated facts of the vendor (Cloudflare documentation, 2026-08 to 2026-10); all are off unless a test or a
person turns them on, because a small local cloud has no use for them.
"""

from __future__ import annotations

import secrets
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rowhouse.localcloud.clock import Clock, rfc3339
from rowhouse.localcloud.cloudflare_shelf import History, Shelf

__all__ = ["Connector", "Login", "State", "Switches", "Token", "hex_id", "new_uuid"]

Json = dict[str, Any]


@dataclass
class Switches:
    """What the account's plan and limits are. None means: not enforced."""

    zero_trust: bool = True  # False: Access was never enabled for the account
    apps: int | None = None
    policies: int | None = None
    groups: int | None = None
    service_tokens: int | None = None
    tunnels: int | None = None
    connectors: int | None = None  # replicas of one tunnel
    dns_records: int | None = None  # of the zone
    dns_batch: int | None = None  # changes in one batch
    requests: int | None = None  # of one user in `request_window_s`
    request_window_s: float = 300.0
    seats: int | None = 50  # people who may have logged in, in the whole account
    log_retention_s: float = 24 * 3600.0  # Free; 30 days on Standard
    reserve_deleted_tunnel_names: bool = False  # a deleted tunnel's name may stay taken for a while
    count_policy_apps: bool = False  # the recorded traffic shows app_count 0 even where an application uses the policy
    sample_interval: int = 10  # analytics are sampled: counts come in these steps

    @classmethod
    def free(cls) -> Switches:
        """Every documented ceiling of a Free account, enforced."""
        return cls(
            apps=500,
            policies=500,
            groups=300,
            service_tokens=50,
            tunnels=1000,
            connectors=25,
            dns_records=200,
            dns_batch=200,
            requests=1200,
        )


@dataclass
class Token:
    """An API token: whose it is and what it may do."""

    value: str
    id: str
    user: str = "owner"
    scopes: frozenset[str] | None = None  # None: everything; else of "dns", "access", "tunnel", "logs", "analytics", "zone"
    read_only: bool = False
    status: str = "active"  # active, disabled, expired
    account_owned: bool = False


@dataclass
class Connector:
    """A running cloudflared: one live way from the edge to an origin."""

    id: str
    tunnel_id: str
    origin: str
    opened_at: str
    secret: str = field(repr=False)  # what it was started with
    follows_clock: bool = False  # its origin has virtual time
    ended: bool = False  # its process is gone: it does not come back


@dataclass(frozen=True)
class Login:
    """One line of the Access log."""

    at: datetime
    row: Json


@dataclass
class State:
    """All that the vendor remembers."""

    clock: Clock
    account: str
    zone_id: str
    zone_name: str
    switches: Switches
    history: History = field(default_factory=History)
    tokens: dict[str, Token] = field(default_factory=dict)
    logins: list[Login] = field(default_factory=list)
    service_logins: deque[tuple[datetime, str]] = field(default_factory=lambda: deque(maxlen=5000))  # when, application id
    failed_logins: dict[str, list[Json]] = field(default_factory=dict)  # by user id
    connectors: dict[str, list[Connector]] = field(default_factory=dict)  # by tunnel id
    tunnel_secrets: dict[str, str] = field(default_factory=dict)  # base64
    service_secrets: dict[str, list[tuple[str, float | None]]] = field(default_factory=dict)  # by token id: secret, valid until
    identity_secrets: dict[str, Json] = field(default_factory=dict)
    revoked: dict[str, float] = field(default_factory=dict)  # by application aud, "user:<id>" or nonce: sessions issued before are over
    requests: dict[tuple[str, int], int] = field(default_factory=dict)  # by hostname and hour

    def __post_init__(self) -> None:
        """Lay out the shelves."""
        self.dns = Shelf(self.history)
        self.apps = Shelf(self.history)
        self.policies = Shelf(self.history)
        self.groups = Shelf(self.history)
        self.service_tokens = Shelf(self.history)
        self.identity_providers = Shelf(self.history)
        self.tunnels = Shelf(self.history)
        self.tunnel_configs = Shelf(self.history)
        self.users = Shelf(self.history)
        self.sessions = Shelf(self.history)  # by nonce
        now = self.stamp()
        self.organization: Json = {
            "auth_domain": "",
            "name": "Local",
            "allow_authenticate_via_warp": False,
            "auto_redirect_to_identity": False,
            "is_ui_read_only": False,
            "login_design": {},
            "session_duration": "24h",
            "created_at": now,
            "updated_at": now,
        }
        self.born = now

    def stamp(self) -> str:
        """The virtual time as the vendor writes it."""
        return rfc3339(self.clock.now())

    def log_login(self, row: Json) -> None:
        """Add to the Access log."""
        self.logins.append(Login(self.clock.now(), row))

    def count_request(self, hostname: str) -> None:
        """Count one request at the edge, for the analytics."""
        key = (hostname, int(self.clock.timestamp() // 3600))
        self.requests[key] = self.requests.get(key, 0) + 1


def hex_id() -> str:
    """A new id of 32 hex digits, as DNS records have."""
    return secrets.token_hex(16)


def new_uuid() -> str:
    """A new id as Access objects and tunnels have."""
    return str(uuid.uuid4())
