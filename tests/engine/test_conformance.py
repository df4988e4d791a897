"""The same programs on the embedded engine and on the Pulumi CLI: same state, same calls to the provider.

Each case is a sequence of programs and events. On the embedded engine it runs always, with its own expectations; where `pulumi` is on PATH
it runs there too and both are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.support import Sandbox, has_cli, sandbox

cli = pytest.mark.pulumi_cli
needs_cli = pytest.mark.skipif(not has_cli(), reason="pulumi is not on PATH")

_NOISE = {"created", "modified", "sourcePosition", "stackTrace"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def normal(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The resources of an export without what must differ between two runs."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            if "ciphertext" in value:
                return "[secret]"
            return {key: clean(item) for key, item in value.items() if key not in _NOISE}
        if isinstance(value, list):
            return [clean(item) for item in value]
        return _UUID.sub("<uuid>", value) if isinstance(value, str) else value

    resources = [clean(resource) for resource in document["deployment"].get("resources", [])]
    for resource in resources:
        # A property that depends on nothing is written as an empty list or, after the CLI's refresh, not at all.
        resource["propertyDependencies"] = {key: urns for key, urns in resource.get("propertyDependencies", {}).items() if urns}
    return sorted(resources, key=lambda resource: (resource["urn"], resource.get("delete", False), resource.get("id", "")))


def differences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    """Where two states differ, a line each."""

    def keyed(resources: list[dict[str, Any]]) -> dict[tuple[str, bool, str], dict[str, Any]]:
        return {(item["urn"].rpartition("::")[2], item.get("delete", False), item.get("id", "")): item for item in resources}

    mine, real = keyed(ours), keyed(theirs)
    lines = [f"{key} only here" for key in mine.keys() - real.keys()] + [f"{key} only in the CLI" for key in real.keys() - mine.keys()]
    for key in sorted(mine.keys() & real.keys()):
        for field in sorted({*mine[key], *real[key]}):
            here, there = mine[key].get(field), real[key].get(field)
            if here != there:
                lines.append(f"{key[0]}.{field}: {here} here, {there} in the CLI")
    return lines


def calls_by_name(box: Sandbox) -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for call in box.cloud.calls():
        found.setdefault(call["name"], []).append((call["verb"], call.get("inputs", call.get("id"))))
    return found


class Embedded:
    def __init__(self, box: Sandbox) -> None:
        self.box = box

    def up(self, program: str, *, fails: bool = False) -> None:
        result = self.box.up(program)
        assert bool(result.failures) == fails, result.failures

    def refresh(self) -> None:
        result = self.box.refresh()
        assert not result.failures

    def destroy(self) -> None:
        result = self.box.destroy()
        assert not result.failures

    def state(self) -> list[dict[str, Any]]:
        return normal(self.box.export())


class Cli:
    def __init__(self, box: Sandbox) -> None:
        self.box = box
        box.cli_init()

    def _run(self, *arguments: str, fails: bool = False, program: str | None = None) -> None:
        done = self.box.cli(*arguments, "--non-interactive", "--stack", "organization/box/dev", check=False, program=program)
        assert bool(done.returncode) == fails, done.stdout + done.stderr

    def up(self, program: str, *, fails: bool = False) -> None:
        self._run("up", "-y", "--skip-preview", "--continue-on-error", fails=fails, program=program)

    def refresh(self) -> None:
        self._run("refresh", "-y", "--skip-preview")

    def destroy(self) -> None:
        self._run("destroy", "-y", "--skip-preview")

    def state(self) -> list[dict[str, Any]]:
        return normal(self.box.cli_export())


Case = Callable[[Any, Sandbox], None]


def ordinary_life(engine: Any, box: Sandbox) -> None:
    """Create, no change, update, both replacements, ignoreChanges, secrets, delete, dependencies, component, timeouts."""
    engine.up("""
        group = Group("group")
        inner = Group("inner", O(parent=group))
        changed = Thing("changed", value="one", tags={"a": 1, "b": [True, 2.5, None]}, opts=O(parent=inner))
        follower = Thing("follower", value=changed.thing_id, opts=O(depends_on=[group]))
        replaced = Thing("replaced", key="one")
        standing = Thing("standing", key=replaced.thing_id)
        swapped = Thing("swapped", slot="one")
        leaning = Thing("leaning", key=swapped.thing_id)
        touching = Thing("touching", value=swapped.thing_id)
        ignoring = Thing("ignoring", value="one", tags={"x": 1, "y": 1}, opts=O(ignore_changes=["value", "tags.x"]))
        hidden = Thing("hidden", secret=Output.secret("hush"), value={"deep": Output.secret("low")}, opts=O(custom_timeouts=CustomTimeouts(create="5m")))
        loud = Thing("loud", value="shown", opts=O(additional_secret_outputs=["value"]))
        forced = Thing("forced", value="one", opts=O(replace_on_changes=["value"]))
        first = Thing("first", key="one", opts=O(delete_before_replace=True))
        leaving = Thing("leaving", value=replaced.thing_id)
        kept = Thing("kept", opts=O(retain_on_delete=True))
        host = Thing("host")
        guest = Thing("guest", value="g", opts=O(deleted_with=host))
        group.register_outputs({"id": changed.thing_id, "hidden": hidden.token})
        pulumi.export("id", changed.thing_id)
        pulumi.export("token", hidden.token)
        pulumi.export("gone", "soon")
    """)
    engine.up(Path(box.root / "program" / "__main__.py").read_text())
    engine.up("""
        group = Group("group")
        inner = Group("inner", O(parent=group))
        changed = Thing("changed", value="two", tags={"a": 1}, opts=O(parent=inner))
        follower = Thing("follower", value=changed.thing_id, opts=O(depends_on=[group]))
        replaced = Thing("replaced", key="two")
        standing = Thing("standing", key=replaced.thing_id)
        swapped = Thing("swapped", slot="two")
        leaning = Thing("leaning", key=swapped.thing_id)
        touching = Thing("touching", value=swapped.thing_id)
        ignoring = Thing("ignoring", value="two", tags={"x": 2, "y": 2}, opts=O(ignore_changes=["value", "tags.x"]))
        hidden = Thing("hidden", secret=Output.secret("hush now"), value={"deep": Output.secret("low")})
        loud = Thing("loud", value="shown again", opts=O(additional_secret_outputs=["value"], protect=True))
        forced = Thing("forced", value="two", opts=O(replace_on_changes=["value"]))
        first = Thing("first", key="two", opts=O(delete_before_replace=True))
        group.register_outputs({"id": changed.thing_id})
        pulumi.export("id", changed.thing_id)
        pulumi.export("token", hidden.token)
    """)


def other_names(engine: Any, box: Sandbox) -> None:
    """Aliases by name, type, parent and URN, and of a parent whose children follow."""
    engine.up("""
        named = Thing("before", value=1)
        parent = Group("home")
        moved = Thing("moved", value=1, opts=O(parent=parent))
        old = Group("old")
        child = Thing("old-child", value=1, opts=O(parent=old))
        typed = Group("typed", kind="test:index:Was")
        under = Thing("under", value=1, opts=O(parent=typed))
        whole = Thing("whole", value=1)
    """)
    engine.up("""
        named = Thing("after", value=1, opts=O(aliases=[Alias(name="before")]))
        parent = Group("home")
        moved = Thing("moved", value=2, opts=O(aliases=[Alias(parent=parent)]))
        new = Group("new", O(aliases=[Alias(name="old")]))
        child = Thing("new-child", value=1, opts=O(parent=new))
        typed = Group("typed", O(aliases=[Alias(type_="test:index:Was")]), kind="test:index:Is")
        under = Thing("under", value=1, opts=O(parent=typed))
        renamed = Thing("renamed", value=1, opts=O(aliases=["urn:pulumi:dev::box::memory:index:Thing::whole"]))
    """)


def misfortune(engine: Any, box: Sandbox) -> None:
    """A failed create with dependents, a partial create and its repair, a failed and a partial update, a bad property."""
    box.cloud.fault(create__broken="fail", create__half="partial")
    program = """
        broken = Thing("broken", value=1)
        dependent = Thing("dependent", value=broken.thing_id)
        deeper = Thing("deeper", value=dependent.thing_id)
        waiting = Thing("waiting", opts=O(depends_on=[broken]))
        half = Thing("half", value=1)
        fine = Thing("fine", value=1)
        steady = Thing("steady", value=1)
    """
    engine.up(program, fails=True)
    box.cloud.fault(update__steady="fail", update__fine="partial")
    engine.up(program.replace('"steady", value=1', '"steady", value=2').replace('"fine", value=1', '"fine", value=2'), fails=True)
    box.cloud.fault()
    engine.up(program.replace('"steady", value=1', '"steady", value=2').replace('"fine", value=1', '"fine", value=2'))


def drift(engine: Any, box: Sandbox) -> None:
    """Refresh takes over what drifted and forgets what is gone; the next update puts both right."""
    program = """
        a = Thing("a", value="one", secret=Output.secret("hush"))
        b = Thing("b", value=a.thing_id)
        c = Thing("c", value=b.thing_id)
    """
    engine.up(program)
    box.cloud.change("a-1", value="changed by hand")
    box.cloud.lose("b-1")
    engine.refresh()


def drift_repaired(engine: Any, box: Sandbox) -> None:
    drift(engine, box)
    engine.up("""
        a = Thing("a", value="one", secret=Output.secret("hush"))
        b = Thing("b", value=a.thing_id)
        c = Thing("c", value=b.thing_id)
    """)


def strangers(engine: Any, box: Sandbox) -> None:
    """Import, read, invoke and an explicit provider."""
    engine.up("""
        seed = Thing("seed", value="one", opts=O(retain_on_delete=True))
        pulumi.export("id", seed.thing_id)
    """)
    engine.up("""
        taken = Thing("taken", value="one", opts=O(import_="seed-1"))
        read = Thing("read", opts=O(id="seed-1"))
        found = pulumi.runtime.invoke("memory:index:lookup", {"name": "x"}).value
        own = Memory("own", region="fra")
        mine = Thing("mine", value=found["value"], opts=O(provider=own))
    """)


def the_end(engine: Any, box: Sandbox) -> None:
    """Destroy deletes everything, calls nothing for what is retained or goes with another, and leaves an empty state."""
    engine.up("""
        group = Group("group")
        host = Thing("host", opts=O(parent=group))
        guest = Thing("guest", value="g", opts=O(deleted_with=host, parent=group))
        kept = Thing("kept", opts=O(retain_on_delete=True))
        last = Thing("last", value=host.thing_id)
    """)
    engine.destroy()


CASES: list[Case] = [ordinary_life, other_names, misfortune, drift, drift_repaired, strangers, the_end]


@cli
@needs_cli
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_engines_end_in_the_same_state_after_the_same_calls(case: Case, tmp_path: Path) -> None:
    ours, theirs = sandbox(tmp_path / "ours"), sandbox(tmp_path / "theirs")
    embedded, real = Embedded(ours), Cli(theirs)
    case(embedded, ours)
    case(real, theirs)
    assert differences(embedded.state(), real.state()) == []
    assert calls_by_name(ours) == calls_by_name(theirs)
    assert ours.cloud.objects() == theirs.cloud.objects()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_embedded_engine_runs_the_case_and_then_finds_nothing_to_do_but_to_destroy(case: Case, tmp_path: Path) -> None:
    box = sandbox(tmp_path)
    case(Embedded(box), box)
    again = box.destroy(ignore_protect=True)
    assert not again.failures
    assert box.export()["deployment"].get("resources", []) == []
