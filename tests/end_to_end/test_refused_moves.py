"""A change that a tenant's data cannot follow is refused before anything of that tenant changes, and other tenants go on."""

import shutil
from collections.abc import Callable

import pytest

from tests.end_to_end.speaking import said
from tests.end_to_end.world import CATALOG, World

OWNER = "owner: {email: ops@acme.example}\n"
SIZED = OWNER + "plan: shop/paid\ninstances: {main: {volume_gb: 3}, lab: {}}\n"
# A plan of a catalog elsewhere, and in the same edit a member, an owner and a secret: none of it may be done by half.
MOVED = "owner: {email: other@acme.example}\nplan: far/paid\nmembers: [new@acme.example]\nsecrets: {KEY: 'env:ACME_KEY'}\n"
MOVED += "instances: {main: {}, lab: {region: fra, memory_mb: 512}}\n"
STAYING = OWNER + "plan: far/paid\ninstances: {main: {region: fra, volume_gb: 3}, lab: {region: fra}}\n"


CLI = [
    pytest.mark.long,
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]


@pytest.mark.parametrize("engine", ["embedded", pytest.param("pulumi", marks=CLI)])
def test_a_tenant_whose_data_cannot_follow_is_left_as_it_was(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        made.extra_env["ACME_KEY"] = "opens"
        made.write("plans/far.yaml", CATALOG.replace("app: notebook", "app: notebook\nregion: ams", 1).replace('"30.00"', '"60.00"'))
        made.write("tenants/acme.yaml", SIZED)
        assert (ran := await made.up()).code == 0, ran.failed()
        before = made.kept()

        made.write("tenants/acme.yaml", MOVED)
        made.write("tenants/fern.yaml", "owner: {email: fern@okafor.example}\nplan: shop/free\nmembers: [new@fern.example]\n")
        foreseen = await made.preview()
        assert foreseen.code == 1, foreseen.failed()
        told = {failure["urn"].rsplit("::", 1)[-1]: failure for failure in foreseen.document["failures"]}
        [refused] = [failure for failure in told.values() if not failure["skipped"]]
        lines = refused["message"].splitlines()
        assert [line.partition(" error ")[0] for line in lines] == ["tenants/acme.yaml:2:7:", "tenants/acme.yaml:2:7:"]
        assert {change["tenant"] for change in foreseen.document["changes"]} == {"fern"}

        made.cloud.journal.clear()
        ran = await said(made, "up", "--yes")
        assert ran.code == 1, ran.failed()
        assert f"refused: {lines[0]}\n{lines[1]}\n" in ran.stdout
        assert "instance main would move from 'fra' to 'ams' with plan far/paid" in lines[0]
        assert "instance main's volume would shrink from 3 to 1 GB with plan far/paid" in lines[1]
        if engine == "embedded":  # the CLI does not tell what it left alone
            assert "left alone: acme: acme-billing-customer, acme-billing-subscription, " in ran.stdout
        assert "1 updated" in ran.stdout.splitlines()[-1]
        asked = [f"{entry.method} {entry.path} {entry.body}" for entry in made.cloud.journal.mutations()]
        assert len(asked) == 1, asked
        assert "new@fern.example" in asked[0]
        kept = made.kept()
        assert kept.pop("policies") != before.pop("policies")
        assert kept == before

        # Keeping the place, as it was told, is enough.
        made.write("tenants/acme.yaml", STAYING)
        ran = await said(made, "up", "--yes")
        assert ran.code == 0, ran.failed()
        assert "      plan: shop/paid 30.00 USD a month -> far/paid 60.00 USD a month" in ran.stdout.splitlines()
        assert "price_" not in ran.stdout
        [paid] = made.kept()["subscriptions"]
        assert all("far" in key for key in paid[2])

        # And data is never destroyed without a word for it.
        made.cloud.journal.clear()
        ran = await said(made, "destroy", "--yes", "--json")
        assert (ran.code, ran.stdout) == (2, ""), ran.failed()
        assert "7 objects hold data or money and are protected" in ran.stderr
        assert "acme-lab-volume, acme-main-volume, fern-main-volume and 4 more" in ran.stderr
        assert "`--delete-data`" in ran.stderr
        assert made.cloud.journal.entries == []

    play(scene, engine=engine)
