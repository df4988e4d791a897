"""A new image in waves, on the local cloud: machines that do not become healthy stop it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import pytest

from rowhouse.localcloud.images import Image
from tests.end_to_end.world import _APP, IMAGES, ROOT, World

CLI = [
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]

# Well when it starts, and ill a second later: nothing but a second look finds that.
SICK_APP = _APP.replace("import os,", "import time; began = time.monotonic()\nimport os,").replace(
    "self.send_response(200)", "self.send_response(200 if time.monotonic() < began + 1 else 500)"
)
WELL = Image("notebook", (sys.executable, "-I", "-S", "-c", _APP), "app", version="2", uses_site=False)
SICK = Image("notebook", (sys.executable, "-I", "-S", "-c", SICK_APP), "app", version="3", uses_site=False)
LIMITS = "rollout: {canary: [heath], waves_percent: [1, 100], health_seconds: 3}\n"


def image(made: World, version: Image) -> None:
    """The app gets another image."""
    text = (ROOT / "apps/notebook.yaml").read_text().replace("interval_s: 10", "interval_s: 1")
    made.write("apps/notebook.yaml", text.replace(text.split("image: ")[1].split()[0], f"registry.localhost/notebook@{version.digest}"))


def images(made: World) -> dict[str, str]:
    """Tenant to the digest's first digits of what its machine runs."""
    apps = made.cloud.dump()["fly"]["apps"]
    found = {}
    for app in apps.values():
        for machine in app["machines"].values():
            if (tenant := machine["config"]["metadata"]["tenant"]) != "edge":
                found[tenant] = machine["config"]["image"].split("sha256:")[1][:8]
    return found


@pytest.mark.long
@pytest.mark.parametrize("engine", ["embedded", pytest.param("pulumi", marks=CLI)])
def test_an_image_goes_out_in_waves_and_stops_where_a_machine_does_not_become_well(play: Callable[..., None], engine: str):
    async def scene(made: World) -> None:
        first, well, sick = (one.digest.removeprefix("sha256:")[:8] for one in (IMAGES[0], WELL, SICK))
        made.write("policies/settings.yaml", LIMITS)
        image(made, IMAGES[0])
        for tenant in ("gorse", "heath"):
            made.write(f"tenants/{tenant}.yaml", f"owner: {{email: {tenant}@okafor.example}}\nplan: shop/free\n")
        made.write("tenants/ivy.yaml", "owner: {email: ivy@okafor.example}\nplan: shop/free\nstate: suspended\n")
        assert (ran := await made.up()).code == 0, ran.failed()
        assert set(images(made).values()) == {first}

        image(made, WELL)
        made.cloud.journal.clear()
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert set(images(made).values()) == {well}
        posts = [entry for entry in made.cloud.journal.mutations() if entry.vendor == "fly" and entry.body and WELL.digest in entry.body]
        assert '"tenant":"heath"' in posts[0].body.replace(" ", ""), "the canary is first"
        assert len(posts) == 5
        assert (await made.preview()).ops == {}

        image(made, SICK)
        ran = await made.up()
        assert ran.code == 1, ran.failed()
        assert images(made) == {"acme": well, "fern": well, "gorse": well, "heath": sick, "ivy": well}
        told = {failure["tenant"]: failure["message"] for failure in ran.document["failures"]}
        assert {"acme", "fern", "gorse", "ivy"} <= set(told)
        assert all("keeps its image" in told[tenant] and "heath/main" in told[tenant] for tenant in ("acme", "fern", "gorse", "ivy"))

        # Run again it does not go on over a canary that is still unwell.
        made.cloud.journal.clear()
        ran = await made.up()
        assert ran.code == 1, ran.failed()
        assert images(made)["acme"] == well
        assert [entry for entry in made.cloud.journal.mutations() if entry.vendor == "fly"] == []

        image(made, WELL)
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert set(images(made).values()) == {well}

    play(scene, engine=engine, images=(WELL, SICK))
