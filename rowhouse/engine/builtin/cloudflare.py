"""The Cloudflare types that the components use, served without the published plugin.

Does: tunnel, its configuration and token, Access policy and application, DNS record, with the requests that the published plugin 6.17 was
seen to send, and, unlike it, adoption: a create first looks for an object of its name (tunnel, policy, application: in a list read once a
run; DNS record: when Cloudflare says the name is taken). Does not: any other type. Token and base address come from the environment.
Served to any engine: `python -m rowhouse.engine.builtin.cloudflare`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rowhouse.engine.builtin.cloudflare_api import Api, ApiError, Unclear
from rowhouse.engine.builtin.cloudflare_shapes import config_from_wire, config_to_wire, from_wire, paths, seen, to_wire
from rowhouse.wire.contract import CheckFailure, Diff, Found, Kind, Refused
from rowhouse.wire.kit import Provider, serve
from rowhouse.wire.values import UNKNOWN, Secret, has_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowhouse.wire.contract import Context, Resource

Props = dict[str, Any]
VERSION: Final = "6.23.1"
"""The version of the SDK whose properties these are."""
_KINDS: Final = {"add": Kind.ADD, "delete": Kind.DELETE, "update": Kind.UPDATE}
_ATTACHED_TRIES: Final = 6
_PAUSE_S: Final = 0.3


class Kept:
    """What one provider process knows of the account: lists read once a run, and which of their objects are taken."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._lists: dict[str, asyncio.Task[list[Props]]] = {}
        self._taken: set[str] = set()

    async def adopt(self, path: str, wanted: Props, *, fresh: bool = False, **query: str) -> Props | None:
        """An object of a list that has these values and that nobody in this run has taken; `fresh` reads the list again."""
        if fresh or path not in self._lists:
            self._lists[path] = asyncio.ensure_future(self.api.list(path, **query))
        try:
            items = await asyncio.shield(self._lists[path])
        except ApiError:
            self._lists.pop(path, None)
            raise
        for item in items:
            if (
                item["id"] not in self._taken
                and not item.get("deleted_at")
                and all(item.get(key) == value for key, value in wanted.items())
            ):
                self.take(item["id"])
                return item
        return None

    def take(self, object_id: str) -> None:
        """Note that an object belongs to a resource of this run."""
        self._taken.add(object_id)


class Base:
    """What the types have in common."""

    required: ClassVar[tuple[str, ...]] = ()
    known: ClassVar[frozenset[str]] = frozenset()
    replacing: ClassVar[frozenset[str]] = frozenset({"accountId"})
    computed: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Props] = {}

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.api = kept.api

    def schema(self) -> Props:
        """Nothing: the published package describes these types."""
        return {}

    async def check(self, _ctx: Context, _olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """Missing and unknown properties."""
        failures = [CheckFailure(key, f"missing required property '{key}'") for key in self.required if key not in news]
        extra = sorted(news.keys() - self.known - set(self.required))
        failures += [
            CheckFailure(key, f"'{key}' is not served by the built-in provider; known: {', '.join(sorted(self.known))}") for key in extra
        ]
        return news, failures

    async def diff(self, _ctx: Context, _id: str, old_inputs: Props, _old_outputs: Props, news: Props) -> Diff:
        """What changed, compared as sent."""
        found = paths(self.normal(old_inputs), self.normal(news))
        kinds = {}
        for path, kind in found.items():
            top = path.split(".", 1)[0].split("[", 1)[0]
            kinds[path] = Kind(_KINDS[kind].value + (top in self.replacing))
        return Diff(kinds)

    def normal(self, inputs: Props) -> Props:
        """Inputs with defaults, so that saying a default is no change."""
        return {**self.defaults, **{key: value for key, value in inputs.items() if value is not None}}

    def foretell(self, inputs: Props) -> Props:
        """Outputs as far as a preview knows them."""
        return {**self.normal(inputs), **{key: UNKNOWN for key in self.computed if key not in inputs}}

    def account(self, inputs: Props) -> str:
        """The path below which the object lives."""
        return f"accounts/{inputs['accountId']}"

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """The answer in the SDK's names, with what only the inputs say."""
        mapped = {key: value for key, value in from_wire(answer).items() if key != "id"}
        for key in ("meta", "metadata"):  # the published SDK types both as text that holds JSON
            if isinstance(mapped.get(key), dict):
                mapped[key] = json.dumps(answer[key], sort_keys=True, separators=(",", ":"))
        return {**self.normal(inputs), **{key: value for key, value in mapped.items() if value is not None}}


class Tunnel(Base):
    """cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared."""

    required = ("accountId", "name")
    known = frozenset({"accountId", "name", "configSrc", "tunnelSecret"})
    replacing = frozenset({"accountId", "configSrc"})
    computed = (
        "accountTag",
        "connections",
        "connsActiveAt",
        "connsInactiveAt",
        "createdAt",
        "deletedAt",
        "metadata",
        "remoteConfig",
        "status",
        "tunType",
    )

    def path(self, inputs: Props, object_id: str = "") -> str:
        return f"{self.account(inputs)}/cfd_tunnel" + (f"/{object_id}" if object_id else "")

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Make or adopt a tunnel of this name."""
        if ctx.preview:
            return "", self.foretell(inputs)
        path, body = self.path(inputs), to_wire({key: value for key, value in inputs.items() if key != "accountId"})
        answer = await self.kept.adopt(path, {"name": inputs["name"]}, is_deleted="false")
        if answer is None:
            try:
                answer = await self.api.post(path, body)
            except ApiError as error:
                if not isinstance(error, Unclear) and error.code != 1013:
                    raise
                answer = await self.kept.adopt(path, {"name": inputs["name"]}, fresh=True, is_deleted="false")
                if answer is None:
                    raise
        self.kept.take(answer["id"])
        return answer["id"], self.outputs(inputs, answer)

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """The secret of a tunnel is never kept in the clear."""
        made = super().outputs(inputs, {key: value for key, value in answer.items() if key not in {"token", "credentials_file"}})
        if "tunnelSecret" in made:
            made["tunnelSecret"] = Secret(made["tunnelSecret"])
        return made

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `<account>/<tunnel>`. A deleted tunnel stays listed with a date."""
        inputs, object_id = _located(id, inputs, "accountId")
        answer = await _found(self.api.get(self.path(inputs, object_id)))
        if answer is None or answer.get("deleted_at"):
            return None
        there = from_wire(answer)
        wanted = {
            **inputs,
            **{key: there[key] for key in ("name", "configSrc") if there.get(key) is not None and (key in inputs or len(inputs) == 1)},
        }
        return Found(object_id, wanted, self.outputs(wanted, answer))

    async def update(self, ctx: Context, id: str, old_inputs: Props, _old: Props, news: Props) -> Props:  # noqa: A002
        """Only what changed is sent."""
        if ctx.preview:
            return {**_old, **news}
        body = {key: value for key, value in news.items() if key != "accountId" and old_inputs.get(key) != value}
        answer = await self.api.patch(self.path(news, id), to_wire(body or {"name": news["name"]}))
        return self.outputs(news, answer)

    async def delete(self, ctx: Context, id: str, inputs: Props, _outputs: Props) -> None:  # noqa: A002
        """Connections that linger are cut first."""
        path = self.path(inputs, id)
        for attempt in range(_ATTACHED_TRIES):
            try:
                await self.api.delete(path)
            except ApiError as error:
                if error.code != 1022 or attempt == _ATTACHED_TRIES - 1:
                    raise
                await self.api.delete(f"{path}/connections")
                await ctx.sleep(_PAUSE_S * 2**attempt)
            else:
                return


class TunnelConfig(Base):
    """cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig; its id is the tunnel's, deleting asks nothing."""

    required = ("accountId", "tunnelId")
    known = frozenset({"accountId", "tunnelId", "config", "source"})
    replacing = frozenset({"accountId", "tunnelId"})
    computed = ("version", "createdAt")

    async def check(self, ctx: Context, olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """The last rule must catch what no other does."""
        inputs, failures = await super().check(ctx, olds, news)
        rules = (inputs.get("config") or {}).get("ingresses") if isinstance(inputs.get("config"), dict) else None
        if isinstance(rules, list) and rules and isinstance(rules[-1], dict) and rules[-1].get("hostname"):
            failures.append(CheckFailure("config", "the last ingress rule must have no hostname, such as {service: http_status:404}"))
        return inputs, failures

    def path(self, inputs: Props) -> str:
        return f"{self.account(inputs)}/cfd_tunnel/{inputs['tunnelId']}/configurations"

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """Version and time, and the configuration as it was wanted."""
        return {
            **inputs,
            "version": answer.get("version", 0),
            "createdAt": answer.get("created_at", ""),
            "source": answer.get("source", "cloudflare"),
        }

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """PUT replaces, so making it again is harmless."""
        if ctx.preview:
            return "", self.foretell(inputs)
        answer = await self.api.put(self.path(inputs), {"config": config_to_wire(inputs.get("config") or {})})
        return inputs["tunnelId"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `<account>/<tunnel>`."""
        inputs, object_id = _located(id, inputs, "accountId")
        inputs = {**inputs, "tunnelId": object_id}
        answer = await _found(self.api.get(self.path(inputs)))
        if answer is None:
            return None
        there = config_from_wire(answer.get("config") or {})
        wanted = {**inputs, "config": seen(inputs.get("config", there), there)}
        return Found(object_id, wanted, self.outputs(wanted, answer))

    async def update(self, ctx: Context, _id: str, _olds: Props, old_outputs: Props, news: Props) -> Props:
        """PUT replaces."""
        if ctx.preview:
            return {**old_outputs, **news, "version": UNKNOWN}
        return (await self.create(ctx, news))[1]

    async def delete(self, _ctx: Context, _id: str, _inputs: Props, _outputs: Props) -> None:
        """The configuration goes with its tunnel."""


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
        answer = await _create_or_adopt(self.kept, path, body, {"name": inputs["name"]})
        return answer["id"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `<account>/<policy>`."""
        inputs, object_id = _located(id, inputs, "accountId")
        answer = await _found(self.api.get(self.path(inputs, object_id)))
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
        for attempt in range(_ATTACHED_TRIES):
            try:
                await self.api.delete(self.path(inputs, id))
            except ApiError as error:
                if error.status != 409 or attempt == _ATTACHED_TRIES - 1:
                    raise
                await ctx.sleep(_PAUSE_S * 2**attempt)
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
        answer = await _create_or_adopt(self.kept, path, body, wanted)
        return answer["id"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `accounts/<account>/<application>` or `zones/<zone>/<application>`."""
        if "/" in id:
            where, owner, object_id = id.split("/", 2)
            inputs = {"zoneId" if where == "zones" else "accountId": owner, **inputs}
        else:
            object_id = id
        answer = await _found(self.api.get(self.path(inputs, object_id)))
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


class DnsRecord(Base):
    """cloudflare:index/dnsRecord:DnsRecord."""

    required = ("zoneId", "name", "type", "ttl")
    known = frozenset({"zoneId", "name", "type", "ttl", "content", "data", "priority", "proxied", "comment", "settings", "tags"})
    replacing = frozenset({"zoneId", "type"})
    computed = ("createdOn", "modifiedOn", "proxiable", "meta", "commentModifiedOn", "tagsModifiedOn", "settings", "tags")
    defaults: ClassVar[Props] = {"proxied": False}

    async def check(self, ctx: Context, olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """What Cloudflare would refuse only when applying."""
        inputs, failures = await super().check(ctx, olds, news)
        if inputs.get("proxied") is True and not has_unknown(inputs.get("ttl")) and inputs.get("ttl", 1) != 1:
            failures.append(CheckFailure("ttl", "a proxied record has ttl 1 (automatic)"))
        name = inputs.get("name")
        if isinstance(name, str) and (name.endswith(".") or name == "@"):
            failures.append(CheckFailure("name", "give the whole name without a trailing dot"))
        return inputs, failures

    def path(self, inputs: Props, object_id: str = "") -> str:
        return f"zones/{inputs['zoneId']}/dns_records" + (f"/{object_id}" if object_id else "")

    def body(self, inputs: Props) -> Props:
        wire: Props = to_wire({key: value for key, value in self.normal(inputs).items() if key != "zoneId"})
        return wire

    def outputs(self, inputs: Props, answer: Props) -> Props:
        """Settings always with all three switches, as the published plugin keeps them."""
        made = super().outputs(inputs, answer)
        made["settings"] = {"flattenCname": False, "ipv4Only": False, "ipv6Only": False, **(made.get("settings") or {})}
        return made

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Make it; if the name is taken by a record that is as wanted, that is ours from an earlier attempt."""
        if ctx.preview:
            return "", self.foretell(inputs)
        path, body = self.path(inputs), self.body(inputs)
        try:
            answer = await self.api.post(path, body)
        except ApiError as error:
            if not isinstance(error, Unclear) and error.code not in {81053, 81054, 81057, 81058}:
                raise
            there = await self.api.list(path, name=inputs["name"])
            ours = [item for item in there if all(item.get(key) == body.get(key) for key in ("name", "type", "content"))]
            if not ours and not isinstance(error, Unclear):
                kinds = ", ".join(sorted({f"{item.get('type')} {item.get('content')}" for item in there})) or "a record"
                raise Refused(
                    f"{inputs['name']} has a DNS record already that is not of this stack ({kinds}); remove it, or choose another name"
                ) from error
            answer = await self.api.put(self.path(inputs, ours[0]["id"]), body) if ours else await self.api.post(path, body)
        return answer["id"], self.outputs(inputs, answer)

    async def read(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> Found | None:  # noqa: A002
        """Import id: `<zone>/<record>`."""
        inputs, object_id = _located(id, inputs, "zoneId")
        answer = await _found(self.api.get(self.path(inputs, object_id)))
        if answer is None:
            return None
        there = {key: value for key, value in from_wire(answer).items() if value not in (None, [], {})}
        importing = inputs.keys() <= {"zoneId"}
        keys = (
            {"name", "type", "ttl", "content", "proxied", "comment", "priority"} & there.keys()
            if importing
            else inputs.keys() & there.keys()
        )
        wanted = {key: there[key] for key in keys} | {"zoneId": inputs["zoneId"]}
        return Found(object_id, wanted, self.outputs(wanted, answer))

    async def update(self, ctx: Context, id: str, _olds: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """PUT replaces; settings and tags are sent back as they are."""
        if ctx.preview:
            return {**old_outputs, **news}
        kept = {key: old_outputs[key] for key in ("settings", "tags") if key not in news and key in old_outputs}
        return self.outputs(news, await self.api.put(self.path(news, id), self.body(news) | to_wire(kept)))

    async def delete(self, _ctx: Context, id: str, inputs: Props, _outputs: Props) -> None:  # noqa: A002
        """Gone already is a success."""
        await self.api.delete(self.path(inputs, id))


def _policies(answer: Props) -> list[Props]:
    return [{key: item[key] for key in ("id", "precedence") if item.get(key) is not None} for item in answer.get("policies") or []]


def _located(object_id: str, inputs: Props, owner: str) -> tuple[Props, str]:
    """Inputs and bare id; an import id carries its owner before a slash. Raises: Refused."""
    if "/" in object_id:
        owner_id, _, object_id = object_id.partition("/")
        return {owner: owner_id, **inputs}, object_id
    if owner not in inputs:
        raise Refused(f"'{object_id}' is not enough to import; write <{owner}>/<id>")
    return inputs, object_id


async def _found(asked: Any) -> Props | None:
    try:
        answer: Props = await asked
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return answer


async def _create_or_adopt(kept: Kept, path: str, body: Props, wanted: Props) -> Props:
    """Adopt an object with these values, brought to the wanted body; else make one."""
    answer = await kept.adopt(path, wanted)
    if answer is None:
        try:
            answer = await kept.api.post(path, body)
        except Unclear:
            answer = await kept.adopt(path, wanted, fresh=True)
            if answer is None:
                answer = await kept.api.post(path, body)
    elif any(seen(value, answer.get(key)) != value for key, value in body.items()):
        answer = await kept.api.put(f"{path}/{answer['id']}", body)
    kept.take(answer["id"])
    return answer


class CloudflareProvider(Provider):
    """The provider; configured by the environment, or by an explicit provider resource."""

    def __init__(self, api: Api) -> None:
        self.api = api
        kept = Kept(api)
        resources: dict[str, Resource] = {
            "cloudflare:index/zeroTrustTunnelCloudflared:ZeroTrustTunnelCloudflared": Tunnel(kept),
            "cloudflare:index/zeroTrustTunnelCloudflaredConfig:ZeroTrustTunnelCloudflaredConfig": TunnelConfig(kept),
            "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy": Policy(kept),
            "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication": Application(kept),
            "cloudflare:index/dnsRecord:DnsRecord": DnsRecord(kept),
        }
        functions = {"cloudflare:index/getZeroTrustTunnelCloudflaredToken:getZeroTrustTunnelCloudflaredToken": self.tunnel_token}
        super().__init__("cloudflare", VERSION, resources, functions=functions, clean_errors=(ApiError,))

    async def configured(self, args: Props) -> None:
        """An explicit provider's token and address win over the environment's."""
        self.api.configure(str(args.get("apiToken") or ""), str(args.get("baseUrl") or ""))

    def redact(self, text: str) -> str:
        """The token never appears in a message."""
        return text.replace(self.api.token, "[token]") if self.api.token else text

    async def close(self) -> None:
        """Let go of connections."""
        await self.api.close()
        await super().close()

    async def tunnel_token(self, _ctx: Context, args: Props) -> Props:
        """The token a connector runs with."""
        token = await self.api.get(f"accounts/{args['accountId']}/cfd_tunnel/{args['tunnelId']}/token")
        return {"accountId": args["accountId"], "tunnelId": args["tunnelId"], "token": token}


def provider(env: Mapping[str, str]) -> CloudflareProvider:
    """The provider of an environment."""
    return CloudflareProvider(Api(env))


if __name__ == "__main__":
    asyncio.run(serve(provider(os.environ), sys.argv[1:]))
