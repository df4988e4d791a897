"""What Stripe says when it refuses: one exception, one builder for each kind of refusal.

Words and codes are those of the API; texts that no reference fixes are marked as inferred in the builder's docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "StripeError",
    "idempotency_in_flight",
    "idempotency_mismatch",
    "internal",
    "invalid",
    "lock_timeout",
    "missing",
    "no_such",
    "rate_limited",
    "unauthorized",
]

_DOC = "https://stripe.com/docs/error-codes/"
_NAMES = {
    "customer": "customer",
    "product": "product",
    "price": "price",
    "billing.meter": "billing meter",
    "subscription": "subscription",
    "subscription_item": "subscription item",
    "invoice": "invoice",
    "invoiceitem": "invoiceitem",
    "event": "event",
    "test_helpers.test_clock": "test clock",
    "v2.core.event": "event",
}


class StripeError(Exception):
    """An answer that is not 2xx."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say `message` with an HTTP status."""
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error as it goes over the wire; absent keys are absent, as at Stripe."""
        error: dict[str, Any] = {}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = _DOC + self.code.replace("_", "-")
        error["message"] = self.message
        if self.param:
            error["param"] = self.param
        error["type"] = self.kind
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """A 400 about a parameter."""
    return StripeError(400, message, param=param, code=code)


def missing(param: str) -> StripeError:
    """A required parameter is absent."""
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")


def no_such(kind: str, object_id: str, param: str = "id") -> StripeError:
    """An object that does not exist: 404 for the path's own, 400 for one that a parameter names."""
    status = 404 if param == "id" else 400
    return StripeError(status, f"No such {_NAMES.get(kind, kind)}: '{object_id}'", param=param, code="resource_missing")


def unauthorized(key: str | None) -> StripeError:
    """No key, or one that is not of this account."""
    if not key:
        return StripeError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
            "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, "
            "or we can help at https://support.stripe.com/.",
            headers={"WWW-Authenticate": 'Basic realm="Stripe"'},
        )
    prefix = next((head for head in ("sk_test_", "rk_test_", "sk_live_", "rk_live_", "pk_test_") if key.startswith(head)), "")
    hidden = prefix + "*" * max(len(key) - len(prefix) - 4, 0) + key[-4:] if len(key) > len(prefix) + 4 else "*" * len(key)
    return StripeError(401, f"Invalid API Key provided: {hidden}", headers={"WWW-Authenticate": 'Basic realm="Stripe"'})


def rate_limited(reason: str) -> StripeError:
    """More requests than the account may make; there is no Retry-After."""
    return StripeError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def lock_timeout() -> StripeError:
    """Another request holds the object."""
    return StripeError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. "
        "If you see this error intermittently, retry the request. If you see this error frequently and are making multiple "
        "concurrent requests to a single object, make your requests serially or at a lower rate. "
        "For more details, see https://stripe.com/docs/rate-limits#object-lock-timeouts.",
        code="lock_timeout",
    )


def idempotency_mismatch(key: str, endpoint: str | None = None) -> StripeError:
    """A key used again for something else (`endpoint`: what it was first used for, when that differs)."""
    what = (
        f"for the same endpoint they were first used for ({endpoint})" if endpoint else "with the same parameters they were first used with"
    )
    return StripeError(
        400,
        f"Keys for idempotent requests can only be used {what}. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
        kind="idempotency_error",
    )


def idempotency_in_flight(key: str) -> StripeError:
    """A key whose first request has not ended."""
    return StripeError(
        409,
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, "
        f"and the other request is still going through): {key}. Please try again later.",
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


def internal() -> StripeError:
    """Stripe's own fault."""
    return StripeError(
        500,
        "An error occurred. Please try again; if it continues, contact us at https://support.stripe.com/.",
        kind="api_error",
    )
