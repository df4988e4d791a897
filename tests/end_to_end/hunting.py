"""Looking for planted secrets: in any text, in any of the forms in which text travels."""

from __future__ import annotations

import base64
import functools
import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

__all__ = ["forms", "found", "found_below"]


@functools.cache
def forms(secret: str) -> frozenset[bytes]:
    """The secret plain, escaped for JSON, HTML and URLs, in hex, and in base64 at each of the three alignments."""
    raw = secret.encode()
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    texts |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # The characters at both ends mix with the neighbours' bits; what lies between is the secret's own.
            whole = encode(b"\0" * before + raw).decode().rstrip("=")
            texts.add(whole[(4 * before + 2) // 3 : len(whole) - 1])
    return frozenset(text.encode() for text in texts)


def found(secrets: Mapping[str, str], where: str, data: str | bytes) -> list[str]:
    """Which secrets are in there, as `name in where`."""
    data = data.encode() if isinstance(data, str) else data
    return [f"{name} in {where}" for name, secret in secrets.items() if any(form in data for form in forms(secret))]


def found_below(secrets: Mapping[str, str], folder: Path, leave_out: Iterable[Path] = ()) -> list[str]:
    """The same for every file and every name below a folder; links are not followed."""
    skipped = set(leave_out)
    hits: list[str] = []
    for path in sorted(folder.rglob("*")):
        hits += found(secrets, f"the name {path.name}", path.name)
        if path.is_file() and not path.is_symlink() and path not in skipped:
            hits += found(secrets, str(path.relative_to(folder)), path.read_bytes())
    return hits
