"""A Fly app's secrets, given as references and kept at Fly alone.

Does: set what is new or changed, unset what was taken out, notice a changed referenced value. Does not: read a value back (Fly shows
none), nor touch a secret that somebody else set. State holds references and keyed hashes, both marked secret.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from rowhouse.provider.clients import Clients
from rowhouse.provider.fly_app import app_name
from rowhouse.provider.references import fingerprint, is_reference, matches, resolve
from rowhouse.vendors.http import VendorError
from rowhouse.wire.contract import Context, Diff, Found, Kind, Refused
from rowhouse.wire.fields import Computed, Declared, Field, Props
from rowhouse.wire.values import UNKNOWN, Secret, has_unknown

__all__ = ["Secrets"]

_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _values(values: Props) -> str | None:
    """What is wrong with a map of secrets; values are never repeated."""
    for name, value in values.items():
        if not _NAME.match(name):
            return f"'{name}' cannot be a secret's name: letters, digits and underscores, no digit first."
        if not isinstance(value, str) or not value:
            return f"the secret {name} must be a text that is not empty: env:NAME, file:PATH, or the secret itself."
    return None


class Secrets(Declared):
    """Secrets of a Fly app; machines read them when they start or are updated."""

    kind: ClassVar = "rowhouse:fly:Secrets"
    fields: ClassVar = {
        "app": Field("string", required=True, change="replace", source="the rowhouse:fly:App", rule=app_name),
        "values": Field("object", required=True, rule=_values),
    }
    computed: ClassVar = {
        "version": Computed("integer", stable=False),
        "digests": Computed("object", stable=False),
        "fingerprint": Computed("object", stable=False, secret=True),
    }

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def present(self, inputs: Props) -> Props:
        """Values are secret whole, whatever the engine thinks of them."""
        shown = dict(inputs)
        if "values" in shown and shown["values"] is not UNKNOWN:
            shown["values"] = Secret(shown["values"])
        return shown

    async def diff(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Diff:  # noqa: A002
        """As the table says, and a reference whose value changed; one that cannot be resolved here is taken as unchanged."""
        diff = await super().diff(ctx, id, old_inputs, old_outputs, news)
        paths = dict(diff.paths)
        prints = old_outputs.get("fingerprint")
        known: Props = prints if isinstance(prints, dict) else {}
        for name, value in _entries(news).items():
            unchanged = _entries(old_inputs).get(name) == value
            if unchanged and isinstance(value, str) and is_reference(value) and name in known:
                try:
                    now = resolve(name, value, self._clients.environment)
                except Refused:
                    continue  # an offline review has no secrets; applying refuses with what is missing
                self._clients.hide(now)
                if not matches(now, known[name]):
                    paths[f"values.{name}"] = Kind.UPDATE
        return Diff(paths, diff.delete_before_replace)

    async def make(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Set all; setting twice is the same as once."""
        del ctx
        app = inputs["app"]
        return app, await self._set(app, inputs, {})

    async def change(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Set all, and unset those that were ours and are no longer wanted."""
        del ctx, old_outputs
        return await self._set(id, news, old_inputs)

    async def _set(self, app: str, news: Props, olds: Props) -> Props:
        values = {name: resolve(name, value, self._clients.environment) for name, value in _entries(news).items()}
        for value in values.values():
            self._clients.hide(value)
        gone = dict.fromkeys(sorted(set(_entries(olds)) - set(values)))
        if not values and not gone:
            return {"version": 0, "digests": {}, "fingerprint": {}}
        answered = await self._clients.fly.set_secrets(app, {**values, **gone})
        digests = _digests(answered)
        return {
            "version": _version(answered),
            "digests": {name: digests[name] for name in values if name in digests},
            "fingerprint": {name: fingerprint(value) for name, value in values.items()},
        }

    async def read(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """By app. A value that somebody changed or removed at Fly is left out of the inputs, so that the next apply sets it again.

        On import nothing but names and digests can be told: Fly shows no value, so the first apply sets all.
        """
        del ctx
        listed = await self._clients.fly.list_secrets(id)
        if listed is None:
            return None
        there = _digests(listed)
        before = outputs.get("digests") or {}
        kept = {name: value for name, value in _entries(inputs).items() if name in there and there[name] == before.get(name, there[name])}
        prints = outputs.get("fingerprint") or {}
        ours = sorted(kept) if inputs else sorted(there)
        computed: dict[str, Any] = {
            "version": _version(listed) or outputs.get("version") or 0,
            "digests": {name: there[name] for name in ours},
            "fingerprint": {name: prints[name] for name in kept if name in prints},
        }
        seen = {"app": id, "values": kept}
        return Found(id, seen, self.outputs(seen, computed))

    async def delete(self, ctx: Context, id: str, inputs: Props, outputs: Props) -> None:  # noqa: A002
        """Unset ours; an app that is gone has taken them along."""
        del ctx
        names = sorted(_entries(inputs) or _entries(outputs))
        if not names:
            return
        try:
            await self._clients.fly.set_secrets(id, dict.fromkeys(names))
        except VendorError as error:
            if error.status not in {404, 410}:
                raise


def _entries(props: Props) -> Props:
    values = props.get("values")
    values = values.value if isinstance(values, Secret) else values
    return values if isinstance(values, dict) and not has_unknown(values) else {}


def _digests(answered: Props) -> dict[str, str]:
    return {item["name"]: str(item.get("digest") or "") for item in answered.get("secrets") or []}


def _version(answered: Props) -> int:
    found = answered.get("version", answered.get("Version"))
    return int(found) if found else 0
