"""Names and shapes between Pulumi's Cloudflare package and Cloudflare's API.

Does: camelCase inputs to snake_case bodies and answers back to outputs, with the exceptions of both sides. Source: SDK 6.23.1 and recorded
requests of the published plugin (2026-11).
"""

from __future__ import annotations

import re
from typing import Any, Final

_TO_WIRE: Final = {
    "includes": "include",
    "excludes": "exclude",
    "requires": "require",
    "azureAd": "azureAD",
    "githubOrganization": "github-organization",
    "serviceAuth401Redirect": "service_auth_401_redirect",
}
_FROM_WIRE: Final = {wire: name for name, wire in _TO_WIRE.items()}
_CONFIG_TO_WIRE: Final = {"ingresses": "ingress", "audTags": "audTag", "noTlsVerify": "noTLSVerify", "matchSnItoHost": "matchSNItoHost"}
_CONFIG_FROM_WIRE: Final = {wire: name for name, wire in _CONFIG_TO_WIRE.items()}
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def wire_name(name: str) -> str:
    """`sessionDuration` as `session_duration`."""
    return _TO_WIRE.get(name) or _HUMP.sub("_", name).lower()


def sdk_name(name: str) -> str:
    """`session_duration` as `sessionDuration`."""
    known = _FROM_WIRE.get(name)
    if known:
        return known
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def to_wire(value: Any) -> Any:
    """Inputs as the body of a request."""
    if isinstance(value, dict):
        return {wire_name(key): to_wire(item) for key, item in value.items() if item is not None}
    return [to_wire(item) for item in value] if isinstance(value, list) else value


def from_wire(value: Any) -> Any:
    """An answer as outputs."""
    if isinstance(value, dict):
        return {sdk_name(key): from_wire(item) for key, item in value.items()}
    return [from_wire(item) for item in value] if isinstance(value, list) else value


def config_to_wire(value: Any) -> Any:
    """A tunnel's configuration as sent: camelCase there too, with a few names of its own."""
    if isinstance(value, dict):
        return {_CONFIG_TO_WIRE.get(key, key): config_to_wire(item) for key, item in value.items() if item is not None}
    return [config_to_wire(item) for item in value] if isinstance(value, list) else value


def config_from_wire(value: Any) -> Any:
    """The reverse of `config_to_wire`."""
    if isinstance(value, dict):
        return {_CONFIG_FROM_WIRE.get(key, key): config_from_wire(item) for key, item in value.items()}
    return [config_from_wire(item) for item in value] if isinstance(value, list) else value


def seen(wanted: Any, found: Any) -> Any:
    """What an input would be if it were read now: of `found`, the parts that `wanted` speaks about."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: seen(item, found[key]) for key, item in wanted.items() if key in found}
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(wanted, found, strict=False)
        return [seen(item, there) for item, there in pairs] + found[len(wanted) :]
    return found


def paths(old: Any, new: Any, prefix: str = "") -> dict[str, str]:
    """Where two inputs differ: path to add, delete or update."""
    differing: dict[str, str] = {}
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            path = f"{prefix}.{key}" if prefix else key
            if key not in old:
                differing[path] = "add"
            elif key not in new:
                differing[path] = "delete"
            else:
                differing |= paths(old[key], new[key], path)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            path = f"{prefix}[{index}]"
            if index >= len(old):
                differing[path] = "add"
            elif index >= len(new):
                differing[path] = "delete"
            else:
                differing |= paths(old[index], new[index], path)
    elif old is not new and (type(old) is not type(new) or old != new):
        differing[prefix] = "update"
    return differing
