"""A Pulumi provider in Python: a table of resources behind the plugin protocol.

Does: dispatch by type token, error mapping, partial creation, cancellation, a bound on concurrent work. `rowhouse.wire.serving`
makes a process of it. Does not: components, transforms, plugin parameters, and nothing of any vendor.
Why not the SDK's own provider classes: they cannot send unknowns, keep no partial creation and report changed configuration
as none (2026-11).
"""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from rowhouse.wire.contract import Cancelled, Context, Function, InitFailed, Refused, Resource
from rowhouse.wire.serving import serve, start
from rowhouse.wire.values import GRPC_OPTIONS, decode, encode, has_unknown, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

__all__ = ["Provider", "serve", "start"]

pb: Any = provider_pb2
"""The protocol's messages; their published types know neither enum numbers nor the field named `return`."""
_SEVERITIES: Final[dict[str, Any]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_GRACE_S: Final = 0.3
"""After Cancel a handler has this long to stop by itself, and again this long to clean up; both together stay below the second promised."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """One package's resources, served to an engine.

    Handshake and Configure answer false for secrets, resources and outputs: inputs arrive as plain values, and the engine marks
    outputs named like a secret input by itself. A secret output of another name is returned as `Secret`.
    """

    def __init__(
        self,
        name: str,
        version: str,
        resources: Mapping[str, Resource],
        *,
        functions: Mapping[str, Function] | None = None,
        clean_errors: tuple[type[Exception], ...] = (),
        limit: int = 64,
    ) -> None:
        """Serve `resources` (and `functions` for invokes) by type token.

        Args: clean_errors: exceptions whose text is already a clear sentence for the user; they are shown without traceback.
            limit: calls that may work at the same time; the others wait their turn.
        """
        self.name = name
        self.version = version
        self.resources = dict(resources)
        self.functions = dict(functions or {})
        self.clean_errors: tuple[type[Exception], ...] = (Refused, *clean_errors)
        self.cancelled = asyncio.Event()
        self.engine_address = ""
        self._turn = asyncio.Semaphore(limit)
        self._channel: grpc.aio.Channel | None = None
        self._engine: Any = None

    # -- what a package may adapt ------------------------------------------------------------------

    def redact(self, text: str) -> str:
        """The text without anything that must not be shown; every error and log line passes here."""
        return text

    def schema(self) -> dict[str, Any]:
        """Pulumi's package schema, as far as the resources describe themselves."""
        resources = {token: described for token, resource in self.resources.items() if (described := resource.schema())}
        return {"name": self.name, "version": self.version, "resources": resources}

    async def configured(self, args: dict[str, Any]) -> None:
        """Called once with the provider's configuration; may raise Refused."""

    async def close(self) -> None:
        """Let go of connections; the process is about to end."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    # -- log ---------------------------------------------------------------------------------------

    async def log(self, severity: str, message: str, urn: str = "") -> None:
        """Show a message to the user through the engine; a plugin's own output is hidden. Never fails."""
        if not self.engine_address:
            return
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.engine_address, options=GRPC_OPTIONS)
            self._engine = engine_pb2_grpc.EngineStub(self._channel)
        request = engine_pb2.LogRequest(severity=_SEVERITIES[severity], message=self.redact(message), urn=urn)
        try:
            await self._engine.Log(request, timeout=2)
        except grpc.RpcError:
            return  # a lost message must not fail the work that it speaks about

    # -- the package itself ------------------------------------------------------------------------

    async def Handshake(self, request: Any, _context: Any) -> Any:  # noqa: N802
        if request.engine_address:
            self.engine_address = request.engine_address
        return pb.ProviderHandshakeResponse(accept_secrets=False, accept_resources=False, accept_outputs=False)

    async def Attach(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self.engine_address = request.address
        return Empty()

    async def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version=self.version)

    async def GetSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return pb.GetSchemaResponse(schema=json.dumps(self.schema(), sort_keys=True))

    async def CheckConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return pb.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        # Never a replacement: replacing a provider replaces every resource it owns.
        same = decode(request.old_inputs) == decode(request.news)
        return pb.DiffResponse(changes=pb.DiffResponse.DIFF_NONE if same else pb.DiffResponse.DIFF_SOME)

    async def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            await self.configured(decode(request.args))
        except self.clean_errors as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.redact(str(error)))
        return pb.ConfigureResponse(acceptSecrets=False, supportsPreview=True, acceptResources=False, acceptOutputs=False)

    async def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        self.cancelled.set()
        return Empty()

    async def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        function = self.functions.get(request.tok)
        if function is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the package {self.name} has no function {request.tok}")
        ctx = Context(self, urn="", name=request.tok, type=request.tok, preview=getattr(request, "preview", False))

        async def call() -> Any:
            assert function is not None
            return pb.InvokeResponse(**{"return": encode(await function(ctx, _plain(request.args)))})

        return await self._answer(context, ctx, call())

    async def _absent(self, request: Any, context: Any) -> Any:  # noqa: ARG002  # the generated base names its arguments
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the package {self.name} does not do this")

    # Said plainly, because the generated base raises an exception that ends up as a traceback in the engine's log.
    Parameterize = Construct = Call = GetMapping = GetMappings = _absent

    # -- resources ---------------------------------------------------------------------------------

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            inputs, failures = await resource.check(ctx, _plain(request.olds), _plain(request.news))
            # A refused input may itself be the secret, so reasons pass through the same sieve as errors.
            refused = [pb.CheckFailure(property=f.property, reason=self.redact(f.reason)) for f in failures]
            return pb.CheckResponse(inputs=encode(inputs), failures=refused)

        return await self._answer(context, ctx, call())

    async def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            diff = await resource.diff(ctx, request.id, _plain(request.old_inputs), _plain(request.olds), _plain(request.news))
            ignored = set(request.ignoreChanges)
            paths = {path: kind for path, kind in diff.paths.items() if path not in ignored and _top(path) not in ignored}
            return pb.DiffResponse(
                changes=pb.DiffResponse.DIFF_SOME if paths else pb.DiffResponse.DIFF_NONE,
                diffs=sorted({_top(path) for path in paths}),
                replaces=sorted({_top(path) for path, kind in paths.items() if kind.replaces}),
                deleteBeforeReplace=diff.delete_before_replace,
                hasDetailedDiff=True,
                detailedDiff={path: pb.PropertyDiff(kind=kind.value, inputDiff=True) for path, kind in paths.items()},
            )

        return await self._answer(context, ctx, call())

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            inputs = _plain(request.properties)
            _refuse_unknown(ctx, inputs)
            new_id, outputs = await resource.create(ctx, inputs)
            return pb.CreateResponse(id=new_id, properties=encode(outputs))

        return await self._answer(context, ctx, call(), works=not ctx.preview)

    async def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            found = await resource.read(ctx, request.id, _plain(request.inputs), _plain(request.properties))
            if found is None:
                return pb.ReadResponse()  # an empty id says: gone
            return pb.ReadResponse(id=found.id, inputs=encode(found.inputs), properties=encode(found.outputs))

        return await self._answer(context, ctx, call(), works=True)

    async def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            news = _plain(request.news)
            _refuse_unknown(ctx, news)
            outputs = await resource.update(ctx, request.id, _plain(request.old_inputs), _plain(request.olds), news)
            return pb.UpdateResponse(properties=encode(outputs))

        return await self._answer(context, ctx, call(), works=not ctx.preview)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        resource, ctx = await self._of(request, context)

        async def call() -> Any:
            await resource.delete(ctx, request.id, _plain(request.old_inputs), _plain(request.properties))
            return Empty()

        return await self._answer(context, ctx, call(), works=True)

    # -- how a call is run -------------------------------------------------------------------------

    async def _of(self, request: Any, context: Any) -> tuple[Resource, Context]:
        token = request.type or _type_of(request.urn)
        resource = self.resources.get(token)
        if resource is None:
            known = ", ".join(sorted(self.resources))
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the package {self.name} has no resource {token}. It has: {known}")
            raise AssertionError
        ctx = Context(
            self,
            urn=request.urn,
            name=request.name or request.urn.rsplit("::", 1)[-1],
            type=token,
            preview=bool(getattr(request, "preview", False)),
            timeout=float(getattr(request, "timeout", 0.0)),
        )
        return resource, ctx

    async def _answer(self, context: Any, ctx: Context, call: Coroutine[Any, Any, Any], *, works: bool = False) -> Any:
        """The call's response, or its failure in the words of the protocol.

        What a handler noted with `ctx.keep` is saved by the engine whatever happens after it: a half-made object is never lost.
        """
        try:
            return await (self._work(ctx, call) if works else call)
        except InitFailed as failed:
            await _abort_partial(context, self.redact, failed)
        except asyncio.CancelledError:
            if asyncio.current_task() is not None and not self.cancelled.is_set():
                raise  # the engine hung up: nobody reads an answer
            await self._fail(context, ctx, grpc.StatusCode.CANCELLED, "cancelled")
        except Cancelled:
            await self._fail(context, ctx, grpc.StatusCode.CANCELLED, "cancelled")
        except TimeoutError as error:
            await self._fail(context, ctx, grpc.StatusCode.DEADLINE_EXCEEDED, str(error) or f"not done within {ctx.timeout:g} s")
        except self.clean_errors as error:
            await self._fail(context, ctx, grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except Exception as error:  # noqa: BLE001  # the process serves many resources: one broken handler must not end it
            frames = "".join(traceback.format_tb(error.__traceback__)[-3:])
            await self._fail(context, ctx, grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}\n{frames}")

    async def _work(self, ctx: Context, call: Coroutine[Any, Any, Any]) -> Any:
        if self.cancelled.is_set():
            call.close()
            raise Cancelled
        async with self._turn:
            task = asyncio.ensure_future(_within(ctx.timeout, call))
            stop = asyncio.ensure_future(self.cancelled.wait())
            try:
                await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    await asyncio.wait({task}, timeout=_GRACE_S)
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task}, timeout=_GRACE_S)
                if not task.done():
                    raise Cancelled
                return task.result()
            finally:
                stop.cancel()
                if not task.done():
                    task.cancel()

    async def _fail(self, context: Any, ctx: Context, code: grpc.StatusCode, text: str) -> None:
        if ctx.kept is not None and not ctx.preview:
            kept_id, outputs, inputs = ctx.kept
            await _abort_partial(context, self.redact, InitFailed(kept_id, outputs, [text], inputs))
        await context.abort(code, self.redact(text))


async def _within(timeout_s: float, call: Awaitable[Any]) -> Any:
    async with asyncio.timeout(timeout_s or None):
        return await call


async def _abort_partial(context: Any, redact: Any, failed: InitFailed) -> None:
    reasons = [redact(reason) for reason in failed.reasons]
    text = "; ".join(reasons)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text)
    detail = pb.ErrorResourceInitFailed(
        id=failed.id,
        properties=encode(failed.outputs),
        reasons=reasons,
        inputs=encode(failed.inputs) if failed.inputs is not None else None,
    )
    status.details.add().Pack(detail)
    await context.abort(grpc.StatusCode.UNKNOWN, text, (("grpc-status-details-bin", status.SerializeToString()),))


def _plain(struct: Any) -> dict[str, Any]:
    # An engine that wraps secrets although we accept none (an older one, a test) is understood all the same.
    found: dict[str, Any] = plain(decode(struct))
    return found


def _refuse_unknown(ctx: Context, inputs: dict[str, Any]) -> None:
    """Outside preview an unknown means that the resource it comes from failed; it is never sent to a vendor as a value."""
    lost = sorted(key for key, value in inputs.items() if has_unknown(value))
    if lost and not ctx.preview:
        names = ", ".join(f"'{key}'" for key in lost)
        raise Refused(
            f"{ctx.name}: {names} has no value, because the resource it comes from failed in this run. "
            "Mend that one; this one follows by itself."
        )


def _top(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


def _type_of(urn: str) -> str:
    """The type token of a URN `urn:pulumi:stack::project::parent$type::name`, for engines that send no type."""
    parts = urn.split("::")
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 3 else ""
