"""The pages that people see at Cloudflare's edge: login, refusals, errors, the mailbox."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

__all__ = ["error_page", "page"]

_SECURITY = {
    "cache-control": "private, no-store",
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("rowhouse.localcloud", "pages")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def page(name: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> HTMLResponse:
    """A page from a template of this room."""
    html = _environment().get_template(f"{name}.html").render(**values)
    return HTMLResponse(html, status_code=status, headers={**_SECURITY, **(headers or {})})


def error_page(status: int, code: int, title: str, detail: str, *, hostname: str, ray: str) -> HTMLResponse:
    """Cloudflare's own error page: the HTTP status, its error code (0: none) and what it means."""
    return page("error", status=status, code=code, title=title, detail=detail, hostname=hostname, ray=ray, http_status=status)
