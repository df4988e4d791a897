"""Which headers may pass, in either direction, and what the gateway says of a visitor.

A header that could name a person is set by the gateway or absent: whatever a client plants is dropped, in any case, with dashes or
underscores (many frameworks read both as one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowhouse.edge.model import Route
    from rowhouse.edge.tokens import Identity

__all__ = ["ASSERTION", "Headers", "request_headers", "response_headers", "values_of"]

Headers = list[tuple[bytes, bytes]]

ASSERTION = b"cf-access-jwt-assertion"

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade "
    b"http2-settings expect".split()
)
# These frame or address the message: naming them in Connection must not remove them (RFC 9110, 7.6.1).
_NEVER_BY_CONNECTION = frozenset((b"host", b"content-length"))
_IDENTITY_PREFIXES = (b"cf-access-", b"x-rowhouse-", b"x-forwarded-", b"x-auth-", b"x-authenticated-", b"x-remote-", b"remote-")
_IDENTITY_NAMES = frozenset((b"forwarded", b"x-real-ip", b"x-user", b"x-email", b"proxy", b"true-client-ip", b"x-client-ip"))
_ACCESS_COOKIES = ("cf_authorization", "cf_appsession", "cf_binding", "cf_session")
_SOCKET_PREFIX = b"sec-websocket-"


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """All values of a header whose names are lower-case already."""
    return [value for key, value in headers if key == name]


def request_headers(headers: Headers, route: Route, identity: Identity, *, socket: bool = False) -> Headers:
    """The headers that the instance gets: the visitor's harmless ones and the gateway's own.

    `socket` also drops what belongs to the visitor's WebSocket handshake alone.
    """
    named = _named_in_connection(headers)
    kept: Headers = []
    visitor = b""
    host = b""
    for name, value in headers:
        name = name.lower()
        plain = name.replace(b"_", b"-")
        if name == b"host":
            host = value
        elif name == b"cf-connecting-ip":
            visitor = value
        if name == b"host" or name in _HOP_BY_HOP or (name in named and name not in _NEVER_BY_CONNECTION):
            continue
        if plain in _IDENTITY_NAMES or plain.startswith(_IDENTITY_PREFIXES) or (plain != name and plain.startswith(b"cf-")):
            continue
        if socket and (name.startswith(_SOCKET_PREFIX) or name == b"content-length"):
            continue
        if name == b"cookie":
            value = _without_access_cookies(value)
            if not value:
                continue
        kept.append((name, value))
    kept += [
        (b"x-rowhouse-user", identity.name.encode()),
        (b"x-rowhouse-tenant", route.tenant.encode()),
        (b"x-rowhouse-instance", route.instance.encode()),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", host),
    ]
    if _is_address(visitor):
        kept.append((b"x-forwarded-for", visitor))
    return [(b"host", route.upstream_host.encode() if route.upstream_host else host), *kept]


def response_headers(headers: Iterable[tuple[bytes, bytes]], hostname: str) -> Headers:
    """The headers that the visitor gets: no hop-by-hop ones, no server's name, no cookie for a sibling."""
    kept: Headers = []
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_in_connection(lowered)
    chunked = any(name == b"transfer-encoding" for name, _ in lowered)
    for name, value in lowered:
        if name in _HOP_BY_HOP or (name in named and name not in _NEVER_BY_CONNECTION):
            continue
        # Alt-Svc could lead a browser around the gate; Server names what runs inside.
        if name in {b"server", b"alt-svc", b"via"} or (chunked and name == b"content-length"):
            continue
        if name in {b"set-cookie", b"set-cookie2"}:
            cookie = _own_cookie(value, hostname) if name == b"set-cookie" else None
            if cookie is not None:
                kept.append((name, cookie))
            continue
        kept.append((name, value))
    kept.append((b"via", b"1.1 rowhouse"))
    return kept


def _named_in_connection(headers: Headers) -> set[bytes]:
    return {token.strip().lower() for value in values_of(headers, b"connection") for token in value.split(b",")} - {b""}


def _without_access_cookies(value: bytes) -> bytes:
    kept = [part for part in value.decode("latin-1").split(";") if part.partition("=")[0].strip().lower() not in _ACCESS_COOKIES]
    return ";".join(kept).strip().encode("latin-1")


def _own_cookie(value: bytes, hostname: str) -> bytes | None:
    """A cookie that only this hostname gets: Domain is dropped; a cookie for a stranger's domain or of Access is refused."""
    first, *attributes = value.decode("latin-1").split(";")
    if first.partition("=")[0].strip().lower() in _ACCESS_COOKIES:
        return None
    kept = [first]
    for attribute in attributes:
        name, _, content = attribute.partition("=")
        if name.strip().lower() != "domain":
            kept.append(attribute)
            continue
        domain = content.strip().lower().lstrip(".")
        if domain and domain != hostname and not hostname.endswith("." + domain):
            return None
    return ";".join(kept).encode("latin-1")


def _is_address(value: bytes) -> bool:
    return 2 <= len(value) <= 45 and all(byte in b"0123456789abcdefABCDEF.:" for byte in value)
