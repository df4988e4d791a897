"""The whole program under the real Pulumi CLI, held against the embedded engine: same files, same vendors' stores, same requests, same state."""

import asyncio
import dataclasses
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rowhouse.engine import Nursery, Options, export_stack, import_stack, load_project
from rowhouse.localcloud.kernel import Fault
from tests.end_to_end.world import World, fit_for_pulumi, world

pytestmark = [
    pytest.mark.pulumi_cli,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="pulumi is not on PATH"),
]

_NOISE = {"created", "modified", "sourcePosition", "stackTrace", "fingerprint"}
_IDS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32,64}\b|\b(?:cus|sub|si|price|mtr|prod|vol|evt)_\w+"
    r"|\b(?=[a-z]*\d)[a-z0-9]{16}\b|\b[0-9a-f]{14}\b|\b01[0-9A-HJKMNP-TV-Z]{24}\b|fdaa:[0-9a-f:]+|\d{4}-\d\d-\d\dT[\d:.]+Z?|127\.0\.0\.1:\d+"
)
BIGGER = """
owner: {name: Acme Ltd, email: ops@acme.example}
plan: shop/paid
members: [ana@acme.example]
instances:
  main: {memory_mb: 512}
"""


async def pulumi(made: World, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the CLI itself, as a person would, in the project's root."""
    return await asyncio.to_thread(
        subprocess.run,
        ["pulumi", *args, "--non-interactive"],
        cwd=made.project,
        env=made.env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


async def exported(made: World) -> dict[str, Any]:
    if made.engine == "pulumi":
        done = await pulumi(made, "stack", "export", "--stack", "main")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document
    return export_stack(load_project(made.project), "main", Options(env=made.env))


def normal_state(document: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """The resources of an export by URN, without ids, times and addresses."""

    def clean(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if "ciphertext" in value:
                return "[secret]"
            return {name: clean(item, name) for name, item in value.items() if name not in _NOISE}
        if isinstance(value, list):
            return [clean(item) for item in value]
        return _IDS.sub("<id>", value.replace(str(folder), "<folder>")) if isinstance(value, str) else value

    resources = {}
    for resource in document["deployment"]["resources"]:
        made = clean(resource)
        # A property that depends on nothing is written as an empty list or, after the CLI's refresh, not at all.
        made["propertyDependencies"] = {key: sorted(urns) for key, urns in made.get("propertyDependencies", {}).items() if urns}
        made["dependencies"] = sorted(made.get("dependencies", []))
        resources[made["urn"]] = made
    return resources


def asked(made: World) -> Counter[tuple[str, str, str]]:
    """What the vendors were asked to change: method and the shape of the path, in no order. Leases are how, not what."""
    return Counter(
        (entry.vendor, entry.method, re.sub(_IDS, "<id>", entry.path))
        for entry in made.cloud.journal.mutations()
        if not entry.path.endswith("/lease") and entry.status < 300
    )


@dataclasses.dataclass
class Lived:
    """What is left to compare after each step of a life."""

    kept: list[Any] = dataclasses.field(default_factory=list)
    asked: list[Counter[tuple[str, str, str]]] = dataclasses.field(default_factory=list)
    ops: list[dict[str, int]] = dataclasses.field(default_factory=list)
    diffs: list[Any] = dataclasses.field(default_factory=list)
    states: list[dict[str, dict[str, Any]]] = dataclasses.field(default_factory=list)


async def live(made: World) -> Lived:
    """Up, nothing to do, one change, refresh, the end."""
    lived = Lived()

    async def step(*args: str) -> None:
        made.cloud.journal.clear()
        ran = await made.run(*args)
        assert ran.code == 0, ran.failed()
        lived.kept.append(made.kept())
        lived.asked.append(asked(made))
        lived.ops.append(ran.ops)
        lived.diffs.append(
            sorted(
                (change["op"], change["tenant"] or "", change["name"], tuple((d["path"], d["kind"]) for d in change["diff"]))
                for change in ran.document["changes"]
                if not change["type"].startswith(("rowhouse:index:", "pulumi:"))
            )
        )

    await step("up", "--yes")
    lived.states.append(normal_state(await exported(made), made.folder))
    await step("preview")
    made.write("tenants/acme.yaml", BIGGER)
    await step("preview")
    await step("up", "--yes")
    lived.states.append(normal_state(await exported(made), made.folder))
    await step("refresh")
    await step("preview")
    await step("destroy", "--yes", "--delete-data")
    return lived


def test_both_engines_live_the_same_life(runner: asyncio.Runner, nursery: Nursery, tmp_path: Path):
    async def both() -> tuple[Lived, Lived]:
        async with world(tmp_path / "ours", nursery) as ours:
            mine = await live(ours)
        async with world(tmp_path / "real", nursery, engine="pulumi") as real:
            return mine, await live(real)

    ours, real = runner.run(both())
    assert real.ops == ours.ops
    assert real.ops[1] == real.ops[5] == {}
    assert real.diffs == ours.diffs
    assert real.kept == ours.kept
    assert real.asked == ours.asked
    for mine, theirs in zip(ours.states, real.states, strict=True):
        assert theirs.keys() == mine.keys()
        for urn in mine:
            if "pulumi:providers" not in urn:
                assert theirs[urn] == mine[urn], urn


@pytest.mark.long
def test_the_cli_goes_on_from_the_embedded_engines_state_and_back(play: Callable[..., None]):
    async def scene(made: World) -> None:
        fit_for_pulumi(made.folder, made.project)
        made.extra_env["PULUMI_CONFIG_PASSPHRASE"] = "correct horse"
        assert (ran := await made.up()).code == 0, ran.failed()
        document = await exported(made)

        made.engine = "pulumi"
        done = await pulumi(made, "stack", "init", "main")
        assert done.returncode == 0, done.stderr
        done = await pulumi(made, "stack", "import", "--stack", "main", stdin=json.dumps(document))
        assert done.returncode == 0, done.stderr
        for ran in (await made.preview(), await made.up(), await made.preview()):
            assert (ran.code, ran.ops) == (0, {}), ran.failed()
        back = await exported(made)

        made.engine = "embedded"
        import_stack(load_project(made.project), "main", back, Options(env=made.env))
        for ran in (await made.preview(), await made.up(), await made.preview()):
            assert (ran.code, ran.ops) == (0, {}), ran.failed()

    play(scene)


def test_plain_pulumi_works_in_the_projects_root(play: Callable[..., None]):
    async def scene(made: World) -> None:
        done = await pulumi(made, "stack", "init", "main")
        assert done.returncode == 0, done.stderr
        done = await pulumi(made, "preview")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not made.cloud.journal.mutations()
        done = await pulumi(made, "up", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(made.kept()["routes"]) == {"acme.localhost", "fern.localhost"}
        done = await pulumi(made, "preview", "--expect-no-changes")
        assert done.returncode == 0, done.stdout + done.stderr
        done = await pulumi(made, "stack", "output", "--json")
        assert json.loads(done.stdout)["acme"]["instances"]["main"]["url"] == "https://acme.localhost"
        made.cloud.journal.clear()
        done = await pulumi(made, "destroy", "--yes", "--skip-preview")
        assert done.returncode != 0
        assert "protected" in done.stdout + done.stderr
        assert not made.cloud.journal.calls("fly", "DELETE", r"/apps/(acme|fern)[^/]+(/volumes/[^/]+)?$")

    play(scene, engine="pulumi")


def test_looking_makes_no_stack_and_changes_no_file(play: Callable[..., None]):
    async def scene(made: World) -> None:
        settings = made.project / "stacks" / "Pulumi.main.yaml"
        before = settings.read_bytes()
        assert (ran := await made.run("status")).document == {"list": []}, ran.failed()
        ran = await made.preview()
        assert ran.code == 0, ran.failed()
        assert ran.ops["create"] > 20
        assert settings.read_bytes() == before
        assert not [path for path in (made.folder / "backend").rglob("*main*") if path.is_file()]
        assert not made.cloud.journal.mutations()

    play(scene, engine="pulumi")


@pytest.mark.long
def test_one_failing_tenant_does_not_stop_the_other(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.cloud.faults.add(Fault("error_before", vendor="fly", method="POST", path=r"/apps/acme-main-\w+/volumes", status=422, times=-1))
        ran = await made.up()
        assert ran.code == 1, ran.failed()
        failures = {failure["urn"].rsplit("::", 1)[-1]: failure["skipped"] for failure in ran.document["failures"]}
        assert failures == {"acme-main-volume": False, "acme-main-machine": True}
        kept = made.kept()
        fern = next(app for name, app in kept["apps"].items() if name.startswith("fern"))
        assert [machine[1] for machine in fern["machines"]] == ["started"]
        assert "fern.localhost" in kept["routes"]
        assert [record[0] for record in kept["records"] if record[0].startswith("fern")] == ["fern.localhost"]
        made.cloud.faults.clear()
        ran = await made.up()
        assert ran.code == 0, ran.failed()
        assert set(made.kept()["routes"]) == {"acme.localhost", "fern.localhost"}

    play(scene, engine="pulumi")


@pytest.mark.long
def test_secrets_are_hidden_in_state_events_and_documents(play: Callable[..., None]):
    async def scene(made: World) -> None:
        made.extra_env["ACME_KEY"] = "hush-4711"
        made.write("tenants/acme.yaml", "owner: {email: ops@acme.example}\nplan: shop/paid\nsecrets: {API_KEY: 'env:ACME_KEY'}\n")
        first = await made.up()
        assert first.code == 0, first.failed()
        token = made.cloud.cloudflare.tunnels.token(made.cloud.dump()["cloudflare"]["tunnels"][0]["id"])
        made.extra_env["ACME_KEY"] = "hush-4712"
        second = await made.up()
        assert second.code == 0, second.failed()
        assert second.ops == {"update": 2}, second.document["changes"]
        everything = json.dumps([first.document, second.document]) + first.stderr + second.stderr + json.dumps(await exported(made))
        everything += "".join(path.read_text(errors="replace") for path in (made.folder / "backend").rglob("*") if path.is_file())
        for secret in (token, "hush-471", made.env["FLY_API_TOKEN"], made.env["STRIPE_API_KEY"], made.env["CLOUDFLARE_API_TOKEN"]):
            assert secret not in everything

    play(scene, engine="pulumi")


@pytest.mark.long
def test_destroy_keeps_everything_when_something_is_protected(play: Callable[..., None]):
    async def scene(made: World) -> None:
        assert (ran := await made.up()).code == 0, ran.failed()
        made.cloud.journal.clear()
        ran = await made.run("destroy", "--yes")
        assert ran.code == 2, ran.failed()
        assert "acme-main-volume, fern-main-volume" in ran.stderr
        assert not made.cloud.journal.mutations()

    play(scene, engine="pulumi")
