"""The shipped policies over a whole project on both engines: what is good passes, what is broken is refused and nothing is asked for it."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rowhouse.engine import Nursery
from tests.end_to_end.test_pulumi_cli import pulumi
from tests.end_to_end.world import World, world

ENGINES = [
    "embedded",
    pytest.param(
        "pulumi", marks=[pytest.mark.pulumi_cli, pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH")]
    ),
]
MISTAKES: dict[str, tuple[str, str, str]] = {
    "exposure.address": ("components/host_fly.py", 'type="private_v6"', 'type="v4"'),
    "gate.audience": ("components/gate.py", "audience=application.aud", 'audience="0" * 64'),
    "gate.nobody-else": ("components/tenant.py", "includes_for(tenant.members)", '[*includes_for(tenant.members), {"everyone": {}}]'),
    "protect.data": ("components/host_fly.py", "parent=self, protect=True", "parent=self"),
    "mark.present": ("components/gate.py", "comment=names.dns_comment", "comment='x' + names.dns_comment"),
}


def rules(ran) -> set[str]:
    return {entry["rule"] for entry in ran.document["policies"]}


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_a_good_project_passes_at_first_and_again(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        made.add_policies()
        assert (ran := await made.preview()).code == 0, ran.failed()
        assert ran.document["policies"] == []
        assert (ran := await made.up()).code == 0, ran.failed()
        assert ran.document["policies"] == []
        assert (ran := await made.preview()).code == 0, ran.failed()
        assert (ran.ops, ran.document["policies"]) == ({}, [])

    play(scene, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_broken_is_refused_and_no_vendor_hears_of_it(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        made.add_policies()
        for path, good, bad in MISTAKES.values():
            made.replace(path, good, bad)
        ran = await made.preview()
        assert (ran.code, rules(ran)) == (1, set(MISTAKES)), ran.failed()
        assert {entry["tenant"] for entry in ran.document["policies"]} == {"acme", "fern"}
        assert all(entry["level"] == "mandatory" and entry["mend"] for entry in ran.document["policies"])
        ran = await made.up()
        assert (ran.code, ran.document["declined"], rules(ran)) == (2, True, set(MISTAKES)), ran.failed()
        assert not made.cloud.journal.mutations()

    play(scene, engine=engine)


def test_both_engines_say_the_same(runner: asyncio.Runner, nursery: Nursery, tmp_path: Path):
    if shutil.which("pulumi") is None:
        pytest.skip("pulumi is not on PATH")

    async def said(engine: str) -> object:
        async with world(tmp_path / engine, nursery, engine=engine) as made:
            made.add_policies()
            for path, good, bad in MISTAKES.values():
                made.replace(path, good, bad)
            return (await made.preview()).document["policies"]

    ours, theirs = runner.run(said("embedded")), runner.run(said("pulumi"))
    assert ours == theirs


@pytest.mark.long
def test_a_tenant_may_be_suspended_leave_and_change_plan_under_the_policies(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.add_policies()
        assert (ran := await made.up()).code == 0, ran.failed()
        for state, plan in (("suspended", "paid"), ("active", "free"), ("offboarding", "paid")):
            made.write("tenants/acme.yaml", f"owner: {{email: ops@acme.example}}\nplan: shop/{plan}\nstate: {state}\n")
            ran = await made.up()
            assert (ran.code, ran.document["policies"]) == (0, []), (state, ran.failed())

    play(scene)


def test_settings_of_the_project_are_obeyed(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.add_policies()
        made.replace("policies/settings.yaml", "[registry.localhost]", "[registry.acme.example]")
        ran = await made.preview()
        assert (ran.code, rules(ran)) == (1, {"image.registry"})
        made.replace("policies/settings.yaml", "[registry.acme.example]", "registry.acme.example")
        ran = await made.preview()
        assert ran.code == 2
        assert "policies/settings.yaml" in ran.stderr

    play(scene)


@pytest.mark.pulumi_cli
@pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH")
def test_the_cli_alone_runs_the_pack(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.add_policies()
        assert (await pulumi(made, "stack", "init", "main")).returncode == 0
        done = await pulumi(made, "preview", "--stack", "main", "--policy-pack", "policies")
        assert (done.returncode, "mandatory" in done.stdout) == (0, False), done.stdout + done.stderr
        made.replace(*MISTAKES["protect.data"])
        done = await pulumi(made, "up", "--yes", "--stack", "main", "--policy-pack", "policies")
        assert done.returncode == 1
        assert "[mandatory]  protect.data  (rowhouse:fly:Volume: acme-main-volume)" in done.stdout
        assert not made.cloud.journal.mutations()

    play(scene, engine="pulumi")
