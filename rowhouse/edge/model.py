"""Routes and holds as the gateway reads them: parsed strictly, frozen, never a dict again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

__all__ = ["BadObject", "Hold", "Route", "Target", "clean_host", "parse_hold", "parse_route"]

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_TEXT_MAX = 2000


class BadObject(ValueError):  # noqa: N818  it names what was read, not what went wrong here
    """An object in the store is not a valid route or hold."""


@dataclass(frozen=True)
class Target:
    """Where an instance listens on the private network."""

    scheme: str
    host: str
    """Name or address, without brackets."""
    port: int

    @property
    def authority(self) -> str:
        """`host:port` as it stands in an address; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """One hostname and the one instance behind it."""

    hostname: str
    target: Target
    upstream_host: str | None
    """Host header for the instance; None keeps the visitor's."""
    audience: str
    """Audience tag of exactly this hostname's Access application."""
    tenant: str
    instance: str
    is_open: bool
    host: str
    """Where it runs: fly, railway or docker."""
    counters_path: str = "/.app/counters"
    """Where the app tells its activity counters."""


@dataclass(frozen=True)
class Hold:
    """A recorded decision that an instance must not run."""

    tenant: str
    instance: str
    reason: str
    message: str
    until: float | None
    """Seconds since the epoch; None holds until it is released."""

    def is_active(self, now: float) -> bool:
        """Whether the hold still stands at `now`."""
        return self.until is None or now < self.until


def clean_host(value: str) -> str | None:
    """The hostname of a Host header: lower case, without port and trailing dot; None when it is not one.

    IPv6 literals come back in brackets, so that `[::1]` can be told from a name.
    """
    value = value.lower()
    if value.startswith("["):
        literal, closed, rest = value.partition("]")
        is_port = not rest or (rest.startswith(":") and rest[1:].isdigit())
        return f"{literal}]" if closed and is_port and re.fullmatch(r"\[[0-9a-f:.]{2,45}", literal) else None
    name, colon, port = value.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        return None
    name = name.removesuffix(".")
    if not name or len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return None
    return name


def parse_route(key: str, data: bytes) -> Route:
    """Read `routes/<hostname>.json`; raise BadObject when anything in it is missing or unsafe."""
    doc = _document(data)
    hostname = _text(doc, "hostname")
    if clean_host(hostname) != hostname or key != f"routes/{hostname}.json":
        raise BadObject("hostname is not that of the object's name")
    if doc.get("access") not in {"open", "closed"}:
        raise BadObject("access is neither open nor closed")
    upstream_host = doc.get("upstream_host") or None
    if upstream_host is not None and (not isinstance(upstream_host, str) or clean_host(upstream_host) is None):
        raise BadObject("upstream_host is not a host")
    audience = _text(doc, "audience")
    if not re.fullmatch(r"[!-~]{1,256}", audience):
        raise BadObject("audience is not a tag")
    return Route(
        hostname=hostname,
        target=_target(_text(doc, "upstream")),
        upstream_host=upstream_host,
        audience=audience,
        tenant=_slug(doc, "tenant"),
        instance=_slug(doc, "instance"),
        is_open=doc["access"] == "open",
        host=_slug(doc, "host") if doc.get("host") else "fly",
        counters_path=_path(doc, "counters_path") if doc.get("counters_path") else Route.counters_path,
    )


def parse_hold(key: str, data: bytes) -> Hold:
    """Read `holds/<tenant>/<instance>.json`; raise BadObject when anything in it is missing."""
    doc = _document(data)
    tenant, instance = _slug(doc, "tenant"), _slug(doc, "instance")
    if key != f"holds/{tenant}/{instance}.json":
        raise BadObject("tenant and instance are not those of the object's name")
    until = doc.get("until")
    if until is not None:
        try:
            moment = datetime.fromisoformat(until)
        except (TypeError, ValueError) as exc:
            raise BadObject("until is not an RFC 3339 time") from exc
        if moment.tzinfo is None:
            raise BadObject("until has no time zone")
        until = moment.timestamp()
    message = doc.get("message") or ""
    if not isinstance(message, str):
        raise BadObject("message is not text")
    return Hold(tenant, instance, _text(doc, "reason"), message[:_TEXT_MAX], until)


def _document(data: bytes) -> dict[str, Any]:
    try:
        doc = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadObject("not JSON") from exc
    if not isinstance(doc, dict) or doc.get("v") != 1:
        raise BadObject("not version 1 of an object")
    return doc


def _text(doc: dict[str, Any], name: str) -> str:
    value = doc.get(name)
    if not isinstance(value, str) or not value or len(value) > _TEXT_MAX or not value.isprintable():
        raise BadObject(f"{name} is not text")
    return value


def _path(doc: dict[str, Any], name: str) -> str:
    value = _text(doc, name)
    if not re.fullmatch(r"/[!-~]{0,199}", value):
        raise BadObject(f"{name} is not a path")
    return value


def _slug(doc: dict[str, Any], name: str) -> str:
    value = _text(doc, name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", value):
        raise BadObject(f"{name} is not a slug")
    return value


def _target(upstream: str) -> Target:
    try:
        parts = urlsplit(upstream)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise BadObject("upstream is not an address") from exc
    plain = parts.path in {"", "/"} and not parts.query and not parts.fragment and parts.username is None and parts.password is None
    if parts.scheme not in {"http", "https"} or not host or not plain or clean_host(f"[{host}]" if ":" in host else host) is None:
        raise BadObject("upstream is not http(s)://host:port")
    return Target(parts.scheme, host.removesuffix("."), port or (443 if parts.scheme == "https" else 80))
