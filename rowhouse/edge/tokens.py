"""Who a request comes from, according to its Access token, and nothing but its Access token.

Does: RS256 only, the published key of the token's kid, issuer and audience exactly, times with a small leeway.
Does not: read cookies (a cookie alone proves nothing here) or ask Access anything but its keys.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowhouse.edge.keys import KeySet

__all__ = ["Identity", "KeysUnavailable", "TokenRefused", "Verifier"]

LEEWAY_S = 30.0
MAX_TOKEN = 16 * 1024
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class TokenRefused(Exception):  # noqa: N818  the outcome, in the gate's own word
    """The token does not open this gate; the text is for the log, never for the visitor."""


class KeysUnavailable(TokenRefused):
    """There is no key at all to verify with: the gate stays shut, and later may be better."""


@dataclass(frozen=True)
class Identity:
    """A verified visitor."""

    name: str
    """E-mail address, or the common name of a service token."""
    is_service: bool


class Verifier:
    """Turns a token into an identity for one audience."""

    def __init__(self, keys: KeySet, issuer: str, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock

    async def verify(self, token: str, audience: str) -> Identity:
        """The identity that the token proves at exactly this audience; raises TokenRefused."""
        if len(token) > MAX_TOKEN:
            raise TokenRefused("oversized")
        if not _FORM.fullmatch(token):
            raise TokenRefused("malformed")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as exc:
            raise TokenRefused("malformed header") from exc
        kid = header.get("kid")
        if header.get("alg") != "RS256" or "crit" in header or "b64" in header:
            raise TokenRefused("algorithm not allowed")
        if not isinstance(kid, str) or not kid:
            raise TokenRefused("no key id")
        key = await self._keys.find(kid)
        if key is None:
            if not len(self._keys):
                raise KeysUnavailable("no signing keys known")
            raise TokenRefused("unknown key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=audience,
                issuer=self._issuer,
                # Times are judged below, by the gateway's own clock.
                options={"require": ["exp", "iat", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as exc:
            raise TokenRefused(type(exc).__name__) from exc
        self._check_times(claims)
        return _identity(claims)

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        if now >= _time(claims, "exp") + LEEWAY_S:
            raise TokenRefused("expired")
        if now < _time(claims, "iat") - LEEWAY_S:
            raise TokenRefused("issued in the future")
        if "nbf" in claims and now < _time(claims, "nbf") - LEEWAY_S:
            raise TokenRefused("not yet valid")


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"{name} is not a time")
    return float(value)


def _identity(claims: dict[str, Any]) -> Identity:
    """Access: people have email and sub, service tokens have common_name and an empty sub."""
    email, sub, common = (claims.get(name) for name in ("email", "sub", "common_name"))
    if isinstance(email, str) and email and isinstance(sub, str) and sub:
        name, service = email, False
    elif isinstance(common, str) and common and sub == "" and not email:
        name, service = common, True
    else:
        raise TokenRefused("names nobody")
    # The name becomes a header: nothing that could end a line or hide in one.
    if len(name) > 320 or not name.isprintable() or name != name.strip():
        raise TokenRefused("names nobody in a usable form")
    return Identity(name, service)
