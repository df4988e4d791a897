"""Pulumi's passphrase secrets manager: a key from a passphrase and a salt, AES-256-GCM for each value.

Does: encrypt, decrypt, keep the ciphertext of an unchanged secret (so that state files do not change for nothing), find the passphrase.
Does not: cloud key services, refused by name. The key is derived in a thread and only when a first secret needs it: it takes about 0.3 s.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import secrets as randomness
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rowhouse.engine.errors import PassphraseError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROUNDS: Final = 1_000_000
_PROBE: Final = "pulumi"
"""The text whose ciphertext in the salt proves a passphrase."""


class SecretsManager:
    """Encrypts and decrypts with one passphrase and one salt."""

    def __init__(self, passphrase: str, salt: str | None = None) -> None:
        """Take `salt` as it stands in a state or stack file (`v1:<salt>:<probe ciphertext>`); None makes a new one when first needed."""
        self.passphrase = passphrase
        self._salt = salt
        self._cipher: AESGCM | None = None
        self._known: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    @property
    def salt(self) -> str:
        """The salt's text for a state file; derives the key when there is none yet."""
        self._ready()
        assert self._salt is not None
        return self._salt

    def prepare(self) -> None:
        """Derive the key in a thread, while something else starts."""
        threading.Thread(target=self._try_ready, name="secrets-key", daemon=True).start()

    def _try_ready(self) -> None:
        try:
            self._ready()
        except PassphraseError:
            return  # the first real use raises it again, where it can be reported

    def _ready(self) -> AESGCM:
        with self._lock:
            if self._cipher is not None:
                return self._cipher
            if self._salt is None:
                raw = os.urandom(8)
                cipher = AESGCM(_key(self.passphrase, raw))
                self._salt = f"v1:{base64.b64encode(raw).decode()}:{_seal(cipher, _PROBE)}"
            else:
                version, _, rest = self._salt.partition(":")
                raw_text, _, probe = rest.partition(":")
                if version != "v1" or not probe:
                    raise PassphraseError("the secrets salt of the state has an unknown form; expected v1:<salt>:<ciphertext>")
                cipher = AESGCM(_key(self.passphrase, base64.b64decode(raw_text)))
                if _open(cipher, probe) != _PROBE:
                    raise PassphraseError("incorrect passphrase")
            self._cipher = cipher
            return cipher

    def encrypt(self, text: str, scope: str) -> str:
        """The ciphertext of a text; the same text in the same `scope` (a resource) keeps the ciphertext it had."""
        known = self._known.get((scope, text))
        if known is None:
            known = self._known[scope, text] = _seal(self._ready(), text)
        return known

    def decrypt(self, ciphertext: str, scope: str) -> str:
        """The text of a ciphertext. Raises: PassphraseError."""
        text = _open(self._ready(), ciphertext)
        self._known.setdefault((scope, text), ciphertext)
        return text


@functools.lru_cache(maxsize=8)  # a process that runs several times on one stack derives its key once
def _key(passphrase: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, _ROUNDS, 32)


def _seal(cipher: AESGCM, text: str) -> str:
    nonce = os.urandom(12)
    sealed = cipher.encrypt(nonce, text.encode(), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"


def _open(cipher: AESGCM, ciphertext: str) -> str:
    parts = ciphertext.split(":")
    if len(parts) != 3 or parts[0] != "v1":
        raise PassphraseError("a secret of the state has an unknown form; expected v1:<nonce>:<ciphertext>")
    try:
        return cipher.decrypt(base64.b64decode(parts[1]), base64.b64decode(parts[2]), None).decode()
    except (InvalidTag, ValueError) as error:
        raise PassphraseError("incorrect passphrase: set PULUMI_CONFIG_PASSPHRASE to the one the state was made with") from error


def find_passphrase(folder: Path, env: Mapping[str, str]) -> str:
    """PULUMI_CONFIG_PASSPHRASE (which may be empty), PULUMI_CONFIG_PASSPHRASE_FILE, else a key kept in `folder`/passphrase (mode 0600)."""
    if "PULUMI_CONFIG_PASSPHRASE" in env:
        return env["PULUMI_CONFIG_PASSPHRASE"]
    named = env.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if named:
        try:
            return Path(named).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ProjectError(f"PULUMI_CONFIG_PASSPHRASE_FILE names {named}, which cannot be read: {error.strerror}") from error
    path = folder / "passphrase"
    with contextlib.suppress(FileNotFoundError):
        kept = path.read_text(encoding="utf-8").strip()
        if not kept:
            raise ProjectError(f"{path} is empty: the key of this project's secrets is lost. Restore it; deleting it makes a new one.")
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    # Written whole beside it, then linked: a kill leaves no half of a key, and of two first runs one wins for both.
    fresh = folder / f"passphrase.{os.getpid()}.{randomness.token_hex(4)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(randomness.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return path.read_text(encoding="utf-8").strip()
