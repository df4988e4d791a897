"""What was reviewed is applied, and nothing else: on the local cloud, with real commits."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable

import httpx
import pytest

from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.test_sweep import ACCOUNT
from tests.end_to_end.world import ROOT, World
from tests.review.scratch import git

CLI = [
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]
ACME = "owner: {name: Acme Ltd, email: ops@acme.example}\nplan: shop/paid\nmembers: [ana@acme.example]\ninstances: {main: {}, lab: {}}\n"
FERN = "owner: {email: fern@okafor.example}\nplan: shop/free\n"


def committed(made: World, message: str) -> str:
    """Everything in the project as a commit."""
    git(made.project, "add", "-A")
    git(made.project, "commit", "-q", "-m", message)
    return git(made.project, "rev-parse", "HEAD")


def begun(made: World) -> str:
    """The project as a clone with its first commit; the program is in it, as in a user's."""
    (made.project / "rowhouse").unlink()
    shutil.copytree(ROOT / "rowhouse", made.project / "rowhouse", ignore=shutil.ignore_patterns("__pycache__"))
    if not (made.project / ".venv").exists():
        (made.project / ".venv").symlink_to(sys.prefix)
    made.write(".gitignore", ".rowhouse/\n.venv\n__pycache__/\n")
    git(made.project, "init", "-q", "-b", "main")
    made.write("tenants/acme.yaml", ACME)
    made.write("tenants/fern.yaml", FERN)
    for path in sorted((made.project / "tenants").glob("*.yaml")):
        if path.name not in {"acme.yaml", "fern.yaml"}:
            path.unlink()
    return committed(made, "as it is")


def told(ran) -> dict[str | None, str]:
    return {failure["tenant"]: failure["message"] for failure in ran.document["failures"] if not failure["skipped"]}


@pytest.mark.parametrize("engine", ["embedded", pytest.param("pulumi", marks=CLI)])
def test_only_what_was_reviewed_is_applied_and_the_rest_stays_and_is_told(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        base = begun(made)
        assert (ran := await made.up()).code == 0, ran.failed()

        # Reviewed: acme gets a member and memory, and gorse is new.
        made.write(
            "tenants/acme.yaml",
            ACME.replace("ana@acme.example]", "ana@acme.example, bo@acme.example]").replace("main: {}", "main: {memory_mb: 512}"),
        )
        made.write("tenants/gorse.yaml", FERN.replace("fern@", "gorse@"))
        reviewed = committed(made, "reviewed")
        # Not reviewed: fern gets a member, gorse another one, heath is new.
        made.write("tenants/fern.yaml", FERN + "members: [eve@okafor.example]\n")
        made.write("tenants/gorse.yaml", FERN.replace("fern@", "gorse@") + "members: [eve@okafor.example]\n")
        made.write("tenants/heath.yaml", FERN.replace("fern@", "heath@"))
        tip = committed(made, "not reviewed")

        made.cloud.journal.clear()
        ran = await made.run("up", "--yes", "--reviewed", f"{base}..{reviewed}")
        assert ran.code == 1, ran.failed()
        assert set(told(ran)) == {"fern", "gorse", "heath"}, ran.failed()
        assert all("was not in what was reviewed" in why for why in told(ran).values())
        asked = " ".join(f"{entry.path} {entry.body}" for entry in made.cloud.journal.mutations())
        assert "bo@acme.example" in asked
        for other in ("eve@", "gorse", "heath", "fern"):
            assert other not in asked, f"{other} was touched"

        # The same command again does nothing more; with the second range reviewed too, the rest follows.
        again = await made.run("up", "--yes", "--reviewed", f"{base}..{reviewed}")
        assert (again.code, set(told(again)), again.ops) == (1, {"fern", "gorse", "heath"}, {})
        rest = await made.run("up", "--yes", "--reviewed", f"{base}..{tip}")
        assert rest.code == 0, rest.failed()
        assert (await made.preview()).ops == {}

    play(scene, engine=engine)


@pytest.mark.parametrize("engine", ["embedded", pytest.param("pulumi", marks=CLI)])
def test_a_price_raised_in_review_reaches_the_subscriptions_and_a_closed_gate_closes(play: Callable[..., None], engine: str):
    """Both change what comes out of other objects: the new price's id in subscriptions, and a route that goes with its gate."""

    async def scene(made: World) -> None:
        base = begun(made)
        assert (ran := await made.up()).code == 0, ran.failed()
        plans = made.project / "plans" / "shop.yaml"
        text = plans.read_text(encoding="utf-8")
        raised = re.sub(r'^(    price: ")\d+', r"\g<1>77", text, flags=re.MULTILINE)
        assert raised != text
        made.write("plans/shop.yaml", raised)
        made.write("tenants/acme.yaml", ACME + "state: offboarding\n")
        made.write("tenants/fern.yaml", FERN.replace("shop/free", "shop/paid"))
        reviewed = committed(made, "reviewed")
        ran = await made.run("up", "--yes", "--reviewed", f"{base}..{reviewed}")
        assert ran.code == 0, ran.failed()
        assert (await made.preview()).ops == {}

    play(scene, engine=engine)


@pytest.mark.long
def test_an_object_changed_by_hand_is_not_overwritten_by_a_change_that_did_not_show_it(play: Callable[..., None]):
    async def scene(made: World) -> None:
        base = begun(made)
        assert (ran := await made.up()).code == 0, ran.failed()
        made.write("tenants/acme.yaml", ACME.replace("ana@acme.example]", "ana@acme.example, bo@acme.example]"))
        made.write("tenants/fern.yaml", FERN.replace("plan:", "members: [bo@fern.example]\nplan:"))
        reviewed = committed(made, "reviewed")
        policies = made.cloud.dump()["cloudflare"]["access_policies"]
        acmes = next(policy for policy in policies if policy["name"].endswith(":acme"))
        async with httpx.AsyncClient(base_url=made.env["CLOUDFLARE_BASE_URL"]) as client:
            headers = {"authorization": f"Bearer {made.env['CLOUDFLARE_API_TOKEN']}"}
            body = {**{key: acmes[key] for key in ("name", "decision", "include")}, "session_duration": "1h"}
            answer = await client.put(f"/{ACCOUNT}/access/policies/{acmes['id']}", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
        ran = await made.run("up", "--yes", "--refresh", "--reviewed", f"{base}..{reviewed}")
        assert ran.code == 1, ran.failed()
        assert set(told(ran)) == {"acme"}

    play(scene)


@pytest.mark.long
def test_what_an_interrupted_apply_left_half_done_is_finished(play: Callable[..., None]):
    async def scene(made: World) -> None:
        base = begun(made)
        assert (ran := await made.up()).code == 0, ran.failed()
        made.write("tenants/gorse.yaml", FERN.replace("fern@", "gorse@"))
        reviewed = committed(made, "reviewed")
        made.cloud.faults.add(Fault("error_before", vendor="stripe", method="POST", path="/v1/customers", status=400, times=1))
        ran = await made.run("up", "--yes", "--reviewed", f"{base}..{reviewed}")
        assert ran.code == 1, ran.failed()
        ran = await made.run("up", "--yes", "--reviewed", f"{base}..{reviewed}")
        assert ran.code == 0, ran.failed()
        assert (await made.preview()).ops == {}

    play(scene)
