"""DNS records, without the published plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rowhouse.engine.builtin.cloudflare_api import ApiError, Unclear
from rowhouse.engine.builtin.cloudflare_base import Base, Props, found_or_none, located
from rowhouse.engine.builtin.cloudflare_shapes import from_wire, to_wire
from rowhouse.wire.contract import CheckFailure, Found, Refused
from rowhouse.wire.values import has_unknown

if TYPE_CHECKING:
    from rowhouse.wire.contract import Context


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
        inputs, object_id = located(id, inputs, "zoneId")
        answer = await found_or_none(self.api.get(self.path(inputs, object_id)))
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
