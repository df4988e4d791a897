"""The analytics that reconcile asks for: requests by hostname and hour, and logins. Sampled, and 24 hours back at most.

Only the two data sets that are used are answered; any other question is refused as an unknown field.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from rowhouse.localcloud.clock import rfc3339
from rowhouse.localcloud.cloudflare_reply import Json
from rowhouse.localcloud.cloudflare_state import State

__all__ = ["Analytics"]

_SETS = ("httpRequestsAdaptiveGroups", "accessLoginRequestsAdaptiveGroups")
_BOUND = r'"?{name}"?\s*:\s*"([^"]+)"'
_MAX_ROWS = 5000


class Analytics:
    """Answers to GraphQL questions."""

    def __init__(self, state: State) -> None:
        """Count what the state has seen."""
        self.state = state

    def answer(self, body: Any) -> Json:
        """A GraphQL document: data, or errors."""
        query = str(body.get("query", "")) if isinstance(body, dict) else ""
        variables = body.get("variables") if isinstance(body, dict) else None
        asked = [name for name in _SETS if name in query]
        if not asked:
            return {"data": None, "errors": [{"message": "unknown field", "path": ["viewer"], "extensions": {"code": "parser"}}]}
        now = self.state.clock.now()
        since = _bound("datetime_geq", query, variables) or now - timedelta(hours=24)
        until = _bound("datetime_lt", query, variables) or now
        if now - since > timedelta(hours=24, minutes=5):
            message = "cannot request data older than 24h0m0s"
            return {"data": None, "errors": [{"message": message, "path": ["viewer"], "extensions": {"code": "authz"}}]}
        viewer: Json = {}
        if _SETS[0] in asked:
            viewer["zones"] = [{_SETS[0]: self._requests(since, until)}]
        if _SETS[1] in asked:
            viewer["accounts"] = [{_SETS[1]: self._logins(since, until)}]
        return {"data": {"viewer": viewer}, "errors": None}

    def _requests(self, since: datetime, until: datetime) -> list[Json]:
        step = self.state.switches.sample_interval
        rows = []
        for (hostname, hour), count in sorted(self.state.requests.items(), key=lambda item: (item[0][1], item[0][0])):
            start = datetime.fromtimestamp(hour * 3600, UTC)
            if since <= start + timedelta(hours=1) and start < until:
                sampled = max(step, round(count / step) * step)
                dimensions = {"datetimeHour": rfc3339(start), "clientRequestHTTPHost": hostname}
                rows.append({"count": sampled, "avg": {"sampleInterval": step}, "dimensions": dimensions})
        return rows[:_MAX_ROWS]

    def _logins(self, since: datetime, until: datetime) -> list[Json]:
        rows = []
        for login in self.state.logins:
            if since <= login.at < until:
                row = login.row
                dimensions = {
                    "datetime": rfc3339(login.at),
                    "appId": row["app_uid"],
                    "isSuccessfulLogin": int(row["allowed"]),
                    "identityProvider": row["connection"],
                    "userUuid": row.get("user_id", ""),
                }
                rows.append({"count": 1, "dimensions": dimensions})
        for at, app in list(self.state.service_logins):
            if since <= at < until:
                dimensions = {"datetime": rfc3339(at), "appId": app, "isSuccessfulLogin": 1, "identityProvider": "service token"}
                rows.append({"count": 1, "dimensions": dimensions})
        return rows[:_MAX_ROWS]


def _bound(name: str, query: str, variables: Any) -> datetime | None:
    found = re.search(_BOUND.format(name=name), query)
    text = found.group(1) if found else None
    by_variable = re.search(rf"{name}\s*:\s*\$(\w+)", query)
    if text is None and by_variable and isinstance(variables, dict):
        text = str(variables.get(by_variable.group(1), ""))
    if text is None and isinstance(variables, dict):
        text = _deep(variables, name)
    return datetime.fromisoformat(text) if text else None


def _deep(value: Any, name: str) -> str | None:
    if isinstance(value, dict):
        if name in value:
            return str(value[name])
        return next((found for found in (_deep(item, name) for item in value.values()) if found), None)
    if isinstance(value, list):
        return next((found for found in (_deep(item, name) for item in value) if found), None)
    return None
