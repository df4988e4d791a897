"""What a resource is to the provider kit: its verbs, their context and their failures.

Transitions: check fills and judges inputs; diff compares; create makes or adopts; read finds by id alone or says gone; update is
repeatable; delete of nothing succeeds. Handlers speak plain Python (see `values`), never protocol messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rowhouse.wire.kit import Provider

__all__ = ["Cancelled", "CheckFailure", "Context", "Diff", "Found", "Function", "InitFailed", "Kind", "Refused", "Resource"]


class Refused(Exception):  # noqa: N818  # it is the answer to a request, read by a user
    """The request cannot be done, and the text says why and what to do; shown without traceback."""


class Cancelled(Exception):  # noqa: N818
    """The engine asked to stop while a handler was waiting."""


class InitFailed(Exception):  # noqa: N818
    """The object exists but is not as wanted; the engine keeps it and tries to update it next time."""

    def __init__(self, id: str, outputs: dict[str, Any], reasons: list[str], inputs: dict[str, Any] | None = None) -> None:  # noqa: A002
        super().__init__("; ".join(reasons))
        self.id = id
        self.outputs = outputs
        self.reasons = reasons
        self.inputs = inputs


class Kind(IntEnum):
    """How one property differs; the numbers are the protocol's."""

    ADD = 0
    ADD_REPLACE = 1
    DELETE = 2
    DELETE_REPLACE = 3
    UPDATE = 4
    UPDATE_REPLACE = 5

    @property
    def replaces(self) -> bool:
        """Whether the resource must be made anew for it."""
        return self.value % 2 == 1


@dataclass(frozen=True)
class CheckFailure:
    """One input that cannot be used, and why."""

    property: str
    reason: str


@dataclass(frozen=True)
class Diff:
    """How new inputs differ from the old: path (`env.PORT`, `services[0].ports`) to kind."""

    paths: dict[str, Kind] = field(default_factory=dict)
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Found:
    """What read found: enough that a diff against `inputs` shows drift and nothing else."""

    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Context:
    """One call: which resource it is about, and how to wait, log and keep what was made."""

    def __init__(self, provider: Provider, *, urn: str, name: str, type: str, preview: bool = False, timeout: float = 0.0) -> None:  # noqa: A002
        self.provider = provider
        self.urn = urn
        self.name = name
        self.type = type
        self.preview = preview
        self.timeout = timeout
        """Seconds the user allows for this call; 0 when not said."""
        self.cancelled = provider.cancelled
        self.kept: tuple[str, dict[str, Any], dict[str, Any] | None] | None = None

    def keep(self, id: str, outputs: dict[str, Any], inputs: dict[str, Any] | None = None) -> None:  # noqa: A002
        """Note that this object exists now: if the call fails later, the engine saves it instead of forgetting it.

        Args: inputs: those that are fulfilled already, where it is not all of the call's.
        """
        self.kept = (id, outputs, inputs)

    def patience(self, default_s: float) -> float:
        """Seconds to wait for readiness: the user's timeout less a margin to report, else `default_s`."""
        return max(1.0, self.timeout - 2.0) if self.timeout else default_s

    async def sleep(self, seconds: float) -> None:
        """Wait, but raise Cancelled as soon as the engine asks to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self.cancelled.wait()
        except TimeoutError:
            return
        raise Cancelled

    async def log(self, severity: str, message: str) -> None:
        """Tell the user (`debug`, `info`, `warning` or `error`)."""
        await self.provider.log(severity, message, self.urn)


Props = dict[str, Any]
Function = Callable[[Context, Props], Awaitable[Props]]


class Resource(Protocol):
    """One resource type. Maps are plain values; in preview they may hold UNKNOWN and create may answer an empty id."""

    def schema(self) -> dict[str, Any]:
        """Pulumi's schema of this type; empty when it says nothing of itself."""
        ...

    async def check(self, ctx: Context, olds: dict[str, Any], news: dict[str, Any]) -> tuple[dict[str, Any], list[CheckFailure]]:
        """Inputs with defaults, and every bad property. No network: it is on the engine's serial path."""
        ...

    async def diff(self, ctx: Context, id: str, old_inputs: dict[str, Any], old_outputs: dict[str, Any], news: dict[str, Any]) -> Diff:  # noqa: A002
        """What changed. No network."""
        ...

    async def create(self, ctx: Context, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make it, or adopt what an earlier attempt made. With `ctx.preview` foretell the outputs."""
        ...

    async def read(self, ctx: Context, id: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Found | None:  # noqa: A002
        """Find it by its id; inputs and outputs are empty on import. None when it is gone."""
        ...

    async def update(self, ctx: Context, id: str, old_inputs: Props, old_outputs: Props, news: Props) -> Props:  # noqa: A002
        """Make it as `news` says, whatever a broken earlier update left behind."""
        ...

    async def delete(self, ctx: Context, id: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:  # noqa: A002
        """Remove it; what is gone already is a success."""
        ...
