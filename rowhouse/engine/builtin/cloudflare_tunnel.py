"""Tunnels and their configuration, without the published plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowhouse.engine.builtin.cloudflare_api import ApiError, Unclear
from rowhouse.engine.builtin.cloudflare_base import PAUSE_S, TRIES, Base, Props, found_or_none, located
from rowhouse.engine.builtin.cloudflare_shapes import config_from_wire, config_to_wire, from_wire, seen, to_wire
from rowhouse.wire.contract import CheckFailure, Found
from rowhouse.wire.values import UNKNOWN, Secret

if TYPE_CHECKING:
    from rowhouse.wire.contract import Context


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
        inputs, object_id = located(id, inputs, "accountId")
        answer = await found_or_none(self.api.get(self.path(inputs, object_id)))
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
        for attempt in range(TRIES):
            try:
                await self.api.delete(path)
            except ApiError as error:
                if error.code != 1022 or attempt == TRIES - 1:
                    raise
                await self.api.delete(f"{path}/connections")
                await ctx.sleep(PAUSE_S * 2**attempt)
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
        inputs, object_id = located(id, inputs, "accountId")
        inputs = {**inputs, "tunnelId": object_id}
        answer = await found_or_none(self.api.get(self.path(inputs)))
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
