"""Whether an answer means 'the instance is not up yet', and how long to wait before asking again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowhouse.edge.headers import Headers

__all__ = ["delays", "is_idempotent", "is_waking"]

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


def is_waking(status: int, headers: Headers) -> bool:
    """A 502 or 503 of the host's own proxy, not of the app.

    No vendor documents a header for it. What tells them apart: the host's proxy answers without a document (no content type), while an
    application's own 503 carries one and is passed on as it is.
    """
    return status in {502, 503} and not any(name.lower() == b"content-type" for name, _ in headers)


def is_idempotent(method: str) -> bool:
    """Whether asking twice is asking once (RFC 9110, 9.2.2)."""
    return method in _IDEMPOTENT


def delays() -> Iterator[float]:
    """Seconds between attempts: quick at first, as a resume takes a fraction of a second, then every two seconds."""
    delay = 0.1
    while True:
        yield delay
        delay = min(delay * 1.6, 2.0)
