"""A provider as the engine asks it: typed calls over the plugin protocol.

Does: encode and decode, timeouts, errors told apart (refused, half made, effect unknown), secret marks put back on what a provider without
secrets echoes. Does not: start processes (see `plugins`) or decide (see `planner`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from rowhouse.engine.errors import InitFailed, PluginError, ProviderError
from rowhouse.engine.properties import UNKNOWN_TEXT, Properties, bare, decode, encode, mark_like, redacted
from rowhouse.engine.urns import name_of, type_of
from rowhouse.wire.values import UNKNOWN

if TYPE_CHECKING:
    from rowhouse.engine.project import Project
    from rowhouse.engine.state import State

pb: Any = provider_pb2
"""The protocol's messages; the published stubs lack some of their fields."""

KINDS = ("add", "add-replace", "delete", "delete-replace", "update", "update-replace")
_UNCERTAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


@dataclass
class Diff:
    """How a resource differs from what the program wants."""

    changed: bool | None
    """None: the provider does not know; the engine compares inputs itself."""
    replaces: list[str] = field(default_factory=list)
    detailed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Path to `{"kind": ..., "inputDiff": ...}`, kinds as in `KINDS`."""
    keys: list[str] = field(default_factory=list)
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Read:
    """What a provider found under an id."""

    id: str
    inputs: Properties | None
    outputs: Properties
    init_errors: list[str] = field(default_factory=list)


class ProviderClient:
    """One provider process, or one server inside this process."""

    def __init__(self, package: str, channel: grpc.aio.Channel) -> None:
        self.package = package
        self.channel = channel
        self._stub: Any = provider_pb2_grpc.ResourceProviderStub(channel)
        self.secrets = False
        self.references = False
        self.previews = False

    # -- the provider itself --------------------------------------------------------------------------------------------------------

    async def handshake(self, engine: str, project: Project) -> None:
        """Introduce the engine. An older plugin does not know this call; Configure then says the same."""
        request = pb.ProviderHandshakeRequest(
            engine_address=engine,
            root_directory=str(project.root),
            program_directory=str(project.program_dir),
            configure_with_urn=True,
            supports_refresh_before_update=False,
            invoke_with_preview=True,
        )
        try:
            answer = await self._stub.Handshake(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise PluginError(f"the plugin {self.package} refused the handshake: {error.details()}") from error
        else:
            self.secrets, self.references = answer.accept_secrets, answer.accept_resources

    async def attach(self, engine: str) -> None:
        """Tell a provider that somebody else started where the engine is; one that does not know the call needs none."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._stub.Attach(plugin_pb2.PluginAttach(address=engine))

    async def check_config(self, urn: str, olds: Properties, news: Properties) -> Properties:
        """The provider's configuration, judged. Raises: ProviderError."""
        request = pb.CheckRequest(urn=urn, olds=self._config(olds), news=self._config(news), name=name_of(urn), type=type_of(urn))
        try:
            answer = await self._stub.CheckConfig(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return news
            raise _error(error, self.package) from error
        if answer.failures:
            raise ProviderError("; ".join(f"{item.property}: {item.reason}" if item.property else item.reason for item in answer.failures))
        checked = decode(answer.inputs)
        mark_like(checked, news)
        return checked

    async def diff_config(self, urn: str, old: State, news: Properties) -> Diff:
        """How a changed configuration matters. Raises: ProviderError."""
        request = pb.DiffRequest(
            urn=urn,
            id=old.id,
            olds=self._config(old.outputs),
            news=self._config(news),
            old_inputs=self._config(old.inputs),
            name=name_of(urn),
            type=type_of(urn),
        )
        try:
            return _diff(await self._stub.DiffConfig(request))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return Diff(None)
            raise _error(error, self.package) from error

    async def configure(self, urn: str, provider_id: str, inputs: Properties) -> None:
        """Give the provider its configuration; needed once before any resource. Raises: ProviderError with the keys that are missing."""
        given = {key: value for key, value in inputs.items() if not key.startswith("__")}
        request = pb.ConfigureRequest(
            variables={f"{self.package}:config:{key}": _text(value) for key, value in given.items()},
            args=encode(inputs, secrets=True),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
            id=provider_id or UNKNOWN_TEXT,
            urn=urn,
            name=name_of(urn),
            type=type_of(urn),
        )
        try:
            answer = await self._stub.Configure(request)
        except grpc.aio.AioRpcError as error:
            raise _configure_error(error, self.package) from error
        self.secrets = self.secrets or answer.acceptSecrets
        self.references = self.references or answer.acceptResources
        self.previews = answer.supportsPreview

    async def cancel(self, timeout_s: float) -> None:
        """Ask running calls to stop; silent when the process is gone already."""
        try:
            await self._stub.Cancel(Empty(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return  # it has ended already, or does not know the call: both are what we want

    # -- resources --------------------------------------------------------------------------------------------------------------------

    async def check(
        self, urn: str, kind: str, name: str, olds: Properties, news: Properties, seed: bytes
    ) -> tuple[Properties, list[tuple[str, str]]]:
        """The inputs with defaults, and what is wrong with them as (property, reason). Raises: ProviderError."""
        request = pb.CheckRequest(urn=urn, olds=self._out(olds), news=self._out(news), randomSeed=seed, name=name, type=kind)
        answer = await self._ask(self._stub.Check, request)
        inputs = decode(answer.inputs)
        if not self.secrets:
            mark_like(inputs, news)
        return inputs, [(failure.property, failure.reason) for failure in answer.failures]

    async def diff(self, state: State, news: Properties, ignore: list[str]) -> Diff:
        """How `news` differ from a resource. Raises: ProviderError."""
        request = pb.DiffRequest(
            id=state.id,
            urn=state.urn,
            olds=self._out(state.outputs),
            news=self._out(news),
            ignoreChanges=ignore,
            old_inputs=self._out(state.inputs),
            name=name_of(state.urn),
            type=state.type,
        )
        return _diff(await self._ask(self._stub.Diff, request))

    async def create(self, state: State, *, preview: bool) -> tuple[str, Properties]:
        """Make a resource. Raises: InitFailed when it is half made, ProviderError."""
        if preview and not self.previews:
            return "", dict(state.inputs)
        request = pb.CreateRequest(
            urn=state.urn,
            properties=self._out(state.inputs),
            timeout=state.custom_timeouts.get("create", 0),
            preview=preview,
            name=name_of(state.urn),
            type=state.type,
        )
        answer = await self._ask(self._stub.Create, request, marks=state.inputs)
        if not answer.id and not preview:
            raise ProviderError(f"the plugin {self.package} created {state.urn} without an id")
        return answer.id, self._in(answer.properties, state.inputs)

    async def update(self, old: State, new: State, *, preview: bool) -> Properties:
        """Change a resource in place. Raises: InitFailed, ProviderError."""
        if preview and not self.previews:
            return {**old.outputs, **new.inputs}
        request = pb.UpdateRequest(
            id=old.id,
            urn=new.urn,
            olds=self._out(old.outputs),
            news=self._out(new.inputs),
            timeout=new.custom_timeouts.get("update", 0),
            ignoreChanges=new.ignore_changes,
            preview=preview,
            old_inputs=self._out(old.inputs),
            name=name_of(new.urn),
            type=new.type,
        )
        answer = await self._ask(self._stub.Update, request, marks=new.inputs)
        return self._in(answer.properties, new.inputs)

    async def read(self, state: State, object_id: str, inputs: Properties, outputs: Properties) -> Read | None:
        """Look at a resource; None when it is gone. Raises: ProviderError."""
        request = pb.ReadRequest(
            id=object_id,
            urn=state.urn,
            properties=self._out(outputs),
            inputs=self._out(inputs),
            name=name_of(state.urn),
            type=state.type,
            timeout=state.custom_timeouts.get("read", 0),
        )
        try:
            answer = await self._ask(self._stub.Read, request, marks={**outputs, **inputs})
        except InitFailed as failed:
            return Read(failed.object_id, failed.inputs, failed.outputs, failed.reasons)
        if not answer.id:
            return None
        found = self._in(answer.inputs, inputs) if answer.HasField("inputs") else None
        return Read(answer.id, found, self._in(answer.properties, outputs))

    async def delete(self, state: State) -> None:
        """Remove a resource. Raises: ProviderError."""
        request = pb.DeleteRequest(
            id=state.id,
            urn=state.urn,
            properties=self._out(state.outputs),
            timeout=state.custom_timeouts.get("delete", 0),
            old_inputs=self._out(state.inputs),
            name=name_of(state.urn),
            type=state.type,
        )
        await self._ask(self._stub.Delete, request)

    async def invoke(self, token: str, args: Properties, *, preview: bool) -> tuple[Properties, list[tuple[str, str]]]:
        """Call a function; its answer and what is wrong with the arguments. Raises: ProviderError."""
        answer = await self._ask(self._stub.Invoke, pb.InvokeRequest(tok=token, args=self._out(args), preview=preview))
        return decode(getattr(answer, "return")), [(failure.property, failure.reason) for failure in answer.failures]

    # -- inside -------------------------------------------------------------------------------------------------------------------------

    async def _ask(self, method: Any, request: Any, marks: Properties | None = None) -> Any:
        try:
            return await method(request)
        except grpc.aio.AioRpcError as error:
            failed = _error(error, self.package)
            if isinstance(failed, InitFailed) and marks is not None and not self.secrets:
                mark_like(failed.outputs, marks)
            raise failed from error

    def _out(self, properties: Properties) -> Any:
        return encode(properties, secrets=self.secrets, references=self.references)

    def _config(self, properties: Properties) -> Any:
        return encode(properties, secrets=True)

    def _in(self, struct: Any, marks: Properties) -> Properties:
        outputs = decode(struct)
        if not self.secrets:
            mark_like(outputs, marks)
        return outputs


def _text(value: Any) -> str:
    value = bare(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return UNKNOWN_TEXT if value is UNKNOWN else str(redacted(value))


def _diff(answer: Any) -> Diff:
    detailed = {path: {"kind": KINDS[item.kind], "inputDiff": item.inputDiff} for path, item in answer.detailedDiff.items()}
    replaces = list(answer.replaces)
    for path, item in detailed.items():
        top = path.split(".", 1)[0].split("[", 1)[0]
        if item["kind"].endswith("-replace") and top not in replaces:
            replaces.append(top)
    changed = {pb.DiffResponse.DIFF_NONE: False, pb.DiffResponse.DIFF_SOME: True}.get(answer.changes)
    return Diff(changed, replaces, detailed, list(answer.diffs), answer.deleteBeforeReplace)


def _error(error: grpc.aio.AioRpcError, package: str) -> ProviderError:
    text = error.details() or str(error.code())
    for item in _details(error):
        if item.Is(pb.ErrorResourceInitFailed.DESCRIPTOR):
            detail = pb.ErrorResourceInitFailed()
            item.Unpack(detail)
            inputs = decode(detail.inputs) if detail.HasField("inputs") else None
            return InitFailed(text, detail.id, decode(detail.properties), inputs, list(detail.reasons))
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        text = f"the plugin {package} does not answer ({text}); what it was doing is repeated at the next run"
    return ProviderError(text, uncertain=error.code() in _UNCERTAIN)


def _configure_error(error: grpc.aio.AioRpcError, package: str) -> ProviderError:
    missing: list[str] = []
    for item in _details(error):
        if item.Is(pb.ConfigureErrorMissingKeys.DESCRIPTOR):
            detail = pb.ConfigureErrorMissingKeys()
            item.Unpack(detail)
            missing += [f"{package}:{key.name} ({key.description})" for key in detail.missingKeys]
    if missing:
        return ProviderError(f"the provider {package} lacks configuration: {', '.join(missing)}")
    return ProviderError(f"the provider {package} could not be configured: {error.details()}")


def _details(error: grpc.aio.AioRpcError) -> list[Any]:
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == "grpc-status-details-bin":
            status = status_pb2.Status()
            status.ParseFromString(value if isinstance(value, bytes) else value.encode())
            return list(status.details)
    return []
