"""Stripe's own ways to fail, as rules for the kernel's `Faults`."""

from __future__ import annotations

from rowhouse.localcloud.kernel import Fault
from rowhouse.localcloud.stripe_errors import internal, lock_timeout, rate_limited

__all__ = ["dropped_after_commit", "error_after_commit", "lock_timeout_once", "rate_limited_once"]


def rate_limited_once(path: str, *, method: str = "POST", times: int = 1) -> Fault:
    """429 without a retry header and without the effect."""
    body = rate_limited("global-rate").body()
    return Fault("error_before", vendor="stripe", method=method, path=path, times=times, status=429, body=body)


def lock_timeout_once(path: str, *, method: str = "POST", times: int = 1) -> Fault:
    """429 `lock_timeout`, without the effect."""
    return Fault("error_before", vendor="stripe", method=method, path=path, times=times, status=429, body=lock_timeout().body())


def error_after_commit(path: str, *, method: str = "POST", times: int = 1) -> Fault:
    """The effect, then a 500 that the idempotency key remembers."""
    return Fault("error_after", vendor="stripe", method=method, path=path, times=times, status=500, body=internal().body())


def dropped_after_commit(path: str, *, method: str = "POST", times: int = 1) -> Fault:
    """The effect, then a connection that breaks."""
    return Fault("drop_after", vendor="stripe", method=method, path=path, times=times)
