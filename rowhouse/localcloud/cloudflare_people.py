"""People who logged in: users, the seats they hold, their sessions, and the Access log.

A seat is taken at the first login and held until it is freed; service tokens and bypass take none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rowhouse.localcloud.cloudflare_reply import ApiError, Json, Listing, invalid, not_found, paged
from rowhouse.localcloud.cloudflare_state import State, new_uuid

__all__ = ["AccessLog", "People"]

_FILTERS = {
    "allowed": "allowed",
    "app_uid": "app_uid",
    "country_code": "country",
    "email": "user_email",
    "idp": "connection",
    "ray_id": "ray_id",
    "user_id": "user_id",
}
_MAX_ROWS = 1000


class People:
    """Users and their seats."""

    def __init__(self, state: State) -> None:
        """Serve the users on the state's shelf."""
        self.state = state

    def by_email(self, email: str) -> Json | None:
        """The user with that address."""
        return next((user for user in self.state.users if user["email"] == email), None)

    def seat_for(self, email: str) -> Json | None:
        """The user with a seat, made when need be; None when all seats are taken by others."""
        user = self.by_email(email)
        if user and user["access_seat"]:
            return user
        limit = self.state.switches.seats
        if limit is not None and sum(bool(other["access_seat"]) for other in self.state.users) >= limit:
            return None
        now = self.state.stamp()
        if user is None:
            key = new_uuid()
            user = {"id": key, "uid": key, "seat_uid": new_uuid(), "email": email, "name": "", "created_at": now, "active_device_count": 0}
            user |= {"gateway_seat": False, "last_successful_login": None}
        return self.state.users.put(user["id"], {**user, "access_seat": True, "updated_at": now})

    def logged_in(self, user: Json, nonce: str, session: Json) -> None:
        """Record a session of a user."""
        now = self.state.stamp()
        self.state.users.put(user["id"], {**user, "last_successful_login": now, "updated_at": now})
        self.state.sessions.put(nonce, {**session, "nonce": nonce, "user_id": user["id"]})

    def failed(self, email: str, row: Json) -> None:
        """Record a refused login of somebody known."""
        user = self.by_email(email)
        if user:
            expiration = int(self.state.clock.timestamp()) + 30 * 86400
            self.state.failed_logins.setdefault(user["id"], []).append({"expiration": expiration, "metadata": row})

    def read(self, key: str, *, stale: bool = False) -> Json:
        """One user."""
        user = self.state.users.get(key, stale=stale)
        if user is None:
            raise not_found("access.api.error.not_found")
        return user

    def listing(self, query: Mapping[str, str], *, stale: bool = False) -> Listing:
        """Users that match, one page."""
        email, name, search = (query.get(key, "").lower() for key in ("email", "name", "search"))
        found = [
            user
            for user in self.state.users.all(stale=stale)
            if (not email or user["email"] == email)
            and (not name or user["name"].lower() == name)
            and (not search or search in user["email"] or search in user["name"].lower())
        ]
        return paged(found, query)

    def change_seats(self, body: Any) -> list[Json]:
        """Free (or, by the vendor's rule, never give) seats; the user's sessions end with the seat."""
        if not isinstance(body, list) or not body:
            raise invalid("a list of seats is required")
        by_seat = {user["seat_uid"]: user for user in self.state.users}
        if any(not isinstance(item, dict) or item.get("seat_uid") not in by_seat for item in body):
            raise not_found("access.api.error.not_found")
        changed = []
        for item in body:
            user = by_seat[item["seat_uid"]]
            if item.get("access_seat") is False:
                self.state.revoked[f"user:{user['id']}"] = self.state.clock.timestamp()
            now = self.state.stamp()
            seats = {name: bool(item.get(name, user[name])) and bool(user[name]) for name in ("access_seat", "gateway_seat")}
            self.state.users.put(user["id"], {**user, **seats, "updated_at": now})
            changed.append({"seat_uid": user["seat_uid"], **seats, "created_at": user["created_at"], "updated_at": now})
        return changed

    def revoke(self, body: Any) -> bool:
        """End every session of a user, named by address."""
        email = str(body.get("email", "")).lower() if isinstance(body, dict) else ""
        user = self.by_email(email)
        if user is None:
            raise not_found("access.api.error.not_found")
        self.state.revoked[f"user:{user['id']}"] = self.state.clock.timestamp()
        return True

    def active_sessions(self, key: str) -> Listing:
        """Sessions of a user that are not over."""
        self.read(key)
        live = [item for item in self.state.sessions if item["user_id"] == key and self._is_live(item)]
        rows = [{"name": item["nonce"], "expiration": item["exp"], "metadata": {"apps": {item["app_uid"]: item["app"]}}} for item in live]
        return Listing(rows, None)

    def session(self, key: str, nonce: str) -> Json:
        """One session of a user, with its identity."""
        self.read(key)
        item = self.state.sessions.get(nonce)
        if item is None or item["user_id"] != key:
            raise not_found("access.api.error.not_found")
        return {**item["identity"], "isActive": self._is_live(item)}

    def failed_logins(self, key: str) -> Listing:
        """Refused logins of a user."""
        self.read(key)
        return Listing(self.state.failed_logins.get(key, []), None)

    def last_seen_identity(self, key: str) -> Json:
        """The identity of the user's newest session."""
        self.read(key)
        items = [item for item in self.state.sessions if item["user_id"] == key]
        if not items:
            raise not_found("access.api.error.not_found")
        identity: Json = items[-1]["identity"]
        return identity

    def _is_live(self, item: Json) -> bool:
        ended = max(self.state.revoked.get(name, 0.0) for name in (item["aud"], f"user:{item['user_id']}", item["nonce"]))
        return bool(item["exp"] > self.state.clock.timestamp() and item["issued"] > ended)


class AccessLog:
    """Logins, not requests: who was let through or refused at a login page, while the plan keeps it."""

    def __init__(self, state: State) -> None:
        """Serve the log in the state."""
        self.state = state

    def listing(self, query: Mapping[str, str]) -> Listing:
        """Rows that match, newest first unless told; the answer says nothing about further pages."""
        since, until = _time(query, "since"), _time(query, "until")
        kept_from = self.state.clock.now() - timedelta(seconds=self.state.switches.log_retention_s)
        rows = [
            login.row
            for login in self.state.logins
            if login.at >= max(kept_from, since or kept_from) and (until is None or login.at < until) and _wanted(login.row, query)
        ]
        if query.get("direction", "desc") != "asc":
            rows.reverse()
        limit = _number(query, "limit", 25)
        if query.get("page") or query.get("per_page"):
            size = min(_number(query, "per_page", limit), limit if query.get("limit") else _MAX_ROWS)
            first = (_number(query, "page", 1) - 1) * size
            return Listing(rows[first : first + size], None)
        return Listing(rows[: min(limit, _MAX_ROWS)], None)


def _wanted(row: Json, query: Mapping[str, str]) -> bool:
    for name, field in _FILTERS.items():
        wanted = query.get(name)
        if wanted is None:
            continue
        value, operator = str(row.get(field, "")).lower(), query.get(f"{name}Op", "eq")
        if name == "email" and operator == "eq" and query.get("email_exact", "").lower() == "false":
            operator = "contains"
        same = wanted.lower() in value if operator == "contains" else wanted.lower() == value
        if same == (operator == "neq"):
            return False
    return True


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise ApiError(400, 12130, f"access.api.error.invalid_request: {name} is no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise ApiError(400, 12130, f"access.api.error.invalid_request: {name} has no time zone")
    return moment


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    try:
        number = int(query.get(name) or default)
    except ValueError:
        number = 0
    if number < 1:
        raise ApiError(400, 12130, f"access.api.error.invalid_request: {name} must be a positive number")
    return number
