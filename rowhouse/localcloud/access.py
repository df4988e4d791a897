"""Access's login with a one-time code: the pages of the team domain, and the few paths that every gated hostname has.

A code is mailed only to somebody whom the policies allow, and the pages say the same either way. Not here: other
identity providers, a session shared by several applications, device posture.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from rowhouse.localcloud.cloudflare_pages import page
from rowhouse.localcloud.cloudflare_reply import Json
from rowhouse.localcloud.cloudflare_rules import Caller, Verdict, app_for
from rowhouse.localcloud.cloudflare_sessions import COOKIE, COUNTRY, Sessions
from rowhouse.localcloud.mailbox import Mailbox

if TYPE_CHECKING:
    from rowhouse.localcloud.cloudflare import CloudflareVendor

__all__ = ["ATTEMPTS", "CODE_LIFE_S", "AccessLogin", "safe_redirect"]

CODE_LIFE_S = 600.0
ATTEMPTS = 5
_NONCE_LIFE_S = 60.0
_PENDING = 10_000  # logins begun and not finished that are remembered
_EMAIL = re.compile(r"^[^@\s]{1,64}@[^@\s]{1,255}$")
_WRONG_CODE = "This code is wrong or no longer valid."
_NO_STORE = {"cache-control": "private, no-store"}


@dataclass
class _Pending:
    """A login that waits for its code. `code` is empty for somebody who gets none."""

    app_id: str
    hostname: str
    redirect_url: str
    email: str
    code: str
    until: float
    attempts: int = field(default=0)


@dataclass(frozen=True)
class _Grant:
    """A finished login on its way from the team domain to the application's hostname."""

    app_id: str
    hostname: str
    redirect_url: str
    token: str
    until: float


def safe_redirect(wanted: str) -> str:
    """A path on the same host: anything that a browser could take for another place becomes `/`."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and "\\" not in wanted
    return wanted if plain and not any(ord(char) < 0x21 or ord(char) == 0x7F for char in wanted) else "/"


class AccessLogin:
    """The login of one team."""

    def __init__(self, vendor: CloudflareVendor, sessions: Sessions, mailbox: Mailbox) -> None:
        """Log people in to the vendor's applications."""
        self.vendor, self.state, self.sessions, self.mailbox = vendor, vendor.state, sessions, mailbox
        self._pending: dict[str, _Pending] = {}
        self._grants: dict[str, _Grant] = {}

    def login_url(self, app: Json, hostname: str, wanted: str) -> str:
        """Where a request without a session is sent."""
        query = urlencode({"kid": app["aud"], "redirect_url": safe_redirect(wanted)})
        return f"{self.sessions.issuer}/cdn-cgi/access/login/{quote(hostname)}?{query}"

    async def team(self, request: Request, ray: str) -> Response:
        """Serve the team domain."""
        path, method = request.url.path, request.method
        if path == "/cdn-cgi/access/certs" and method in {"GET", "HEAD"}:
            return self.certs()
        for prefix, verb in (("login", "GET"), ("onetimepin", "POST"), ("verify-code", "POST")):
            head = f"/cdn-cgi/access/{prefix}/"
            if path.startswith(head) and method in {verb, "HEAD" if verb == "GET" else verb}:
                hostname = path.removeprefix(head).lower()
                step = {"login": self._ask_email, "onetimepin": self._send_code, "verify-code": self._check_code}[prefix]
                return await step(request, hostname, ray)
        if path == "/cdn-cgi/access/logout":
            return page("denied", title="You are logged out", detail="Close this window or open an application again.", again="", ray=ray)
        if path == "/mailbox.json" and method in {"GET", "HEAD"}:
            return JSONResponse(self.mailbox.as_json(request.query_params.get("to", "")), headers=_NO_STORE)
        if path == "/mailbox" and method in {"GET", "HEAD"}:
            to = request.query_params.get("to", "")
            return page("mailbox", to=to, mails=self.mailbox.mails(to)[::-1])
        if path == "/":
            return RedirectResponse("/mailbox", status_code=302)
        return page("denied", status=404, title="Not found", detail="The team domain has no such page.", again="", ray=ray)

    def certs(self) -> Response:
        """The team's public keys."""
        headers = {"cache-control": "public, max-age=60", "access-control-allow-origin": "*"}
        return JSONResponse(self.vendor.signer.published(), headers=headers)

    def edge(self, request: Request, hostname: str, ray: str) -> Response | None:
        """Serve Access's own paths on a gated hostname, whatever paths its applications cover; None for any other."""
        path = request.url.path
        if not path.startswith("/cdn-cgi/access/"):
            return None
        apps = [app for app in self.state.apps if _covers_host(app, hostname)]
        if not apps:
            return None
        if path == "/cdn-cgi/access/authorized":
            return self._authorized(request, hostname, ray)
        if path == "/cdn-cgi/access/certs":
            return self.certs()
        token = request.headers.get("cf-access-token") or request.cookies.get(COOKIE, "")
        found = ((app, self.sessions.claims(app, token)) for app in apps)
        app, claims = next(((app, claims) for app, claims in found if claims), (apps[0], None))
        if path == "/cdn-cgi/access/logout":
            if claims:
                self.sessions.close(claims)
            detail = f"Your session at {hostname} is over."
            response: Response = page("denied", title="You are logged out", detail=detail, again="/", ray=ray)
            response.delete_cookie(COOKIE, path=self._cookie_path(app))
            return response
        if path == "/cdn-cgi/access/get-identity":
            identity = self.sessions.identity(claims) if claims else None
            if identity is None:
                return JSONResponse({"err": "no app token set"}, status_code=400, headers=_NO_STORE)
            return JSONResponse(identity, headers=_NO_STORE)
        return page("denied", status=404, title="Not found", detail="Access has no such page.", again="", ray=ray)

    def cookie_on(self, response: Response, app: Json, token: str) -> Response:
        """Give the session to the browser in the way the application wants it."""
        same_site = str(app.get("same_site_cookie_attribute") or "lax").lower()
        response.set_cookie(
            COOKIE,
            token,
            path=self._cookie_path(app),
            httponly=app.get("http_only_cookie_attribute") is not False,
            samesite="strict" if same_site == "strict" else "none" if same_site == "none" else "lax",
        )
        return response

    async def _ask_email(self, request: Request, hostname: str, ray: str) -> Response:
        app = self._app(hostname, request.query_params.get("kid", ""))
        if app is None:
            return _no_app(ray)
        wanted = safe_redirect(request.query_params.get("redirect_url", "/"))
        name = app.get("name") or hostname
        return page("login", app_name=name, hostname=hostname, kid=app["aud"], redirect_url=wanted, email="", problem="")

    async def _send_code(self, request: Request, hostname: str, ray: str) -> Response:
        form = await request.form()
        kid, email = str(form.get("kid", "")), str(form.get("email", "")).strip().lower()
        wanted = safe_redirect(str(form.get("redirect_url", "/")))
        app = self._app(hostname, kid)
        if app is None:
            return _no_app(ray)
        name = app.get("name") or hostname
        if not _EMAIL.match(email):
            problem = "Enter an address such as ana@example.com."
            return page("login", status=400, app_name=name, hostname=hostname, kid=kid, redirect_url=wanted, email=email, problem=problem)
        code = ""
        if self._judged(app, email, request).outcome == "allow":
            code = f"{secrets.randbelow(1_000_000):06d}"
            self.mailbox.send(email, f"Your code for {name}", code)
        login = secrets.token_urlsafe(24)
        while len(self._pending) >= _PENDING:
            self._pending.pop(next(iter(self._pending)))
        self._pending[login] = _Pending(app["id"], hostname, wanted, email, code, self.state.clock.timestamp() + CODE_LIFE_S)
        return self._code_page(app, login, self._pending[login])

    async def _check_code(self, request: Request, hostname: str, ray: str) -> Response:
        form = await request.form()
        login, code = str(form.get("login", "")), str(form.get("code", "")).strip()
        pending = self._pending.get(login)
        app = self.state.apps.get(pending.app_id) if pending else None
        if pending is None or app is None or pending.hostname != hostname:
            detail = "This login is over. Open the application again."
            return page("denied", status=400, title="Log in again", detail=detail, again="", ray=ray)
        if self.state.clock.timestamp() >= pending.until or pending.attempts >= ATTEMPTS:
            return self._code_page(app, login, pending, problem=_WRONG_CODE)
        pending.attempts += 1
        if not pending.code or not hmac.compare_digest(pending.code.encode(), code.encode()):
            return self._code_page(app, login, pending, problem=_WRONG_CODE)
        del self._pending[login]
        return self._finish(request, app, pending, ray)

    def _finish(self, request: Request, app: Json, pending: _Pending, ray: str) -> Response:
        verdict = self._judged(app, pending.email, request)  # the policies may have changed since the code was sent
        ip = request.client.host if request.client else ""
        again = self.login_url(app, pending.hostname, pending.redirect_url)
        user = self.vendor.people.seat_for(pending.email) if verdict.outcome == "allow" else None
        row = {
            "user_email": pending.email,
            "ip_address": ip,
            "app_uid": app["id"],
            "app_domain": pending.hostname,
            "app_name": app.get("name", ""),
            "action": "login",
            "connection": "onetimepin",
            "allowed": user is not None,
            "created_at": self.state.stamp(),
            "ray_id": ray.partition("-")[0],
            "country": COUNTRY,
            "user_id": user["id"] if user else "",
        }
        self.state.log_login(row)
        if user is None:
            self.vendor.people.failed(pending.email, row)
            if verdict.outcome == "allow":
                detail = "Your organization has no free seat left. Ask its administrator."
                return page("denied", status=403, title="No seat left", detail=detail, again="", ray=ray)
            detail = "That account does not have access."
            return page("denied", status=403, title="That account does not have access", detail=detail, again=again, ray=ray)
        token = self.sessions.open(app, user, verdict, ip=ip, ray=ray)
        nonce, now = secrets.token_urlsafe(24), self.state.clock.timestamp()
        self._grants = {key: grant for key, grant in self._grants.items() if grant.until > now}
        self._grants[nonce] = _Grant(app["id"], pending.hostname, pending.redirect_url, token, now + _NONCE_LIFE_S)
        port = self.sessions.issuer.rpartition(":")[2]
        target = f"http://{pending.hostname}:{port}/cdn-cgi/access/authorized?nonce={nonce}"
        return RedirectResponse(target, status_code=302, headers=_NO_STORE)

    def _authorized(self, request: Request, hostname: str, ray: str) -> Response:
        grant = self._grants.pop(request.query_params.get("nonce", ""), None)
        valid = grant is not None and grant.hostname == hostname and self.state.clock.timestamp() < grant.until
        app = self.state.apps.get(grant.app_id) if grant else None
        if grant is None or app is None or not valid or self.sessions.claims(app, grant.token) is None:
            detail = "This login was used already or took too long."
            return page("denied", status=400, title="Log in again", detail=detail, again="/", ray=ray)
        return self.cookie_on(RedirectResponse(grant.redirect_url, status_code=302, headers=_NO_STORE), app, grant.token)

    def _code_page(self, app: Json, login: str, pending: _Pending, *, problem: str = "") -> Response:
        return page(
            "code",
            status=400 if problem else 200,
            app_name=app.get("name") or pending.hostname,
            hostname=pending.hostname,
            email=pending.email,
            login=login,
            problem=problem,
            again=self.login_url(app, pending.hostname, pending.redirect_url),
        )

    def _judged(self, app: Json, email: str, request: Request) -> Verdict:
        ip = request.client.host if request.client else ""
        method = self.vendor.identity_providers.one_time_pin()
        return self.sessions.verdict(app, Caller(ip=ip, email=email, country=COUNTRY, login_method=method))

    def _app(self, hostname: str, kid: str) -> Json | None:
        """The application with this audience, if it has anything to do with this hostname."""
        for app in self.state.apps:
            if app["aud"] == kid and _covers_host(app, hostname):
                return app
        return None

    @staticmethod
    def _cookie_path(app: Json) -> str:
        if not app.get("path_cookie_attribute"):
            return "/"
        return "/" + str(app.get("domain", "")).partition("/")[2]


def _covers_host(app: Json, hostname: str) -> bool:
    uris = [str(item.get("uri", "")) for item in app.get("destinations") or [] if item.get("type", "public") == "public"]
    uris = uris or list(app.get("self_hosted_domains") or [])
    hosts = [{"type": "public", "uri": uri.partition("/")[0]} for uri in uris]
    return app_for([{**app, "destinations": hosts}], hostname, "/") is not None


def _no_app(ray: str) -> Response:
    detail = "The team has no such application."
    return page("denied", status=404, title="Unable to find your Access application", detail=detail, again="", ray=ray)
