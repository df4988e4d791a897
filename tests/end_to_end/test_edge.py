"""The cell's two gateways, for real: each is asked whether it can serve before the other is touched."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from rowhouse.localcloud.images import Image
from rowhouse.spec.names import edge_machine_name
from tests.end_to_end.world import TENANTS, World


def machines(made: World) -> dict[str, dict[str, Any]]:
    """The edge's machines by name."""
    edge = next(app for name, app in made.cloud.dump()["fly"]["apps"].items() if name.startswith("edge-"))
    return {machine["name"]: machine for machine in edge["machines"].values()}


@pytest.mark.long
def test_a_gateway_that_cannot_serve_stops_the_update_before_the_other_one(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.cloud.fly.images.add(Image("edge", (sys.executable, "-m", "rowhouse.edge"), "edge"))
        for tenant in TENANTS:
            (made.project / "tenants" / f"{tenant}.yaml").unlink()
        component = made.project / "components" / "edge.py"
        patience = "depends_on=self.machines[-1:], custom_timeouts=pulumi.CustomTimeouts(create='30s', update='4s')"
        component.write_text(component.read_text().replace("depends_on=self.machines[-1:]", patience))
        assert patience in component.read_text()
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        before = machines(made)
        assert [check["status"] for machine in before.values() for check in machine["checks"]] == ["passing"] * 2
        assert not any(machine["config"].get("services") for machine in before.values()), "a check opens nothing to the outside"

        # Nobody publishes keys there: a gateway of that setting can verify no token, so it would let nobody in.
        made.extra_env["ROWHOUSE_ACCESS_CERTS_URL"] = "http://127.0.0.1:9/certs"
        made.cloud.journal.clear()
        ran = await made.up()
        assert ran.code == 1, ran.failed()
        assert "not healthy: gateway critical" in str(ran.document["failures"])
        updated = {entry.path.rpartition("/")[2] for entry in made.cloud.journal.calls("fly", "POST", r"/machines/[0-9a-f]+$")}
        after = machines(made)
        first, second = edge_machine_name(1), edge_machine_name(2)
        assert updated == {after[first]["id"]}
        assert after[second]["config"] == before[second]["config"]
        assert [check["status"] for check in after[second]["checks"]] == ["passing"]

    play(scene)
