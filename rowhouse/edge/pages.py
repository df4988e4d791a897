"""What a visitor sees when the gateway itself answers: small pages for browsers, JSON for programs.

Everything is escaped, nothing is loaded from elsewhere, and no page tells one tenant of another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from rowhouse.edge.headers import Headers, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Page", "Pages"]

RETRY_AFTER_S = 5
CONTENT_POLICY = (
    b"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Page:
    """An answer of the gateway's own, before it is worded."""

    status: int
    kind: str
    """Name of the template, and of the error in JSON."""
    title: str
    text: str
    details: Mapping[str, str] | None = None
    retry_after_s: int | None = None


class Pages:
    """Renders pages; the templates are compiled once."""

    def __init__(self) -> None:
        env = Environment(loader=PackageLoader("rowhouse.edge", "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False)
        kinds = ("bad_request", "held", "forbidden", "not_found", "slow", "too_large", "failed", "waking")
        self._templates = {kind: env.get_template(f"{kind}.html") for kind in kinds}

    def render(self, page: Page, request: Headers) -> tuple[Headers, bytes]:
        """Headers and body of a page, in the form that the request's Accept asks for."""
        accept = b",".join(values_of(request, b"accept")).lower()
        if b"json" in accept and b"text/html" not in accept:
            error = {"status": page.status, "kind": page.kind, "title": page.title, "message": page.text, **(page.details or {})}
            body, kind = json.dumps({"error": error}).encode() + b"\n", b"application/json"
        else:
            template = self._templates[page.kind]
            html = template.render(page=page, details=page.details or {}, retry_after_s=page.retry_after_s or RETRY_AFTER_S)
            body, kind = html.encode(), b"text/html; charset=utf-8"
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", CONTENT_POLICY),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"vary", b"accept"),
            (b"date", formatdate(usegmt=True).encode()),
            (b"via", b"1.1 rowhouse"),
        ]
        if page.retry_after_s is not None:
            headers.append((b"retry-after", str(page.retry_after_s).encode()))
        return headers, body
