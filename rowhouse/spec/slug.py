"""Ids that become names at vendors: their alphabet, and why a given text is not one.

Does: say yes or no, and explain a no in words a person can act on. Does not: repair ids silently, because a slug is in URNs,
hostnames, volumes and invoices for ever.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["SLUG_PATTERN", "is_slug", "lookalike_skeleton", "show", "why_not_slug"]

# One dash between letters or digits at most: `a--b` and `a-b` would be told apart by us and confused by people, and `xn--`
# is a hostname prefix with a meaning of its own.
SLUG_PATTERN = r"^(?=.{1,39}$)[a-z][a-z0-9]*(-[a-z0-9]+)*$"
_SLUG = re.compile(SLUG_PATTERN, re.ASCII)

# Windows opens a device instead of a file of these names, and a repository is cloned there too.
_DEVICE_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))})

_SHOWN_CHARS = 60


def is_slug(text: str) -> bool:
    """Whether the text may be an id: lower-case ASCII letters, digits and single dashes, a letter first, 39 characters at most."""
    return _SLUG.fullmatch(text) is not None and text not in _DEVICE_NAMES


def why_not_slug(text: str) -> str:
    """The first reason for which a text is no slug, as a clause; the empty text when it is one."""
    if is_slug(text):
        return ""
    if not text:
        return "it is empty"
    for char in text:
        if ord(char) > 126 or ord(char) < 32:
            name = unicodedata.name(char, "a control character")
            return f"it holds U+{ord(char):04X} ({name.lower()}), which is not an ASCII letter, however it looks"
    if len(text) > 39:
        return f"it has {len(text)} characters, the most is 39"
    if text in _DEVICE_NAMES:
        return "Windows opens a device, not a file, of that name"
    if text != text.lower():
        return "it has upper-case letters, which hostnames do not tell apart"
    if "--" in text or text.endswith("-"):
        return "it has a double or a trailing dash"
    if not text[0].isalpha():
        return "it does not start with a letter"
    wrong = next((char for char in text if not (char.isalnum() or char == "-")), "")
    return f"it holds {wrong!r}"


def lookalike_skeleton(slug: str) -> str:
    """What a slug looks like to a hurried reader: `0` as `o`, `1` and `i` as `l`, `rn` as `m`, `vv` as `w`."""
    return slug.replace("rn", "m").replace("vv", "w").translate(str.maketrans("01i", "oll"))


def show(value: object) -> str:
    """A value as it may stand in a message: quoted, on one line, without control, bidirectional or odd letters, and short."""
    text = value if isinstance(value, str) else str(value)
    clipped = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
    return ascii(clipped)
