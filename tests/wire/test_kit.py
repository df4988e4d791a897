# ruff: noqa: A002  # `id` is the protocol's own word
"""The provider kit against a real gRPC client: dispatch, failures, what is kept, stopping."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar

import pytest

from rowhouse.wire.contract import Cancelled, CheckFailure, Context, Diff, Found, InitFailed, Kind, Refused
from rowhouse.wire.fields import Computed, Declared, Field
from rowhouse.wire.kit import Provider
from rowhouse.wire.values import UNKNOWN, Secret, encode
from tests.provider.support import Engine, Failed, engine_for, pb

ADVICE = "Put it back."


class Box(Declared):
    """A box in memory."""

    kind: ClassVar = "toy:index:Box"
    fields: ClassVar = {
        "name": Field("string", required=True, change="replace"),
        "size": Field("integer", default=1),
        "shelf": Field("string", change="never", advice=ADVICE, source="the shelf"),
        "labels": Field("object", default={}),
        "parts": Field("array"),
        "note": Field("string", change="ignore"),
    }
    computed: ClassVar = {"address": Computed(), "revision": Computed("integer", stable=False), "key": Computed(secret=True)}
    renamed: ClassVar = {"bigness": "size"}

    def __init__(self) -> None:
        self.boxes: dict[str, Any] = {}
        self.behaviour: Any = None

    def rules(self, olds: Any, news: Any) -> list[CheckFailure]:
        return [CheckFailure("size", "a box is not that big.")] if isinstance(news["size"], int) and news["size"] > 99 else []

    async def make(self, ctx: Context, inputs: Any) -> tuple[str, Any]:
        if self.behaviour:
            await self.behaviour(ctx, inputs)
        self.boxes[inputs["name"]] = inputs
        return inputs["name"], {"address": "a1", "revision": 1, "key": "k3y"}

    async def change(self, ctx: Context, id: str, old_inputs: Any, old_outputs: Any, news: Any) -> Any:
        if self.behaviour:
            await self.behaviour(ctx, news)
        self.boxes[id] = news
        return {"revision": 2}

    async def read(self, ctx: Context, id: str, inputs: Any, outputs: Any) -> Found | None:
        found = self.boxes.get(id)
        return None if found is None else Found(id, found, self.outputs(found, {"address": "a1"}))

    async def delete(self, ctx: Context, id: str, inputs: Any, outputs: Any) -> None:
        self.boxes.pop(id, None)


class Toy(Provider):
    def __init__(self, box: Box, **options: Any) -> None:
        async def double(ctx: Context, args: Any) -> Any:
            return {"twice": args["n"] * 2}

        super().__init__("toy", "1.2.3", {box.kind: box}, functions={"toy:index:double": double}, **options)

    def redact(self, text: str) -> str:
        return text.replace("hunter2", "[secret]")


def drive(body: Any, box: Box | None = None, **options: Any) -> Any:
    """Run `body(engine, box)` against the toy provider."""
    box = box or Box()

    async def main() -> Any:
        async with engine_for(Toy(box, **options)) as engine:
            return await asyncio.wait_for(body(engine, box), 10)

    return asyncio.run(main())


def test_handshake_and_configure_give_the_same_answers() -> None:
    async def body(engine: Engine, box: Box) -> None:
        hand = await engine.stub.Handshake(pb.ProviderHandshakeRequest(engine_address=""))
        conf = await engine.stub.Configure(pb.ConfigureRequest(acceptSecrets=True, acceptResources=True))
        assert (hand.accept_secrets, hand.accept_resources, hand.accept_outputs) == (False, False, False)
        assert (conf.acceptSecrets, conf.acceptResources, conf.acceptOutputs) == (False, False, False)
        assert conf.supportsPreview
        assert (await engine.stub.GetPluginInfo(pb.google_dot_protobuf_dot_empty__pb2.Empty())).version == "1.2.3"

    drive(body)


def test_the_schema_tells_inputs_outputs_and_what_is_required() -> None:
    async def body(engine: Engine, box: Box) -> None:
        schema = json.loads((await engine.stub.GetSchema(pb.GetSchemaRequest())).schema)
        box_schema = schema["resources"]["toy:index:Box"]
        assert schema["name"] == "toy"
        assert box_schema["requiredInputs"] == ["name"]
        assert box_schema["properties"]["key"] == {"type": "string", "secret": True}

    drive(body)


def test_a_changed_configuration_is_a_difference_and_never_a_replacement() -> None:
    async def body(engine: Engine, box: Box) -> None:
        same = await engine.stub.DiffConfig(pb.DiffRequest(old_inputs=encode({"a": "1"}), news=encode({"a": "1"})))
        other = await engine.stub.DiffConfig(pb.DiffRequest(old_inputs=encode({"a": "1"}), news=encode({"a": "2"})))
        assert same.changes == pb.DiffResponse.DIFF_NONE
        assert other.changes == pb.DiffResponse.DIFF_SOME
        assert not other.replaces

    drive(body)


def test_check_fills_defaults_and_names_every_bad_property_at_once() -> None:
    async def body(engine: Engine, box: Box) -> None:
        inputs, failures = await engine.check("toy:index:Box", "b", {"name": "b"})
        assert (inputs, failures) == ({"name": "b", "size": 1, "labels": {}}, {})
        _, failures = await engine.check("toy:index:Box", "b", {"sise": 3, "labels": "x", "parts": True, "size": True})
        assert sorted(failures) == ["labels", "name", "parts", "sise", "size"]
        assert "Did you mean 'size'?" in failures["sise"]
        assert failures["parts"] == "'parts' must be a list, and is a boolean."

    drive(body)


def test_check_passes_unknowns_and_applies_rules_to_what_is_known() -> None:
    async def body(engine: Engine, box: Box) -> None:
        inputs, failures = await engine.check("toy:index:Box", "b", {"name": UNKNOWN, "size": UNKNOWN})
        assert (inputs["name"], failures) == (UNKNOWN, {})
        _, failures = await engine.check("toy:index:Box", "b", {"name": "b", "size": 100})
        assert failures == {"size": "a box is not that big."}

    drive(body)


def test_an_input_lost_to_a_failed_resource_is_worded_as_that() -> None:
    async def body(engine: Engine, box: Box) -> None:
        _, never_set = await engine.check("toy:index:Box", "b", {})
        _, lost = await engine.check("toy:index:Box", "b", {}, {"name": "b"})
        assert "failed in this run" in never_set["name"]
        assert "had a value before" in lost["name"]

    drive(body)


def test_what_cannot_change_is_refused_with_what_to_do() -> None:
    async def body(engine: Engine, box: Box) -> None:
        old = {"name": "b", "shelf": "s1"}
        for news in ({"name": "b", "shelf": "s2"}, {"name": "b", "shelf": UNKNOWN}, {"name": "b"}):
            _, failures = await engine.check("toy:index:Box", "b", news, old)
            assert ADVICE in failures["shelf"]
        _, failures = await engine.check("toy:index:Box", "b", old, old)
        assert failures == {}

    drive(body)


def test_a_renamed_property_is_no_difference() -> None:
    async def body(engine: Engine, box: Box) -> None:
        kept = await engine.create("toy:index:Box", "b", {"name": "b", "size": 3, "labels": {}})
        kept.inputs = {"name": "b", "bigness": 3, "labels": {}}
        assert await engine.up("toy:index:Box", "b", {"name": "b", "bigness": 3}) == "same"

    drive(body)


def test_diff_names_the_deepest_paths_and_what_replaces() -> None:
    async def body(engine: Engine, box: Box) -> None:
        labels = {"a": "1", "b-c": "2"}
        kept = await engine.create("toy:index:Box", "b", {"name": "b", "size": 1, "labels": labels, "parts": [{"w": 1}], "note": "x"})
        news = {"name": "c", "size": 1, "labels": {"a": "2", "b-c": "3", "d": "4"}, "parts": [{"w": 1}, {"w": 2}], "note": "y"}
        diff = await engine.diff(kept, news)
        assert {path: Kind(entry.kind).name for path, entry in diff.detailedDiff.items()} == {
            "name": "UPDATE_REPLACE",
            "labels.a": "UPDATE",
            'labels["b-c"]': "UPDATE",
            "labels.d": "ADD",
            "parts[1]": "ADD",
        }
        assert (list(diff.replaces), list(diff.diffs)) == (["name"], ["labels", "name", "parts"])
        ignored = await engine.diff(kept, {**kept.inputs, "size": 2}, ignore=("size",))
        assert ignored.changes == pb.DiffResponse.DIFF_NONE

    drive(body)


def test_true_is_not_one() -> None:
    box = Box()
    diff: Diff = asyncio.run(box.diff(None, "i", {"labels": {"a": 1}}, {}, {"labels": {"a": True}}))  # type: ignore[arg-type]
    assert diff.paths == {"labels.a": Kind.UPDATE}


def test_preview_foretells_unknown_outputs_and_touches_nothing() -> None:
    async def body(engine: Engine, box: Box) -> None:
        foretold = await engine.preview("toy:index:Box", "b", {"name": UNKNOWN, "size": 1})
        assert foretold == {"name": UNKNOWN, "size": 1, "address": UNKNOWN, "revision": UNKNOWN, "key": UNKNOWN}
        kept = await engine.create("toy:index:Box", "b", {"name": "b", "size": 1, "labels": {}})
        request = pb.UpdateRequest(
            id="b",
            urn=kept.urn,
            type=kept.type,
            olds=encode(kept.outputs),
            old_inputs=encode(kept.inputs),
            news=encode({"name": "b", "size": 2}),
            preview=True,
        )
        answer = await engine.stub.Update(request)
        assert answer.properties["address"] == "a1"
        assert box.boxes["b"]["size"] == 1

    drive(body)


def test_secret_outputs_are_marked() -> None:
    async def body(engine: Engine, box: Box) -> None:
        kept = await engine.create("toy:index:Box", "b", {"name": "b", "size": 1, "labels": {}})
        assert kept.outputs["key"] == Secret("k3y")

    drive(body)


def test_an_unknown_outside_preview_is_refused_as_a_failed_dependency() -> None:
    async def body(engine: Engine, box: Box) -> None:
        with pytest.raises(Failed) as caught:
            await engine.create("toy:index:Box", "b", {"name": "b", "parts": [UNKNOWN]})
        assert caught.value.code == "FAILED_PRECONDITION"
        assert "'parts' has no value, because the resource it comes from failed" in caught.value.text
        assert box.boxes == {}

    drive(body)


def test_a_refusal_is_one_clean_sentence() -> None:
    async def refuse(ctx: Context, inputs: Any) -> None:
        raise Refused("no room for hunter2")

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = refuse
        with pytest.raises(Failed) as caught:
            await engine.create("toy:index:Box", "b", {"name": "b"})
        assert (caught.value.code, caught.value.text, caught.value.partial) == ("FAILED_PRECONDITION", "no room for [secret]", None)

    drive(body)


def test_an_unexpected_error_tells_where_and_shows_no_secret() -> None:
    async def break_(ctx: Context, inputs: Any) -> None:
        raise KeyError("hunter2")

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = break_
        with pytest.raises(Failed) as caught:
            await engine.create("toy:index:Box", "b", {"name": "b"})
        assert caught.value.code == "UNKNOWN"
        assert "KeyError" in caught.value.text
        assert "break_" in caught.value.text
        assert "hunter2" not in caught.value.text

    drive(body)


def test_what_was_kept_is_saved_whatever_fails_after_it() -> None:
    async def half(ctx: Context, inputs: Any) -> None:
        ctx.keep("b7", {"name": "b", "env": {str(n): "x" * 50 for n in range(500)}})  # more than gRPC's default for trailers
        raise ValueError("the lid fell off")

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = half
        with pytest.raises(Failed, match="the lid fell off"):
            await engine.create("toy:index:Box", "b", {"name": "b"})
        assert engine.resources["b"].id == "b7"
        assert len(engine.resources["b"].outputs["env"]) == 500

    drive(body)


def test_what_is_not_fulfilled_yet_is_left_out_of_the_inputs_that_are_saved() -> None:
    async def half(ctx: Context, inputs: Any) -> None:
        ctx.keep("b7", {"name": "b"}, {"name": "b"})
        raise ValueError("the lid fell off")

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = half
        with pytest.raises(Failed, match="the lid fell off"):
            await engine.create("toy:index:Box", "b", {"name": "b", "size": 3})
        assert engine.resources["b"].inputs == {"name": "b"}

    drive(body)


def test_a_failed_start_is_kept_with_its_reasons() -> None:
    async def ill(ctx: Context, inputs: Any) -> None:
        raise InitFailed("b7", {"name": "b"}, ["not healthy", "no answer"])

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = ill
        with pytest.raises(Failed) as caught:
            await engine.create("toy:index:Box", "b", {"name": "b"})
        assert caught.value.partial == {"id": "b7", "outputs": {"name": "b"}, "reasons": ["not healthy", "no answer"]}

    drive(body)


def test_the_users_timeout_ends_a_call() -> None:
    async def hang(ctx: Context, inputs: Any) -> None:
        await asyncio.sleep(30)

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = hang
        before = time.monotonic()
        with pytest.raises(Failed, match=r"not done within 0\.2 s"):
            await engine.create("toy:index:Box", "b", {"name": "b"}, timeout=0.2)
        assert time.monotonic() - before < 2

    drive(body)


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_hanging_creates_within_a_second_and_keeps_what_they_made(stubborn: bool) -> None:
    async def hang(ctx: Context, inputs: Any) -> None:
        ctx.keep(f"id-{inputs['name']}", {"name": inputs["name"]})
        if stubborn:
            await asyncio.sleep(30)  # does not look at the event: a socket that hangs
        await ctx.sleep(30)

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = hang
        tasks = [asyncio.ensure_future(engine.create("toy:index:Box", f"b{n}", {"name": f"b{n}"})) for n in range(8)]
        await asyncio.sleep(0.2)
        before = time.monotonic()
        for _ in range(2):
            await engine.stub.Cancel(pb.google_dot_protobuf_dot_empty__pb2.Empty())
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - before < 1.0
        assert sorted(r.partial["id"] for r in results) == [f"id-b{n}" for n in range(8)]  # type: ignore[union-attr]
        with pytest.raises(Failed) as caught:
            await engine.create("toy:index:Box", "late", {"name": "late"})
        assert caught.value.code == "CANCELLED"

    drive(body)


def test_no_more_calls_work_at_a_time_than_the_limit() -> None:
    running: list[int] = []
    most = 0

    async def count(ctx: Context, inputs: Any) -> None:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        await asyncio.sleep(0.02)
        running.pop()

    async def body(engine: Engine, box: Box) -> None:
        box.behaviour = count
        await asyncio.gather(*(engine.create("toy:index:Box", f"b{n}", {"name": f"b{n}"}) for n in range(12)))

    drive(body, limit=3)
    assert most == 3


def test_gone_reads_as_an_empty_id() -> None:
    async def body(engine: Engine, box: Box) -> None:
        await engine.create("toy:index:Box", "b", {"name": "b", "size": 1, "labels": {}})
        box.boxes.clear()
        assert await engine.refresh("b") is False

    drive(body)


def test_an_unknown_type_names_those_that_there_are() -> None:
    async def body(engine: Engine, box: Box) -> None:
        with pytest.raises(Failed, match="toy:index:Box") as caught:
            await engine.create("toy:index:Bex", "b", {})
        assert caught.value.code == "UNIMPLEMENTED"

    drive(body)


def test_the_type_is_taken_from_the_urn_where_the_engine_sends_none() -> None:
    async def body(engine: Engine, box: Box) -> None:
        request = pb.CheckRequest(urn="urn:pulumi:dev::shop::comp:index:C$toy:index:Box::b", news=encode({"name": "b"}))
        assert not (await engine.stub.Check(request)).failures

    drive(body)


def test_a_function_is_invoked_by_its_token() -> None:
    async def body(engine: Engine, box: Box) -> None:
        answer = await engine.stub.Invoke(pb.InvokeRequest(tok="toy:index:double", args=encode({"n": 21})))
        assert answer.HasField("return")
        assert getattr(answer, "return")["twice"] == 42

    drive(body)


def test_sleep_ends_at_cancel() -> None:
    async def main() -> None:
        provider = Toy(Box())
        ctx = Context(provider, urn="u", name="n", type="t")
        await ctx.sleep(0.01)
        provider.cancelled.set()
        with pytest.raises(Cancelled):
            await ctx.sleep(30)

    asyncio.run(main())


def test_a_lost_log_message_fails_nothing() -> None:
    async def main() -> None:
        provider = Toy(Box())
        provider.engine_address = "127.0.0.1:1"
        await provider.log("warning", "hello")
        await provider.close()

    asyncio.run(main())


def test_what_the_package_does_not_do_is_said_plainly() -> None:
    async def body(engine: Engine, box: Box) -> None:
        for method, request in (
            ("Parameterize", pb.ParameterizeRequest()),
            ("GetMapping", pb.GetMappingRequest()),
            ("Construct", pb.ConstructRequest()),
        ):
            with pytest.raises(Failed, match="does not do this") as caught:
                await engine._call(method, request)
            assert caught.value.code == "UNIMPLEMENTED"

    drive(body)


def test_an_engine_that_wraps_secrets_all_the_same_is_understood() -> None:
    async def body(engine: Engine, box: Box) -> None:
        kept = await engine.create("toy:index:Box", "b", {"name": Secret("b"), "size": 1, "labels": Secret({"a": Secret("1")})})
        assert kept.id == "b"
        assert box.boxes["b"]["labels"] == {"a": "1"}

    drive(body)
