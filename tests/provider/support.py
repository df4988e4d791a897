# ruff: noqa: ASYNC109, N818  # `timeout` is the protocol's own field; Failed is an answer
"""A small engine for tests: drives a provider over gRPC and keeps what an engine would keep."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import status_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from rowhouse.wire.kit import Provider, start
from rowhouse.wire.values import GRPC_OPTIONS, decode, encode, plain

pb: Any = provider_pb2


class Failed(Exception):
    """A call failed; `code` is gRPC's, `partial` the object that is kept."""

    def __init__(self, code: str, text: str, partial: dict[str, Any] | None) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.partial = partial


def failed(error: grpc.aio.AioRpcError) -> Failed:
    partial = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                message = pb.ErrorResourceInitFailed()
                if detail.Unpack(message):
                    partial = {"id": message.id, "outputs": decode(message.properties), "reasons": list(message.reasons)}
                    if message.HasField("inputs"):
                        partial["inputs"] = decode(message.inputs)
    return Failed(error.code().name, error.details() or "", partial)


@dataclass
class Kept:
    """One resource in the small engine's state."""

    type: str
    name: str
    id: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:dev::shop::{self.type}::{self.name}"


class Engine:
    """One stack's engine, as far as a test needs it."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub
        self.resources: dict[str, Kept] = {}

    async def _call(self, method: str, request: Any, timeout: float = 20.0) -> Any:
        try:
            return await getattr(self.stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise failed(error) from None

    async def check(
        self, type_: str, name: str, news: dict[str, Any], olds: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        kept = Kept(type_, name)
        request = pb.CheckRequest(urn=kept.urn, name=name, type=type_, olds=encode(olds or {}), news=encode(news))
        answer = await self._call("Check", request)
        return decode(answer.inputs), {f.property: f.reason for f in answer.failures}

    async def diff(self, kept: Kept, news: dict[str, Any], ignore: tuple[str, ...] = ()) -> Any:
        request = pb.DiffRequest(
            id=kept.id,
            urn=kept.urn,
            olds=encode(plain(kept.outputs)),
            old_inputs=encode(kept.inputs),
            news=encode(news),
            ignoreChanges=ignore,
            type=kept.type,
            name=kept.name,
        )
        return await self._call("Diff", request)

    async def up(self, type_: str, name: str, news: dict[str, Any], timeout: float = 0.0) -> str:
        """Make the resource as wished; answers what was done: create, same, update or replace."""
        kept = self.resources.get(name)
        inputs, failures = await self.check(type_, name, news, kept.inputs if kept else None)
        assert failures == {}, failures
        if kept is None:
            await self.create(type_, name, inputs, timeout)
            return "create"
        diff = await self.diff(kept, inputs)
        if diff.changes == pb.DiffResponse.DIFF_NONE:
            return "same"
        if diff.replaces:
            if diff.deleteBeforeReplace:
                await self.delete(name)
                await self.create(type_, name, inputs, timeout)
            else:
                old = self.resources.pop(name)
                await self.create(type_, name, inputs, timeout)
                await self._delete(old)
            return "replace"
        await self.update(kept, inputs, timeout)
        return "update"

    async def create(self, type_: str, name: str, inputs: dict[str, Any], timeout: float = 0.0) -> Kept:
        kept = Kept(type_, name, inputs=inputs)
        request = pb.CreateRequest(urn=kept.urn, name=name, type=type_, properties=encode(inputs), timeout=timeout)
        try:
            answer = await self._call("Create", request)
        except Failed as error:
            if error.partial:
                kept.id, kept.outputs = error.partial["id"], error.partial["outputs"]
                kept.inputs = error.partial.get("inputs", inputs)
                self.resources[name] = kept
            raise
        kept.id, kept.outputs = answer.id, decode(answer.properties)
        self.resources[name] = kept
        return kept

    async def update(self, kept: Kept, inputs: dict[str, Any], timeout: float = 0.0) -> None:
        request = pb.UpdateRequest(
            id=kept.id,
            urn=kept.urn,
            name=kept.name,
            type=kept.type,
            olds=encode(plain(kept.outputs)),
            old_inputs=encode(kept.inputs),
            news=encode(inputs),
            timeout=timeout,
        )
        try:
            answer = await self._call("Update", request)
        except Failed as error:
            if error.partial:
                kept.outputs = error.partial["outputs"]
                kept.inputs = error.partial.get("inputs", kept.inputs)
            raise
        kept.inputs, kept.outputs = inputs, decode(answer.properties)

    async def preview(self, type_: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        request = pb.CreateRequest(urn=Kept(type_, name).urn, name=name, type=type_, properties=encode(inputs), preview=True)
        return decode((await self._call("Create", request)).properties)

    async def read(self, type_: str, name: str, id_: str, kept: Kept | None = None) -> Kept | None:
        request = pb.ReadRequest(
            id=id_,
            urn=Kept(type_, name).urn,
            name=name,
            type=type_,
            inputs=encode(kept.inputs if kept else {}),
            properties=encode(plain(kept.outputs) if kept else {}),
        )
        answer = await self._call("Read", request)
        return Kept(type_, name, answer.id, decode(answer.inputs), decode(answer.properties)) if answer.id else None

    async def refresh(self, name: str) -> bool:
        """Read a resource again; False when it is gone and was forgotten."""
        kept = self.resources[name]
        found = await self.read(kept.type, name, kept.id, kept)
        if found is None:
            del self.resources[name]
            return False
        self.resources[name] = found
        return True

    async def delete(self, name: str) -> None:
        await self._delete(self.resources[name])
        del self.resources[name]

    async def _delete(self, kept: Kept) -> None:
        request = pb.DeleteRequest(
            id=kept.id,
            urn=kept.urn,
            name=kept.name,
            type=kept.type,
            properties=encode(plain(kept.outputs)),
            old_inputs=encode(kept.inputs),
        )
        await self._call("Delete", request)


@contextlib.asynccontextmanager
async def engine_for(provider: Provider) -> AsyncIterator[Engine]:
    """An engine connected to a provider inside this process."""
    server, port = await start(provider)
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=GRPC_OPTIONS)
    try:
        yield Engine(provider_pb2_grpc.ResourceProviderStub(channel))
    finally:
        await channel.close(None)
        await server.stop(0)
        await provider.close()
