"""Two cells of one project: the catalog is registered by one of them, and the other finds its prices by their keys."""

import shutil
from collections.abc import Callable

import pytest

from tests.end_to_end.world import World

FERN = "owner: {email: fern@okafor.example}\nplan: shop/paid\ncell: eu\n"
CATALOG_PATHS = r"^/v1/(products|prices|billing/meters)"


@pytest.mark.long
def test_a_second_cell_sells_from_the_first_one_s_catalog(play: Callable[..., None]):
    async def scene(made: World) -> None:
        shutil.copy2(made.project / "stacks/Pulumi.main.yaml", made.project / "stacks/Pulumi.eu.yaml")
        made.write("tenants/fern.yaml", FERN)

        # Too early: there is nothing to sell yet. All but the subscription is made.
        ran = await made.run("up", "--yes", "--stack", "eu")
        assert ran.code == 1, ran.failed()
        [failure] = ran.document["failures"]
        assert failure["urn"].endswith("::fern-billing-subscription")
        assert "Stripe has no active price with lookup key 'rowhouse_shop_paid_base'" in failure["message"]
        assert "`rowhouse up --stack main`" in failure["message"]
        assert not [entry for entry in made.cloud.journal.calls("stripe", path=CATALOG_PATHS) if entry.method != "GET"]
        assert made.kept()["subscriptions"] == []

        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert {change["tenant"] for change in ran.document["changes"]} == {"acme", None}
        first = made.kept()

        made.cloud.journal.clear()
        ran = await made.run("up", "--yes", "--stack", "eu")
        assert ran.code == 0, ran.failed()
        assert ran.ops == {"create": 1}
        assert not [entry for entry in made.cloud.journal.calls("stripe", path=CATALOG_PATHS) if entry.method != "GET"]
        kept = made.kept()
        assert [kept[kind] for kind in ("products", "prices", "meters")] == [first[kind] for kind in ("products", "prices", "meters")]
        acme, fern = kept["subscriptions"]
        assert (acme[0], fern[0]) == ("acme", "fern")
        assert fern[1:] == acme[1:]  # both live, on the same prices
        assert {name.rpartition("-")[0] for name in kept["apps"]} >= {"acme-main", "fern-main"}
        assert len(kept["tunnels"]) == 2  # an edge each

        for stack in ("main", "eu"):
            after = await made.run("preview", "--stack", stack)
            assert (after.code, after.ops) == (0, {}), after.failed()

    play(scene)
