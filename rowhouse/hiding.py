"""Taking secrets out of messages: plain, and in the forms in which vendors and libraries repeat what they were given.

Does not: find a secret that was cut in two, or encrypted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

__all__ = ["hidden"]

_SHORTEST = 6
"""Forms shorter than this would blot out ordinary words."""


def hidden(text: str, secrets: Iterable[str], mark: str = "[secret]") -> str:
    """The text with every form of every secret replaced by `mark`, the longest first."""
    wanted = {form for secret in secrets if secret for form in _forms(secret)}
    for form in sorted(wanted, key=len, reverse=True):
        text = text.replace(form, mark)
    return text


@lru_cache(maxsize=1024)
def _forms(secret: str) -> frozenset[str]:
    raw = secret.encode("utf-8", "surrogateescape")
    forms = {quote(raw), quote(raw, safe=""), quote_plus(raw), raw.hex(), raw.hex().upper(), json.dumps(secret)[1:-1]}
    forms |= {json.dumps(secret, ensure_ascii=False)[1:-1], " ".join(secret.split())}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode().rstrip("="))
        for before in (0, 1, 2):
            # In the middle of a longer text (`user:password`) the first and last characters carry neighbours' bits too.
            whole = encode(b"\0" * before + raw).decode().rstrip("=")
            forms.add(whole[(4 * before + 2) // 3 : -1])
    return frozenset({secret, *(form for form in forms if len(form) >= _SHORTEST)})
