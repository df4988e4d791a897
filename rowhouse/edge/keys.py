"""The team's published signing keys: fetched, cached, rotated, kept while the publisher is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from rowhouse.edge.roots import roots

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["KeySet"]

log = logging.getLogger("rowhouse.edge.keys")

REFETCH_MIN_S = 10.0  # unknown kids cost one fetch in this time, however many arrive
REFRESH_S = 3600.0
KEEP_S = 7 * 86400.0  # Access keeps a replaced key valid for 7 days (reference, 2026-10); older copies are worthless
MIN_KEY_BITS = 2048
MAX_ANSWER = 256 * 1024


class KeySet:
    """RSA keys by their id."""

    def __init__(
        self,
        url: str,
        cache: Path | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._file = cache / "certs.json" if cache else None
        self._clock = clock
        self._monotonic = monotonic
        # Not through the environment's proxy: that one leads to the instances' private network.
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False, follow_redirects=False, transport=transport, verify=roots())
        self._keys: dict[str, RSAPublicKey] = {}
        self._asked_at: float | None = None
        self._good_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, kid: str) -> RSAPublicKey | None:
        """The key of this id; an unknown id makes the keys be fetched again, but not more often than every ten seconds."""
        if self._good_at is not None and self._clock() - self._good_at > KEEP_S:
            self._keys = {}
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._asking is None and (self._asked_at is None or self._monotonic() - self._asked_at >= REFETCH_MIN_S):
            self._asking = asyncio.create_task(self.refresh())
            self._asking.add_done_callback(self._asked)
        if self._asking is not None:
            await asyncio.shield(self._asking)
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Fetch the keys once; on any failure the last good ones stay. Never raises."""
        self._asked_at = self._monotonic()
        try:
            answer = await self._client.get(self._url)
            answer.raise_for_status()
            if len(answer.content) > MAX_ANSWER:
                raise ValueError("answer too large")
            keys = _parse(answer.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as exc:
            log.warning("signing keys not fetched, last good ones kept: %s", type(exc).__name__)
            return
        if not keys:
            log.warning("published signing keys hold none that is usable, last good ones kept")
            return
        self._keys = keys
        self._good_at = self._clock()
        if self._file is not None:
            await asyncio.to_thread(self._save, {"at": self._good_at, "url": self._url, "jwks": answer.json()})

    async def follow(self, every_s: float = REFRESH_S) -> None:
        """Fetch for ever, so that a withdrawn key stops counting; soon again while there is none."""
        while True:
            await asyncio.sleep(every_s if self._keys else REFETCH_MIN_S)
            await self.refresh()

    def load_cache(self) -> bool:
        """Start from the last good keys of the same publisher; True when there were any."""
        if self._file is None:
            return False
        try:
            doc = json.loads(self._file.read_bytes())
            if doc["url"] != self._url or not 0 <= self._clock() - float(doc["at"]) < KEEP_S:
                return False
            self._keys = _parse(doc["jwks"])
            self._good_at = float(doc["at"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return bool(self._keys)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
        await self._client.aclose()

    def _asked(self, _task: asyncio.Task[None]) -> None:
        self._asking = None

    def _save(self, doc: dict[str, Any]) -> None:
        assert self._file is not None
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(doc))
            temporary.replace(self._file)
        except OSError as exc:
            log.warning("last good keys not written: %s", exc)


def _parse(doc: Any) -> dict[str, RSAPublicKey]:
    keys: dict[str, RSAPublicKey] = {}
    for jwk in doc["keys"]:
        kid = jwk.get("kid")
        is_signing = jwk.get("kty") == "RSA" and jwk.get("alg", "RS256") == "RS256" and jwk.get("use", "sig") == "sig"
        if not isinstance(kid, str) or not kid or not is_signing:
            continue
        try:
            key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]})
        except (InvalidKeyError, ValueError, KeyError, TypeError):
            continue
        if isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS:
            keys.setdefault(kid, key)
    return keys
