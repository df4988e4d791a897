"""A local cloud that was stopped and started again is empty: what that means for the state is one sentence with one remedy, which works."""

import shutil
from collections.abc import Callable

import pytest

from rowhouse.localcloud.cloud import LocalCloud
from tests.end_to_end.world import IMAGES, World

needs_cli = pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH")
ENGINES = ["embedded", pytest.param("pulumi", marks=[pytest.mark.pulumi_cli, pytest.mark.long, needs_cli])]


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_an_old_state_is_named_as_such_and_up_with_refresh_makes_everything_anew(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        before = made.kept()
        async with LocalCloud(made.folder / "anew", images=IMAGES, limits=False) as anew:
            made.cloud = anew
            for ran in (await made.preview(), await made.up()):
                assert ran.code == 2
                assert ran.stdout == ""
                assert "made against another local cloud" in ran.stderr
                assert "`rowhouse up --refresh`" in ran.stderr
                assert len(ran.stderr.splitlines()) == 1
            ran = await made.run("status")
            assert {row["state"] for row in ran.document["list"]} == {"missing"}
            assert "`rowhouse up --refresh`" in ran.stderr
            assert not anew.journal.mutations()

            foreseen = await made.run("preview", "--refresh")
            assert foreseen.code == 0, foreseen.failed()
            assert foreseen.ops["create"] > 20
            assert not anew.journal.mutations()

            ran = await made.run("up", "--yes", "--refresh")
            assert ran.code == 0, ran.failed()
            assert ran.ops == foreseen.ops
            assert made.kept() == before
            ran = await made.preview()
            assert (ran.code, ran.ops, ran.stderr) == (0, {}, ""), ran.failed()

    play(scene, engine=engine)
