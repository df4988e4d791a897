"""The certificate roots that the gateway's own questions trust, read once for a process: it takes tens of milliseconds."""

from __future__ import annotations

import functools
import ssl

import httpx

__all__ = ["roots"]


@functools.cache
def roots() -> ssl.SSLContext:
    """Those that httpx trusts, whatever the environment says."""
    return httpx.create_ssl_context(trust_env=False)
