"""A provider whose cloud is a folder, for tests and benchmarks of engines. Run as a plugin: `python memory_plugin.py ENGINE`.

Types: `memory:index:Thing` (properties: value, size, tags, secret: updated; key: replaces; slot: deletes before it replaces). Functions:
`memory:index:lookup`. Every call is a line in `calls.jsonl`. Faults are lines in `faults.json`: `{"create/NAME": "fail"}`; kinds: fail, partial,
hang, kill-before (the plugin dies before the effect), kill-after, invalid (check), gone. Creating adopts an earlier attempt of the same URN with the same inputs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rowhouse.wire.contract import CheckFailure, Diff, Found, InitFailed, Kind, Refused
from rowhouse.wire.kit import Provider, serve
from rowhouse.wire.values import UNKNOWN, Secret

KNOWN = {"value", "size", "tags", "secret", "key", "slot", "needs"}


class Cloud:
    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        (folder / "objects").mkdir(parents=True, exist_ok=True)
        self.memory: dict[str, dict[str, Any]] = {}
        self.count = 0

    def log(self, verb: str, name: str, **more: Any) -> None:
        if not self.quick:
            with (self.folder / "calls.jsonl").open("a") as file:
                file.write(json.dumps({"verb": verb, "name": name, **more}) + "\n")

    def fault(self, verb: str, name: str) -> str:
        if self.quick:
            return ""
        try:
            faults = json.loads((self.folder / "faults.json").read_text())
        except FileNotFoundError:
            return ""
        return str(faults.get(f"{verb}/{name}", ""))

    def put(self, key: str, document: dict[str, Any]) -> None:
        if self.quick:
            self.memory[key] = document
            return
        path = self.folder / "objects" / f"{key}.json"
        path.with_suffix(".tmp").write_text(json.dumps(document))
        path.with_suffix(".tmp").replace(path)

    def get(self, key: str) -> dict[str, Any] | None:
        if self.quick:
            return self.memory.get(key)
        try:
            found: dict[str, Any] = json.loads((self.folder / "objects" / f"{key}.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def drop(self, key: str) -> None:
        self.memory.pop(key, None)
        (self.folder / "objects" / f"{key}.json").unlink(missing_ok=True)

    def find(self, urn: str, inputs: dict[str, Any]) -> str | None:
        if self.quick:
            return None
        for path in sorted((self.folder / "objects").glob("*.json")):
            document = json.loads(path.read_text())
            if document["urn"] == urn and document["inputs"] == inputs:
                return path.stem
        return None

    def new_id(self, name: str) -> str:
        if self.quick:
            self.count += 1
            return f"{name}-{self.count}"
        number = 1
        while (self.folder / "ids" / f"{name}-{number}").exists():
            number += 1
        (self.folder / "ids").mkdir(exist_ok=True)
        (self.folder / "ids" / f"{name}-{number}").touch()
        return f"{name}-{number}"


class Thing:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def schema(self) -> dict[str, Any]:
        return {}

    async def check(self, ctx: Any, olds: dict[str, Any], news: dict[str, Any]) -> tuple[dict[str, Any], list[CheckFailure]]:
        failures = [CheckFailure(key, f"unknown property '{key}'") for key in sorted(news.keys() - KNOWN)]
        if self.cloud.fault("check", ctx.name) == "invalid":
            failures.append(CheckFailure("value", "not allowed here"))
        return {"size": 1, **news}, failures

    async def diff(self, ctx: Any, object_id: str, old_inputs: dict[str, Any], old_outputs: dict[str, Any], news: dict[str, Any]) -> Diff:
        paths: dict[str, Kind] = {}
        for key in {*old_inputs, *news}:
            before, after = old_inputs.get(key), news.get(key)
            if before is UNKNOWN or after is UNKNOWN or before != after:
                kind = Kind.ADD if key not in old_inputs else Kind.DELETE if key not in news else Kind.UPDATE
                paths[key] = Kind(kind.value + (key in {"key", "slot"}))
        return Diff(paths, delete_before_replace="slot" in paths)

    def outputs(self, name: str, object_id: str, inputs: dict[str, Any]) -> dict[str, Any]:
        return {**inputs, "thingId": object_id, "token": Secret(f"token-of-{name}")}

    async def create(self, ctx: Any, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if ctx.preview:
            return "", {**inputs, "thingId": UNKNOWN, "token": Secret(UNKNOWN)}
        self.cloud.log("create", ctx.name, inputs=inputs)
        fault = await self._fault("create", ctx)
        object_id = self.cloud.find(ctx.urn, inputs) or self.cloud.new_id(ctx.name)
        self.cloud.put(object_id, {"urn": ctx.urn, "inputs": inputs})
        await self._after(fault)
        if fault == "partial":
            raise InitFailed(object_id, self.outputs(ctx.name, object_id, inputs), ["it does not start"])
        return object_id, self.outputs(ctx.name, object_id, inputs)

    async def read(self, ctx: Any, object_id: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Found | None:
        self.cloud.log("read", ctx.name, id=object_id)
        document = self.cloud.get(object_id)
        if document is None:
            return None
        return Found(object_id, document["inputs"], self.outputs(ctx.name, object_id, document["inputs"]))

    async def update(
        self, ctx: Any, object_id: str, old_inputs: dict[str, Any], old_outputs: dict[str, Any], news: dict[str, Any]
    ) -> dict[str, Any]:
        if ctx.preview:
            return {**old_outputs, **news}
        self.cloud.log("update", ctx.name, inputs=news)
        fault = await self._fault("update", ctx)
        self.cloud.put(object_id, {"urn": ctx.urn, "inputs": news})
        await self._after(fault)
        if fault == "partial":
            raise InitFailed(object_id, self.outputs(ctx.name, object_id, news), ["it does not restart"])
        return self.outputs(ctx.name, object_id, news)

    async def delete(self, ctx: Any, object_id: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        self.cloud.log("delete", ctx.name, id=object_id)
        fault = await self._fault("delete", ctx)
        self.cloud.drop(object_id)
        await self._after(fault)

    async def _fault(self, verb: str, ctx: Any) -> str:
        fault = self.cloud.fault(verb, ctx.name)
        if fault == "fail":
            raise Refused(f"the cloud refuses to {verb} {ctx.name}")
        if fault == "hang":
            await ctx.sleep(3600)
        if fault == "kill-before":
            os.kill(os.getpid(), signal.SIGKILL)
        return fault

    async def _after(self, fault: str) -> None:
        if fault == "kill-after":
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder = Path(os.environ["MEMORY_CLOUD"])
    folder.mkdir(parents=True, exist_ok=True)
    cloud = Cloud(folder, quick=bool(os.environ.get("MEMORY_QUICK")))

    async def lookup(ctx: Any, args: dict[str, Any]) -> dict[str, Any]:
        cloud.log("lookup", str(args.get("name")))
        if args.get("name") == "missing":
            raise Refused("there is nothing of that name")
        return {"value": f"found {args.get('name')}"}

    async def run() -> None:
        provider = Provider("memory", "1.0.0", {"memory:index:Thing": Thing(cloud)}, functions={"memory:index:lookup": lookup})
        await serve(provider, sys.argv[1:])

    asyncio.run(run())


if __name__ == "__main__":
    main()
