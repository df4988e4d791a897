"""Small providers for the few published resource types that the components use, for where the published plugins are absent.

Does: call the same vendor APIs with the same requests, and adopt by name what an interrupted run made. Does not: replace the published
plugins where they are present, nor serve their other types. Each provider is also a plugin of its own:
`python -m rowhouse.engine.builtin.cloudflare`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowhouse.wire.kit import Provider

PACKAGES: Final = ("cloudflare", "command")


def provider_for(package: str, env: Mapping[str, str]) -> Provider | None:
    """The provider of a package; None when there is none here."""
    if package == "cloudflare":
        from rowhouse.engine.builtin import cloudflare

        return cloudflare.provider(env)
    if package == "command":
        from rowhouse.engine.builtin import command

        return command.provider(env)
    return None
