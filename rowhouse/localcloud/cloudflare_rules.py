"""What Access policies mean: whether somebody may pass a gate. Pure functions over plain data.

Order (Cloudflare documentation, 2026): bypass and service-auth policies first, then allow and deny in their order;
nothing matched is refused. A policy matches when one `include` rule does, every `require` rule does and no `exclude` rule does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Caller", "Verdict", "app_for", "check_rules", "judge"]

Json = dict[str, Any]

_SELECTORS = frozenset(
    "email email_domain email_list group everyone service_token any_valid_service_token ip ip_list geo login_method auth_method "  # noqa: SIM905
    "auth_context common_name certificate gsuite github-organization okta azureAD oidc saml external_evaluation device_posture "
    "linked_app_token user_risk_score cloudflare_account_member".split()
)
_EMPTY = frozenset({"everyone", "any_valid_service_token", "certificate"})
_TEXT = {"email": "email", "email_domain": "domain", "ip": "ip", "service_token": "token_id", "group": "id", "geo": "country_code"}
_MAX_GROUPS_DEEP = 10


@dataclass(frozen=True)
class Caller:
    """Who asks: a person with a proven email, a service token, or nobody yet."""

    ip: str = ""
    email: str = ""
    service_token_id: str = ""
    country: str = "XX"
    login_method: str = ""  # id of the identity provider


@dataclass(frozen=True)
class Verdict:
    """What the policies say: let through with identity, let through unseen, or not; and which policy said so."""

    outcome: Literal["allow", "service", "bypass", "deny"]
    policy: Json | None = None


def check_rules(rules: Any) -> str:
    """Why these are no rules, or an empty text when they are."""
    if not isinstance(rules, list):
        return "rules must be a list"
    for rule in rules:
        if not isinstance(rule, dict) or len(rule) != 1:
            return "a rule holds exactly one selector"
        name, value = next(iter(rule.items()))
        if name not in _SELECTORS:
            return f"unknown rule {name!r}"
        if name not in _EMPTY and not isinstance(value, dict):
            return f"rule {name!r} needs an object"
        key = _TEXT.get(name)
        if key and not (isinstance(value.get(key), str) and value[key]):
            return f"rule {name!r} needs {key!r}"
        if name == "ip":
            try:
                ipaddress.ip_network(value["ip"], strict=False)
            except ValueError:
                return f"rule 'ip': {value['ip']!r} is no address or range"
    return ""


def judge(policies: Sequence[Json], caller: Caller, groups: Mapping[str, Json]) -> Verdict:
    """What an application's policies say about a caller; `policies` expanded, `groups` by id."""
    ordered = sorted(policies, key=lambda policy: policy.get("precedence", 0))
    for policy in ordered:
        if policy["decision"] == "bypass" and _matches(policy, caller, groups):
            return Verdict("bypass", policy)
        if policy["decision"] == "non_identity" and _matches(policy, caller, groups):
            return Verdict("service", policy)
    if not caller.email:
        return Verdict("deny")
    for policy in ordered:
        if policy["decision"] in {"allow", "deny"} and _matches(policy, caller, groups):
            return Verdict("allow" if policy["decision"] == "allow" else "deny", policy)
    return Verdict("deny")


def app_for(apps: Sequence[Json], hostname: str, path: str) -> Json | None:
    """The application that covers a URL: an exact hostname before a wildcard, then the longer path."""
    best: tuple[tuple[int, int, int], Json] | None = None
    for app in apps:
        if app.get("type") not in {"self_hosted", "ssh", "vnc", "rdp", "mcp"}:
            continue
        for uri in _uris(app):
            score = _score(uri, hostname, path)
            if score is not None and (best is None or score > best[0]):
                best = (score, app)
    return best[1] if best else None


def _uris(app: Json) -> list[str]:
    public = [str(item.get("uri", "")) for item in app.get("destinations") or [] if item.get("type", "public") == "public"]
    return public or list(app.get("self_hosted_domains") or []) or [str(app.get("domain") or "")]


def _score(uri: str, hostname: str, path: str) -> tuple[int, int, int] | None:
    host, _, prefix = uri.lower().partition("/")
    if host == hostname:
        exact = 1
    elif host.startswith("*.") and hostname.endswith(host[1:]) and len(hostname) > len(host) - 1:
        exact = 0
    else:
        return None
    prefix = prefix.rstrip("*").rstrip("/")
    wanted = path.lower().lstrip("/")
    if prefix and wanted != prefix and not wanted.startswith(f"{prefix}/"):
        return None
    return (exact, len(host), len(prefix))


def _matches(policy: Json, caller: Caller, groups: Mapping[str, Json]) -> bool:
    return _set_matches(policy, caller, groups, 0)


def _set_matches(rules: Json, caller: Caller, groups: Mapping[str, Json], depth: int) -> bool:
    def any_of(part: str) -> bool:
        return any(_rule(rule, caller, groups, depth) for rule in rules.get(part) or [])

    required = all(_rule(rule, caller, groups, depth) for rule in rules.get("require") or [])
    return any_of("include") and required and not any_of("exclude")


def _rule(rule: Json, caller: Caller, groups: Mapping[str, Json], depth: int) -> bool:
    name, value = next(iter(rule.items()))
    if name == "everyone":
        return True
    if name == "email":
        return bool(caller.email) and str(value["email"]).lower() == caller.email
    if name == "email_domain":
        return bool(caller.email) and caller.email.rpartition("@")[2] == str(value["domain"]).lower().lstrip("@")
    if name == "ip":
        return _in_network(caller.ip, str(value["ip"]))
    if name == "service_token":
        return bool(caller.service_token_id) and value["token_id"] == caller.service_token_id
    if name == "any_valid_service_token":
        return bool(caller.service_token_id)
    if name == "geo":
        return str(value["country_code"]).upper() == caller.country
    if name == "login_method":
        return bool(caller.login_method) and value.get("id") == caller.login_method
    if name == "group" and depth < _MAX_GROUPS_DEEP:
        group = groups.get(str(value["id"]))
        return group is not None and _set_matches(group, caller, groups, depth + 1)
    return False  # a selector whose evidence the local cloud cannot have


def _in_network(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
