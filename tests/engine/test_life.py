"""Whole runs of the embedded engine over a real program process and a real plugin process."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rowhouse import engine
from tests.engine.support import Sandbox, has_cli, sandbox


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return sandbox(tmp_path / "box")


def ops(result: engine.Result) -> dict[str, str]:
    """The operation of each resource by name; of a replacement, `replace`."""
    return {step.name: step.op for step in result.steps if step.op not in {"create-replacement", "delete-replaced"}}


def failed(result: engine.Result) -> dict[str, bool]:
    """Names that failed, and whether they were only skipped."""
    return {failure.urn.rpartition("::")[2]: failure.skipped for failure in result.failures}


# -- preview, review, options -----------------------------------------------------------------------------------------------------------


def test_a_preview_foretells_everything_and_writes_nothing(box: Sandbox) -> None:
    result = box.preview("""
        a = Thing("a", value="x", secret=Output.secret("hush"))
        b = Thing("b", value=a.thing_id)
        pulumi.export("id", b.thing_id)
    """)
    assert result.ok
    assert ops(result) == {"box-dev": "create", "a": "create", "b": "create"}
    assert box.cloud.calls() == []
    assert not (box.root / ".rowhouse" / "state").exists()
    new = next(step.new for step in result.steps if step.name == "b")
    assert new is not None
    assert new["inputs"]["value"] == "[unknown]"
    assert "hush" not in repr(result) + json.dumps([step.new for step in result.steps])


def test_a_preview_tells_what_differs_and_why_something_is_replaced(box: Sandbox) -> None:
    box.up('Thing("a", value="x", tags={"k": 1}); Thing("b", key="one"); Thing("c", slot="one"); Thing("d")')
    before = box.state_text()
    result = box.preview('Thing("a", value="y", tags={"k": 2}); Thing("b", key="two"); Thing("c", slot="two")')
    assert ops(result) == {"box-dev": "same", "a": "update", "b": "replace", "c": "replace", "d": "delete"}
    steps = {step.name: step for step in result.steps if step.op in {"update", "replace"}}
    assert set(steps["a"].detailed_diff) == {"value", "tags"}
    assert steps["b"].replaces == ("key",)
    assert [step.op for step in result.steps if step.name == "c"] == ["delete-replaced", "create-replacement", "replace"]
    assert [step.op for step in result.steps if step.name == "b"] == ["create-replacement", "replace", "delete-replaced"]
    assert result.summary == {"delete": 1, "replace": 2, "same": 1, "update": 1}
    assert box.state_text() == before


def test_a_review_that_declines_changes_nothing_and_one_that_accepts_applies(box: Sandbox) -> None:
    seen: list[engine.Plan] = []

    def no(plan: engine.Plan) -> bool:
        seen.append(plan)
        return False

    declined = box.up('Thing("a")', review=no)
    assert declined.declined
    assert seen[0].summary == {"create": 2}
    assert box.cloud.calls() == []
    assert box.up(review=lambda plan: True).summary == {"create": 2}


def test_what_the_reviewer_did_not_see_destroyed_is_not_destroyed(box: Sandbox) -> None:
    box.up('Thing("a"); Thing("b", key="one")')

    def accept(_plan: engine.Plan) -> bool:
        box.program('Thing("b", key="two")')
        return True

    result = box.up('Thing("a"); Thing("b", key="one"); Thing("c")', review=accept)
    assert failed(result) == {"a": False, "b": False}
    assert box.cloud.verbs() == ["create a", "create b"] or box.cloud.verbs() == ["create b", "create a"]


@pytest.mark.parametrize("option", ["targets", "replace", "excludes", "policy_packs"])
def test_options_it_does_not_have_are_refused_by_name(option: str) -> None:
    with pytest.raises(engine.Unsupported, match="the embedded engine does not support"):
        engine.Options(**{option: ("x",)})


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ('Thing("a", opts=O(replace_with=[Thing("b")]))', "replace_with"),
        ('pulumi.runtime.register_resource_transform(lambda args: None)\nThing("a")', "transforms"),
        (
            'Thing("a", opts=O(hooks=pulumi.ResourceHookBinding(before_create=[pulumi.ResourceHook("h", lambda args: None)])))',
            "resource hooks",
        ),
        ('Thing("a", value=pulumi.StringAsset("x"))', "assets"),
    ],
)
def test_program_features_it_does_not_have_are_refused_by_name(box: Sandbox, program: str, name: str) -> None:
    result = box.up(program)
    assert any(name in failure.message for failure in result.failures), result.failures
    assert "create a" not in box.cloud.verbs()


def test_a_program_sees_the_deployment_as_the_cli_would_tell_it(box: Sandbox) -> None:
    (box.root / "Pulumi.dev.yaml").write_text("config:\n  box:word: plain\n  box:many: {a: [1, 2]}\n  other:flag: true\n")
    result = box.preview("""
        config = pulumi.Config()
        pulumi.export("all", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization(), pulumi.runtime.is_dry_run(),
            config.require("word"), config.require_object("many"), pulumi.Config("other").require_bool("flag"),
            os.path.basename(os.getcwd()), os.path.basename(pulumi.get_root_directory()), __name__])
    """)
    assert result.outputs["all"] == ["box", "dev", "organization", True, "plain", {"a": [1, 2]}, True, "program", "box", "__main__"]


def test_what_a_program_prints_and_logs_arrives_and_debug_does_not(box: Sandbox) -> None:
    box.preview('print("printed"); pulumi.log.warn("careful"); pulumi.log.debug("noise")')
    said = [(event.severity, event.message) for event in box.events if isinstance(event, engine.Diagnostic)]
    assert ("info", "printed") in said
    assert ("warning", "careful") in said
    assert not any("noise" in message for _, message in said)


def test_a_program_that_raises_ends_the_run_and_deletes_nothing(box: Sandbox) -> None:
    box.up('Thing("a"); Thing("b")')
    result = box.up('Thing("a"); raise ValueError("no such thing")')
    assert "ValueError: no such thing" in result.failures[0].message
    assert set(box.cloud.objects()) == {"a-1", "b-1"}
    assert set(box.resources()) == {"box-dev", "default", "a", "b"}


def test_a_run_error_is_one_line_without_traceback(box: Sandbox) -> None:
    result = box.up('raise pulumi.RunError("tenants/acme.yaml: plan is missing")')
    assert [failure.message for failure in result.failures] == ["the program ended with exit code 1: tenants/acme.yaml: plan is missing"]


def test_events_count_up_and_end_with_reports(box: Sandbox) -> None:
    box.up('Thing("a"); Thing("b")')
    ended = [event.report.name for event in box.events if isinstance(event, engine.StepEnded)]
    assert set(ended) == {"box-dev", "default", "a", "b"}
    assert any(isinstance(event, engine.Progress) and event.done for event in box.events)
    assert {event.op for event in box.events if isinstance(event, engine.StepStarted)} == {"create"}


def test_a_duplicate_name_is_an_error_and_only_the_one_that_arrived_first_is_made(box: Sandbox) -> None:
    result = box.up('Thing("a", value=1); Thing("a", value=2)')
    assert "Duplicate resource URN" in result.failures[0].message
    # The program registers both at once: either may arrive first.
    assert list(box.cloud.objects().values()) in ([{"size": 1, "value": 1}], [{"size": 1, "value": 2}])


def test_a_plugin_that_is_absent_is_one_error_that_says_where_it_was_looked_for(box: Sandbox) -> None:
    result = box.up('pulumi.CustomResource("nowhere:index:Thing", "a", {})')
    assert "pulumi-resource-nowhere" in result.failures[0].message


def test_a_plugin_that_dies_at_its_start_is_quoted(box: Sandbox) -> None:
    (box.root / "plugin" / "pulumi-resource-memory").write_text("#!/bin/sh\necho the disk is full >&2\nexit 3\n")
    result = box.up('Thing("a")')
    assert "exit code 3" in result.failures[0].message
    assert "the disk is full" in result.failures[0].message


# -- failures ---------------------------------------------------------------------------------------------------------------------------


def test_a_failure_stops_only_its_dependents(box: Sandbox) -> None:
    box.cloud.fault(create__a="fail")
    result = box.up("""
        a = Thing("a")
        b = Thing("b", value=a.thing_id)
        c = Thing("c", value=b.thing_id)
        d = Thing("d", opts=O(depends_on=[a]))
        e = Thing("e", opts=O(parent=a))
        f = Thing("f")
        pulumi.export("b", b.thing_id)
        pulumi.export("f", f.thing_id)
    """)
    assert failed(result) == {"a": False, "b": True, "c": True, "d": True, "e": True}
    assert sorted(box.cloud.verbs()) == ["create a", "create f"]
    assert result.outputs == {"f": "f-1"}
    assert "04da6b54" not in box.state_text()


def test_without_continue_on_error_nothing_new_is_started(box: Sandbox) -> None:
    box.cloud.fault(create__a="fail")
    result = box.up('a = Thing("a")\na.urn.apply(lambda _: Thing("b"))', continue_on_error=False)
    assert failed(result) == {"a": False, "b": True}


def test_a_failed_tenant_does_not_keep_another_from_leaving_but_keeps_what_is_its_own(box: Sandbox) -> None:
    box.up("""
        for tenant in ("left", "broken", "fine"):
            group = Group(tenant)
            Thing(f"{tenant}-a", value=1, opts=O(parent=group))
            Thing(f"{tenant}-b", opts=O(parent=group))
        Thing("single")
    """)
    box.cloud.fault(update__broken_a="fail", **{"update__broken-a": "fail"})
    result = box.up("""
        for tenant in ("broken", "fine"):
            group = Group(tenant)
            Thing(f"{tenant}-a", value=2, opts=O(parent=group))
    """)
    assert failed(result) == {"broken-a": False}
    # `left` is gone and so is what `fine` dropped; what the broken one dropped, and what belongs to nobody, waits.
    assert set(box.cloud.objects()) == {"broken-a-1", "broken-b-1", "fine-a-1", "single-1"}


def test_a_group_that_waits_in_vain_is_skipped_with_what_is_in_it_and_the_program_goes_on(box: Sandbox) -> None:
    box.cloud.fault(create__a="fail")
    result = box.up("""
        a = Thing("a")
        group = Group("group", opts=O(depends_on=[a]))
        Thing("inside", opts=O(parent=group))
        group.register_outputs({"done": True})
        Thing("other")
    """)
    assert failed(result) == {"a": False, "group": True, "inside": True}
    assert set(box.cloud.objects()) == {"other-1"}


def test_a_check_failure_names_the_property_and_leaves_the_resource_as_it_was(box: Sandbox) -> None:
    box.up('Thing("a", value=1)')
    box.cloud.fault(check__a="invalid")
    result = box.up('Thing("a", value=2)')
    assert "value: not allowed here" in result.failures[0].message
    assert box.resources()["a"]["inputs"]["value"] == 1


def test_a_partial_create_is_kept_and_repaired_by_an_update(box: Sandbox) -> None:
    box.cloud.fault(create__a="partial")
    first = box.up('a = Thing("a"); Thing("b", value=a.thing_id)')
    assert failed(first) == {"a": False, "b": True}
    assert box.resources()["a"]["initErrors"] == ["it does not start"]
    box.cloud.fault()
    second = box.up()
    assert ops(second)["a"] == "update"
    assert "initErrors" not in box.resources()["a"]
    assert box.cloud.verbs() == ["create a", "update a", "create b"]


def test_a_deletion_that_fails_keeps_what_it_stands_on(box: Sandbox) -> None:
    box.up('a = Thing("a"); Thing("b", value=a.thing_id); Thing("c")')
    box.cloud.fault(delete__b="fail")
    result = box.up("pass")
    assert failed(result) == {"b": False, "a": True}
    assert set(box.resources()) == {"box-dev", "default", "a", "b"}


# -- protection -------------------------------------------------------------------------------------------------------------------------


def test_protected_is_neither_deleted_nor_replaced_and_is_named(box: Sandbox) -> None:
    box.up('Thing("a", key="one", opts=O(protect=True)); Thing("b", opts=O(protect=True))')
    result = box.up('Thing("a", key="two", opts=O(protect=True))')
    assert failed(result) == {"a": False, "b": False}
    assert all("is protected" in failure.message for failure in result.failures)
    assert set(box.cloud.objects()) == {"a-1", "b-1"}


def test_destroy_refuses_as_a_whole_when_something_is_protected_unless_told(box: Sandbox) -> None:
    box.up('Thing("a", opts=O(protect=True)); Thing("b")')
    assert failed(box.destroy()) == {"a": False}
    assert set(box.cloud.objects()) == {"a-1", "b-1"}
    assert box.destroy(ignore_protect=True).ok
    assert box.cloud.objects() == {}


def test_what_goes_with_a_protected_resource_is_not_lost(box: Sandbox) -> None:
    box.up('app = Thing("app", opts=O(protect=True)); Thing("machine", opts=O(deleted_with=app))')
    assert not box.destroy().ok
    assert set(box.resources()) == {"box-dev", "default", "app", "machine"}
    result = box.up('app = Thing("app", opts=O(protect=True))')
    assert result.ok
    assert "delete machine" in box.cloud.verbs(), "its app stays, so it needs a deletion of its own"


def test_what_goes_with_a_resource_that_cannot_be_deleted_stays_in_the_state(box: Sandbox) -> None:
    box.up('app = Thing("app"); Thing("machine", opts=O(deleted_with=app))')
    box.cloud.fault(delete__app="fail")
    assert failed(box.destroy()) == {"app": False}
    assert {"app", "machine"} <= set(box.resources())
    box.cloud.fault()
    assert box.destroy().ok
    assert [verb for verb in box.cloud.verbs() if verb.startswith("delete")] == ["delete app", "delete app"]


# -- refresh, import, destroy -----------------------------------------------------------------------------------------------------------


def test_a_refresh_reports_drift_and_loss_and_can_only_look(box: Sandbox) -> None:
    box.up('Thing("a", value="x"); Thing("b")')
    box.cloud.change("a-1", value="y")
    box.cloud.lose("b-1")
    before = box.state_text()
    options = box.options()
    looked = asyncio.run(engine.refresh(box.project, "dev", options, dry_run=True))
    assert box.state_text() == before
    done = box.refresh()
    for result in (looked, done):
        steps = {step.name: step for step in result.steps}
        assert steps["a"].detailed_diff == {"value": {"kind": "update", "inputDiff": True}}
        assert steps["b"].reasons == ("gone",)
        assert steps["b"].new is None
    assert set(box.resources()) == {"box-dev", "default", "a"}
    assert ops(box.preview()) == {"box-dev": "same", "a": "update", "b": "create"}


def test_a_preview_with_refresh_foretells_what_loss_and_drift_lead_to_and_writes_nothing(box: Sandbox) -> None:
    box.up('a = Thing("a", value="x"); Thing("b", value=a.thing_id); Thing("c", value="x"); Thing("d")')
    box.cloud.lose("a-1")
    box.cloud.change("c-1", value="y")
    before = box.state_text()
    plan = box.preview(refresh=True)
    steps = {step.name: step.op for step in plan.steps if step.op != "refresh"}
    assert steps == {"box-dev": "same", "a": "create", "b": "update", "c": "update", "d": "same"}
    assert box.state_text() == before
    assert {step.name: step.op for step in box.up(refresh=True).steps if step.op != "refresh"} == steps


def test_an_update_with_refresh_repairs_drift_in_one_run(box: Sandbox) -> None:
    box.up('Thing("a", value="x"); Thing("b")')
    box.cloud.change("a-1", value="y")
    box.cloud.lose("b-1")
    assert box.up(refresh=True).ok
    assert box.cloud.objects() == {"a-1": {"size": 1, "value": "x"}, "b-2": {"size": 1}}


def test_an_import_takes_over_an_object_and_protects_it(box: Sandbox) -> None:
    box.up('Thing("seed", value="x", opts=O(retain_on_delete=True))')
    box.up("pass")
    result = asyncio.run(engine.import_(box.project, "dev", "memory:index:Thing", "taken", "seed-1", box.options()))
    assert ops(result) == {"taken": "import"}
    assert (box.resources()["taken"]["id"], box.resources()["taken"]["protect"]) == ("seed-1", True)
    again = box.up('Thing("taken", value="x", opts=O(protect=True))')
    assert ops(again) == {"box-dev": "same", "taken": "same"}
    missing = asyncio.run(engine.import_(box.project, "dev", "memory:index:Thing", "other", "nothing", box.options()))
    assert "does not exist" in missing.failures[0].message


def test_dependents_are_deleted_before_what_they_stand_on(box: Sandbox) -> None:
    box.up("""
        a = Thing("a"); b = Thing("b", value=a.thing_id); c = Thing("c", opts=O(parent=b)); d = Thing("d", opts=O(depends_on=[c]))
    """)
    box.cloud.forget_calls()
    assert box.destroy().ok
    assert box.cloud.verbs() == ["delete d", "delete c", "delete b", "delete a"]


# -- what is remembered -----------------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_the_clear_anywhere_the_engine_writes_or_says(box: Sandbox) -> None:
    secret = "correct-battery-staple"
    box.env["PULUMI_CONFIG_PASSPHRASE"] = "phrase-of-the-test"
    box.cloud.fault(create__b="partial")
    result = box.up(f"""
        a = Thing("a", secret=Output.secret("{secret}"), value={{"deep": "x"}})
        b = Thing("b", secret=Output.secret("{secret}"))
        pulumi.export("it", a.token)
    """)
    shown = repr(result) + repr(box.events) + json.dumps([[step.old, step.new] for step in result.steps])
    state = box.state_text() + json.dumps(box.export())
    for text in (secret, base64.b64encode(secret.encode()).decode()[:-2], "phrase-of-the-test", "token-of-a"):
        assert text not in shown
        assert text not in state


def test_an_unchanged_secret_keeps_its_ciphertext_from_run_to_run(box: Sandbox) -> None:
    box.up('Thing("a", secret=Output.secret("hush"), value=1)')
    before = box.resources()["a"]["inputs"]["secret"]
    box.up('Thing("a", secret=Output.secret("hush"), value=2)')
    assert box.resources()["a"]["inputs"]["secret"] == before
    assert box.resources()["a"]["inputs"]["value"] == 2


def test_secret_configuration_is_opened_and_stays_secret(box: Sandbox) -> None:
    (box.root / "Pulumi.dev.yaml").write_text(
        "encryptionsalt: v1:W2nCY6HEfdU=:v1:N3sFcYv0wGL//cEw:AKonMyh4pKobXUD4yNlkUG5ltHE24A==\n"
        "config:\n  box:word:\n    secure: v1:qwRyXdD78itVAeYa:y/fnY74Xfg0zTq3lXX8nFYoxufI=\n"
    )
    result = box.up("""
        word = pulumi.Config().require_secret("word")
        Thing("a", value=word.apply(lambda text: text.upper()))
        pulumi.export("word", word)
    """)
    assert box.cloud.objects()["a-1"]["value"] == "HUSH"
    assert repr(result.outputs) == "{'word': [secret]}"
    assert "HUSH" not in box.state_text()


def test_a_run_without_changes_writes_nothing(box: Sandbox) -> None:
    box.up('Thing("a", secret=Output.secret("x")); Thing("b")')
    before = box.state_text()
    result = box.up()
    assert result.summary == {"same": 3}
    assert result.journal_bytes == 0
    assert box.state_text() == before


def test_a_step_costs_the_same_bytes_whatever_the_size_of_the_state(box: Sandbox) -> None:
    box.env["MEMORY_QUICK"] = "1"

    def bytes_of_one_more(count: int) -> int:
        things = f'for n in range({count}): Thing(f"t{{n:04}}", value=n)'
        assert box.up(things).ok
        return box.up(f'{things}\nThing("more", value="one")').journal_bytes

    assert abs(bytes_of_one_more(5) - bytes_of_one_more(120)) < 200


# -- interruptions ----------------------------------------------------------------------------------------------------------------------

UP = """
import asyncio, json, sys
from pathlib import Path
from rowhouse import engine
env = json.loads(sys.argv[2])
project = engine.load_project(Path(sys.argv[1]))
options = engine.Options(env=env, adopting=frozenset({"memory"}))
result = asyncio.run(engine.up(project, "dev", options))
sys.exit(len(result.failures))
"""


def killed_while(box: Sandbox, verb: str, program: str) -> None:
    """Start an up in its own process and kill it when the provider has been asked."""
    box.program(program)
    process = subprocess.Popen([sys.executable, "-c", UP, str(box.root), json.dumps(box.env)])
    try:
        for _ in range(400):
            if verb in box.cloud.verbs():
                break
            time.sleep(0.025)
        assert verb in box.cloud.verbs()
        holder = json.loads((box.root / ".rowhouse" / "state" / "box" / "dev" / "lock").read_text())
        assert holder["pid"] == process.pid
        with pytest.raises(engine.Locked, match=f"process {process.pid} of"):
            box.up()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for _ in range(100):  # the plugin and the program notice that their engine is gone
        if not _children_of(box):
            break
        time.sleep(0.05)
    assert not _children_of(box)


def _children_of(box: Sandbox) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            environment = (path / "environ").read_bytes() if path.name.isdecimal() and path.name != str(os.getpid()) else b""
        except OSError:
            continue
        if f"MEMORY_CLOUD={box.root / 'cloud'}".encode() in environment:
            found.append(int(path.name))
    return found


def pending(box: Sandbox) -> list[tuple[str, str]]:
    operations = box.export()["deployment"].get("pending_operations", [])
    return [(item["type"], item["resource"]["urn"].rpartition("::")[2]) for item in operations]


def test_a_replacement_leaves_nothing_pending(box: Sandbox) -> None:
    box.up('Thing("a", key="one")')
    assert box.up('Thing("a", key="two")').ok
    assert pending(box) == []
    assert box.cloud.objects() == {"a-2": {"size": 1, "key": "two"}}


def test_killed_in_a_create_the_next_run_shows_it_and_converges(box: Sandbox) -> None:
    box.cloud.fault(create__b="hang")
    killed_while(box, "create b", 'a = Thing("a"); Thing("b", value=a.thing_id, secret=Output.secret("hush"))')
    assert pending(box) == [("creating", "b")]
    assert "hush" not in box.state_text()
    box.cloud.fault()
    result = box.up()
    assert result.ok
    assert any(isinstance(event, engine.Diagnostic) and "interrupted while creating 'b'" in event.message for event in box.events)
    assert pending(box) == []
    assert set(box.cloud.objects()) == {"a-1", "b-1"}


@pytest.mark.long
def test_killed_in_a_create_of_something_that_is_then_dropped_nothing_is_left_over(box: Sandbox) -> None:
    box.cloud.fault(create__b="hang")
    killed_while(box, "create b", 'Thing("b")')
    box.cloud.fault()
    # The effect happened although nobody heard of it.
    (box.root / "cloud" / "objects").mkdir(exist_ok=True)
    urn = "urn:pulumi:dev::box::memory:index:Thing::b"
    (box.root / "cloud" / "objects" / "b-7.json").write_text(json.dumps({"urn": urn, "inputs": {"size": 1}}))
    assert box.up("pass").ok
    assert box.cloud.objects() == {}
    assert pending(box) == []


@pytest.mark.long
def test_killed_in_an_update_that_is_then_taken_back_the_update_is_repeated(box: Sandbox) -> None:
    box.up('Thing("a", value=1)')
    box.cloud.fault(update__a="hang")
    killed_while(box, "update a", 'Thing("a", value=2)')
    box.cloud.fault()
    box.cloud.change("a-1", value=2)
    assert ops(box.up('Thing("a", value=1)'))["a"] == "update"
    assert box.cloud.objects() == {"a-1": {"size": 1, "value": 1}}


@pytest.mark.long
def test_killed_in_a_deletion_of_something_that_is_then_wanted_again_it_is_looked_for(box: Sandbox) -> None:
    box.up('Thing("a"); Thing("b")')
    box.cloud.fault(delete__a="hang")
    killed_while(box, "delete a", 'Thing("b")')
    box.cloud.fault()
    box.cloud.lose("a-1")
    assert ops(box.up('Thing("a"); Thing("b")'))["a"] == "create"
    assert set(box.cloud.objects()) == {"a-2", "b-1"}


@pytest.mark.parametrize("moment", ["kill-before", "kill-after"])
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_a_plugin_killed_before_or_after_its_effect_converges_at_the_next_run(box: Sandbox, verb: str, moment: str) -> None:
    before, after = {
        "create": ("pass", 'Thing("a", value=1)'),
        "update": ('Thing("a", value=1)', 'Thing("a", value=2)'),
        "delete": ('Thing("a", value=1)', "pass"),
    }[verb]
    box.up(before)
    box.cloud.fault(**{f"{verb}__a": moment})
    result = box.up(after)
    assert "does not answer" in result.failures[0].message
    assert pending(box) == [(f"{verb[:-1]}ing", "a")]
    box.cloud.fault()
    assert box.up().ok
    assert pending(box) == []
    wanted: dict[str, dict[str, Any]] = {
        "create": {"a-1": {"size": 1, "value": 1}},
        "update": {"a-1": {"size": 1, "value": 2}},
        "delete": {},
    }
    assert box.cloud.objects() == wanted[verb]


def test_interrupted_by_the_user_running_steps_end_and_are_remembered(box: Sandbox) -> None:
    box.cloud.fault(create__b="hang")
    box.program('Thing("a"); Thing("b")')

    async def run() -> None:
        task = asyncio.create_task(engine.up(box.project, "dev", box.options()))
        while "create b" not in box.cloud.verbs() or "a" not in str(box.cloud.objects()):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert _children_of(box) == []
    assert "a" in box.resources()
    box.cloud.fault()
    assert box.up().ok
    assert len(box.cloud.objects()) == 2


# -- the nursery ------------------------------------------------------------------------------------------------------------------------


def test_a_nursery_runs_programs_one_after_another_and_side_by_side(box: Sandbox, tmp_path: Path) -> None:
    other = sandbox(tmp_path / "other")
    for each in (box, other):
        each.program('print("pid", os.getpid(), os.getppid()); Thing("a", value=os.environ["MEMORY_CLOUD"])')

    async def run() -> int:
        async with engine.Nursery(("pulumi",)) as nursery:
            results = await asyncio.gather(
                *(engine.up(each.project, "dev", each.options(nursery=nursery), each.events.append) for each in (box, other))
            )
            other.env["ROWHOUSE_NURSERY"] = nursery.socket
            again = await engine.up(other.project, "dev", other.options(), other.events.append)
            assert all(result.ok for result in (*results, again))
            return nursery.pid

    parent = asyncio.run(run())
    lines = [event.message for each in (box, other) for event in each.events if isinstance(event, engine.Diagnostic)]
    pids = [line.split()[1:] for line in lines if line.startswith("pid")]
    assert len({pid for pid, _ in pids}) == 3
    assert {above for _, above in pids} == {str(parent)}
    assert box.cloud.objects()["a-1"]["value"] == box.env["MEMORY_CLOUD"]
    with pytest.raises(ProcessLookupError):
        os.kill(parent, 0)


def test_a_nursery_that_is_gone_is_one_clear_error(box: Sandbox) -> None:
    box.env["ROWHOUSE_NURSERY"] = str(box.root / "nothing")
    with pytest.raises(engine.EngineError, match="no nursery answers"):
        box.up('Thing("a")')


def test_a_program_in_a_nursery_that_exits_tells_its_code(box: Sandbox) -> None:
    box.program("raise SystemExit(7)")

    async def run() -> engine.Result:
        async with engine.Nursery(("pulumi",)) as nursery:
            return await engine.up(box.project, "dev", box.options(nursery=nursery))

    assert asyncio.run(run()).failures[0].message == "the program ended with exit code 7"


# -- the CLI ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.pulumi_cli
@pytest.mark.skipif(not has_cli(), reason="pulumi is not on PATH")
def test_the_state_goes_to_the_cli_and_back(box: Sandbox) -> None:
    program = """
        group = Group("group")
        a = Thing("a", value=1, secret=Output.secret("hush"), opts=O(parent=group, protect=True))
        b = Thing("b", value=a.thing_id, opts=O(deleted_with=a))
        pulumi.export("token", a.token)
    """
    assert box.up(program).ok
    exported = box.root / "exported.json"
    exported.write_text(json.dumps(box.export()))
    box.cli_init()
    where = ("--stack", "organization/box/dev")
    box.cli("stack", "import", "--file", str(exported), *where)
    box.cli("preview", "--expect-no-changes", "--non-interactive", *where)
    box.cli("up", "-y", "--skip-preview", "--non-interactive", *where, program=program.replace("value=1", "value=2"))
    engine.import_stack(box.project, "dev", box.cli_export(), box.options())
    result = box.preview()
    assert result.ok
    assert result.summary == {"same": 4}
    assert box.resources()["a"]["inputs"]["value"] == 2
    assert "hush" not in box.state_text()
