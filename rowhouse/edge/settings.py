"""What one gateway process is told by its environment, read once and checked."""

from __future__ import annotations

import re
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rowhouse.errors import RowhouseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GatewayError", "Limits", "Settings"]

MIB = 1024 * 1024


class GatewayError(RowhouseError):
    """The gateway's settings are wrong; it does not start."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what one client or one upstream may take, in bytes and seconds."""

    body_bytes: int = 100 * MIB
    """Request body; Cloudflare's own bound is 100 MB on its Free and Pro plans."""
    message_bytes: int = 16 * MIB
    """One WebSocket message."""
    head_s: float = 15.0
    """From the first byte of a request to the end of its headers."""
    body_idle_s: float = 30.0
    """Between two pieces of a request body."""
    stall_s: float = 60.0
    """How long a reader may leave our full write buffer standing."""
    keep_alive_s: float = 95.0
    """Idle client connection; longer than cloudflared's own 90 s, so that it is never we who close under a request."""
    connect_s: float = 5.0
    """One attempt to connect to an instance."""
    answer_s: float = 120.0
    """From the whole request to the answer's headers."""
    quiet_s: float = 3600.0
    """Between two pieces of an answer's body; event streams are silent for long."""
    waking_s: float = 30.0
    """How long one request waits for a sleeping instance."""
    drain_s: float = 20.0
    """What a stopping gateway gives to running requests."""


@dataclass(frozen=True)
class Settings:
    """Everything a gateway process is told."""

    store_url: str | None
    issuer: str
    certs_url: str
    host: str
    port: int
    health_host: str
    health_port: int | None
    """Where the host's health check is answered, and nothing else; None: nowhere."""
    poll_s: float
    cache: Path | None
    gateway_id: str
    activity_s: float
    limits: Limits
    clock_s: float | None = None
    """How often the vendor is asked what time it is; None: never."""
    counters: bool = False
    """Whether instances are asked for their apps' counters."""
    clock_file: Path | None = None
    """Where a local cloud tells by how much its time is ahead; None: this machine's clock is right."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings; raise GatewayError that names the variable, what it holds and what is allowed.

        `store_url` is None when ROWHOUSE_STORE_URL is unset: the caller falls back to the project's own folder.
        """
        issuer = env.get("ROWHOUSE_ACCESS_ISSUER", "").rstrip("/")
        if urlsplit(issuer).scheme not in {"http", "https"} or not urlsplit(issuer).hostname:
            raise GatewayError(
                f"ROWHOUSE_ACCESS_ISSUER is {issuer!r}. It is the team's address, https://<team>.cloudflareaccess.com; "
                "without it no token can be verified. Set it."
            )
        certs_url = env.get("ROWHOUSE_ACCESS_CERTS_URL") or f"{issuer}/cdn-cgi/access/certs"
        if urlsplit(certs_url).scheme not in {"http", "https"}:
            raise GatewayError(f"ROWHOUSE_ACCESS_CERTS_URL is {certs_url!r}. It is an http or https address. Set it or leave it out.")
        base = Limits()
        name = env.get("ROWHOUSE_GATEWAY_ID") or env.get("FLY_MACHINE_ID") or socket.gethostname()
        # Each process has its own id, so that two never write one activity object and no merge is needed.
        unique = f"{re.sub(r'[^A-Za-z0-9_-]', '-', name).strip('-')[:80] or 'gateway'}-{int(time.time()):x}{secrets.token_hex(2)}"
        cache = env.get("ROWHOUSE_GATEWAY_CACHE")
        clock_file = _clock_file(env, issuer)
        return cls(
            store_url=env.get("ROWHOUSE_STORE_URL") or None,
            issuer=issuer,
            certs_url=certs_url,
            host=env.get("ROWHOUSE_GATEWAY_HOST") or "127.0.0.1",
            port=int(_number(env, "ROWHOUSE_GATEWAY_PORT", 8080, 0, 65535)),
            # Fly does not say to which of a machine's addresses its checks go (2026-11): all of them, IPv4 included.
            health_host=env.get("ROWHOUSE_GATEWAY_HEALTH_HOST") or "::",
            health_port=int(_number(env, "ROWHOUSE_GATEWAY_HEALTH_PORT", 0, 0, 65535)) or None,
            poll_s=_number(env, "ROWHOUSE_ROUTES_POLL_S", 3.0, 0.05, 3600),
            cache=Path(cache) if cache else None,
            gateway_id=unique,
            activity_s=_number(env, "ROWHOUSE_ACTIVITY_FLUSH_S", 30.0, 0.05, 3600),
            # Whoever follows the local cloud's clock knows it to the moment; an answer's date would be late after a leap.
            clock_s=None if clock_file else _number(env, "ROWHOUSE_GATEWAY_CLOCK_S", 300.0, 0.05, 3600),
            clock_file=clock_file,
            counters=True,
            limits=Limits(
                body_bytes=int(_number(env, "ROWHOUSE_GATEWAY_BODY_LIMIT_MB", base.body_bytes / MIB, 0.001, 1e6) * MIB),
                head_s=_number(env, "ROWHOUSE_GATEWAY_HEAD_TIMEOUT_S", base.head_s, 0.05, 3600),
                body_idle_s=_number(env, "ROWHOUSE_GATEWAY_BODY_IDLE_S", base.body_idle_s, 0.05, 3600),
                stall_s=_number(env, "ROWHOUSE_GATEWAY_STALL_S", base.stall_s, 0.05, 3600),
                answer_s=_number(env, "ROWHOUSE_GATEWAY_ANSWER_TIMEOUT_S", base.answer_s, 0.05, 86400),
                waking_s=_number(env, "ROWHOUSE_GATEWAY_WAKING_S", base.waking_s, 0, 600),
                drain_s=_number(env, "ROWHOUSE_GATEWAY_DRAIN_S", base.drain_s, 0, 600),
            ),
        )


def _clock_file(env: Mapping[str, str], issuer: str) -> Path | None:
    """The local cloud's clock. Production is never moved: neither a real store nor a real team is on this machine."""
    path = env.get("ROWHOUSE_CLOCK_FILE")
    if not path:
        return None
    is_local_store = urlsplit(env.get("ROWHOUSE_STORE_URL") or "file:///").scheme == "file"
    if not is_local_store or urlsplit(issuer).hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise GatewayError(
            "ROWHOUSE_CLOCK_FILE moves this gateway's time, and that is for a local cloud only: ROWHOUSE_STORE_URL a local folder, "
            "ROWHOUSE_ACCESS_ISSUER on this machine. Leave it out."
        )
    return Path(path)


def _number(env: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        allowed = f"a number from {low:g} to {high:g}; the default is {default:g}"
        raise GatewayError(f"{name} is {text!r}. It is {allowed}. Correct it or leave it out.")
    return value
