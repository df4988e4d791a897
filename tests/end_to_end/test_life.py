"""A tenant's life in its file, each change applied for real: what the vendors keep afterwards."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.end_to_end.world import World

OWNER = "owner: {name: Acme Ltd, email: ops@acme.example}\n"


def subscriptions(made: World) -> list[tuple[str, str]]:
    """Tenant and status of every subscription that Stripe ever had."""
    dump = made.cloud.dump()["stripe"]
    tenants = {customer["id"]: customer["metadata"].get("tenant") for customer in dump["customer"]}
    return sorted((tenants[found["customer"]], found["status"]) for found in dump["subscription"])


def machine(made: World, tenant: str) -> dict[str, Any]:
    """The tenant's only machine at Fly."""
    apps = made.cloud.dump()["fly"]["apps"]
    return next(iter(next(app for name, app in apps.items() if name.startswith(f"{tenant}-main-"))["machines"].values()))


async def applied(made: World) -> None:
    ran = await made.up()
    assert ran.code == 0, ran.failed()
    assert (looked := await made.preview()).ops == {}, looked.document


@pytest.mark.long
def test_a_paid_plan_can_become_free_and_paid_again(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await applied(made)
        assert subscriptions(made) == [("acme", "active")]
        made.write("tenants/acme.yaml", OWNER + "plan: shop/free\n")
        await applied(made)
        assert subscriptions(made) == [("acme", "canceled")]
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\n")
        await applied(made)
        assert subscriptions(made) == [("acme", "active"), ("acme", "canceled")]

    play(scene)


@pytest.mark.long
def test_a_suspended_tenant_keeps_everything_and_runs_nothing(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await applied(made)
        volume = machine(made, "acme")["config"]["mounts"][0]["volume"]
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\nstate: suspended\n")
        await applied(made)
        assert machine(made, "acme")["state"] == "stopped"
        assert made.routes()["acme.localhost"]["access"] == "closed"
        assert subscriptions(made) == [("acme", "active")]
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\n")
        await applied(made)
        assert machine(made, "acme")["state"] == "started"
        assert machine(made, "acme")["config"]["mounts"][0]["volume"] == volume
        assert made.routes()["acme.localhost"]["access"] == "open"

    play(scene)


def test_a_removed_file_of_a_tenant_with_data_changes_nothing(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await applied(made)
        before = made.kept()
        (made.project / "tenants" / "fern.yaml").unlink()
        ran = await made.up()
        assert ran.code == 2
        assert "tenants/fern.yaml" in ran.stderr
        assert made.kept() == before

    play(scene)


@pytest.mark.long
def test_the_last_secret_that_leaves_a_file_leaves_the_machine(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.extra_env["ACME_KEY"] = "planted-for-acme"
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\nsecrets: {API_KEY: env:ACME_KEY}\n")
        await applied(made)
        with_secret = machine(made, "acme")["version"]
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\n")
        await applied(made)
        app = next(app for name, app in made.cloud.dump()["fly"]["apps"].items() if name.startswith("acme-main-"))
        assert app["secrets"] == {}
        assert machine(made, "acme")["version"] != with_secret

    play(scene)


@pytest.mark.long
def test_routes_go_to_the_store_that_the_settings_name(play: Callable[..., None]):
    async def scene(made: World) -> None:
        # A folder given as a setting stands for a bucket here: what counts is that plugin and gateways are told the same.
        await applied(made)
        state = json.loads((await made.run("status")).stdout)
        assert {row["tenant"] for row in state} == {"acme", "fern"}
        edge = next(app for name, app in made.cloud.dump()["fly"]["apps"].items() if name.startswith("edge-"))
        told = {one["config"]["env"]["ROWHOUSE_STORE_URL"] for one in edge["machines"].values()}
        assert told == {made.cloud.env["ROWHOUSE_STORE_URL"]}
        assert set(made.routes()) == {"acme.localhost", "fern.localhost"}

    play(scene)


@pytest.mark.long
def test_both_gateways_are_never_replaced_at_once(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await applied(made)
        made.cloud.journal.clear()
        path = made.project / "stacks" / "Pulumi.main.yaml"
        path.write_text(path.read_text().replace("account:edgeRegion: fra", "account:edgeRegion: fra\n  account:store: file:///elsewhere"))
        made.extra_env["ROWHOUSE_ACCESS_CERTS_URL"] = "http://127.0.0.1:9/certs"
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        updates = list(made.cloud.journal.calls("fly", "POST", r"/machines/[0-9a-f]+$"))
        assert len(updates) == 2
        between = made.cloud.journal.entries[updates[0].number : updates[1].number - 1]
        assert any(entry.path.endswith("/wait") and updates[0].path in entry.path for entry in between)

    play(scene)


@pytest.mark.long
def test_a_renamed_hostname_moves_the_route_and_leaves_none_behind(play: Callable[..., None]):
    async def scene(made: World) -> None:
        await applied(made)
        made.write("tenants/acme.yaml", OWNER + "plan: shop/paid\ninstances:\n  main: {hostname: acme-new}\n")
        await applied(made)
        await asyncio.sleep(0)
        assert set(made.routes()) == {"acme-new.localhost", "fern.localhost"}
        assert {record["name"] for record in made.cloud.dump()["cloudflare"]["dns_records"]} == {"acme-new.localhost", "fern.localhost"}

    play(scene)
