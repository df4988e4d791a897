"""No credential where many read: in variables, metadata, names and terms of any resource.

Does not: look into `values` of rowhouse:fly:Secrets, the one place for them, which the plugin keeps secret as a whole.
A message never repeats a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.rules import kinds
from policies.rules.reading import texts
from rowhouse.spec.checks.secrets import looks_secret
from rowhouse.spec.policy import Facts, Resource, ResourceRule
from rowhouse.spec.slug import show

__all__ = ["RULES"]

_SAFE: Final = {kinds.FLY_SECRETS: "values"}
_HIDDEN: Final = "[secret]"


def _plain(resource: Resource, facts: Facts) -> Iterator[str]:
    del facts
    for name, value in resource.props.items():
        if _SAFE.get(resource.type) == name:
            continue
        for path, text in texts(value, name):
            what = "" if text == _HIDDEN else looks_secret(path.rpartition(".")[2], text)
            if what:
                yield f"{show(path)} looks like {what}, in plain text."


RULES: Final = (
    ResourceRule(
        id="secret.plain",
        level="mandatory",
        wants="No property holds what looks like a credential in plain text.",
        why="Inputs are in the state, in previews, in comments of pull requests and at the vendor, readable by many and kept for ever.",
        mend="Name it under `secrets:` as `env:NAME` or `file:PATH`; if it was ever pushed, replace it at its issuer.",
        types=frozenset(),
        check=_plain,
    ),
)
