"""A stack's settings (`account:` in `stacks/Pulumi.<stack>.yaml`): which there are, and what each must look like.

Does: tell from plain values what no vendor could ever take, with what is allowed. Does not: ask a vendor whether a zone or an account is
there, and does not know the environment (accounts.py does).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from rowhouse.spec.fields import IMAGE_BY_DIGEST
from rowhouse.spec.hosts import why_not_region
from rowhouse.spec.problem import did_you_mean, listed, nearest
from rowhouse.spec.slug import show

__all__ = ["SETTINGS", "setting_problems", "why_not_store"]

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_WORD: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ZONE: Final = re.compile(r"localhost|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)
_PLACEHOLDER: Final = re.compile(r"<[^>]*>?|>|\.\.\.|…")
_STORES: Final = "It must look like `s3://bucket/prefix?endpoint=https://s3.example.com` or `file:///absolute/folder`."
_STORE_OPTIONS: Final = ("endpoint", "region")


def _matches(pattern: re.Pattern[str], wanted: str) -> Callable[[str], str]:
    return lambda text: "" if pattern.fullmatch(text) else f"{show(text)} does not fit. It must be {wanted}."


def _why_not_team(text: str) -> str:
    if _WORD.fullmatch(text):
        return ""
    first = text.removeprefix("https://").partition(".")[0]
    guess = f"Write {first!r}. " if text.endswith(".cloudflareaccess.com") and _WORD.fullmatch(first) else ""
    return f"{show(text)} does not fit. It must be the team's bare name: `acme` of acme.cloudflareaccess.com. {guess}".rstrip()


def why_not_store(url: str) -> str:
    """What is wrong with the address of an object store; the empty text when nothing is. The address itself is not repeated."""
    if found := _PLACEHOLDER.search(url):
        return f"{found[0]} in it stands for something of yours. {_STORES}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
        options = dict(parse_qsl(parts.query))
        endpoint = urlsplit(options.get("endpoint", "https://ok"))
    except ValueError:
        return f"it is no address. {_STORES}"
    if "@" in parts.netloc:
        return "it has credentials in it. Remove them; they are read from the environment."
    if parts.scheme == "file":
        return "" if parts.path else f"it is no address. {_STORES}"
    if parts.scheme != "s3" or not parts.netloc:
        return f"it is no address of a store. {_STORES}"
    if unknown := sorted(set(options) - set(_STORE_OPTIONS)):
        return f"unknown option {show(unknown[0])}. {did_you_mean(unknown[0], _STORE_OPTIONS)}Options: {', '.join(_STORE_OPTIONS)}."
    if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
        return "its endpoint is no address such as https://s3.example.com."
    return ""


SETTINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "zone": _matches(_ZONE, "a domain in lower case, such as `example.com`"),
    "cloudflareZoneId": _matches(_ID, "32 hexadecimal digits, as the zone's overview page shows it"),
    "cloudflareAccountId": _matches(_ID, "32 hexadecimal digits, as the zone's overview page shows it"),
    "accessTeam": _why_not_team,
    "flyOrg": _matches(_WORD, "the organisation's short name, such as `acme` (`fly orgs list`)"),
    "edgeImage": _matches(IMAGE_BY_DIGEST, "an image by its digest: `registry.fly.io/acme-edge/edge@sha256:<64 hexadecimal digits>`"),
    "edgeRegion": lambda text: why_not_region("fly", text),
    "store": why_not_store,
}
"""Each setting without its prefix, and what is wrong with a value; the empty text when nothing is."""

_OPTIONAL: Final = frozenset({"edgeRegion", "store"})


def setting_problems(file: str, settings: Mapping[str, object]) -> list[str]:
    """Every unknown, missing and ill-formed setting as one line each, in the order of the settings.

    Shapes: `file` names the stack's settings for messages; `settings` are its `account:` values without the prefix.
    """
    unknown = {key: nearest(key, list(SETTINGS)) for key in settings if key not in SETTINGS}
    problems = [
        f"{file}: unknown setting {show(f'account:{key}')}. {did_you_mean(key, list(SETTINGS))}Settings: {listed(SETTINGS)}. "
        "Rename or delete it."
        for key in unknown
    ]
    for key, why_not in SETTINGS.items():
        value = settings.get(key)
        if value is None:
            if key not in _OPTIONAL and key not in unknown.values():
                problems.append(f"{file}: account:{key} is missing. Set it (README.md, 'With real vendors').")
        elif why := _why_not(value, why_not):
            problems.append(f"{file}: account:{key}: {why} Correct it.")
    return problems


def _why_not(value: object, why_not: Callable[[str], str]) -> str:
    if isinstance(value, Mapping):
        return "it is encrypted, and commands read these settings. None of them is a secret: write it as plain text."
    if not isinstance(value, str):
        return f"{show(str(value))} is not text. Put your own there, in quotes."
    return why_not(value)
