"""Form bodies with nested names (`items[0][price]`) to dicts and lists, as Stripe reads them.

Every leaf stays a string: what type it has is the schema's business.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from rowhouse.localcloud.stripe_errors import invalid

__all__ = ["decode", "param_name"]

_HEAD = re.compile(r"^([^\[\]]+)((?:\[.*\])?)$", re.DOTALL)
_MOST_FIELDS = 10_000
_DEEPEST = 12


def decode(raw: str) -> dict[str, Any]:
    """Nested parameters of a query string or form body.

    A level whose keys are all numbers, or `[]`, becomes a list in the order of the numbers.
    Raises: StripeError (400) for a malformed name or one that is both a value and an object.
    """
    tree: dict[str, Any] = {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_MOST_FIELDS, encoding="utf-8", errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise invalid("Invalid request: the body is not a valid form-encoded string.") from error
    for name, value in pairs:
        _place(tree, _split(name), value, name)
    return {key: _lists(value) for key, value in tree.items()}


def param_name(path: tuple[str, ...]) -> str:
    """A parameter as Stripe names it in errors: `items[0][price]`."""
    return path[0] + "".join(f"[{part}]" for part in path[1:])


def _split(name: str) -> list[str]:
    match = _HEAD.match(name)
    if match is None:
        raise invalid(f"Invalid parameter name: {name}", name)
    head, rest = match.groups()
    parts = [head]
    if rest:
        # `metadata[a[b]]` names the key `a[b]`, which metadata then refuses: only `][` separates levels.
        parts += rest[1:-1].split("][")
    if len(parts) > _DEEPEST:
        raise invalid(f"Invalid parameter name: {name}", name)
    return parts


def _place(tree: dict[str, Any], parts: list[str], value: str, name: str) -> None:
    here = tree
    for part in parts[:-1]:
        key = part or str(len(here))
        below = here.setdefault(key, {})
        if not isinstance(below, dict):
            raise invalid(f"Invalid object: {name}", name)
        here = below
    last = parts[-1] or str(len(here))
    if isinstance(here.get(last), dict):
        raise invalid(f"Invalid object: {name}", name)
    here[last] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    below = {key: _lists(item) for key, item in value.items()}
    if below and all(key.isdecimal() for key in below):
        return [below[key] for key in sorted(below, key=int)]
    return below
