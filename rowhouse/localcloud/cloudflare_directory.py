"""Who can be named in a policy: groups, service tokens and identity providers; and the organization they belong to."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, invalid, not_found, paged
from rowhouse.localcloud.cloudflare_rules import check_rules
from rowhouse.localcloud.cloudflare_state import State, new_uuid

__all__ = ["Groups", "IdentityProviders", "Organization", "ServiceTokens", "duration_s"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def duration_s(text: str) -> float:
    """Seconds of a duration such as `24h` or `1h30m`. Raises: ApiError when it is none."""
    if not text or _PART.sub("", text):
        raise invalid(f"{text!r} is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class Groups:
    """Access groups: rules with a name, to be named in policies."""

    def __init__(self, state: State) -> None:
        """Serve the groups on the state's shelf."""
        self.state = state

    def create(self, body: Any) -> Json:
        """A new group."""
        given = self._checked(body)
        limit = self.state.switches.groups
        if limit is not None and len(self.state.groups) >= limit:
            raise invalid(f"the account's limit of {limit} groups is reached")
        now, key = self.state.stamp(), new_uuid()
        return self.state.groups.put(key, {"id": key, **self._defaults(), **given, "created_at": now, "updated_at": now})

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One group."""
        group = self.state.groups.get(key, stale=stale)
        if group is None:
            raise not_found("access.api.error.not_found")
        return group

    def replace(self, key: str, body: Any) -> Json:
        """Put other fields in the place of all."""
        old = self.read(key)
        fixed = {"created_at": old["created_at"], "updated_at": self.state.stamp()}
        return self.state.groups.put(key, {"id": key, **self._defaults(), **self._checked(body), **fixed})

    def delete(self, key: str) -> Json:
        """Remove a group."""
        self.read(key)
        self.state.groups.drop(key)
        return {"id": key}

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Groups that match the filters, one page."""
        return _named(self.state.groups.all(stale=stale), query)

    @staticmethod
    def _defaults() -> Json:
        return {"exclude": [], "require": [], "is_default": False}

    @staticmethod
    def _checked(body: Any) -> Json:
        if not isinstance(body, dict) or not body.get("name") or not body.get("include"):
            raise invalid("a group needs name and include")
        for part in ("include", "exclude", "require"):
            problem = check_rules(body.get(part) or [])
            if problem:
                raise invalid(problem)
        return {key: value for key, value in body.items() if key not in {"id", "created_at", "updated_at"}}


class ServiceTokens:
    """Machine credentials for Access. The secret is shown once, at creation and at rotation."""

    def __init__(self, state: State) -> None:
        """Serve the tokens on the state's shelf."""
        self.state = state

    def create(self, body: Any) -> Json:
        """A new token, with its secret."""
        name = body.get("name") if isinstance(body, dict) else None
        if not name:
            raise invalid("service token name is required")
        limit = self.state.switches.service_tokens
        if limit is not None and len(self.state.service_tokens) >= limit:
            raise invalid(f"the account's limit of {limit} service tokens is reached")
        duration = str(body.get("duration") or "8760h")
        now, key, secret = self.state.stamp(), new_uuid(), secrets.token_hex(32)
        token = {
            "id": key,
            "name": name,
            "client_id": f"{secrets.token_hex(16)}.access",
            "duration": duration,
            "enabled": bool(body.get("enabled", True)),
            "client_secret_version": body.get("client_secret_version", 1),
            "created_at": now,
            "updated_at": now,
            "expires_at": self._expiry(duration),
            "last_seen_at": None,
        }
        self.state.service_secrets[key] = [(secret, None)]
        return {**self.state.service_tokens.put(key, token), "client_secret": secret}

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One token, without its secret."""
        token = self.state.service_tokens.get(key, stale=stale)
        if token is None:
            raise not_found("access.api.error.not_found")
        return token

    def replace(self, key: str, body: Any) -> Json:
        """Change name, duration or whether it is enabled; a higher client_secret_version makes a new secret, shown once."""
        old = self.read(key)
        given = body if isinstance(body, dict) else {}
        duration = str(given.get("duration") or old["duration"])
        expires = self._expiry(duration) if duration != old["duration"] else old["expires_at"]
        version = given.get("client_secret_version", old["client_secret_version"])
        changed = {
            "name": given.get("name") or old["name"],
            "duration": duration,
            "expires_at": expires,
            "enabled": bool(given.get("enabled", old["enabled"])),
            "client_secret_version": version,
            "updated_at": self.state.stamp(),
        }
        token = self.state.service_tokens.put(key, {**old, **changed})
        if version > old["client_secret_version"]:
            return {**token, "client_secret": self._new_secret(key, given.get("previous_client_secret_expires_at"))}
        return token

    def rotate(self, key: str, body: Any) -> Json:
        """A new secret; the old one stops, or lasts until `previous_client_secret_expires_at`."""
        old = self.read(key)
        given = body if isinstance(body, dict) else {}
        secret = self._new_secret(key, given.get("previous_client_secret_expires_at"))
        changed = {"client_secret_version": old["client_secret_version"] + 1, "updated_at": self.state.stamp()}
        return {**self.state.service_tokens.put(key, {**old, **changed}), "client_secret": secret}

    def refresh(self, key: str) -> Json:
        """Begin the token's duration anew."""
        old = self.read(key)
        return self.state.service_tokens.put(key, {**old, "expires_at": self._expiry(old["duration"]), "updated_at": self.state.stamp()})

    def delete(self, key: str) -> Json:
        """Remove a token, which then opens nothing."""
        old = self.read(key)
        self.state.service_tokens.drop(key)
        self.state.service_secrets.pop(key, None)
        return old

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Tokens, one page, without secrets."""
        return _named(self.state.service_tokens.all(stale=stale), query)

    def valid(self, client_id: str, client_secret: str) -> Json | None:
        """The token that these credentials open, or None."""
        now = self.state.clock.timestamp()
        for token in self.state.service_tokens:
            if token["client_id"] != client_id or not token["enabled"] or token["expires_at"] <= self.state.stamp():
                continue
            for secret, until in self.state.service_secrets[token["id"]]:
                if (until is None or now < until) and hmac.compare_digest(secret, client_secret):
                    return token
        return None

    def _new_secret(self, key: str, previous_until: Any) -> str:
        until = self.state.clock.timestamp()
        if previous_until:
            try:
                until = datetime.fromisoformat(str(previous_until)).timestamp()
            except ValueError:
                raise invalid("previous_client_secret_expires_at is no time") from None
        secret = secrets.token_hex(32)
        kept = [(old, until if end is None else min(end, until)) for old, end in self.state.service_secrets[key]]
        self.state.service_secrets[key] = [(secret, None), *kept]
        return secret

    def _expiry(self, duration: str) -> str:
        if duration == "forever":
            return "9999-12-31T23:59:59Z"
        return rfc3339(self.state.clock.now() + timedelta(seconds=duration_s(duration)))


class IdentityProviders:
    """How people prove who they are; the local cloud itself only speaks one-time codes."""

    def __init__(self, state: State) -> None:
        """Serve the providers on the state's shelf."""
        self.state = state

    def create(self, body: Any) -> Json:
        """A new provider."""
        given = self._checked(body)
        key = new_uuid()
        self._keep_secret(key, given)
        return self.state.identity_providers.put(key, {"id": key, "scim_config": {"enabled": False}, **given})

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One provider, without its client secret."""
        provider = self.state.identity_providers.get(key, stale=stale)
        if provider is None:
            raise not_found("access.api.error.not_found")
        return provider

    def replace(self, key: str, body: Any) -> Json:
        """Put other fields in the place of all."""
        self.read(key)
        given = self._checked(body)
        self._keep_secret(key, given)
        return self.state.identity_providers.put(key, {"id": key, "scim_config": {"enabled": False}, **given})

    def delete(self, key: str) -> Json:
        """Remove a provider."""
        self.read(key)
        self.state.identity_providers.drop(key)
        self.state.identity_secrets.pop(key, None)
        return {"id": key}

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Providers, one page."""
        return _named(self.state.identity_providers.all(stale=stale), query)

    def one_time_pin(self) -> str:
        """Id of the one-time code provider; empty when the account has none of its own."""
        return next((str(item["id"]) for item in self.state.identity_providers if item["type"] == "onetimepin"), "")

    def _keep_secret(self, key: str, given: Json) -> None:
        secret = given["config"].pop("client_secret", None)
        if secret is not None:
            self.state.identity_secrets[key] = {"client_secret": secret}

    @staticmethod
    def _checked(body: Any) -> Json:
        if not isinstance(body, dict) or not body.get("name") or not body.get("type"):
            raise invalid("an identity provider needs name and type")
        given = {key: value for key, value in body.items() if key != "id"}
        return {**given, "config": dict(given.get("config") or {})}


class Organization:
    """The account's Zero Trust organization. It cannot be deleted."""

    def __init__(self, state: State) -> None:
        """Serve the organization in the state."""
        self.state = state

    def read(self) -> Json:
        """The organization as it is."""
        return self.state.organization

    def replace(self, body: Any) -> Json:
        """Change the organization; its domain and birth stay."""
        if not isinstance(body, dict):
            raise invalid("a body is required")
        old = self.state.organization
        given = {key: value for key, value in body.items() if key not in {"created_at", "updated_at", "auth_domain"}}
        fixed = {"auth_domain": old["auth_domain"], "created_at": old["created_at"], "updated_at": self.state.stamp()}
        defaults = {
            "name": old["name"],
            "allow_authenticate_via_warp": False,
            "auto_redirect_to_identity": False,
            "is_ui_read_only": False,
            "login_design": {},
            "session_duration": "24h",
        }
        self.state.organization = {**defaults, **given, **fixed}
        return self.state.organization

    def create(self, _body: Any) -> Json:
        """Refused: the account has one already."""
        raise ApiError(409, 9999, "access.api.error.organization_already_exists")


def _named(items: list[Json], query: Mapping[str, str]) -> Listing:
    wanted, search = query.get("name", ""), query.get("search", "").lower()
    found = [item for item in items if (not wanted or item["name"] == wanted) and (not search or search in str(item["name"]).lower())]
    return paged(found, query)
