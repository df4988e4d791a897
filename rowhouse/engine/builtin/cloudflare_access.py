"""Access policies and applications, without the published plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rowhouse.engine.builtin.cloudflare_api import ApiError
from rowhouse.engine.builtin.cloudflare_base import PAUSE_S, TRIES, Base, Props, create_or_adopt, found_or_none, located
from rowhouse.engine.builtin.cloudflare_shapes import from_wire, to_wire
from rowhouse.wire.contract import CheckFailure, Found

if TYPE_CHECKING:
    from rowhouse.wire.contract import Context


class Policy(Base):
    """cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy, reusable."""

    required = ("accountId", "name", "decision")
    known = frozenset(
        {"accountId", "name", "decision", "includes", "excludes", "requires", "sessionDuration", "isolationRequired", "approvalRequired",
         "approvalGroups", "purposeJustificationPrompt", "purposeJustificationRequired"}
    )  # fmt: skip
    computed = ("appCount", "createdAt", "reusable", "updatedAt")
    defaults: ClassVar[Props] = {"sessionDuration": "24h"}

    def path(self, inputs: Props, object_id: str = "") -> str:
        return f"{self.account(inputs)}/access/policies" + (f"/{object_id}" if object_id else "")

    def body(self, inputs: Props) -> Props:
        wire: Props = to_wire({key: value for key, value in self.normal(inputs).items() if key != "accountId"})
        return wire

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """Empty lists that nobody asked for are left out."""
        made = super().outputs(inputs, answer)
        return {key: value for key, value in made.items() if value != [] or key in inputs}

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Make or adopt a policy of this name."""
        if ctx.preview:
            return "", self.foretell(inputs)
        path, body = self.path(inputs), self.body(inputs)
        answer = await create_or_adopt(self.kept, path, body, {"name": inputs["name"]})
        return answer["id"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `<account>/<policy>`."""
        inputs, object_id = located(id, inputs, "accountId")
        answer = await found_or_none(self.api.get(self.path(inputs, object_id)))
        if answer is None:
            return None
        there = {key: value for key, value in from_wire(answer).items() if value not in (None, [])}
        importing = inputs.keys() <= {"accountId"}
        keys = self.known & there.keys() if importing else inputs.keys() & there.keys()
        wanted = {key: there[key] for key in keys if key != "accountId"} | {"accountId": inputs["accountId"]}
        return Found(object_id, wanted, self.outputs(wanted, answer))

    async def update(self, ctx: Context, id: str, _olds: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """PUT replaces."""
        if ctx.preview:
            return {**old_outputs, **news}
        return self.outputs(news, await self.api.put(self.path(news, id), self.body(news)))

    async def delete(self, ctx: Context, id: str, inputs: Props, _outputs: Props) -> None:  # noqa: A002
        """Refused with 409 while an application uses it: that is about to end, so it is asked again for a few seconds."""
        for attempt in range(TRIES):
            try:
                await self.api.delete(self.path(inputs, id))
            except ApiError as error:
                if error.status != 409 or attempt == TRIES - 1:
                    raise
                await ctx.sleep(PAUSE_S * 2**attempt)
            else:
                return


class Application(Base):
    """cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication, self-hosted."""

    known = frozenset(
        {"accountId", "zoneId", "name", "domain", "type", "policies", "sessionDuration", "allowedIdps", "autoRedirectToIdentity",
         "sameSiteCookieAttribute", "httpOnlyCookieAttribute", "appLauncherVisible", "serviceAuth401Redirect", "optionsPreflightBypass",
         "corsHeaders", "destinations", "selfHostedDomains", "enableBindingCookie", "skipInterstitial", "customDenyMessage",
         "customDenyUrl",
         "pathCookieAttribute", "logoUrl", "tags"}
    )  # fmt: skip
    replacing = frozenset({"accountId", "zoneId"})
    computed = ("aud", "destinations", "selfHostedDomains")
    defaults: ClassVar[Props] = {"sessionDuration": "24h", "appLauncherVisible": True, "httpOnlyCookieAttribute": True, "policies": []}

    async def check(self, ctx: Context, olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """Exactly one of account and zone."""
        inputs, failures = await super().check(ctx, olds, news)
        if ("accountId" in inputs) == ("zoneId" in inputs):
            failures.append(CheckFailure("accountId", "give exactly one of accountId and zoneId"))
        return inputs, failures

    def account(self, inputs: Props) -> str:
        return f"zones/{inputs['zoneId']}" if inputs.get("zoneId") else f"accounts/{inputs['accountId']}"

    def path(self, inputs: Props, object_id: str = "") -> str:
        return f"{self.account(inputs)}/access/apps" + (f"/{object_id}" if object_id else "")

    def body(self, inputs: Props) -> Props:
        wire: Props = to_wire({key: value for key, value in self.normal(inputs).items() if key not in {"accountId", "zoneId"}})
        return wire

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """Policies stay as they were given: the answer has them expanded."""
        made = super().outputs(inputs, answer)
        made["policies"] = _policies(answer)
        made.pop("uid", None)
        return {key: value for key, value in made.items() if value != [] or key in inputs or key == "policies"}

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Make or adopt an application of this name and domain."""
        if ctx.preview:
            return "", self.foretell(inputs)
        path, body = self.path(inputs), self.body(inputs)
        wanted: Props = {key: body[key] for key in ("name", "domain") if key in body}
        answer = await create_or_adopt(self.kept, path, body, wanted)
        return answer["id"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `accounts/<account>/<application>` or `zones/<zone>/<application>`."""
        if "/" in id:
            where, owner, object_id = id.split("/", 2)
            inputs = {"zoneId" if where == "zones" else "accountId": owner, **inputs}
        else:
            object_id = id
        answer = await found_or_none(self.api.get(self.path(inputs, object_id)))
        if answer is None:
            return None
        there = {key: value for key, value in from_wire(answer).items() if value not in (None, [])}
        there["policies"] = _policies(answer)
        importing = inputs.keys() <= {"accountId", "zoneId"}
        keys = {"name", "domain", "type", "policies", "sessionDuration"} & there.keys() if importing else inputs.keys() & there.keys()
        owner_keys = {key: inputs[key] for key in ("accountId", "zoneId") if key in inputs}
        wanted = {key: there[key] for key in keys} | owner_keys
        return Found(object_id, wanted, self.outputs(wanted, answer))

    async def update(self, ctx: Context, id: str, _olds: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """PUT replaces; what Cloudflare derived is sent back while the domain stays."""
        if ctx.preview:
            return {**old_outputs, **news}
        body = self.body(news)
        if old_outputs.get("domain") == news.get("domain"):
            for key in ("destinations", "selfHostedDomains"):
                if key not in news and old_outputs.get(key):
                    body |= to_wire({key: old_outputs[key]})
        return self.outputs(news, await self.api.put(self.path(news, id), body))

    async def delete(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> None:  # noqa: A002
        """Gone already is a success."""
        await self.api.delete(self.path(inputs, id))


def _policies(answer: Props) -> list[Props]:
    return [{key: item[key] for key in ("id", "precedence") if item.get(key) is not None} for item in answer.get("policies") or []]
