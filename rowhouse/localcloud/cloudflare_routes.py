"""Which function answers which path of the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, paged

if TYPE_CHECKING:
    from rowhouse.localcloud.cloudflare import CloudflareVendor

__all__ = ["Call", "Verb", "routes"]


@dataclass(frozen=True)
class Call:
    """One admitted request."""

    params: dict[str, str]
    query: dict[str, str]
    body: Any
    token: str
    stale: bool = False  # answer as before the last change

    def __getattr__(self, name: str) -> str:
        """A part of the path by its name."""
        try:
            return self.params[name]
        except KeyError:
            raise AttributeError(name) from None


Verb = Callable[[Call], Any]


def routes(vendor: CloudflareVendor) -> list[tuple[str, str, Verb]]:
    """Method, path and function of every endpoint."""
    a, z = "/client/v4/accounts/{account}", "/client/v4/zones/{zone}"
    table: list[tuple[str, str, Verb]] = []
    table += _crud(f"{z}/dns_records", vendor.dns, patch=True)
    table += [("POST", f"{z}/dns_records/batch", lambda c: vendor.dns.batch(c.body))]
    for prefix in (a, z):
        table += _crud(f"{prefix}/access/apps", vendor.apps)
        table += _app_policies(f"{prefix}/access/apps/{{id}}", vendor)
        table += _crud(f"{prefix}/access/groups", vendor.groups)
        table += _crud(f"{prefix}/access/service_tokens", vendor.service_tokens)
        table += _crud(f"{prefix}/access/identity_providers", vendor.identity_providers)
        table += [
            ("GET", f"{prefix}/access/organizations", lambda _: vendor.organization.read()),
            ("PUT", f"{prefix}/access/organizations", lambda c: vendor.organization.replace(c.body)),
            ("POST", f"{prefix}/access/organizations", lambda c: vendor.organization.create(c.body)),
            ("POST", f"{prefix}/access/organizations/revoke_user", lambda c: vendor.people.revoke(c.body)),
        ]
    table += _crud(f"{a}/access/policies", vendor.policies)
    tokens = f"{a}/access/service_tokens/{{id}}"
    table += [
        ("POST", f"{tokens}/rotate", lambda c: vendor.service_tokens.rotate(c.id, c.body)),
        ("POST", f"{tokens}/refresh", lambda c: vendor.service_tokens.refresh(c.id)),
        ("GET", f"{a}/access/keys", lambda _: vendor.signer.rotation()),
        ("POST", f"{a}/access/keys/rotate", lambda _: _rotated(vendor)),
        ("GET", f"{a}/access/logs/access_requests", lambda c: vendor.log.listing(c.query)),
        ("PATCH", f"{a}/access/seats", lambda c: vendor.people.change_seats(c.body)),
    ]
    table += _people(f"{a}/access/users", vendor)
    table += _tunnels(f"{a}/cfd_tunnel", vendor)
    table += [
        ("GET", "/client/v4/zones", lambda c: _zones(vendor, c)),
        ("GET", z, lambda _: vendor.zone()),
        ("GET", "/client/v4/user/tokens/verify", lambda c: _verify(vendor, c, of_user=True)),
        ("GET", f"{a}/tokens/verify", lambda c: _verify(vendor, c, of_user=False)),
    ]
    return table


def _crud(path: str, shelf: Any, *, patch: bool = False) -> list[tuple[str, str, Verb]]:
    item = path + "/{id}"
    table: list[tuple[str, str, Verb]] = [
        ("GET", path, lambda c: shelf.listing(c.query, stale=c.stale)),
        ("POST", path, lambda c: shelf.create(c.body)),
        ("GET", item, lambda c: shelf.read(c.id, stale=c.stale)),
        ("PUT", item, lambda c: shelf.replace(c.id, c.body)),
        ("DELETE", item, lambda c: shelf.delete(c.id)),
    ]
    return [*table, ("PATCH", item, lambda c: shelf.merge(c.id, c.body))] if patch else table


def _app_policies(app: str, vendor: CloudflareVendor) -> list[tuple[str, str, Verb]]:
    apps = vendor.apps
    return [
        ("POST", f"{app}/revoke_tokens", lambda c: apps.revoke_tokens(c.id)),
        ("GET", f"{app}/policies", lambda c: paged(apps.own_policies(c.id), c.query)),
        ("POST", f"{app}/policies", lambda c: apps.add_policy(c.id, c.body)),
        ("GET", app + "/policies/{policy}", lambda c: apps.read_policy(c.id, c.policy)),
        ("PUT", app + "/policies/{policy}", lambda c: apps.change_policy(c.id, c.policy, c.body)),
        ("DELETE", app + "/policies/{policy}", lambda c: apps.drop_policy(c.id, c.policy)),
    ]


def _people(users: str, vendor: CloudflareVendor) -> list[tuple[str, str, Verb]]:
    people, one = vendor.people, users + "/{id}"
    return [
        ("GET", users, lambda c: people.listing(c.query, stale=c.stale)),
        ("GET", one, lambda c: people.read(c.id, stale=c.stale)),
        ("GET", f"{one}/active_sessions", lambda c: people.active_sessions(c.id)),
        ("GET", one + "/active_sessions/{nonce}", lambda c: people.session(c.id, c.nonce)),
        ("GET", f"{one}/failed_logins", lambda c: people.failed_logins(c.id)),
        ("GET", f"{one}/last_seen_identity", lambda c: people.last_seen_identity(c.id)),
    ]


def _tunnels(path: str, vendor: CloudflareVendor) -> list[tuple[str, str, Verb]]:
    tunnels, one = vendor.tunnels, path + "/{id}"
    return [
        ("GET", path, lambda c: tunnels.listing(c.query, stale=c.stale)),
        ("POST", path, lambda c: tunnels.create(c.body)),
        ("GET", one, lambda c: tunnels.read(c.id, stale=c.stale)),
        ("PATCH", one, lambda c: tunnels.merge(c.id, c.body)),
        ("DELETE", one, lambda c: tunnels.delete(c.id)),
        ("GET", f"{one}/configurations", lambda c: tunnels.configuration(c.id, stale=c.stale)),
        ("PUT", f"{one}/configurations", lambda c: tunnels.configure(c.id, c.body)),
        ("GET", f"{one}/token", lambda c: tunnels.token(c.id)),
        ("GET", f"{one}/connections", lambda c: tunnels.connections(c.id)),
        ("DELETE", f"{one}/connections", lambda c: tunnels.disconnect_all(c.id, c.query)),
    ]


def _rotated(vendor: CloudflareVendor) -> Json:
    vendor.rotate_keys()
    return vendor.signer.rotation()


def _zones(vendor: CloudflareVendor, call: Call) -> Listing:
    zone = vendor.zone()
    account = call.query.get("account.id", vendor.state.account)
    name = call.query.get("name", zone["name"])
    status = call.query.get("status", zone["status"])
    found = [zone] if (account, name, status) == (vendor.state.account, zone["name"], zone["status"]) else []
    return paged(found, call.query)


def _verify(vendor: CloudflareVendor, call: Call, *, of_user: bool) -> Json:
    token = vendor.state.tokens[call.token]
    if token.account_owned and of_user:
        raise ApiError(403, 1001, "Invalid API Token: use the account's own token verification")
    return {"id": token.id, "status": token.status}
