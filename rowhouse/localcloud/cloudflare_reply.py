"""Cloudflare's envelope: how an answer, a page of answers and an error look on the wire.

Nothing here knows a resource. Source: Cloudflare API v4 (2026).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

__all__ = [
    "ApiError",
    "Listing",
    "answer",
    "authentication_error",
    "body_of",
    "conflict",
    "dns_invalid",
    "failure",
    "invalid",
    "no_route",
    "not_found",
    "paged",
    "unauthorized",
]

Json = dict[str, Any]

_MAX_PER_PAGE = 1000


class ApiError(Exception):
    """A request that Cloudflare refuses, with its status, code and words."""

    def __init__(
        self, status: int, code: int, message: str, *, chain: Sequence[tuple[int, str]] = (), retry_after: float | None = None
    ) -> None:
        """`retry_after` (seconds) marks an error that waiting may cure; without it the client is told not to retry."""
        super().__init__(f"{message} ({code})")
        self.status, self.code, self.message, self.chain, self.retry_after = status, code, message, tuple(chain), retry_after


@dataclass(frozen=True)
class Listing:
    """One page of a list and what Cloudflare says about the whole."""

    items: list[Any]
    info: Json | None = field(default=None)


def answer(result: Any) -> JSONResponse:
    """The envelope of a success."""
    body: Json = {"success": True, "errors": [], "messages": []}
    if isinstance(result, Listing):
        body["result"] = result.items
        if result.info is not None:
            body["result_info"] = result.info
    else:
        body["result"] = result
    return JSONResponse(body)


def failure(error: ApiError) -> JSONResponse:
    """The envelope of a refusal, with the headers by which clients decide whether to ask again."""
    entry: Json = {"code": error.code, "message": error.message}
    if error.chain:
        entry["error_chain"] = [{"code": code, "message": message} for code, message in error.chain]
    headers = {"x-should-retry": "false"} if error.retry_after is None else {"retry-after": str(math.ceil(error.retry_after))}
    body = {"success": False, "errors": [entry], "messages": [], "result": None}
    return JSONResponse(body, status_code=error.status, headers=headers)


def paged(items: Sequence[Any], query: Mapping[str, str], *, per_page: int = 20) -> Listing:
    """The page that `page` and `per_page` ask for; past the end it is empty, and the totals stay true.

    Raises: ApiError for a page or size that is no positive number.
    """
    page, size = _positive(query, "page", 1), min(_positive(query, "per_page", per_page), _MAX_PER_PAGE)
    part = list(items[(page - 1) * size : page * size])
    total = len(items)
    info = {"page": page, "per_page": size, "count": len(part), "total_count": total, "total_pages": math.ceil(total / size)}
    return Listing(part, info)


def body_of(raw: bytes) -> Any:
    """The JSON of a request; None when there is no body.

    Raises: ApiError when it is not JSON.
    """
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except ValueError:
        # The code for a body that does not parse is not in the public material; the class of the error is what clients use.
        raise ApiError(400, 6007, "Malformed JSON in request body") from None


def _positive(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    try:
        number = int(float(text))
    except ValueError:
        number = 0
    if number < 1:
        raise ApiError(400, 6003, f"Invalid request: {name} must be a positive number")
    return number


def not_found(what: str) -> ApiError:
    """Nothing with that id; `what` is Cloudflare's own text."""
    return ApiError(404, 1003, what)


def no_route() -> ApiError:
    """No such endpoint."""
    return ApiError(404, 7003, "No route for the URI")


def authentication_error() -> ApiError:
    """The token is unknown."""
    return ApiError(403, 10000, "Authentication error")


def unauthorized() -> ApiError:
    """The token is known, but may not touch this."""
    return ApiError(403, 9109, "Unauthorized to access requested resource")


def invalid(reason: str) -> ApiError:
    """Access refuses the fields."""
    return ApiError(400, 12130, f"access.api.error.invalid_request: {reason}")


def conflict(code: int, message: str) -> ApiError:
    """Something is in the way that waiting does not move."""
    return ApiError(409, code, message)


def dns_invalid(code: int, reason: str) -> ApiError:
    """DNS refuses the fields."""
    return ApiError(400, 1004, "DNS Validation Error", chain=[(code, reason)])
