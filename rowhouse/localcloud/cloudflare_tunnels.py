"""Tunnels: their names, configurations, tokens and the connectors that are live.

A connector here is what a running cloudflared is to Cloudflare; the edge sends requests to the origin it brought.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, conflict, not_found, paged
from rowhouse.localcloud.cloudflare_state import Connector, State, new_uuid

__all__ = ["Tunnels"]

_REDIAL_S = 5.0
_CONNECTIONS = 4  # cloudflared keeps four connections to two data centres
_CATCH_ALL = (
    "Bad Configuration: Validation failed: The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)"
)


class Tunnels:
    """The account's tunnels."""

    def __init__(self, state: State) -> None:
        """Serve the tunnels on the state's shelf."""
        self.state = state
        self._seen: set[str] = set()  # tunnels that something was ever connected to

    def create(self, body: Any) -> Json:
        """A new tunnel, inactive until something connects.

        Raises: ApiError for a name that is taken or missing.
        """
        given = body if isinstance(body, dict) else {}
        name = given.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ApiError(400, 1004, "Bad Request: tunnel name is required")
        source = given.get("config_src", "local")
        if source not in {"local", "cloudflare"}:
            raise ApiError(400, 1004, "Bad Request: config_src must be local or cloudflare")
        limit = self.state.switches.tunnels
        if limit is not None and len(self._live()) >= limit:
            raise ApiError(400, 1010, f"Bad Request: the account's limit of {limit} tunnels is reached")
        self._refuse_taken(name, but="")
        secret = self._secret(given.get("tunnel_secret"))
        tunnel_id = new_uuid()
        self.state.tunnel_secrets[tunnel_id] = secret
        now = self.state.stamp()
        tunnel = {
            "id": tunnel_id,
            "account_tag": self.state.account,
            "config_src": source,
            "remote_config": source == "cloudflare",
            "status": "inactive",
            "tun_type": "cfd_tunnel",
            "connections": [],
            "conns_active_at": None,
            "conns_inactive_at": now,
            "created_at": now,
            "deleted_at": None,
            "metadata": {},
            "name": name,
        }
        self.state.tunnels.put(tunnel_id, tunnel)
        return self._view(tunnel)

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One tunnel, deleted ones too. Raises: ApiError when there never was one."""
        return self._view(self._stored(key, stale=stale))

    def merge(self, key: str, body: Any) -> Json:
        """Rename a tunnel or give it another secret."""
        old = self._alive(key)
        given = body if isinstance(body, dict) else {}
        name = given.get("name", old["name"])
        if not isinstance(name, str) or not name.strip():
            raise ApiError(400, 1004, "Bad Request: tunnel name is required")
        self._refuse_taken(name, but=key)
        if given.get("tunnel_secret"):
            self.state.tunnel_secrets[key] = self._secret(given["tunnel_secret"])
        return self._view(self.state.tunnels.put(key, {**old, "name": name}))

    def delete(self, key: str) -> Json:
        """Mark a tunnel deleted; it stays readable. Raises: ApiError while something is connected."""
        old = self._alive(key)
        if self.state.connectors.get(key):
            # Connections end by themselves when their machine stops, so asking again is worth while.
            raise ApiError(409, 1022, "Cannot delete tunnel because it has active connections", retry_after=1)
        self.state.tunnels.put(key, {**old, "deleted_at": self.state.stamp()})
        return {"id": key}

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Tunnels that match the filters, newest first; deleted ones unless `is_deleted=false`."""
        found = [tunnel for tunnel in map(self._view, self.state.tunnels.all(stale=stale)) if _wanted(tunnel, query)]
        return paged(found[::-1], query)

    def configuration(self, key: str, *, stale: bool = False) -> Json:
        """What the tunnel's connectors do with requests."""
        tunnel = self._stored(key)
        kept = self.state.tunnel_configs.get(key, stale=stale)
        if kept is not None:
            return kept
        empty = {"account_id": self.state.account, "tunnel_id": key, "version": 0, "source": tunnel["config_src"]}
        return {**empty, "created_at": tunnel["created_at"], "config": None}

    def configure(self, key: str, body: Any) -> Json:
        """Replace the whole configuration and count its version up."""
        tunnel = self._alive(key)
        config = body.get("config") if isinstance(body, dict) else None
        config = config if isinstance(config, dict) else {}
        ingress = config.get("ingress")
        if ingress:
            if any(not isinstance(rule, dict) or not rule.get("service") for rule in ingress):
                raise ApiError(400, 1056, "Bad Configuration: Validation failed: every ingress rule needs a service")
            if ingress[-1].get("hostname") or ingress[-1].get("path"):
                raise ApiError(400, 1056, _CATCH_ALL)
        version = int(self.configuration(key)["version"]) + 1
        full = {
            "account_id": self.state.account,
            "tunnel_id": key,
            "version": version,
            "source": "cloudflare",
            "created_at": self.state.stamp(),
            "config": config,
        }
        if tunnel["config_src"] != "cloudflare":
            self.state.tunnels.put(key, {**tunnel, "config_src": "cloudflare", "remote_config": True})
        return self.state.tunnel_configs.put(key, full)

    def token(self, key: str) -> str:
        """What cloudflared is started with: base64 of account, tunnel and secret."""
        self._alive(key)
        content = {"a": self.state.account, "t": key, "s": self.state.tunnel_secrets[key]}
        return base64.b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()

    def connections(self, key: str) -> list[Json]:
        """Live connectors with their connections."""
        self._stored(key)
        return [
            {
                "id": connector.id,
                "arch": "linux_amd64",
                "config_version": self.configuration(key)["version"],
                "conns": _connections(connector),
                "features": ["ha-origin"],
                "run_at": connector.opened_at,
                "version": "local",
            }
            for connector in self.state.connectors.get(key, [])
        ]

    def disconnect_all(self, key: str, query: Mapping[str, str]) -> Json:
        """Drop the connections of one connector (`client_id`) or of all; a process that still runs dials again."""
        self._alive(key)
        wanted = query.get("client_id")
        for connector in list(self.state.connectors.get(key, [])):
            if wanted in {None, "", connector.id}:
                self._drop(connector)
                self.state.clock.call_later(_REDIAL_S, partial(self._register, connector))
        return {}

    def connect(self, tunnel_token: str, origin: str, *, follows_clock: bool = False) -> Callable[[], None]:
        """Register a live connector and give what ends it (calling that twice is harmless).

        Raises: ValueError when the token is no token of a tunnel here, or the tunnel has all the replicas it may have.
        """
        try:
            content = json.loads(base64.b64decode(tunnel_token, validate=True))
            account, key, secret = str(content["a"]), str(content["t"]), str(content["s"])
        except (binascii.Error, ValueError, KeyError, TypeError):
            raise ValueError("Provided Tunnel token is not valid.") from None
        tunnel = self.state.tunnels.get(key)
        known = self.state.tunnel_secrets.get(key, "")
        if account != self.state.account or tunnel is None or tunnel["deleted_at"] or not hmac.compare_digest(known, secret):
            raise ValueError("Unauthorized: Failed to get tunnel")
        limit = self.state.switches.connectors
        if limit is not None and len(self.state.connectors.get(key, [])) >= limit:
            raise ValueError(f"Unauthorized: a tunnel has at most {limit} replicas")
        connector = Connector(new_uuid(), key, origin.rstrip("/"), self.state.stamp(), secret, follows_clock)
        self._register(connector)
        return partial(self._end, connector)

    def _register(self, connector: Connector) -> None:
        """Make a connector live, unless its process, its tunnel or its secret is gone."""
        key = connector.tunnel_id
        tunnel, there = self.state.tunnels.get(key), self.state.connectors.setdefault(key, [])
        if connector.ended or connector in there or tunnel is None or tunnel["deleted_at"]:
            return
        if not hmac.compare_digest(self.state.tunnel_secrets[key], connector.secret):
            return
        connector.opened_at = self.state.stamp()
        if not there:
            self.state.tunnels.put(key, {**tunnel, "conns_active_at": connector.opened_at, "conns_inactive_at": None})
        there.append(connector)
        self._seen.add(key)

    def _end(self, connector: Connector) -> None:
        connector.ended = True
        self._drop(connector)

    def _drop(self, connector: Connector) -> None:
        there = self.state.connectors.get(connector.tunnel_id, [])
        if connector not in there:
            return
        there.remove(connector)
        tunnel = self.state.tunnels.get(connector.tunnel_id)
        if not there and tunnel is not None:
            self.state.tunnels.put(connector.tunnel_id, {**tunnel, "conns_active_at": None, "conns_inactive_at": self.state.stamp()})

    def _stored(self, key: str, *, stale: bool = False) -> Json:
        tunnel = self.state.tunnels.get(key, stale=stale)
        if tunnel is None:
            raise not_found("Tunnel not found")
        return tunnel

    def _alive(self, key: str) -> Json:
        tunnel = self._stored(key)
        if tunnel["deleted_at"]:
            raise not_found("Tunnel not found")
        return tunnel

    def _live(self) -> list[Json]:
        return [tunnel for tunnel in self.state.tunnels if not tunnel["deleted_at"]]

    def _refuse_taken(self, name: str, *, but: str) -> None:
        candidates = self.state.tunnels.all() if self.state.switches.reserve_deleted_tunnel_names else self._live()
        if any(tunnel["name"] == name and tunnel["id"] != but for tunnel in candidates):
            raise conflict(1013, "You already have a tunnel with this name. Please choose a different name for this tunnel.")

    def _view(self, tunnel: Json) -> Json:
        there = self.state.connectors.get(tunnel["id"], [])
        status = "healthy" if there else "down" if tunnel["id"] in self._seen else "inactive"
        return {**tunnel, "status": status, "connections": [row for connector in there for row in _connections(connector)]}

    @staticmethod
    def _secret(given: Any) -> str:
        if not given:
            return base64.b64encode(secrets.token_bytes(32)).decode()
        try:
            raw = base64.b64decode(str(given), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) < 32:
            raise ApiError(400, 1004, "Bad Request: tunnel_secret must be at least 32 bytes, base64 encoded")
        return str(given)


def _connections(connector: Connector) -> list[Json]:
    return [
        {
            "id": f"{connector.id[:-1]}{index}",
            "uuid": f"{connector.id[:-1]}{index}",
            "client_id": connector.id,
            "client_version": "local",
            "colo_name": f"lcl{index % 2 + 1:02d}",
            "is_pending_reconnect": False,
            "opened_at": connector.opened_at,
            "origin_ip": "127.0.0.1",
        }
        for index in range(_CONNECTIONS)
    ]


def _wanted(tunnel: Json, query: Mapping[str, str]) -> bool:
    deleted = query.get("is_deleted", "").lower()
    name = str(tunnel["name"])
    return (
        (not deleted or (deleted == "true") == bool(tunnel["deleted_at"]))
        and (not query.get("name") or name == query["name"])
        and (not query.get("uuid") or tunnel["id"] == query["uuid"])
        and (not query.get("status") or tunnel["status"] == query["status"])
        and (not query.get("include_prefix") or name.startswith(query["include_prefix"]))
        and (not query.get("exclude_prefix") or not name.startswith(query["exclude_prefix"]))
    )
