"""Whether a request may pass, and to which instance: the one decision that HTTP and WebSockets share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowhouse.edge.headers import ASSERTION, Headers, values_of
from rowhouse.edge.model import Hold, Route, clean_host
from rowhouse.edge.pages import Page
from rowhouse.edge.tokens import Identity, KeysUnavailable, TokenRefused, Verifier

if TYPE_CHECKING:
    from rowhouse.edge.routes import Directory

__all__ = ["Admission", "Gate"]

log = logging.getLogger("rowhouse.edge.gate")

BAD_REQUEST = Page(400, "bad_request", "This request cannot be understood", "The address or the headers of the request are not valid.")
NOT_FOUND = Page(404, "not_found", "Nothing lives here", "There is no instance at this address. Check its spelling.")
CLOSED = Page(403, "forbidden", "The gate is closed", "This instance is closed. Its operator can tell you more.")
FORBIDDEN = Page(
    403, "forbidden", "You are not let in", "Your sign-in is not valid for this address. Sign in again, or ask the owner to add you."
)
STARTING = Page(503, "failed", "One moment", "The gateway is starting. Try again in a few seconds.", retry_after_s=5)
NO_KEYS = Page(503, "failed", "One moment", "Sign-ins cannot be verified just now. Try again in a few seconds.", retry_after_s=10)


@dataclass(frozen=True)
class Admission:
    """A visitor who may pass, and where to."""

    route: Route
    identity: Identity


class Gate:
    """Decides from routes, holds and tokens; keeps nothing between two requests."""

    def __init__(self, directory: Directory, verifier: Verifier) -> None:
        self._directory = directory
        self._verifier = verifier

    async def admit(self, headers: Headers) -> Admission | Page:
        """The admission, or the page that refuses it. In this order: hostname, closed gate, token, hold.

        The token comes before the hold: a stranger is not told that a tenant has not paid.
        """
        hosts = values_of(headers, b"host")
        hostname = clean_host(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if hostname is None:
            return BAD_REQUEST
        route = self._directory.route_for(hostname)
        if route is None:
            return NOT_FOUND if self._directory.is_loaded else STARTING
        if not route.is_open:
            return CLOSED
        tokens = values_of(headers, ASSERTION)
        if len(tokens) != 1:
            return FORBIDDEN
        try:
            identity = await self._verifier.verify(tokens[0].decode("latin-1"), route.audience)
        except KeysUnavailable:
            return NO_KEYS
        except TokenRefused as exc:
            log.info("refused at %s: %s", hostname, exc)
            return FORBIDDEN
        hold = self._directory.hold_on(route)
        return _held(hold) if hold is not None else Admission(route, identity)

    def still_stands(self, admission: Admission) -> bool:
        """Whether a long connection may go on: the same instance, still open, not held."""
        route = self._directory.route_for(admission.route.hostname)
        return (
            route is not None
            and route.is_open
            and (route.tenant, route.instance) == (admission.route.tenant, admission.route.instance)
            and route.audience == admission.route.audience
            and self._directory.hold_on(route) is None
        )


def _held(hold: Hold) -> Page:
    details = {"reason": hold.reason}
    if hold.until is not None:
        details["until"] = datetime.fromtimestamp(hold.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Page(402, "held", "This instance is on hold", hold.message or "It does not run until the hold is lifted.", details)
