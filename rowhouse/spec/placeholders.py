"""Placeholders in variables: `{owner.name}`, `{owner.email}`, `{tenant.id}`, `{tenant.plan}`.

Only a brace directly around a dotted lower-case word is a placeholder, so JSON in a value needs no escapes; `{{owner.name}}` writes the
word itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rowhouse.spec.problem import did_you_mean

__all__ = ["PLACEHOLDERS", "filled", "why_not_filled"]

PLACEHOLDERS = ("owner.name", "owner.email", "tenant.id", "tenant.plan")
_WORD = re.compile(r"\{\{([a-z]+(?:[._][a-z]+)*)\}\}|\{([a-z]+(?:[._][a-z]+)*)\}", re.ASCII)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders replaced; one that has no value stays as it stands."""
    if "{" not in text:
        return text
    return _WORD.sub(lambda found: f"{{{found[1]}}}" if found[1] else values.get(found[2], found[0]), text)


def why_not_filled(text: str) -> str:
    """What is wrong with the placeholders of a text; the empty text when all of them exist."""
    for found in _WORD.finditer(text):
        word = found[2]
        if word is not None and word not in PLACEHOLDERS:
            return (
                f"there is no placeholder {{{word[:60]}}}. {did_you_mean(word, PLACEHOLDERS)}Placeholders: {', '.join(PLACEHOLDERS)}. "
                f"Correct it, or write {{{{{word[:60]}}}}} for the word itself."
            )
    return ""
