"""Who can change: held against a render of everybody, before and after."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowhouse import engine
from rowhouse.review.affected import affected
from rowhouse.review.changes import tenant_of
from rowhouse.review.commits import Changed
from rowhouse.review.digests import digest_of
from rowhouse.review.objections import interruption
from rowhouse.review.outcomes import outcome_of
from rowhouse.review.render import _environment
from rowhouse.review.shapes import shapes_of
from rowhouse.spec.load import read_fleet
from tests.review.scratch import TENANTS, Scratch

MANY = {f"t{number:02}": f"owner: {{name: Tenant {number}, email: a@t{number}.example}}\nplan: aether/{plan}\n{rest}" for number, (plan, rest) in enumerate(
    [("pro", ""), ("pro", "state: suspended\n"), ("team", ""), ("free", ""), ("pro", "env: {GREETING: 'Dear {owner.name}'}\n"), ("pro", "members: ['@t5.example']\n")]
)}  # fmt: skip


class World:
    """A project rendered whole: every tenant, by the real program, on the embedded engine."""

    def __init__(self, scratch: Scratch, loop: asyncio.AbstractEventLoop, nursery: engine.Nursery) -> None:
        self.scratch, self._loop, self._nursery = scratch, loop, nursery
        (scratch.root / ".venv").symlink_to(Path(engine.__file__).parents[2] / ".venv")
        self._options = engine.Options(env=_environment(scratch.root), nursery=nursery)
        self.states: list[engine.State] = []

    def render(self) -> engine.Result:
        """What the files in the work tree make of what was rendered before."""
        result, states = self._loop.run_until_complete(
            engine.foresee(engine.load_project(self.scratch.root), "main", self._options, self.states)
        )
        if not self.states:
            self.states = states
        return result


@pytest.fixture(scope="module")
def world(nursery: tuple[asyncio.AbstractEventLoop, engine.Nursery]) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        made = World(Scratch(Path(folder) / "clone", {**TENANTS, **MANY}), *nursery)
        first = made.render()
        assert not first.failures
        assert made.render().summary.keys() == {"same"}, "a world that changes by itself proves nothing"
        yield made


EDITS = {
    "a comment": [("tenants/acme.yaml", "# The first of them.", "# The very first.")],
    "the same members in another order": [("tenants/acme.yaml", 'ana@acme.example, "@acme.example"', '"@acme.example", ana@acme.example')],
    "a title of an app": [("apps/notebook.yaml", "title: ", "title: New ")],
    "a member": [("tenants/acme.yaml", "ana@acme.example", "bea@acme.example")],
    "an owner's name": [("tenants/birch.yaml", "name: Birch", "name: Birch & Sons")],
    "a state": [("tenants/birch.yaml", "plan: aether/pro", "plan: aether/pro\nstate: offboarding")],
    "a size": [("tenants/acme.yaml", "memory_mb: 1024", "memory_mb: 2048")],
    "a base price": [("plans/aether.yaml", '"20.00"', '"22.00"')],
    "the same price written otherwise": [("plans/aether.yaml", '"0.10"', '"0.1"')],
    "a warning of one plan": [("plans/aether.yaml", "warn_at: [80, 100]", "warn_at: [90, 100]")],
    "an image": [("apps/aether.yaml", "sha256:9955", "sha256:8855")],
    "an image of an app that one tenant runs": [("apps/notebook.yaml", "sha256:9955", "sha256:8855")],
    "a region of a catalog": [("plans/aether.yaml", "region: fra", "region: ams")],
    "a plan": [("tenants/birch.yaml", "aether/pro", "aether/team")],
    "an edge's image": [("stacks/Pulumi.main.yaml", "edge@sha256:cee4", "edge@sha256:dee4")],
    "a greeting of a plan": [("plans/aether.yaml", "plans:\n", "env: {GREETING: 'Hi {owner.name}'}\nplans:\n")],
}


@pytest.mark.parametrize("what", EDITS)
def test_exactly_those_are_affected_who_are_rendered_differently(world: World, what: str):
    scratch = world.scratch
    before = {path: (scratch.root / path).read_text() for path, _, _ in EDITS[what]}
    old, _ = read_fleet(scratch.root)
    try:
        for edit in EDITS[what]:
            scratch.edit(*edit)
        new, problems = read_fleet(scratch.root)
        assert not [problem for problem in problems if problem.severity == "error"]
        found = affected(old, new, [Changed(path, "M", "100644", "100644") for path in before])
        result = world.render()
    finally:
        for path, text in before.items():
            (scratch.root / path).write_text(text)
    outcome = outcome_of(result)
    touched = {tenant_of(urn, outcome.parents) for urn in (*(change.urn for change in outcome.changes), *(f.urn for f in outcome.failures))}
    touched -= {""}
    if "stacks/Pulumi.main.yaml" in before:  # a stack's settings may reach everybody; whom they do reach only the program knows
        assert touched <= set(found.tenants) == {tenant.id for tenant in old.tenants}
    else:
        assert set(found.tenants) == touched
    assert not outcome.changes or set(found.cells) == {"main"}
    if outcome.failures:
        return
    # One tenant of a shape speaks for all of it: the same steps, under other names, and the same interruption.
    groups = outcome.by_tenant()
    steps = {tenant: [step for step in outcome.steps.values() if tenant_of(step.urn, outcome.parents) == tenant] for tenant in touched}
    for shape in shapes_of(found):
        told = {
            (
                tuple((c.op, c.type, tuple(path for path, *_ in c.diff)) for c in groups.get(tenant, [])),
                interruption(old.tenant(tenant), groups.get(tenant, [])),
            )
            for tenant in shape.tenants
        }
        assert len(told) == 1, f"{shape.tenants} do not change alike"
    assert len({digest_of(one) for one in steps.values()}) == len(steps), "two tenants' changes have one digest"


def test_tenants_that_differ_in_who_they_are_have_one_shape(world: World):
    old, _ = read_fleet(world.scratch.root)
    path = world.scratch.root / "plans/aether.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("plans:\n", "env: {GREETING: 'Hi {owner.name}'}\nplans:\n"))
        new, _ = read_fleet(world.scratch.root)
    finally:
        path.write_text(text)
    shapes = shapes_of(affected(old, new, [Changed("plans/aether.yaml", "M", "100644", "100644")]))
    assert ("birch", "t00", "t05") in [shape.tenants for shape in shapes]
    assert sum(len(shape.tenants) for shape in shapes) == len({tenant for shape in shapes for tenant in shape.tenants})


def test_a_change_of_code_can_change_everybody(tmp_path: Path):
    scratch = Scratch(tmp_path / "clone", TENANTS, program=False)
    fleet = scratch.fleet("HEAD")
    found = affected(fleet, fleet, [Changed("components/gate.py", "M", "100644", "100644")])
    assert set(found.tenants) == set(TENANTS)
    assert found.program == ("components/gate.py",)


@pytest.mark.parametrize(
    "path", ["README.md", "docs/x.md", "tests/test_x.py", "components/README.md", "policies/settings.yaml", "stacks/notes.md"]
)
def test_what_is_not_deployed_affects_nobody(tmp_path: Path, path: str):
    scratch = Scratch(tmp_path / "clone", TENANTS, program=False)
    fleet = scratch.fleet("HEAD")
    found = affected(fleet, fleet, [Changed(path, "M", "100644", "100644")])
    assert (dict(found.tenants), found.cells, found.other) == ({}, (), (path,))


def test_tenants_come_go_and_move(tmp_path: Path):
    scratch = Scratch(tmp_path / "clone", TENANTS, program=False)
    scratch.remove("tenants/dale.yaml")
    scratch.write("tenants/fir.yaml", "owner: {email: f@fir.example}\nplan: aether/free\n")
    scratch.edit("tenants/birch.yaml", "plan:", "cell: second\nplan:")
    found = scratch.affected(scratch.base, scratch.commit())
    assert {one.tenant: one.kind for one in found.tenants.values()} == {"dale": "removed", "fir": "added", "birch": "moved"}
    assert found.cells == ("main", "second")
    assert found.in_cell("second") == ("birch",)
    assert found.in_cell("main") == ("birch", "dale", "fir")
