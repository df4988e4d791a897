"""Access applications and policies, as the API sees them.

An application holds its policies by reference; they come back expanded. What a policy means is in cloudflare_rules.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, conflict, invalid, not_found, paged
from rowhouse.localcloud.cloudflare_rules import check_rules
from rowhouse.localcloud.cloudflare_state import State, new_uuid

__all__ = ["Applications", "Policies", "checked_policy", "refuse_when_off"]

_TYPES = frozenset(
    "self_hosted saas ssh vnc app_launcher warp biso bookmark dash_sso infrastructure rdp mcp mcp_portal proxy_endpoint".split()  # noqa: SIM905
)
_HOSTED = frozenset({"self_hosted", "ssh", "vnc", "rdp", "mcp"})
_DECISIONS = frozenset({"allow", "deny", "non_identity", "bypass"})
_SERVER_SIDE = frozenset({"id", "uid", "aud", "created_at", "updated_at", "reusable", "app_count"})
_MAX_DOMAINS = 5
_MAX_URL = 63


class Policies:
    """Reusable policies of the account."""

    def __init__(self, state: State) -> None:
        """Serve the policies on the state's shelf."""
        self.state = state

    def create(self, body: Any) -> Json:
        """A new reusable policy. Raises: ApiError when it is invalid."""
        given = checked_policy(body)
        limit = self.state.switches.policies
        if limit is not None and len(self.state.policies) >= limit:
            raise invalid(f"the account's limit of {limit} reusable policies is reached")
        now = self.state.stamp()
        policy = {"id": new_uuid(), **_policy_defaults(), "reusable": True, "app_count": 0, "created_at": now, "updated_at": now, **given}
        return self._view(self.state.policies.put(policy["id"], policy))

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One policy."""
        policy = self.state.policies.get(key, stale=stale)
        if policy is None:
            raise not_found("access.api.error.not_found")
        return self._view(policy)

    def replace(self, key: str, body: Any) -> Json:
        """Put other fields in the place of all."""
        old = self.read(key)
        fixed = {"reusable": True, "app_count": 0, "created_at": old["created_at"], "updated_at": self.state.stamp()}
        return self._view(self.state.policies.put(key, {"id": key, **_policy_defaults(), **fixed, **checked_policy(body)}))

    def delete(self, key: str) -> Json:
        """Remove a policy that no application uses."""
        self.read(key)
        if self._users(key):
            # Cloudflare's code for it is not in the public material; the status is.
            raise conflict(12132, "access.api.error.conflict: policy is in use by at least one application")
        self.state.policies.drop(key)
        return {"id": key}

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """All policies, one page."""
        return paged([self._view(policy) for policy in self.state.policies.all(stale=stale)], query)

    def _users(self, key: str) -> int:
        return sum(any(held.get("id") == key for held in app["policies"]) for app in self.state.apps)

    def _view(self, policy: Json) -> Json:
        return {**policy, "app_count": self._users(policy["id"])} if self.state.switches.count_policy_apps else policy


class Applications:
    """Access applications of the account."""

    def __init__(self, state: State, policies: Policies) -> None:
        """Serve the applications on the state's shelf."""
        self.state, self.policies = state, policies

    def create(self, body: Any) -> Json:
        """A new application with a new audience. Raises: ApiError when it is invalid or its domain is taken."""
        given = self._checked(body)
        limit = self.state.switches.apps
        if limit is not None and len(self.state.apps) >= limit:
            raise invalid(f"the account's limit of {limit} applications is reached")
        self._refuse_taken(given, but="")
        now, key = self.state.stamp(), new_uuid()
        held = self._held(given.pop("policies", None), [])
        app = {"id": key, "uid": key, "aud": secrets.token_hex(32), **_app_defaults(), **given, "policies": held}
        return self.view(self.state.apps.put(key, {**app, "created_at": now, "updated_at": now}))

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One application, its policies expanded."""
        return self.view(self.stored(key, stale=stale))

    def stored(self, key: str, *, stale: bool = False) -> Json:
        """One application as kept, its policies by reference."""
        app = self.state.apps.get(key, stale=stale)
        if app is None:
            raise not_found("access.api.error.not_found")
        return app

    def replace(self, key: str, body: Any) -> Json:
        """Put other fields in the place of all but the audience; policies stay when none are given."""
        old = self.stored(key)
        given = self._checked(body)
        self._refuse_taken(given, but=key)
        held = self._held(given.pop("policies", None), old["policies"])
        fixed = {"created_at": old["created_at"], "updated_at": self.state.stamp()}
        app = {"id": key, "uid": key, "aud": old["aud"], **_app_defaults(), **given, "policies": held, **fixed}
        return self.view(self.state.apps.put(key, app))

    def delete(self, key: str) -> Json:
        """Remove an application; its hostname is open from now on unless another covers it."""
        self.stored(key)
        self.state.apps.drop(key)
        return {"id": key}

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Applications that match the filters, one page."""
        exact = query.get("exact", "").lower() == "true"
        found = [self.view(app) for app in self.state.apps.all(stale=stale) if _wanted(app, query, exact=exact)]
        return paged(found, query)

    def revoke_tokens(self, key: str) -> Json:
        """End every session of an application."""
        self.state.revoked[self.stored(key)["aud"]] = self.state.clock.timestamp()
        return {}

    def own_policies(self, key: str) -> list[Json]:
        """The policies of one application, in order."""
        policies: list[Json] = self.read(key)["policies"]
        return policies

    def add_policy(self, key: str, body: Any) -> Json:
        """A policy that belongs to this application alone."""
        app = self.stored(key)
        raw = body if isinstance(body, dict) else {}
        held = self._held([*app["policies"], {**raw, "precedence": raw.get("precedence") or len(app["policies"]) + 1}], [])
        self.state.apps.put(key, {**app, "policies": held, "updated_at": self.state.stamp()})
        return self._expanded(held[-1])

    def change_policy(self, key: str, policy_id: str, body: Any) -> Json:
        """Replace a policy that belongs to this application."""
        app = self.stored(key)
        old = self._own(app, policy_id)
        new = {**checked_policy(body), "id": policy_id, "created_at": old["created_at"]}
        new = {**_policy_defaults(), "reusable": False, "updated_at": self.state.stamp(), "precedence": old["precedence"], **new}
        held = [new if held["id"] == policy_id else held for held in app["policies"]]
        self.state.apps.put(key, {**app, "policies": held})
        return new

    def read_policy(self, key: str, policy_id: str) -> Json:
        """One policy of an application."""
        for policy in self.own_policies(key):
            if policy["id"] == policy_id:
                return policy
        raise not_found("access.api.error.not_found")

    def drop_policy(self, key: str, policy_id: str) -> Json:
        """Remove a policy that belongs to this application."""
        app = self.stored(key)
        self._own(app, policy_id)
        self.state.apps.put(key, {**app, "policies": [held for held in app["policies"] if held["id"] != policy_id]})
        return {"id": policy_id}

    def view(self, app: Json) -> Json:
        """An application with its policies expanded, in order of precedence."""
        return {**app, "policies": [self._expanded(held) for held in sorted(app["policies"], key=lambda held: held["precedence"])]}

    def _expanded(self, held: Json) -> Json:
        if "decision" in held:
            return held
        return {**self.policies.read(held["id"]), "precedence": held["precedence"]}

    @staticmethod
    def _own(app: Json, policy_id: str) -> Json:
        for held in app["policies"]:
            if held["id"] == policy_id and "decision" in held:
                return dict(held)
        raise not_found("access.api.error.not_found")

    def _held(self, given: Any, kept: list[Json]) -> list[Json]:
        if given is None:
            return kept
        if not isinstance(given, list):
            raise invalid("policies must be a list")
        held: list[Json] = []
        for position, item in enumerate(given, start=1):
            entry = {"id": item} if isinstance(item, str) else item
            if not isinstance(entry, dict):
                raise invalid("a policy is an id or an object")
            precedence = entry.get("precedence") or position
            if "decision" in entry:
                now = self.state.stamp()
                own = {"id": entry.get("id") or new_uuid(), **_policy_defaults(), "reusable": False, "created_at": now, "updated_at": now}
                held.append({**own, **checked_policy(entry), "precedence": precedence})
            elif str(entry.get("id")) in self.state.policies:
                held.append({"id": entry["id"], "precedence": precedence})
            else:
                raise invalid(f"policy {entry.get('id')} does not exist")
        if len({entry["precedence"] for entry in held}) < len(held):
            raise invalid("policy precedences must be unique")
        return held

    def _checked(self, body: Any) -> Json:
        if not isinstance(body, dict):
            raise invalid("a body is required")
        app = {key: value for key, value in body.items() if key not in _SERVER_SIDE}
        kind = app.get("type")
        if kind not in _TYPES:
            raise invalid(f"type must be one of {', '.join(sorted(_TYPES))}")
        if kind not in _HOSTED:
            return app
        uris = [str(item.get("uri", "")) for item in app.get("destinations") or [] if item.get("type", "public") == "public"]
        uris = uris or list(app.get("self_hosted_domains") or []) or [str(app.get("domain") or "")]
        app["domain"] = str(app.get("domain") or uris[0])
        if len(uris) > _MAX_DOMAINS:
            raise invalid(f"an application has at most {_MAX_DOMAINS} domains")
        for uri in uris:
            host = uri.partition("/")[0].lower()
            if not host or (host != self.state.zone_name and not host.endswith(f".{self.state.zone_name}")):
                raise invalid(f"domain {uri!r} does not belong to a zone of this account")
            if len(uri) > _MAX_URL:
                raise invalid(f"domain {uri!r} is longer than {_MAX_URL} characters")
        if app["domain"] not in uris:
            raise invalid("domain must be among the destinations")
        app.setdefault("destinations", [{"type": "public", "uri": uri} for uri in uris])
        app["self_hosted_domains"] = [*uris]
        if app.get("auto_redirect_to_identity") and len(app.get("allowed_idps") or []) != 1:
            raise invalid("auto_redirect_to_identity needs exactly one allowed_idps")
        if app.get("options_preflight_bypass") and app.get("cors_headers"):
            raise invalid("options_preflight_bypass and cors_headers exclude each other")
        return app

    def _refuse_taken(self, given: Json, *, but: str) -> None:
        wanted = set(given.get("self_hosted_domains") or [])
        for app in self.state.apps:
            if app["id"] != but and wanted & set(app.get("self_hosted_domains") or []):
                raise conflict(11010, "access.api.error.application_already_exists")


def checked_policy(body: Any) -> Json:
    """A policy's fields as given, without what only the vendor sets.

    Raises: ApiError when name, decision or include is missing or a rule is none.
    """
    if not isinstance(body, dict):
        raise invalid("a body is required")
    policy = {key: value for key, value in body.items() if key not in _SERVER_SIDE}
    if not policy.get("name"):
        raise invalid("policy name is required")
    if policy.get("decision") not in _DECISIONS:
        raise invalid(f"decision must be one of {', '.join(sorted(_DECISIONS))}")
    if not policy.get("include"):
        raise invalid("policy must include at least one rule")
    for part in ("include", "exclude", "require"):
        if policy.get(part) is None:
            policy.pop(part, None)
            continue
        problem = check_rules(policy[part])
        if problem:
            raise invalid(problem)
    return policy


def refuse_when_off(state: State) -> None:
    """Raises: ApiError when Zero Trust was never enabled for the account."""
    if not state.switches.zero_trust:
        raise ApiError(400, 9999, "access.api.error.not_enabled")


def _policy_defaults() -> Json:
    return {"exclude": [], "require": [], "session_duration": "24h"}


def _app_defaults() -> Json:
    return {"allowed_idps": [], "tags": [], "auto_redirect_to_identity": False, "enable_binding_cookie": False}


def _wanted(app: Json, query: Mapping[str, str], *, exact: bool) -> bool:
    for field in ("name", "domain", "aud"):
        wanted = query.get(field)
        text = str(app.get(field) or "")
        if wanted and not (wanted == text or (not exact and field != "aud" and wanted.lower() in text.lower())):
            return False
    search = query.get("search", "").lower()
    return not search or any(search in str(app.get(field) or "").lower() for field in ("name", "domain", "aud"))
