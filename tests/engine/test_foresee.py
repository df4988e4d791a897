"""Looking ahead from a stack that is on no disk, asking nobody."""

import asyncio
from pathlib import Path

import pytest

from rowhouse import engine
from rowhouse.engine.paths import fill_unknown
from rowhouse.wire.values import UNKNOWN, Secret
from tests.engine.support import Sandbox, sandbox

PAIR = """
    a = Thing("a", value="x", secret=Output.secret("hush"))
    b = Thing("b", value=Output.concat("to ", a.thing_id), tags={"who": a.token, "k": 1})
"""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "box")


def foresee(
    box: Sandbox, program: str, before: list[engine.State] | None = None
) -> tuple[dict[str, str], engine.Result, list[engine.State]]:
    box.program(program)
    result, states = asyncio.run(engine.foresee(box.project, "dev", box.options(), before or []))
    return {step.name: step.op for step in result.changes}, result, states


def test_from_nothing_everything_is_made_and_nobody_is_asked(box: Sandbox) -> None:
    ops, result, states = foresee(box, PAIR)
    assert ops == {"box-dev": "create", "a": "create", "b": "create"}
    assert result.ok
    assert box.cloud.calls() == []
    assert not (box.root / ".rowhouse").exists()
    assert "hush" not in repr(result)
    assert {state.urn.rsplit("::", 1)[-1]: state.inputs for state in states}["b"]["value"] == engine.FORESEEN


def test_the_same_again_is_no_change_although_ids_are_not_known(box: Sandbox) -> None:
    _, _, states = foresee(box, PAIR)
    ops, result, again = foresee(box, PAIR, states)
    assert (ops, result.failures) == ({}, [])
    assert foresee(box, PAIR, again)[0] == {}


def test_only_what_differs_differs(box: Sandbox) -> None:
    _, _, states = foresee(box, PAIR)
    ops, result, _ = foresee(box, PAIR.replace('"k": 1', '"k": 2'), states)
    assert ops == {"b": "update"}
    assert [sorted(step.detailed_diff or step.reasons) for step in result.changes] == [["tags"]] or [
        sorted(step.detailed_diff) for step in result.changes
    ] == [["tags.k"]]


def test_a_value_that_comes_from_elsewhere_than_before_is_a_change(box: Sandbox) -> None:
    first = 'a = Thing("a")\nc = Thing("c")\nb = Thing("b", value=a.thing_id)\n'
    box.program(first)
    _, _, states = foresee(box, first)
    ops, _, _ = foresee(box, first.replace("value=a.thing_id", "value=c.thing_id"), states)
    assert ops == {"b": "update"}


def test_what_comes_from_an_object_that_is_replaced_changes_with_it(box: Sandbox) -> None:
    program = 'a = Thing("a", key="one")\nThing("b", value=a.thing_id)\nThing("c", value=a.key)\n'
    _, _, states = foresee(box, program)
    ops, result, after = foresee(box, program.replace("one", "two"), states)
    assert ops["b"] == "update", "the live preview says so, as the new object's id is not known"
    assert result.ok
    assert foresee(box, program.replace("one", "two"), after)[0] == {}


def test_replacements_deletions_and_protection_are_foreseen(box: Sandbox) -> None:
    _, _, states = foresee(box, 'Thing("a", key="one"); Thing("b"); Thing("c", opts=O(protect=True))')
    assert foresee(box, 'Thing("a", key="one"); Thing("c", opts=O(protect=True))', states)[0] == {"b": "delete"}
    _, result, _ = foresee(box, 'Thing("a", key="two"); Thing("b")', states)
    assert {step.op for step in result.changes if step.name == "a"} >= {"replace"}
    assert [failure.urn.rsplit("::", 1)[-1] for failure in result.failures] == ["c"]


def test_functions_have_no_answer_and_are_not_called(box: Sandbox) -> None:
    program = """
        found = Output.from_input(pulumi.runtime.invoke_async("memory:index:lookup", {"name": "x"}))
        Thing("a", value=found.apply(lambda answer: answer["value"] if answer else Output.from_input("none")))
    """
    box.up(program)
    assert "lookup x" in box.cloud.verbs(), "a program that calls no function proves nothing"
    box.cloud.forget_calls()
    ops, result, _ = foresee(box, program)
    assert result.ok
    assert ops == {"box-dev": "create", "a": "create"}
    assert box.cloud.calls() == []


def test_the_stacks_own_state_is_not_read_and_not_written(box: Sandbox) -> None:
    box.up('Thing("a", value="x")')
    before = box.state_text()
    ops, _, _ = foresee(box, 'Thing("a", value="x")')
    assert ops == {"box-dev": "create", "a": "create"}
    assert box.state_text() == before


def test_secrets_of_a_stack_file_stay_closed(box: Sandbox) -> None:
    (box.root / "Pulumi.dev.yaml").write_text("encryptionsalt: v1:AAAA:BBBB\nconfig:\n  box:word: {secure: v1:CCCC:DDDD}\n")
    ops, result, states = foresee(box, 'Thing("a", secret=pulumi.Config("box").require_secret("word"))')
    assert result.ok
    assert ops["a"] == "create"
    assert states[-1].inputs["secret"] == Secret("[secret]")


@pytest.mark.parametrize(
    ("new", "old", "filled"),
    [
        (UNKNOWN, "x", "x"),
        ({"a": UNKNOWN, "b": 2}, {"a": 1, "c": 3}, {"a": 1, "b": 2}),
        ({"a": [1, UNKNOWN, UNKNOWN]}, {"a": [5, 6]}, {"a": [1, 6, UNKNOWN]}),
        (Secret(UNKNOWN), Secret("x"), Secret("x")),
        ({"a": {"b": UNKNOWN}}, {"a": "no map"}, {"a": {"b": UNKNOWN}}),
        ("known", "other", "known"),
    ],
)
def test_what_is_unknown_is_what_was_at_the_same_place(new: object, old: object, filled: object) -> None:
    assert fill_unknown(new, old) == filled
