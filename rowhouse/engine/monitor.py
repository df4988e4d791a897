"""What the program talks to: Pulumi's ResourceMonitor and Engine services on a loopback port.

Does: turn requests into goals, answers into messages, log lines into diagnostics. Answers as the CLI does, so that a program cannot tell
which engine runs it; what this engine does not have is refused by name. Does not: decide; see `planner`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, resource_pb2, resource_pb2_grpc

from rowhouse.engine import urns
from rowhouse.engine.errors import EngineError, Unsupported
from rowhouse.engine.goals import goal_from, read_goal_from
from rowhouse.engine.properties import decode, encode, same
from rowhouse.wire.values import GRPC_OPTIONS, UNKNOWN, has_unknown

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from rowhouse.engine.planner import Planner
    from rowhouse.engine.run import Run
    from rowhouse.engine.steps import Outcome, Steps

pb: Any = resource_pb2
"""The protocol's messages; the published stubs lack some of their fields."""
epb: Any = engine_pb2

FEATURES: Final = (
    "SECRETS", "RESOURCE_REFERENCES", "OUTPUT_VALUES", "ALIAS_SPECS", "REPLACEMENT_TRIGGER", "DELETED_WITH", "REPLACE_WITH", "TRANSFORMS",
    "INVOKE_TRANSFORMS", "PARAMETERIZATION", "RESOURCE_HOOKS", "ERROR_HOOKS", "SENDS_OPTIONS_TO_HOOKS", "BYTE_STRING",
    "INVOKE_DEPENDS_ON", "INVOKE_PARENT",
)  # fmt: skip
"""What the CLI 3.260 claims. What is claimed and not had is refused when it is used, with its name."""
_LEGACY: Final = frozenset(
    {"secrets", "resourceReferences", "outputValues", "aliasSpecs", "deletedWith", "replaceWith", "transforms", "invokeTransforms",
     "parameterization", "resourceHooks", "errorHooks"}
)  # fmt: skip
_SEVERITIES: Final = ("debug", "info", "warning", "error")


class Monitor(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):
    """The services of one run."""

    def __init__(self, run: Run, planner: Planner, steps: Steps) -> None:
        self._run = run
        self._planner = planner
        self._steps = steps
        self._root = run.stack_urn
        self.last_error = ""
        """The last error the program logged: why it ended, if it did."""
        self.stack_outputs: dict[str, Any] | None = None
        self._tasks: set[asyncio.Task[Outcome]] = set()

    async def quiet(self) -> None:
        """Wait until every registration that was begun is over, also those whose program has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        # A task of its own: a program that dies must not cancel a provider's call half way.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    # -- about the run ------------------------------------------------------------------------------------------------------------------

    async def GetDeploymentInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        run = self._run
        return pb.DeploymentInfo(
            project=run.project.name,
            stack=run.stack,
            organization=run.options.organization,
            config=run.config.values,
            configSecretKeys=run.config.secret_keys,
            dryRun=run.dry_run,
            parallel=run.options.parallel,
            supportedFeatures=[pb.ResourceMonitorFeature.Value(f"RESOURCE_MONITOR_FEATURE_{name}") for name in FEATURES],
        )

    async def SupportsFeature(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return pb.SupportsFeatureResponse(hasSupport=request.id in _LEGACY)

    async def SignalAndWaitForShutdown(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return Empty()

    # -- resources ----------------------------------------------------------------------------------------------------------------------

    async def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            outcome = await self._carry(self._planner.register(goal_from(request, self._run.project.root)))
        except Unsupported as refused:
            await self._refuse(context, refused)
            raise AssertionError from refused
        return self._registered(outcome, custom=request.custom)

    async def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            outcome = await self._carry(self._planner.read(read_goal_from(request, self._run.project.root)))
        except Unsupported as refused:
            await self._refuse(context, refused)
            raise AssertionError from refused
        if outcome.state is None:
            return pb.ReadResourceResponse(urn=outcome.urn, result=pb.Result.Value("FAIL"))
        return pb.ReadResourceResponse(urn=outcome.urn, id=outcome.state.id, properties=encode(outcome.state.outputs))

    def _registered(self, outcome: Outcome, *, custom: bool) -> Any:
        state = outcome.state
        if state is None:
            return pb.RegisterResourceResponse(urn=outcome.urn, result=pb.Result.Value("FAIL"))
        return pb.RegisterResourceResponse(urn=state.urn, id=state.id if custom else "", object=encode(state.outputs))

    async def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802
        run = self._run
        state = run.news.get(request.urn)
        if state is None and request.urn in run.failed:
            return Empty()  # it was skipped: that is told already, and the program goes on with what does not stand on it
        if state is None:
            await context.abort(grpc.StatusCode.UNKNOWN, f"outputs of '{request.urn}' were registered before the resource itself")
            raise AssertionError
        outputs = decode(request.outputs)
        if not run.dry_run:
            # What failed has no outputs: what depends on it keeps the last that is known.
            kept = {key: state.outputs.get(key, UNKNOWN) if has_unknown(value) else value for key, value in outputs.items()}
            outputs = {key: value for key, value in kept.items() if value is not UNKNOWN}
        if request.urn == self._root:
            self.stack_outputs = outputs
        elif not same(state.outputs, outputs):
            await self._steps.set_outputs(state, outputs)
        return Empty()

    async def finish_stack(self) -> None:
        """Record the stack's outputs; after a failure those that are missing stay as they were."""
        run = self._run
        state = run.news.get(self._root)
        if state is None or self.stack_outputs is None:
            return
        outputs = {**state.outputs, **self.stack_outputs} if run.failed else self.stack_outputs
        run.result.outputs = outputs
        if not same(state.outputs, outputs):
            await self._steps.set_outputs(state, outputs)

    # -- functions ----------------------------------------------------------------------------------------------------------------------

    async def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        run = self._run
        if request.packageRef:
            await self._refuse(context, Unsupported(f"parameterized packages of the function {request.tok}"))
        if request.tok.startswith("pulumi:pulumi:"):
            await self._refuse(context, Unsupported(f"the function {request.tok}"))
        args = decode(request.args)
        if run.options.offline or (not run.dry_run and has_unknown(args)):  # the second: an argument comes from a resource that failed
            return pb.ResourceInvokeResponse(unknown=True)
        try:
            ref = request.provider or await run.providers.default(urns.package_of(request.tok), request.version)
            client = await run.providers.client(ref)
            async with run.turn("read", request.tok):
                answer, failures = await client.invoke(request.tok, args, preview=run.dry_run)
        except EngineError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, f"invocation of {request.tok} returned an error: {error}")
            raise AssertionError from error
        items = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in failures]
        return pb.ResourceInvokeResponse(**{"return": encode(answer), "failures": items})

    async def Call(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported(f"the method call {request.tok}"))

    async def ExistsResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported(f"exists() of {request.type}"))

    async def RegisterStackTransform(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported("transforms"))

    async def RegisterStackInvokeTransform(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported("invoke transforms"))

    async def RegisterResourceHook(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported("resource hooks"))

    async def RegisterErrorHook(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported("error hooks"))

    async def RegisterPackage(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported(f"parameterized packages ({request.name})"))

    async def _refuse(self, context: Any, refused: Unsupported) -> None:
        self._run.fail("", str(refused))
        await context.abort(grpc.StatusCode.UNKNOWN, str(refused))

    # -- the engine service -------------------------------------------------------------------------------------------------------------

    async def Log(self, request: Any, _context: Any) -> Any:  # noqa: N802
        severity: Any = _SEVERITIES[request.severity]
        if severity == "error":
            self.last_error = request.message
        if severity != "debug":
            self._run.say(severity, request.message, request.urn)
        return Empty()

    async def GetRootResource(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return epb.GetRootResourceResponse(urn=self._root)

    async def SetRootResource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self._root = request.urn
        return epb.SetRootResourceResponse()

    async def RequirePulumiVersion(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return epb.RequirePulumiVersionResponse()

    async def StartDebugging(self, _request: Any, context: Any) -> Any:  # noqa: N802
        await self._refuse(context, Unsupported("debugging"))


async def listen(monitor: Monitor) -> tuple[grpc.aio.Server, str]:
    """Serve on a free loopback port; the server and its address."""
    server = grpc.aio.server(options=GRPC_OPTIONS)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"
