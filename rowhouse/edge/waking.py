"""Whether an answer means 'the instance is not up yet', and how long to wait before asking again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowhouse.edge.headers import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowhouse.edge.headers import Headers

__all__ = ["delays", "is_idempotent", "is_waking"]

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
# All that Fly's proxy put on refusals of its own, each with `server: Fly/...` and its request id (seen from 2025-10 to 2026-08; Fly
# documents none of it). An application's answer passes the same proxy and gets the same marks, but brings headers of its own.
_HOSTS_OWN = frozenset((b"server", b"via", b"fly-request-id", b"date", b"content-length", b"connection", b"keep-alive"))


def is_waking(status: int, headers: Headers) -> bool:
    """A 502 or 503 that the host's own proxy may have made: its marks, no body, and nothing that only an application would say.

    An application's 502 or 503 that says as little cannot be told from it. Nothing of it is lost when it is replaced by a page, and a
    request that must not be repeated is not repeated for it.
    """
    if status not in {502, 503}:
        return False
    lowered = [(name.lower(), value) for name, value in headers]
    return (
        any(value.startswith(b"Fly/") for value in values_of(lowered, b"server"))
        and len(values_of(lowered, b"fly-request-id")) == 1
        and values_of(lowered, b"content-length") == [b"0"]
        and all(name in _HOSTS_OWN for name, _ in lowered)
    )


def is_idempotent(method: str) -> bool:
    """Whether asking twice is asking once (RFC 9110, 9.2.2)."""
    return method in _IDEMPOTENT


def delays() -> Iterator[float]:
    """Seconds between attempts: quick at first, as a resume takes a fraction of a second, then every two seconds."""
    delay = 0.1
    while True:
        yield delay
        delay = min(delay * 1.6, 2.0)
