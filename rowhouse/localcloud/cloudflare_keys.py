"""Access's signing keys: RS256 tokens, published keys, rotation.

The team rotates its key every six weeks and the previous one stays valid for seven days (Cloudflare documentation, 2026).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

from rowhouse.localcloud.clock import Clock

__all__ = ["KEEP_PREVIOUS", "ROTATE_EVERY", "TokenSigner"]

Json = dict[str, Any]

ROTATE_EVERY = timedelta(days=42)
KEEP_PREVIOUS = timedelta(days=7)


@dataclass(frozen=True)
class _Key:
    kid: str
    private: rsa.RSAPrivateKey
    born: datetime
    certificate: str


class TokenSigner:
    """The team's keys. The first one is made when it is first needed: 2048 bits take a noticeable moment."""

    def __init__(self, clock: Clock) -> None:
        """Sign by the virtual clock."""
        self.clock = clock
        self._keys: list[_Key] = []  # newest first
        self._rotated_at: datetime = clock.now()

    def rotate(self) -> str:
        """Make a new key, keep the one before for seven days, and give the new key's id."""
        self._key()
        self._keys.insert(0, self._made())
        self._rotated_at = self.clock.now()
        return self._keys[0].kid

    def rotation(self) -> Json:
        """When the key was made and when the next one is due, as the API says it."""
        self._key()
        left = self._rotated_at + ROTATE_EVERY - self.clock.now()
        return {
            "key_rotation_interval_days": ROTATE_EVERY.days,
            "days_until_next_rotation": left.total_seconds() / 86400,
            "last_key_rotation_at": self._rotated_at.isoformat(),
        }

    def sign(self, claims: Json) -> str:
        """A token with these claims."""
        key = self._key()
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid})

    def verify(self, token: str, *, audience: str, issuer: str) -> Json | None:
        """The claims of a token that is ours, for this audience and in its time; None for any other."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in self._valid() if key.kid == kid), None)
            if key is None:
                return None
            options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "iat", "aud", "iss"]}
            claims = jwt.decode(token, key.private.public_key(), algorithms=["RS256"], audience=audience, issuer=issuer, options=options)
        except jwt.PyJWTError:
            return None
        now = self.clock.timestamp()
        return claims if claims["iat"] <= now + 1 and now < claims["exp"] else None

    def published(self) -> Json:
        """What `/cdn-cgi/access/certs` says: keys as JWK and certificates, the newest first."""
        valid = self._valid()
        keys = []
        for key in valid:
            jwk = RSAAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
            keys.append({"kid": key.kid, "kty": "RSA", "alg": "RS256", "use": "sig", "e": jwk["e"], "n": jwk["n"]})
        certificates = [{"kid": key.kid, "cert": key.certificate} for key in valid]
        return {"keys": keys, "public_cert": certificates[0], "public_certs": certificates}

    def _key(self) -> _Key:
        if not self._keys:
            self._keys.append(self._made())
        elif self.clock.now() >= self._rotated_at + ROTATE_EVERY:
            self._rotated_at = self.clock.now()
            self._keys.insert(0, self._made())
        return self._keys[0]

    def _valid(self) -> list[_Key]:
        newest = self._key()
        if len(self._keys) > 1 and self.clock.now() >= self._rotated_at + KEEP_PREVIOUS:
            self._keys = [newest]
        return self._keys[:2]

    def _made(self) -> _Key:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        now = self.clock.now().astimezone(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local access")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + ROTATE_EVERY + KEEP_PREVIOUS)
            .sign(private, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return _Key(hashlib.sha256(public).hexdigest(), private, now, pem)
