"""`command:local:Command`, served without the published plugin.

Does: create, update and delete strings run by the shell, environment, stdin, working directory, triggers; stdout and stderr as outputs.
Does not: assets, archives, remote commands, logging options. Commands must be idempotent: after a crash they run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from typing import TYPE_CHECKING, Any, Final

from rowhouse.wire.contract import CheckFailure, Diff, Found, Kind, Refused
from rowhouse.wire.kit import Provider, serve
from rowhouse.wire.values import UNKNOWN, has_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowhouse.wire.contract import Context

Props = dict[str, Any]
VERSION: Final = "1.2.1"
_KNOWN: Final = frozenset(
    {"create", "update", "delete", "environment", "stdin", "dir", "interpreter", "triggers", "addPreviousOutputInEnv"}
)
_TAIL: Final = 2000
"""Characters of a failed command's output that its error shows."""


class Command:
    """A resource that is its commands."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)

    def schema(self) -> Props:
        """Nothing: the published package describes this type."""
        return {}

    async def check(self, _ctx: Context, _olds: Props, news: Props) -> tuple[Props, list[CheckFailure]]:
        """Only what is served."""
        extra = sorted(news.keys() - _KNOWN)
        return news, [CheckFailure(key, f"'{key}' is not served by the built-in provider") for key in extra]

    async def diff(self, _ctx: Context, _id: str, old_inputs: Props, _old_outputs: Props, news: Props) -> Diff:
        """Triggers replace; everything else is an update."""
        kinds: dict[str, Kind] = {}
        for key in sorted({*old_inputs, *news}):
            before, after = old_inputs.get(key), news.get(key)
            if has_unknown(after) or before != after:
                kind = Kind.ADD if key not in old_inputs else Kind.DELETE if key not in news else Kind.UPDATE
                kinds[key] = Kind(kind.value + (key == "triggers"))
        return Diff(kinds)

    async def create(self, ctx: Context, inputs: Props) -> tuple[str, Props]:
        """Run `create`."""
        if ctx.preview:
            return "", {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
        return f"command-{uuid.uuid4().hex[:12]}", await self._outputs(inputs, inputs.get("create"), {})

    async def read(self, _ctx: Context, id: str, inputs: Props, outputs: Props) -> Found | None:  # noqa: A002
        """There is nothing to look at."""
        return Found(id, inputs, outputs)

    async def update(self, ctx: Context, _id: str, _old_inputs: Props, old_outputs: Props, news: Props) -> Props:
        """Run `update`, or `create` again where there is none."""
        if ctx.preview:
            return {**news, "stdout": UNKNOWN, "stderr": UNKNOWN}
        return await self._outputs(news, news.get("update") or news.get("create"), old_outputs)

    async def delete(self, _ctx: Context, _id: str, inputs: Props, outputs: Props) -> None:
        """Run `delete`."""
        await self._outputs(inputs, inputs.get("delete"), outputs)

    async def _outputs(self, inputs: Props, command: str | None, before: Props) -> Props:
        if not command:
            return {**inputs, "stdout": before.get("stdout", ""), "stderr": before.get("stderr", "")}
        env = {**self._env, **{key: str(value) for key, value in (inputs.get("environment") or {}).items()}}
        if before and inputs.get("addPreviousOutputInEnv", True):
            env |= {"PULUMI_COMMAND_STDOUT": before.get("stdout", ""), "PULUMI_COMMAND_STDERR": before.get("stderr", "")}
        process = await asyncio.create_subprocess_exec(
            *(inputs.get("interpreter") or ["/bin/sh", "-c"]), command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=inputs.get("dir"),
            env=env,
            process_group=0,
        )  # fmt: skip
        try:
            out, err = await process.communicate(str(inputs.get("stdin") or "").encode())
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode:
            raise Refused(f"the command exited with {process.returncode}: {err.decode(errors='replace')[-_TAIL:].strip()}")
        return {**inputs, "stdout": out.decode(errors="replace").rstrip("\n"), "stderr": err.decode(errors="replace").rstrip("\n")}


def provider(env: Mapping[str, str]) -> Provider:
    """The provider of an environment."""
    return Provider("command", VERSION, {"command:local:Command": Command(env)})


if __name__ == "__main__":
    asyncio.run(serve(provider(os.environ), sys.argv[1:]))
