"""Who is at the gate: sessions made, recognised and ended; requests judged by an application's policies."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from rowhouse.localcloud.cloudflare_directory import duration_s
from rowhouse.localcloud.cloudflare_reply import ApiError, Json
from rowhouse.localcloud.cloudflare_rules import Caller, Verdict, judge

if TYPE_CHECKING:
    from rowhouse.localcloud.cloudflare import CloudflareVendor

__all__ = ["COOKIE", "Entry", "Sessions"]

COOKIE = "CF_Authorization"
_SAME_TIME_S = 2
_TOLD = 1000  # translated tokens that are remembered
COUNTRY = "XX"  # Cloudflare's own mark for an address without a country


@dataclass(frozen=True)
class Entry:
    """How a request passed the gate: the token that the origin gets (none behind a bypass) and the person in it."""

    token: str = ""
    email: str = ""
    set_cookie: bool = False  # a service token's answer carries the session as a cookie


class Sessions:
    """Access's sessions. `issuer` is the team domain, known once the front door has its port."""

    def __init__(self, vendor: CloudflareVendor) -> None:
        """Judge by the vendor's state."""
        self.vendor, self.state = vendor, vendor.state
        self.issuer = ""
        self._told: dict[tuple[str, int], str] = {}

    def verdict(self, app: Json, caller: Caller) -> Verdict:
        """What the application's policies say about a caller."""
        groups = {group["id"]: group for group in self.state.groups}
        return judge(self.vendor.apps.view(app)["policies"], caller, groups)

    def enter(self, app: Json, ip: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Entry | None:
        """How this request passes, or None when it has to log in."""
        service = self.vendor.service_tokens.valid(headers.get("cf-access-client-id", ""), headers.get("cf-access-client-secret", ""))
        verdict = self.verdict(app, Caller(ip=ip, service_token_id=service["id"] if service else "", country=COUNTRY))
        if verdict.outcome == "bypass":
            return Entry()
        if verdict.outcome == "service":
            return Entry(self._service_token(app, verdict, service), set_cookie=True)
        token = headers.get("cf-access-token") or cookies.get(COOKIE, "")
        claims = self.claims(app, token)
        return Entry(token, str(claims.get("email", ""))) if claims else None

    def claims(self, app: Json, token: str) -> Json | None:
        """The claims of a session of this application that is not over."""
        if not token:
            return None
        claims = self.vendor.signer.verify(token, audience=app["aud"], issuer=self.issuer)
        if claims is None:
            return None
        names = (app["aud"], f"user:{claims.get('sub')}", str(claims.get("identity_nonce", "")))
        ended = max(self.state.revoked.get(name, 0.0) for name in names)
        issued = self._issued(claims)
        return claims if issued > ended else None

    def open(self, app: Json, user: Json, verdict: Verdict, *, ip: str, ray: str) -> str:
        """Begin a person's session and give its token."""
        nonce, now = secrets.token_urlsafe(12), self.state.clock.timestamp()
        claims = {
            **self._common(app, self._duration(app, verdict)),
            "email": user["email"],
            "sub": user["id"],
            "identity_nonce": nonce,
            "country": COUNTRY,
        }
        identity = {
            "id": user["id"],
            "name": user["name"],
            "email": user["email"],
            "user_uuid": user["id"],
            "account_id": self.state.account,
            "idp": {"id": self.vendor.identity_providers.one_time_pin(), "type": "onetimepin"},
            "geo": {"country": COUNTRY},
            "ip": ip,
            "iat": claims["iat"],
            "auth_status": "NONE",
            "common_name": "",
            "service_token_id": "",
            "service_token_status": False,
            "is_warp": False,
            "is_gateway": False,
            "device_id": "",
            "device_sessions": {},
            "devicePosture": {},
            "mtls_auth": {"cert_issuer_dn": "", "cert_serial": "", "cert_issuer_ski": "", "cert_presented": False, "auth_status": "NONE"},
            "version": 2,
        }
        about = {"hostname": app.get("domain", ""), "name": app.get("name", ""), "type": app["type"], "uid": app["id"], "ray_id": ray}
        session = {"aud": app["aud"], "app_uid": app["id"], "app": about, "identity": identity, "issued": now, "exp": claims["exp"]}
        self.vendor.people.logged_in(user, nonce, session)
        return self.vendor.signer.sign(claims)

    def for_origin(self, token: str) -> str:
        """The token for an origin that has this computer's clock: its times are told in that one's.

        Nothing else changes, and nothing at all while the virtual clock has not been moved.
        """
        shift = round(self.state.clock.timestamp() - time.time())
        if not token or abs(shift) < _SAME_TIME_S:
            return token
        known = self._told.get((token, shift))
        if known is None:
            claims = jwt.decode(token, options={"verify_signature": False})  # it was verified at the gate
            known = self.vendor.signer.sign({**claims, **{name: claims[name] - shift for name in ("exp", "iat", "nbf")}})
            while len(self._told) >= _TOLD:
                self._told.pop(next(iter(self._told)))
            self._told[token, shift] = known
        return known

    def close(self, claims: Json) -> None:
        """End one session."""
        self.state.revoked[str(claims.get("identity_nonce", ""))] = self.state.clock.timestamp()

    def identity(self, claims: Json) -> Json | None:
        """The identity behind a session."""
        session = self.state.sessions.get(str(claims.get("identity_nonce", "")))
        return dict(session["identity"]) if session else None

    def _issued(self, claims: Json) -> float:
        # Tokens count whole seconds; the session knows better, so that a login right after a revocation stays valid.
        session = self.state.sessions.get(str(claims.get("identity_nonce", "")))
        return float(session["issued"] if session else claims["iat"])

    def _service_token(self, app: Json, verdict: Verdict, service: Json | None) -> str:
        self.state.service_logins.append((self.state.clock.now(), app["id"]))
        common_name = service["client_id"] if service else ""
        return self.vendor.signer.sign({**self._common(app, self._duration(app, verdict)), "common_name": common_name, "sub": ""})

    def _common(self, app: Json, seconds: float) -> dict[str, Any]:
        now = int(self.state.clock.timestamp())
        return {"aud": [app["aud"]], "exp": now + int(seconds), "iat": now, "nbf": now, "iss": self.issuer, "type": "app"}

    @staticmethod
    def _duration(app: Json, verdict: Verdict) -> float:
        """The shorter of the application's and the policy's: a policy's default cannot be told from a wish."""
        found = []
        for text in (app.get("session_duration") or "24h", (verdict.policy or {}).get("session_duration")):
            if text == "no_expiry":
                found.append(365 * 86400.0)
            elif text:
                try:
                    found.append(duration_s(str(text)))
                except ApiError:
                    found.append(86400.0)
        return min(found)
