"""How Fly's API answers in general: token, request id, rate limit, errors, JSON bodies."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rowhouse.localcloud.fly_errors import Refusal
from rowhouse.localcloud.fly_ids import ulid

if TYPE_CHECKING:
    from rowhouse.localcloud.fly import FlyVendor

__all__ = ["Handler", "Limits", "body_of", "flag", "number", "route"]

Handler = Callable[["FlyVendor", Request], Awaitable[Any]]


class Limits:
    """Token buckets of real time: what Fly allows for each action on each machine or app."""

    def __init__(self) -> None:
        """Begin with full buckets."""
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, action: str, subject: str) -> None:
        """Use one request up.

        Raises: Refusal (429) when there is none left. Source: Fly's Machines API docs, 2026-08.
        """
        rate, burst = {"machine_get": (5.0, 10.0), "app_delete": (100 / 60, 100.0)}.get(action, (1.0, 3.0))
        now = time.monotonic()
        left, at = self._buckets.get((action, subject), (burst, now))
        left = min(burst, left + (now - at) * rate)
        if left < 1:
            self._buckets[action, subject] = (left, now)
            raise Refusal(429, "rate limit exceeded")
        self._buckets[action, subject] = (left - 1, now)


def route(path: str, method: str, action: str, handler: Handler) -> tuple[str, str, str, Handler]:
    """An endpoint: its path below /v1, its verb, the action that rate limits count, and who answers."""
    return path, method, action, handler


def build(vendor: FlyVendor, path: str, method: str, action: str, handler: Handler) -> Route:
    """The Starlette route of an endpoint."""

    async def endpoint(request: Request) -> Response:
        request_id = f"{ulid(int(time.time() * 1000), id(request))}-{vendor.region}"
        response: Response
        try:
            vendor.authenticate(request)
            if vendor.limits_enforced and action:
                # One budget for all deletions; else one for each machine, or app where no machine is named.
                subject = "" if action == "app_delete" else request.path_params.get("id") or request.path_params.get("app", "")
                vendor.limits.take(action, subject)
            result = await handler(vendor, request)
            response = result if isinstance(result, Response) else JSONResponse(result)
        except Refusal as refusal:
            response = JSONResponse(refusal.body, status_code=refusal.status)
        response.headers["fly-request-id"] = request_id
        return response

    return Route("/v1" + path, endpoint, methods=[method])


async def body_of(request: Request) -> dict[str, Any]:
    """A JSON object from the request; empty when there is no body.

    Raises: Refusal when it is something else.
    """
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise Refusal(400, f"invalid request body: {error}") from None
    if not isinstance(value, dict):
        raise Refusal(400, "json: cannot unmarshal value into Go value of type object")
    return value


def flag(request: Request, name: str) -> bool:
    """A boolean query parameter."""
    return request.query_params.get(name, "").lower() in {"1", "true", "t"}


def number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole query parameter, clamped.

    Raises: Refusal when it is not a number.
    """
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        return max(low, min(high, int(text.removesuffix("s"))))
    except ValueError:
        raise Refusal(400, f"invalid {name}: {text}") from None
